//! The drains that run: begun, handed over to new settings, given up.
//!
//! A drain whose settings change ends as at a stop: what it has under way gets its sinks' own time,
//! all else is in the channel. The new one then takes up the same cursor. So there are never two of
//! one name, and whoever waits for a sink that hangs waits for its timeout at most.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::archive::{self, Archive};
use crate::channel::{Channel, Start, Takes, Tap};
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::deadletter;
use crate::disk::Disk;
use crate::drain::{self, Drain, Roster};
use crate::gateway::follow::{self, Answers, Follow};
use crate::gateway::report::{Shown, Statuses};
use crate::gateway::{Error, build};
use crate::metrics::Registry;
use crate::sink::dns::System;
use crate::tasks::{self, Part, Tasks};

/// A drain that lacks nothing but its place in the channel.
pub struct Ready {
    pub name: String,
    pub start: Start,
    work: Work,
}

enum Work {
    Group { settings: drain::Settings, sinks: Roster, follow: Option<Follow> },
    Archive(archive::Prepared),
}

impl Ready {
    /// Those drains of a configuration that are `wanted`, by name.
    pub fn all(
        settings: &Settings,
        channel_id: &str,
        disk: &Arc<dyn Disk>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Ready>, Error> {
        let groups = settings.drains.iter().filter(|drain| wanted(&drain.drain.name));
        let archives = settings.archives.iter().filter(|archive| wanted(&archive.name));
        let archives = archives.map(|archive| {
            let prepared = Archive::prepare(archive.clone(), disk.clone());
            let prepared = prepared.map_err(|error| Error::Config(error.to_string()))?;
            Ok(Ready { name: archive.name.clone(), start: Start::End, work: Work::Archive(prepared) })
        });
        groups.map(|drain| Ready::group(drain, channel_id)).chain(archives).collect()
    }

    fn group(config::Drain { drain, start, sinks, terms }: &config::Drain, channel_id: &str) -> Result<Ready, Error> {
        let (sinks, follow) = follow::roster(sinks, terms, channel_id)?;
        let work = Work::Group { settings: drain.clone(), sinks, follow };
        Ok(Ready { name: drain.name.clone(), start: *start, work })
    }
}

/// Where archives keep everything, if any does.
pub fn kept_in(settings: &Settings) -> Option<String> {
    let whole = settings.archives.iter().filter(|archive| archive.sieve.takes_all_once());
    let places: Vec<String> = whole.map(|archive| archive.target.to_string()).collect();
    (!places.is_empty()).then(|| places.join(" and "))
}

/// What every drain is made with. Cheap to clone.
#[derive(Clone)]
pub struct Kit {
    pub channel: Channel,
    pub disk: Arc<dyn Disk>,
    pub clock: Clock,
    pub registry: Registry,
    pub letters: deadletter::Store,
    pub statuses: Statuses,
    pub answers: Answers,
    /// [`kept_in`] of the settings in force: a drain that a reload leaves alone hears of archives that it moves.
    pub kept_in: watch::Sender<Option<String>>,
    /// The channel ends with the process.
    pub in_memory: bool,
    /// How long what is under way may last when the process stops.
    pub grace: Duration,
}

type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Kit {
    /// Puts a drain together, and shows it.
    fn run(&self, ready: Ready, tap: Tap, part: Part) -> Run {
        match ready.work {
            Work::Group { settings, sinks, follow } => {
                let (letters, clock) = (self.letters.clone(), self.clock.clone());
                let kept_in = self.kept_in.subscribe();
                let parts = drain::Parts { settings, tap, sinks, letters, clock, kept_in };
                let drain = Drain::new(parts, &self.registry);
                self.statuses.show(&ready.name, Shown::Drain(drain.status()));
                let following = follow.map(|follow| {
                    follow.run(ready.name, Arc::new(System), self.answers.clone(), part.ending().clone())
                });
                let run = drain.run(part, self.grace);
                Box::pin(async move {
                    match following {
                        Some(following) => beside(following, run).await,
                        None => run.await,
                    }
                })
            }
            Work::Archive(prepared) => {
                let archive = prepared.archive(&self.channel, tap, &self.registry);
                let archive = archive.to_the_end(self.in_memory);
                self.statuses.show(&ready.name, Shown::Archive(archive.status()));
                Box::pin(archive.run(part, self.grace))
            }
        }
    }

    /// Shows the sinks of a drain no more, as they were when it ended.
    fn retire(&self, drain: &str) {
        if let Some(Shown::Drain(status)) = self.statuses.of(drain) {
            status.sinks().iter().for_each(|sink| self.registry.retire(drain, Some(&sink.name)));
        }
    }

    /// Takes a drain out of the channel and of all that shows it.
    async fn give_up(&self, name: String) {
        self.statuses.forget(&name);
        self.answers.forget(&name);
        let channel = self.channel.clone();
        let drain = name.clone();
        match tasks::blocking(move || channel.forget(&name)).await {
            Ok(spans) => tracing::info!(drain, spans, "gave up a drain that is not configured any more"),
            Err(error) => {
                tracing::error!(drain, %error, "a drain could not be given up; the next reload or start does")
            }
        }
        self.registry.retire(&drain, None);
    }
}

/// Follows names for as long as a drain runs: it is the drain's end that counts.
async fn beside(following: impl Future<Output = ()>, run: impl Future<Output = ()>) {
    let following = async {
        following.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = run => {}
        () = following => {}
    }
}

/// The drains that run, by name.
pub struct Crew {
    kit: Kit,
    /// Stopped before archives, which may take what is still to come.
    drains: Tasks,
    archives: Tasks,
    running: BTreeMap<String, Part>,
}

impl Crew {
    pub fn new(kit: Kit, drains: Tasks, archives: Tasks) -> Crew {
        Crew { kit, drains, archives, running: BTreeMap::new() }
    }

