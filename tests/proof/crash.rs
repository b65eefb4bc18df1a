//! Crash points: a workload is run once and filmed; each I/O call of it is then a crash, with several outcomes of the
//! un-synced data, and each is recovered and held against the oracle. Faults are set at each call and the workload run
//! again. A crash point is a distinct (workload, I/O call, outcome of the un-synced data).
//!
//! One thread, paused time: a seed tells all, and shows it again.

mod archive;
mod book;
mod going;
mod rot;
mod verdict;
mod workloads;
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use spangate::channel::Draft;
use spangate::metrics::{Registry, TABLE};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use self::book::{Book, Truth};
pub use self::book::{SETTLED_WITHIN, TRIED_AGAIN_WITHIN};
use self::rot::Cost;
use self::verdict::Crash;
pub use self::verdict::{BACKOFF, SYNC_SLACK};
use self::workloads::Workload;
use self::world::World;
pub use self::world::{Step, settings};
use super::{Budget, Tally};
use crate::support::disk::{Fault, Lie, Power, Shot, SimDisk};

/// A workload for each try: the named ones in turn, the first time as they stand and then with steps between, and as
/// many random ones.
fn workload(seed: u64) -> Workload {
    let mut named = workloads::named();
    let (turn, all) = ((seed / 2) as usize, named.len());
    match turn {
        _ if seed % 2 == 1 => workloads::random(seed),
        _ if turn < all => named.swap_remove(turn),
        _ => workloads::varied(named.swap_remove(turn % all), seed),
    }
}

/// Of so many crash points one is tried.
#[derive(Debug, Clone, Copy)]
pub struct Thin(pub u64);

/// Every crash point of as many workloads as the budget has tries.
pub fn proof(budget: Budget) -> Tally {
    thinned(budget, Thin(1))
}

pub fn thinned(budget: Budget, thin: Thin) -> Tally {
    let soaks = budget.until.is_some();
    // A soak begins with the named ones as they stand.
    let named = 0..if soaks { 2 * workloads::named().len() as u64 } else { 0 };
    let first = |seed: &u64| named.contains(seed) && seed.is_multiple_of(2);
    let seeds = Mutex::new(named.clone().filter(first).chain(budget.seeds().filter(|seed| !first(seed))));
    let workers = if soaks { std::thread::available_parallelism().map_or(1, |n| n.get()) } else { 1 };
    let work = || {
        spangate::tasks::simulate();
        let mut tally = Tally::default();
        while let Some(seed) = { seeds.lock().unwrap().next() } {
            let mut lab = Lab::new(seed, thin);
            let runtime = lab.runtime.handle().clone();
            let _clock = runtime.enter();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| lab.run())) {
                lab.failed(&panic_text(&*panic), "a panic");
            }
            tally.merge(lab.tally);
        }
        tally
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut whole = Tally::default();
        workers.into_iter().for_each(|worker| whole.merge(worker.join().unwrap()));
        whole
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic").to_owned()
}

/// One list of steps, and a crash at its end. An error names the promise that broke.
pub fn one_case(seed: u64, steps: &[Step]) -> Result<(), String> {
    let runtime = paused();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut settings = world::settings();
    settings.capacity_spans = random.choice([None, Some(60)]).unwrap();
    settings.cache_bytes = random.choice([0, 64 * 1024]).unwrap();
    let last = Step::Crash { kill: random.bool(), seed: random.u64(..) };
    let mut world = World::new(SimDisk::new(), settings, Book::default());
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            world.start().await;
            world.run(steps).await;
            world.run(&[last]).await;
        });
    }));
    let broken = world.book.pages().broken.first().cloned();
    let goes_on = match world.faulty && ran.is_ok() {
        true => runtime.block_on(world.goes_on()),
        false => Ok(()),
    };
    match (ran, broken.or(goes_on.err())) {
        (_, Some(what)) => Err(what),
        (Err(panic), None) => Err(panic_text(&*panic)),
        (Ok(()), None) => Ok(()),
    }
}

