//! The run of a drain: take, cut, choose (`dispatch`), judge, in one task.
//!
//! What it holds is bounded: batches under way or tried in vain (`in_flight_max` a sink, whole or in parts), what
//! `trickle` adds to them, and what waits to be cut into two more, of a thousand frame heads each. While no sink takes
//! anything, few frames are taken and no bytes are held. On stop nothing new is sent, what is under way gets its time,
//! and all that is unsettled stays in the channel.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::backlog::Backlog;
use super::backoff::Backoff;
use super::batch::{Batch, Stretch, read};
use super::bury::{Dead, LAST_WRITE, bury};
use super::cut::Cutter;
use super::giving_up::GivingUp;
use super::group::{Answer, Group, Policy, SinkId, Ticket};
use super::judge::{Fate, Judge, Ruling, Scene, Sent};
use super::roster::Roster;
use super::seat::Seat;
use super::status::{Report, Status};
use super::trickle::Trickle;
use super::watch::{Look, Watched};
use crate::channel::{Kind, Ledger, Outcome, ReadError, Taken, Tap};
use crate::clock::Clock;
use crate::deadletter::Store;
use crate::metrics::Registry;
use crate::sink::Verdict;
use crate::tasks::Part;

/// Letters written at once, and their bytes: one sync serves many, and the memory is a batch's.
const BURIED_MAX: usize = 256;
const BURIED_BYTES_MAX: usize = 4 << 20;
/// Refused spans that wait for the dead letters; beyond it nothing is sent. Each holds a reason and a frame's head,
/// which is 320 KiB at worst.
pub(super) const DEAD_MAX: usize = 256;
/// Waits of a channel that cannot be read.
const READ_RETRY_MIN: Duration = Duration::from_millis(100);
const READ_RETRY_MAX: Duration = Duration::from_secs(10);

/// What a drain is made of.
pub struct Parts {
    pub settings: Settings,
    pub tap: Tap,
    pub sinks: Roster,
    pub letters: Store,
    pub clock: Clock,
    /// Where archives keep what it skips, for the log.
    pub kept_in: watch::Receiver<Option<String>>,
}

/// A drain that feeds a sink group.
pub struct Drain {
    tap: Tap,
    roster: Roster,
    flow: Flow,
}

/// All of a drain but its tap and its roster, which are polled beside it.
pub(super) struct Flow {
    pub(super) settings: Settings,
    ledger: Ledger,
    /// Those in the group, and those that left while something is under way to them.
    pub(super) seats: BTreeMap<SinkId, Seat>,
    letters: Store,
    pub(super) group: Group,
    pub(super) report: Report,
    pub(super) judge: Judge,
    pub(super) cutter: Cutter,
    pub(super) backlog: Backlog,
    pub(super) giving_up: GivingUp,
    /// Batches to be tried again, oldest first.
    pub(super) waiting: VecDeque<Batch>,
    /// Spans that the flow sends before what is kept apart has its turn again.
    pub(super) owed_to_flow: u32,
    pub(super) trickle: Trickle,
    pub(super) dead: VecDeque<Dead>,
    burying: bool,
    /// Sends and burials under way.
    work: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    /// Looks at sinks, each of which waits its time.
    pub(super) looks: FuturesUnordered<Look>,
    pub(super) watched: BTreeMap<SinkId, Watched>,
    read_backoff: Backoff,
    /// The channel could not be read: nothing is read before this.
    pub(super) read_pause: Option<Instant>,
}

/// A piece of work that has ended.
enum Done {
    Sent { batch: Batch, ticket: Ticket, verdict: Verdict, took: Duration },
    NotRead { batch: Batch, ticket: Ticket, index: usize, error: ReadError },
    Buried(Vec<(Stretch, Outcome)>),
}

