//! One gateway process: built from the sinks back to the listeners, stopped the other way round.
//!
//! [`run`] tells the story. [`Gateway::start`] does the building and is what in-process tests
//! use. A configuration that cannot be honoured, a port or a data directory in use and damage
//! that needs a person are told apart in [`Error`], as the exit code tells them apart.

mod build;
mod crew;
mod descriptors;
mod filling;
mod follow;
mod letters;
mod memory;
mod process;
mod promise;
mod reload;
mod report;
mod said;
mod scrape;
mod signals;
mod started;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::channel::Channel;
use crate::clock::Clock;
use crate::config::Understood;
use crate::disk::{self, Disk};
use crate::gateway::crew::{Crew, Kit};
use crate::gateway::follow::Answers;
use crate::gateway::memory::DiskFree;
use crate::gateway::process::Process;
use crate::gateway::reload::{InPlace, Reload};
use crate::gateway::report::{Stage, Statuses, Watch};
use crate::gateway::scrape::Scrape;
use crate::gateway::signals::Signals;
use crate::listener::intake::Intake;
use crate::listener::{self, Probe};
use crate::metrics::{Registry, TABLE, ZIPKIN_TABLE};
use crate::tasks::{self, Tasks};

pub use promise::Promise;
pub use reload::Starter;
pub use started::{ArchiveAt, Started};

/// How often states are looked at for the log, and growth is sampled.
const TICK: Duration = Duration::from_secs(1);
/// Of the time that a stop may take: listeners, whose answers take one sync, get this share at most.
const LISTENERS_SHARE: u32 = 4;
/// Of what is then left, what waits in memory gets all but this share, in which batches in flight end.
const IN_FLIGHT_SHARE: u32 = 4;
/// Kept back from the drains, so that cursors are saved in time.
const CHANNEL_TIME: Duration = Duration::from_millis(500);
/// A disk that takes longer for the last cursors hangs: they are as they were, and some spans are sent again.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// Why a gateway did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port or the data directory is in use (exit code 3).
    #[error("{0}")]
    InUse(String),
    /// Damage that needs a person (exit code 4).
    #[error("{0}")]
    Damaged(String),
    /// The configuration cannot be honoured here (exit code 2).
    #[error("{0}")]
    Config(String),
    /// Our own fault, or the machine's (exit code 1).
    #[error("{0}")]
    Other(String),
}

/// Runs a gateway until a signal, a client that may, or a failure says stop. SIGHUP has it take over what `starter`
/// reads.
pub async fn run(mut understood: Understood, starter: Starter, announce: impl FnOnce(&Started)) -> Result<(), Error> {
    let (mut signals, hangups) = (Signals::take()?, signals::hangups()?);
    descriptors::provide(&mut understood.settings);
    let gateway = Gateway::start(understood, starter, Clock::system(), disk::real()).await?;
    let (promise, channel) = (gateway.started.promise, gateway.channel.clone());
    announce(&gateway.started);
    gateway.reload_at(hangups);
    let why = tokio::select! {
        signal = signals.next() => signal,
        why = gateway.ended() => why,
    };
    tracing::info!(why, "stopping; a signal from now on stops at once");
    tokio::select! {
        ended = gateway.stop() => ended,
        signal = signals.next() => Err(Error::Other(format!("{signal} again: stopped at once; {}", left(promise, &channel)))),
    }
}

/// What becomes of what waits when the process ends now.
fn left(promise: Promise, channel: &Channel) -> String {
    match (promise, memory::waiting(&channel.snapshot())) {
        (Promise::Held, Some(waiting)) => format!("spans that were in memory are lost: {waiting}"),
        (Promise::Held, None) => "nothing waited".to_owned(),
        _ => "what was not delivered is in the channel".to_owned(),
    }
}

/// A gateway that runs.
pub struct Gateway {
    started: Started,
    stop_timeout: Duration,
    channel: Channel,
    statuses: Statuses,
    watch: Arc<Watch>,
    reload: Arc<Reload>,
    listeners: Tasks,
    drains: Tasks,
    archives: Tasks,
    /// Admin port and ticks: the last to go.
    base: Tasks,
    _lock: Box<dyn Send + std::marker::Sync>,
}

