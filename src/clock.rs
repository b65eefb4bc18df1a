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

/// RFC 3339 with microseconds, UTC: `2026-11-21T06:00:00.000000Z`.
pub fn rfc3339(us: u64) -> String {
    let (seconds, micros) = (us / 1_000_000, us % 1_000_000);
    let (year, month, day) = civil(seconds / DAY);
    let of_day = seconds % DAY;
    let (h, m, s) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{micros:06}Z")
}

/// The microseconds since the epoch of an RFC 3339 time, or of its beginning down to the day (`2026-11-21`); UTC where
/// no offset is given. `None` for what is none, lies before the epoch or behind the year 9999.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.split_at_checked(10)?;
    let days = days_of(date)?;
    let (time, east) = match time.strip_prefix(['T', 't', ' ']) {
        Some(time) => offset(time)?,
        None if time.is_empty() => ("00:00", 0),
        None => return None,
    };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = clock.split(':');
    let (hour, minute) = (two(parts.next()?, 23)?, two(parts.next()?, 59)?);
    // A leap second is the end of its minute.
    let second = parts.next().map_or(Some(0), |second| two(second, 60))?;
    if parts.next().is_some() || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: u64 = format!("{fraction:0<6}")[..6].parse().ok()?;
    let local = days * DAY + hour * 3_600 + minute * 60 + second;
    Some(local.checked_add_signed(-east)? * 1_000_000 + micros)
}

const DAY: u64 = 86_400;

/// A number of two digits, at most `max`.
fn two(text: &str, max: u64) -> Option<u64> {
    let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && *n <= max)
}

/// Days since the epoch of `YYYY-MM-DD`: found by [`civil`], so that the two agree.
fn days_of(date: &str) -> Option<u64> {
    let (year, rest) = date.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let digits = year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit());
    let wanted = (year.parse().ok().filter(|_| digits)?, two(month, 12)?, two(day, 31)?);
    // 365.2425 days a year and 30.4 a month come near; the day itself is within a few.
    let near = (wanted.0 as f64 - 1_970.0) * 365.2425 + (wanted.1 as f64 - 1.0) * 30.4 + wanted.2 as f64;
    let near = near as i64;
    (near - 4..=near + 4).filter_map(|days| u64::try_from(days).ok()).find(|days| civil(*days) == wanted)
}

/// A time, and the seconds by which its zone lies east of UTC.
fn offset(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (hours, minutes) = time[at + 1..].split_once(':')?;
    let seconds = (two(hours, 23)? * 3_600 + two(minutes, 59)? * 60).cast_signed();
    Some((&time[..at], if time[at..].starts_with('-') { -seconds } else { seconds }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_civil_and_come_back() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
            (253_402_300_799, "9999-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(rfc3339(seconds * 1_000_000), text);
            assert_eq!(parse_rfc3339(text), Some(seconds * 1_000_000), "{text}");
        }
        assert!(!rfc3339(u64::MAX).is_empty());
        for days in (0..2_932_897).step_by(17) {
            let text = rfc3339(days * DAY * 1_000_000);
            assert_eq!(parse_rfc3339(&text[..10]), Some(days * DAY * 1_000_000), "{text}");
        }
    }

    #[test]
    fn a_time_may_be_short_or_have_an_offset_and_nothing_else_is_one() {
        let base = parse_rfc3339("2026-11-21T06:00:00Z").unwrap();
        for same in
            ["2026-11-21T06:00", "2026-11-21 06:00:00.000Z", "2026-11-21T08:00:00+02:00", "2026-11-20T23:30-06:30"]
        {
            assert_eq!(parse_rfc3339(same), Some(base), "{same}");
        }
        assert_eq!(parse_rfc3339("2026-11-21T06:00:00.1234567Z"), Some(base + 123_456));
        for none in [
            "",
            "2026",
            "2026-11",
            "2026-13-01",
            "2026-02-29",
            "2026-00-10",
            "2026-11-21T",
            "2026-11-21T6:00",
            "2026-11-21T24:00",
            "2026-11-21T06",
            "2026-11-21T06:00:00.",
            "2026-11-21T06:00+2",
            "+026-11-21",
            "1969-12-31",
            "2026-11-21T06:00:00:00",
            "2026-11-2é",
            "2h",
        ] {
            assert_eq!(parse_rfc3339(none), None, "{none:?}");
        }
    }
}
