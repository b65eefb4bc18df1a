//! Gathering: frames of the channel into the planner, until it closes a stretch.
//!
//! What was published by another rule is not planned again: up to the last mark in the note all goes by the rule that
//! the note records, and behind it by the one that is configured.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Archive;
use crate::archive::lane::{Marks, Rule};
use crate::archive::stretch::Stretch;
use crate::channel::{Head, Kind, Outcome, ReadError, Taken};

/// How long a stop waits for a frame that is known to wait: reading it may take a slow disk's time.
const STOP_LINGER: Duration = Duration::from_secs(1);

/// How often it is looked whether intake stands still because of what is open here.
const PRESSURE_TICK: Duration = Duration::from_millis(200);

/// The rule that is configured, where what is published above the cursor's low end was told apart by another.
pub struct Later {
    rule: Rule,
    /// Behind the last position that is published by the other.
    from: u64,
    /// A frame, or the rest of one, that came from there on.
    frame: Option<Taken>,
}

impl Archive {
    /// Goes on behind what is published: by the rule that told it apart as far as it reaches, then by `rule`.
    pub(super) fn go_on_with(&mut self, rule: Rule) {
        let marks = self.planner.marks().clone();
        if marks.is_empty() || *self.planner.rule() == rule {
            return self.planner.follow(rule, marks);
        }
        self.later = Some(Later { rule, from: marks.end(), frame: None });
    }

    /// The next stretch that is to be an object. `None`: stopping; some may still be open.
    pub(super) async fn gather(&mut self, stop: &CancellationToken) -> Option<Stretch> {
        loop {
            if let Some(stretch) = self.planned() {
                return Some(stretch);
            }
            match self.add().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    self.patience.failed(&error.into());
                    self.patience.rest(stop).await;
                    if stop.is_cancelled() {
                        return None;
                    }
                    continue;
                }
            }
            let (due, pressure) = (self.planner.due(), Instant::now() + PRESSURE_TICK);
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                taken = self.tap.next() => match taken {
                    Ok(Some(taken)) => {
                        self.patience.recovered();
                        self.frame = Some(taken);
                    }
                    Ok(None) => return None,
                    Err(error) => {
                        self.patience.failed(&error.into());
                        self.patience.rest(stop).await;
                    }
                },
                () = at(due) => {}
                () = tokio::time::sleep_until(pressure), if due.is_some() => {
                    if self.ledger.keeps_intake_waiting() {
                        return self.planner.take_oldest();
                    }
                }
            }
        }
    }

    /// On a stop: what is durable already, as far as one object of it holds.
    pub(super) async fn gather_last(&mut self) -> Option<Stretch> {
        loop {
            if let Some(stretch) = self.planned() {
                return Some(stretch);
            }
            match self.add().await {
                Ok(true) => continue,
                Ok(false) => {}
                // Nothing behind it may be taken before it.
                Err(_) => break,
            }
            if self.ledger.waiting() <= self.planner.spans() {
                break;
            }
            let Ok(Ok(Some(taken))) = tokio::time::timeout(STOP_LINGER, self.tap.next()).await else { break };
            self.frame = Some(taken);
        }
        self.planner.take_oldest()
    }

    /// A stretch that is to be closed, if one is.
    fn planned(&mut self) -> Option<Stretch> {
        loop {
            let closed = self.planner.next(Instant::now());
            self.status.waiting_since(self.planner.oldest_us());
            if closed.is_some() {
                return closed;
            }
            self.settle_published();
            let later = self.later.take_if(|_| self.planner.is_ended())?;
            self.planner.follow(later.rule, Marks::default());
            self.frame = later.frame;
            if self.frame.is_some() {
                return None;
            }
        }
    }

    /// Settles what was read and is published: after a restart it is passed over.
    fn settle_published(&mut self) {
        let low = self.planner.low();
        if self.planner.rule().path.is_per_span() && low > self.settled {
            self.ledger.settle(self.settled..low, Outcome::Delivered);
            self.settled = low;
        }
    }

    /// Adds what the archive takes of the frame that was taken, if one was. After an error that is still to be added.
    async fn add(&mut self) -> Result<bool, ReadError> {
        let Some(whole) = self.frame.take_if(|frame| frame.head.kind == Kind::Spans) else {
            return Ok(self.frame.take().is_some());
        };
        let from = self.later.as_ref().map_or(u64::MAX, |later| later.from);
        let (now, then) = split(&whole, from);
        let taken = Taken { head: whole.head.clone(), open: now };
        let mut kept = self.planner.rule().sieve.take(taken.clone(), &self.ledger).open;
        let body = match self.body(&taken.head, &kept).await {
            Ok(body) => body,
            Err(ReadError::Damaged { .. }) => {
                let at = |item: u32| taken.head.at.first + u64::from(item);
                let lost = kept.drain(..).map(|items| (at(items.start)..at(items.end), Outcome::Damaged));
                self.ledger.settle_all(lost);
                None
            }
            Err(error) => {
                self.frame = Some(whole);
                return Err(error);
            }
        };
        self.planner.add(taken, &kept, body.as_deref(), Instant::now());
        if let Some(later) = &mut self.later
            && whole.head.at.first + u64::from(whole.head.at.items) >= later.from
        {
            self.planner.end();
            later.frame = (!then.is_empty()).then_some(Taken { open: then, ..whole });
        }
        Ok(true)
    }

    /// The body of a frame, where the times of its spans tell their lanes.
    async fn body(&self, head: &Head, kept: &[Range<u32>]) -> Result<Option<Bytes>, ReadError> {
        if kept.is_empty() || !self.planner.rule().path.is_by_span_time() {
            return Ok(None);
        }
        self.ledger.body(head).await.map(Some)
    }
}

/// The open items below a position, and those from it on.
fn split(taken: &Taken, from: u64) -> (Vec<Range<u32>>, Vec<Range<u32>>) {
    let at = u32::try_from(from.saturating_sub(taken.head.at.first)).unwrap_or(u32::MAX);
    let below = taken.open.iter().map(|range| range.start..range.end.min(at));
    let above = taken.open.iter().map(|range| range.start.max(at)..range.end);
    let some = |range: &Range<u32>| !range.is_empty();
    (below.filter(some).collect(), above.filter(some).collect())
}

/// Ends at `due`; never, without one.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
