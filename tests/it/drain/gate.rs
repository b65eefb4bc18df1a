//! A channel in its own directory with one drain at its end.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use spangate::channel::{Account, Channel, Draft, Item, Kind, Origin, Outcome, Start, Sync, Takes, Tap};
use spangate::clock::Clock;
use spangate::deadletter::{self, Store};
use spangate::drain::{BatchSettings, Drain, MassRefusal, Parts, Policy, Roster, Seat, Settings, Status, Terms, aside};
use spangate::metrics::{Registry, TABLE};
use spangate::sink::zipkin::{self, Encoding, Zipkin};
use spangate::sink::{self, Sink};
use spangate::{channel, disk};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::span;
use crate::support::collector::Collector;

/// Longest wait for what must come: long enough for two busy cores, a good run takes a fraction.
const DEADLINE: Duration = Duration::from_secs(60);
pub const TIMEOUT: Duration = Duration::from_secs(1);
pub const GRACE: Duration = Duration::from_millis(500);

pub struct Gate {
    pub dir: Arc<TempDir>,
    pub registry: Registry,
    pub channel: Channel,
    pub status: Status,
    /// Says which sinks there are.
    pub seats: watch::Sender<Vec<Seat>>,
    stop: CancellationToken,
    /// Until it is started.
    parts: Option<(Drain, Tap, Store)>,
    running: Vec<JoinHandle<()>>,
}

pub fn new_dir() -> Arc<TempDir> {
    Arc::new(TempDir::new().unwrap())
}

pub fn settings() -> Settings {
    Settings {
        name: "zipkin".to_owned(),
        policy: Policy::RoundRobin,
        sieve: spangate::drain::Sieve::default(),
        max_age: None,
        overflow: spangate::drain::Overflow::Block,
        batch: BatchSettings { spans: 50, bytes: 1 << 20, linger: Duration::from_millis(5) },
        in_flight_max: 4,
        rate_max: None,
        backlog_rate: None,
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(300),
        mass_refusal: MassRefusal::Hold,
    }
}

impl Gate {
    pub fn open(collectors: &[&Collector]) -> Gate {
        Gate::open_in(new_dir(), settings(), collectors)
    }

    /// Opens what is in `dir`, with the drains running.
    pub fn open_in(dir: Arc<TempDir>, settings: Settings, collectors: &[&Collector]) -> Gate {
        let mut gate = Gate::still_in(dir, settings, collectors);
        gate.start();
        gate
    }

    /// One whose sinks have these terms.
    pub fn with(policy: Policy, sinks: &[(&Collector, Terms)]) -> Gate {
        let mut gate = Gate::seated(new_dir(), Settings { policy, ..settings() }, sinks);
        gate.start();
        gate
    }

    /// Opens what is in `dir`; its drains have begun but do nothing before [`start`](Self::start).
    pub fn still_in(dir: Arc<TempDir>, settings: Settings, collectors: &[&Collector]) -> Gate {
        let sinks: Vec<_> = collectors.iter().map(|collector| (*collector, Terms::default())).collect();
        Gate::seated(dir, settings, &sinks)
    }

    fn seated(dir: Arc<TempDir>, settings: Settings, sinks: &[(&Collector, Terms)]) -> Gate {
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
        let letters = Store::open(letters, disk, clock.clone(), channel.id(), &registry).unwrap();
        let seat = |(n, (collector, terms)): (usize, &(&Collector, Terms))| Seat {
            sink: zipkin_sink(n, collector, channel.id()),
            terms: terms.clone(),
        };
        let (seats, roster) = Roster::new(sinks.iter().enumerate().map(seat).collect());
        let tap = channel.tap(&settings.name, Start::End, Takes::Common).unwrap();
        let parts = Parts {
            settings,
            tap,
            sinks: roster,
            letters: letters.clone(),
            clock,
            kept_in: watch::Sender::new(None).subscribe(),
        };
        let drain = Drain::new(parts, &registry);
        let aside_tap = channel.tap(aside::NAME, Start::End, Takes::Addressed).unwrap();
        let (status, stop) = (drain.status(), CancellationToken::new());
        let parts = Some((drain, aside_tap, letters));
        Gate { dir, registry, channel, status, seats, stop, parts, running: Vec::new() }
    }

    pub fn start(&mut self) {
        let (drain, tap, letters) = self.parts.take().expect("it is started once");
        let aside = aside::run(tap, letters, self.stop.clone());
        self.running = vec![spawn(drain.run(self.stop.clone(), GRACE)), spawn(aside)];
    }

    /// Appends spans `ids`, a hundred a frame, and waits until they are durable.
    pub async fn append(&self, ids: std::ops::Range<u64>) {
        let ids: Vec<_> = ids.collect();
        for frame in ids.chunks(100) {
            let bodies: Vec<_> = frame.iter().map(|id| span(*id)).collect();
            let mut draft = draft(Kind::Spans, &bodies);
            draft.items.iter_mut().zip(frame).for_each(|(item, id)| item.key = trace_of(*id));
            self.append_draft(draft).await;
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
        let read = |path| std::fs::read_to_string(path).unwrap();
        entries(&self.dir.path().join("dead-letters").join(class))
            .into_iter()
            .flat_map(|p| read(p).lines().map(|l| serde_json::from_str(l).unwrap()).collect::<Vec<_>>())
            .collect()
    }

    /// Flips a bit of a span where it stands in the log; false where it does not.
    pub fn flip_body_of(&self, span: &[u8]) -> bool {
        let files = entries(&self.dir.path().join("channel"));
        files.iter().filter(|path| path.extension().is_some_and(|e| e == "seg")).any(|path| flip(path, span))
    }

    /// Cuts the drains off where they stand, as a crash does; what they settled is kept.
    pub async fn crash(self) -> Arc<TempDir> {
        for running in self.running {
            running.abort();
            assert!(running.await.is_err_and(|e| e.is_cancelled()));
        }
        self.channel.stop();
        self.dir
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

/// The trace of a span: a thousand traces, of whose spans none are neighbours.
pub fn trace_of(id: u64) -> u64 {
    id % 1_000
}

/// A draft of items for all drains, with spans or entries for bodies.
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
        // None: bodies come from the files.
        cache_bytes: 0,
    }
}

/// A seat for another collector of a gate.
pub fn seat(gate: &Gate, index: usize, collector: &Collector) -> Seat {
    Seat::from(zipkin_sink(index, collector, gate.channel.id()))
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

/// The files of a directory, by name.
#[expect(clippy::disallowed_methods, reason = "looks at the files as a person would")]
fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[expect(clippy::disallowed_methods, reason = "the disk's part is played by the test")]
fn flip(path: &Path, span: &[u8]) -> bool {
    let bytes = std::fs::read(path).unwrap();
    let Some(at) = bytes.windows(span.len()).position(|window| window == span) else { return false };
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_at(&[bytes[at + span.len() - 1] ^ 1], (at + span.len() - 1) as u64).unwrap();
    true
}

#[expect(clippy::disallowed_methods, reason = "a test's own task")]
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
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
