//! Which spans go into one object: frame heads in, stretches out. Pure; the caller brings the time.
//!
//! A stretch is closed by the estimated size of its object, by age, by idle time, because it keeps too
//! much of the channel waiting, or because the next frame came in when another directory had begun. The
//! estimate is item bytes times the ratio that earlier objects had: a target, not a limit. Within a
//! stretch the wall clock does not run backwards: what it says to be earlier than the first frame goes
//! where that went. So a clock that jumps to and fro makes one object more at each roll, not one a frame.
//! Memory does not grow with a stretch.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use tokio::time::Instant;

use super::path::Template;
use crate::channel::{Head, Taken};

/// A stretch of a million copies of one span must not teach us that objects cost nothing: the next
/// one would have no bound.
const RATIO_RANGE: RangeInclusive<f64> = 0.02..=4.0;

/// An object smaller than this is mostly header and start-up of the compressor: it teaches nothing.
const RATIO_SAMPLE_BYTES_MIN: u64 = 64 << 10;

/// Between the frames of a stretch lie positions of others (entries set aside, damage). Each gap is a
/// range in the drain's cursor, which holds 224 before it gives no further frame: a peer that sends
/// bad entries must not make the archive wait for its idle time.
const GAPS_MAX: u32 = 128;

/// What a sieve left out between two spans is a range, too, but in memory only: half of those that a cursor holds.
const RUNS_MAX: u32 = 32_768;

/// When a stretch is closed.
#[derive(Debug, Clone, Copy)]
pub struct Rolls {
    /// Estimated bytes of the object.
    pub bytes: u64,
    /// Bytes of the log that it keeps from being removed: a small channel must not fill up, and stop
    /// intake, for the sake of a large object.
    pub pinned_bytes: u64,
    /// Spans that it keeps waiting, for the same reason where the channel's are bounded.
    pub pinned_spans: u64,
    /// Since the first span was taken.
    pub age: Duration,
    /// Since the last span was taken.
    pub idle: Duration,
}

/// Spans from `first` to `last`, inclusive; positions of others may lie between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Where its object goes: empty, or with a slash at its end.
    pub dir: String,
    pub first: u64,
    pub last: u64,
    pub spans: u64,
    /// Canonical bytes of the spans.
    pub bytes: u64,
    /// Receive time of the first frame, microseconds since the epoch.
    pub oldest_us: u64,
}

#[derive(Debug)]
struct Open {
    stretch: Stretch,
    pinned_bytes: u64,
    gaps: u32,
    /// Spans that follow each other, counted as one.
    runs: u32,
    /// Behind the last frame that was added.
    end: u64,
    first_at: Instant,
    last_at: Instant,
}

impl Open {
    /// A stretch whose first span is at `first`, in a frame whose first open item is at `from`.
    fn begin(dir: String, first: u64, from: u64, oldest_us: u64, now: Instant) -> Open {
        let stretch = Stretch { dir, first, last: first, spans: 0, bytes: 0, oldest_us };
        Open { stretch, pinned_bytes: 0, gaps: 0, runs: 0, end: from, first_at: now, last_at: now }
    }
}

/// Adds frames up to stretches.
#[derive(Debug)]
pub struct Planner {
    rolls: Rolls,
    path: Template,
    channel: String,
    ratio: f64,
    open: Option<Open>,
}

impl Planner {
    /// Objects of `channel` go where `path` says. `ratio`: bytes of an object for each byte of its items, until one was
    /// measured.
    pub fn new(rolls: Rolls, path: Template, channel: &str, ratio: f64) -> Self {
        Planner { rolls, path, channel: channel.to_owned(), ratio, open: None }
    }

    /// Adds the items `kept` of a frame's open ones; gives the stretch that ends before it, if it belongs elsewhere.
    /// Frames come in order of position; one of which nothing is kept neither begins nor ends a stretch.
    pub fn add(&mut self, taken: &Taken, kept: &[Range<u32>], now: Instant) -> Option<Stretch> {
        let ended = if kept.is_empty() || !self.goes_elsewhere(taken.head.received_us) { None } else { self.take() };
        self.add_here(taken, kept, now);
        ended
    }

