//! A moment in a zone, and the escapes that write parts of it: those of Flume's `BucketPath.java`.

use std::fmt::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use crate::clock;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// The last second of the year 9999: a clock that is beyond it is wrong, and four digits hold the year.
const LAST_SECOND: u64 = 253_402_300_799;

/// A time zone that never changes its offset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Zone {
    /// East of UTC.
    minutes: i16,
}

/// No place on earth is further from UTC.
const ZONE_MINUTES_MAX: i16 = 14 * 60;

/// Neither `UTC` nor an offset such as `+02:00`. Names are refused: what one means depends on the day, and on the
/// machine that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoZone;

impl FromStr for Zone {
    type Err = NoZone;

    fn from_str(text: &str) -> Result<Zone, NoZone> {
        if text == "UTC" {
            return Ok(Zone::default());
        }
        let (sign, offset) = text.split_at_checked(1).ok_or(NoZone)?;
        let (hours, minutes) = offset.split_once(':').ok_or(NoZone)?;
        let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
        let east = hours * 60 + minutes;
        match sign {
            _ if minutes > 59 || east > ZONE_MINUTES_MAX => Err(NoZone),
            "+" => Ok(Zone { minutes: east }),
            "-" => Ok(Zone { minutes: -east }),
            _ => Err(NoZone),
        }
    }
}

/// As it is read.
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, minutes) = (if self.minutes < 0 { '-' } else { '+' }, self.minutes.unsigned_abs());
        match minutes {
            0 => f.write_str("UTC"),
            _ => write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60),
        }
    }
}

fn two_digits(text: &str) -> Result<i16, NoZone> {
    match text.as_bytes() {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Ok(i16::from(tens - b'0') * 10 + i16::from(ones - b'0')),
        _ => Err(NoZone),
    }
}

/// A moment, rounded down and taken apart.
pub struct Moment {
    zone: Zone,
    /// Since the epoch, in UTC.
    seconds: u64,
    /// Since midnight.
    of_day: u64,
    /// Since 1970-01-01.
    days: u64,
    year: u64,
    month: usize,
    day: u64,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Days of a year before each month, but for a leap day.
const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
/// As they followed the epoch.
const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

impl Moment {
    /// `us`: microseconds since the epoch. `round` counts from the zone's midnight and divides a day. What lies before
    /// the epoch there, or behind the year 9999, is moved to it.
    pub fn new(us: u64, zone: Zone, round: Option<Duration>) -> Moment {
        let east = i64::from(zone.minutes) * 60;
        let exact = (us / 1_000_000).saturating_add_signed(east).min(LAST_SECOND);
        let local = exact - exact % round.map_or(1, |round| round.as_secs().max(1));
        let (days, of_day) = (local / DAY, local % DAY);
        let (year, month, day) = clock::civil(days);
        let month = usize::try_from(month).expect("a month is at most 12");
        Moment { zone, seconds: local.saturating_add_signed(-east), of_day, days, year, month, day }
    }

    fn month_name(&self) -> &'static str {
        MONTHS[self.month - 1]
    }

    fn weekday(&self) -> &'static str {
        WEEKDAYS[(self.days % 7) as usize]
    }

    fn day_of_year(&self) -> u64 {
        let leap = self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        BEFORE[self.month - 1] + self.day + u64::from(leap && self.month > 2)
    }

    fn hour(&self) -> u64 {
        self.of_day / HOUR
    }

    fn hour_of_twelve(&self) -> u64 {
        (self.hour() + 11) % 12 + 1
    }

    fn offset(&self, out: &mut String) -> fmt::Result {
        let (sign, minutes) = (if self.zone.minutes < 0 { '-' } else { '+' }, self.zone.minutes.unsigned_abs());
        write!(out, "{sign}{:02}{:02}", minutes / 60, minutes % 60)
    }
}

/// An escape of time.
pub struct Escape {
    pub letter: char,
    /// Its greatest length.
    pub width: usize,
    /// Seconds that it stays the same at least.
    pub lasts: u64,
    pub write: fn(&Moment, &mut String) -> fmt::Result,
}

/// An escape is its letter.
impl PartialEq for Escape {
    fn eq(&self, other: &Escape) -> bool {
        self.letter == other.letter
    }
}

impl Eq for Escape {}

impl fmt::Debug for Escape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.letter)
    }
}

const fn escape(letter: char, width: usize, lasts: u64, write: fn(&Moment, &mut String) -> fmt::Result) -> Escape {
    Escape { letter, width, lasts, write }
}

/// All of Flume's but `%t` (milliseconds, never rounded), `%c` (has blanks and colons) and `%D`, which is three.
pub static ESCAPES: [Escape; 20] = [
    escape('Y', 4, DAY, |t, out| write!(out, "{:04}", t.year)),
    escape('y', 2, DAY, |t, out| write!(out, "{:02}", t.year % 100)),
    escape('m', 2, DAY, |t, out| write!(out, "{:02}", t.month)),
    escape('n', 2, DAY, |t, out| write!(out, "{}", t.month)),
    escape('B', 9, DAY, |t, out| out.write_str(t.month_name())),
    escape('b', 3, DAY, |t, out| out.write_str(&t.month_name()[..3])),
    escape('d', 2, DAY, |t, out| write!(out, "{:02}", t.day)),
    escape('e', 2, DAY, |t, out| write!(out, "{}", t.day)),
    escape('j', 3, DAY, |t, out| write!(out, "{:03}", t.day_of_year())),
    escape('A', 9, DAY, |t, out| out.write_str(t.weekday())),
    escape('a', 3, DAY, |t, out| out.write_str(&t.weekday()[..3])),
    escape('H', 2, HOUR, |t, out| write!(out, "{:02}", t.hour())),
    escape('k', 2, HOUR, |t, out| write!(out, "{}", t.hour())),
    escape('I', 2, HOUR, |t, out| write!(out, "{:02}", t.hour_of_twelve())),
    escape('l', 2, HOUR, |t, out| write!(out, "{}", t.hour_of_twelve())),
    escape('p', 2, HOUR, |t, out| out.write_str(if t.hour() < 12 { "AM" } else { "PM" })),
    escape('M', 2, 60, |t, out| write!(out, "{:02}", t.of_day / 60 % 60)),
    escape('S', 2, 1, |t, out| write!(out, "{:02}", t.of_day % 60)),
    escape('s', 12, 1, |t, out| write!(out, "{}", t.seconds)),
    escape('z', 5, u64::MAX, Moment::offset),
];

/// The escape of a letter.
pub fn find(letter: char) -> Option<&'static Escape> {
    ESCAPES.iter().find(|escape| escape.letter == letter)
}
