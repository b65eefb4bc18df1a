//! The archive's loop: begin where the last run ended, gather, plan, carry out, settle, trim.
//!
//! One object at a time; while one is made, spans wait in the channel. When all stops, one last object
//! takes what is durable by then, if it stands within the grace given: so a span shows in `zcat`
//! right after Ctrl-C. The rest is left in the channel, and a plan that was not carried out is
//! carried out by the next run. Where there is no next start for a channel, on a stop objects
//! are made until nothing is left.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::format::Tally;
use super::object::Object;
use super::patience::{End, Patience};
use super::plan::{Place, Plan, Recipe};
use super::publish::{Carried, Publisher, Trouble};
use super::status::Status;
use super::store::local::Local;
use super::store::{self, MakeError, Store};
use super::stretch::{Planner, Rolls, Stretch};
use super::trim::Keeper;
use super::trimmer::Trimmer;
use super::{Settings, Target};
use crate::channel::{Channel, Kind, Ledger, Outcome, Taken, Tap};
use crate::disk::Disk;
use crate::metrics::{Counter, Registry};
use crate::planted::{self, Planted};
use crate::tasks::Part;

/// How long a stop waits for a frame that is known to wait: reading it may take a slow disk's time.
const STOP_LINGER: Duration = Duration::from_secs(1);
/// Before something that waits and could not be read is tried again.
const STOP_RETRY: Duration = Duration::from_millis(50);

/// Part of the channel's capacity that one object may keep waiting.
const PINNED_SHARE: u64 = 4;

/// A drain that makes objects.
pub struct Archive {
    channel: String,
    tap: Tap,
    store: Arc<dyn Store>,
    ledger: Ledger,
    settings: Settings,
    disk: Arc<dyn Disk>,
    planner: Planner,
    /// On a stop, all that is durable by then is archived, and not one object of it.
    to_the_end: bool,
    /// Present where the directory is ours to trim.
    trimmer: Option<Trimmer>,
    patience: Patience,
    status: Status,
    meters: Meters,
}

/// An archive that lacks nothing but its place in the channel.
pub struct Prepared {
    settings: Settings,
    store: Arc<dyn Store>,
    disk: Arc<dyn Disk>,
}

impl Prepared {
    /// An archive of what `tap` gives, which is a tap of `channel`.
    pub fn archive(self, channel: &Channel, tap: Tap, registry: &Registry) -> Archive {
        let Prepared { settings, store, disk } = self;
        let trimmer = match &settings.target {
            Target::BuiltIn { dir, keep_bytes } => {
                let store = Local::new(disk.clone(), dir.clone(), settings.free_min_bytes);
                let keeper = Keeper::new(*keep_bytes, channel.id());
                Some(Trimmer::new(&settings.name, keeper, store, registry))
            }
            Target::Local { .. } | Target::Remote(_) => None,
        };
        let bounds = channel.snapshot();
        let rolls = Rolls {
            bytes: settings.roll_bytes,
            pinned_bytes: bounds.capacity_bytes / PINNED_SHARE,
            pinned_spans: bounds.capacity_spans.map_or(u64::MAX, |most| (most / PINNED_SHARE).max(1)),
            age: settings.roll_age,
            idle: settings.roll_idle,
        };
        let status = Status::new();
        let failures = registry.counter("spangate_archive_failures_total", &[("drain", &settings.name)]);
        Archive {
            patience: Patience::new(&settings.name, status.clone(), failures),
            meters: Meters::new(registry, &settings.name),
            channel: channel.id().to_owned(),
            store,
            ledger: tap.ledger(),
            tap,
            planner: Planner::new(rolls, settings.path.clone(), channel.id(), settings.format.ratio_at_start()),
            settings,
            disk,
            to_the_end: false,
            trimmer,
            status,
        }
    }
}

impl Archive {
    /// Makes the store. Touches no file and asks nobody: what is wrong with the place itself shows in [`Status`].
    ///
    /// # Errors
    /// Where no store can be made of the target.
    pub fn prepare(settings: Settings, disk: Arc<dyn Disk>) -> Result<Prepared, MakeError> {
        let store = store::make(&Place::of(&settings.target)?, &settings, &disk)?;
        Ok(Archive::over(settings, disk, store))
    }

    /// As [`prepare`](Self::prepare), with a store that somebody else made of the target.
    pub fn over(settings: Settings, disk: Arc<dyn Disk>, store: Arc<dyn Store>) -> Prepared {
        Prepared { settings, store, disk }
    }

    /// For a channel that ends with the process: on a stop, all of it becomes objects as long as
    /// the grace lasts.
    pub fn to_the_end(mut self, yes: bool) -> Archive {
        self.to_the_end = yes;
        self
    }

    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Runs until it is to end, also when the archive itself can go no further. Another run may go on with its files
    /// when this one has ended: a try that began is not left alone, unless all end, and then after `grace`.
    pub async fn run(mut self, part: impl Into<Part>, grace: Duration) {
        let (part, trimmer) = (part.into(), self.trimmer.clone());
        tokio::select! {
            biased;
            () = self.work_or_halt(&part) => {}
            () = trim_for_ever(trimmer) => {}
            () = part.cut(grace) => {}
        }
    }

