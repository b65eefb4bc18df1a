//! Spans that a drain gives up: by age, or because the channel is full; and what a crash leaves of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use spangate::channel::{self, Account, Channel, Intake, Kind, Outcome, Start, Sync, Takes};
use spangate::clock::Clock;
use spangate::deadletter::{self, Store};
use spangate::drain::{Drain, Overflow, Parts, Roster, Seat, Settings};
use spangate::metrics::{Registry, TABLE};
use spangate::sink::{Load, Sending, Sink, Verdict};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::gate::{GRACE, Gate, draft, new_dir, settings, spawn, until};
use super::{ids, span};
use crate::support::collector::{Collector, Play};
use crate::support::disk::{Fault, Power, SimDisk};

fn aged(max_age: Duration) -> Settings {
    Settings { max_age: Some(max_age), ..settings() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_that_waited_too_long_are_given_up_and_the_ledger_tells() {
    let mut collector = Collector::absent();
    let gate = Gate::open_in(new_dir(), aged(Duration::from_millis(300)), &[&collector]);
    gate.append(0..1_000).await;
    gate.emptied().await;
    assert_eq!((gate.outcome(Outcome::Expired), gate.outcome(Outcome::Delivered)), (1_000, 0));
    let dir = gate.close().await;
    collector.rise();
    // Their receive time is half a century ago: it says nothing of how long they waited.
    let gate = Gate::open_in(dir, aged(Duration::from_secs(3_600)), &[&collector]);
    gate.append(1_000..1_100).await;
    gate.emptied().await;
    assert_eq!(collector.taken().into_keys().collect::<std::collections::BTreeSet<_>>(), ids(1_000..1_100));
    assert_eq!((gate.outcome(Outcome::Expired), gate.outcome(Outcome::Delivered)), (1_000, 100));
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_is_not_given_up_before_it_is_answered() {
    let collector = Collector::start().await;
    collector.play(Play::Hang);
    let gate = Gate::open_in(new_dir(), aged(Duration::from_millis(100)), &[&collector]);
    gate.append(0..50).await;
    until("it is on its way", || !collector.requests().is_empty()).await;
    // Given up when the request has timed out, and not while it might be taken.
    gate.emptied().await;
    assert_eq!(gate.outcome(Outcome::Expired), 50);
    assert!(gate.metric("spangate_sink_spans_total{drain=\"zipkin\",sink=\"sink-0\",outcome=\"elsewhere\"}") >= 50.0);
    gate.close().await;
}

/// A collector that is never there.
struct Down;

impl Sink for Down {
    fn name(&self) -> &str {
        "down"
    }

    fn url(&self) -> &str {
        "http://down"
    }

    fn send<'a>(&'a self, _: &'a Load) -> Sending<'a> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Verdict::Elsewhere { reason: "refused".into(), maybe_taken: false }
        })
    }
}

/// A message of 100 spans and 30 kB.
fn message() -> channel::Draft {
    let body = [span(1), Bytes::from(vec![0; 270])].concat();
    draft(Kind::Spans, &vec![Bytes::from(body); 100])
}

const CAPACITY: u64 = 1 << 20;

fn open(sim: &SimDisk, spans: Option<u64>) -> (Channel, Registry) {
    let registry = Registry::new(TABLE);
    let settings = channel::Settings {
        dir: "/data/channel".into(),
        capacity_bytes: CAPACITY,
        capacity_spans: spans,
        sync: Sync::Always,
        free_min_bytes: Some(0),
        cache_bytes: 64 << 10,
    };
    (Channel::open(settings, sim.disk(), Clock::manual(1), &registry).unwrap().0, registry)
}

/// Runs a drain with that `overflow` whose only collector is down.
fn stuck(sim: &SimDisk, channel: &Channel, registry: &Registry, name: &str, overflow: Overflow) -> JoinHandle<()> {
    let letters = deadletter::Settings {
        dir: Path::new("/data").join(name),
        refused_bytes_max: 1 << 20,
        undecodable_bytes_max: 1 << 20,
        free_min_bytes: Some(0),
    };
    let letters = Store::open(letters, sim.disk(), Clock::manual(1), channel.id(), registry).unwrap();
    let tap = channel.tap(name, Start::End, Takes::Common).unwrap();
    let settings = Settings { name: name.to_owned(), overflow, ..settings() };
    let sinks = Roster::fixed(vec![Seat::from(Arc::new(Down) as Arc<dyn Sink>)]);
    let parts =
        Parts { settings, tap, sinks, letters, clock: Clock::manual(1), kept_in: watch::Sender::new(None).subscribe() };
    spawn(Drain::new(parts, registry).run(CancellationToken::new(), GRACE))
}

fn account(channel: &Channel, drain: &str) -> Account {
    let account = channel.snapshot().accounts.into_iter().find(|a| a.drain == drain).unwrap();
    assert_eq!(account.accepted, account.outcomes.values().sum::<u64>() + account.waiting, "{account:?}");
    account
}

async fn ended(drain: JoinHandle<()>) {
    drain.abort();
    assert!(drain.await.is_err_and(|error| error.is_cancelled()));
}

