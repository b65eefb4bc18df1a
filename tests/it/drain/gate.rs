//! A channel in its own directory with one drain at its end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use spangate::channel::{Account, Channel, Draft, Item, Kind, Origin, Outcome, Start, Sync, Takes};
use spangate::clock::Clock;
use spangate::deadletter::{self, Store};
use spangate::drain::{BatchSettings, Drain, Parts, Settings, Status, aside};
use spangate::metrics::{Registry, TABLE};
use spangate::sink::zipkin::{self, Encoding, Zipkin};
use spangate::sink::{self, Sink};
use spangate::{channel, disk};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::span;
use crate::support::collector::Collector;

/// Longest wait for what must come.
const DEADLINE: Duration = Duration::from_secs(20);
pub const TIMEOUT: Duration = Duration::from_secs(1);
pub const GRACE: Duration = Duration::from_millis(500);

pub struct Gate {
    pub dir: Arc<TempDir>,
    pub registry: Registry,
    pub channel: Channel,
    pub status: Status,
    stop: CancellationToken,
    running: Vec<JoinHandle<()>>,
}

pub fn new_dir() -> Arc<TempDir> {
    Arc::new(TempDir::new().unwrap())
}

pub fn settings() -> Settings {
    Settings {
        name: "zipkin".to_owned(),
        batch: BatchSettings { spans: 50, bytes: 1 << 20, linger: Duration::from_millis(5) },
        in_flight_max: 4,
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(300),
    }
}

impl Gate {
    pub fn open(collectors: &[&Collector]) -> Gate {
        Gate::open_in(new_dir(), settings(), collectors)
    }

    /// Opens what is in `dir`, with the drains running.
    pub fn open_in(dir: Arc<TempDir>, settings: Settings, collectors: &[&Collector]) -> Gate {
        sink::install_tls();
        let registry = Registry::new(TABLE);
        let (disk, clock) = (disk::real(), Clock::system());
        let channel = channel_settings(&dir);
        let (channel, _) = Channel::open(channel, disk.clone(), clock.clone(), &registry).unwrap();
        let letters = deadletter::Settings {
            dir: dir.path().join("dead-letters"),
            refused_bytes_max: 1 << 30,
            undecodable_bytes_max: 1 << 26,
            free_min_bytes: Some(0),
        };
        let letters = Store::open(letters, disk, clock, channel.id(), &registry).unwrap();
        let sinks = collectors.iter().enumerate().map(|(n, c)| zipkin_sink(n, c, channel.id())).collect();
        let tap = channel.tap(&settings.name, Start::End, Takes::Common).unwrap();
        let drain = Drain::new(Parts { settings, tap, sinks, letters: letters.clone() }, &registry);
        let aside_tap = channel.tap(aside::NAME, Start::End, Takes::Addressed).unwrap();
        let (status, stop) = (drain.status(), CancellationToken::new());
        let running = vec![spawn(drain.run(stop.clone(), GRACE)), spawn(aside::run(aside_tap, letters, stop.clone()))];
        Gate { dir, registry, channel, status, stop, running }
    }

    /// Appends spans `ids`, a hundred a frame, and waits until they are durable.
    pub async fn append(&self, ids: std::ops::Range<u64>) {
        let ids: Vec<_> = ids.collect();
        for frame in ids.chunks(100) {
            let bodies: Vec<_> = frame.iter().map(|id| span(*id)).collect();
            self.append_draft(draft(Kind::Spans, &bodies)).await;
        }
    }

    pub async fn append_draft(&self, draft: Draft) {
        self.channel.append(vec![draft]).wait().await.unwrap();
    }

    /// The account of a drain; it must add up.
    pub fn account(&self, drain: &str) -> Account {
        let account = self.channel.snapshot().accounts.into_iter().find(|a| a.drain == drain).unwrap();
        let settled: u64 = account.outcomes.values().sum();
        assert_eq!(account.accepted, settled + account.waiting, "{account:?}");
        account
    }

    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.account("zipkin").outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// Waits until the drain has settled all.
    pub async fn emptied(&self) {
        until("the drain is empty", || self.account("zipkin").waiting == 0).await;
    }

    /// The value of a series whose line starts so; 0 where there is none.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.registry.render();
        let line = text.lines().find(|l| l.starts_with(series));
        line.map_or(0.0, |l| l.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// The dead letters of a class, oldest first.
    pub fn letters(&self, class: &str) -> Vec<serde_json::Value> {
        let files = std::fs::read_dir(self.dir.path().join("dead-letters").join(class)).unwrap();
        let mut paths: Vec<_> = files.map(|f| f.unwrap().path()).collect();
        paths.sort();
        let read = |path| std::fs::read_to_string(path).unwrap();
        paths
            .into_iter()
            .flat_map(|p| read(p).lines().map(|l| serde_json::from_str(l).unwrap()).collect::<Vec<_>>())
            .collect()
    }

    /// Stops drains and channel; what is open stays in the directory.
    pub async fn close(self) -> Arc<TempDir> {
        self.stop.cancel();
        for running in self.running {
            tokio::time::timeout(DEADLINE, running).await.expect("a drain stops").unwrap();
        }
        self.channel.stop();
        self.dir
    }
}

/// A draft of items for all drains.
pub fn draft(kind: Kind, bodies: &[bytes::Bytes]) -> Draft {
    let item = |body: &bytes::Bytes| Item { key: 0, len: body.len() as u32, label: u16::MAX, flags: 0 };
    Draft {
        kind,
        addressee: None,
        received_us: 1,
        origin: Arc::new(Origin(vec![("listener".to_owned(), "test".to_owned())])),
        labels: Vec::new(),
        items: bodies.iter().map(item).collect(),
        body: bodies.concat().into(),
    }
}

fn channel_settings(dir: &TempDir) -> channel::Settings {
    channel::Settings {
        dir: dir.path().join("channel"),
        capacity_bytes: 64 << 20,
        capacity_spans: None,
        sync: Sync::Always,
        free_min_bytes: Some(0),
        cache_bytes: 1 << 20,
    }
}

fn zipkin_sink(index: usize, collector: &Collector, own_id: &str) -> Arc<dyn Sink> {
    let settings = zipkin::Settings {
        name: format!("sink-{index}"),
        url: collector.url(),
        encoding: Encoding::Proto3,
        gzip: false,
        timeout: TIMEOUT,
    };
    Arc::new(Zipkin::new(settings, own_id).unwrap())
}

#[expect(clippy::disallowed_methods, reason = "a test's own task")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}

/// Waits for a condition.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The ids that any of `collectors` took.
pub fn taken(collectors: &[&Collector]) -> BTreeSet<String> {
    collectors.iter().flat_map(|c| c.taken().into_keys()).collect()
}

/// How often spans were taken in all.
pub fn times(collectors: &[&Collector]) -> u64 {
    collectors.iter().flat_map(|c| c.taken().into_values()).map(u64::from).sum()
}