    async fn work_or_halt(&mut self, part: &Part) {
        if let End::Halt(reason) = self.work(part).await {
            tracing::error!(
                drain = self.settings.name,
                reason,
                "the archive stops here; its spans wait in the channel"
            );
            self.status.stopped(reason);
            part.ending().cancelled().await;
        }
    }

    async fn work(&mut self, part: &Part) -> End {
        match self.work_until(part).await {
            Ok(()) => End::Stop,
            Err(end) => end,
        }
    }

    async fn work_until(&mut self, part: &Part) -> Result<(), End> {
        let stop = part.ending();
        self.begin(stop).await?;
        while let Some(stretch) = self.gather(stop).await {
            self.archive(stretch, stop).await?;
        }
        if !part.is_last() {
            // What was gathered is gathered again by who goes on here.
            return Ok(());
        }
        loop {
            if let Some(stretch) = self.gather_last().await {
                self.archive(stretch, stop).await?;
            }
            if !self.to_the_end || self.ledger.waiting() == 0 {
                return Ok(());
            }
            // Something waits that could not be read at once.
            tokio::time::sleep(STOP_RETRY).await;
        }
    }

    /// Where objects are planned to stand.
    fn place(&self) -> Result<Place, End> {
        Place::of(&self.settings.target).map_err(|error| End::Halt(error.to_string()))
    }

    /// A publisher of what was planned, in the place that the plan records.
    fn publisher(&self, plan: &Plan) -> Result<Publisher, End> {
        let store = match self.place().is_ok_and(|place| place == plan.place) {
            true => self.store.clone(),
            false => {
                let made = store::make(&plan.place, &self.settings, &self.disk);
                made.map_err(|error| End::Halt(error.to_string()))?
            }
        };
        Ok(Publisher::new(store, self.ledger.clone(), plan))
    }

    /// Opens the store, carries out what the last run had planned, removes what it left unfinished.
    async fn begin(&mut self, stop: &CancellationToken) -> Result<(), End> {
        let store = self.store.clone();
        self.patience.tried(stop, || open(store.clone())).await?;
        match Plan::from_note(&self.tap.note()) {
            Ok(None) => {}
            Ok(Some(plan)) => {
                tracing::info!(drain = self.settings.name, object = plan.name, "carrying out the plan of the last run");
                if plan.place != self.place()? {
                    let (planned, now) = (plan.place.to_string(), &self.settings.target);
                    tracing::warn!(
                        drain = self.settings.name,
                        planned,
                        %now,
                        "the archive was moved while an object was under way: it is made where it was planned"
                    );
                }
                let publisher = self.publisher(&plan)?;
                self.patience.tried(stop, || leave_out(publisher.clone(), plan.clone())).await?;
                self.carry_out(plan, stop).await?;
            }
            Err(error) => return Err(End::Halt(error.to_string())),
        }
        // A directory of our own may hold leftovers of an earlier channel; one that is shared, the
        // work of other gateways.
        let channel = self.trimmer.is_none().then(|| self.channel.clone());
        self.patience.tried(stop, || clean(store.clone(), channel.clone())).await?;
        self.trim().await;
        Ok(())
    }

