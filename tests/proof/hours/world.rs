//! What exists outside of the gateway: time, the spans that were made, who acknowledged and who took them, and what is
//! told of it all. It outlives the process.

mod ends;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use spangate::channel::{Draft, Item, Kind, Origin};
use spangate::span::{Batch, Endpoint, Span, TraceId};
use tokio::time::Instant;

pub use self::ends::Cut;
use super::Plant;
use super::rot::Rot;

/// Names that spans carry; a sieve may ask for them.
pub const SERVICES: [&str; 4] = ["front", "cart", "stock", "mail"];
/// 2026-11-21 00:00:00 UTC, when each hour begins.
const DAY_US: u64 = 1_795_219_200_000_000;

/// A span as it was made.
pub struct Made {
    /// Its element of a `ListOfSpans`.
    pub element: Bytes,
    pub key: u64,
    pub service: usize,
    pub debug: bool,
    pub listener: &'static str,
    /// When it was acknowledged, if ever, and by which position.
    pub acked: Option<Duration>,
    pub position: u64,
}

/// Spans that nobody takes, by their number.
#[derive(Debug, Clone, Copy)]
pub struct Bad {
    pub refused_every: u64,
    pub breaks_every: u64,
    /// From this number on all are sound.
    pub until: u64,
}

impl Bad {
    /// A collector answers 400 for whatever holds it.
    pub fn is_refused(self, span: u64) -> bool {
        span % self.refused_every == 5 && span < self.until
    }

    /// A collector resets the connection over whatever holds it.
    pub fn breaks(self, span: u64) -> bool {
        span % self.breaks_every == 7 && span < self.until
    }

    pub fn is_bad(self, span: u64) -> bool {
        self.is_refused(span) || self.breaks(span)
    }
}

pub struct World {
    pub plant: Option<Plant>,
    pub rot: Rot,
    tells: bool,
    inner: Mutex<Inner>,
    later: Mutex<Option<String>>,
}