impl Drain {
    pub fn new(parts: Parts, registry: &Registry) -> Self {
        let Parts { settings, tap, sinks: mut roster, letters, clock, kept_in } = parts;
        if settings.policy == Policy::ByTrace {
            tap.scatter();
        }
        let mut flow = Flow {
            ledger: tap.ledger(),
            group: Group::new(&settings, fastrand::u64(..)),
            report: Report::new(&settings.name, registry),
            judge: Judge::new(&settings),
            cutter: Cutter::default(),
            backlog: Backlog::new(settings.backlog_rate, clock),
            giving_up: GivingUp::new(&settings, &tap, kept_in),
            waiting: VecDeque::new(),
            owed_to_flow: 0,
            trickle: Trickle::new(settings.backoff_min, settings.backoff_max),
            dead: VecDeque::new(),
            burying: false,
            work: FuturesUnordered::new(),
            looks: FuturesUnordered::new(),
            watched: BTreeMap::new(),
            read_backoff: Backoff::new(READ_RETRY_MIN, READ_RETRY_MAX),
            read_pause: None,
            settings,
            seats: BTreeMap::new(),
            letters,
        };
        flow.seat(roster.seats());
        Drain { tap, roster, flow }
    }

    /// Where the sinks stand, now and while it runs.
    pub fn status(&self) -> Status {
        self.flow.report.status()
    }

    /// Runs until it is to end, or the channel stops. What is under way then gets the sinks' own time, but `grace` at
    /// most where all end.
    pub async fn run(mut self, part: impl Into<Part>, grace: Duration) {
        let part = part.into();
        self.work(part.ending()).await;
        tokio::select! {
            biased;
            () = self.flow.end() => {}
            // It stays in the channel, and may be sent twice.
            () = part.cut(grace) => {}
        }
    }

    async fn work(&mut self, stop: &CancellationToken) {
        let Drain { tap, roster, flow } = self;
        loop {
            let now = Instant::now();
            flow.dispatch(now);
            let wake = flow.wakes(now);
            // What is rare first, and never by chance: so the same events have the same end.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = roster.changed() => flow.seat(roster.seats()),
                () = flow.giving_up.due() => flow.give_up(Instant::now()),
                Some((sink, glimpse)) = flow.looks.next(), if !flow.looks.is_empty() => {
                    flow.looked(sink, &glimpse);
                }
                Some(done) = flow.work.next(), if !flow.work.is_empty() => flow.finish(done, Instant::now()),
                taken = tap.next(), if flow.wants_more(now) => match taken {
                    Ok(Some(taken)) => flow.take(taken, Instant::now()),
                    Ok(None) => return,
                    Err(error) => flow.not_read(&error, Instant::now()),
                },
                () = at(wake) => flow.wake(Instant::now()),
            }
        }
    }
}

