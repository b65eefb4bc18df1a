//! A channel with its drains on a simulated disk, and the steps that a workload is made of.
//!
//! A step that the world is not ready for (a drain that is not there) does nothing, so that any list of steps is a
//! workload: random ones, and what shrinking leaves of one. What the channel answers is written into the book, and held
//! against it at once where it can be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use spangate::channel::{
    AppendError, Channel, Draft, Head, Intake, Item, Kind, OpenError, Origin, Outcome, ReadError, Receipt, Settings,
    Start, Sync, Taken, Takes, Tap,
};
use spangate::clock::Clock;
use spangate::disk::sync_name;
use spangate::metrics::{Registry, TABLE};
use spangate::span::{Batch, Span, TraceId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::book::{Book, Drain, Event, Truth};
use super::rot::Cost;
use super::verdict::Crash;
use super::{FAULTS, archive};
use crate::support::disk::{Power, Shot, SimDisk};

const DATA: &str = "/data";
pub const DIR: &str = "/data/channel";

/// The drains of a workload; the last one takes what is addressed to it alone.
pub const DRAINS: [Drain; 4] = ["zipkin", "archive", "tap", "dead-letters"];
pub const ARCHIVE: usize = 1;
pub const LETTERS: usize = 3;

/// As long as a listener waits for room and sync.
const COMMIT_WAIT: Duration = Duration::from_millis(500);
/// What is there is given at once; a read that fails is tried again.
const GIVE_WAIT: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// A message: spans, bytes of each, and whether it is for the dead letters alone. The answer is awaited.
    Append {
        spans: u16,
        bytes: u16,
        letters: bool,
    },
    /// One whose answer is awaited later.
    Offer {
        spans: u16,
        bytes: u16,
    },
    /// The oldest offer is given up.
    Withdraw,
    /// The answers of all offers are awaited.
    Answers,
    Begin {
        drain: usize,
        oldest: bool,
    },
    /// A drain's handles are dropped, with all that is in flight; or it is there again.
    Leave {
        drain: usize,
    },
    Return {
        drain: usize,
    },
    /// A drain for which nothing waits has no more, until it is there again.
    Release {
        drain: usize,
    },
    Forget {
        drain: usize,
    },
    Take {
        drain: usize,
        frames: u8,
    },
    /// A frame in flight is settled: which one, the first so many of its items (0: all), how.
    Settle {
        drain: usize,
        pick: u8,
        part: u8,
        outcome: u8,
    },
    /// The same with a note of so many bytes, durable when it returns.
    Commit {
        drain: usize,
        pick: u8,
        note: u16,
    },
    /// What the channel asks a drain to skip is settled so.
    Skip {
        drain: usize,
    },
    /// What has waited so long is settled as expired.
    Expire {
        drain: usize,
        ms: u16,
    },
    /// All durable frames are read once more.
    Reread {
        drain: usize,
    },
    Wait {
        ms: u16,
    },
    /// The real archive has its drain for so long, and stops.
    Archive {
        ms: u16,
    },
    /// So many calls fail, the first one after so many others: of those that change something, or of those that read.
    Fault {
        kind: u8,
        after: u8,
        calls: u8,
    },
    /// An orderly stop and start.
    Restart,
    /// The process is killed or the power lost, what is left is checked, and the next process goes on.
    Crash {
        kill: bool,
        seed: u64,
    },
}

/// A drain that is attached.
pub(super) struct Side {
    pub(super) tap: Tap,
    skip_to: watch::Receiver<u64>,
    flight: VecDeque<Taken>,
    /// Given in this process and not settled.
    held: BTreeSet<u64>,
}

/// A message whose answer is not read yet.
pub(super) struct Offer {
    first_span: u64,
    at: Instant,
    receipt: Receipt,
}

pub struct World {
    pub disk: SimDisk,
    pub settings: Settings,
    pub book: Book,
    registry: Registry,
    pub channel: Option<Channel>,
    pub(super) sides: BTreeMap<Drain, Side>,
    /// Drains that were released, and are not there again.
    released: BTreeSet<Drain>,
    pub(super) offers: VecDeque<Offer>,
    /// Faults are set: calls may fail.
    pub faulty: bool,
    /// What was filmed before the last crash.
    pub shots: Vec<Shot>,
}

