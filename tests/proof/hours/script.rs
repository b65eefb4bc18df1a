//! What happens in an hour, all of it made of its seed before it begins.

use std::time::Duration;

use fastrand::Rng;
use spangate::channel::Sync;
use spangate::drain::{BatchSettings, MassRefusal, Overflow, Settings, Sieve, sieve};

use super::change::{Change, Making, Tuning, changes};
use super::world::{Bad, Made, SERVICES};
use super::{bucket, collectors};
use crate::proof::crash::FAULTS;
use crate::support::disk::Fault;

/// Nothing goes wrong from here on, and what waits has to go.
pub const CALM: Duration = Duration::from_secs(47 * 60);
/// The last span that is not sound.
pub const SOUND: Duration = Duration::from_secs(54 * 60);
/// The last message.
const LAST: Duration = Duration::from_secs(57 * 60);
pub const HOUR: Duration = Duration::from_secs(60 * 60);

/// A drain that is configured for a part of the hour.
pub const GUEST: &str = "guest";

/// Sent by a tracer.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    pub at: Duration,
    pub spans: u64,
    pub entries: u64,
    pub listener: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DiskFault {
    /// The next calls that change something fail so, as many as this.
    Calls(Fault, u64),
    /// Nothing that makes a file longer finds room for a while, and who asks is told that nothing is free.
    Full(Duration),
    /// The same, and who asks is told of room: a quota, or another that takes each byte first.
    Quota(Duration),
    /// Nothing can be read for a while.
    Unreadable(Duration),
    /// After so many others, so many reads, opens and lists fail with EIO.
    Looks(u64, u64),
    /// A bit of a frame that stands in a full segment flips: by this seed.
    Rot(u64),
}

impl DiskFault {
    pub fn kind(self) -> &'static str {
        match self {
            DiskFault::Calls(Fault::Evict, _) => "disk EIO and lost pages",
            DiskFault::Calls(Fault::Short | Fault::ShortOfSpace | Fault::ShortOfQuota, _) => "short write",
            DiskFault::Calls(Fault::NoSpace | Fault::Quota, _) => "disk ENOSPC",
            DiskFault::Calls(Fault::ReadOnly, _) => "disk EROFS",
            DiskFault::Calls(Fault::Fail | Fault::Off, _) => "disk EIO",
            DiskFault::Full(_) | DiskFault::Quota(_) => "disk full",
            DiskFault::Unreadable(_) => "disk unreadable",
            DiskFault::Looks(..) => "disk EIO on read",
            DiskFault::Rot(_) => "bit rot",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Crash {
    /// The process is killed.
    Killed,
    /// The machine is lost, and with it what was not synced: by this seed.
    Power(u64),
    /// The machine goes off at the disk call so many from now.
    AtCall(u64, u64),
    /// None: the process is told to stop, and starts again.
    Restart,
}

/// What a drain takes.
#[derive(Debug, Clone, Copy)]
pub struct Taste {
    rate: f32,
    listener: Option<&'static str>,
    service: Option<usize>,
}

impl Taste {
    const ALL: Taste = Taste { rate: 1.0, listener: None, service: None };

    fn some(rng: &mut Rng) -> Taste {
        Taste {
            rate: if rng.bool() { rng.f32() } else { 1.0 },
            listener: (rng.u8(..4) == 0).then_some("http"),
            service: (rng.u8(..4) == 0).then(|| rng.usize(..SERVICES.len())),
        }
    }

    pub fn sieve(self) -> Sieve {
        let filter = sieve::Filter {
            listeners: self.listener.iter().map(|name| (*name).to_owned()).collect(),
            services: self.service.iter().map(|service| SERVICES[*service].to_owned()).collect(),
            ..sieve::Filter::default()
        };
        Sieve::new(filter, self.rate)
    }

    /// Zipkin's rule, and the filters, as a person would say them.
    pub fn takes(self, made: &Made) -> bool {
        let passes = self.listener.is_none_or(|listener| made.listener == listener)
            && self.service.is_none_or(|service| made.service == service);
        let sampled = (made.key as i64).checked_abs().unwrap_or(i64::MAX) <= (i64::MAX as f32 * self.rate) as i64;
        passes && (made.debug || sampled)
    }
}

/// One drain to a group.
#[derive(Debug, Clone)]
pub struct Feed {
    /// But for the tuning.
    pub settings: Settings,
    pub tuning: Tuning,
    pub sinks: Vec<Vec<collectors::Window>>,
    pub taste: Taste,
}

/// What is archived, and how at first.
#[derive(Debug, Clone)]
pub struct Objects {
    pub taste: Taste,
    pub making: Making,
}

impl Feed {
    /// Whether spans may be given up.
    pub fn gives_up(&self) -> bool {
        self.settings.max_age.is_some() || self.settings.overflow == Overflow::Skip
    }
}

#[derive(Debug)]
pub struct Script {
    pub seed: u64,
    pub bad: Bad,
    /// The last one is the guest's.
    pub feeds: Vec<Feed>,
    pub changes: Vec<(Duration, Change)>,
    pub messages: Vec<Message>,
    pub disk: Vec<(Duration, DiskFault)>,
    pub crashes: Vec<(Duration, Crash)>,
    /// An object store, or a directory.
    pub bucket: Option<Vec<bucket::Window>>,
    pub objects: Objects,
    pub capacity_bytes: u64,
    pub cache_bytes: usize,
    pub sync: Sync,
}

pub fn seconds(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range.start * 1_000..range.end * 1_000))
}

