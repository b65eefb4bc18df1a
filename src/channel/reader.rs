//! Reading the log from disk across segments, for taps and scans. Blocks.
//!
//! Only what is durable; a little at a time. Damaged stretches come as events with the count
//! of what they held, their bytes kept in `damaged/`. An I/O failure leaves the reader where
//! it was.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{self, FIXED, LABELS_BYTES_MAX, ORIGIN_BYTES_MAX, TOTAL_MAX};
use super::locks::Mutex;
use super::segment::{Place, Segment, Step, Walker, Window, is_zero};
use super::state::Shared;
use super::{Head, ReadError, aside};
use crate::disk::{Disk, File, Open, read_full};
use crate::planted::{self, Planted};

/// Heads given at a time: bounds what waits in memory for a drain.
const FRAMES: usize = 256;
const HEAD_BYTES_MAX: usize = 256 * 1024;
/// Pieces of read-ahead kept for bodies, 256 KiB each: the batches of a few sinks.
const PIECES: usize = 8;
const PIECE: usize = 256 * 1024;

/// What a reader met.
pub enum Event {
    Frame {
        head: Arc<Head>,
        addressee: u64,
    },
    /// A damaged stretch that held `common` items for all drains; the others were addressed.
    Lost {
        positions: Range<u64>,
        common: u64,
    },
    /// The log begins only here: what was before is gone.
    Begins {
        segment: Arc<Segment>,
    },
}

/// Where reading goes on: a segment and a place in it.
#[derive(Debug, Clone, Copy)]
pub struct At {
    pub segment: u64,
    pub place: Place,
}

pub struct Reader {
    shared: Arc<Shared>,
    walker: Option<Walker>,
    bodies: Arc<Bodies>,
}

impl Reader {
    pub fn new(shared: Arc<Shared>, bodies: Arc<Bodies>) -> Reader {
        Reader { shared, walker: None, bodies }
    }

    /// What follows `position`, and where reading goes on. `at` is that place if it is known;
    /// else the segment is searched from its start. Nothing: the durable end is reached.
    pub fn read(&mut self, position: u64, at: Option<At>) -> io::Result<(Vec<Event>, Option<At>)> {
        let mut events = Vec::new();
        let (mut at, mut position, mut bytes) = (at, position, 0);
        while events.len() < FRAMES && bytes < HEAD_BYTES_MAX {
            let (first, bound) = {
                let state = self.shared.state();
                let (first, entry) = state.segment_of(position);
                (first, entry.bound)
            };
            if position >= bound.position {
                break;
            }
            match self.enter(first, position, at) {
                // Met again next time, when what was found before it is taken.
                Err(_) if !events.is_empty() => break,
                other => other?,
            }
            let walker = self.walker.as_mut().expect("it was just entered");
            if position < first {
                events.push(Event::Begins { segment: walker.segment.clone() });
                position = first;
            }
            // A failure behind events that were found is met again next time.
            let step = match walker.step(&bound) {
                Err(error) if events.is_empty() => return Err(error),
                Err(_) => break,
                Ok(step) => step,
            };
            match step {
                Step::End => {}
                Step::Frame { head, fixed } if fixed.end() > position => {
                    position = fixed.end();
                    bytes += fixed.head_len();
                    events.push(Event::Frame { head: Arc::new(head), addressee: fixed.addressee });
                }
                Step::Frame { .. } => {}
                Step::Gap { from, to, next } => {
                    let common = match next {
                        true => to.common,
                        false => self.common_at(to.position)?.max(from.common),
                    } - from.common;
                    let walker = self.walker.as_mut().expect("it was just entered");
                    walker.place.common = from.common + common;
                    let positions = from.position..to.position;
                    keep_stretch(&self.shared, &walker.segment, from.offset..to.offset, &positions);
                    if to.position > position {
                        position = to.position;
                        events.push(Event::Lost { positions, common });
                    }
                }
            }
            let walker = self.walker.as_ref().expect("it was just entered");
            at = Some(At { segment: first, place: walker.place });
        }
        if let Some(walker) = &self.walker {
            self.bodies.keep(Piece::of(&walker.segment, walker.window()));
        }
        Ok((events, at))
    }

    /// Lets go of the segment that was read last: it may be removed, and open it would keep its blocks.
    pub fn leave(&mut self) {
        self.walker = None;
    }

    /// Makes the walker stand in the segment `first`, at `at` if that is in it.
    fn enter(&mut self, first: u64, position: u64, at: Option<At>) -> io::Result<()> {
        let segment = self.shared.segment(first)?;
        let at = at.filter(|at| at.segment == first && at.place.position == position && position > first);
        let stands = self.walker.as_ref().filter(|w| Arc::ptr_eq(&w.segment, &segment)).map(|w| w.place.position);
        match at {
            Some(at) if stands != Some(position) => self.walker = Some(Walker::new(segment, at.place)),
            // Searching: the walk goes on below the position that is looked for.
            None if stands.is_none_or(|stands| stands > position) => self.walker = Some(Walker::from_start(segment)),
            _ => {}
        }
        Ok(())
    }

    /// Common items before the position that ends a segment.
    fn common_at(&self, end: u64) -> io::Result<u64> {
        let (durable, next) = {
            let state = self.shared.state();
            (state.durable.clone(), state.segments.contains_key(&end))
        };
        if next { Ok(self.shared.segment(end)?.start.common) } else { Ok(durable.common) }
    }
}

/// Pieces of the log that were read ahead, for bodies.
#[derive(Default)]
pub struct Bodies(Mutex<VecDeque<Piece>>);