    pub fn kit(&self) -> &Kit {
        &self.kit
    }

    pub fn runs(&self, name: &str) -> bool {
        self.running.contains_key(name)
    }

    /// Lets a drain run.
    pub fn begin(&mut self, ready: Ready, tap: Tap) {
        let (tasks, what) = self.tasks(&ready);
        let part = tasks.part();
        self.running.insert(ready.name.clone(), part.clone());
        tasks.vital_part(what, part.clone(), self.kit.run(ready, tap, part));
    }

    /// Ends the drain of this name and lets another take its place. The token is cancelled when it has.
    pub fn hand_over(&mut self, ready: Ready) -> CancellationToken {
        let (tasks, what) = self.tasks(&ready);
        let (kit, part, done) = (self.kit.clone(), tasks.part(), CancellationToken::new());
        let old = self.running.insert(ready.name.clone(), part.clone()).expect("a drain that runs is handed over");
        old.ending().cancel();
        let (taken, next) = (done.clone().drop_guard(), part.clone());
        tasks.vital_part(what, part, async move {
            old.ended().await;
            kit.retire(&ready.name);
            if next.ending().is_cancelled() {
                return;
            }
            let run = match build::tap(&kit.channel, &ready.name, Start::End, Takes::Common).await {
                Ok(tap) => kit.run(ready, tap, next),
                Err(error) => return tracing::error!(%error, "a drain lost its place in the channel"),
            };
            drop(taken);
            run.await;
        });
        done
    }

    /// Ends the drain of this name, if it runs, and gives up what waits for it. The token is cancelled when that is
    /// done.
    pub fn give_up(&mut self, name: String) -> CancellationToken {
        let (kit, old, done) = (self.kit.clone(), self.running.remove(&name), CancellationToken::new());
        let given_up = done.clone().drop_guard();
        if let Some(old) = &old {
            old.ending().cancel();
        }
        self.drains.spawn("drain given up", async move {
            if let Some(old) = old {
                old.ended().await;
                kit.retire(&name);
            }
            kit.give_up(name).await;
            drop(given_up);
        });
        done
    }

    fn tasks(&self, ready: &Ready) -> (Tasks, &'static str) {
        match ready.work {
            Work::Group { .. } => (self.drains.clone(), "drain"),
            Work::Archive(_) => (self.archives.clone(), "archive"),
        }
    }
}
