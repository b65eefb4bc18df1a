//! Exponential back-off with full jitter: how long to leave alone what has just failed.
//!
//! The n-th failure in a row rests a random time between `min` and `min * 2^n`, never above `max`.
//! The jitter keeps gateways that lost the same collector from coming back in step
//! (AWS Architecture Blog, "Exponential Backoff And Jitter").

use std::time::Duration;

/// The waits of one thing that fails. A success [resets](Backoff::reset) it.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    rng: fastrand::Rng,
}

impl Backoff {
    /// A `max` below `min` counts as `min`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self::with_rng(min, max, fastrand::Rng::new())
    }

    /// As [`new`](Self::new), with a seed: the same seed gives the same waits.
    pub fn seeded(min: Duration, max: Duration, seed: u64) -> Self {
        Self::with_rng(min, max, fastrand::Rng::with_seed(seed))
    }

    fn with_rng(min: Duration, max: Duration, rng: fastrand::Rng) -> Self {
        Backoff { min, max: max.max(min), failures: 0, rng }
    }

    /// Counts a failure and says how long to wait.
    pub fn fail(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        // 31 doublings of a microsecond are over half an hour; more would overflow the shift.
        let ceiling = self.min.saturating_mul(1 << self.failures.min(31)).min(self.max);
        self.min + (ceiling - self.min).mul_f64(self.rng.f64())
    }

    /// A success: the next failure is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// `wait` within this back-off's bounds: for a peer that says itself how long to leave it alone.
    pub fn bounded(&self, wait: Duration) -> Duration {
        wait.clamp(self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(200);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn waits_double_within_their_bounds() {
        for seed in 0..200 {
            let mut backoff = Backoff::seeded(MIN, MAX, seed);
            for n in 1..=40 {
                let wait = backoff.fail();
                let ceiling = MIN.saturating_mul(1 << n.min(20)).min(MAX);
                assert!(wait >= MIN && wait <= ceiling, "seed {seed}, failure {n}: {wait:?}");
            }
            assert_eq!(backoff.failures(), 40);
        }
    }

    #[test]
    fn late_waits_use_the_whole_range() {
        let mut backoff = Backoff::seeded(MIN, MAX, 7);
        let waits: Vec<_> = (0..400).map(|_| backoff.fail()).skip(20).collect();
        assert!(waits.iter().any(|w| *w < Duration::from_secs(5)));
        assert!(waits.iter().any(|w| *w > Duration::from_secs(25)));
    }

    #[test]
    fn a_success_starts_again_from_the_least() {
        let mut backoff = Backoff::seeded(MIN, MAX, 1);
        for _ in 0..10 {
            backoff.fail();
        }
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
        assert!(backoff.fail() <= MIN * 2);
    }

    #[test]
    fn a_greatest_wait_below_the_least_counts_as_the_least() {
        let mut backoff = Backoff::seeded(MIN, Duration::ZERO, 1);
        assert_eq!(backoff.fail(), MIN);
        assert_eq!(backoff.bounded(Duration::from_secs(9)), MIN);
    }
}