    fn dir(&self, received_us: u64) -> String {
        self.path.dir(received_us, &self.channel)
    }

    /// Whether what came in then is for another directory than the open stretch's, and not for an earlier one.
    fn goes_elsewhere(&self, received_us: u64) -> bool {
        let stretch = self.open.as_ref().map(|open| &open.stretch);
        stretch.is_some_and(|open| received_us > open.oldest_us && self.dir(received_us) != open.dir)
    }

    fn add_here(&mut self, taken: &Taken, kept: &[Range<u32>], now: Instant) {
        let (Some(head_open), Some(tail_open)) = (taken.open.first(), taken.open.last()) else { return };
        let (at, received_us) = (|item: u32| taken.head.at.first + u64::from(item), taken.head.received_us);
        let (from, end) = (at(head_open.start), at(tail_open.end));
        if let (None, Some(range)) = (&self.open, kept.first()) {
            self.open = Some(Open::begin(self.dir(received_us), at(range.start), from, received_us, now));
        }
        let Some(open) = &mut self.open else { return };
        assert!(from >= open.end, "frames come in order of position");
        open.gaps += u32::from(from > open.end) + taken.open.len() as u32 - 1;
        open.end = end;
        open.pinned_bytes += log_bytes(&taken.head);
        let Some(tail) = kept.last() else { return };
        open.runs += kept.len() as u32;
        open.last_at = now;
        open.stretch.last = at(tail.end) - 1;
        for range in kept {
            let items = &taken.head.items[range.start as usize..range.end as usize];
            open.stretch.spans += items.len() as u64;
            open.stretch.bytes += items.iter().map(|item| u64::from(item.len)).sum::<u64>();
        }
    }

    /// The stretch, if it is to be closed by now.
    pub fn close(&mut self, now: Instant) -> Option<Stretch> {
        let full = self.open.as_ref().is_some_and(|open| self.is_full(open));
        if full || self.due().is_some_and(|due| due <= now) { self.take() } else { None }
    }

    /// The stretch as it stands.
    pub fn take(&mut self) -> Option<Stretch> {
        self.open.take().map(|open| open.stretch)
    }

    /// When age or idle time will close the open stretch.
    pub fn due(&self) -> Option<Instant> {
        let open = self.open.as_ref()?;
        Some((open.first_at + self.rolls.age).min(open.last_at + self.rolls.idle))
    }

    /// Spans that are gathered.
    pub fn spans(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.stretch.spans)
    }

    /// Receive time of the oldest span that is gathered, microseconds since the epoch.
    pub fn oldest_us(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.stretch.oldest_us)
    }

    /// Learns from a published object: a moving average, so that one odd object moves it by a quarter.
    pub fn learn(&mut self, item_bytes: u64, object_bytes: u64) {
        if item_bytes >= RATIO_SAMPLE_BYTES_MIN {
            let measured = object_bytes as f64 / item_bytes as f64;
            let average = self.ratio * 0.75 + measured * 0.25;
            self.ratio = average.clamp(*RATIO_RANGE.start(), *RATIO_RANGE.end());
        }
    }

    fn is_full(&self, open: &Open) -> bool {
        let object_bytes = (open.stretch.bytes as f64 * self.ratio) as u64;
        object_bytes >= self.rolls.bytes
            || open.pinned_bytes >= self.rolls.pinned_bytes
            || open.stretch.spans >= self.rolls.pinned_spans
            || open.gaps >= GAPS_MAX
            || open.runs >= RUNS_MAX
    }
}

/// What a frame takes in the log (DURABILITY.md, frame), but for its labels and padding.
fn log_bytes(head: &Head) -> u64 {
    64 + 16 * head.items.len() as u64 + u64::from(head.body_len)
}

#[cfg(test)]
mod tests;
