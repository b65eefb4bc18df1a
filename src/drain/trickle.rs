//! What is new while too much waits in vain: a few spans at each step of a back-off.
//!
//! Batches that failed, and spans that were refused, wait for something to pass: that tells whether they
//! are bad or the collectors. Where so many wait that nothing new is sent, what would pass may stand
//! behind them. So a little of what is new goes on being tried, within bounds; what passes opens the
//! flow again.

use std::time::Duration;

use tokio::time::Instant;

use super::BatchSettings;
use super::backoff::Backoff;
use super::group::PROBE_SPANS_MAX;

/// Stretches of frames in batches that failed, beyond which nothing new is tried. Each holds a frame's head, a kilobyte
/// or so.
pub(super) const FAILED_LAST: usize = 16_384;

/// How much waits in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crowd {
    Few,
    /// What is new is tried a little at a time.
    Many,
    /// Nothing more can be held.
    Full,
}

#[derive(Debug)]
pub(super) struct Trickle {
    backoff: Backoff,
    due: Option<Instant>,
}

impl Trickle {
    pub fn new(min: Duration, max: Duration) -> Trickle {
        Trickle { backoff: Backoff::new(min, max), due: None }
    }

    /// From when on something new may be sent.
    pub fn due(&self, crowd: Crowd, now: Instant) -> Option<Instant> {
        match crowd {
            Crowd::Few => Some(now),
            Crowd::Many => Some(self.due.unwrap_or(now)),
            Crowd::Full => None,
        }
    }

    /// What of something new goes at once.
    pub fn within(&self, crowd: Crowd, limits: BatchSettings) -> BatchSettings {
        match crowd {
            Crowd::Few => limits,
            Crowd::Many | Crowd::Full => BatchSettings { spans: limits.spans.min(PROBE_SPANS_MAX), ..limits },
        }
    }

    /// Something new is sent.
    pub fn sent(&mut self, crowd: Crowd, now: Instant) {
        if crowd != Crowd::Few {
            self.due = Some(now + self.backoff.fail());
        }
    }

    /// Something passed.
    pub fn passed(&mut self) {
        self.backoff.reset();
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(200);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn while_much_waits_a_little_goes_at_each_step_and_what_passes_opens_it() {
        let (mut trickle, mut now) = (Trickle::new(MIN, MAX), Instant::now());
        let whole = BatchSettings { spans: 5_000, bytes: 1 << 20, linger: MIN };
        trickle.sent(Crowd::Few, now);
        assert_eq!((trickle.due(Crowd::Few, now), trickle.within(Crowd::Few, whole)), (Some(now), whole));
        for _ in 0..40 {
            assert_eq!(trickle.due(Crowd::Many, now), Some(now));
            assert_eq!(trickle.within(Crowd::Many, whole).spans, PROBE_SPANS_MAX);
            trickle.sent(Crowd::Many, now);
            let due = trickle.due(Crowd::Many, now).unwrap();
            assert!(due >= now + MIN && due <= now + MAX, "{:?}", due - now);
            now = due;
        }
        trickle.sent(Crowd::Many, now);
        trickle.passed();
        assert_eq!((trickle.due(Crowd::Many, now), trickle.due(Crowd::Full, now)), (Some(now), None));
    }
}
