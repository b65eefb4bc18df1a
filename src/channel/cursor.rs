//! A drain's cursor: what is settled, the ledger, the note; and its slot's bytes.
//!
//! The one place that changes a ledger. Everything below `low` is settled (or passed, where
//! frames are for another drain); above it stand ranges, each with the outcomes it added to
//! the ledger, so that a slot with room for fewer ranges is still right: it forgets ranges and
//! their counts together. It forgets the light ones always: what a reading alone decided
//! (foreign frames, what a sieve left out) the next reading decides again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;

use super::frame::{self, get32, get64, put32, put64};
use super::segment::{MAJOR, MINOR, Point, is_zero};
use super::{Account, Outcome, Takes};
use crate::planted::{self, Planted};

pub const SLOT_BYTES: usize = 8192;
pub const NOTE_BYTES_MAX: usize = 3072;
pub const NAME_BYTES_MAX: usize = 63;
/// Ranges that a slot holds.
pub const RANGES_MAX: usize = 256;
/// A drain is given no frame while more stand: what is in flight can still make some.
pub const RANGES_OPEN_MAX: usize = 224;
/// The same for a drain that settles span by span, each after its own sink's answer: the slot leaves out the highest
/// then. What a few sinks have in flight, in 2 MiB.
const RANGES_SCATTERED_MAX: usize = 16_384;
/// Nor while more stand, light ones included. A sieve that keeps every other span makes one a span: what a few
/// sinks have in flight, in 6 MiB.
pub const RANGES_ALL_MAX: usize = 65_536;
/// Receive times kept of frames in flight, about one a second; beyond it every other one goes.
const TIMES_MAX: usize = 4096;
const OUTCOMES: usize = 7;
const MAGIC: &[u8; 8] = b"SPGSLOT\0";

type Tally = [u64; OUTCOMES];

const ALL: [Outcome; OUTCOMES] = [
    Outcome::Delivered,
    Outcome::Filtered,
    Outcome::SampledOut,
    Outcome::DeadLettered,
    Outcome::Expired,
    Outcome::Skipped,
    Outcome::Damaged,
];

#[derive(Debug, Clone)]
struct Settled {
    end: u64,
    tally: Tally,
    /// Came from a slot, so what it counted is not known: it must stay in the slot.
    kept: bool,
    /// The next reading makes it again.
    light: bool,
}

#[derive(Debug)]
pub struct Cursor {
    pub name: String,
    pub id: u64,
    pub takes: Takes,
    pub low: u64,
    /// Where the drain began, with the totals there.
    start: u64,
    common_before: u64,
    addressed_before: u64,
    ledger: Tally,
    ranges: BTreeMap<u64, Settled>,
    /// Ranges beyond which it is given no frame.
    open_max: usize,
    /// How many of them are not light.
    firm: usize,
    pub note: Bytes,
    /// Of the slot written last.
    pub generation: u64,
    /// Positions below it were given to the drain or passed over in this process.
    pub seen: u64,
    /// Receive times of frames in flight: (first position, microseconds).
    times: VecDeque<(u64, u64)>,
    pub attached: bool,
    /// Where the drain was released: what came after is not its own.
    released: Option<Point>,
}

impl Cursor {
    /// A drain that begins at `start`.
    pub fn begin(name: &str, takes: Takes, start: &Point) -> Cursor {
        let id = frame::drain_id(name);
        Cursor {
            name: name.to_owned(),
            id,
            takes,
            low: start.position,
            start: start.position,
            common_before: start.common,
            addressed_before: start.addressed_to(id),
            ledger: [0; OUTCOMES],
            ranges: BTreeMap::new(),
            open_max: RANGES_OPEN_MAX,
            firm: 0,
            note: Bytes::new(),
            generation: 0,
            seen: start.position,
            times: VecDeque::new(),
            attached: false,
            released: None,
        }
    }

    /// Ends the drain's share in the log here: what comes after `end` is not its own.
    pub fn release(&mut self, end: &Point) {
        self.released.get_or_insert_with(|| end.clone());
    }

    /// The drain goes on where it was released, if it was: all that came since is its own after all.
    pub fn resume(&mut self) -> bool {
        self.released.take().is_some()
    }

    pub fn is_released(&self) -> bool {
        self.released.is_some()
    }

    /// Settles what of `positions` is not settled, and counts it.
    pub fn settle(&mut self, positions: Range<u64>, outcome: Outcome) -> u64 {
        self.cover(positions, Some((outcome, u64::MAX)))
    }

