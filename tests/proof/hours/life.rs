//! One process of the gateway: its drains, archive, dead letters and channel, from their start to a crash or the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use spangate::channel::{self, Account, Channel, Intake, Snapshot, Start, Takes};
use spangate::clock::Clock;
use spangate::deadletter;
use spangate::drain::{Seat, aside};
use spangate::metrics::{Registry, TABLE};
use spangate::tasks::{Part, Tasks};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::oracle::{self, Left};
use super::script::{CALM, Crash, DiskFault, HOUR, Message, SOUND};
use super::world::World;
use super::{Hour, Outside, Plant};
use crate::support::disk::{Fault, SimDisk};

pub const DATA: &str = "/data";
const CHANNEL: &str = "/data/channel";
const CURSORS: &str = "/data/channel/cursors";
pub const LETTERS: &str = "/data/dead-letters";
pub const OBJECTS: &str = "/objects";
/// The intake's `commit_wait`.
const COMMIT_WAIT: Duration = Duration::from_millis(500);
/// Between two looks at the ledger.
const LOOK: Duration = Duration::from_secs(5);
/// A log that is closed for good stays so for this long, until who watches its health restarts the process.
const PATIENCE: Duration = Duration::from_secs(10);
/// A ledger may be behind by what was settled in the 100 ms before a crash.
const BEHIND: Duration = Duration::from_millis(101);
/// What a disk holds that is not full.
const ROOM: u64 = 1 << 40;

/// How a process ended.
pub enum End {
    Crashed {
        crash: Crash,
        disk: SimDisk,
        left: Left,
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
    disk.set_full(false);
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
    if let Some(End::Crashed { left, .. }) = &before {
        oracle::restarted(&hour, &outside, &channel.snapshot(), left);
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
        let (mut seen, mut cursors) = (Vec::new(), None);
        let closed = tokio::select! {
            biased;
            () = async {
                self.look_until(world.moment(until.saturating_sub(LOOK)), &mut seen).await;
                cursors = world.is_planted(Plant::CursorsOfBefore).then(|| self.disk.read(Path::new(CURSORS)));
                self.look_until(world.moment(until), &mut seen).await;
            } => false,
            () = self.closed() => true,
        };
        let crash = if closed { Some((world.now(), Crash::Restart)) } else { crash };
        let Some((at, crash)) = crash else {
            oracle::emptied(&self.outside, &self.channel.snapshot());
            return End::Stopped(self.stop().await);
        };
        let planted = world.is_planted(Plant::DiskOfBefore).then(|| self.disk.killed());
        sleep_until(world.moment(at)).await;
        if let Crash::AtCall(calls, _) = crash {
            self.disk.fault_at(self.disk.calls() + calls, Fault::Off);
            // What was promised moves on with the time.
            for millis in 1..=30_000 {
                if self.disk.is_off() {
                    break;
                }
                sleep(Duration::from_millis(1)).await;
                if millis % 10 == 0 {
                    seen.push((world.now(), self.channel.snapshot().accounts));
                }
            }
        }
        // Its last failure may have come too late for whoever watches it.
        world.closed(self.closed_for().is_some());
        if crash == Crash::Restart {
            // What it has settled is all saved.
            seen.push((world.now(), self.stop().await));
        }
        let left = self.left(&seen, crash == Crash::Restart);
        let disk = match crash {
            _ if planted.is_some() => planted.expect("it was just looked at"),
            Crash::Killed | Crash::Restart => self.disk.killed(),
            Crash::Power(seed) | Crash::AtCall(_, seed) => {
                self.disk.lost_power(crate::support::disk::Power::Some(seed))
            }
        };
        if let Some(cursors) = cursors {
            disk.overwrite(Path::new(CURSORS), 0, &cursors);
        }
        self.disk.turn_off();
        world.tell("crash", 0, || format!("{crash:?}"));
        End::Crashed { crash, disk, left }
    }

    /// What has to be there after a process that ends now.
    fn left(&self, seen: &[(Duration, Vec<Account>)], orderly: bool) -> Left {
        let world = &self.outside.world;
        world.learn(&self.disk.trouble());
        let left = Left::of(world, seen, self.channel.snapshot().accounts, orderly);
        world.cut(orderly, left.crowded.clone());
        left
    }

    /// Why the log is closed for good, if it is.
    fn closed_for(&self) -> Option<String> {
        match self.channel.snapshot().intake {
            Intake::Failed { reason, for_good: true } => Some(reason),
            _ => None,
        }
    }

    /// Waits for a log that is closed for good, until it is to be restarted.
    async fn closed(&self) {
        let world = &self.outside.world;
        loop {
            if let Some(reason) = self.closed_for() {
                world.learn(&self.disk.trouble());
                let rightly = world.hits_of_life() >= 2;
                world.holds(rightly, || format!("promise 6: the log is closed for good, and no call failed: {reason}"));
                sleep(PATIENCE).await;
                return world.count("restarts of a closed log", 1);
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Stops it in order; the accounts then.
    async fn stop(&self) -> Vec<Account> {
        let stopped = self.tasks.stop(Duration::from_secs(20)).await;
        self.outside.world.holds(stopped, || "the drains do not stop".into());
        self.channel.stop();
        self.channel.snapshot().accounts
    }

    /// Looks at the ledger again and again.
    async fn look_until(&self, until: Instant, seen: &mut Vec<(Duration, Vec<Account>)>) {
        let world = &self.outside.world;
        let mut before: Option<Snapshot> = None;
        loop {
            self.clock.set(world.wall_us());
            let snapshot = self.channel.snapshot();
            oracle::look(&self.hour, &self.outside, &snapshot, before.as_ref());
            seen.push((world.now(), snapshot.accounts.clone()));
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
            debug_assert!(world.now() <= CALM || now > CALM);
            sleep_until(world.moment(CALM)).await;
            disk.mend();
        }
    }
}

/// Lets the disk fail; what it gives says whether a call has met that.
async fn strike(disk: SimDisk, fault: DiskFault) -> Box<dyn Fn() -> bool + Send> {
    let (calls, reads, looks, full) = (disk.calls(), disk.reads(), disk.looks(), disk.full_met());
    match fault {
        DiskFault::Calls(fault, many) => {
            disk.fault_in(calls + 1..calls + 1 + many, fault);
            Box::new(move || disk.calls() > calls)
        }
        DiskFault::Full(time) | DiskFault::Quota(time) => {
            disk.set_full(true);
            disk.set_free(if matches!(fault, DiskFault::Full(_)) { 0 } else { ROOM });
            sleep(time).await;
            disk.set_full(false);
            disk.set_free(ROOM);
            let is_met = disk.full_met() > full;
            Box::new(move || is_met)
        }
        DiskFault::Unreadable(time) => {
            disk.fail_reads(true);
            sleep(time).await;
            disk.fail_reads(false);
            let is_met = disk.reads() > reads;
            Box::new(move || is_met)
        }
        DiskFault::Looks(after, many) => {
            let first = looks + 1 + after;
            disk.fail_looks_in(first..first + many);
            Box::new(move || disk.looks() >= first)
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
            world.count(fault.kind(), 1);
            return world.met(fault.kind(), number);
        }
        sleep(Duration::from_secs(1)).await;
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
        sleep(Duration::from_secs(1)).await;
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
