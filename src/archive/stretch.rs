//! Which spans go into one object: frame heads in, stretches out. Pure; the caller brings the time.
//!
//! A stretch is what one [`Lane`] has of a range of positions; lanes interleave, as many as a note has marks for. One
//! is closed by the estimated size of its object (item bytes times the ratio that earlier objects had: a target, not a
//! limit), by age or by idle time; the one that began first is closed when what lies behind its beginning is too much,
//! or when another lane has no room. Where directories are by time alone there is one lane at a time, and within its
//! stretch the wall clock does not run backwards: what it says to be earlier than the first frame goes where that went.
//! So a clock that jumps to and fro makes one object more at each roll, not one a frame. Memory does not grow with a
//! stretch.

use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use tokio::time::Instant;

use super::lane::{APART_MAX, Lane, Marks, Rule};
use super::note::Note;
use super::plan::Plan;
use crate::channel::{Head, Taken};

/// A stretch of a million copies of one span must not teach us that objects cost nothing: the next
/// one would have no bound.
const RATIO_RANGE: RangeInclusive<f64> = 0.02..=4.0;

/// An object of fewer item bytes is too much header and start-up of the compressor to teach anything: of plain spans in
/// Parquet, one of 64 KiB has twice the ratio of a large one, one of 1 MiB a sixteenth more.
const RATIO_SAMPLE_BYTES_MIN: u64 = 1 << 20;

/// Between the frames of a stretch lie positions of others (entries set aside, damage). Each gap is a
/// range in the drain's cursor, which holds 224 before it gives no further frame: a peer that sends
/// bad entries must not make the archive wait for its idle time.
const GAPS_MAX: u64 = 128;

/// What a sieve left out between two spans is a range, too, but in memory only: half of those that a cursor holds.
const RUNS_MAX: u64 = 32_768;

/// Positions from the first open one on: marks are told from each other by 32 bits.
const OPEN_POSITIONS_MAX: u64 = APART_MAX / 2;

/// When a stretch is closed.
#[derive(Debug, Clone, Copy)]
pub struct Rolls {
    /// Estimated bytes of the object.
    pub bytes: u64,
    /// Bytes of the log that open stretches keep from being removed: a small channel must not fill up, and stop
    /// intake, for the sake of a large object.
    pub pinned_bytes: u64,
    /// Spans that they keep waiting, for the same reason where the channel's are bounded.
    pub pinned_spans: u64,
    /// Since the first span was taken.
    pub age: Duration,
    /// Since the last span was taken.
    pub idle: Duration,
}

/// Spans of a lane from `first` to `last`, inclusive; positions of others may lie between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Where its object goes.
    pub lane: Lane,
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
    /// What was read before it began.
    before: Read,
    first_at: Instant,
    last_at: Instant,
}

/// What was read of the channel so far.
#[derive(Debug, Clone, Copy, Default)]
struct Read {
    log_bytes: u64,
    spans: u64,
    gaps: u64,
    /// Spans that follow each other, counted as one.
    runs: u64,
}

/// The rest of a frame, not yet in a stretch.
#[derive(Debug)]
struct Frame {
    taken: Taken,
    runs: VecDeque<(Range<u32>, Lane)>,
    /// What was read before it, but for its spans.
    before: Read,
    now: Instant,
}

/// Bytes of an object for each byte of its items; one for all lanes of an archive.
#[derive(Debug, Clone, Copy)]
enum Ratio {
    /// The format's guess, good for the first object that is large enough to be measured.
    Guessed(f64),
    Measured(f64),
}

impl Ratio {
    fn value(self) -> f64 {
        match self {
            Ratio::Guessed(ratio) | Ratio::Measured(ratio) => ratio,
        }
    }

    /// A guess gives way at once; a moving average after that, so that one odd object moves it by a quarter.
    fn after(self, measured: f64) -> Ratio {
        let ratio = match self {
            Ratio::Guessed(_) => measured,
            Ratio::Measured(average) => average * 0.75 + measured * 0.25,
        };
        Ratio::Measured(ratio.clamp(*RATIO_RANGE.start(), *RATIO_RANGE.end()))
    }
}

/// Adds frames up to stretches.
#[derive(Debug)]
pub struct Planner {
    rolls: Rolls,
    rule: Rule,
    channel: String,
    ratio: Ratio,
    /// In the order of their first positions.
    open: Vec<Open>,
    /// Where the stretch begins that was given last, until it is published.
    taken: Option<u64>,
    marks: Marks,
    /// Lanes that may be open or marked.
    lanes_max: usize,
    frame: Option<Frame>,
    read: Read,
    /// Behind the last frame that was added.
    end: u64,
    /// Behind the last span that was kept.
    kept_to: u64,
    /// All that is open is to be closed.
    ending: bool,
}

