//! Bit rot at rest: which frames it hit, and what they held.
//!
//! It strikes what later frames vouch for. Rot at the very end of the log cannot be told from a torn tail
//! (DURABILITY.md).

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use fastrand::Rng;
use spangate::span::canonical;

use super::world::number_of;
use crate::support::disk::SimDisk;

const HEAD: usize = 4096;
const SECTOR: usize = 512;
/// Frames at the end of the log that vouch for those before them and are left alone.
const VOUCH: usize = 8;

/// What frames held that are damaged.
#[derive(Default)]
pub struct Rot(Mutex<Rotten>);

#[derive(Default)]
struct Rotten {
    positions: BTreeSet<u64>,
    spans: BTreeSet<u64>,
    entries: u64,
}

/// A frame as DURABILITY.md has it.
struct Frame {
    bytes: Range<usize>,
    first: u64,
    items: u32,
    /// Everything below was durable when it was written.
    synced: u64,
    body: Range<usize>,
    holds_spans: bool,
}

impl Rot {
    fn inner(&self) -> MutexGuard<'_, Rotten> {
        self.0.lock().unwrap()
    }

    pub fn has(&self, span: u64) -> bool {
        self.inner().spans.contains(&span)
    }

    /// Spans in frames that were hit.
    pub fn spans(&self) -> BTreeSet<u64> {
        self.inner().spans.clone()
    }

    /// Entries that were set aside, in frames that were hit.
    pub fn entries(&self) -> u64 {
        self.inner().entries
    }

    /// Flips a bit of a frame at `low` or behind it; false where there is none that it may strike.
    pub fn strike(&self, disk: &SimDisk, channel: &Path, low: u64, seed: u64, is_told: bool) -> bool {
        let mut rng = Rng::with_seed(seed);
        let mut segments = disk.names();
        segments.retain(|path| path.parent() == Some(channel) && path.extension().is_some_and(|name| name == "seg"));
        let mut targets = Vec::new();
        for (at, path) in segments.iter().enumerate() {
            let bytes = disk.read(path);
            // What is not synced may be gone with a crash, and vouches for nothing.
            let next = segments.get(at + 1).filter(|next| disk.outlives(next, 0..HEAD));
            let frames = match next {
                Some(next) => frames(&bytes, first_of(next)),
                None => {
                    let frames = frames(&bytes, u64::MAX).into_iter();
                    vouched(frames.take_while(|frame| disk.outlives(path, frame.bytes.clone())).collect())
                }
            };
            let open = frames.into_iter().filter(|frame| frame.first >= low);
            targets.extend(open.map(|frame| (path, frame)));
        }
        if targets.is_empty() {
            return false;
        }
        let (path, frame) = targets.swap_remove(rng.usize(..targets.len()));
        if is_told {
            self.inner().note(&disk.read(path), &frame);
        }
        disk.flip_bit(path, rng.usize(frame.bytes), rng.u8(..8));
        true
    }
}

impl Rotten {
    fn note(&mut self, bytes: &[u8], frame: &Frame) {
        // One that was hit before is no longer what it was.
        if !self.positions.insert(frame.first) {
            return;
        }
        if !frame.holds_spans {
            self.entries += u64::from(frame.items);
            return;
        }
        let (body, mut at) = (&bytes[frame.body.clone()], 0);
        for span in canonical::elements(body) {
            // A second flip may find the first.
            let Ok(span) = span else { return };
            let end = span.as_ptr_range().end.addr() - body.as_ptr().addr();
            self.spans.extend(number_of(&body[at..end]));
            at = end;
        }
    }
}

/// The position that names a segment.
fn first_of(path: &Path) -> u64 {
    let name = path.file_stem().expect("it has a name").to_str().expect("of hexadecimal digits");
    u64::from_str_radix(name, 16).expect("of hexadecimal digits")
}

/// Frames of the last segment for which others vouch, of which a few more may be hit.
fn vouched(mut frames: Vec<Frame>) -> Vec<Frame> {
    let synced = frames.len().checked_sub(VOUCH).map_or(0, |at| frames[at].synced);
    frames.retain(|frame| frame.first + u64::from(frame.items) <= synced);
    frames
}

/// The frames of a segment that ends where the next begins.
fn frames(bytes: &[u8], end: u64) -> Vec<Frame> {
    let (mut frames, mut at) = (Vec::new(), HEAD);
    while at + 72 <= bytes.len() {
        let get32 = |from: usize| u32::from_le_bytes(bytes[at + from..][..4].try_into().unwrap());
        if get32(0) != 0x4D52_4653 {
            at = (at + 1).next_multiple_of(SECTOR);
            continue;
        }
        let (total, body) = (get32(8) as usize, get32(44) as usize);
        let get64 = |from: usize| u64::from_le_bytes(bytes[at + from..][..8].try_into().unwrap());
        let (first, synced, items) = (get64(16), get64(32), get32(12));
        let to = at + total;
        if first >= end || to > bytes.len() || body > total {
            break;
        }
        let (body, holds_spans) = (to - body..to, bytes[at + 4] == 1);
        frames.push(Frame { bytes: at..to, first, items, synced, body, holds_spans });
        at = to.next_multiple_of(8);
    }
    frames
}