/// A named workload on a disk that lies, or with what `plant` breaks. The seed decides what a crash leaves, and faults.
pub fn broken(name: &str, seed: u64, lie: Option<Lie>, plant: fn()) -> Tally {
    let workload = workloads::named().into_iter().find(|workload| workload.name == name).unwrap();
    in_a_lab(workload, |lab| {
        plant();
        (lab.lie, lab.failures_max, lab.seed) = (lie, usize::MAX, seed);
        lab.run();
    })
}

/// These steps with a fault at each call, for so many calls; and a crash now and then behind it, and at their end.
pub fn swept(fault: Fault, many: u64, steps: &[Step]) -> Tally {
    let workload = Workload { name: "swept", settings: settings(), steps: steps.to_vec() };
    in_a_lab(workload, |lab| {
        for call in 1..100 {
            let films: Vec<u64> = (0..7).map(|nth| call + many + 3 * nth).collect();
            lab.fault(
                &films,
                |disk| disk.fault_in(call..call + many, fault),
                &format!("{fault:?} at {many} calls from {call}"),
            );
        }
    })
}

/// On a thread of its own, which is simulated.
fn in_a_lab(workload: Workload, work: impl FnOnce(&mut Lab) + Send) -> Tally {
    let again = format!("the test {}", std::thread::current().name().unwrap_or("without a name"));
    let work = || {
        spangate::tasks::simulate();
        let mut lab = Lab { workload, again, ..Lab::new(0, Thin(1)) };
        let runtime = lab.runtime.handle().clone();
        let _clock = runtime.enter();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(&mut lab))) {
            lab.failed(&panic_text(&*panic), "a panic");
        }
        lab.tally
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

/// A message of one span.
pub fn message(number: u64) -> Draft {
    world::draft(number..number + 1, 10, None).0
}