    /// The next stretch that is to be an object. `None`: stopping; one may still be open.
    async fn gather(&mut self, stop: &CancellationToken) -> Option<Stretch> {
        loop {
            self.status.waiting_since(self.planner.oldest_us());
            if let Some(stretch) = self.planner.close(Instant::now()) {
                return Some(stretch);
            }
            let due = self.planner.due();
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                taken = self.tap.next() => match taken {
                    Ok(Some(taken)) => {
                        self.patience.recovered();
                        if let Some(ended) = self.add(taken) {
                            return Some(ended);
                        }
                    }
                    Ok(None) => return None,
                    Err(error) => {
                        self.patience.failed(&error.into());
                        self.patience.rest(stop).await;
                    }
                },
                () = at(due) => {}
            }
        }
    }

    /// Adds what the archive takes of a frame to the open stretch, or to the next one: then gives the one that ended.
    fn add(&mut self, taken: Taken) -> Option<Stretch> {
        if taken.head.kind != Kind::Spans {
            return None;
        }
        let kept = self.settings.sieve.take(taken.clone(), &self.ledger);
        self.planner.add(&taken, &kept.open, Instant::now())
    }

    /// On a stop: what is durable already, as far as one object holds it.
    async fn gather_last(&mut self) -> Option<Stretch> {
        while self.ledger.waiting() > self.planner.spans() {
            let Ok(Ok(Some(taken))) = tokio::time::timeout(STOP_LINGER, self.tap.next()).await else { break };
            let ended = self.add(taken);
            if let Some(whole) = ended.or_else(|| self.planner.close(Instant::now())) {
                return Some(whole);
            }
        }
        self.planner.take()
    }

    /// Plans a stretch and carries the plan out.
    async fn archive(&mut self, stretch: Stretch, stop: &CancellationToken) -> Result<(), End> {
        self.status.waiting_since(Some(stretch.oldest_us));
        let recipe = Recipe { format: self.settings.format, sieve: self.settings.sieve.clone() };
        let object = Object {
            channel: self.channel.clone(),
            partition: 0,
            first: stretch.first,
            last: stretch.last,
            spans: stretch.spans,
            bytes: stretch.bytes,
        };
        let plan = Plan::new(recipe, self.place()?, &stretch.dir, object);
        if !planted::has(Planted::PlanAfterPublish) {
            self.save(Some(&plan), stop).await?;
        }
        self.carry_out(plan, stop).await
    }

    /// Makes the planned object stand, then settles its spans and clears the note in one slot.
    async fn carry_out(&mut self, mut plan: Plan, stop: &CancellationToken) -> Result<(), End> {
        loop {
            let publisher = self.publisher(&plan)?;
            let carried = self.patience.tried(stop, || carry_out(publisher.clone(), plan.clone())).await?;
            match carried {
                Carried::Stands { bytes } => {
                    let positions = plan.object.first..plan.object.last + 1;
                    let ledger = self.ledger.clone();
                    let settle = || settle(ledger.clone(), positions.clone());
                    self.patience.tried(stop, settle).await?;
                    self.published(&plan, bytes);
                    self.trim().await;
                    return Ok(());
                }
                Carried::Changed { tally, damaged } => match self.replan(plan, tally, damaged, stop).await? {
                    Some(left) => plan = left,
                    None => return Ok(()),
                },
            }
        }
    }

    /// A stretch turned out damaged before its object was published: the damage is settled, and
    /// what can be read planned anew under the same name. `None`: nothing is left. Bytes that were
    /// damaged at one reading and not at the next are archived, though counted as damaged.
    async fn replan(
        &mut self,
        mut plan: Plan,
        tally: Tally,
        damaged: Vec<Range<u64>>,
        stop: &CancellationToken,
    ) -> Result<Option<Plan>, End> {
        tracing::error!(
            drain = self.settings.name,
            object = plan.name,
            planned = plan.object.spans,
            readable = tally.spans,
            ?damaged,
            "the channel no longer holds what an unpublished object was planned to; it is planned again"
        );
        for positions in damaged {
            self.ledger.settle(positions, Outcome::Damaged);
        }
        (plan.object.spans, plan.object.bytes) = (tally.spans, tally.bytes);
        let left = (tally.spans > 0).then_some(plan);
        self.save(left.as_ref(), stop).await?;
        // A disk that reads differently each time must not be read in a tight loop.
        self.patience.rest(stop).await;
        Ok(left)
    }

    /// Makes a plan, or that there is none, durable.
    async fn save(&mut self, plan: Option<&Plan>, stop: &CancellationToken) -> Result<(), End> {
        let note = Bytes::from(plan.map(Plan::to_note).unwrap_or_default());
        let ledger = self.ledger.clone();
        self.patience
            .tried(stop, || {
                let (ledger, note) = (ledger.clone(), note.clone());
                async move { Ok(ledger.commit(0..0, Outcome::Delivered, note).await?) }
            })
            .await
    }

    /// Counts an object; `bytes` are known where this process wrote it.
    fn published(&mut self, plan: &Plan, bytes: Option<u64>) {
        self.status.published(&plan.name);
        let Some(bytes) = bytes else { return };
        self.meters.objects.increment(1);
        self.meters.bytes.increment(bytes);
        self.planner.learn(plan.object.bytes, bytes);
        if let Some(trimmer) = &self.trimmer {
            trimmer.add(bytes);
        }
    }

    async fn trim(&self) {
        if let Some(trimmer) = &self.trimmer {
            trimmer.trim().await;
        }
    }
}

async fn leave_out(publisher: Publisher, plan: Plan) -> Result<(), Trouble> {
    publisher.leave_out(&plan).await
}

async fn carry_out(publisher: Publisher, plan: Plan) -> Result<Carried, Trouble> {
    publisher.carry_out(&plan).await
}

async fn settle(ledger: Ledger, positions: Range<u64>) -> Result<(), Trouble> {
    Ok(ledger.commit(positions, Outcome::Delivered, Bytes::new()).await?)
}

async fn open(store: Arc<dyn Store>) -> Result<(), Trouble> {
    Ok(store.open().await?)
}

async fn clean(store: Arc<dyn Store>, channel: Option<String>) -> Result<(), Trouble> {
    Ok(store.clean(channel.as_deref()).await?)
}

/// Ends at `due`; never, without one.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Never ends.
async fn trim_for_ever(trimmer: Option<Trimmer>) {
    match trimmer {
        Some(trimmer) => trimmer.run().await,
        None => std::future::pending().await,
    }
}

struct Meters {
    objects: Counter,
    bytes: Counter,
}

impl Meters {
    fn new(registry: &Registry, drain: &str) -> Self {
        let counter = |name| registry.counter(name, &[("drain", drain)]);
        Meters { objects: counter("spangate_archive_objects_total"), bytes: counter("spangate_archive_bytes_total") }
    }
}