    /// Marks positions of other drains' frames: they are nobody's business here.
    pub fn pass(&mut self, positions: Range<u64>) {
        self.cover(positions, None);
    }

    /// Settles a stretch of which only `items` were for this drain.
    pub fn lose(&mut self, positions: Range<u64>, items: u64) -> u64 {
        self.cover(positions, Some((Outcome::Damaged, items)))
    }

    /// Settles what came before the log's present beginning and is gone: all that is not accounted for.
    pub fn lose_before(&mut self, start: &Point) -> u64 {
        let lost = self.open_before(start);
        self.seen = self.seen.max(start.position);
        self.lose(self.low..start.position, lost)
    }

    /// What came before a point and is not accounted for.
    pub fn open_before(&self, point: &Point) -> u64 {
        let above = self.ranges.range(..).map(|(&first, s)| s.end.saturating_sub(first.max(point.position)));
        let counted = self.ledger.iter().sum::<u64>().saturating_sub(above.sum());
        self.accepted(point).saturating_sub(counted)
    }

    /// How many of `positions` were newly covered and counted.
    fn cover(&mut self, positions: Range<u64>, counted: Option<(Outcome, u64)>) -> u64 {
        let start = positions.start.max(self.low);
        let mut merged = start..positions.end;
        if merged.is_empty() {
            return 0;
        }
        let (mut tally, mut kept) = ([0; OUTCOMES], false);
        let mut light = counted.is_none_or(|(outcome, _)| is_light(outcome));
        let mut fresh = merged.end - merged.start;
        while let Some((&first, settled)) = self.ranges.range(..=merged.end).next_back()
            && settled.end >= merged.start
        {
            let end = settled.end;
            fresh -= end.min(positions.end).saturating_sub(first.max(start));
            merged = merged.start.min(first)..merged.end.max(end);
            let absorbed = self.ranges.remove(&first).expect("it was just found");
            tally.iter_mut().zip(absorbed.tally).for_each(|(sum, n)| *sum += n);
            kept |= absorbed.kept;
            light &= absorbed.light;
            self.firm -= usize::from(!absorbed.light);
        }
        let fresh = counted.map_or(0, |(outcome, most)| {
            let fresh = fresh.min(most);
            self.ledger[outcome as usize] += fresh;
            tally[outcome as usize] += fresh;
            fresh
        });
        if merged.start == self.low {
            self.low = merged.end;
            self.forget_times();
        } else {
            self.firm += usize::from(!light);
            self.ranges.insert(merged.start, Settled { end: merged.end, tally, kept, light });
        }
        fresh
    }

    /// What of `positions` is not settled.
    pub fn open(&self, positions: Range<u64>) -> Vec<Range<u64>> {
        let mut at = positions.start.max(self.low);
        let mut open = Vec::new();
        if at >= positions.end {
            return open;
        }
        let before = self.ranges.range(..at).next_back();
        for (&first, settled) in before.into_iter().chain(self.ranges.range(at..positions.end)) {
            if settled.end <= at {
                continue;
            }
            if first > at {
                open.push(at..first);
            }
            at = settled.end;
        }
        if at < positions.end {
            open.push(at..positions.end);
        }
        open
    }

    /// Whether the drain may be given a frame that begins at `position`. One that lies below a
    /// settled range always: after a restart only such frames can make the ranges fewer.
    pub fn has_window(&self, position: u64) -> bool {
        let highest = self.ranges.last_key_value().map_or(0, |(_, settled)| settled.end);
        (self.firm <= self.open_max && self.ranges.len() <= RANGES_ALL_MAX) || position < highest
    }

    /// More ranges may stand than a slot holds: those left out repeat after a crash.
    pub fn scatter(&mut self) {
        self.open_max = RANGES_SCATTERED_MAX;
    }