impl Gateway {
    /// Builds everything and serves. What fails leaves nothing running.
    pub async fn start(
        understood: Understood,
        starter: Starter,
        clock: Clock,
        disk: Arc<dyn Disk>,
    ) -> Result<Gateway, Error> {
        let settings = &understood.settings;
        let door = admin::Door::new(build::token(&settings.admin, &*disk)?);
        let lock = build::lock(&settings.data, &*disk)?;
        let (registry, zipkin) = (Registry::new(TABLE), Registry::new(ZIPKIN_TABLE));
        let sockets = build::Sockets::bind(settings).await?;
        let (channel, found) = build::channel(settings, &disk, &clock, &registry).await?;
        let made = match build::stages(settings, &disk, &clock, &channel, &registry).await {
            Ok(stages) => build::started(settings, &sockets, found, &channel).map(|started| (stages, started)),
            Err(error) => Err(error),
        };
        let (stages, started) = match made {
            Ok(made) => made,
            Err(error) => {
                stop_channel(&channel, LOG_PATIENCE).await;
                return Err(error);
            }
        };
        let (statuses, stop_timeout) = (Statuses::default(), settings.stop_timeout);
        let free = (started.promise == Promise::Held).then(|| DiskFree::new(disk.clone(), settings.data.clone()));
        let watch = Watch::new(channel.clone(), started.promise, free, clock.clone(), statuses.clone());
        let watch = Arc::new(watch);
        let (drains, archives) = (Tasks::new(), Tasks::new());
        let kit = Kit {
            channel: channel.clone(),
            disk: disk.clone(),
            clock: clock.clone(),
            registry: registry.clone(),
            letters: stages.letters.clone(),
            statuses: statuses.clone(),
            answers: Answers::default(),
            kept_in: watch::Sender::new(crew::kept_in(settings)),
            in_memory: started.promise == Promise::Held,
            grace: stop_timeout.saturating_sub(CHANNEL_TIME),
        };
        let intake = Intake::new(&settings.intake, channel.clone(), clock.clone(), &registry, &zipkin);
        let in_place = InPlace { scribe: sockets.scribe.settings(), http: sockets.http.settings(), door: door.clone() };
        let actions = letters::actions(channel.clone(), stages.letters.clone(), clock.clone());
        let crew = man(stages, kit, &drains, &archives);
        let reload = Arc::new(Reload::new(starter, understood, in_place, watch.clone(), crew));
        let (listeners, base) = (Tasks::new(), Tasks::new());
        let gateway = Gateway {
            started,
            stop_timeout,
            channel,
            statuses,
            watch,
            reload,
            listeners,
            drains,
            archives,
            base,
            _lock: lock,
        };
        let scrape = Scrape::new(registry.clone(), gateway.watch.clone(), clock.clone(), Process::new(disk, &clock));
        gateway.serve_admin(sockets.admin, door, Arc::new(scrape), actions);
        gateway.listen(sockets.scribe, sockets.http, &intake, &registry);
        Ok(gateway)
    }

    fn serve_admin(
        &self,
        bound: admin::Bound,
        door: admin::Door,
        scrape: Arc<Scrape>,
        mut actions: Vec<admin::Action>,
    ) {
        let (metrics, health, ready) = (scrape.clone(), self.watch.clone(), self.watch.clone());
        let reload = self.reload.clone();
        let reload = admin::Action::new("/reload", move |_| {
            let reload = reload.clone();
            async move { reload.reload("POST /reload").await }
        });
        actions.push(reload);
        let handles = admin::Handles {
            metrics: Arc::new(move || metrics.render()),
            health: Arc::new(move || health.health()),
            ready: Arc::new(move || ready.ready()),
            actions,
            door,
        };
        bound.serve(&handles, &self.base);
        let stop = self.base.stopping().clone();
        self.base.vital("tick", async move {
            let mut tick = tokio::time::interval(TICK);
            while stop.run_until_cancelled(tick.tick()).await.is_some() {
                scrape.tick();
            }
        });
    }

    /// Reloads whenever the signal comes.
    fn reload_at(&self, mut signal: signals::Hangups) {
        let (reload, tasks) = (self.reload.clone(), self.base.clone());
        self.base.vital("signals", async move {
            while tasks.stopping().run_until_cancelled(signal.recv()).await.is_some() {
                let (reload, done) = (reload.clone(), CancellationToken::new());
                let ended = done.clone().drop_guard();
                // A task of its own: a panic costs this reload, not the gateway.
                tasks.spawn("reload", async move {
                    reload.reload("SIGHUP").await;
                    drop(ended);
                });
                done.cancelled().await;
            }
        });
    }