pub fn settings() -> Settings {
    Settings {
        dir: PathBuf::from(DIR),
        capacity_bytes: 512 * 1024,
        capacity_spans: None,
        sync: Sync::Always,
        free_min_bytes: Some(0),
        cache_bytes: 64 * 1024,
    }
}

pub fn open(
    disk: &SimDisk,
    settings: &Settings,
    registry: &Registry,
) -> Result<(Channel, spangate::channel::Found), OpenError> {
    // As a gateway takes its data directory.
    let (data, disk) = (Path::new(DATA), disk.disk());
    let taken = disk.create_dir_all(data).and_then(|()| sync_name(&*disk, data));
    taken.map_err(|source| OpenError::Io { path: data.to_owned(), source })?;
    Channel::open(settings.clone(), disk, Clock::manual(1_000_000), registry)
}

/// Whether a frame that is given to a drain would outlive a loss of power now.
pub fn outlives(disk: &SimDisk, head: &Head) -> Result<(), String> {
    const FIXED: usize = 72;
    let origin: usize = head.origin.0.iter().map(|(key, value)| 2 + key.len() + value.len()).sum();
    let labels: usize = head.labels.iter().map(|label| 1 + label.len()).sum();
    let len = FIXED + origin + labels + 16 * head.items.len() + head.body_len as usize;
    let path = Path::new(DIR).join(format!("{:016x}.seg", head.at.segment));
    match disk.outlives(&path, head.at.offset as usize..head.at.offset as usize + len) {
        true => Ok(()),
        false => Err(format!("promise 1: a drain is given {} before it is synced", head.at.first)),
    }
}

/// A message of real spans with these numbers, each name padded to `bytes`.
pub fn draft(spans: Range<u64>, bytes: u16, to: Option<Drain>) -> (Draft, Vec<Bytes>) {
    let (mut items, mut body, mut each) = (Vec::new(), Vec::new(), Vec::new());
    for number in spans {
        let mut batch = Batch::default();
        let trace_id = TraceId { high: 0, low: number + 1 };
        let name = format!("{number:0width$}", width = usize::from(bytes));
        batch.push(&mut Span { trace_id, id: number + 1, name: Some(name.into()), ..Span::default() });
        items.push(Item { key: number, len: batch.body.len() as u32, label: 0, flags: 0 });
        body.extend_from_slice(&batch.body);
        each.push(Bytes::from(batch.body));
    }
    let draft = Draft {
        kind: Kind::Spans,
        addressee: to.map(str::to_owned),
        received_us: 1_000_000,
        origin: Arc::new(Origin(vec![("listener".into(), "test".into())])),
        labels: vec!["front".into()],
        items,
        body: Bytes::from(body),
    };
    (draft, each)
}

/// The spans of a frame by number, or what is wrong with one.
pub fn spans_of(book: &Book, head: &Head, body: &Bytes) -> Result<Vec<u64>, String> {
    let mut at = 0;
    let pages = book.pages();
    head.items
        .iter()
        .map(|item| {
            let bytes = body.slice(at..at + item.len as usize);
            at += item.len as usize;
            match pages.spans.get(item.key as usize) {
                Some(sent) if *sent == bytes => Ok(item.key),
                Some(_) => Err(format!("promise 1: span {} is not as it was sent", item.key)),
                None => Err(format!("promise 1: span {} was never sent", item.key)),
            }
        })
        .collect()
}

/// Takes a frame if there is one. Reads that fail are tried again, as a drain does.
pub async fn next(tap: &mut Tap) -> Option<Taken> {
    for _ in 0..20 {
        match timeout(GIVE_WAIT, tap.next()).await {
            Ok(Ok(taken)) => return taken,
            Ok(Err(_)) => tokio::time::sleep(GIVE_WAIT).await,
            Err(_) => return None,
        }
    }
    None
}

/// `None`: the body is damaged.
pub async fn body(tap: &Tap, head: &Head) -> Option<Bytes> {
    loop {
        match tap.body(head).await {
            Ok(body) => return Some(body),
            Err(ReadError::Damaged { .. }) => return None,
            Err(ReadError::Failed(_)) => tokio::time::sleep(GIVE_WAIT).await,
        }
    }
}

impl World {
    pub fn new(disk: SimDisk, settings: Settings, book: Book) -> World {
        World {
            disk,
            settings,
            book,
            registry: Registry::new(TABLE),
            channel: None,
            sides: BTreeMap::new(),
            released: BTreeSet::new(),
            offers: VecDeque::new(),
            faulty: false,
            shots: Vec::new(),
        }
    }