    /// Notes a frame given to the drain.
    pub fn given(&mut self, first: u64, received_us: u64) {
        const APART_US: u64 = 1_000_000;
        if self.times.back().is_none_or(|&(_, last)| received_us.abs_diff(last) >= APART_US) {
            self.times.push_back((first, received_us));
        }
        if self.times.len() > TIMES_MAX {
            let mut keep = false;
            self.times.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Keeps the time of the oldest frame that still waits: the last one at or below `low`.
    fn forget_times(&mut self) {
        while self.times.get(1).is_some_and(|&(first, _)| first <= self.low) {
            self.times.pop_front();
        }
        if self.low >= self.seen {
            self.times.clear();
        }
    }

    pub fn oldest_us(&self) -> Option<u64> {
        self.times.front().map(|&(_, us)| us)
    }

    /// Items of the log for this drain before a point, since it began.
    pub fn accepted(&self, now: &Point) -> u64 {
        let now = self.released.as_ref().unwrap_or(now);
        let common = match self.takes {
            Takes::Common => now.common.saturating_sub(self.common_before),
            Takes::Addressed => 0,
        };
        common + now.addressed_to(self.id).saturating_sub(self.addressed_before)
    }

    pub fn waiting(&self, now: &Point) -> u64 {
        self.accepted(now).saturating_sub(self.ledger.iter().sum())
    }

    /// The account at a moment; `waiting_bytes` and `skips` are the caller's.
    pub fn account(&self, now: &Point, waiting_bytes: u64) -> Account {
        let waiting = self.waiting(now);
        Account {
            drain: self.name.clone(),
            accepted: self.ledger.iter().sum::<u64>() + waiting,
            outcomes: ALL.iter().map(|&o| (o, self.ledger[o as usize])).collect(),
            waiting,
            waiting_bytes,
            oldest_us: self.oldest_us().filter(|_| waiting > 0),
            low: self.low,
            attached: self.attached,
            skips: false,
        }
    }

    /// What is settled above `low`, in order.
    pub fn settled(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().map(|(&first, settled)| first..settled.end)
    }

    /// The ranges that a slot has room for, and the ledger without what the others counted.
    fn saved(&self) -> (Vec<Range<u64>>, Tally) {
        let mut ledger = self.ledger;
        let mut room = RANGES_MAX - self.ranges.values().filter(|s| s.kept).count();
        let mut ranges = Vec::new();
        for (&first, settled) in &self.ranges {
            if settled.kept || (room > 0 && !settled.light) {
                room -= usize::from(!settled.kept);
                ranges.push(first..settled.end);
            } else {
                ledger.iter_mut().zip(settled.tally).for_each(|(sum, n)| *sum -= n);
            }
        }
        (ranges, ledger)
    }

    /// The slot of `generation`, with what is known durable.
    pub fn encode(&self, channel: &[u8; 16], generation: u64, durable: &Point) -> Vec<u8> {
        let mut raw = vec![0; SLOT_BYTES];
        let (ranges, ledger) = self.saved();
        raw[0..8].copy_from_slice(MAGIC);
        raw[12..14].copy_from_slice(&MAJOR.to_le_bytes());
        raw[14..16].copy_from_slice(&MINOR.to_le_bytes());
        put64(&mut raw, 16, generation);
        raw[24..40].copy_from_slice(channel);
        let low = if planted::has(Planted::CursorBeforeDelivery) { self.seen } else { self.low };
        for (n, value) in [low, self.start, self.common_before, self.addressed_before].into_iter().enumerate() {
            put64(&mut raw, 40 + n * 8, value);
        }
        for (n, count) in ledger.into_iter().enumerate() {
            put64(&mut raw, 72 + n * 8, count);
        }
        raw[128] = self.name.len() as u8;
        raw[129] = match self.takes {
            Takes::Common => 1,
            Takes::Addressed => 2,
        };
        raw[130..132].copy_from_slice(&(ranges.len() as u16).to_le_bytes());
        raw[132..134].copy_from_slice(&(self.note.len() as u16).to_le_bytes());
        raw[136..136 + self.name.len()].copy_from_slice(self.name.as_bytes());
        for (n, range) in ranges.into_iter().enumerate() {
            put64(&mut raw, 200 + n * 16, range.start);
            put64(&mut raw, 208 + n * 16, range.end);
        }
        raw[4296..4296 + self.note.len()].copy_from_slice(&self.note);
        put64(&mut raw, 7368, durable.position);
        put64(&mut raw, 7376, durable.common);
        put64(&mut raw, 7384, durable.addressed_to(self.id));
        finish(raw)
    }
}

/// Whether a range of it may be forgotten: the same items are left out again when they are read again.
fn is_light(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Filtered | Outcome::SampledOut)
}

/// The slot of a drain that was given up.
pub fn encode_forgotten(channel: &[u8; 16], generation: u64) -> Vec<u8> {
    let mut raw = vec![0; SLOT_BYTES];
    raw[0..8].copy_from_slice(MAGIC);
    raw[12..14].copy_from_slice(&MAJOR.to_le_bytes());
    raw[14..16].copy_from_slice(&MINOR.to_le_bytes());
    put64(&mut raw, 16, generation);
    raw[24..40].copy_from_slice(channel);
    finish(raw)
}

fn finish(mut raw: Vec<u8>) -> Vec<u8> {
    let sum = frame::crc(&[&raw]);
    put32(&mut raw, 8, sum);
    raw
}

/// What a slot holds.
#[derive(Debug)]
pub enum Slot {
    /// Never written.
    Blank,
    /// Torn or rotten.
    Invalid,
    Version {
        major: u16,
        minor: u16,
    },
    Foreign,
    Forgotten {
        generation: u64,
    },
    /// With what was durable when it was written: position, common, addressed to this drain.
    Live {
        cursor: Box<Cursor>,
        durable: (u64, u64, u64),
    },
}

impl Slot {
    /// The generation of a valid slot.
    pub fn generation(&self) -> Option<u64> {
        match self {
            Slot::Forgotten { generation } => Some(*generation),
            Slot::Live { cursor, .. } => Some(cursor.generation),
            _ => None,
        }
    }
}

/// Whether a slot ([`SLOT_BYTES`] long) is one, of whatever channel and version.
fn is_whole(raw: &[u8]) -> bool {
    raw.len() == SLOT_BYTES && raw[0..8] == MAGIC[..] && get32(raw, 8) == frame::crc(&[&raw[..8], &[0; 4], &raw[12..]])
}

/// The channel that a slot is of, if it can be read.
pub fn channel_of(raw: &[u8]) -> Option<[u8; 16]> {
    is_whole(raw).then(|| raw[24..40].try_into().expect("sixteen bytes"))
}

/// The same slot for another channel.
pub fn of_channel(raw: &[u8], channel: &[u8; 16]) -> Vec<u8> {
    let mut raw = raw.to_vec();
    raw[24..40].copy_from_slice(channel);
    put32(&mut raw, 8, 0);
    finish(raw)
}

/// Reads a slot ([`SLOT_BYTES`] long).
pub fn decode(raw: &[u8], channel: &[u8; 16]) -> Slot {
    if is_zero(raw) {
        return Slot::Blank;
    }
    if !is_whole(raw) {
        return Slot::Invalid;
    }
    let (major, minor) = (u16::from_le_bytes([raw[12], raw[13]]), u16::from_le_bytes([raw[14], raw[15]]));
    if major != MAJOR {
        return Slot::Version { major, minor };
    }
    if raw[24..40] != channel[..] {
        return Slot::Foreign;
    }
    if raw[129] == 0 {
        return Slot::Forgotten { generation: get64(raw, 16) };
    }
    decode_live(raw).unwrap_or(Slot::Invalid)
}

fn decode_live(raw: &[u8]) -> Option<Slot> {
    let name = std::str::from_utf8(raw.get(136..136 + usize::from(raw[128]).min(NAME_BYTES_MAX))?).ok()?;
    let takes = if raw[129] == 2 { Takes::Addressed } else { Takes::Common };
    let low = get64(raw, 40);
    let mut cursor = Cursor::begin(name, takes, &Point::default());
    cursor.low = low;
    cursor.seen = low;
    cursor.start = get64(raw, 48);
    cursor.common_before = get64(raw, 56);
    cursor.addressed_before = get64(raw, 64);
    cursor.generation = get64(raw, 16);
    for (n, count) in cursor.ledger.iter_mut().enumerate() {
        *count = get64(raw, 72 + n * 8);
    }
    // As with the ranges below: no log has had so many positions.
    let counted = cursor.ledger.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
    counted.filter(|sum| *sum <= u64::MAX / 2)?;
    let ranges = usize::from(u16::from_le_bytes([raw[130], raw[131]]));
    let mut above = low;
    for n in 0..ranges {
        let (first, end) = (get64(raw, 200 + n * 16), get64(raw, 208 + n * 16));
        // A CRC that fits excludes it, but for a writer's bug: then it is for a person, too.
        if ranges > RANGES_MAX || first < above || end <= first {
            return None;
        }
        above = end;
        cursor.ranges.insert(first, Settled { end, tally: [0; OUTCOMES], kept: true, light: false });
    }
    cursor.firm = cursor.ranges.len();
    let note_len = usize::from(u16::from_le_bytes([raw[132], raw[133]])).min(NOTE_BYTES_MAX);
    cursor.note = Bytes::copy_from_slice(&raw[4296..4296 + note_len]);
    let durable = (get64(raw, 7368), get64(raw, 7376), get64(raw, 7384));
    Some(Slot::Live { cursor: Box::new(cursor), durable })
}
