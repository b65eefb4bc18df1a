//! The run of a drain: take, cut, send, settle, in one task.
//!
//! What it holds is bounded: batches under way or tried in vain (`in_flight_max` a sink, whole or in
//! parts) and two that are cut and wait, of a thousand frame heads each. While no sink takes
//! anything, no frame is taken and no bytes are held. On stop nothing new is sent, what is under way
//! gets its time, and all that is unsettled stays in the channel.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::backoff::Backoff;
use super::batch::{Batch, Builder, Stretch, read};
use super::bury::{Dead, LAST_WRITE, bury};
use super::giving_up::GivingUp;
use super::group::{Answer, Group, Ticket};
use super::status::{Report, Status};
use crate::channel::{Kind, Ledger, Outcome, ReadError, Taken, Tap};
use crate::deadletter::Store;
use crate::metrics::Registry;
use crate::sink::{Sink, Verdict};
use crate::tasks::Part;

/// Letters written at once, and their bytes: one sync serves many, and the memory is a batch's.
const BURIED_MAX: usize = 256;
const BURIED_BYTES_MAX: usize = 4 << 20;
/// Refused spans that wait for the dead letters; beyond it nothing is sent. Each holds a reason and a frame's head,
/// which is 320 KiB at worst.
const DEAD_MAX: usize = 256;
/// Waits of a channel that cannot be read.
const READ_RETRY_MIN: Duration = Duration::from_millis(100);
const READ_RETRY_MAX: Duration = Duration::from_secs(10);

/// What a drain is made of.
pub struct Parts {
    pub settings: Settings,
    pub tap: Tap,
    /// At least one.
    pub sinks: Vec<Arc<dyn Sink>>,
    pub letters: Store,
    /// Where archives keep what it skips, for the log.
    pub kept_in: Option<String>,
}

/// A drain that feeds a sink group.
pub struct Drain {
    tap: Tap,
    flow: Flow,
}

/// All of a drain but its tap, which is polled beside it.
struct Flow {
    settings: Settings,
    ledger: Ledger,
    sinks: Vec<Arc<dyn Sink>>,
    letters: Store,
    group: Group,
    report: Report,
    builder: Builder,
    giving_up: GivingUp,
    /// Batches to be tried again, oldest first.
    waiting: VecDeque<Batch>,
    dead: VecDeque<Dead>,
    burying: bool,
    /// Sends and burials under way.
    work: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    read_backoff: Backoff,
    /// The channel could not be read: nothing is read before this.
    read_pause: Option<Instant>,
}

/// A piece of work that has ended.
enum Done {
    Sent { batch: Batch, ticket: Ticket, verdict: Verdict, took: Duration },
    NotRead { batch: Batch, ticket: Ticket, index: usize, error: ReadError },
    Buried(Vec<(Stretch, Outcome)>),
}

