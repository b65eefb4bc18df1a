//! What a drain holds while nobody takes anything.

use bytes::Bytes;

use super::super::{BatchSettings, MassRefusal, Policy};
use super::*;
use crate::channel::{self, Channel, Draft, Item, Origin, Start, Takes};
use crate::clock::Clock;
use crate::metrics::TABLE;
use crate::sink::{Load, Sending};
use crate::{deadletter, disk};

/// A collector that is never there.
struct Down(String);

impl Sink for Down {
    fn name(&self) -> &str {
        &self.0
    }

    fn url(&self) -> &str {
        "http://down"
    }

    fn send<'a>(&'a self, _: &'a Load) -> Sending<'a> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Verdict::Absent("refused".into())
        })
    }
}

fn channel(dir: &std::path::Path, registry: &Registry) -> Channel {
    let settings = channel::Settings {
        dir: dir.join("channel"),
        capacity_bytes: 64 << 20,
        capacity_spans: None,
        sync: channel::Sync::Always,
        free_min_bytes: Some(0),
        cache_bytes: 0,
    };
    Channel::open(settings, disk::real(), Clock::system(), registry).expect("the channel opens").0
}

fn drain(
    dir: &std::path::Path,
    channel: &Channel,
    registry: &Registry,
    linger_s: u64,
    sinks: Vec<Arc<dyn Sink>>,
) -> Drain {
    let letters = deadletter::Settings {
        dir: dir.join("dead-letters"),
        refused_bytes_max: 1 << 30,
        undecodable_bytes_max: 1 << 26,
        free_min_bytes: Some(0),
    };
    let letters =
        Store::open(letters, disk::real(), Clock::system(), channel.id(), registry).expect("the dead letters open");
    let settings = Settings {
        name: "zipkin".into(),
        policy: Policy::RoundRobin,
        batch: BatchSettings { spans: 5000, bytes: 4 << 20, linger: Duration::from_secs(linger_s) },
        in_flight_max: 4,
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(50),
        mass_refusal: MassRefusal::Hold,
    };
    let sinks = sinks.into_iter().map(Seat::from).collect();
    let tap = channel.tap("zipkin", Start::Oldest, Takes::Common).expect("the drain is attached");
    Drain::new(Parts { settings, tap, sinks, letters }, registry)
}

/// A message of one span, of which the log's readers know no more than its length.
fn message() -> Draft {
    Draft {
        kind: Kind::Spans,
        addressee: None,
        received_us: 1,
        origin: Arc::new(Origin(vec![("peer".into(), "10.0.0.1:9999".into())])),
        labels: vec![],
        items: vec![Item { key: 0, len: 10, label: u16::MAX, flags: 0 }],
        body: Bytes::from_static(b"0123456789"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_while_all_sinks_are_down_does_not_grow_with_the_backlog() {
    let (dir, registry) = (tempfile::tempdir().unwrap(), Registry::new(TABLE));
    let channel = channel(dir.path(), &registry);
    let down = |name: &str| Arc::new(Down(name.into())) as Arc<dyn Sink>;
    let mut drain = drain(dir.path(), &channel, &registry, 60, vec![down("a"), down("b")]);
    for _ in 0..20 {
        channel.append((0..1_000).map(|_| message()).collect()).wait().await.unwrap();
    }
    let stop = CancellationToken::new();
    let _ = timeout(Duration::from_secs(2), drain.work(&stop)).await;
    let flow = &drain.flow;
    let waiting: usize = flow.waiting.iter().map(|batch| batch.stretches.len()).sum();
    let under_way = flow.work.len();
    assert!(waiting + under_way > 0, "batches were tried");
    // A probe is cut off a batch that waits, which leaves one more.
    assert!(flow.waiting.len() + under_way <= 2 * 4 + 2, "{} batches wait", flow.waiting.len());
    assert!(under_way <= 2, "a sink that rests is probed with one batch");
    let heads = waiting + flow.cutter.heads();
    assert!(heads <= 11 * 1024, "{heads} frame heads are held");
    assert_eq!(channel.snapshot().accounts[0].waiting, 20_000);
    channel.stop();
}

/// A collector that refuses spans that begin with an x, until it is told to take them.
struct Picky(Arc<std::sync::atomic::AtomicBool>);

impl Sink for Picky {
    fn name(&self) -> &str {
        "picky"
    }

    fn url(&self) -> &str {
        "http://picky"
    }

    fn send<'a>(&'a self, load: &'a Load) -> Sending<'a> {
        let takes = self.0.load(std::sync::atomic::Ordering::Relaxed);
        let bad = load.pieces.iter().any(|piece| piece.chunks(10).any(|span| span[0] == b'x'));
        Box::pin(async move { if bad && !takes { Verdict::Refused("400".into()) } else { Verdict::Delivered } })
    }
}

/// A frame of a hundred spans, every second one bad.
fn half_bad() -> Draft {
    let item = Item { key: 0, len: 10, label: u16::MAX, flags: 0 };
    Draft { items: vec![item; 100], body: b"0123456789x123456789".repeat(50).into(), ..message() }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_flow_that_is_refused_by_half_fewer_than_a_thousand_are_letters_and_the_rest_waits_for_a_mended_sink() {
    let (dir, registry) = (tempfile::tempdir().unwrap(), Registry::new(TABLE));
    let channel = channel(dir.path(), &registry);
    let takes = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut drain = drain(dir.path(), &channel, &registry, 0, vec![Arc::new(Picky(takes.clone()))]);
    channel.append((0..60).map(|_| half_bad()).collect()).wait().await.unwrap();
    let status = drain.status();
    let outcome = |outcome| channel.snapshot().accounts[0].outcomes.get(&outcome).copied().unwrap_or(0);
    let stop = CancellationToken::new();
    let script = async {
        let is_held = || status.sinks()[0].standing == super::super::Standing::Misconfigured;
        wait_until(is_held).await;
        takes.store(true, std::sync::atomic::Ordering::Relaxed);
        wait_until(|| channel.snapshot().accounts[0].waiting == 0).await;
        stop.cancel();
    };
    tokio::join!(drain.work(&stop), script);
    let dead = outcome(Outcome::DeadLettered);
    assert!(dead < 1_000, "{dead} letters");
    assert_eq!(outcome(Outcome::Delivered), 6_000 - dead);
    channel.stop();
}

async fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to be in time");
}
