//! A rate for what waited long: a collector that comes back is not given hours at once.
//!
//! A frame's age is read off the wall clock, which only labels. Where it jumped ahead, spans count
//! as old that are not, and are sent at this rate: later, and not less safely.

use std::time::Duration;

use tokio::time::Instant;

use super::BatchSettings;
use super::batch::{Batch, Stretch};
use super::group::Bucket;
use crate::clock::Clock;

/// Older than this it is a backlog: the batches of a group that keeps up are much younger.
const OLD: Duration = Duration::from_secs(60);

pub(super) struct Backlog {
    clock: Clock,
    bucket: Option<Bucket>,
}

impl Backlog {
    /// `rate` is in spans a second; `None`: as fast as the sinks take them.
    pub fn new(rate: Option<u64>, clock: Clock) -> Self {
        Backlog { clock, bucket: rate.map(|rate| Bucket::new(rate as f64)) }
    }

    /// When a batch that begins with this stretch may be sent.
    pub fn free_at(&self, first: &Stretch, now: Instant) -> Instant {
        self.of(first).map_or(now, |bucket| bucket.free_at(now))
    }

    /// What a batch that begins with this stretch may hold.
    pub fn within(&self, first: &Stretch, limits: &BatchSettings) -> BatchSettings {
        self.of(first).map_or(*limits, |bucket| bucket.within(*limits))
    }

    /// What holds this stretch back, if anything does.
    fn of(&self, stretch: &Stretch) -> Option<&Bucket> {
        self.bucket.as_ref().filter(|_| self.is_old(stretch))
    }

    pub fn sent(&mut self, batch: &Batch, now: Instant) {
        if self.bucket.is_none() {
            return;
        }
        let old = batch.stretches.iter().filter(|stretch| self.is_old(stretch)).map(Stretch::len).sum();
        if let Some(bucket) = self.bucket.as_mut().filter(|_| old > 0) {
            bucket.sent(old, now);
        }
    }

    fn is_old(&self, stretch: &Stretch) -> bool {
        self.clock.now_us().saturating_sub(stretch.head.received_us) > OLD.as_micros() as u64
    }
}
