//! One process of the gateway: its drains, archive, dead letters and channel, from their start to a crash or the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use spangate::archive::target::{Connect, Remote};
use spangate::archive::{self, Archive, Target, Template};
use spangate::channel::{self, Account, Channel, Snapshot, Start, Takes, Tap};
use spangate::clock::Clock;
use spangate::deadletter;
use spangate::drain::{Drain, Parts, Roster, Seat, aside};
use spangate::metrics::{Registry, TABLE};
use spangate::sink::Sink;
use spangate::tasks::Tasks;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::oracle;
use super::script::{CALM, Crash, DiskFault, HOUR, Message, SOUND};
use super::world::{Plant, World};
use super::{Hour, Outside};
use crate::support::disk::{Fault, SimDisk};

const DATA: &str = "/data";
pub const LETTERS: &str = "/data/dead-letters";
pub const OBJECTS: &str = "/objects";
/// The intake's `commit_wait`.
const COMMIT_WAIT: Duration = Duration::from_millis(500);
/// Between two looks at the ledger.
const LOOK: Duration = Duration::from_secs(5);
/// A ledger may be behind by what was settled in the 100 ms before a crash.
const BEHIND: Duration = Duration::from_millis(101);
/// What a disk holds that is not full.
const ROOM: u64 = 1 << 40;

/// How a process ended.
pub enum End {
    Crashed {
        crash: Crash,
        disk: SimDisk,
        promised: Vec<Account>,
        last: Vec<Account>,
    },
    /// The accounts after the stop.
    Stopped(Vec<Account>),
}

struct Life {
    hour: Arc<Hour>,
    outside: Outside,
    disk: SimDisk,
    channel: Channel,
    clock: Clock,
    registry: Registry,
    tasks: Tasks,
    /// What is not of the process, and goes on when it is told to stop.
    around: Tasks,
}

/// Runs a process on what `disk` holds, until the next crash or the hour's end. `before` is what the last one left.
pub async fn live(hour: Arc<Hour>, outside: Outside, disk: SimDisk, before: Option<End>) -> End {
    disk.set_free(ROOM);
    let (registry, clock) = (Registry::new(TABLE), Clock::manual(outside.world.wall_us()));
    let settings = channel::Settings {
        dir: Path::new(DATA).join("channel"),
        capacity_bytes: hour.script.capacity_bytes,
        capacity_spans: None,
        sync: hour.script.sync,
        free_min_bytes: Some(1 << 20),
        cache_bytes: hour.script.cache_bytes,
    };
    let (channel, _) = Channel::open(settings, disk.disk(), clock.clone(), &registry).expect("the channel opens");
    if let Some(End::Crashed { promised, last, .. }) = &before {
        oracle::restarted(&hour, &outside, &channel.snapshot(), promised, last);
    }
    let life = Life { hour, outside, disk, channel, clock, registry, tasks: Tasks::new(), around: Tasks::new() };
    life.start();
    let end = life.run().await;
    let text = life.registry.render();
    let removed = text.lines().filter(|line| line.starts_with("spangate_dead_letters_removed_total{"));
    let number = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok());
    life.outside.world.count(oracle::GAVE_WAY, removed.filter_map(number).sum());
    if life.tasks.failed() {
        life.outside.world.broke("a vital task ended");
    }
    end
}

impl Life {
    fn tap(&self, drain: &str, takes: Takes) -> Tap {
        self.channel.tap(drain, Start::Oldest, takes).expect("the drain is attached")
    }

