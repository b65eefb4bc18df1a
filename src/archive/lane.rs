//! Lanes: the directories that are filled at one time, and how far each is published.
//!
//! A lane is one directory, as a [`Template`] gives it of a span. Lanes interleave in the channel, and a cursor settles
//! from its low end only as far as no lane is open. What was published above that is told by [`Marks`]: in each lane,
//! all up to its mark. A mark names its lane by a fingerprint: at most one lane of a fingerprint is open at a time
//! ([`Planner`](super::stretch::Planner)), so a mark is right for every lane that has it, whatever peers choose.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use super::path::Template;
use super::path::value::fingerprint;
use crate::channel::Head;
use crate::drain::Sieve;
use crate::span::canonical::{span_bytes, timestamp_of};

/// Lanes that are open, or published above the cursor's low end. Each is an object at least; Flume's bound of open
/// files is 5000, each with a client's buffers. Fewer where filter and path take the note's room.
pub const LANES_MAX: usize = 64;

/// A directory, empty or with a slash at its end. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    pub dir: Arc<str>,
    pub fingerprint: u32,
}

impl Lane {
    pub fn new(dir: &str) -> Lane {
        Lane { dir: dir.into(), fingerprint: fingerprint(dir) }
    }
}

/// Which spans an archive takes, and into which directories.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rule {
    pub sieve: Sieve,
    pub path: Template,
}

/// A span's time is believed so far before and behind its receive time, in microseconds. Beyond it a clock is wrong, or
/// somebody wants directories made: it goes by the time at which it came in.
const BEFORE_US: u64 = 7 * 86_400_000_000;
const BEHIND_US: u64 = 86_400_000_000;

impl Rule {
    /// The lanes of the items `kept`, each with as many as follow each other. Each directory is made once a frame (by
    /// the times of spans, once a second of theirs). `body` is the frame's, where spans' times tell: without it, all
    /// goes by the receive time.
    pub fn lanes(
        &self,
        head: &Head,
        kept: &[Range<u32>],
        channel: &str,
        body: Option<&[u8]>,
    ) -> Vec<(Range<u32>, Lane)> {
        let mut times = Times { head, body: body.filter(|_| self.path.is_by_span_time()), item: 0, at: 0 };
        let mut known: BTreeMap<(u16, u64), Lane> = BTreeMap::new();
        let mut runs: Vec<(Range<u32>, Lane)> = Vec::new();
        for index in kept.iter().cloned().flatten() {
            let (label, us) = (head.items[index as usize].label, times.of(index));
            let lane = known.entry((label, us / 1_000_000)).or_insert_with(|| {
                let service = head.labels.get(usize::from(label)).map(String::as_str);
                Lane::new(&self.path.lane(us, channel, &head.origin, service))
            });
            match runs.last_mut() {
                Some((run, last)) if run.end == index && last == lane => run.end += 1,
                _ => runs.push((index..index + 1, lane.clone())),
            }
        }
        runs
    }
}

/// The times of a frame's spans, asked for in order.
struct Times<'a> {
    head: &'a Head,
    body: Option<&'a [u8]>,
    /// The item at which the body is, and where that begins.
    item: u32,
    at: usize,
}

impl Times<'_> {
    fn of(&mut self, index: u32) -> u64 {
        let received = self.head.received_us;
        let Some(body) = self.body else { return received };
        let len = |item: u32| self.head.items[item as usize].len as usize;
        self.at += (self.item..index).map(len).sum::<usize>();
        self.item = index;
        // What is no span is met again when it is encoded.
        let span = body.get(self.at..self.at + len(index)).and_then(|element| span_bytes(element).ok());
        let time = span.and_then(|span| timestamp_of(span).ok());
        let believed = received.saturating_sub(BEFORE_US)..=received.saturating_add(BEHIND_US);
        time.filter(|time| *time > 0 && believed.contains(time)).unwrap_or(received)
    }
}

/// How far lanes are published, above a cursor's low end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<u32, u64>);

/// What a mark takes in a note: eight hex digits of the lane, eight of the position.
pub const MARK_BYTES: usize = 16;

/// Furthest that marks lie apart: the planner closes its oldest lane in time.
pub const APART_MAX: u64 = u32::MAX as u64;

impl Marks {
    /// What is published of a lane: all of it up to this position.
    pub fn of(&self, fingerprint: u32) -> Option<u64> {
        self.0.get(&fingerprint).copied()
    }

    pub fn set(&mut self, fingerprint: u32, last: u64) {
        self.0.insert(fingerprint, last);
    }

    /// Drops what lies below a cursor's low end.
    pub fn settle(&mut self, low: u64) {
        self.0.retain(|_, last| *last >= low);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lanes that have a mark.
    pub fn lanes(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    /// Behind all of them.
    pub fn end(&self) -> u64 {
        self.0.values().max().map_or(0, |last| last + 1)
    }
}

/// Nothing for none; else ` BASE` and 16 hex digits a lane: its fingerprint, and what its mark is above BASE.
impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(base) = self.0.values().min() else { return Ok(()) };
        write!(f, " {base} ")?;
        self.0.iter().try_for_each(|(lane, last)| write!(f, "{lane:08x}{:08x}", last - base))
    }
}

/// A text that no marks have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMarks;

impl FromStr for Marks {
    type Err = NoMarks;

    fn from_str(text: &str) -> Result<Marks, NoMarks> {
        if text.is_empty() {
            return Ok(Marks::default());
        }
        let (base, hex) = text.strip_prefix(' ').and_then(|text| text.split_once(' ')).ok_or(NoMarks)?;
        let base: u64 = base.parse().map_err(|_| NoMarks)?;
        let digits = |hex: &[u8]| -> Option<u32> {
            let lower = hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            lower.then(|| u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok())?
        };
        let read = |mark: &[u8]| {
            let (lane, above) = mark.split_at_checked(8)?;
            Some((digits(lane)?, base.checked_add(u64::from(digits(above).filter(|_| above.len() == 8)?))?))
        };
        let marks: Option<Vec<_>> = hex.as_bytes().chunks(MARK_BYTES).map(read).collect();
        let marks = Marks(marks.ok_or(NoMarks)?.into_iter().collect());
        // Said in one way, so that what was changed on the way is seen.
        if marks.to_string() == text { Ok(marks) } else { Err(NoMarks) }
    }
}

#[cfg(test)]
mod tests;
