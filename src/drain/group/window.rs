//! How many batches a sink is sent at a time: found by trying.
//!
//! It starts small and grows while it is used up and growing pays: more batches at a time have to
//! make more batches a second, else they only wait at the sink, and the last step is taken back.
//! A failure halves it.

use std::time::Duration;

use tokio::time::Instant;

/// Where it starts: a round trip is hidden, and a sink that comes up cold is not crowded.
const START: usize = 2;
/// Answers that tell how fast a sink is: fewer are chance.
const ROUND: u32 = 8;
/// By how much a step up has to raise the rate. Less is noise, or a sink that is full.
const PAYS: f64 = 1.05;
/// How long a step that did not pay is not tried again: sinks change, but not from second to second.
const HOLD: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    max: usize,
    answers: u32,
    seconds: f64,
    /// The limit before the last step up, and the batches a second that it made.
    before: Option<(usize, f64)>,
    hold: Option<Instant>,
}

impl Window {
    pub fn new(max: usize) -> Self {
        Self::starting_at(START.min(max), max)
    }

    pub fn starting_at(limit: usize, max: usize) -> Self {
        Window { limit, max, answers: 0, seconds: 0.0, before: None, hold: None }
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A batch was taken after `took`; `full` says that there was no room beside it.
    pub fn taken(&mut self, full: bool, took: Duration, now: Instant) {
        // What is not used up need not grow, and says nothing of growing.
        if !full {
            return;
        }
        self.answers += 1;
        self.seconds += took.as_secs_f64();
        if self.answers == ROUND {
            let rate = self.limit as f64 * f64::from(ROUND) / self.seconds.max(f64::EPSILON);
            self.step(rate, now);
        }
    }

    fn step(&mut self, rate: f64, now: Instant) {
        (self.answers, self.seconds) = (0, 0.0);
        match self.before.take() {
            Some((limit, before)) if rate < before * PAYS => (self.limit, self.hold) = (limit, Some(now + HOLD)),
            _ if self.limit < self.max && self.hold.is_none_or(|hold| hold <= now) => {
                self.before = Some((self.limit, rate));
                // By a quarter, so that a hundred are not found one by one.
                self.limit = (self.limit + (self.limit / 4).max(1)).min(self.max);
            }
            _ => {}
        }
    }

    /// The sink failed, or asked to be left alone.
    pub fn failed(&mut self) {
        *self = Window { hold: self.hold, ..Self::starting_at((self.limit / 2).max(1), self.max) };
    }
}

#[cfg(test)]
mod tests;
