//! One segment file: its head, and a walk over its frames.
//!
//! A [`Walker`] tells frames, damaged stretches and the end apart; an I/O failure leaves it
//! where it was, so that the same step can be tried again. It reads ahead in pieces of 256 KiB.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{self, FIXED, Fixed, get32, get64, put32, put64};
use super::{Head, OpenError};
use crate::disk::{Disk, File, Open, read_full};

pub const HEAD_BYTES: u64 = 4096;
const MAGIC: &[u8; 8] = b"SPGSEG\0\0";
pub const MAJOR: u16 = 1;
pub const MINOR: u16 = 0;
/// A group starts on a fresh sector, so that a synced one is never written again.
pub const SECTOR: u64 = 512;
/// One read ahead: a syscall each 256 KiB costs nothing beside the copy.
const WINDOW: usize = 256 * 1024;
/// Ids in a segment head; as many as drains.
pub const ADDRESSEES_MAX: usize = 64;

/// The id that no drain has (`frame::drain_id`).
const NOBODY: u64 = 0;

/// A position with the running totals at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Point {
    pub position: u64,
    /// Items for all drains before `position`.
    pub common: u64,
    /// Items addressed to each drain id before it.
    pub addressed: BTreeMap<u64, u64>,
}

impl Point {
    /// Moves over a frame.
    pub fn pass(&mut self, addressee: u64, items: u64) {
        self.position += items;
        match addressee {
            0 => self.common += items,
            id => *self.addressed.entry(id).or_default() += items,
        }
    }

    /// Moves over a damaged stretch that ends at `end` and held `common` items for all. The rest was addressed; who to
    /// is not known, so the first known addressee is charged, or nobody: what is not for all must not wait for all.
    pub fn pass_damage(&mut self, end: u64, common: u64) {
        let lost = end.saturating_sub(self.position);
        let addressed = lost.saturating_sub(common);
        self.position = self.position.max(end);
        self.common += lost - addressed;
        if addressed > 0 {
            let whose = self.addressed.keys().next().copied().unwrap_or(NOBODY);
            *self.addressed.entry(whose).or_default() += addressed;
        }
    }

    pub fn addressed_to(&self, id: u64) -> u64 {
        self.addressed.get(&id).copied().unwrap_or(0)
    }
}

/// An open segment.
pub struct Segment {
    pub start: Point,
    pub salt: u64,
    pub file: Arc<dyn File>,
}

/// What a head says, of whatever channel.
pub struct Opening {
    pub channel: [u8; 16],
    pub opened_us: u64,
    pub start: Point,
    pub salt: u64,
}

/// Why a segment head was not taken.
#[derive(Debug)]
pub enum HeadError {
    Io(io::Error),
    Version {
        major: u16,
        minor: u16,
    },
    /// Of another channel.
    Foreign,
    Unreadable,
}

impl From<io::Error> for HeadError {
    fn from(error: io::Error) -> Self {
        HeadError::Io(error)
    }
}

impl HeadError {
    pub fn into_open(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            HeadError::Io(source) => OpenError::Io { path, source },
            HeadError::Version { major, minor } => OpenError::Version { path, major, minor },
            HeadError::Foreign => OpenError::Damaged { path, what: "the segment is of another channel".into() },
            HeadError::Unreadable => OpenError::Damaged { path, what: "the segment head is unreadable".into() },
        }
    }

    pub fn into_io(self, path: &Path) -> io::Error {
        match self {
            HeadError::Io(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other.into_open(path).to_string()),
        }
    }
}

impl Segment {
    /// Reads the head of an existing segment.
    pub fn open(disk: &dyn Disk, path: &Path, channel: &[u8; 16]) -> Result<Segment, HeadError> {
        let file = disk.open(path, Open::Read)?;
        let Opening { channel: found, start, salt, .. } = Opening::read(&*file)?;
        if found != *channel {
            return Err(HeadError::Foreign);
        }
        Ok(Segment { start, salt, file })
    }

    /// Writes a head into a file made at full size, and syncs it. The caller renames.
    pub fn begin(
        file: Arc<dyn File>,
        start: Point,
        channel: &[u8; 16],
        opened_us: u64,
        salt: u64,
    ) -> io::Result<Segment> {
        let raw = encode_head(&start, channel, opened_us, salt);
        file.write_at(&[IoSlice::new(&raw)], 0)?;
        file.sync_all()?;
        Ok(Segment { start, salt, file })
    }

    pub fn first(&self) -> u64 {
        self.start.position
    }
}

