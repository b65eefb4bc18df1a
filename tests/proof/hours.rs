//! Delivery simulated: gateway-hours of virtual time, in which nearly everything goes wrong, by seed.
//!
//! The real channel, drains, groups, judge, dead letters and archive run on one thread under paused time
//! (`tasks::simulate`), on a simulated disk, with simulated collectors and a simulated store. A [`script`] made of the
//! seed says what comes when; a process ([`life`]) runs until the next crash, or the hour's end; what is outside of it
//! lives on. The [`oracle`] are the promises of DURABILITY.md. `SOAK_STORY=1` tells the story of each hour.

mod bucket;
mod change;
mod collectors;
mod crew;
mod life;
mod oracle;
mod rest;
mod rot;
mod script;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use spangate::tasks;

use self::bucket::Bucket;
use self::collectors::{Collector, Group};
use self::crew::Guest;
use self::life::{End, live};
use self::script::{GUEST, Script};
use self::world::World;
use super::{Budget, Tally};
use crate::support::disk::SimDisk;

/// What an hour carries, or it is none.
const BATCHES_MIN: u64 = 300;
/// Those that a collector took and said so; one that is tried again is one.
const DELIVERED: &str = "batches delivered";
const SPANS_MIN: u64 = 3_000;
const FAULTS_MIN: u64 = 6;
const KINDS_MIN: u64 = 3;

/// What is made wrong on purpose: whoever judges an hour has to see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plant {
    /// A collector says that it took what it did not take.
    TakenByNobody,
    /// A batch that was answered is there again.
    SentAgain,
    /// Collectors that are well are sent nothing any more.
    StandingStill,
    /// The store says that an object stands, and none does.
    PublishedNowhere,
    /// An object stands under two names.
    PublishedTwice,
    /// After a crash the disk is as it was a while before it.
    DiskOfBefore,
    /// After a crash the cursors are as they were seconds before it.
    CursorsOfBefore,
    /// Rot that nobody knows of.
    RotUntold,
    /// A drain is taken out of the configuration while spans wait for it.
    LetGoEarly,
    /// A drain sends at four times its rate.
    TooFast,
}

/// An hour that is gone through.
pub struct Hour {
    script: Script,
}

/// What outlives the gateway's process.
#[derive(Clone)]
pub struct Outside {
    world: Arc<World>,
    groups: Vec<Arc<Group>>,
    /// By group.
    collectors: Vec<Vec<Arc<Collector>>>,
    bucket: Option<Arc<Bucket>>,
    guest: Arc<Mutex<Guest>>,
}

/// What the story of this seed comes to: the same number each time.
pub fn digest(seed: u64) -> u64 {
    alone(move || hour(seed, false, None).digest())
}

/// What is said of an hour in which something is wrong.
pub fn planted(seed: u64, plant: Plant) -> Option<String> {
    alone(move || hour(seed, false, Some(plant)).broken())
}

/// A thread is simulated for as long as it lives.
fn alone<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(work).join().expect("no panic")
}

/// Simulates an hour a try.
pub fn hours(budget: Budget) -> Tally {
    let tells = std::env::var_os("SOAK_STORY").is_some();
    alone(move || {
        let mut tally = Tally::default();
        for seed in budget.seeds() {
            let again = format!("cargo test --release --test soak -- hours --seed {seed} --tries 1");
            match catch_unwind(AssertUnwindSafe(|| hour(seed, tells, None))) {
                Ok(world) => count(&mut tally, &world, &again),
                Err(_) => tally.failed(format!("hours, seed {seed}: a panic, see above"), &again),
            }
        }
        tally
    })
}

fn count(tally: &mut Tally, world: &World, again: &str) {
    let (batches, acked, (faults, kinds)) = (world.counted(DELIVERED), world.acknowledged(), world.faults());
    if let Some(broken) = world.broken() {
        return tally.failed(broken, again);
    }
    let whole = batches >= BATCHES_MIN && acked >= SPANS_MIN && faults >= FAULTS_MIN && kinds >= KINDS_MIN;
    if !whole || world.counted("restarts") == 0 {
        let what = format!("{batches} batches delivered, {acked} spans, {faults} faults of {kinds} kinds");
        return tally.failed(format!("the script is too thin for a gateway-hour: {what}"), again);
    }
    tally.add("gateway-hours", 1);
    tally.add("hours: spans acknowledged", acked);
    tally.add("hours: faults met", faults);
    for (what, count) in world.counts() {
        tally.add(&format!("hours: {what}"), count);
    }
}

/// Goes through the hour of this seed; what is told of it says whether it ended well.
fn hour(seed: u64, tells: bool, plant: Option<Plant>) -> Arc<World> {
    let mut rng = fastrand::Rng::with_seed(seed);
    // A disk that is slow now and then, though not so slow that a cursor would be late.
    tasks::simulate_at(move || Duration::from_millis(if rng.u8(..8) == 0 { rng.u64(1..9) } else { rng.u64(..2) }));
    fastrand::seed(seed);
    let hour = Arc::new(Hour { script: Script::new(seed) });
    let outside = Outside::new(&hour.script, tells, plant);
    let world = outside.world.clone();
    world.tell("hour", seed, || format!("{:#?}", hour.script));
    let (mut disk, mut end) = (SimDisk::new(), None);
    while world.broken().is_none() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime of one thread");
        let ended = runtime.block_on(async {
            world.begin();
            let ended = live(hour.clone(), outside.clone(), disk.clone(), end.take()).await;
            world.end();
            ended
        });
        // What was under way is cut off at this very moment.
        drop(runtime);
        match &ended {
            End::Stopped(accounts) => {
                oracle::ended(&hour, &outside, &disk, accounts);
                break;
            }
            End::Crashed { disk: left, .. } => disk = left.clone(),
        }
        world.pass(Duration::from_millis(fastrand::u64(1..20_000)));
        end = Some(ended);
    }
    world
}

impl Outside {
    fn new(script: &Script, tells: bool, plant: Option<Plant>) -> Outside {
        let world = World::new(script.bad, tells, plant);
        let (groups, collectors, guest) = (Vec::new(), Vec::new(), Arc::default());
        let mut outside = Outside { groups, collectors, bucket: None, guest, world };
        let world = &outside.world;
        for (feed, name) in script.feeds.iter().zip(["zipkin", "second", GUEST]) {
            let scattered = feed.tuning.policy == spangate::drain::Policy::ByTrace;
            let group = Group::new(name, scattered, world);
            let collector =
                |(n, windows): (u64, &Vec<_>)| Collector::new(n, windows.clone(), &group, script.seed ^ (n << 8));
            outside.collectors.push((0..).zip(&feed.sinks).map(collector).collect());
            outside.groups.push(group);
        }
        outside.bucket = script.bucket.clone().map(|windows| Bucket::new(world, windows, script.seed));
        outside
    }
}