impl Drain {
    pub fn new(parts: Parts, registry: &Registry) -> Self {
        let Parts { settings, tap, sinks, letters, kept_in } = parts;
        let backoffs = sinks.iter().map(|_| Backoff::new(settings.backoff_min, settings.backoff_max)).collect();
        let flow = Flow {
            ledger: tap.ledger(),
            group: Group::new(backoffs, settings.in_flight_max),
            report: Report::new(&settings.name, &sinks, registry),
            builder: Builder::new(settings.batch.clone()),
            giving_up: GivingUp::new(&settings, &tap, kept_in),
            waiting: VecDeque::new(),
            dead: VecDeque::new(),
            burying: false,
            work: FuturesUnordered::new(),
            read_backoff: Backoff::new(READ_RETRY_MIN, READ_RETRY_MAX),
            read_pause: None,
            settings,
            sinks,
            letters,
        };
        Drain { tap, flow }
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
            () = self.flow.end() => {}
            // It stays in the channel, and may be sent twice.
            () = part.cut(grace) => {}
        }
    }

    async fn work(&mut self, stop: &CancellationToken) {
        let Drain { tap, flow } = self;
        loop {
            let now = Instant::now();
            flow.dispatch(now);
            let wake = flow.wakes(now);
            tokio::select! {
                () = stop.cancelled() => return,
                Some(done) = flow.work.next(), if !flow.work.is_empty() => flow.finish(done, Instant::now()),
                taken = tap.next(), if flow.wants_more() => match taken {
                    Ok(Some(taken)) => flow.take(taken, Instant::now()),
                    Ok(None) => return,
                    Err(error) => flow.not_read(&error, Instant::now()),
                },
                () = flow.giving_up.due() => flow.give_up(Instant::now()),
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
    /// Whether another frame is to be taken from the channel.
    fn wants_more(&self) -> bool {
        self.read_pause.is_none() && self.builder.has_room()
    }

    fn take(&mut self, taken: Taken, now: Instant) {
        if taken.head.kind == Kind::Spans {
            let kept = self.settings.sieve.take(taken, &self.ledger);
            let kept = self.giving_up.take(kept, now);
            return self.builder.push(&kept, now);
        }
        // Listeners address what is no span to the drain that empties it; a sink has no use for it.
        for items in &taken.open {
            let stretch = Stretch { head: taken.head.clone(), items: items.clone() };
            self.ledger.settle(stretch.positions(), Outcome::Filtered);
        }
    }

    fn give_up(&mut self, now: Instant) {
        self.giving_up.give_up(&mut self.waiting, &mut self.builder, now);
    }

    /// When something is to be done although nothing has happened. What was due at `now` has been done, or waits for
    /// a send or a burial to end.
    fn wakes(&self, now: Instant) -> Option<Instant> {
        if self.read_pause.is_some() {
            return self.read_pause;
        }
        let batch_waits = !self.waiting.is_empty() || self.builder.has_batch(now);
        let wake = if batch_waits { self.group.wakes() } else { self.builder.due() };
        wake.filter(|wake| *wake > now)
    }

    fn wake(&mut self, now: Instant) {
        if self.read_pause.is_some_and(|until| until <= now) {
            self.read_pause = None;
        }
    }

    /// Sends what can be sent, oldest first, and buries what is dead. A batch that no sink can take yet is not closed,
    /// so that it grows meanwhile.
    fn dispatch(&mut self, now: Instant) {
        self.start_burial();
        while self.read_pause.is_none() && self.dead.len() < DEAD_MAX && self.group.has_room(now) {
            let Some(batch) = self.waiting.pop_front().or_else(|| self.builder.pop(now)) else { return };
            match self.group.pick(now) {
                Some(ticket) => self.start_send(batch, ticket),
                None => return self.put_back(batch),
            }
        }
    }

    fn start_send(&mut self, batch: Batch, ticket: Ticket) {
        if batch.maybe_taken {
            self.report.repeated(batch.spans);
        }
        self.stands(ticket.sink);
        let (sink, ledger) = (self.sinks[ticket.sink].clone(), self.ledger.clone());
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

    fn start_burial(&mut self) {
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
            Done::Sent { batch, ticket, verdict, took } => self.sent(batch, &ticket, verdict, took, now),
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

    fn sent(&mut self, mut batch: Batch, ticket: &Ticket, verdict: Verdict, took: Duration, now: Instant) {
        // It was sent, so its bytes could be read. That a frame's head could be says nothing of its body.
        self.read_backoff.reset();
        self.report.answered(ticket.sink, &verdict, batch.spans, took);
        let again = std::mem::take(&mut batch.again);
        match verdict {
            Verdict::Delivered => {
                self.answer(ticket, Answer::Well, "", now);
                for positions in batch.positions() {
                    self.ledger.settle(positions, Outcome::Delivered);
                }
            }
            Verdict::Refused(reason) | Verdict::TooLarge(reason) => {
                self.answer(ticket, Answer::Well, &reason, now);
                self.halve(batch, reason);
            }
            Verdict::Again(_) if !again => {
                self.answer(ticket, Answer::Void, "", now);
                self.put_back(Batch { maybe_taken: true, again: true, ..batch });
            }
            Verdict::Elsewhere { reason, maybe_taken } => {
                self.answer(ticket, Answer::Failed, &reason, now);
                self.put_back(Batch { maybe_taken: batch.maybe_taken || maybe_taken, ..batch });
            }
            Verdict::Again(reason) => {
                self.answer(ticket, Answer::Failed, &reason, now);
                self.put_back(Batch { maybe_taken: true, ..batch });
            }
            Verdict::Wait(wait, reason) => {
                self.answer(ticket, Answer::Wait(wait), &reason, now);
                self.put_back(batch);
            }
            Verdict::Misconfigured(reason) => {
                self.answer(ticket, Answer::Misconfigured, &reason, now);
                self.put_back(batch);
            }
        }
    }

    /// Halves a batch that was refused; a single span is dead.
    fn halve(&mut self, batch: Batch, reason: String) {
        if let Some((first, second)) = batch.halves() {
            self.put_back(second);
            self.put_back(first);
            return;
        }
        self.dead.extend(batch.stretches.into_iter().map(|span| Dead { span, reason: reason.clone() }));
    }

    /// Takes the part that could not be read out of a batch, where it is damaged, or pauses all reading.
    fn batch_not_read(&mut self, mut batch: Batch, index: usize, error: &ReadError, now: Instant) {
        match error {
            ReadError::Damaged { .. } => {
                // One check covers a frame's whole body: what this batch has of it is lost.
                let damaged = batch.stretches.remove(index);
                self.ledger.settle(damaged.positions(), Outcome::Damaged);
                let rest = Batch { maybe_taken: batch.maybe_taken, ..Batch::of(batch.stretches) };
                if rest.spans > 0 {
                    self.put_back(rest);
                }
            }
            ReadError::Failed(_) => {
                self.not_read(error, now);
                self.put_back(batch);
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

    /// Puts what is not given up of a batch among those that wait, oldest first.
    fn put_back(&mut self, batch: Batch) {
        let Some(batch) = self.giving_up.strain(batch, Instant::now()) else { return };
        let at = self.waiting.partition_point(|b| b.first() < batch.first());
        self.waiting.insert(at, batch);
    }

    fn answer(&mut self, ticket: &Ticket, answer: Answer, reason: &str, now: Instant) {
        let change = self.group.answer(ticket, answer, now);
        self.report.changed(ticket.sink, change, reason, now);
        self.stands(ticket.sink);
    }

    fn stands(&self, sink: usize) {
        self.report.stands(sink, self.group.state(sink), self.group.in_flight(sink));
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