/// Holds no file open: one that was removed would keep its blocks.
struct Piece {
    /// The segment's first position, and its salt.
    first: u64,
    salt: u64,
    window: Window,
}

impl Piece {
    fn of(segment: &Segment, window: Window) -> Piece {
        Piece { first: segment.first(), salt: segment.salt, window }
    }
}

impl Bodies {
    fn keep(&self, piece: Piece) {
        let mut pieces = self.0.lock().expect("nobody panicked while holding the pieces");
        pieces.retain(|p| p.first != piece.first || p.window.start != piece.window.start);
        pieces.push_back(piece);
        if pieces.len() > PIECES {
            pieces.pop_front();
        }
    }

    /// A body from memory, if its frame lies whole in a piece. `Err`: it is there and damaged.
    pub fn get(&self, head: &Head) -> Option<Result<Bytes, ReadError>> {
        let pieces = self.0.lock().expect("nobody panicked while holding the pieces");
        let mut here = pieces.iter().rev().filter(|p| p.first == head.at.segment);
        here.find_map(|piece| body_in(piece, head))
    }

    /// Reads a body from disk, and what follows it for the next ones. Blocks.
    pub fn read(&self, shared: &Shared, head: &Head) -> Result<Bytes, ReadError> {
        let segment = shared.segment(head.at.segment)?;
        let bound = shared.state().segments.get(&head.at.segment).map_or(u64::MAX, |s| s.bound.offset);
        let start = u64::from(head.at.offset);
        let most = usize::try_from(bound.saturating_sub(start)).unwrap_or(usize::MAX);
        let least = FIXED + head.items.len() * 16 + head.body_len as usize;
        let most_of_it = least + ORIGIN_BYTES_MAX + LABELS_BYTES_MAX;
        let len = most_of_it.clamp(PIECE, TOTAL_MAX);
        let mut buf = vec![0; len.min(most)];
        let got = read_full(&*segment.file, &mut buf, start)?;
        buf.truncate(got);
        let piece = Piece::of(&segment, Window { start, bytes: buf.into() });
        let body = body_in(&piece, head).unwrap_or_else(|| Err(damaged(head)));
        if matches!(body, Err(ReadError::Damaged { .. })) {
            let end = start + piece.window.bytes.len().min(least + 4096) as u64;
            keep_stretch(shared, &segment, start..end, &positions(head));
        } else if piece.window.bytes.len() <= PIECE {
            self.keep(piece);
        }
        body
    }
}

fn positions(head: &Head) -> Range<u64> {
    head.at.first..head.at.first + u64::from(head.at.items)
}

fn damaged(head: &Head) -> ReadError {
    let Range { start: first, end } = positions(head);
    ReadError::Damaged { first, end }
}

/// The body of a frame in a piece, checked and copied: a slice would keep the whole piece.
fn body_in(piece: &Piece, head: &Head) -> Option<Result<Bytes, ReadError>> {
    let (window, at) = (&piece.window, u64::from(head.at.offset));
    let Some(fixed) = frame::peek(window.get(at, FIXED)?) else { return Some(Err(damaged(head))) };
    let raw = window.get(at, fixed.head_len())?;
    let body = window.get(at + fixed.head_len() as u64, fixed.body_len)?;
    let same = fixed.first == head.at.first && fixed.items == head.at.items;
    let whole = frame::crc(&[body]) == fixed.body_crc || planted::has(Planted::CrcUnchecked);
    if !same || !frame::verify(raw, piece.salt) || !whole {
        return Some(Err(damaged(head)));
    }
    Some(Ok(Bytes::copy_from_slice(body)))
}

/// Copies a damaged stretch aside, once; says where. That it cannot is logged: reading goes on.
fn keep_stretch(shared: &Shared, segment: &Segment, bytes: Range<u64>, positions: &Range<u64>) {
    let dir = &shared.settings.dir;
    match keep_damaged(&*shared.disk, dir, &*segment.file, bytes.clone(), positions) {
        Ok(None) => {}
        Ok(Some(path)) => tracing::error!(
            segment = segment.first(), from = bytes.start, first = positions.start, end = positions.end,
            kept = %path.display(), "positions of the log are damaged and counted as such"
        ),
        Err(error) => tracing::error!(
            segment = segment.first(), from = bytes.start, first = positions.start, end = positions.end,
            %error, "positions of the log are damaged, and their bytes could not be kept"
        ),
    }
}

/// The path of the copy, `None` if it was there.
pub fn keep_damaged(
    disk: &dyn Disk,
    dir: &Path,
    file: &dyn File,
    bytes: Range<u64>,
    positions: &Range<u64>,
) -> io::Result<Option<PathBuf>> {
    let dir = aside::dir(dir);
    disk.create_dir_all(&dir)?;
    let path = dir.join(format!("{:016x}-{:016x}", positions.start, positions.end));
    let copy = match disk.open(&path, Open::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        other => other?,
    };
    let (mut buf, mut at, mut to) = (vec![0; PIECE], bytes.start, 0);
    while at < bytes.end {
        let most = usize::try_from(bytes.end - at).map_or(PIECE, |left| left.min(PIECE));
        let got = read_full(file, &mut buf[..most], at)?;
        if got == 0 {
            break;
        }
        // What was never written is no loss; a hole in the copy keeps offsets.
        if !is_zero(&buf[..got]) {
            copy.write_at(&[IoSlice::new(&buf[..got])], to)?;
        }
        (at, to) = (at + got as u64, to + got as u64);
    }
    copy.sync_all()?;
    disk.sync_dir(&dir)?;
    Ok(Some(path))
}