struct Inner {
    bad: Bad,
    /// Of the hour, when the process that runs began, and when that was by its runtime.
    began: Option<(Duration, Instant)>,
    past: Duration,
    spans: Vec<Made>,
    /// Positions that were acknowledged: no two overlap.
    positions: BTreeMap<u64, u64>,
    entries: u64,
    entries_acked: u64,
    broken: Option<String>,
    digest: u64,
    met: BTreeSet<(&'static str, u64)>,
    counts: BTreeMap<&'static str, u64>,
    /// When processes ended before the hour did.
    cuts: Vec<Cut>,
    /// When calls failed that change something.
    hits: Vec<Duration>,
    /// When the page cache last lost what a failed sync should have written.
    evicted: Option<Duration>,
    /// The log of the process that ran last was closed for good.
    closed: bool,
}

impl World {
    pub fn new(bad: Bad, tells: bool, plant: Option<Plant>) -> Arc<World> {
        let inner = Inner {
            bad,
            began: None,
            past: Duration::ZERO,
            spans: Vec::new(),
            positions: BTreeMap::new(),
            entries: 0,
            entries_acked: 0,
            broken: None,
            digest: 0,
            met: BTreeSet::new(),
            counts: BTreeMap::new(),
            cuts: Vec::new(),
            hits: Vec::new(),
            evicted: None,
            closed: false,
        };
        Arc::new(World { plant, rot: Rot::default(), tells, inner: Mutex::new(inner), later: Mutex::default() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// A process begins, within its runtime.
    pub fn begin(&self) {
        let mut inner = self.inner();
        inner.began = Some((inner.past, Instant::now()));
    }

    /// It ends, within its runtime; time stands still.
    pub fn end(&self) {
        let now = self.now();
        let mut inner = self.inner();
        (inner.began, inner.past) = (None, now);
    }

    /// Goes by without a process.
    pub fn pass(&self, time: Duration) {
        self.inner().past += time;
    }

    /// Since the hour began.
    pub fn now(&self) -> Duration {
        let inner = self.inner();
        inner.began.map_or(inner.past, |(past, start)| past + start.elapsed())
    }

    /// The moment of the runtime that is `at`.
    pub fn moment(&self, at: Duration) -> Instant {
        let (past, start) = self.inner().began.expect("a process runs");
        start + at.saturating_sub(past)
    }

    pub fn wall_us(&self) -> u64 {
        DAY_US + self.now().as_micros() as u64
    }

    /// Whether this is planted, and it is late enough in the hour for it to show.
    pub fn is_planted(&self, plant: Plant) -> bool {
        self.plant == Some(plant) && self.now() > Duration::from_secs(120)
    }

    /// Adds to the story, which is the same each time that a seed is run.
    pub fn tell(&self, event: &'static str, number: u64, what: impl FnOnce() -> String) {
        let now = self.now();
        let mut inner = self.inner();
        for part in [now.as_micros() as u64, event.len() as u64, number] {
            inner.digest = (inner.digest ^ part).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        if self.tells {
            println!("{:>12.3} {event}: {}", now.as_secs_f64(), what());
        }
    }

    /// A number that another run of the same seed gives again.
    pub fn digest(&self) -> u64 {
        self.inner().digest
    }

    /// A promise is broken: the first is what counts.
    pub fn broke(&self, what: impl Display) {
        let now = self.now();
        let mut inner = self.inner();
        if inner.broken.is_none() {
            if self.tells {
                println!("{:>12.3} BROKEN: {what}", now.as_secs_f64());
            }
            inner.broken = Some(format!("{:.3} s: {what}", now.as_secs_f64()));
        }
    }

    pub fn holds(&self, yes: bool, what: impl FnOnce() -> String) {
        if !yes {
            self.broke(what());
        }
    }

    /// As [`broke`](Self::broke), for use within [`each_span`](Self::each_span): the first is told by
    /// [`tell_broken`](Self::tell_broken).
    pub fn broke_later(&self, what: String) {
        self.later.lock().unwrap().get_or_insert(what);
    }

    pub fn tell_broken(&self) {
        let later = self.later.lock().unwrap().take();
        later.into_iter().for_each(|what| self.broke(what));
    }

    pub fn broken(&self) -> Option<String> {
        self.inner().broken.clone()
    }

    /// A call met the fault with this number.
    pub fn met(&self, kind: &'static str, number: u64) {
        self.inner().met.insert((kind, number));
    }

    pub fn count(&self, what: &'static str, count: u64) {
        *self.inner().counts.entry(what).or_default() += count;
    }

    pub fn counted(&self, what: &str) -> u64 {
        self.inner().counts.get(what).copied().unwrap_or_default()
    }

    /// Faults that were met, and of how many kinds they are.
    pub fn faults(&self) -> (u64, u64) {
        let inner = self.inner();
        let kinds: BTreeSet<_> = inner.met.iter().map(|(kind, _)| kind).collect();
        (inner.met.len() as u64, kinds.len() as u64)
    }

    /// When the process began that runs.
    pub fn life_began(&self) -> Duration {
        let inner = self.inner();
        inner.began.map_or(inner.past, |(past, _)| past)
    }

    /// Spans that the gateway said yes to.
    pub fn acknowledged(&self) -> u64 {
        self.inner().spans.iter().filter(|made| made.acked.is_some()).count() as u64
    }

    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.inner().counts.clone()
    }

    pub fn bad(&self) -> Bad {
        self.inner().bad
    }

    /// From now on no span is made that nobody takes: where nothing else passes it would wait for ever, rightly.
    pub fn only_sound(&self) {
        let mut inner = self.inner();
        inner.bad.until = inner.bad.until.min(inner.spans.len() as u64);
    }

    /// Spans made so far.
    pub fn made(&self) -> u64 {
        self.inner().spans.len() as u64
    }

    /// Shows each span; asks nothing else of the world meanwhile.
    pub fn each_span(&self, mut each: impl FnMut(u64, &Made)) {
        for (number, made) in self.inner().spans.iter().enumerate() {
            each(number as u64, made);
        }
    }

    /// Whether this is a span that was made, byte for byte.
    pub fn knows(&self, number: u64, element: &[u8]) -> bool {
        self.inner().spans.get(number as usize).is_some_and(|made| made.element == element)
    }

    /// Entries made and acknowledged.
    pub fn entries(&self) -> (u64, u64) {
        let inner = self.inner();
        (inner.entries, inner.entries_acked)
    }

    /// A message of so many spans, and their numbers. Every sixth trace is of three spans.
    pub fn message(&self, spans: u64, listener: &'static str) -> (Draft, Range<u64>) {
        let received_us = self.wall_us();
        let mut inner = self.inner();
        let first = inner.spans.len() as u64;
        let mut batch = Batch::default();
        for number in first..first + spans {
            let key = trace_of(number);
            let service = (key % 7 % 4) as usize;
            let local = Endpoint { service_name: Some(SERVICES[service].into()), ..Endpoint::default() };
            batch.push(&mut Span {
                trace_id: TraceId { high: 0, low: key },
                id: number + 1,
                name: Some("get /".into()),
                timestamp_us: received_us,
                local: Some(local),
                debug: number % 101 == 3,
                ..Span::default()
            });
        }
        let items: Vec<Item> = batch
            .items
            .iter()
            .map(|item| Item { key: item.key, len: item.len, label: item.label, flags: item.flags })
            .collect();
        let body = Bytes::from(batch.body);
        let mut at = 0;
        for (number, item) in (first..).zip(&items) {
            let end = at + item.len as usize;
            inner.spans.push(Made {
                element: body.slice(at..end),
                key: item.key,
                service: (item.key % 7 % 4) as usize,
                debug: number % 101 == 3,
                listener,
                acked: None,
                position: 0,
            });
            at = end;
        }
        let origin = Origin(vec![("listener".into(), listener.into()), ("peer".into(), "10.0.0.1:9999".into())]);
        let draft = Draft {
            kind: Kind::Spans,
            addressee: None,
            received_us,
            origin: Arc::new(origin),
            labels: batch.labels,
            items,
            body,
        };
        (draft, first..first + spans)
    }

    /// An entry that could not be decoded.
    pub fn entry(&self) -> Draft {
        self.inner().entries += 1;
        Draft {
            kind: Kind::Entries,
            addressee: Some("dead-letters".into()),
            received_us: self.wall_us(),
            origin: Arc::new(Origin::default()),
            labels: vec!["not Thrift".into()],
            items: vec![Item { key: 0, len: 3, label: 0, flags: 0 }],
            body: Bytes::from_static(b"???"),
        }
    }

    /// The gateway said yes to these spans and entries, and gave them positions.
    pub fn acked(&self, spans: Range<u64>, entries: u64, positions: Range<u64>) {
        let now = self.now();
        let mut inner = self.inner();
        let before = inner.positions.range(..positions.end).next_back().map(|(_, end)| *end);
        let used = before.is_some_and(|end| end > positions.start);
        inner.positions.insert(positions.start, positions.end);
        inner.entries_acked += entries;
        for (made, position) in inner.spans[spans.start as usize..spans.end as usize].iter_mut().zip(positions.clone())
        {
            (made.acked, made.position) = (Some(now), position);
        }
        drop(inner);
        let whole = positions.end - positions.start == spans.end - spans.start + entries;
        self.holds(!used, || format!("promise 3: positions {positions:?} were used twice"));
        self.holds(whole, || format!("promise 4: {spans:?} and {entries} entries became {positions:?}"));
    }
}

/// Spread over all ids, as sampling expects; in every sixth, three spans are of one trace.
fn trace_of(number: u64) -> u64 {
    let trace = if number % 18 < 3 { number - number % 3 } else { number };
    (trace + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The number of the span in an element, which says it in its id.
pub fn number_of(element: &[u8]) -> Option<u64> {
    let span = spangate::span::canonical::span_bytes(element).ok()?;
    // The trace id of 8 bytes, then the id: each with a tag and a length.
    let id: [u8; 8] = span.get(12..20)?.try_into().ok()?;
    (span.get(..2)? == [0x0a, 8] && span.get(10..12)? == [0x1a, 8]).then(|| u64::from_be_bytes(id).wrapping_sub(1))
}
