//! What a workload did and was told, in order; and what of it must hold after a crash in the middle.
//!
//! The model of the channel, in a few lines: positions with the span that each holds, and for each drain which of them
//! are settled, how, since when, and whether that was promised to be durable.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use spangate::channel::{Outcome, Takes};
use tokio::time::Instant;

/// After this a settled position is not given again, whatever happens.
pub const SETTLED_WITHIN: Duration = Duration::from_millis(100);

/// Where cursors could not be saved: after this.
pub const TRIED_AGAIN_WITHIN: Duration = Duration::from_millis(1_200);

pub type Drain = &'static str;

#[derive(Debug, Clone)]
pub enum Event {
    /// Handed to `append`: spans from `first` on.
    Sent {
        first: u64,
        spans: u64,
        to: Option<Drain>,
    },
    /// Answered yes, between its offer and when somebody looked.
    Answered {
        first_span: u64,
        positions: Range<u64>,
        within: Range<Instant>,
    },
    /// `tap` of a new drain was called.
    Beginning {
        drain: Drain,
        takes: Takes,
    },
    /// And returned; it begins there.
    Begun {
        drain: Drain,
        start: u64,
    },
    Given {
        drain: Drain,
        position: u64,
        span: u64,
    },
    /// From here on it may be durable.
    Settled {
        drain: Drain,
        positions: Range<u64>,
        outcome: Outcome,
        at: Instant,
    },
    /// With this note; what was settled before goes along.
    Committing {
        drain: Drain,
        note: Bytes,
    },
    Committed {
        drain: Drain,
    },
    /// The archive has it from here on, and settles as its objects stand.
    Archiving {
        drain: Drain,
    },
    Forgetting {
        drain: Drain,
    },
    Forgotten {
        drain: Drain,
    },
    /// An orderly stop, without faults.
    Stopped,
    /// Seen: the log is not written any more until a restart.
    Closed,
    /// A crash, and what the next process finds.
    Reborn {
        found: Box<Found>,
        at: Instant,
    },
    /// A process has found it, and made it durable.
    Started,
}

/// What is there after a crash.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub tail: u64,
    /// What is open, by drain, with the span at each position.
    pub open: BTreeMap<Drain, BTreeMap<u64, u64>>,
    pub notes: BTreeMap<Drain, Bytes>,
    pub lows: BTreeMap<Drain, u64>,
}

/// The events, shared with a disk that is filmed.
#[derive(Clone, Default)]
pub struct Book(Arc<Mutex<Pages>>, pub Arc<AtomicU64>);

#[derive(Default)]
pub struct Pages {
    pub events: Vec<Event>,
    /// The bytes of each span, by its number.
    pub spans: Vec<Bytes>,
    /// Promises that broke while the workload ran.
    pub broken: Vec<String>,
}

impl Book {
    pub fn note(&self, event: Event) {
        let mut pages = self.pages();
        pages.events.push(event);
        self.1.store(pages.events.len() as u64, Ordering::Relaxed);
    }

    pub fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn broken(&self, what: String) {
        self.pages().broken.push(what);
    }
}

/// What is known at one moment.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// For whom each span was sent.
    pub sent: BTreeMap<u64, Option<Drain>>,
    /// Spans by position: of what was answered yes, or given to a drain.
    pub at: BTreeMap<u64, u64>,
    /// Between which moments a position was answered.
    pub answered: BTreeMap<u64, Range<Instant>>,
    /// Positions that some drain was given: these are durable, whatever `channel.sync` says.
    pub given: BTreeSet<u64>,
    pub drains: BTreeMap<Drain, Row>,
    /// Below this everything was settled by drains that are gone since, so the log need not have it.
    pub passed: u64,
    /// The log is not written any more until a restart.
    pub closed: bool,
    /// Nobody syncs what was answered last, from a crash until a process has found it.
    pub down_since: Option<Instant>,
    /// What a process will find that is starting: spans; and drains with their lows and notes. Until it has made that
    /// durable, another may find less.
    starting: BTreeMap<u64, u64>,
    finding: Option<BTreeMap<Drain, (u64, Bytes)>>,
}

/// A drain.
#[derive(Debug, Clone)]
pub struct Row {
    pub takes: Takes,
    /// `None`: `tap` did not return yet.
    pub start: Option<u64>,
    pub forgetting: bool,
    /// What of it is settled stands in objects.
    pub archived: bool,
    pub settled: BTreeMap<u64, Settled>,
    /// Any of these may be found.
    pub notes: Vec<Bytes>,
}

#[derive(Debug, Clone)]
pub struct Settled {
    pub outcome: Outcome,
    /// `None`: before a crash that came before it was promised.
    pub at: Option<Instant>,
    /// It was said to be.
    pub durable: bool,
}

/// Settled without having left the gateway: it costs nobody anything when that is done again.
pub fn is_light(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Filtered | Outcome::SampledOut)
}