fn encode_head(start: &Point, channel: &[u8; 16], opened_us: u64, salt: u64) -> Vec<u8> {
    let mut raw = vec![0; HEAD_BYTES as usize];
    raw[0..8].copy_from_slice(MAGIC);
    raw[8..10].copy_from_slice(&MAJOR.to_le_bytes());
    raw[10..12].copy_from_slice(&MINOR.to_le_bytes());
    raw[16..32].copy_from_slice(channel);
    put64(&mut raw, 32, start.position);
    put64(&mut raw, 40, opened_us);
    put64(&mut raw, 48, salt);
    put64(&mut raw, 56, start.common);
    raw[64..66].copy_from_slice(&(start.addressed.len() as u16).to_le_bytes());
    for (n, (id, total)) in start.addressed.iter().take(ADDRESSEES_MAX).enumerate() {
        put64(&mut raw, 72 + n * 16, *id);
        put64(&mut raw, 80 + n * 16, *total);
    }
    let sum = frame::crc(&[&raw]);
    put32(&mut raw, 12, sum);
    raw
}

impl Opening {
    pub fn read(file: &dyn File) -> Result<Opening, HeadError> {
        let mut raw = vec![0; HEAD_BYTES as usize];
        if read_full(file, &mut raw, 0)? < raw.len() {
            return Err(HeadError::Unreadable);
        }
        decode_head(&mut raw)
    }
}

/// The same head for another channel: one sector of it differs, so writing it over the old one is whole or not done.
pub fn head_of(opening: &Opening, channel: &[u8; 16]) -> Vec<u8> {
    encode_head(&opening.start, channel, opening.opened_us, opening.salt)
}

fn decode_head(raw: &mut [u8]) -> Result<Opening, HeadError> {
    if raw[0..8] != MAGIC[..] {
        return Err(HeadError::Unreadable);
    }
    let sum = get32(raw, 12);
    put32(raw, 12, 0);
    if sum != frame::crc(&[raw]) {
        return Err(HeadError::Unreadable);
    }
    let (major, minor) = (u16::from_le_bytes([raw[8], raw[9]]), u16::from_le_bytes([raw[10], raw[11]]));
    if major != MAJOR {
        return Err(HeadError::Version { major, minor });
    }
    let count = usize::from(u16::from_le_bytes([raw[64], raw[65]])).min(ADDRESSEES_MAX);
    let addressed = (0..count).map(|n| (get64(raw, 72 + n * 16), get64(raw, 80 + n * 16))).collect();
    Ok(Opening {
        channel: raw[16..32].try_into().expect("sixteen bytes"),
        opened_us: get64(raw, 40),
        start: Point { position: get64(raw, 32), common: get64(raw, 56), addressed },
        salt: get64(raw, 48),
    })
}

/// How far a segment may be read: up to the position where the next one begins or the log ends, and the offset behind
/// its last frame. Bytes beyond it may still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    pub position: u64,
    /// Positions from here on are not its own, whatever stands in it: they were another's, which is gone.
    pub own: u64,
    pub offset: u64,
}

impl Bound {
    /// Of a segment that all positions up to there are of.
    pub fn new(position: u64, offset: u64) -> Bound {
        Bound { position, own: position, offset }
    }
}

/// A place in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub offset: u64,
    pub position: u64,
    pub common: u64,
}

/// One step of a walk.
pub enum Step {
    Frame {
        head: Head,
        fixed: Fixed,
    },
    /// Bytes that are no frame, then a valid one at `to.position` or (`next` false) nothing
    /// valid before the bound.
    Gap {
        from: Place,
        to: Place,
        next: bool,
    },
    /// The bound is reached.
    End,
}

/// Reads a segment frame by frame.
pub struct Walker {
    pub segment: Arc<Segment>,
    pub place: Place,
    window: Window,
}

/// Bytes read ahead.
#[derive(Default, Clone)]
pub struct Window {
    pub start: u64,
    pub bytes: Bytes,
}

impl Window {
    /// The bytes from `at`, at most `n`, if all of them are here.
    pub fn get(&self, at: u64, n: usize) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(n)?)
    }
}

impl Walker {
    pub fn new(segment: Arc<Segment>, place: Place) -> Walker {
        Walker { segment, place, window: Window::default() }
    }

    /// From the segment's first frame.
    pub fn from_start(segment: Arc<Segment>) -> Walker {
        let place = Place { offset: HEAD_BYTES, position: segment.start.position, common: segment.start.common };
        Walker::new(segment, place)
    }

    /// What was read ahead last, for bodies.
    pub fn window(&self) -> Window {
        self.window.clone()
    }

