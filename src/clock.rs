//! The wall clock, the only place that reads it; and the calendar.
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

/// RFC 3339 with microseconds, UTC.
pub fn rfc3339(us: u64) -> String {
    let (seconds, micros) = (us / 1_000_000, us % 1_000_000);
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (h, m, s) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{micros:06}Z")
}

/// Year, month and day of a count of days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`, for days after the epoch).
pub fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}
