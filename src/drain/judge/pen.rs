//! Batches kept apart from the flow: lone spans that were refused, and suspects.
//!
//! A refused span goes on when it can say something: to a sink that has not seen it, that took others since, or that
//! is known to take others. Without that, one of them all is tried at each step of a back-off, so that an idle drain
//! finds out when its collector is well again. A suspect has a back-off of its own: one try a step. Both are bounded;
//! beyond it a sink is held, or a batch stays in the flow.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::backoff::Backoff;
use super::super::batch::{Batch, Stretch};
use super::super::group::SinkId;
use super::record::Record;

/// Refused spans kept while new ones are sent as they come. A thousand of a minute hold their sink; this is four such
/// minutes. Each holds its frame's head.
const REFUSED_MAX: usize = 4096;
/// Refused spans kept while new ones are tried a few at a time: in four times as many without a good one between, their
/// sink is what is wrong.
const REFUSED_LAST: usize = 4 * REFUSED_MAX;
/// Spans of suspects: a dozen batches of the default size.
const SUSPECT_SPANS_MAX: u64 = 65_536;

/// What is kept apart, for whoever looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Lone spans that wait for a second opinion, or for a proof that their sink takes any.
    pub refused: u64,
    /// Spans of batches that break sinks.
    pub suspects: u64,
    /// New spans are sent a few at a time, for too much is kept.
    pub paused: bool,
}

#[derive(Debug)]
struct Kept {
    batch: Batch,
    /// Suspects: not before.
    due: Instant,
}

#[derive(Debug)]
pub(super) struct Pen {
    backoff: (Duration, Duration),
    refused: Vec<Batch>,
    suspects: Vec<Kept>,
    suspect_spans: u64,
    /// Of the refused span that is tried although nothing new is known.
    scout: Backoff,
    scout_due: Option<Instant>,
}

/// A place in the pen.
pub(super) enum Found {
    Refused(usize),
    Suspect(usize),
}

impl Pen {
    pub fn new(min: Duration, max: Duration) -> Self {
        Pen {
            backoff: (min, max),
            refused: Vec::new(),
            suspects: Vec::new(),
            suspect_spans: 0,
            scout: Backoff::new(min, max),
            scout_due: None,
        }
    }

    pub fn held(&self) -> Held {
        Held { refused: self.refused.len() as u64, suspects: self.suspect_spans, paused: !self.has_room() }
    }

    pub fn has_room(&self) -> bool {
        self.refused.len() < REFUSED_MAX
    }

    /// Whether nothing more can be kept.
    pub fn is_full(&self) -> bool {
        self.refused.len() >= REFUSED_LAST
    }

    /// One goes whatever its size.
    pub fn has_room_for_suspect(&self, spans: u32) -> bool {
        self.suspect_spans == 0 || self.suspect_spans + u64::from(spans) <= SUSPECT_SPANS_MAX
    }

    pub fn has_refused_by(&self, sink: SinkId) -> bool {
        self.refused.iter().any(|batch| batch.history.refused_by.contains(&sink))
    }

    /// Whether no other suspect is older.
    pub fn is_oldest_suspect(&self, batch: &Batch) -> bool {
        self.suspects.iter().all(|kept| kept.batch.first() >= batch.first())
    }

    pub fn put(&mut self, batch: Batch, now: Instant) {
        if !batch.history.suspect {
            // Behind the others, so that each is tried in turn.
            return self.refused.push(batch);
        }
        self.suspect_spans += u64::from(batch.spans);
        let due = now + self.rest(batch.history.failures);
        self.suspects.push(Kept { batch, due });
    }

    /// Something passed: a span that was refused may be asked about again at once.
    pub fn passed(&mut self, now: Instant) {
        self.scout.reset();
        self.scout_due = Some(now);
    }

    /// A refused span was refused again.
    pub fn scouted(&mut self, now: Instant) {
        self.scout_due = Some(now + self.scout.fail());
    }

    pub fn wakes(&self) -> Option<Instant> {
        let scout = self.scout_due.filter(|_| !self.refused.is_empty());
        self.suspects.iter().map(|kept| kept.due).chain(scout).min()
    }

    /// What may go to `sink`, which is one of those `up`, or is to be probed.
    pub fn find(&self, sink: SinkId, records: &BTreeMap<SinkId, Record>, up: &[SinkId], now: Instant) -> Option<Found> {
        let passed = |sink: &SinkId| records.get(sink).map_or(0, |record| record.passed);
        if records.get(&sink).is_some_and(|record| record.held) {
            let sample = self.refused.iter().position(|batch| batch.history.refused_by.contains(&sink));
            return sample.map(Found::Refused);
        }
        let scouts = self.scout_due.is_none_or(|due| due <= now);
        let asks = |batch: &Batch| {
            let history = &batch.history;
            let others = up.iter().any(|other| !history.knows(*other));
            let taken_since = history.refused.is_some_and(|refused| passed(&sink) > refused);
            let useful = !history.knows(sink) || (taken_since && !history.proven) || !others;
            useful && (!history.knows(sink) || taken_since || history.proven || scouts)
        };
        // One that all have failed with goes where something else passed since: only there it is told from its sink.
        let suspect = |kept: &Kept| {
            let history = &kept.batch.history;
            let others = up.iter().any(|other| !history.knows(*other));
            let tells = |sink: &SinkId| passed(sink) > history.last;
            let useful = if others { !history.knows(sink) } else { tells(&sink) || !up.iter().any(tells) };
            kept.due <= now && useful
        };
        let refused = self.refused.iter().position(asks).map(Found::Refused);
        refused.or_else(|| self.suspects.iter().position(suspect).map(Found::Suspect))
    }

    pub fn remove(&mut self, found: Found) -> Batch {
        match found {
            Found::Refused(at) => self.refused.remove(at),
            Found::Suspect(at) => {
                let batch = self.suspects.swap_remove(at).batch;
                self.suspect_spans -= u64::from(batch.spans);
                batch
            }
        }
    }

    /// Takes what lies before a position out of what is kept.
    pub fn take_before(&mut self, position: u64) -> Vec<Stretch> {
        let suspects = self.suspects.iter_mut().map(|kept| &mut kept.batch);
        let batches = self.refused.iter_mut().chain(suspects);
        let taken: Vec<Stretch> = batches.flat_map(|batch| batch.take_before(position)).collect();
        self.refused.retain(|batch| batch.spans > 0);
        self.suspects.retain(|kept| kept.batch.spans > 0);
        self.suspect_spans = self.suspects.iter().map(|kept| u64::from(kept.batch.spans)).sum();
        taken
    }

    /// How long a suspect rests that has failed so often as it is.
    fn rest(&self, failures: u32) -> Duration {
        let mut backoff = Backoff::new(self.backoff.0, self.backoff.1);
        // No step is longer after thirty doublings.
        (0..failures.min(30)).fold(backoff.fail(), |_, _| backoff.fail())
    }
}