impl Row {
    /// Whether it takes a span that was sent so.
    pub fn is_for(&self, name: Drain, to: Option<Drain>) -> bool {
        to == Some(name) || (to.is_none() && self.takes == Takes::Common)
    }

    fn settle(&mut self, positions: Range<u64>, outcome: Outcome, at: Instant) {
        for position in positions {
            // What was filtered is read again, and may have another end.
            if self.settled.get(&position).is_none_or(|settled| is_light(settled.outcome)) {
                self.settled.insert(position, Settled { outcome, at: Some(at), durable: false });
            }
        }
    }

    fn make_durable(&mut self) {
        self.settled.values_mut().for_each(|settled| settled.durable = true);
    }
}

impl Truth {
    /// When so many of the events were noted. A log that was closed for good is seen to be so a little later.
    pub fn after(events: &[Event], noted: usize) -> Truth {
        let mut truth = Truth::default();
        events[..noted].iter().for_each(|event| truth.add(event));
        let same_process = events[noted..].iter().take_while(|event| !matches!(event, Event::Reborn { .. }));
        truth.closed |= same_process.into_iter().any(|event| matches!(event, Event::Closed));
        truth
    }

    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Sent { first, spans, to } => self.sent.extend((*first..first + spans).map(|span| (span, *to))),
            Event::Answered { first_span, positions, within } => {
                self.at.extend(positions.clone().zip(*first_span..));
                self.answered.extend(positions.clone().map(|position| (position, within.clone())));
            }
            Event::Beginning { drain, takes } => {
                let row = Row {
                    takes: *takes,
                    start: None,
                    forgetting: false,
                    archived: false,
                    settled: BTreeMap::new(),
                    notes: vec![Bytes::new()],
                };
                self.drains.insert(drain, row);
            }
            Event::Begun { drain, start } => self.row(drain).start = Some(*start),
            Event::Given { position, span, .. } => {
                self.at.insert(*position, *span);
                self.given.insert(*position);
            }
            Event::Settled { drain, positions, outcome, at } => {
                self.row(drain).settle(positions.clone(), *outcome, *at);
            }
            Event::Committing { drain, note } => self.row(drain).notes.push(note.clone()),
            Event::Committed { drain } => {
                let row = self.row(drain);
                row.make_durable();
                row.notes.drain(..row.notes.len() - 1);
            }
            Event::Archiving { drain } => self.row(drain).archived = true,
            Event::Forgetting { drain } => self.row(drain).forgetting = true,
            Event::Forgotten { drain } => self.retain(|name| name != *drain),
            Event::Stopped => self.drains.values_mut().for_each(Row::make_durable),
            Event::Closed => self.closed = true,
            Event::Reborn { found, at } => self.reborn(found, *at),
            Event::Started => {
                let found = std::mem::take(&mut self.starting);
                self.down_since = None;
                self.given.extend(found.keys());
                self.at.extend(found);
                self.keep_what_was_found();
                self.drains.values_mut().for_each(Row::make_durable);
            }
        }
    }

    fn row(&mut self, drain: &Drain) -> &mut Row {
        self.drains.get_mut(drain).expect("a drain that is used was begun")
    }

    /// The other drains are gone.
    fn retain(&mut self, stays: impl Fn(Drain) -> bool) {
        for (name, row) in std::mem::take(&mut self.drains) {
            if stays(name) {
                self.drains.insert(name, row);
                continue;
            }
            let Some(start) = row.start else { continue };
            let is_open =
                |(at, span): &(&u64, &u64)| row.is_for(name, self.sent[span]) && !row.settled.contains_key(at);
            let low = self.at.range(start..).find(is_open).map(|(at, _)| *at);
            let end = || self.at.last_key_value().map_or(0, |(last, _)| last + 1);
            self.passed = self.passed.max(low.unwrap_or_else(end));
        }
    }

    fn keep_what_was_found(&mut self) {
        let Some(found) = self.finding.take() else { return };
        self.retain(|name| found.contains_key(name));
        for (name, (low, note)) in found {
            let row = self.row(&name);
            row.forgetting = false;
            row.start = row.start.or(Some(low));
            row.notes = vec![note];
        }
    }

    /// What a process finds is the truth from there on.
    fn reborn(&mut self, found: &Found, at: Instant) {
        self.down_since = Some(at);
        self.at.split_off(&found.tail);
        self.answered.split_off(&found.tail);
        self.closed = false;
        let lows = found.lows.iter();
        self.finding = Some(lows.map(|(name, low)| (*name, (*low, found.notes[name].clone()))).collect());
        for (name, open) in &found.open {
            let row = self.drains.get_mut(name).expect("a drain that is found was begun");
            row.settled.retain(|position, _| !open.contains_key(position));
            row.settled.values_mut().for_each(|settled| settled.at = settled.at.filter(|_| settled.durable));
            self.starting.extend(open);
        }
    }
}