/// Appends until the disk is off or 60 messages, twice what there is room for, are taken; how many were.
async fn appended(sim: &SimDisk, channel: &Channel, off: u64) -> u64 {
    for taken in 0..60 {
        tokio::select! {
            answer = channel.append(vec![message()]).wait() => match answer {
                Ok(_) => {}
                Err(_) if sim.calls() >= off => return taken,
                Err(error) => panic!("message {taken}: {error}"),
            },
            () = until("an answer or the crash", || sim.calls() >= off) => return taken,
        }
    }
    60
}

/// Fills a channel whose drain skips, takes the power at a call, and reads what is left.
async fn skipped_until_a_crash(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let sim = SimDisk::new();
    let (channel, registry) = open(&sim, None);
    let drain = stuck(&sim, &channel, &registry, "zipkin", Overflow::Skip);
    let off = if seed == 0 { u64::MAX } else { sim.calls() + random.u64(100..300) };
    sim.fault_at(off, Fault::Off);
    let taken = appended(&sim, &channel, off).await * 100;
    if seed == 0 {
        assert_eq!(taken, 6_000, "intake went on");
        assert!(account(&channel, "zipkin").outcomes[&Outcome::Skipped] >= 1_000);
    }
    ended(drain).await;
    channel.stop();
    let left = [Power::Nothing, Power::Everything, Power::Some(seed)][random.usize(..3)];
    let left = if seed.is_multiple_of(4) { sim.killed() } else { sim.lost_power(left) };
    let (channel, _) = open(&left, None);
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    let before = account(&channel, "zipkin");
    assert!(before.accepted >= taken, "seed {seed}: {taken} were taken, there are {}", before.accepted);
    let mut given = 0;
    while given < before.waiting {
        let next = tokio::time::timeout(Duration::from_secs(10), tap.next()).await;
        let frame = next.unwrap_or_else(|_| panic!("seed {seed}: {given} given of {before:?}")).unwrap().unwrap();
        tap.body(&frame.head).await.unwrap();
        given += frame.open.iter().map(|items| u64::from(items.end - items.start)).sum::<u64>();
    }
    assert_eq!(given, before.waiting, "seed {seed}");
    assert_eq!(account(&channel, "zipkin").outcomes[&Outcome::Damaged], 0, "seed {seed}: a segment went too early");
    channel.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn intake_goes_on_beside_a_drain_that_skips_and_a_crash_finds_what_was_skipped_settled() {
    let runs: Vec<_> = (0..12).map(|seed| spawn(skipped_until_a_crash(seed))).collect();
    for run in runs {
        run.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_blocks_makes_nobody_skip_for_it() {
    let sim = SimDisk::new();
    let (channel, registry) = open(&sim, None);
    let drains = [Overflow::Skip, Overflow::Block]
        .map(|overflow| stuck(&sim, &channel, &registry, &format!("{overflow:?}").to_lowercase(), overflow));
    let mut taken = 0;
    while channel.snapshot().intake == Intake::Open {
        let answer = tokio::time::timeout(Duration::from_secs(2), channel.append(vec![message()]).wait()).await;
        taken += u64::from(answer.is_ok());
    }
    assert_eq!(channel.snapshot().intake, Intake::Full);
    assert!(taken > 20, "it was filled first: {taken}");
    assert_eq!(account(&channel, "skip").outcomes[&Outcome::Skipped], 0);
    assert_eq!((account(&channel, "skip").skips, account(&channel, "block").skips), (true, false));
    for drain in drains {
        ended(drain).await;
    }
    channel.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_bounded_in_spans_makes_room_as_well() {
    let sim = SimDisk::new();
    let (channel, registry) = open(&sim, Some(1_000));
    let drain = stuck(&sim, &channel, &registry, "zipkin", Overflow::Skip);
    assert_eq!(appended(&sim, &channel, u64::MAX).await, 60);
    let account = account(&channel, "zipkin");
    assert!(account.waiting <= 1_000 && account.outcomes[&Outcome::Skipped] >= 5_000, "{account:?}");
    ended(drain).await;
    channel.stop();
}

#[test]
fn directories_of_dead_letters_that_were_made_and_not_synced_are_there_after_a_loss_of_power() {
    let sim = SimDisk::new();
    sim.disk().create_dir_all(Path::new("/data")).unwrap();
    let letters = || {
        let bytes_max = 1 << 20;
        let settings = deadletter::Settings {
            dir: "/data/dead-letters".into(),
            refused_bytes_max: bytes_max,
            undecodable_bytes_max: bytes_max,
            free_min_bytes: Some(0),
        };
        Store::open(settings, sim.disk(), Clock::manual(1), "an id", &Registry::new(TABLE))
    };
    // The first directory is made, and the sync of its name fails.
    sim.fault_at(sim.calls() + 2, Fault::Fail);
    assert!(letters().is_err());
    assert!(letters().is_ok());
    let left = sim.lost_power(Power::Nothing).disk();
    assert!(left.list(Path::new("/data/dead-letters/refused")).is_ok());
}
