//! One process of the gateway: its drains, archive, dead letters and channel, from their start to a crash or the end.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use spangate::channel::{self, Account, Channel, Snapshot, Start, Takes};
use spangate::clock::Clock;
use spangate::deadletter;
use spangate::drain::{Seat, aside};
use spangate::metrics::{Registry, TABLE};
use spangate::tasks::{Part, Tasks};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::oracle;
use super::script::{CALM, Crash, DiskFault, HOUR, Message, SOUND};
use super::world::World;
use super::{Hour, Outside, Plant};
use crate::support::disk::{Fault, SimDisk};

pub const DATA: &str = "/data";
const CHANNEL: &str = "/data/channel";
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

pub struct Life {
    pub hour: Arc<Hour>,
    pub outside: Outside,
    pub disk: SimDisk,
    pub channel: Channel,
    pub clock: Clock,
    pub registry: Registry,
    pub letters: deadletter::Store,
    pub tasks: Tasks,
    /// What is not of the process, and goes on when it is told to stop.
    pub around: Tasks,
    /// By feed; the archive is the last.
    pub running: Mutex<BTreeMap<usize, Part>>,
    /// Who says which sinks a group has, by feed.
    pub names: Mutex<BTreeMap<usize, watch::Sender<Vec<Seat>>>>,
}

/// Runs a process on what `disk` holds, until the next crash or the hour's end. `before` is what the last one left.
pub async fn live(hour: Arc<Hour>, outside: Outside, disk: SimDisk, before: Option<End>) -> End {
    disk.set_free(ROOM);
    let (registry, clock) = (Registry::new(TABLE), Clock::manual(outside.world.wall_us()));
    let settings = channel::Settings {
        dir: CHANNEL.into(),
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
    let letters = deadletter::Settings {
        dir: LETTERS.into(),
        refused_bytes_max: 1 << 30,
        undecodable_bytes_max: 1 << 26,
        free_min_bytes: Some(1 << 19),
    };
    let letters = deadletter::Store::open(letters, disk.disk(), clock.clone(), channel.id(), &registry);
    let letters = letters.expect("the dead letters open");
    let (tasks, around) = (Tasks::new(), Tasks::new());
    let (running, names) = (Mutex::default(), Mutex::default());
    let life = Life { hour, outside, disk, channel, clock, registry, letters, tasks, around, running, names };
    let life = Arc::new(life);
    let tap = life.channel.tap(aside::NAME, Start::Oldest, Takes::Addressed).expect("the drain is attached");
    life.tasks.vital("dead letters", aside::run(tap, life.letters.clone(), life.tasks.stopping().clone()));
    life.begin();
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

/// A panic beside the process fails the hour, too.
struct Panics(Arc<World>);

impl Drop for Panics {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broke("the simulation panicked, see above");
        }
    }
}

/// Spawns what is not of the process.
pub fn beside(around: &Tasks, world: &Arc<World>, what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    let panics = Panics(world.clone());
    around.spawn(what, async move {
        let _panics = panics;
        task.await;
    });
}

impl Life {
    async fn run(&self) -> End {
        let world = &self.outside.world;
        beside(&self.around, world, "tracers", self.tracers());
        beside(&self.around, world, "disk", self.disk_faults());
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
            let mut behind = VecDeque::from([promised]);
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
                beside(&tasks, &world, "tracer", send(world.clone(), channel.clone(), message));
            }
        }
    }

    fn disk_faults(&self) -> impl Future<Output = ()> + Send + 'static {
        let (world, disk, hour) = (self.outside.world.clone(), self.disk.clone(), self.hour.clone());
        let (tasks, channel) = (self.around.clone(), self.channel.clone());
        async move {
            let now = world.now();
            for (number, (at, fault)) in (1_000..).zip(hour.script.disk.iter().copied()) {
                if at < now {
                    continue;
                }
                sleep_until(world.moment(at)).await;
                world.tell("disk", number, || format!("{fault:?}"));
                if let DiskFault::Rot(seed) = fault {
                    let rot = rot(world.clone(), channel.clone(), disk.clone(), number, seed);
                    beside(&tasks, &world, "rot", rot);
                    continue;
                }
                // What is set for a call to come may not come before something else takes its place.
                let others = hour.script.disk.iter().map(|(at, _)| *at);
                let others = others.chain(hour.script.crashes.iter().map(|(at, _)| *at));
                let until = others.filter(|other| *other > at).min().unwrap_or(CALM);
                let is_met = strike(disk.clone(), fault).await;
                beside(&tasks, &world, "fault", meets(world.clone(), fault, number, until, is_met));
            }
            debug_assert!(world.now() <= CALM);
        }
    }
}

/// Lets the disk fail; what it gives says whether a call has met that.
async fn strike(disk: SimDisk, fault: DiskFault) -> Box<dyn Fn() -> bool + Send> {
    let (calls, reads, full) = (disk.calls(), disk.reads(), disk.full_met());
    match fault {
        DiskFault::Eio => {
            disk.fault_next(Fault::Fail);
            Box::new(move || disk.calls() > calls)
        }
        DiskFault::Full(time) => {
            disk.set_free(0);
            tokio::time::sleep(time).await;
            disk.set_free(ROOM);
            Box::new(move || disk.full_met() > full)
        }
        DiskFault::Unreadable(time) => {
            disk.fail_reads(true);
            tokio::time::sleep(time).await;
            disk.fail_reads(false);
            let is_met = disk.reads() > reads;
            Box::new(move || is_met)
        }
        DiskFault::EioRead(more) => {
            disk.fail_read_at(reads + more);
            Box::new(move || disk.reads() >= reads + more)
        }
        DiskFault::Rot(_) => unreachable!("it strikes what waits for a drain"),
    }
}

/// Counts a fault when a call has met it.
async fn meets(
    world: Arc<World>,
    fault: DiskFault,
    number: u64,
    until: Duration,
    is_met: Box<dyn Fn() -> bool + Send>,
) {
    while world.now() < until {
        if is_met() {
            return world.met(fault.kind(), number);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Waits for a drain that is behind, and flips a bit in what waits for it.
async fn rot(world: Arc<World>, channel: Channel, disk: SimDisk, number: u64, seed: u64) {
    while world.now() < CALM {
        let accounts = channel.snapshot().accounts;
        let low = accounts.iter().filter(|account| account.waiting > 30).map(|account| account.low).min();
        let is_told = !world.is_planted(Plant::RotUntold);
        if low.is_some_and(|low| world.rot.strike(&disk, Path::new(CHANNEL), low, seed, is_told)) {
            world.tell("rot", number, String::new);
            world.count("frames that rot hit", 1);
            return world.met(DiskFault::Rot(seed).kind(), number);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
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
