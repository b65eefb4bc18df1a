//! So many spans a second: a batch is sent while nothing is owed, and owes its spans then.

use std::time::Duration;

use tokio::time::Instant;

use super::super::BatchSettings;

/// What may be saved up while nothing is sent: enough to be on time, too little to be a burst.
const SAVED_MAX: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub(in crate::drain) struct Bucket {
    rate: f64,
    /// Until then something is owed.
    owed: Option<Instant>,
}

impl Bucket {
    /// `rate` is in spans a second, more than none.
    pub fn new(rate: f64) -> Self {
        Bucket { rate, owed: None }
    }

    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Goes on at another rate; what is owed stays.
    pub fn change(&mut self, rate: f64) {
        self.rate = rate;
    }

    /// When the next batch may be sent.
    pub fn free_at(&self, now: Instant) -> Instant {
        self.owed.map_or(now, |owed| owed.max(now))
    }

    pub fn sent(&mut self, spans: u32, now: Instant) {
        let saved = now.checked_sub(SAVED_MAX).unwrap_or(now);
        let since = self.owed.map_or(now, |owed| owed.max(saved));
        self.owed = Some(since + Duration::from_secs_f64(f64::from(spans) / self.rate));
    }

    /// A batch owes a second at most, so that what is slow flows evenly.
    pub fn within(&self, limits: BatchSettings) -> BatchSettings {
        BatchSettings { spans: limits.spans.min((self.rate as u32).max(1)), ..limits }
    }
}

#[cfg(test)]
mod tests;
