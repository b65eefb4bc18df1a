//! Spans that a drain gives up: too old for it, or the oldest when the channel is full.
//!
//! Both are floors that rise: what lies below is settled, `expired` or `skipped`, as soon as no batch
//! of it is on its way to a sink. So nothing is counted as given up and delivered after all, and the
//! slots, which follow, are durable before a segment goes. Each kind is told in one line for all that
//! went in a while, with positions: an archive's objects are named by them.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::batch::{Batch, Stretch};
use super::cut::Cutter;
use super::judge::Judge;
use super::run::at;
use super::{Overflow, Settings};
use crate::channel::{Ledger, Outcome, Taken, Tap};

/// How often ages are looked at: a part of `max_age`, within these bounds.
const LOOKS: u32 = 8;
const LOOK_MIN: Duration = Duration::from_millis(100);
const LOOK_MAX: Duration = Duration::from_secs(10);
/// What is given up in this time is one line of the log, and all of a minute the next.
const FIRST_LINE: Duration = Duration::from_secs(2);
const NEXT_LINE: Duration = Duration::from_secs(60);

/// A drain's floors.
pub(super) struct GivingUp {
    drain: String,
    channel: String,
    kept_in: watch::Receiver<Option<String>>,
    ledger: Ledger,
    max_age: Option<Duration>,
    look_due: Instant,
    /// Present where the drain skips.
    asked: Option<watch::Receiver<u64>>,
    expired: Floor,
    skipped: Floor,
}

/// What lies below a position is given up.
struct Floor {
    outcome: Outcome,
    below: u64,
    untold: Option<Untold>,
    next_line: Instant,
}

/// What was given up since the last line.
struct Untold {
    spans: u64,
    positions: Range<u64>,
    due: Instant,
}

impl GivingUp {
    /// `kept_in` says where archives keep what is skipped.
    pub fn new(settings: &Settings, tap: &Tap, kept_in: watch::Receiver<Option<String>>) -> GivingUp {
        let floor = |outcome| Floor { outcome, below: 0, untold: None, next_line: Instant::now() };
        GivingUp {
            drain: settings.name.clone(),
            channel: tap.channel_id().to_owned(),
            kept_in,
            ledger: tap.ledger(),
            max_age: settings.max_age,
            look_due: Instant::now(),
            asked: (settings.overflow == Overflow::Skip).then(|| tap.may_skip()),
            expired: floor(Outcome::Expired),
            skipped: floor(Outcome::Skipped),
        }
    }

    /// Ends when a floor may have risen, or a line is due. Cancel safe.
    pub async fn due(&mut self) {
        let untold = [&self.expired, &self.skipped].into_iter().filter_map(|floor| floor.untold.as_ref());
        let look = self.max_age.map(|_| self.look_due);
        let wake = untold.map(|untold| untold.due).chain(look).min();
        tokio::select! {
            biased;
            () = asked(&mut self.asked) => {}
            () = at(wake) => {}
        }
    }

    /// Raises the floors, takes what lies below out of what waits, and tells what is due.
    pub fn give_up(&mut self, waiting: &mut VecDeque<Batch>, cutter: &mut Cutter, judge: &mut Judge, now: Instant) {
        if let Some(asked) = &mut self.asked {
            self.skipped.below = self.skipped.below.max(*asked.borrow_and_update());
        }
        if let Some(age) = self.max_age.filter(|_| self.look_due <= now) {
            self.expired.below = self.expired.below.max(self.ledger.older_than(age));
            self.look_due = now + (age / LOOKS).clamp(LOOK_MIN, LOOK_MAX);
        }
        for floor in [&mut self.expired, &mut self.skipped].into_iter().filter(|floor| floor.below > 0) {
            let mut given_up = cutter.take_before(floor.below);
            given_up.extend(judge.take_before(floor.below));
            given_up.extend(waiting.iter_mut().flat_map(|batch| batch.take_before(floor.below)));
            waiting.retain(|batch| batch.spans > 0);
            floor.settle(given_up.iter().map(Stretch::positions), &self.ledger, now);
        }
        self.tell(now);
    }

