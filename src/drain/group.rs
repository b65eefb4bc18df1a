//! The sinks of a drain and which of them is next: a state machine, without time or I/O of its own.
//!
//! Round robin over the sinks that are up, several batches each. A sink that fails rests; when
//! its rest is over one batch probes it, and what it answers decides. Failures of batches that
//! were under way when the rest began say nothing new and do not lengthen it.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;

/// A sink's name within its group; never used twice.
pub(super) type SinkId = usize;

/// Where a sink stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It takes batches.
    Up,
    /// It failed: nothing is sent until then.
    Resting { until: Instant },
    /// It answered what no collector would: rests like one that failed, but it takes a person.
    Misconfigured { until: Instant },
    /// Its rest is over and one batch is under way to it.
    Probing,
}

/// A verdict as far as it concerns the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It judged the batch, for good or bad: it is well.
    Well,
    Failed,
    /// It asks to be left alone for this long.
    Wait(Duration),
    Misconfigured,
    /// It was not asked after all, or the try said nothing about it.
    Void,
}

/// What an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// Up or misconfigured before, resting now.
    Rests,
    /// Misconfigured now, and not before.
    Misconfigured,
    /// Up again, after so many failed tries.
    Recovered {
        failures: u32,
    },
}

/// The right to send one batch to one sink; given back with [`Group::answer`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub sink: usize,
    /// The member's count of state changes when it was given.
    epoch: u64,
}

#[derive(Debug)]
struct Member {
    state: State,
    /// What it was before it began to be probed; a probe that fails on does not change it.
    misconfigured: bool,
    in_flight: usize,
    epoch: u64,
    backoff: Backoff,
    failures: u32,
}

/// The sinks of a drain.
#[derive(Debug)]
pub(super) struct Group {
    members: Vec<Member>,
    /// Where the round goes on.
    next: usize,
    in_flight_max: usize,
}

impl Group {
    /// A group of one sink for each of `backoffs`, all taken to be up.
    pub fn new(backoffs: Vec<Backoff>, in_flight_max: usize) -> Self {
        let member =
            |backoff| Member { state: State::Up, misconfigured: false, in_flight: 0, epoch: 0, backoff, failures: 0 };
        Group { members: backoffs.into_iter().map(member).collect(), next: 0, in_flight_max: in_flight_max.max(1) }
    }

    /// The sink that takes the next batch, of those for which `fits` has one; `None` while all are full or rest.
    pub fn pick(&mut self, now: Instant, fits: impl Fn(SinkId) -> bool) -> Option<Ticket> {
        let count = self.members.len();
        let mut round = (0..count).map(|n| (self.next + n) % count);
        let sink = round.find(|n| self.members[*n].takes(now, self.in_flight_max) && fits(*n))?;
        self.next = (sink + 1) % count;
        Some(Ticket { sink, epoch: self.members[sink].sent() })
    }

    /// Whether [`pick`](Self::pick) would find a sink.
    pub fn has_room(&self, now: Instant) -> bool {
        self.members.iter().any(|m| m.takes(now, self.in_flight_max))
    }

    /// What became of a batch that [`pick`](Self::pick) gave a ticket for.
    pub fn answer(&mut self, ticket: &Ticket, answer: Answer, now: Instant) -> Change {
        self.members[ticket.sink].answer(ticket.epoch, answer, now)
    }

    /// When the first rest ends: a batch that waits can be tried then.
    pub fn wakes(&self) -> Option<Instant> {
        self.members.iter().filter_map(|m| m.rests_until()).min()
    }

    /// The sinks that take batches.
    pub fn up(&self) -> Vec<SinkId> {
        (0..self.members.len()).filter(|n| self.members[*n].state == State::Up).collect()
    }

    pub fn state(&self, sink: usize) -> State {
        self.members[sink].state
    }

    pub fn in_flight(&self, sink: usize) -> usize {
        self.members[sink].in_flight
    }
}

impl Member {
    fn takes(&self, now: Instant, in_flight_max: usize) -> bool {
        match self.state {
            State::Up => self.in_flight < in_flight_max,
            State::Resting { until } | State::Misconfigured { until } => until <= now,
            State::Probing => false,
        }
    }

    fn rests_until(&self) -> Option<Instant> {
        match self.state {
            State::Resting { until } | State::Misconfigured { until } => Some(until),
            State::Up | State::Probing => None,
        }
    }

    fn sent(&mut self) -> u64 {
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

    fn answer(&mut self, epoch: u64, answer: Answer, now: Instant) -> Change {
        self.in_flight -= 1;
        if answer == Answer::Well {
            return self.well();
        }
        if epoch != self.epoch {
            return Change::Nothing;
        }
        match answer {
            Answer::Wait(wait) => {
                let wait = self.backoff.bounded(wait);
                self.rest(State::Resting { until: now + wait })
            }
            Answer::Misconfigured => {
                let wait = self.backoff.fail();
                self.rest(State::Misconfigured { until: now + wait })
            }
            Answer::Failed => {
                let wait = self.backoff.fail();
                self.rest(State::Resting { until: now + wait })
            }
            // A probe that was not sent leaves the sink where it stood: it may be probed at once.
            Answer::Void if self.state == State::Probing => {
                let rest = if self.misconfigured {
                    State::Misconfigured { until: now }
                } else {
                    State::Resting { until: now }
                };
                self.enter(rest);
                Change::Nothing
            }
            Answer::Void | Answer::Well => Change::Nothing,
        }
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

#[cfg(test)]
mod tests;