impl Script {
    pub fn new(seed: u64) -> Script {
        let rng = &mut Rng::with_seed(seed);
        let crashes = crashes(rng);
        let mut faults = 0;
        let names = [("zipkin", 3), ("second", rng.usize(2..4)), (GUEST, 2)];
        let feeds = names.map(|(name, sinks)| feed(name, sinks, rng, &mut faults)).to_vec();
        let bucket = (rng.u8(..5) < 3).then(|| store(rng, &mut faults));
        let objects =
            Objects { taste: if rng.u8(..4) == 0 { Taste::some(rng) } else { Taste::ALL }, making: Making::some(rng) };
        // The guest comes and goes, and is left alone meanwhile.
        let residents: Vec<_> = feeds.iter().take(2).map(|feed| (feed.tuning, feed.sinks.len())).collect();
        // What is answered before its sync does not outlive the machine: then only the process dies.
        let killed = crashes.iter().all(|(_, crash)| matches!(crash, Crash::Killed | Crash::Restart));
        let sync = if killed && rng.bool() { Sync::Every(Duration::from_millis(200)) } else { Sync::Always };
        Script {
            seed,
            bad: Bad { refused_every: rng.u64(90..1_000), breaks_every: rng.u64(200..2_000), until: u64::MAX },
            changes: changes(&residents, rng),
            feeds,
            messages: messages(rng, &crashes),
            disk: disk(rng),
            crashes,
            bucket,
            objects,
            capacity_bytes: [1 << 19, 1 << 20, 1 << 22][rng.usize(..3)],
            cache_bytes: [0, 1 << 14, 1 << 20][rng.usize(..3)],
            sync,
        }
    }
}

fn crashes(rng: &mut Rng) -> Vec<(Duration, Crash)> {
    let mut crashes = Vec::new();
    let mut at = seconds(rng, 300..1_800);
    while at < CALM {
        let crash = match rng.u8(..5) {
            0 => Crash::Killed,
            1 => Crash::Power(rng.u64(..)),
            // The first is a crash.
            2 if !crashes.is_empty() => Crash::Restart,
            _ => Crash::AtCall(rng.u64(1..60), rng.u64(..)),
        };
        crashes.push((at, crash));
        at += seconds(rng, 300..3_000);
    }
    crashes
}

fn feed(name: &str, sinks: usize, rng: &mut Rng, faults: &mut u64) -> Feed {
    let plain = name != "second";
    let tuning = Tuning::some(rng);
    let taste = if plain { Taste::ALL } else { Taste::some(rng) };
    let settings = Settings {
        name: name.into(),
        policy: tuning.policy,
        sieve: taste.sieve(),
        max_age: (!plain && rng.u8(..4) == 0).then(|| seconds(rng, 30..300)),
        overflow: if !plain && rng.bool() { Overflow::Skip } else { Overflow::Block },
        batch: BatchSettings { spans: 500, bytes: 4 << 20, linger: Duration::from_millis(20) },
        in_flight_max: 4,
        rate_max: None,
        backlog_rate: None,
        backoff_min: Duration::from_millis(200),
        backoff_max: Duration::from_secs(30),
        mass_refusal: MassRefusal::Hold,
    };
    let mut sinks: Vec<Vec<_>> = (0..sinks).map(|_| moods(rng, faults)).collect();
    refuses_all(&mut sinks, rng, faults);
    Feed { settings, tuning, sinks, taste }
}

