//! The archive's loop: begin where the last run ended, gather, plan, carry out, settle, trim.
//!
//! One object at a time; while one is made, spans wait in the channel. When all stops, one last object (where
//! lanes are many, objects until none is open) takes what is durable by then, if it stands within the grace
//! given: so a span shows in `zcat` right after Ctrl-C. The rest is left in the channel, and a plan that was
//! not carried out is carried out by the next run. Where there is no next start for a channel, on a stop
//! objects are made until nothing is left.

mod carry;
mod gather;
mod prepare;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Settings;
use super::note::Note;
use super::patience::{End, Patience};
use super::plan::{Place, Plan};
use super::publish::Trouble;
use super::status::Status;
use super::store::Store;
use super::stretch::Planner;
use super::trimmer::Trimmer;
use crate::channel::{Ledger, Taken, Tap};
use crate::disk::Disk;
use crate::metrics::{Counter, Registry};
use crate::tasks::Part;

use gather::Later;
pub use prepare::Prepared;

/// Before something that waits and could not be read is tried again.
const STOP_RETRY: Duration = Duration::from_millis(50);

/// A drain that makes objects.
pub struct Archive {
    channel: String,
    tap: Tap,
    store: Arc<dyn Store>,
    ledger: Ledger,
    settings: Settings,
    disk: Arc<dyn Disk>,
    planner: Planner,
    later: Option<Later>,
    /// Taken, and not with the planner yet.
    frame: Option<Taken>,
    /// Below this all that was read is settled, where lanes are many.
    settled: u64,
    /// On a stop, all that is durable by then is archived, and not one object of it.
    to_the_end: bool,
    /// Present where the directory is ours to trim.
    trimmer: Option<Trimmer>,
    patience: Patience,
    status: Status,
    meters: Meters,
}

impl Archive {
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
                let more = self.planner.rule().path.is_per_span() && !self.planner.is_empty();
                if self.to_the_end || more {
                    continue;
                }
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

    /// Opens the store, carries out what the last run had planned, removes what it left unfinished.
    async fn begin(&mut self, stop: &CancellationToken) -> Result<(), End> {
        let store = self.store.clone();
        self.patience.tried(stop, || open(store.clone())).await?;
        let Note { rule, marks, plan } = Note::parse(&self.tap.note()).map_err(|error| End::Halt(error.to_string()))?;
        let configured = self.planner.rule().clone();
        self.planner.follow(rule, marks);
        if let Some(plan) = plan {
            // Of an archive that ran before us in this process, and that could not save it.
            self.save(Some(&plan), stop).await?;
            self.redo(plan, stop).await?;
        }
        self.go_on_with(configured);
        // A directory of our own may hold leftovers of an earlier channel; one that is shared, the
        // work of other gateways.
        let channel = self.trimmer.is_none().then(|| self.channel.clone());
        self.patience.tried(stop, || clean(store.clone(), channel.clone())).await?;
        self.trim().await;
        Ok(())
    }

    /// Counts an object; `bytes` are known where this process wrote it.
    fn published(&mut self, plan: &Plan, bytes: Option<u64>) {
        self.status.published(&plan.name);
        let Some(bytes) = bytes else { return };
        self.meters.objects.increment(1);
        self.meters.bytes.increment(bytes);
        if plan.recipe.format == self.settings.format {
            self.planner.learn(plan.object.bytes, bytes);
        }
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

async fn open(store: Arc<dyn Store>) -> Result<(), Trouble> {
    Ok(store.open().await?)
}

async fn clean(store: Arc<dyn Store>, channel: Option<String>) -> Result<(), Trouble> {
    Ok(store.clean(channel.as_deref()).await?)
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
