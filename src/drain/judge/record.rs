//! What a judge remembers of a sink: what it took, what it finds too large, what it refused of late.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Refusals of a minute that are no matter of single spans any more, and their part of all: one in twenty.
const MASS_SPANS: u64 = 1_000;
const MASS_PART: u64 = 20;
/// The minute is counted in steps of this; what is older than twelve of them is forgotten.
const STEP: Duration = Duration::from_secs(5);
const STEPS: u32 = 12;
/// A size that was too large is tried again after this: who set the limit may have raised it.
const SIZE_RETRY: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct Record {
    /// The latest try that it took.
    pub passed: u64,
    /// The latest try that it failed, suspects left out.
    pub failed: u64,
    /// It refused too much: what it refuses is held against it, not against the spans.
    pub held: bool,
    pub window: Window,
    /// Half of what it last found too large, and when.
    size: Option<(usize, Instant)>,
}

impl Record {
    /// It found this many bytes too large.
    pub fn too_large(&mut self, bytes: usize, now: Instant) {
        self.size = Some((bytes / 2, now));
    }

    /// Bytes that are worth sending at once. Twice as many for each [`SIZE_RETRY`] without a complaint.
    pub fn bytes_max(&self, now: Instant) -> usize {
        let Some((bytes, since)) = self.size else { return usize::MAX };
        let doublings = (now - since).as_secs() / SIZE_RETRY.as_secs();
        bytes.max(1).saturating_mul(1 << doublings.min(40))
    }
}

/// Spans taken and refused in the last minute.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// When each step began; its taken and refused spans.
    steps: VecDeque<(Instant, u64, u64)>,
}

impl Window {
    pub fn taken(&mut self, spans: u32, now: Instant) {
        self.step(now).1 += u64::from(spans);
    }

    pub fn refused(&mut self, now: Instant) {
        self.step(now).2 += 1;
    }

    /// Refused and all spans of the minute, where those refused are too many.
    pub fn mass(&self) -> Option<(u64, u64)> {
        let (taken, refused) = self.steps.iter().fold((0, 0), |(t, r), (_, taken, refused)| (t + taken, r + refused));
        let all = taken + refused;
        (refused >= MASS_SPANS && refused * MASS_PART > all).then_some((refused, all))
    }

    fn step(&mut self, now: Instant) -> &mut (Instant, u64, u64) {
        while self.steps.front().is_some_and(|(begun, ..)| now - *begun >= STEP * STEPS) {
            self.steps.pop_front();
        }
        if self.steps.back().is_none_or(|(begun, ..)| now - *begun >= STEP) {
            self.steps.push_back((now, 0, 0));
        }
        self.steps.back_mut().expect("one was just pushed")
    }
}