fn moods(rng: &mut Rng, faults: &mut u64) -> Vec<collectors::Window> {
    use collectors::Mood;
    let mut windows = Vec::new();
    let mut from = seconds(rng, 30..300);
    while from < CALM {
        let mood = match rng.u8(..12) {
            0 => Mood::Refuses,
            1 => Mood::Resets,
            2 => Mood::Hangs,
            3 => Mood::Fails500,
            4 => Mood::Busy503,
            5 => Mood::Busy429,
            6 => Mood::Small(rng.usize(60..4_000)),
            7 => Mood::Unauthorized401,
            8 => Mood::NotFound404,
            9 => Mood::LosesReplies,
            10 => Mood::Closes,
            _ => Mood::Slow,
        };
        *faults += 1;
        let until = (from + seconds(rng, 5..150)).min(CALM);
        windows.push(collectors::Window { number: *faults, from, until, mood });
        from = until + seconds(rng, 20..400);
    }
    windows
}

/// One collector of a group, once, answers 400 to everything for a while. Two at a time would be two opinions.
fn refuses_all(sinks: &mut [Vec<collectors::Window>], rng: &mut Rng, faults: &mut u64) {
    let sink = rng.usize(..sinks.len());
    let windows = &mut sinks[sink];
    if !windows.is_empty() && rng.bool() {
        let window = rng.usize(..windows.len());
        *faults += 1;
        windows[window].number = *faults;
        windows[window].mood = collectors::Mood::Refuses400;
    }
}

fn store(rng: &mut Rng, faults: &mut u64) -> Vec<bucket::Window> {
    use bucket::Mood;
    let mut windows = Vec::new();
    let mut from = seconds(rng, 30..400);
    while from < CALM {
        let moods = [Mood::Throttles, Mood::LosesReplies, Mood::Hangs, Mood::Breaks, Mood::Slow];
        let mood = moods[rng.usize(..moods.len())];
        *faults += 1;
        let until = (from + seconds(rng, 10..200)).min(CALM);
        windows.push(bucket::Window { number: *faults, from, until, mood });
        from = until + seconds(rng, 60..500);
    }
    windows
}

fn disk(rng: &mut Rng) -> Vec<(Duration, DiskFault)> {
    let mut faults = Vec::new();
    let mut at = seconds(rng, 60..900);
    while at + Duration::from_secs(60) < CALM {
        let many = [1, 1, 2, 5][rng.usize(..4)];
        let fault = match rng.u8(..9) {
            0 => DiskFault::Full(seconds(rng, 2..40)),
            1 => DiskFault::Quota(seconds(rng, 2..40)),
            2 => DiskFault::Unreadable(seconds(rng, 1..10)),
            3 => DiskFault::Looks(rng.u64(..20), many),
            4 => DiskFault::Rot(rng.u64(..)),
            _ => DiskFault::Calls(FAULTS[rng.usize(..FAULTS.len())], many),
        };
        faults.push((at, fault));
        at += seconds(rng, 60..900);
    }
    faults
}

/// Some every few seconds, storms now and then, and one around each crash.
fn messages(rng: &mut Rng, crashes: &[(Duration, Crash)]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut at = seconds(rng, 1..5);
    while at < LAST {
        messages.push(message(at, rng));
        at += seconds(rng, 1..18);
    }
    let storms = (0..rng.u32(2..7)).map(|_| seconds(rng, 60..2_800)).collect::<Vec<_>>();
    for storm in storms.into_iter().chain(crashes.iter().map(|(at, _)| *at)) {
        let begin = storm.saturating_sub(seconds(rng, 0..3));
        for _ in 0..rng.u32(5..40) {
            let at = begin + Duration::from_millis(rng.u64(..4_000));
            messages.push(message(at, rng));
        }
    }
    messages.sort_by_key(|message| message.at);
    messages
}

fn message(at: Duration, rng: &mut Rng) -> Message {
    let entries = if rng.u8(..20) == 0 { rng.u64(1..3) } else { 0 };
    let listener = if rng.bool() { "http" } else { "scribe" };
    Message { at, spans: rng.u64(1..21), entries, listener }
}
