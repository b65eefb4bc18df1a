//! The drains of a process: begun, handed over to other settings, given other sinks; a guest that is taken in and let
//! go.
//!
//! In the steps of `gateway::crew` and `gateway::reload`, which no simulation reaches, with the same calls below them.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use spangate::archive::target::{Connect, Remote};
use spangate::archive::{self, Archive, Prepared, Target, Template};
use spangate::channel::{Account, Start, Takes, Tap};
use spangate::drain::{Drain, Parts, Roster, Seat, Terms};
use spangate::sink::Sink;
use spangate::tasks::{Part, blocking};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use super::Plant;
use super::change::Change;
use super::collectors::Collector;
use super::life::{DATA, Life, OBJECTS, beside};
use super::script::GUEST;

const ARCHIVE: &str = "archive";
/// Feeds that are there from the start; the guest's is behind them.
const RESIDENTS: usize = 2;
/// What is under way may last so long when all stops.
const GRACE: Duration = Duration::from_secs(15);
/// Between two tries of a reload that was refused.
const AGAIN: Duration = Duration::from_secs(3);

type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is known of the guest by those who configure it.
#[derive(Default)]
pub struct Guest {
    /// It takes what is accepted from here on.
    pub from: Option<u64>,
    /// And nothing from here on.
    pub until: Option<u64>,
    /// Its account then.
    pub account: Option<Account>,
    /// It is being forgotten: after a crash it is there or not.
    going: bool,
    gone: bool,
}

impl Life {
    fn guest(&self) -> MutexGuard<'_, Guest> {
        self.outside.guest.lock().unwrap()
    }

    fn tap(&self, drain: &str) -> Tap {
        self.channel.tap(drain, Start::Oldest, Takes::Common).expect("the drain is attached")
    }

    /// Lets all run that are configured now.
    pub fn begin(self: &Arc<Self>) {
        for feed in 0..RESIDENTS {
            let tap = self.tap(&self.hour.script.feeds[feed].settings.name);
            let (run, part) = (self.feed(feed), self.tasks.part());
            self.running.lock().unwrap().insert(feed, part.clone());
            self.tasks.vital_part("drain", part.clone(), run(tap, part));
        }
        let (prepared, part) = (self.prepared(), self.tasks.part());
        self.running.lock().unwrap().insert(usize::MAX, part.clone());
        let archive = prepared.archive(&self.channel, self.tap(ARCHIVE), &self.registry);
        self.tasks.vital_part("archive", part.clone(), archive.run(part, GRACE));
        let world = &self.outside.world;
        beside(&self.around, world, "guest", self.clone().welcome());
        beside(&self.around, world, "changes", self.clone().changes());
    }

    /// Changes what the script says, from now on.
    async fn changes(self: Arc<Self>) {
        let (world, now) = (&self.outside.world, self.outside.world.now());
        for (number, (at, change)) in (2_000..).zip(&self.hour.script.changes) {
            if *at < now {
                continue;
            }
            sleep_until(world.moment(*at)).await;
            if self.tasks.stopping().is_cancelled() {
                return;
            }
            world.tell("change", number, || format!("{change:?}"));
            match change {
                Change::Drain(feed, _) => self.hand_over(*feed),
                Change::Archive(_) => self.hand_over_archive(),
                Change::Addresses(feed, _) => self.say(*feed),
                Change::GuestComes => beside(&self.around, world, "guest", self.clone().take_in()),
                Change::GuestGoes => beside(&self.around, world, "guest", self.clone().let_go()),
            }
        }
    }

    /// The drain of a feed, as it is configured now.
    fn feed(self: &Arc<Self>, feed: usize) -> impl FnOnce(Tap, Part) -> Run + Send + use<> {
        let (life, now) = (self.clone(), self.outside.world.now());
        let (names, roster) = Roster::new(self.seats(feed));
        self.names.lock().unwrap().insert(feed, names);
        move |tap, part| {
            let plan = &life.hour.script.feeds[feed];
            let tuning = life.hour.script.tuning(feed, now);
            let (world, group) = (&life.outside.world, &life.outside.groups[feed]);
            group.at_most(tuning.rate_max.map(|rate| if world.is_planted(Plant::TooFast) { rate / 4 } else { rate }));
            let parts = Parts {
                settings: tuning.of(&plan.settings),
                tap,
                sinks: roster,
                letters: life.letters.clone(),
                clock: life.clock.clone(),
                kept_in: watch::Sender::new(None).subscribe(),
            };
            Box::pin(Drain::new(parts, &life.registry).run(part, GRACE))
        }
    }

    /// Those collectors that the name of a group has now.
    fn seats(&self, feed: usize) -> Vec<Seat> {
        let addresses = self.hour.script.addresses(feed, self.outside.world.now());
        let here = self.outside.collectors[feed].iter().filter(|sink| addresses >> sink.number & 1 == 1);
        let seat = |sink: &Arc<Collector>| {
            let (weight, priority) = (1 + sink.number as u32, 1 + sink.number as u32 % 2);
            Seat { sink: sink.clone() as Arc<dyn Sink>, terms: Terms { weight, priority, ..Terms::default() } }
        };
        here.map(seat).collect()
    }

    /// Says which sinks a group has.
    fn say(&self, feed: usize) {
        let seats = self.seats(feed);
        self.outside.world.count("names that changed", 1);
        // A drain that waits to take over says them when it begins.
        self.names.lock().unwrap()[&feed].send_replace(seats);
    }

    fn hand_over(self: &Arc<Self>, feed: usize) {
        self.outside.world.count("drains handed over", 1);
        let (life, run, part) = (self.clone(), self.feed(feed), self.tasks.part());
        let old = self.running.lock().unwrap().insert(feed, part.clone()).expect("it runs");
        old.ending().cancel();
        self.tasks.vital_part("drain", part.clone(), async move {
            old.ended().await;
            if !part.ending().is_cancelled() {
                let tap = life.tap(&life.hour.script.feeds[feed].settings.name);
                run(tap, part).await;
            }
        });
    }

    fn hand_over_archive(self: &Arc<Self>) {
        self.outside.world.count("archives handed over", 1);
        let (life, prepared, part) = (self.clone(), self.prepared(), self.tasks.part());
        let old = self.running.lock().unwrap().insert(usize::MAX, part.clone()).expect("it runs");
        old.ending().cancel();
        self.tasks.vital_part("archive", part.clone(), async move {
            old.ended().await;
            if !part.ending().is_cancelled() {
                let archive = prepared.archive(&life.channel, life.tap(ARCHIVE), &life.registry);
                archive.run(part, GRACE).await;
            }
        });
    }

    /// The archive as it is configured now.
    fn prepared(&self) -> Prepared {
        let (objects, making) = (&self.hour.script.objects, self.hour.script.making(self.outside.world.now()));
        let target = match &self.outside.bucket {
            None => Target::Local { dir: OBJECTS.into() },
            Some(_) => Target::Remote(Remote::parse("s3://simulated").expect("a bucket")),
        };
        let settings = archive::Settings {
            name: ARCHIVE.into(),
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
            format: making.format,
            path: Template::parse(making.path).expect("a template"),
            roll_bytes: making.roll_bytes,
            roll_age: Duration::from_secs(60),
            roll_idle: making.roll_idle,
            free_min_bytes: Some(1 << 20),
        };
        let disk = self.disk.disk();
        match &self.outside.bucket {
            None => Archive::prepare(settings, disk).expect("a store"),
            Some(bucket) => {
                let staging =
                    archive::store::Staging::new(disk.clone(), PathBuf::from(DATA), "staging/archive", Some(1 << 20));
                Archive::over(settings, disk, bucket.store(staging))
            }
        }
    }
}