/// Sleeps until `wake`, or for ever.
pub(super) async fn at(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

impl Flow {
    fn take(&mut self, taken: Taken, now: Instant) {
        if taken.head.kind == Kind::Spans {
            let kept = self.settings.sieve.take(taken, &self.ledger);
            let kept = self.giving_up.take(kept, now);
            return self.queue(&kept, now);
        }
        // Listeners address what is no span to the drain that empties it; a sink has no use for it.
        for items in &taken.open {
            let stretch = Stretch { head: taken.head.clone(), items: items.clone() };
            self.ledger.settle(stretch.positions(), Outcome::Filtered);
        }
    }

    fn give_up(&mut self, now: Instant) {
        self.giving_up.give_up(&mut self.waiting, &mut self.cutter, &mut self.judge, now);
    }

    fn wake(&mut self, now: Instant) {
        if self.read_pause.is_some_and(|until| until <= now) {
            self.read_pause = None;
        }
    }

    pub(super) fn start_send(&mut self, mut batch: Batch, ticket: Ticket) {
        self.judge.begin(&mut batch, ticket.sink);
        if batch.maybe_taken {
            self.report.repeated(batch.spans);
        }
        self.stands(ticket.sink);
        let (sink, ledger) = (self.seats[&ticket.sink].sink.clone(), self.ledger.clone());
        self.work.push(Box::pin(async move {
            let pieces = match read(&ledger, &batch.stretches).await {
                Ok(pieces) => pieces,
                Err((index, error)) => return Done::NotRead { batch, ticket, index, error },
            };
            let load = batch.load(pieces);
            let start = Instant::now();
            let verdict = sink.send(&load).await;
            Done::Sent { batch, ticket, verdict, took: start.elapsed() }
        }));
    }

    pub(super) fn start_burial(&mut self) {
        if self.burying || self.dead.is_empty() {
            return;
        }
        let mut bytes = 0;
        let mut fits = |dead: &Dead| {
            bytes += dead.span.bytes();
            bytes <= BURIED_BYTES_MAX
        };
        // One goes whatever its size.
        let count = self.dead.iter().take(BURIED_MAX).take_while(|d| fits(d)).count().max(1);
        let dead = self.dead.drain(..count).collect();
        self.burying = true;
        let (ledger, letters, name) = (self.ledger.clone(), self.letters.clone(), self.settings.name.clone());
        self.work.push(Box::pin(async move { Done::Buried(bury(&ledger, &letters, &name, dead).await) }));
    }

    fn finish(&mut self, done: Done, now: Instant) {
        match done {
            Done::Sent { batch, ticket, verdict, took } => {
                self.sent(Sent { batch, sink: ticket.sink, verdict }, &ticket, took, now);
            }
            Done::NotRead { batch, ticket, index, error } => {
                self.answer(&ticket, Answer::Void, "", now);
                self.batch_not_read(batch, index, &error, now);
            }
            Done::Buried(settled) => {
                self.burying = false;
                for (span, outcome) in settled {
                    self.ledger.settle(span.positions(), outcome);
                }
            }
        }
    }

    fn sent(&mut self, sent: Sent, ticket: &Ticket, took: Duration, now: Instant) {
        // It was sent, so its bytes could be read. That a frame's head could be says nothing of its body.
        self.read_backoff.reset();
        self.report.answered(ticket.sink, &sent.verdict, sent.batch.spans, took);
        let idle = !self.waiting.iter().any(Batch::is_well) && !self.has_new(now);
        let scene = Scene { now, took, up: &self.group.up(), idle };
        let Ruling { answer, fate, reason } = self.judge.judge(sent, &scene);
        self.answer(ticket, answer, &reason, now);
        self.carry_out(fate);
    }

    fn carry_out(&mut self, fate: Fate) {
        match fate {
            Fate::Delivered(batch) => {
                self.trickle.passed();
                let positions = batch.positions().into_iter();
                self.ledger.settle_all(positions.map(|positions| (positions, Outcome::Delivered)));
            }
            Fate::Flow(batches) => batches.into_iter().for_each(|batch| self.put_back(batch)),
            // What is given up by now need not be kept.
            Fate::Apart => self.give_up(Instant::now()),
            Fate::Dead(dead) => self.dead.push_back(dead),
        }
    }

    /// Takes the part that could not be read out of a batch, where it is damaged, or pauses all reading.
    fn batch_not_read(&mut self, mut batch: Batch, index: usize, error: &ReadError, now: Instant) {
        match error {
            ReadError::Damaged { .. } => {
                // One check covers a frame's whole body: what this batch has of it is lost.
                let damaged = batch.stretches.remove(index);
                self.ledger.settle(damaged.positions(), Outcome::Damaged);
                let rest = batch.like(batch.stretches.clone());
                if rest.spans > 0 {
                    let fate = self.judge.back(rest, now);
                    self.carry_out(fate);
                }
            }
            ReadError::Failed(_) => {
                self.not_read(error, now);
                let fate = self.judge.back(batch, now);
                self.carry_out(fate);
            }
        }
    }

    fn not_read(&mut self, error: &ReadError, now: Instant) {
        if self.read_backoff.failures() == 0 {
            let drain = self.settings.name.as_str();
            tracing::error!(drain, %error, "the channel cannot be read; its spans stay there");
        }
        self.read_pause = Some(now + self.read_backoff.fail());
    }

    fn answer(&mut self, ticket: &Ticket, answer: Answer, reason: &str, now: Instant) {
        let change = self.group.answer(ticket, answer, now);
        self.report.changed(ticket.sink, change, reason, now);
        self.stands(ticket.sink);
        self.forget(ticket.sink);
    }

    /// Lets a sink go that left the group when nothing is under way to it any more.
    pub(super) fn forget(&mut self, sink: SinkId) {
        if !self.group.knows(sink) {
            self.seats.remove(&sink);
            self.judge.forget(sink);
            self.watched.remove(&sink);
            self.report.forget(sink);
        }
    }

    pub(super) fn stands(&self, sink: SinkId) {
        if let Some(stand) = self.group.stands(sink) {
            self.report.stands(sink, stand);
        }
    }

    /// Lets what is under way end. Letters that cannot be written now are left in the channel.
    async fn end(&mut self) {
        while self.work.len() > usize::from(self.burying) {
            let Some(done) = self.work.next().await else { return };
            self.finish(done, Instant::now());
        }
        if let Ok(Some(done)) = timeout(LAST_WRITE, self.work.next()).await {
            self.finish(done, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
