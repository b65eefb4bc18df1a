//! One sink of a group: where it stands, what is under way to it, what it may take.

use std::time::Duration;

use tokio::time::Instant;

use super::super::BatchSettings;
use super::super::backoff::Backoff;
use super::brake::Brake;
use super::bucket::Bucket;
use super::window::Window;
use super::{Answer, Change, SinkId, State};

/// Spans of a probe: enough to be a request like others, and few to wait for the timeout of a sink that hangs.
pub(in crate::drain) const PROBE_SPANS_MAX: u32 = 100;

#[derive(Debug)]
pub(super) struct Member {
    pub id: SinkId,
    /// What stands for it in `by_trace`.
    pub identity: u64,
    pub weight: u32,
    pub priority: u32,
    /// What the policy owes it.
    pub credit: i64,
    pub batch: BatchSettings,
    pub window: Window,
    /// What it may be sent a second.
    pub rate: Option<Bucket>,
    pub brake: Brake,
    pub state: State,
    /// What it was before it began to be probed; a probe that fails on does not change it.
    pub misconfigured: bool,
    pub in_flight: usize,
    /// Counts changes of state.
    pub epoch: u64,
    pub backoff: Backoff,
    pub failures: u32,
}

impl Member {
    /// Whether batches, or a probe, are sent to it when it has room.
    pub fn is_open(&self, now: Instant) -> bool {
        self.state == State::Up || self.may_be_probed(now)
    }

    /// Its rest is over and nothing was sent since.
    pub fn may_be_probed(&self, now: Instant) -> bool {
        self.rests_until().is_some_and(|until| until <= now)
    }

    pub fn takes(&self, now: Instant) -> bool {
        self.is_open(now) && self.free_at(now).is_some_and(|at| at <= now)
    }

    /// When it takes a batch: what it waits for is time; `None` where it is an answer.
    pub fn free_at(&self, now: Instant) -> Option<Instant> {
        let free = match self.state {
            State::Up => (self.in_flight < self.window.limit()).then_some(now),
            State::Resting { until } | State::Misconfigured { until } => Some(until.max(now)),
            State::Probing => None,
        };
        let owed = self.rate.as_ref().map_or(now, |rate| rate.free_at(now));
        free.map(|free| free.max(owed).max(self.brake.free_at(now)))
    }

    /// What the next batch to it may hold.
    pub fn limits(&self) -> BatchSettings {
        let batch = self.rate.as_ref().map_or(self.batch, |rate| rate.within(self.batch));
        let batch = self.brake.within(batch);
        match self.state {
            State::Up => batch,
            _ => BatchSettings { spans: batch.spans.min(PROBE_SPANS_MAX), ..batch },
        }
    }

    pub fn load(&self) -> f64 {
        self.in_flight as f64 / self.window.limit() as f64
    }

    pub fn rests_until(&self) -> Option<Instant> {
        match self.state {
            State::Resting { until } | State::Misconfigured { until } => Some(until),
            State::Up | State::Probing => None,
        }
    }

    /// A batch is sent; the epoch of its ticket.
    pub fn sent(&mut self) -> u64 {
        self.in_flight += 1;
        if self.state != State::Up {
            self.enter(State::Probing);
        }
        self.epoch
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }

    /// What became of a batch that was [`sent`](Self::sent) at `epoch`.
    pub fn answer(&mut self, epoch: u64, answer: Answer, now: Instant) -> Change {
        let full = self.in_flight >= self.window.limit();
        self.in_flight -= 1;
        if let Answer::Well(took) = answer {
            self.window.taken(full && self.state == State::Up, took, now);
            return self.well();
        }
        if epoch != self.epoch {
            return Change::Nothing;
        }
        match answer {
            Answer::Wait(wait) => {
                self.window.failed();
                let wait = self.backoff.bounded(wait);
                self.rest(State::Resting { until: now + wait })
            }
            Answer::Misconfigured => {
                let wait = self.backoff.fail();
                self.rest(State::Misconfigured { until: now + wait })
            }
            Answer::Failed => {
                self.window.failed();
                let wait = self.backoff.fail();
                self.rest(State::Resting { until: now + wait })
            }
            // A probe that was not sent: it may be probed at once.
            Answer::Void => self.stay(now),
            // Thousands of suspects in turn would else be as many probes at once.
            Answer::Spared => self.stay(now + self.backoff.bounded(Duration::ZERO)),
            Answer::Well(_) => Change::Nothing,
        }
    }

    /// One that was probed is left where it stood, and may be probed again from `until` on.
    fn stay(&mut self, until: Instant) -> Change {
        if self.state == State::Probing {
            let rest = match self.misconfigured {
                true => State::Misconfigured { until },
                false => State::Resting { until },
            };
            self.enter(rest);
        }
        Change::Nothing
    }

    fn well(&mut self) -> Change {
        self.backoff.reset();
        let failures = std::mem::take(&mut self.failures);
        if self.state == State::Up {
            return Change::Nothing;
        }
        self.misconfigured = false;
        self.enter(State::Up);
        Change::Recovered { failures }
    }

    fn rest(&mut self, state: State) -> Change {
        let was_up = self.state == State::Up;
        let was_misconfigured =
            std::mem::replace(&mut self.misconfigured, matches!(state, State::Misconfigured { .. }));
        self.failures = self.failures.saturating_add(1);
        self.enter(state);
        match (self.misconfigured, was_misconfigured) {
            (true, false) => Change::Misconfigured,
            (false, true) => Change::Rests,
            (false, false) if was_up => Change::Rests,
            _ => Change::Nothing,
        }
    }
}