    /// What of a batch that comes back is still to be sent.
    pub fn strain(&mut self, mut batch: Batch, now: Instant) -> Option<Batch> {
        for floor in [&mut self.expired, &mut self.skipped] {
            let given_up = batch.take_before(floor.below);
            floor.settle(given_up.iter().map(Stretch::positions), &self.ledger, now);
        }
        (batch.spans > 0).then_some(batch)
    }

    /// What of a frame that was taken is to be sent.
    pub fn take(&mut self, mut taken: Taken, now: Instant) -> Taken {
        let first = taken.head.at.first;
        for floor in [&mut self.expired, &mut self.skipped].into_iter().filter(|floor| floor.below > first) {
            let cut = u32::try_from(floor.below - first).unwrap_or(u32::MAX);
            let below = taken.open.iter().map(|items| items.start.min(cut)..items.end.min(cut));
            let positions = |items: Range<u32>| first + u64::from(items.start)..first + u64::from(items.end);
            floor.settle(below.map(positions).filter(|range| !range.is_empty()), &self.ledger, now);
            taken.open = taken.open.iter().map(|items| items.start.max(cut)..items.end.max(cut)).collect();
            taken.open.retain(|items| !items.is_empty());
        }
        taken
    }

    fn tell(&mut self, now: Instant) {
        let drain = self.drain.as_str();
        if let Some(Untold { spans, positions, .. }) = self.expired.told(now) {
            let (first, last) = (positions.start, positions.end - 1);
            tracing::warn!(drain, spans, first, last, "spans that waited longer than max_age were given up");
        }
        if let Some(Untold { spans, positions, .. }) = self.skipped.told(now) {
            let (first, last, channel) = (positions.start, positions.end - 1, self.channel.as_str());
            let kept = match &*self.kept_in.borrow() {
                Some(places) => format!(
                    "the objects that cover these positions hold them, in {places}; to send them later: spangate archive \
                     replay --channel {channel} --first {first} --last {last} --into URL"
                ),
                None => "no archive has all spans, so they are lost to it".to_owned(),
            };
            tracing::warn!(drain, spans, first, last, channel, "the channel was full: spans were skipped; {kept}");
        }
    }
}

/// Ends when more is asked than before; never where nothing is.
async fn asked(by: &mut Option<watch::Receiver<u64>>) {
    match by {
        // A channel that is gone asks nothing.
        Some(by) => match by.changed().await {
            Ok(()) => {}
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

impl Floor {
    fn settle(&mut self, positions: impl Iterator<Item = Range<u64>>, ledger: &Ledger, now: Instant) {
        let positions: Vec<Range<u64>> = positions.collect();
        let Some(first) = positions.iter().map(|range| range.start).min() else { return };
        let end = positions.iter().map(|range| range.end).max().unwrap_or(first);
        let due = self.next_line.max(now + FIRST_LINE);
        let untold = self.untold.get_or_insert(Untold { spans: 0, positions: first..end, due });
        untold.spans += positions.iter().map(|range| range.end - range.start).sum::<u64>();
        untold.positions = untold.positions.start.min(first)..untold.positions.end.max(end);
        ledger.settle_all(positions.into_iter().map(|range| (range, self.outcome)));
    }

    /// What is to be told by now.
    fn told(&mut self, now: Instant) -> Option<Untold> {
        let told = self.untold.take_if(|untold| untold.due <= now);
        if told.is_some() {
            self.next_line = now + NEXT_LINE;
        }
        told
    }
}

impl Drop for GivingUp {
    fn drop(&mut self) {
        // What a stop leaves untold.
        self.tell(Instant::now() + NEXT_LINE);
    }
}