impl Planner {
    /// Objects of `channel` go where the rule says. `ratio`: bytes of an object for each byte of its items, until one
    /// was measured.
    pub fn new(rolls: Rolls, rule: Rule, channel: &str, ratio: f64) -> Self {
        let lanes_max = if rule.path.is_per_span() { Note::lanes_max(&rule) } else { 1 };
        Planner {
            rolls,
            rule,
            channel: channel.to_owned(),
            ratio: Ratio::Guessed(ratio),
            open: Vec::new(),
            taken: None,
            marks: Marks::default(),
            lanes_max,
            frame: None,
            read: Read::default(),
            end: 0,
            kept_to: 0,
            ending: false,
        }
    }

    /// Goes on by another rule, where that has these marks. Nothing is open.
    pub fn follow(&mut self, rule: Rule, marks: Marks) {
        assert!(self.is_empty(), "what was planned by the rule before is published");
        let Planner { rolls, channel, ratio, read, end, .. } = self;
        let planner = Planner::new(*rolls, rule, channel, ratio.value());
        *self = Planner { marks, ratio: *ratio, read: *read, end: *end, ..planner };
    }

    /// Adds the items `kept` of a frame's open ones. Frames come in order of position, and one when
    /// [`next`](Self::next) has given what the one before it closed; one of which nothing is kept neither begins nor
    /// ends a stretch. `body` is the frame's, where the times of spans tell their lanes.
    pub fn add(&mut self, taken: Taken, kept: &[Range<u32>], body: Option<&[u8]>, now: Instant) {
        let (Some(head_open), Some(tail_open)) = (taken.open.first(), taken.open.last()) else { return };
        let at = |item: u32| taken.head.at.first + u64::from(item);
        let (from, end) = (at(head_open.start), at(tail_open.end));
        assert!(from >= self.end && self.frame.is_none(), "frames come in order of position, one at a time");
        self.read.gaps += u64::from(from > self.end);
        let before = self.read;
        self.end = end;
        self.read.gaps += taken.open.len() as u64 - 1;
        let goes_on = kept.first().is_some_and(|first| at(first.start) == self.kept_to);
        self.read.runs += kept.len() as u64 - u64::from(goes_on);
        self.kept_to = kept.last().map_or(self.kept_to, |last| at(last.end));
        self.read.log_bytes += log_bytes(&taken.head);
        let runs = self.lanes(&taken.head, kept, body).into();
        self.frame = Some(Frame { taken, runs, before, now });
        self.place_frame();
    }

    fn lanes(&self, head: &Head, kept: &[Range<u32>], body: Option<&[u8]>) -> Vec<(Range<u32>, Lane)> {
        if self.rule.path.is_per_span() {
            return self.rule.lanes(head, kept, &self.channel, body);
        }
        if kept.is_empty() {
            return Vec::new();
        }
        let here = self.open.first().map(|open| &open.stretch).filter(|open| head.received_us <= open.oldest_us);
        let lane = here
            .map_or_else(|| Lane::new(&self.rule.path.dir(head.received_us, &self.channel)), |open| open.lane.clone());
        kept.iter().map(|range| (range.clone(), lane.clone())).collect()
    }

    /// The next stretch that is to be closed by now.
    pub fn next(&mut self, now: Instant) -> Option<Stretch> {
        if let Some(in_the_way) = self.place_frame() {
            return self.take(in_the_way);
        }
        let due = |open: &Open| self.is_large(open) || self.due_of(open) <= now;
        let at = if self.ending || self.keeps_too_much() { 0 } else { self.open.iter().position(due)? };
        self.take(at)
    }

    /// Puts the frame into stretches, until one is in the way.
    fn place_frame(&mut self) -> Option<usize> {
        let mut frame = self.frame.take()?;
        while let Some((run, lane)) = frame.runs.pop_front() {
            let first = frame.taken.head.at.first;
            let published = self.marks.of(lane.fingerprint).map_or(0, |last| (last + 1).saturating_sub(first));
            let fresh = run.start.max(u32::try_from(published).unwrap_or(u32::MAX))..run.end;
            if !fresh.is_empty()
                && let Some(in_the_way) = self.add_run(&frame, fresh, &lane)
            {
                frame.runs.push_front((run, lane));
                self.frame = Some(frame);
                return Some(in_the_way);
            }
            self.read.spans += u64::from(run.end - run.start);
        }
        None
    }

    /// Adds items that follow each other; gives the open stretch that has to go before they can be.
    fn add_run(&mut self, frame: &Frame, run: Range<u32>, lane: &Lane) -> Option<usize> {
        let head = &frame.taken.head;
        let at = |item: u32| head.at.first + u64::from(item);
        let known = self.open.iter().position(|open| open.stretch.lane.fingerprint == lane.fingerprint);
        let open = match known {
            Some(at) if self.open[at].stretch.lane != *lane => return Some(at),
            Some(at) => &mut self.open[at],
            None if !self.has_room(lane, at(run.start)) => return Some(0),
            None => {
                let first = at(run.start);
                let stretch =
                    Stretch { lane: lane.clone(), first, last: first, spans: 0, bytes: 0, oldest_us: head.received_us };
                let before = Read { spans: self.read.spans, ..frame.before };
                self.open.push(Open { stretch, before, first_at: frame.now, last_at: frame.now });
                self.open.last_mut().expect("it was just added")
            }
        };
        open.last_at = frame.now;
        open.stretch.last = at(run.end) - 1;
        let items = &head.items[run.start as usize..run.end as usize];
        open.stretch.spans += items.len() as u64;
        open.stretch.bytes += items.iter().map(|item| u64::from(item.len)).sum::<u64>();
        None
    }