/// The guest.
impl Life {
    /// As a start does: lets it run if it is configured, or is there and something waits for it.
    async fn welcome(self: Arc<Self>) {
        let world = &self.outside.world;
        let is_configured = self.hour.script.has_guest(world.now());
        let there = self.channel.snapshot().accounts.into_iter().find(|account| account.drain == GUEST);
        {
            let mut guest = self.guest();
            match &there {
                // What it was let go with is void: it is as it was.
                Some(account) => {
                    guest.from.get_or_insert(account.low);
                    (guest.until, guest.account, guest.going) = (None, None, false);
                }
                None if guest.from.is_some() && !guest.gone => {
                    world.holds(guest.going, || "promise 2: a drain that had begun is not there any more".into());
                    guest.gone = true;
                }
                None => {}
            }
        }
        match (is_configured, there.is_some()) {
            (true, _) => self.take_in().await,
            (false, true) => {
                self.clone().take_in().await;
                self.let_go().await;
            }
            (false, false) => {}
        }
    }

    async fn take_in(self: Arc<Self>) {
        let tap = loop {
            let channel = self.channel.clone();
            match blocking(move || (channel.tap(GUEST, Start::End, Takes::Common), channel.snapshot())).await {
                (Ok(tap), now) => {
                    let account = now.accounts.into_iter().find(|account| account.drain == GUEST);
                    self.guest().from.get_or_insert(account.expect("it was just attached").low);
                    break tap;
                }
                // A reload that fails changes nothing.
                (Err(_), _) => sleep(AGAIN).await,
            }
        };
        if self.tasks.stopping().is_cancelled() {
            return;
        }
        self.outside.world.count("drains added", 1);
        let (run, part) = (self.feed(RESIDENTS), self.tasks.part());
        self.running.lock().unwrap().insert(RESIDENTS, part.clone());
        self.tasks.vital_part("drain", part.clone(), run(tap, part));
    }

    /// Lets it go in a moment in which nothing waits for it, and forgets it.
    async fn let_go(self: Arc<Self>) {
        let going = [GUEST.to_owned()];
        let is_early = self.outside.world.is_planted(Plant::LetGoEarly);
        while self.running.lock().unwrap().get(&RESIDENTS).is_none()
            || (!is_early && self.channel.release(&going).is_err())
        {
            sleep(AGAIN).await;
        }
        let now = self.channel.snapshot();
        {
            let mut guest = self.guest();
            guest.account = now.accounts.into_iter().find(|account| account.drain == GUEST);
            (guest.until, guest.going) = (Some(now.tail), true);
        }
        let old = self.running.lock().unwrap().remove(&RESIDENTS).expect("it runs");
        old.ending().cancel();
        old.ended().await;
        loop {
            let channel = self.channel.clone();
            match blocking(move || channel.forget(GUEST)).await {
                Ok(_) => break,
                Err(_) => sleep(AGAIN).await,
            }
        }
        self.guest().gone = true;
        self.outside.world.count("drains retired", 1);
    }
}