    /// Opens the channel and attaches the drains that it knows. A start that fails is tried again.
    pub async fn start(&mut self) {
        for _ in 0..50 {
            match open(&self.disk, &self.settings, &self.registry) {
                Ok((channel, found)) => {
                    if found.damaged_items > 0 {
                        self.book
                            .broken(format!("promise 4: {} items are damaged, without damage", found.damaged_items));
                    }
                    self.channel = Some(channel);
                    self.book.note(Event::Started);
                    (0..DRAINS.len()).for_each(|drain| self.attach(drain));
                    return;
                }
                Err(error) if !self.faulty => return self.book.broken(format!("promise 1: no start: {error}")),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    pub async fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step).await;
            self.look();
        }
    }

    /// What holds at any time.
    fn look(&self) {
        let Some(channel) = &self.channel else { return };
        let snapshot = channel.snapshot();
        if matches!(snapshot.intake, Intake::Failed { for_good: true, .. }) {
            self.book.note(Event::Closed);
        }
        for account in snapshot.accounts {
            let sum = account.outcomes.values().sum::<u64>() + account.waiting;
            if account.accepted != sum {
                self.book.broken(format!("promise 4: the ledger does not add up: {account:?}"));
            }
            if account.waiting > 0 && self.released.contains(&*account.drain) {
                self.book.broken(format!("promise 4: something waits for a drain that was released: {account:?}"));
            }
        }
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Append { spans, bytes, letters } => self.append(spans, bytes, letters).await,
            Step::Offer { spans, bytes } => self.offer(spans, bytes, None),
            Step::Withdraw => drop(self.offers.pop_front()),
            Step::Answers => self.answers().await,
            Step::Begin { drain, oldest } => self.begin(drain, oldest),
            Step::Leave { drain } => drop(self.sides.remove(DRAINS[drain])),
            Step::Return { drain } => self.attach(drain),
            Step::Release { drain } => self.release(DRAINS[drain]),
            Step::Forget { drain } => self.forget(DRAINS[drain]),
            Step::Take { drain, frames } => self.take(DRAINS[drain], frames).await,
            Step::Settle { drain, pick, part, outcome } => self.settle(DRAINS[drain], pick, part, outcome),
            Step::Commit { drain, pick, note } => self.commit(DRAINS[drain], pick, note).await,
            Step::Skip { drain } => self.skip(DRAINS[drain]),
            Step::Expire { drain, ms } => self.expire(DRAINS[drain], ms),
            Step::Reread { drain } => self.reread(DRAINS[drain]).await,
            Step::Wait { ms } => tokio::time::sleep(Duration::from_millis(ms.into())).await,
            Step::Archive { ms } => self.archive(ms).await,
            Step::Fault { kind, after, calls } => self.fault(kind.into(), after.into(), calls.into()),
            Step::Restart => self.restart().await,
            Step::Crash { kill, seed } => self.crash(kill, seed).await,
        }
    }

    async fn append(&mut self, spans: u16, bytes: u16, letters: bool) {
        self.offer(spans, bytes, letters.then_some(DRAINS[LETTERS]));
        if let Some(offer) = self.offers.pop_back() {
            self.answer(offer).await;
        }
    }

    fn offer(&mut self, spans: u16, bytes: u16, to: Option<Drain>) {
        let Some(channel) = &self.channel else { return };
        let first = self.book.pages().spans.len() as u64;
        let (draft, each) = draft(first..first + u64::from(spans), bytes, to);
        self.book.pages().spans.extend(each);
        self.book.note(Event::Sent { first, spans: spans.into(), to });
        self.offers.push_back(Offer { first_span: first, at: Instant::now(), receipt: channel.append(vec![draft]) });
    }

    async fn answer(&mut self, offer: Offer) {
        let answer = timeout(COMMIT_WAIT, offer.receipt.wait()).await;
        let intake = self.channel.as_ref().map(|channel| channel.snapshot().intake);
        match answer {
            Ok(Ok(positions)) => {
                let within = offer.at..Instant::now();
                self.book.note(Event::Answered { first_span: offer.first_span, positions, within });
            }
            _ if self.faulty => {}
            // Not written before a stop; or nobody made room.
            Ok(Err(AppendError::Stopping)) if intake.is_none() => {}
            Err(_) if intake == Some(Intake::Full) => {}
            other => {
                self.book.broken(format!("promise 6: a message is refused without a fault: {other:?}, {intake:?}"))
            }
        }
    }

    async fn answers(&mut self) {
        for offer in std::mem::take(&mut self.offers) {
            self.answer(offer).await;
        }
    }

    fn begin(&mut self, drain: usize, oldest: bool) {
        let name = DRAINS[drain];
        let Some(channel) = &self.channel else { return };
        if channel.snapshot().accounts.iter().any(|account| account.drain == name) {
            return;
        }
        let takes = if drain == LETTERS { Takes::Addressed } else { Takes::Common };
        self.book.note(Event::Beginning { drain: name, takes });
        let start = if oldest { Start::Oldest } else { Start::End };
        match channel.tap(name, start, takes) {
            Ok(tap) => {
                let low = channel.snapshot().accounts.iter().find(|a| a.drain == name).map_or(0, |a| a.low);
                self.book.note(Event::Begun { drain: name, start: low });
                self.seat(name, tap);
            }
            Err(error) if !self.faulty => self.book.broken(format!("promise 2: {name} cannot begin: {error}")),
            // It may have come to be, or not.
            Err(_) => {}
        }
    }

    /// Attaches a drain that is known and nobody reads.
    pub(super) fn attach(&mut self, drain: usize) {
        let Some(channel) = &self.channel else { return };
        let takes = if drain == LETTERS { Takes::Addressed } else { Takes::Common };
        let known = channel.snapshot().accounts.into_iter().find(|account| account.drain == DRAINS[drain]);
        let Some(account) = known.filter(|account| !account.attached) else { return };
        let Ok(tap) = channel.tap(DRAINS[drain], Start::End, takes) else { return };
        let fresh = self.book.pages().events.iter().rev().find_map(|event| match event {
            Event::Beginning { drain: name, .. } if *name == DRAINS[drain] => Some(true),
            Event::Begun { drain: name, .. } if *name == DRAINS[drain] => Some(false),
            Event::Reborn { found, .. } if found.open.contains_key(DRAINS[drain]) => Some(false),
            _ => None,
        });
        if fresh == Some(true) {
            self.book.note(Event::Begun { drain: DRAINS[drain], start: account.low });
        }
        self.seat(DRAINS[drain], tap);
    }

    fn seat(&mut self, name: Drain, tap: Tap) {
        let skip_to = tap.may_skip();
        self.released.remove(name);
        self.sides.insert(name, Side { tap, skip_to, flight: VecDeque::new(), held: BTreeSet::new() });
    }

    fn release(&mut self, name: Drain) {
        let Some(channel) = &self.channel else { return };
        let Some(account) = channel.snapshot().accounts.into_iter().find(|a| a.drain == name) else { return };
        match channel.release(&[name.to_owned()]) {
            Ok(()) if account.waiting == 0 && self.released.insert(name) => {}
            // It was before, and what came since is not its own.
            Ok(()) if account.waiting == 0 => return,
            Err((drain, waiting)) if drain == name && waiting > 0 && waiting == account.waiting => return,
            // What was answered yes and is not synced waits, too.
            Err((_, waiting)) if self.settings.sync != Sync::Always && waiting > account.waiting => return,
            other => return self.book.broken(format!("promise 4: a release is answered {other:?}: {account:?}")),
        }
        let truth = self.truth();
        let row = &truth.drains[name];
        let (true, Some(start)) = (!row.archived, row.start) else { return };
        let is_open = |(at, span): &(&u64, &u64)| row.is_for(name, truth.sent[span]) && !row.settled.contains_key(at);
        if let Some((position, _)) = truth.at.range(start..).find(is_open) {
            self.book.broken(format!("promise 2: {name} was released, and {position} waits for it"));
        }
    }

    fn forget(&mut self, name: Drain) {
        let Some(channel) = &self.channel else { return };
        if self.sides.contains_key(name) || !channel.snapshot().accounts.iter().any(|a| a.drain == name) {
            return;
        }
        self.book.note(Event::Forgetting { drain: name });
        match channel.forget(name) {
            Ok(_) => {
                self.released.remove(name);
                self.book.note(Event::Forgotten { drain: name });
            }
            Err(error) if !self.faulty => self.book.broken(format!("{name} cannot be forgotten: {error}")),
            Err(_) => {}
        }
    }

    async fn take(&mut self, name: Drain, frames: u8) {
        let Some(side) = self.sides.get_mut(name) else { return };
        for _ in 0..frames {
            let Some(taken) = next(&mut side.tap).await else { return };
            if self.released.contains(name) {
                return self.book.broken(format!("promise 2: {name} was released, and is given {:?}", taken.head.at));
            }
            if let Err(what) = outlives(&self.disk, &taken.head) {
                return self.book.broken(what);
            }
            let Some(body) = body(&side.tap, &taken.head).await else {
                return self.book.broken(format!("promise 4: a body at {} is damaged", taken.head.at.first));
            };
            let spans = match spans_of(&self.book, &taken.head, &body) {
                Ok(spans) => spans,
                Err(what) => return self.book.broken(what),
            };
            for at in taken.open.iter().cloned().flatten() {
                let position = taken.head.at.first + u64::from(at);
                if !side.held.insert(position) {
                    self.book.broken(format!("promise 2: {name} was given {position} twice by one process"));
                }
                self.book.note(Event::Given { drain: name, position, span: spans[at as usize] });
            }
            side.flight.push_back(taken);
        }
    }

    /// The ranges of a frame in flight, or of its first items; those are no longer in flight.
    fn picked(&mut self, name: Drain, pick: u8, part: u8) -> Option<Vec<Range<u64>>> {
        let side = self.sides.get_mut(name)?;
        if side.flight.is_empty() {
            return None;
        }
        let at = usize::from(pick) % side.flight.len();
        let taken = &mut side.flight[at];
        let first = taken.head.at.first;
        let mut left = if part == 0 { u32::MAX } else { u32::from(part) };
        let (mut picked, mut kept) = (Vec::new(), Vec::new());
        for open in std::mem::take(&mut taken.open) {
            let cut = open.start + left.min(open.end - open.start);
            left -= cut - open.start;
            picked.extend((open.start < cut).then_some(first + u64::from(open.start)..first + u64::from(cut)));
            kept.extend((cut < open.end).then_some(cut..open.end));
        }
        match kept.is_empty() {
            true => drop(side.flight.remove(at)),
            false => taken.open = kept,
        }
        picked.iter().cloned().flatten().for_each(|position| _ = side.held.remove(&position));
        Some(picked)
    }

    fn settle(&mut self, name: Drain, pick: u8, part: u8, outcome: u8) {
        const HOW: [Outcome; 4] = [Outcome::Delivered, Outcome::DeadLettered, Outcome::Filtered, Outcome::SampledOut];
        let outcome = HOW[usize::from(outcome) % HOW.len()];
        for positions in self.picked(name, pick, part).into_iter().flatten() {
            self.settle_as(name, positions, outcome);
        }
    }

    fn settle_as(&self, name: Drain, positions: Range<u64>, outcome: Outcome) {
        let at = Instant::now();
        self.book.note(Event::Settled { drain: name, positions: positions.clone(), outcome, at });
        self.sides[name].tap.ledger().settle(positions, outcome);
    }

    async fn commit(&mut self, name: Drain, pick: u8, note: u16) {
        let Some(mut picked) = self.picked(name, pick, 0).or_else(|| self.sides.get(name).map(|_| Vec::new())) else {
            return;
        };
        let positions = picked.pop().unwrap_or(0..0);
        for positions in picked {
            self.settle_as(name, positions, Outcome::Delivered);
        }
        let number = self.book.pages().events.len();
        let note = Bytes::from(format!("{number:0width$}", width = usize::from(note)));
        let (at, outcome) = (Instant::now(), Outcome::Delivered);
        self.book.note(Event::Settled { drain: name, positions: positions.clone(), outcome, at });
        self.book.note(Event::Committing { drain: name, note: note.clone() });
        let ledger = self.sides[name].tap.ledger();
        match timeout(COMMIT_WAIT, ledger.commit(positions, outcome, note)).await {
            Ok(Ok(())) => self.book.note(Event::Committed { drain: name }),
            other if !self.faulty => self.book.broken(format!("a commit of {name} did not come to be: {other:?}")),
            _ => {}
        }
    }

    /// Gives up what is below a position and not on its way.
    fn give_up(&mut self, name: Drain, end: u64, outcome: Outcome) {
        let Some(side) = self.sides.get_mut(name) else { return };
        let mut given_up = Vec::new();
        side.flight.retain(|taken| {
            let first = taken.head.at.first;
            let below = first + u64::from(taken.head.items.len() as u32) <= end;
            if below {
                given_up.extend(taken.open.iter().map(|o| first + u64::from(o.start)..first + u64::from(o.end)));
            }
            !below
        });
        for positions in given_up {
            positions.clone().for_each(|position| _ = self.sides.get_mut(name).unwrap().held.remove(&position));
            self.settle_as(name, positions, outcome);
        }
    }

    fn skip(&mut self, name: Drain) {
        let Some(side) = self.sides.get(name) else { return };
        let end = *side.skip_to.borrow();
        self.give_up(name, end, Outcome::Skipped);
    }

    fn expire(&mut self, name: Drain, ms: u16) {
        let Some(side) = self.sides.get(name) else { return };
        let end = side.tap.ledger().older_than(Duration::from_millis(ms.into()));
        self.give_up(name, end, Outcome::Expired);
    }

    async fn reread(&mut self, name: Drain) {
        let (Some(side), Some(channel)) = (self.sides.get(name), &self.channel) else { return };
        let mut scan = side.tap.ledger().scan(0..channel.snapshot().tail);
        while let Ok(Some((head, _))) = scan.next().await {
            if let Err(what) = outlives(&self.disk, &head) {
                return self.book.broken(what);
            }
            let Some(body) = body(&side.tap, &head).await else { continue };
            if let Err(what) = spans_of(&self.book, &head, &body) {
                self.book.broken(what);
            }
        }
    }

    async fn archive(&mut self, ms: u16) {
        let name = DRAINS[ARCHIVE];
        self.sides.remove(name);
        let Some(channel) = &self.channel else { return };
        if !channel.snapshot().accounts.iter().any(|account| account.drain == name) {
            return;
        }
        self.book.note(Event::Archiving { drain: name });
        match archive::run(&self.disk, channel, &self.registry, Some(ms)).await {
            Err(what) if !self.faulty => self.book.broken(what),
            _ => {}
        }
    }

    fn fault(&mut self, kind: usize, after: u64, calls: u64) {
        self.faulty = true;
        let range = |at: u64| at + after..at + after + calls;
        match FAULTS.get(kind % (FAULTS.len() + 1)) {
            Some(fault) => self.disk.fault_in(range(self.disk.calls() + 1), *fault),
            None => self.disk.fail_looks_in(range(self.disk.looks() + 1)),
        }
    }

    /// The process is gone. What it may write on its way is written on a disk that nobody reads any more.
    fn die(&mut self) {
        self.offers.clear();
        self.sides.clear();
        self.released.clear();
        self.channel = None;
    }

    pub async fn stop(&mut self) {
        self.sides.clear();
        self.released.clear();
        let Some(channel) = self.channel.take() else { return };
        channel.stop();
        if !self.faulty {
            self.book.note(Event::Stopped);
        }
        self.answers().await;
    }

    async fn crash(&mut self, kill: bool, seed: u64) {
        let at = Instant::now();
        let left = if kill { self.disk.killed() } else { self.disk.lost_power(Power::Some(seed)) };
        self.disk.goes_on_as(&left);
        self.shots.extend(self.disk.cut());
        self.die();
        self.disk = left;
        self.find(at, !kill).await;
        self.start().await;
    }

    /// Notes what the next process will find.
    async fn find(&self, at: Instant, power: bool) {
        let truth = self.truth();
        let (settings, registry, book, trouble) = (&self.settings, &self.registry, &self.book, self.disk.trouble());
        let crash = Crash { settings, registry, book, truth: &truth, trouble, at, power, cost: &Cost::default() };
        match crash.check(&self.disk.killed()).await {
            Ok(found) => self.book.note(Event::Reborn { found: Box::new(found), at }),
            Err(what) => self.book.broken(format!("{what}\n    after a crash in the workload")),
        }
    }

    /// All that is known now.
    pub fn truth(&self) -> Truth {
        let mut truth = Truth::default();
        self.book.pages().events.iter().for_each(|event| truth.add(event));
        truth
    }

    async fn restart(&mut self) {
        self.stop().await;
        if self.faulty {
            // What could not be saved is open again, and faults may be still to come.
            self.find(Instant::now(), false).await;
        }
        self.start().await;
    }
}