    fn listen(
        &self,
        scribe: listener::scribe::Bound,
        http: listener::http::Bound,
        intake: &Intake,
        registry: &Registry,
    ) {
        let watch = self.watch.clone();
        let probe: Probe = Arc::new(move || watch.condition());
        self.watch.enter(Stage::Running);
        scribe.serve(intake.clone(), probe.clone(), &self.listeners, registry);
        http.serve(intake.clone(), probe, &self.listeners, registry);
    }

    /// What was started, for the banner.
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// Resolves when the gateway has to stop though nobody sent a signal; says why.
    async fn ended(&self) -> &'static str {
        tokio::select! {
            // A client's shutdown call, where that is allowed, stops the listeners.
            () = self.listeners.stopping().cancelled() => {}
            () = self.drains.stopping().cancelled() => {}
            () = self.archives.stopping().cancelled() => {}
            () = self.base.stopping().cancelled() => {}
        }
        if self.task_failed() { "a vital task ended" } else { "a client's shutdown call" }
    }

    fn task_failed(&self) -> bool {
        self.listeners.failed() || self.drains.failed() || self.archives.failed() || self.base.failed()
    }

    /// Stops: sockets close and what was read is answered; batches in flight finish or stay in
    /// the channel; cursors are saved. What waits in memory is delivered and archived as far as
    /// there is time, and the rest is lost, and said to be.
    pub async fn stop(self) -> Result<(), Error> {
        let end = Instant::now() + self.stop_timeout;
        self.watch.enter(Stage::Stopping);
        if !self.listeners.stop(self.stop_timeout / LISTENERS_SHARE).await {
            tracing::warn!("connections were cut: they had not ended in time");
        }
        if !self.stop_drains(end - CHANNEL_TIME.min(self.stop_timeout)).await {
            let fate =
                if self.started.promise == Promise::Held { "is lost, unless it was taken" } else { "will be repeated" };
            tracing::warn!("drains had not ended in time; what was in flight {fate}");
        }
        let saved = stop_channel(&self.channel, LOG_PATIENCE).await;
        if self.started.promise == Promise::Held && memory::waiting(&self.channel.snapshot()).is_some() {
            tracing::warn!("{}", left(Promise::Held, &self.channel));
        }
        self.base.stop(CHANNEL_TIME).await;
        if self.task_failed() {
            return Err(Error::Other("a task failed; see the log".to_owned()));
        }
        let what = "the log could not be closed: the disk does not answer; what was settled last will be repeated";
        if saved { Ok(()) } else { Err(Error::Other(what.to_owned())) }
    }

    /// Whether all of them ended before `end`.
    async fn stop_drains(&self, end: Instant) -> bool {
        let time = || end.saturating_duration_since(Instant::now());
        let drains = async {
            if self.started.promise == Promise::Held {
                memory::emptied(&self.channel, &self.statuses.archives(), end - time() / IN_FLIGHT_SHARE).await;
            }
            self.drains.stop(time()).await
        };
        // An archive takes what is there when it is told to stop; it needs no time before.
        let (drains, archives) = tokio::join!(drains, self.archives.stop(time()));
        drains && archives
    }
}

/// Lets every drain run.
fn man(stages: build::Stages, kit: Kit, drains: &Tasks, archives: &Tasks) -> Crew {
    let build::Stages { drains: ready, letters, aside } = stages;
    drains.vital("dead letters", crate::drain::aside::run(aside, letters, drains.stopping().clone()));
    let mut crew = Crew::new(kit, drains.clone(), archives.clone());
    ready.into_iter().for_each(|(ready, tap)| crew.begin(ready, tap));
    crew
}

/// Ends the owner thread, which saves the cursors first; false if it had not ended within `limit`.
async fn stop_channel(channel: &Channel, limit: Duration) -> bool {
    let channel = channel.clone();
    tokio::time::timeout(limit, tasks::blocking(move || channel.stop())).await.is_ok()
}

#[cfg(test)]
mod tests;
