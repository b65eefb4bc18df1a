//! Holds a sink that takes more than it keeps: to half of what it was sent, and from look to look to more.

use std::time::Duration;

use tokio::time::Instant;

use super::super::BatchSettings;
use super::bucket::Bucket;

/// What a held sink is sent at least, in spans a second: enough to find out that it keeps them again.
const RATE_MIN: f64 = 10.0;
/// By how much it is let go at each look: from half to all in three of them.
const EASE: f64 = 1.25;
/// Of what it was sent when it was held; beyond it nothing holds it.
const LOOSE: f64 = 2.0;

#[derive(Debug, Default)]
pub(super) struct Brake {
    /// Spans sent since the last look.
    sent: u64,
    /// What it is held to, and the spans a second that it was sent before.
    held: Option<(Bucket, f64)>,
}

impl Brake {
    pub fn sent(&mut self, spans: u32, now: Instant) {
        self.sent += u64::from(spans);
        if let Some((bucket, _)) = &mut self.held {
            bucket.sent(spans, now);
        }
    }

    /// It began to drop in the `time` since the last look. A sink that was sent nothing drops what others send.
    pub fn hold(&mut self, time: Duration) {
        let rate = std::mem::take(&mut self.sent) as f64 / time.as_secs_f64();
        let half = (rate / 2.0).max(RATE_MIN);
        match &mut self.held {
            _ if rate == 0.0 => {}
            Some((bucket, before)) => {
                *before = rate;
                bucket.change(half.min(bucket.rate()));
            }
            None => self.held = Some((Bucket::new(half), rate)),
        }
    }

    /// A look found it no worse.
    pub fn ease(&mut self) {
        self.sent = 0;
        if let Some((bucket, before)) = &mut self.held {
            bucket.change(bucket.rate() * EASE);
            if bucket.rate() >= *before * LOOSE {
                self.held = None;
            }
        }
    }

    /// Spans a second that it is held to.
    pub fn rate(&self) -> Option<f64> {
        self.held.as_ref().map(|(bucket, _)| bucket.rate())
    }

    pub fn free_at(&self, now: Instant) -> Instant {
        self.held.as_ref().map_or(now, |(bucket, _)| bucket.free_at(now))
    }

    pub fn within(&self, limits: BatchSettings) -> BatchSettings {
        self.held.as_ref().map_or(limits, |(bucket, _)| bucket.within(limits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_secs(10);

    #[test]
    fn it_holds_to_half_and_lets_go_from_look_to_look() {
        let (mut brake, now) = (Brake::default(), Instant::now());
        brake.sent(8_000, now);
        brake.hold(LOOK);
        assert_eq!(brake.rate(), Some(400.0), "half of 800 a second");
        brake.sent(200, now);
        assert_eq!(brake.free_at(now), now + Duration::from_millis(500));
        let mut looks = 0;
        while let Some(rate) = brake.rate() {
            assert!(rate < 1_600.0);
            brake.ease();
            looks += 1;
        }
        assert_eq!((looks, brake.free_at(now)), (7, now));
    }

    #[test]
    fn it_holds_more_where_it_holds_already_and_never_to_nothing() {
        let (mut brake, now) = (Brake::default(), Instant::now());
        brake.hold(LOOK);
        assert_eq!(brake.rate(), None, "what it drops is not ours");
        for expected in [200.0, 100.0, 50.0, 25.0, 12.5, 10.0, 10.0] {
            let sent = brake.rate().map_or(4_000.0, |rate| rate * 10.0);
            brake.sent(sent as u32, now);
            brake.hold(LOOK);
            assert_eq!(brake.rate(), Some(expected));
        }
    }
}
