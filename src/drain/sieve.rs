//! Which spans are a drain's: filters and sampling, from frame heads alone.
//!
//! A [`Sieve`] is pure and says the same of the same frame for ever; so what it leaves out may be
//! forgotten by a cursor's slot, and an archive's plan carries it along as one line of text. Between
//! the keys of a [`Filter`] stands "and", between the words of one "or". Sampling is Zipkin's own
//! (`CollectorSampler`): a collector behind us, with the same rate, would drop nothing more.

mod text;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::channel::{Head, Item, Ledger, Origin, Outcome, Taken};
use crate::span::ALWAYS_KEEP;

pub use text::{TEXT_BYTES_MAX, TextError};

/// What a drain takes; a list without words takes all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub listeners: Vec<String>,
    /// Of Scribe; a span that came over HTTP has none.
    pub categories: Vec<String>,
    /// Local service names in lower case, as canonical spans have them; `*` at the end stands for any rest.
    pub services: Vec<String>,
    /// As `services`; goes before them.
    pub services_exclude: Vec<String>,
    /// Of the origin; each has to be there.
    pub labels: BTreeMap<String, String>,
    /// Leaves out what comes from a replay of an archive, which had it before.
    pub leave_replayed: bool,
}

/// Filters and samples. Cheap to ask.
#[derive(Debug, Clone, PartialEq)]
pub struct Sieve {
    filter: Filter,
    rate: f32,
    /// The largest magnitude of a trace id that is kept.
    boundary: i64,
}

/// A frame's open items, parted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parted {
    /// Indexes into the head's items.
    pub kept: Vec<Range<u32>>,
    pub left_out: Vec<(Range<u32>, Outcome)>,
}

impl Default for Sieve {
    fn default() -> Self {
        Sieve::new(Filter::default(), 1.0)
    }
}

impl Sieve {
    /// `rate` is of 0.0 to 1.0. A 32-bit float, as Zipkin's is: another width has another boundary.
    pub fn new(filter: Filter, rate: f32) -> Sieve {
        // `CollectorSampler.create`: (long) (Long.MAX_VALUE * rate). Java's cast saturates, too.
        Sieve { filter, rate, boundary: (i64::MAX as f32 * rate) as i64 }
    }

    /// Whether it leaves nothing out.
    pub fn takes_all(&self) -> bool {
        !self.filter.leave_replayed && self.takes_all_once()
    }

    /// Whether it leaves nothing out but what an archive had before.
    pub fn takes_all_once(&self) -> bool {
        let filter = Filter { leave_replayed: self.filter.leave_replayed, ..Filter::default() };
        self.filter == filter && self.rate >= 1.0
    }

    /// Parts `open`, items of a frame of spans.
    pub fn part(&self, head: &Head, open: &[Range<u32>]) -> Parted {
        if self.takes_all() {
            return Parted { kept: open.to_vec(), left_out: Vec::new() };
        }
        if !self.takes_origin(&head.origin) {
            let left_out = open.iter().map(|range| (range.clone(), Outcome::Filtered)).collect();
            return Parted { kept: Vec::new(), left_out };
        }
        if self.takes_all_once() {
            return Parted { kept: open.to_vec(), left_out: Vec::new() };
        }
        let services: Vec<bool> = head.labels.iter().map(|label| self.takes_service(Some(label))).collect();
        let nameless = self.takes_service(None);
        let mut parted = Parted::default();
        for index in open.iter().cloned().flatten() {
            let item = &head.items[index as usize];
            let taken = services.get(usize::from(item.label)).copied().unwrap_or(nameless);
            parted.push(index, self.why_not(item, taken));
        }
        parted
    }

    /// Parts a frame that was taken, settles what is left out, and gives what is kept.
    pub fn take(&self, taken: Taken, ledger: &Ledger) -> Taken {
        if self.takes_all() {
            return taken;
        }
        let Parted { kept, left_out } = self.part(&taken.head, &taken.open);
        let first = taken.head.at.first;
        let positions = |items: Range<u32>| first + u64::from(items.start)..first + u64::from(items.end);
        if !left_out.is_empty() {
            ledger.settle_all(left_out.into_iter().map(|(items, outcome)| (positions(items), outcome)));
        }
        Taken { head: taken.head, open: kept }
    }

    fn why_not(&self, item: &Item, service_taken: bool) -> Option<Outcome> {
        match (service_taken, self.samples(item.key, item.flags & ALWAYS_KEEP != 0)) {
            (false, _) => Some(Outcome::Filtered),
            (true, false) => Some(Outcome::SampledOut),
            (true, true) => None,
        }
    }

    /// `CollectorSampler.isSampled`; `key` is the low 64 bits of the trace id.
    fn samples(&self, key: u64, debug: bool) -> bool {
        let id = key as i64;
        debug || id.checked_abs().unwrap_or(i64::MAX) <= self.boundary
    }

    fn takes_origin(&self, origin: &Origin) -> bool {
        let of = |key: &str| origin.0.iter().find(|(known, _)| known == key).map(|(_, value)| value);
        let among = |words: &[String], key| words.is_empty() || of(key).is_some_and(|value| words.contains(value));
        !(self.filter.leave_replayed && origin.is_replayed())
            && among(&self.filter.listeners, "listener")
            && among(&self.filter.categories, "category")
            && self.filter.labels.iter().all(|(key, value)| of(key) == Some(value))
    }

    /// A span without a service name is none that a list can name.
    fn takes_service(&self, service: Option<&str>) -> bool {
        let Filter { services, services_exclude, .. } = &self.filter;
        let among = |words: &[String]| words.iter().any(|word| service.is_some_and(|service| matches(word, service)));
        (services.is_empty() || among(services)) && !among(services_exclude)
    }
}

impl Parted {
    fn push(&mut self, index: u32, left_out: Option<Outcome>) {
        let next = index..index + 1;
        match left_out {
            None => match self.kept.last_mut() {
                Some(last) if last.end == index => last.end = next.end,
                _ => self.kept.push(next),
            },
            Some(outcome) => match self.left_out.last_mut() {
                Some((last, same)) if last.end == index && *same == outcome => last.end = next.end,
                _ => self.left_out.push((next, outcome)),
            },
        }
    }
}

/// Whether a name of a service is the one that is asked for, or begins as it where that ends in `*`.
pub fn matches(word: &str, service: &str) -> bool {
    match word.strip_suffix('*') {
        Some(start) => service.starts_with(start),
        None => service == word,
    }
}

#[cfg(test)]
mod tests;
