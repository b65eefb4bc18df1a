//! One gateway process: built from the sinks back to the listeners, stopped the other way round.
//!
//! [`run`] tells the story. [`Gateway::start`] does the building and is what in-process tests
//! use. A configuration that cannot be honoured, a port or a data directory in use and damage
//! that needs a person are told apart in [`Error`], as the exit code tells them apart.

mod build;
mod descriptors;
mod filling;
mod memory;
mod process;
mod promise;
mod report;
mod said;
mod scrape;
mod signals;
mod started;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::admin;
use crate::channel::Channel;
use crate::clock::Clock;
use crate::config::Settings;
use crate::disk::{self, Disk};
use crate::gateway::memory::DiskFree;
use crate::gateway::process::Process;
use crate::gateway::report::{Stage, Watch};
use crate::gateway::scrape::Scrape;
use crate::gateway::signals::Signals;
use crate::listener::intake::Intake;
use crate::listener::{self, Probe};
use crate::metrics::{Registry, TABLE, ZIPKIN_TABLE};
use crate::tasks::{self, Tasks};

pub use promise::Promise;
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

/// Runs a gateway until a signal, a client that may, or a failure says stop.
pub async fn run(mut settings: Settings, announce: impl FnOnce(&Started)) -> Result<(), Error> {
    let mut signals = Signals::take()?;
    descriptors::provide(&mut settings);
    let gateway = Gateway::start(settings, Clock::system(), disk::real()).await?;
    let (promise, channel) = (gateway.started.promise, gateway.channel.clone());
    announce(&gateway.started);
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
    watch: Arc<Watch>,
    listeners: Tasks,
    drains: Tasks,
    archives: Tasks,
    /// Admin port and ticks: the last to go.
    base: Tasks,
    _lock: Box<dyn Send + std::marker::Sync>,
}

impl Gateway {
    /// Builds everything and serves. What fails leaves nothing running.
    pub async fn start(settings: Settings, clock: Clock, disk: Arc<dyn Disk>) -> Result<Gateway, Error> {
        let door = admin::Door::new(build::token(&settings.admin, &*disk)?);
        let lock = build::lock(&settings.data, &*disk)?;
        let (registry, zipkin) = (Registry::new(TABLE), Registry::new(ZIPKIN_TABLE));
        let sockets = build::Sockets::bind(&settings).await?;
        let (channel, found) = build::channel(&settings, &disk, &clock, &registry).await?;
        let made = match build::stages(&settings, &disk, &clock, &channel, &registry).await {
            Ok(stages) => build::started(&settings, &sockets, found, &channel).map(|started| (stages, started)),
            Err(error) => Err(error),
        };
        let (stages, started) = match made {
            Ok(made) => made,
            Err(error) => {
                stop_channel(&channel, LOG_PATIENCE).await;
                return Err(error);
            }
        };
        let free = (started.promise == Promise::Held).then(|| DiskFree::new(disk.clone(), settings.data.clone()));
        let watch = Watch::new(channel.clone(), started.promise, free, clock.clone(), stages.statuses());
        let watch = Arc::new(watch);
        let gateway = Gateway {
            started,
            stop_timeout: settings.stop_timeout,
            channel,
            watch,
            listeners: Tasks::new(),
            drains: Tasks::new(),
            archives: Tasks::new(),
            base: Tasks::new(),
            _lock: lock,
        };
        gateway.serve_admin(sockets.admin, door, &registry, &clock, disk);
        gateway.drain(stages);
        let intake = Intake::new(&settings.intake, gateway.channel.clone(), clock, &registry, &zipkin);
        gateway.listen(sockets.scribe, sockets.http, &intake, &registry);
        Ok(gateway)
    }

    fn serve_admin(
        &self,
        bound: admin::Bound,
        door: admin::Door,
        registry: &Registry,
        clock: &Clock,
        disk: Arc<dyn Disk>,
    ) {
        let process = Process::new(disk, clock);
        let scrape = Arc::new(Scrape::new(registry.clone(), self.watch.clone(), clock.clone(), process));
        let (metrics, health, ready) = (scrape.clone(), self.watch.clone(), self.watch.clone());
        let handles = admin::Handles {
            metrics: Arc::new(move || metrics.render()),
            health: Arc::new(move || health.health()),
            ready: Arc::new(move || ready.ready()),
            actions: Vec::new(),
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

    fn drain(&self, stages: build::Stages) {
        let (stop, grace) = (self.drains.stopping(), self.stop_timeout.saturating_sub(CHANNEL_TIME));
        for (_, drain) in stages.drains {
            self.drains.vital("drain", drain.run(stop.clone(), grace));
        }
        for (_, archive) in stages.archives {
            self.archives.vital("archive", archive.run(self.archives.stopping().clone(), grace));
        }
        let (tap, letters) = stages.aside;
        self.drains.vital("dead letters", crate::drain::aside::run(tap, letters, stop.clone()));
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
                let archives: Vec<String> = self.started.archives.iter().map(|a| a.drain.clone()).collect();
                memory::emptied(&self.channel, &archives, end - time() / IN_FLIGHT_SHARE).await;
            }
            self.drains.stop(time()).await
        };
        // An archive takes what is there when it is told to stop; it needs no time before.
        let (drains, archives) = tokio::join!(drains, self.archives.stop(time()));
        drains && archives
    }
}

/// Ends the owner thread, which saves the cursors first; false if it had not ended within `limit`.
async fn stop_channel(channel: &Channel, limit: Duration) -> bool {
    let channel = channel.clone();
    tokio::time::timeout(limit, tasks::blocking(move || channel.stop())).await.is_ok()
}

#[cfg(test)]
mod tests;
