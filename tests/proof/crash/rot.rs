//! Bits that flip at rest: which positions a flipped bit of a stopped channel costs, by a reading of the log of our
//! own.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::book::Drain;
use super::world::{DIR, DRAINS};
use crate::support::disk::SimDisk;

const SLOT: usize = 8192;
pub const HEAD: usize = 4096;

/// What a flipped bit costs.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// Positions that cannot be read any more.
    pub lost: BTreeSet<u64>,
    pub back: Option<Back>,
    /// The channel does not start: a person is needed.
    pub refused: bool,
}

/// A drain whose newest slot is bad goes on from the one before, and that says which positions are settled.
#[derive(Debug, Clone)]
pub struct Back {
    pub drain: Drain,
    low: u64,
    above: Vec<Range<u64>>,
}

impl Back {
    fn to(drain: Drain, slot: &[u8]) -> Back {
        let ranges = usize::from(u16::from_le_bytes([slot[130], slot[131]]));
        let above = (0..ranges).map(|n| word(slot, 200 + n * 16)..word(slot, 208 + n * 16)).collect();
        Back { drain, low: word(slot, 40), above }
    }

    pub fn has_settled(&self, position: u64) -> bool {
        position < self.low || self.above.iter().any(|range| range.contains(&position))
    }
}

/// A place, and the cost of a bit there.
#[derive(Debug)]
pub struct Flip {
    pub path: PathBuf,
    pub at: usize,
    pub cost: Cost,
}

fn word(raw: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(raw[at..at + 8].try_into().unwrap())
}

fn half(raw: &[u8], at: usize) -> usize {
    u32::from_le_bytes(raw[at..at + 4].try_into().unwrap()) as usize
}

/// Whether the frame that holds a position would outlive a loss of power now; or is done with.
pub fn outlives(disk: &SimDisk, position: u64) -> bool {
    let first_of = |path: &Path| u64::from_str_radix(path.file_name()?.to_str()?.strip_suffix(".seg")?, 16).ok();
    let names = disk.names();
    let segments = names.iter().filter(|path| path.parent() == Some(Path::new(DIR)));
    let segments: Vec<_> = segments.filter_map(|path| Some((first_of(path)?, path))).collect();
    let holds = |path: &Path| {
        let frames = frames(&disk.read(path), u64::MAX).into_iter();
        frames.filter(|(_, positions)| positions.contains(&position)).any(|(bytes, _)| disk.outlives(path, bytes))
    };
    segments.iter().all(|(first, _)| *first > position)
        || segments.iter().any(|(first, path)| *first <= position && holds(path))
}

/// The frames of a segment that end at or below `end`: bytes and positions.
fn frames(raw: &[u8], end: u64) -> Vec<(Range<usize>, Range<u64>)> {
    let (mut at, mut found) = (HEAD, Vec::new());
    while at + 72 <= raw.len() {
        let first = word(raw, at + 16);
        if &raw[at..at + 4] != b"SFRM" || first >= end {
            at += 8;
            continue;
        }
        let (len, items) = (half(raw, at + 8), half(raw, at + 12) as u64);
        found.push((at..at + len, first..first + items));
        at += len.next_multiple_of(8);
    }
    found
}

/// A bit somewhere in the files of a stopped channel whose log ends at `tail`.
pub fn any(disk: &SimDisk, tail: u64, random: &mut fastrand::Rng) -> Flip {
    let names: Vec<_> = disk.names().into_iter().filter(|path| path.parent() == Some(Path::new(DIR))).collect();
    let path = random.choice(&names).unwrap().clone();
    let raw = disk.read(&path);
    let name = path.file_name().unwrap().to_str().unwrap();
    let (at, cost) = match name.strip_suffix(".seg") {
        Some(first) => in_segment(&raw, u64::from_str_radix(first, 16).unwrap(), end_of(&names, &path, tail), random),
        None if name == "cursors" => in_slots(&raw, random),
        None => (random.usize(0..raw.len().max(1)), Cost { refused: name == "id", ..Cost::default() }),
    };
    Flip { path, at, cost }
}

/// Where the segment of a path ends: where the next begins.
fn end_of(names: &[PathBuf], path: &Path, tail: u64) -> u64 {
    let firsts = names.iter().filter(|next| *next > path).filter_map(|next| next.file_stem()?.to_str());
    firsts.filter_map(|first| u64::from_str_radix(first, 16).ok()).min().unwrap_or(tail)
}

fn in_segment(raw: &[u8], first: u64, end: u64, random: &mut fastrand::Rng) -> (usize, Cost) {
    let frames = frames(raw, end);
    let at = match frames.is_empty() || random.u8(0..4) == 0 {
        true => random.usize(0..raw.len()),
        false => {
            let frame = random.choice(&frames).unwrap().0.clone();
            // Heads are small beside bodies.
            if random.bool() { frame.start + random.usize(0..72) } else { random.usize(frame) }
        }
    };
    let hit = frames.iter().find(|(bytes, _)| bytes.contains(&at)).map(|(_, positions)| positions.clone());
    let lost = if at < HEAD { first..end } else { hit.unwrap_or(0..0) };
    (at, Cost { lost: lost.collect(), ..Cost::default() })
}

/// In the slots of a drain.
fn in_slots(raw: &[u8], random: &mut fastrand::Rng) -> (usize, Cost) {
    let used: Vec<_> =
        (0..raw.len() / SLOT).filter(|slot| raw[slot * SLOT..(slot + 1) * SLOT].iter().any(|b| *b != 0)).collect();
    let Some(slot) = random.choice(&used).copied() else { return (random.usize(0..raw.len()), Cost::default()) };
    let of = |slot: usize| &raw[slot * SLOT..(slot + 1) * SLOT];
    let name = |raw: &[u8]| DRAINS.iter().find(|name| raw[136..].starts_with(name.as_bytes())).copied();
    let newest = word(of(slot), 16) > word(of(slot ^ 1), 16);
    let drain = name(of(slot)).or(name(of(slot ^ 1))).filter(|_| newest);
    let back = drain.map(|drain| Back::to(drain, of(slot ^ 1)));
    (slot * SLOT + random.usize(0..SLOT), Cost { back, ..Cost::default() })
}