    /// At most `n` bytes at `at`, fewer where the bound or the file ends.
    pub fn bytes(&mut self, at: u64, n: usize, bound: &Bound) -> io::Result<&[u8]> {
        let n = usize::try_from(bound.offset.saturating_sub(at)).map_or(n, |left| left.min(n));
        if n == 0 {
            return Ok(&[]);
        }
        if self.window.get(at, n).is_none() {
            let ahead = usize::try_from(bound.offset - at).map_or(WINDOW, |left| left.min(WINDOW)).max(n);
            let mut buf = vec![0; ahead];
            let got = read_full(&*self.segment.file, &mut buf, at)?;
            buf.truncate(got);
            self.window = Window { start: at, bytes: buf.into() };
        }
        let from = (at - self.window.start) as usize;
        let to = self.window.bytes.len().min(from + n);
        Ok(self.window.bytes.get(from..to).unwrap_or_default())
    }

    /// The next frame, gap or end before `bound`.
    pub fn step(&mut self, bound: &Bound) -> io::Result<Step> {
        if self.place.position >= bound.position {
            return Ok(Step::End);
        }
        let at = self.place.offset;
        for at in [at, at.next_multiple_of(SECTOR)] {
            if let Some((head, fixed)) = self.frame_at(at, bound)?
                && fixed.first == self.place.position
                && fixed.end() <= bound.own
            {
                self.pass(at, &fixed);
                return Ok(Step::Frame { head, fixed });
            }
        }
        self.resync(bound)
    }

    /// Whether the body of the frame at `offset` is whole.
    pub fn body_fits(&mut self, offset: u64, fixed: &Fixed, bound: &Bound) -> io::Result<bool> {
        let body = self.bytes(offset + fixed.head_len() as u64, fixed.body_len, bound)?;
        Ok(body.len() == fixed.body_len && frame::crc(&[body]) == fixed.body_crc)
    }

    /// A whole frame's bytes.
    pub fn frame_bytes(&mut self, offset: u64, fixed: &Fixed, bound: &Bound) -> io::Result<&[u8]> {
        self.bytes(offset, fixed.total_len(), bound)
    }

    fn pass(&mut self, at: u64, fixed: &Fixed) {
        self.place.offset = at + frame::padded(fixed.total_len() as u64);
        self.place.position = fixed.end();
        self.place.common = fixed.common + if fixed.addressee == 0 { u64::from(fixed.items) } else { 0 };
    }

    fn frame_at(&mut self, at: u64, bound: &Bound) -> io::Result<Option<(Head, Fixed)>> {
        let (segment, salt) = (self.segment.first(), self.segment.salt);
        let Some(fixed) = frame::peek(self.bytes(at, FIXED, bound)?) else { return Ok(None) };
        let raw = self.bytes(at, fixed.head_len(), bound)?;
        if raw.len() < fixed.head_len() || !frame::verify(raw, salt) {
            return Ok(None);
        }
        Ok(frame::parse(raw, &fixed, segment, at).map(|head| (head, fixed)))
    }

    /// Looks for the next valid head behind the place. On failure the place is as it was.
    fn resync(&mut self, bound: &Bound) -> io::Result<Step> {
        let from = self.place;
        let mut at = from.offset;
        let end = if from.position < bound.own { bound.offset } else { at };
        while at + FIXED as u64 <= end {
            let chunk = self.bytes(at, WINDOW, bound)?;
            if chunk.len() < FIXED {
                break;
            }
            let Some(skip) = candidate(chunk) else {
                at += (chunk.len() / 8 * 8) as u64;
                continue;
            };
            at += skip as u64;
            if let Some((_, fixed)) = self.frame_at(at, bound)?
                && fixed.first >= from.position
                && fixed.end() <= bound.own
            {
                self.place = Place { offset: at, position: fixed.first, common: fixed.common.max(from.common) };
                if self.place.position == from.position {
                    return self.step(bound);
                }
                return Ok(Step::Gap { from, to: self.place, next: true });
            }
            at += 8;
        }
        let to = Place { offset: end, position: bound.position, common: from.common };
        self.place = to;
        Ok(Step::Gap { from, to, next: false })
    }
}

const BLOCK: usize = 4096;

/// Whether all bytes are zero; as fast as memcmp.
pub fn is_zero(bytes: &[u8]) -> bool {
    const ZERO: [u8; BLOCK] = [0; BLOCK];
    bytes.chunks(BLOCK).all(|block| *block == ZERO[..block.len()])
}

/// The first 8-aligned place of `chunk` that begins with a frame's magic number.
fn candidate(chunk: &[u8]) -> Option<usize> {
    for (n, block) in chunk.chunks(BLOCK).enumerate() {
        // Most of what is searched was never written.
        if is_zero(block) {
            continue;
        }
        let words = block.as_chunks::<8>().0;
        if let Some(i) = words.iter().position(|w| get32(w, 0) == frame::MAGIC) {
            return Some(n * BLOCK + i * 8);
        }
    }
    None
}