/// A stranger has the name of the object that the archive makes next: what it is to hold may not be settled.
pub fn squatted(plant: impl FnOnce() + Send) -> Result<(), String> {
    let work = || {
        spangate::tasks::simulate();
        plant();
        let mut world = World::new(SimDisk::new(), settings(), Book::default());
        paused().block_on(async {
            world.start().await;
            let say = Step::Append { spans: 3, bytes: 20, letters: false };
            world.run(&[Step::Begin { drain: world::ARCHIVE, oldest: false }, say]).await;
            let channel = world.channel.clone().unwrap();
            archive::squat(&world.disk, &format!("{}-0-{:020}-{:020}.jsonl.gz", channel.id(), 0, 2));
            world.run(&[Step::Archive { ms: 400 }]).await;
            match channel.snapshot().accounts[0].waiting {
                3 => Ok(()),
                waiting => Err(format!("promise 3: {waiting} of 3 wait, and a stranger stands in their place")),
            }
        })
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Of each workload.
const FLIPS: u64 = 40;

/// What a call meets that changes something.
pub const FAULTS: [Fault; 8] = [
    Fault::Fail,
    Fault::Evict,
    Fault::Short,
    Fault::ShortOfSpace,
    Fault::ShortOfQuota,
    Fault::NoSpace,
    Fault::Quota,
    Fault::ReadOnly,
];

/// Failures of one workload that are told; the others are alike.
const FAILURES_MAX: usize = 3;

/// Crashes of a film that were tried: the call, whether the power was lost, and what became of the un-synced data.
type Known = BTreeSet<(u64, bool, Option<u64>)>;

/// One try: a workload, its crash points, its faults.
struct Lab {
    seed: u64,
    thin: Thin,
    /// Which points are tried, of thinned ones. Nothing else may depend on it: a point that failed fails again where
    /// all are tried.
    draw: fastrand::Rng,
    workload: Workload,
    runtime: Runtime,
    registry: Registry,
    tally: Tally,
    lie: Option<Lie>,
    /// What shows a failure again.
    again: String,
    failures_max: usize,
    /// `SOAK_STORY=1`: the steps of a workload that fails first, and what it did and was told.
    tells: bool,
}

fn lines<T: std::fmt::Debug>(all: &[T]) -> String {
    all.iter().map(|one| format!("  {one:?}\n")).collect()
}

impl Lab {
    fn new(seed: u64, thin: Thin) -> Lab {
        Lab {
            seed,
            thin,
            draw: fastrand::Rng::with_seed(seed),
            workload: workload(seed),
            runtime: paused(),
            registry: Registry::new(TABLE),
            tally: Tally::default(),
            lie: None,
            again: format!("cargo test --release --test soak -- crash --seed {seed} --tries 1"),
            failures_max: FAILURES_MAX,
            tells: std::env::var_os("SOAK_STORY").is_some(),
        }
    }

    fn disk(&self) -> SimDisk {
        let disk = SimDisk::new();
        self.lie.iter().for_each(|lie| disk.lie(*lie));
        disk
    }

    fn failed(&mut self, what: &str, case: &str) {
        if self.tells && self.tally.failures.is_empty() {
            let Workload { name, settings, steps } = &self.workload;
            println!("workload \"{name}\", {settings:?}\n{}", lines(steps));
        }
        if self.tally.failures.len() < self.failures_max {
            let what = format!("{what}\n    workload \"{}\", {case}", self.workload.name);
            self.tally.failed(what, &self.again);
        }
    }

    fn run(&mut self) {
        self.tally.add("workloads", 1);
        // What is random in the product itself, here and wherever it runs again: jitter.
        fastrand::seed(self.seed);
        let disk = self.disk();
        let book = Book::default();
        disk.film(book.1.clone());
        let mut world = World::new(disk, self.workload.settings.clone(), book.clone());
        self.runtime.block_on(async {
            world.start().await;
            world.run(&self.workload.steps).await;
        });
        let mut shots = std::mem::take(&mut world.shots);
        shots.extend(world.disk.cut());
        let (calls, looks) = (world.disk.calls(), world.disk.looks());
        self.runtime.block_on(world.stop());
        let (stopped, truth) = (world.disk.killed(), world.truth());
        drop(world);
        for what in std::mem::take(&mut book.pages().broken) {
            self.failed(&what, "without a crash");
        }
        self.crashes(&book, shots);
        self.rot(&book, &truth, &stopped);
        self.faults(calls, looks);
    }

    /// Whether this point is tried.
    fn is_due(&mut self) -> bool {
        self.thin.0 <= 1 || self.draw.u64(0..self.thin.0) == 0
    }

    /// By chance, of the seed and what it is for alone.
    fn chance(&self, what: &str, number: u64) -> fastrand::Rng {
        let words = self.seed.to_le_bytes().into_iter().chain(number.to_le_bytes()).chain(what.bytes());
        let hash = words.fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        fastrand::Rng::with_seed(hash)
    }

    fn crashes(&mut self, book: &Book, shots: Vec<Shot>) {
        let events = book.pages().events.clone();
        let (mut truth, mut read, mut known) = (Truth::default(), 0, Known::new());
        for shot in shots {
            let mark = shot.mark as usize;
            events[read..mark].iter().for_each(|event| truth.add(event));
            read = mark;
            if truth.drains.values().any(|row| row.archived)
                && let Some(last) =
                    archive::planned(&shot.disk).into_iter().find(|last| !rot::outlives(&shot.disk, *last))
            {
                let case = format!("before call {}", shot.call);
                self.failed(&format!("promise 1: the archive plans with {last} before it is synced"), &case);
            }
            if self.is_due() {
                self.crash(book, &truth, &shot, &mut known, false, 2);
            }
        }
    }

    /// Every outcome of one crash, of a machine that may have `lost` its power before. With `depth`, crashes of the
    /// recovery after one of them, too.
    fn crash(&mut self, book: &Book, truth: &Truth, shot: &Shot, known: &mut Known, lost: bool, depth: u32) {
        let outcomes = self.outcomes(shot, 3, known);
        let mut chance = self.chance("a crash of the recovery", shot.call);
        let chosen = chance.usize(0..6);
        for (n, (outcome, left)) in outcomes.into_iter().enumerate() {
            let case = format!("call {}, un-synced: {outcome:?}, depth {depth}", shot.call);
            self.tally.add(if depth == 2 { "crash points" } else { "crash points in recovery" }, 1);
            let deeper = depth > 0 && n == chosen && chance.u8(0..16) == 0;
            let opening = if deeper { self.opening(&left) } else { Vec::new() };
            let lost = lost || outcome.is_some();
            self.check(book, truth, &left, (shot.at, lost), &case);
            let mut known = Known::new();
            for next in opening {
                self.crash(book, truth, &Shot { at: shot.at, ..next }, &mut known, lost, depth - 1);
            }
        }
    }

    /// What a crash may leave, where that is not known yet: the un-synced data lost, kept, kept in part in so many
    /// ways, or left in the page cache.
    fn outcomes(&self, shot: &Shot, parts: usize, known: &mut Known) -> Vec<(Option<Power>, SimDisk)> {
        let mut outcomes: Vec<Option<Power>> = vec![Some(Power::Nothing), Some(Power::Everything)];
        let mut chance = self.chance("what survives", shot.call);
        outcomes.extend((0..parts).map(|_| Some(Power::Some(chance.u64(..)))));
        if !shot.disk.is_saved() {
            outcomes.push(None);
        }
        let outcomes = outcomes.into_iter().filter_map(|outcome| {
            let (left, decided) = match outcome {
                Some(power) => shot.disk.without_power(power),
                None => (shot.disk.killed(), None),
            };
            known.insert((shot.call, outcome.is_some(), decided)).then_some((outcome, left))
        });
        outcomes.collect()
    }

    /// The calls of the recovery.
    fn opening(&mut self, left: &SimDisk) -> Vec<Shot> {
        let left = left.killed();
        left.film(Arc::default());
        self.runtime.block_on(async {
            let opened = world::open(&left, &self.workload.settings, &self.registry);
            let filmed = left.cut();
            drop(opened);
            filmed
        })
    }

    fn check(&mut self, book: &Book, truth: &Truth, left: &SimDisk, how: (Instant, bool), case: &str) {
        self.check_with(book, truth, left, how, &Cost::default(), case);
    }

    fn check_with(
        &mut self,
        book: &Book,
        truth: &Truth,
        left: &SimDisk,
        (at, power): (Instant, bool),
        cost: &Cost,
        case: &str,
    ) {
        let settings = self.workload.settings.clone();
        fastrand::seed(self.seed);
        let trouble = left.trouble();
        let crash = Crash { settings: &settings, registry: &self.registry, book, truth, trouble, at, power, cost };
        let checked = catch_unwind(AssertUnwindSafe(|| self.runtime.block_on(crash.check(left))));
        let told = checked.unwrap_or_else(|panic| Err(panic_text(&*panic)));
        if let Err(what) = told {
            if self.tells && self.tally.failures.is_empty() {
                println!("{}", lines(&book.pages().events));
            }
            self.failed(&what, case);
        }
    }

    /// Bits that flip in a channel that was stopped.
    fn rot(&mut self, book: &Book, truth: &Truth, stopped: &SimDisk) {
        // Without a drain no slot tells of the log's end: what rots there is taken for a tail that was cut off.
        if truth.drains.is_empty() {
            return;
        }
        // Also of what was appended and not answered.
        let tail = self.runtime.block_on(async {
            let opened = world::open(&stopped.killed(), &self.workload.settings, &self.registry);
            opened.map(|(channel, _)| channel.snapshot().tail)
        });
        let Ok(tail) = tail else { return self.failed("promise 1: no start after a stop", "without a crash") };
        for flip in 0..FLIPS.div_ceil(self.thin.0) {
            let left = stopped.killed();
            let mut chance = self.chance("rot", flip);
            let rot::Flip { path, at, cost } = rot::any(&left, tail, &mut chance);
            let bit = chance.u8(0..8);
            let addressed = |lost: &u64| truth.at.get(lost).is_none_or(|span| truth.sent[span].is_some());
            if at < rot::HEAD && cost.lost.iter().any(addressed) {
                // DURABILITY.md, frame: how many of a lost segment were addressed, and to whom, may be a guess.
                continue;
            }
            left.flip_bit(&path, at, bit);
            self.tally.add("flipped bits", 1);
            let case = format!("bit {bit} of byte {at} of {} flipped, which costs {cost:?}", path.display());
            self.check_with(book, truth, &left, (Instant::now(), false), &cost, &case);
        }
    }

    /// The workload again, with each kind of fault at some calls each, for one call or several: of those that change
    /// something, or of the `looks` that change nothing.
    fn faults(&mut self, calls: u64, looks: u64) {
        for call in 1..=calls {
            if !self.is_due() {
                continue;
            }
            let mut chance = self.chance("a fault", call);
            let many = chance.choice([1, 1, 2, 5]).unwrap();
            if chance.usize(0..=FAULTS.len()) == FAULTS.len() {
                let look = chance.u64(1..=looks);
                let case = format!("no read, open or list {look}..{}", look + many);
                let films = [(); 2].map(|()| chance.u64(1..=calls));
                self.fault(&films, |disk| disk.fail_looks_in(look..look + many), &case);
                continue;
            }
            let fault = *chance.choice(&FAULTS).unwrap();
            let case = format!("{fault:?} at calls {call}..{}", call + many);
            let films = [8, 100].map(|within| call + chance.u64(1..within));
            self.fault(&films, |disk| disk.fault_in(call..call + many, fault), &case);
        }
    }

    /// With what is set; these calls are crashes where they come after it was met, and the end.
    fn fault(&mut self, films: &[u64], set: impl Fn(&SimDisk), case: &str) {
        let (disk, book) = (self.disk(), Book::default());
        set(&disk);
        disk.film_at(films, book.1.clone());
        fastrand::seed(self.seed);
        let mut world = World::new(disk, self.workload.settings.clone(), book.clone());
        world.faulty = true;
        let ran = catch_unwind(AssertUnwindSafe(|| {
            self.runtime.block_on(async {
                world.start().await;
                world.run(&self.workload.steps).await;
            });
        }));
        if let Err(panic) = ran {
            return self.failed(&panic_text(&*panic), case);
        }
        let broken = std::mem::take(&mut book.pages().broken);
        if self.tells && !broken.is_empty() {
            println!("{}", lines(&book.pages().events));
        }
        broken.iter().for_each(|what| self.failed(what, case));
        let mut shots = std::mem::take(&mut world.shots);
        shots.extend(world.disk.cut());
        let goes_on = catch_unwind(AssertUnwindSafe(|| self.runtime.block_on(world.goes_on())));
        if let Err(what) = goes_on.unwrap_or_else(|panic| Err(panic_text(&*panic))) {
            self.failed(&format!("{what}\n    in the process that met the fault"), case);
        }
        drop(world);
        shots.retain(|shot| !shot.disk.trouble().hits.is_empty());
        self.tally.add("fault points", u64::from(!shots.is_empty()));
        self.crashes_after(case, &book, &shots);
    }

    fn crashes_after(&mut self, case: &str, book: &Book, shots: &[Shot]) {
        let events = book.pages().events.clone();
        let mut known = Known::new();
        for shot in shots {
            let truth = Truth::after(&events, shot.mark as usize);
            for (outcome, left) in self.outcomes(shot, 1, &mut known) {
                self.tally.add("crash points after a fault", 1);
                let case = format!("{case}, then a crash at call {}, un-synced: {outcome:?}", shot.call);
                self.check(book, &truth, &left, (shot.at, outcome.is_some()), &case);
            }
        }
    }
}