    /// Whether another lane may be opened at a position. Where nothing is open, nothing could make room.
    fn has_room(&mut self, lane: &Lane, at: u64) -> bool {
        self.marks.settle(self.open.first().map_or(at, |open| open.stretch.first));
        let is_open = |fingerprint: u32| self.open.iter().any(|open| open.stretch.lane.fingerprint == fingerprint);
        let marked = self.marks.lanes().filter(|mark| *mark != lane.fingerprint && !is_open(*mark)).count();
        self.open.is_empty() || self.open.len() + marked < self.lanes_max
    }

    fn take(&mut self, at: usize) -> Option<Stretch> {
        let stretch = (at < self.open.len()).then(|| self.open.remove(at).stretch)?;
        self.taken = Some(stretch.first);
        Some(stretch)
    }

    /// The stretch that began first, as it stands.
    pub fn take_oldest(&mut self) -> Option<Stretch> {
        self.take(0)
    }

    /// From here on all that is open is closed, until another rule is followed.
    pub fn end(&mut self) {
        self.ending = true;
    }

    /// Whether all is closed that was to be.
    pub fn is_ended(&self) -> bool {
        self.ending && self.is_empty()
    }

    /// Whether nothing is open, or about to be.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.frame.is_none()
    }

    /// A planned object stands. Gives the positions that may be settled: all of its stretch, or where lanes are many,
    /// what lies below the first that is open.
    pub fn published(&mut self, plan: &Plan) -> Range<u64> {
        self.taken = None;
        let Some(lane) = &plan.recipe.lane else { return plan.object.first..plan.object.last + 1 };
        self.marks.set(lane.fingerprint, plan.object.last);
        0..self.low()
    }

    /// Nothing is left of the stretch that was taken.
    pub fn given_up(&mut self) {
        self.taken = None;
    }

    /// Below this everything that was read is published or left out.
    pub fn low(&self) -> u64 {
        let first = |frame: &Frame| Some(frame.taken.head.at.first + u64::from(frame.runs.front()?.0.start));
        let open = self.open.first().map(|open| open.stretch.first);
        let low = open.or_else(|| self.frame.as_ref().and_then(first)).unwrap_or(self.end);
        self.taken.map_or(low, |taken| low.min(taken))
    }

    /// The marks that tell more than [`low`](Self::low).
    pub fn marks(&mut self) -> &Marks {
        let low = self.low();
        self.marks.settle(low);
        &self.marks
    }

    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// When age or idle time will close an open stretch.
    pub fn due(&self) -> Option<Instant> {
        self.open.iter().map(|open| self.due_of(open)).min()
    }

    fn due_of(&self, open: &Open) -> Instant {
        (open.first_at + self.rolls.age).min(open.last_at + self.rolls.idle)
    }

    /// Spans that were read from the first open one on.
    pub fn spans(&self) -> u64 {
        self.open.first().map_or(0, |open| self.read.spans - open.before.spans)
    }

    /// Receive time of the oldest span that is gathered, microseconds since the epoch.
    pub fn oldest_us(&self) -> Option<u64> {
        self.open.first().map(|open| open.stretch.oldest_us)
    }

    /// Learns from a published object of the format that is planned for.
    pub fn learn(&mut self, item_bytes: u64, object_bytes: u64) {
        if item_bytes >= RATIO_SAMPLE_BYTES_MIN {
            self.ratio = self.ratio.after(object_bytes as f64 / item_bytes as f64);
        }
    }

    fn is_large(&self, open: &Open) -> bool {
        (open.stretch.bytes as f64 * self.ratio.value()) as u64 >= self.rolls.bytes
    }

    /// Whether what lies behind the first open span is more than may wait for one object.
    fn keeps_too_much(&self) -> bool {
        let (Some(open), now) = (self.open.first(), &self.read) else { return false };
        let before = &open.before;
        now.log_bytes - before.log_bytes >= self.rolls.pinned_bytes
            || now.spans - before.spans >= self.rolls.pinned_spans
            || now.gaps - before.gaps >= GAPS_MAX
            || now.runs - before.runs >= RUNS_MAX
            || self.end - open.stretch.first >= OPEN_POSITIONS_MAX
    }
}

/// What a frame takes in the log (DURABILITY.md, frame), but for its labels and padding.
fn log_bytes(head: &Head) -> u64 {
    64 + 16 * head.items.len() as u64 + u64::from(head.body_len)
}

#[cfg(test)]
mod tests;
