//! What is asked for, and what that rules out: an object by its name and times, a row by all it says.
//!
//! Nothing is ruled out that might be meant: bounds are as wide as clocks and late spans need them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::archive::format::Format;
use crate::archive::object::Object;
use crate::archive::store::Listed;
use crate::channel::Origin;
use crate::clock;
use crate::drain::sieve::matches;
use crate::span::{Span, TraceId};

/// The clocks of a store and of a gateway may differ.
const CLOCKS_US: u64 = 3_600_000_000;
/// A span's own time is believed as far as this behind its receive time.
const AHEAD_US: u64 = 86_400_000_000;

/// And as far before it.
const LATE_US: u64 = 7 * AHEAD_US;
/// No zone is further from UTC.
const ZONE_US: u64 = 14 * 3_600_000_000;

/// A trace, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// By 16 digits: whatever the upper half is.
    Low(u64),
    /// By 32.
    Whole(TraceId),
}

impl Trace {
    /// Reads 16 or 32 hexadecimal digits, or fewer, as some tools cut zeros.
    pub fn parse(text: &str) -> Option<Trace> {
        let digits = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        let id = u128::from_str_radix(text, 16).ok().filter(|id| digits && *id != 0)?;
        match text.len() <= 16 {
            true => Some(Trace::Low(id as u64)),
            false => Some(Trace::Whole(TraceId { high: (id >> 64) as u64, low: id as u64 })),
        }
    }

    pub fn is(self, id: TraceId) -> bool {
        match self {
            Trace::Low(low) => id.low == low,
            Trace::Whole(whole) => id == whole,
        }
    }
}

/// Positions of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positions {
    /// As an object's name has it; `None`: of any.
    pub channel: Option<String>,
    pub range: RangeInclusive<u64>,
}

/// Which spans are meant; what is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Received then or later, microseconds since the epoch. Where rows do not say when, a span's own time stands for
    /// it, and one that has none is meant.
    pub from_us: Option<u64>,
    /// Received before then.
    pub to_us: Option<u64>,
    /// Local service names in lower case, `*` at the end for any rest; none: all.
    pub services: Vec<String>,
    pub trace: Option<Trace>,
    /// An object that has all positions of its range is asked row by row; of another, all spans are meant.
    pub positions: Option<Positions>,
    /// Of Scribe; none: all, and what has none.
    pub categories: Vec<String>,
    pub labels: BTreeMap<String, String>,
}

impl Selection {
    /// Whether something can only be told from origins.
    pub fn asks_origin(&self) -> bool {
        !self.categories.is_empty() || !self.labels.is_empty()
    }

    /// Whether an object may hold something, by what a listing says.
    pub fn may_hold(&self, object: &Listed) -> bool {
        let name = &object.parsed;
        let placed = self.positions.as_ref().is_none_or(|Positions { channel, range }| {
            channel.as_ref().is_none_or(|channel| *channel == name.channel)
                && name.first <= *range.end()
                && *range.start() <= name.last
        });
        let slack = if Format::of_name(&object.name) == Some(Format::Parquet1) { CLOCKS_US } else { AHEAD_US };
        let written = |from| object.written_us.is_none_or(|written| written.saturating_add(slack) >= from);
        placed && self.from_us.is_none_or(written) && self.to_us.is_none_or(|to| begun_before(object, to))
    }

    /// Whether some of receive times between these two may be meant.
    pub fn may_hold_received(&self, min_us: u64, max_us: u64) -> bool {
        self.from_us.is_none_or(|from| from <= max_us) && self.to_us.is_none_or(|to| min_us < to)
    }

    /// Whether some of services between these two, in the order of their bytes, may be meant.
    pub fn may_hold_service(&self, min: &[u8], max: &[u8]) -> bool {
        let may = |word: &String| match word.strip_suffix('*') {
            // The least that begins so is the beginning itself; the greatest is cut to it.
            Some(start) => start.as_bytes() <= max && start.as_bytes() >= &min[..min.len().min(start.len())],
            None => (min..=max).contains(&word.as_bytes()),
        };
        self.services.is_empty() || self.services.iter().any(may)
    }

    /// Whether a row of an object is meant.
    pub fn takes(
        &self,
        object: &Object,
        row: u64,
        span: &Span<'_>,
        received_us: Option<u64>,
        origin: Option<&Origin>,
    ) -> bool {
        self.takes_row(object, row)
            && self.trace.is_none_or(|trace| trace.is(span.trace_id))
            && self.takes_time(received_us.or_else(|| own_time(span)))
            && self.takes_service(span)
            && (!self.asks_origin() || origin.is_some_and(|origin| self.takes_origin(origin)))
    }

    fn takes_row(&self, object: &Object, row: u64) -> bool {
        let dense = object.last - object.first + 1 == object.spans;
        self.positions.as_ref().is_none_or(|positions| !dense || positions.range.contains(&(object.first + row)))
    }

    fn takes_time(&self, us: Option<u64>) -> bool {
        us.is_none_or(|us| self.may_hold_received(us, us))
    }

    fn takes_service(&self, span: &Span<'_>) -> bool {
        let name = span.local.as_ref().and_then(|local| local.service_name.as_deref());
        let is = |word: &String| name.is_some_and(|name| matches(word, name));
        self.services.is_empty() || self.services.iter().any(is)
    }

    fn takes_origin(&self, origin: &Origin) -> bool {
        let has = |key: &str, value: &String| origin.0.iter().any(|(known, found)| known == key && found == value);
        (self.categories.is_empty() || self.categories.iter().any(|category| has("category", category)))
            && self.labels.iter().all(|(key, value)| has(key, value))
    }
}

/// Whether an object's directory leaves it open that something in it was received before then: the day in it, which
/// is that of its spans' receipt or of their own time, in whatever zone.
fn begun_before(object: &Listed, to_us: u64) -> bool {
    let day = object.name.split('/').find_map(|dir| clock::parse_rfc3339(dir.strip_prefix("dt=")?));
    let late = if Format::of_name(&object.name) == Some(Format::Parquet1) { 0 } else { LATE_US };
    day.is_none_or(|day| day < to_us.saturating_add(AHEAD_US + ZONE_US + late))
}

/// When a span says that it was: its time, or its first annotation's.
fn own_time(span: &Span<'_>) -> Option<u64> {
    let times = std::iter::once(span.timestamp_us).chain(span.annotations.iter().map(|a| a.timestamp_us));
    times.into_iter().find(|us| (1..=i64::MAX as u64).contains(us))
}