    fn start(&self) {
        let letters = deadletter::Settings {
            dir: LETTERS.into(),
            refused_bytes_max: 1 << 30,
            undecodable_bytes_max: 1 << 26,
            free_min_bytes: Some(1 << 19),
        };
        let disk = self.disk.disk();
        let letters = deadletter::Store::open(letters, disk, self.clock.clone(), self.channel.id(), &self.registry);
        let letters = letters.expect("the dead letters open");
        let stop = self.tasks.stopping().clone();
        self.tasks.vital("dead letters", aside::run(self.tap(aside::NAME, Takes::Addressed), letters.clone(), stop));
        for (feed, collectors) in self.hour.script.feeds.iter().zip(&self.outside.collectors) {
            let seats = collectors.iter().map(|sink| Seat::from(sink.clone() as Arc<dyn Sink>)).collect();
            let parts = Parts {
                settings: feed.settings.clone(),
                tap: self.tap(&feed.settings.name, Takes::Common),
                sinks: Roster::fixed(seats),
                letters: letters.clone(),
                clock: self.clock.clone(),
                kept_in: watch::Sender::new(None).subscribe(),
            };
            let drain = Drain::new(parts, &self.registry);
            self.tasks.vital("drain", drain.run(self.tasks.stopping().clone(), Duration::from_secs(15)));
        }
        let archive = self.archive();
        self.tasks.vital("archive", archive.run(self.tasks.stopping().clone(), Duration::from_secs(15)));
    }

    fn archive(&self) -> Archive {
        let objects = &self.hour.script.objects;
        let target = match &self.outside.bucket {
            None => Target::Local { dir: OBJECTS.into() },
            Some(_) => Target::Remote(Remote::parse("s3://simulated").expect("a bucket")),
        };
        let settings = archive::Settings {
            name: "archive".into(),
            sieve: objects.taste.sieve(),
            target,
            built_in: Path::new(DATA).join("archive"),
            data: DATA.into(),
            connect: Connect {
                region: None,
                path_style: true,
                timeout: Duration::from_secs(120),
                put_bytes_max: 48 << 20,
                part_bytes: 8 << 20,
                variables: None,
            },
            format: objects.format,
            path: Template::parse(objects.path).expect("a template"),
            roll_bytes: objects.roll_bytes,
            roll_age: Duration::from_secs(60),
            roll_idle: objects.roll_idle,
            free_min_bytes: Some(1 << 20),
        };
        let disk = self.disk.disk();
        let prepared = match &self.outside.bucket {
            None => Archive::prepare(settings, disk).expect("a store"),
            Some(bucket) => {
                let staging =
                    archive::store::Staging::new(disk.clone(), PathBuf::from(DATA), "staging/archive", Some(1 << 20));
                Archive::over(settings, disk, bucket.store(staging))
            }
        };
        prepared.archive(&self.channel, self.tap("archive", Takes::Common), &self.registry)
    }

    async fn run(&self) -> End {
        let world = &self.outside.world;
        self.around.spawn("tracers", self.tracers());
        self.around.spawn("disk", self.disk_faults());
        let crash = self.hour.script.crashes.iter().copied().find(|(at, _)| *at > world.now());
        let until = crash.map_or(HOUR, |(at, _)| at - BEHIND);
        self.look_until(world.moment(until)).await;
        let Some((at, crash)) = crash else {
            oracle::emptied(&self.outside, &self.channel.snapshot());
            return End::Stopped(self.stop().await);
        };
        let planted = world.is_planted(Plant::DiskOfBefore).then(|| self.disk.killed());
        let mut promised = self.channel.snapshot().accounts;
        sleep_until(world.moment(at)).await;
        if let Crash::AtCall(calls, _) = crash {
            self.disk.fault_at(self.disk.calls() + calls, Fault::Off);
            // What was promised moves on with the time.
            let mut behind = std::collections::VecDeque::from([promised]);
            for millis in 1..=30_000 {
                if self.disk.is_off() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                if millis % 10 == 0 {
                    behind.push_back(self.channel.snapshot().accounts);
                    behind.drain(..behind.len().saturating_sub(12));
                }
            }
            promised = behind.pop_front().expect("the first is there");
        }
        if crash == Crash::Restart {
            // What it has settled is all saved.
            promised = self.stop().await;
        }
        let last = self.channel.snapshot().accounts;
        let disk = match crash {
            _ if planted.is_some() => planted.expect("it was just looked at"),
            Crash::Killed | Crash::Restart => self.disk.killed(),
            Crash::Power(seed) | Crash::AtCall(_, seed) => {
                self.disk.lost_power(crate::support::disk::Power::Some(seed))
            }
        };
        self.disk.turn_off();
        if crash != Crash::Restart {
            world.crashed(oracle::disk_failed(&self.hour, world.now()));
        }
        world.tell("crash", 0, || format!("{crash:?}"));
        End::Crashed { crash, disk, promised, last }
    }

