//! The wall clock, the only place that reads it.
//!
//! Wall time only labels (receive times, plans, logs): order is by position and timers are
//! monotonic (`tokio::time`), so a jump of this clock expires nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of wall time in microseconds since the epoch. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Clock(Source::System)
    }

    /// A clock that stands at `us` until it is [set](Self::set); for tests.
    pub fn manual(us: u64) -> Self {
        Clock(Source::Manual(Arc::new(AtomicU64::new(us))))
    }

    /// Microseconds since the epoch; 0 if the machine's clock stands before it.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now_us(&self) -> u64 {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX)),
            Source::Manual(us) => us.load(Ordering::Relaxed),
        }
    }

    /// Moves a manual clock; the system's clock is left alone.
    pub fn set(&self, us: u64) {
        if let Source::Manual(now) = &self.0 {
            now.store(us, Ordering::Relaxed);
        }
    }
}
