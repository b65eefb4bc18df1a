//! What is changed while the gateway runs: settings by a reload, the addresses of a name, a drain that comes for a
//! while.

use std::time::Duration;

use fastrand::Rng;
use spangate::archive::Format;
use spangate::drain::{BatchSettings, Policy, Settings};

use super::script::{CALM, Script, seconds};

const POLICIES: [Policy; 6] =
    [Policy::RoundRobin, Policy::Random, Policy::Weighted, Policy::LeastLoaded, Policy::Failover, Policy::ByTrace];
/// Directories by time, by what is known of a span.
const PATHS: [&str; 4] = ["", "%Y-%m-%d/%H", "{service}", "%H/{listener}/{service}"];

#[derive(Debug, Clone)]
pub enum Change {
    /// A reload: the drain of this feed has other settings, and is handed over.
    Drain(usize, Tuning),
    /// The name behind a group has other addresses: a bit for each of its collectors.
    Addresses(usize, u8),
    /// A reload: objects are made in another way, and the archive is handed over.
    Archive(Making),
    /// A reload: the guest is configured.
    GuestComes,
    /// A reload: it is not any more, as soon as nothing waits for it.
    GuestGoes,
}

/// What a reload may change of a drain, and no promise depends on.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    pub policy: Policy,
    batch: BatchSettings,
    in_flight_max: usize,
    pub rate_max: Option<u64>,
    backlog_rate: Option<u64>,
}

impl Tuning {
    pub fn some(rng: &mut Rng) -> Tuning {
        let policy = POLICIES[rng.usize(..POLICIES.len())];
        let linger = Duration::from_millis(if rng.bool() { 20 } else { rng.u64(1..2_000) });
        let bytes = if rng.u8(..4) == 0 { rng.usize(200..5_000) } else { 4 << 20 };
        Tuning {
            policy,
            batch: BatchSettings { spans: rng.u32(20..500), bytes, linger },
            in_flight_max: rng.usize(1..5),
            // More than comes on average.
            rate_max: (rng.u8(..4) == 0).then(|| rng.u64(20..300)),
            backlog_rate: (rng.u8(..4) == 0).then(|| rng.u64(20..300)),
        }
    }

    /// Another one. Whether neighbours go to different sinks stays: it says how much a crash may repeat.
    fn other(self, rng: &mut Rng) -> Tuning {
        let mut other = Tuning::some(rng);
        while (other.policy == Policy::ByTrace) != (self.policy == Policy::ByTrace) {
            other = Tuning::some(rng);
        }
        other
    }

    pub fn of(self, settings: &Settings) -> Settings {
        let Tuning { policy, batch, in_flight_max, rate_max, backlog_rate } = self;
        Settings { policy, batch, in_flight_max, rate_max, backlog_rate, ..settings.clone() }
    }
}

/// How objects are made.
#[derive(Debug, Clone)]
pub struct Making {
    pub format: Format,
    pub path: &'static str,
    pub roll_bytes: u64,
    pub roll_idle: Duration,
}

impl Making {
    pub fn some(rng: &mut Rng) -> Making {
        // Few and larger ones: a compressor for each column of each takes longer than all else in an hour.
        let parquet = rng.u8(..8) == 0;
        Making {
            format: if parquet { Format::Parquet1 } else { Format::JsonLinesGzip1 },
            path: PATHS[rng.usize(..PATHS.len())],
            roll_bytes: 1 << rng.u64(if parquet { 14..18 } else { 11..18 }),
            roll_idle: seconds(rng, if parquet { 20..60 } else { 5..60 }),
        }
    }
}

/// Some, at any time before the calm; each of `feeds` has a tuning and so many collectors.
pub fn changes(feeds: &[(Tuning, usize)], rng: &mut Rng) -> Vec<(Duration, Change)> {
    let mut changes = Vec::new();
    for (number, (tuning, sinks)) in feeds.iter().copied().enumerate() {
        for _ in 0..rng.u8(..4) {
            changes.push((seconds(rng, 60..2_800), Change::Drain(number, tuning.other(rng))));
        }
        for _ in 0..rng.u8(..5) {
            // One that goes leaves two at least: a span is dead by the word of two.
            let gone = rng.usize(..=sinks);
            let all = (1_u8 << sinks) - 1;
            let left = if sinks > 2 { all & !(1 << gone) } else { all };
            changes.push((seconds(rng, 60..2_800), Change::Addresses(number, left)));
        }
    }
    for _ in 0..rng.u8(..3) {
        changes.push((seconds(rng, 60..2_800), Change::Archive(Making::some(rng))));
    }
    if rng.bool() {
        let comes = seconds(rng, 30..1_800);
        changes.push((comes, Change::GuestComes));
        changes.push((comes + seconds(rng, 20..1_000), Change::GuestGoes));
    }
    changes.retain(|(at, _)| *at < CALM);
    changes.sort_by_key(|(at, _)| *at);
    changes
}

impl Script {
    fn changed(&self, now: Duration) -> impl Iterator<Item = &Change> {
        self.changes.iter().take_while(move |(at, _)| *at <= now).map(|(_, change)| change)
    }

    /// The tuning of a feed that is configured at this time.
    pub fn tuning(&self, feed: usize, now: Duration) -> Tuning {
        let others = self.changed(now).filter_map(|change| match change {
            Change::Drain(number, tuning) if *number == feed => Some(*tuning),
            _ => None,
        });
        others.last().unwrap_or(self.feeds[feed].tuning)
    }

    /// Which of its collectors a group has at this time.
    pub fn addresses(&self, feed: usize, now: Duration) -> u8 {
        let said = self.changed(now).filter_map(|change| match change {
            Change::Addresses(number, addresses) if *number == feed => Some(*addresses),
            _ => None,
        });
        said.last().unwrap_or(u8::MAX)
    }

    /// When the group or its settings changed last.
    pub fn changed_last(&self, feed: usize, now: Duration) -> Duration {
        let of_feed = |change: &Change| match change {
            Change::Drain(number, _) | Change::Addresses(number, _) => *number == feed,
            _ => false,
        };
        let changes = self.changes.iter().filter(|(at, change)| *at <= now && of_feed(change));
        changes.map(|(at, _)| *at).next_back().unwrap_or_default()
    }

    pub fn making(&self, now: Duration) -> &Making {
        let others = self.changed(now).filter_map(|change| match change {
            Change::Archive(making) => Some(making),
            _ => None,
        });
        others.last().unwrap_or(&self.objects.making)
    }

    /// Whether the guest is configured at this time.
    pub fn has_guest(&self, now: Duration) -> bool {
        let said = self.changed(now).filter(|change| matches!(change, Change::GuestComes | Change::GuestGoes));
        said.last().is_some_and(|change| matches!(change, Change::GuestComes))
    }
}