    /// Stops it in order; the accounts then.
    async fn stop(&self) -> Vec<Account> {
        let stopped = self.tasks.stop(Duration::from_secs(20)).await;
        self.outside.world.holds(stopped, || "the drains do not stop".into());
        self.channel.stop();
        self.channel.snapshot().accounts
    }

    /// Looks at the ledger again and again.
    async fn look_until(&self, until: Instant) {
        let world = &self.outside.world;
        let mut before: Option<Snapshot> = None;
        loop {
            self.clock.set(world.wall_us());
            let snapshot = self.channel.snapshot();
            oracle::look(&self.hour, &self.outside, &snapshot, before.as_ref());
            before = Some(snapshot);
            if Instant::now() >= until || world.broken().is_some() {
                return;
            }
            sleep_until(until.min(Instant::now() + LOOK)).await;
        }
    }

    /// Sends what the script says, from now on.
    fn tracers(&self) -> impl Future<Output = ()> + Send + 'static {
        let (world, channel, tasks) = (self.outside.world.clone(), self.channel.clone(), self.around.clone());
        let (hour, now) = (self.hour.clone(), world.now());
        async move {
            for message in hour.script.messages.iter().filter(|message| message.at >= now).copied() {
                sleep_until(world.moment(message.at)).await;
                if message.at >= SOUND {
                    world.only_sound();
                }
                tasks.spawn("tracer", send(world.clone(), channel.clone(), message));
            }
        }
    }

    fn disk_faults(&self) -> impl Future<Output = ()> + Send + 'static {
        let (world, disk, hour) = (self.outside.world.clone(), self.disk.clone(), self.hour.clone());
        async move {
            let now = world.now();
            for (number, (at, fault)) in (1_000..).zip(hour.script.disk.iter().copied()) {
                if at < now {
                    continue;
                }
                sleep_until(world.moment(at)).await;
                world.tell("disk", number, || format!("{fault:?}"));
                match fault {
                    DiskFault::Eio => {
                        disk.fault_next(Fault::Fail);
                        world.met(fault.kind(), number);
                    }
                    DiskFault::Full(time) => {
                        disk.set_free(0);
                        tokio::time::sleep(time).await;
                        disk.set_free(ROOM);
                        world.met(fault.kind(), number);
                    }
                    DiskFault::Unreadable(time) => {
                        disk.fail_reads(true);
                        tokio::time::sleep(time).await;
                        disk.fail_reads(false);
                        world.met(fault.kind(), number);
                    }
                }
            }
            debug_assert!(world.now() <= CALM);
        }
    }
}

/// What a listener does with a message: yes, once it is durable, or no.
async fn send(world: Arc<World>, channel: Channel, message: Message) {
    let (draft, spans) = world.message(message.spans, message.listener);
    let mut drafts = vec![draft];
    drafts.extend((0..message.entries).map(|_| world.entry()));
    let answer = timeout(COMMIT_WAIT, channel.append(drafts).wait()).await;
    world.tell("message", spans.start, || format!("{spans:?} and {} entries: {answer:?}", message.entries));
    match answer {
        Ok(Ok(positions)) => world.acked(spans, message.entries, positions),
        Ok(Err(_)) | Err(_) => world.count("messages refused", 1),
    }
}
