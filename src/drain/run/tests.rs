//! What a drain holds while nobody takes anything.

use bytes::Bytes;

use super::super::{BatchSettings, Overflow, Sieve};
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
            Verdict::Elsewhere { reason: "refused".into(), maybe_taken: false }
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

fn drain(dir: &std::path::Path, channel: &Channel, registry: &Registry, sinks: usize) -> Drain {
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
        sieve: Sieve::default(),
        max_age: None,
        overflow: Overflow::Block,
        batch: BatchSettings { spans: 5000, bytes: 4 << 20, linger: Duration::from_secs(60) },
        in_flight_max: 4,
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(50),
    };
    let sinks = (0..sinks).map(|n| Arc::new(Down(n.to_string())) as Arc<dyn Sink>).collect();
    let tap = channel.tap("zipkin", Start::Oldest, Takes::Common).expect("the drain is attached");
    Drain::new(Parts { settings, tap, sinks, letters, kept_in: None }, registry)
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
    let mut drain = drain(dir.path(), &channel, &registry, 2);
    for _ in 0..20 {
        channel.append((0..1_000).map(|_| message()).collect()).wait().await.unwrap();
    }
    let stop = CancellationToken::new();
    let _ = timeout(Duration::from_secs(2), drain.work(&stop)).await;
    let flow = &drain.flow;
    let waiting: usize = flow.waiting.iter().map(|batch| batch.stretches.len()).sum();
    let under_way = flow.work.len();
    assert!(waiting + under_way > 0, "batches were tried");
    assert!(flow.waiting.len() + under_way <= 2 * 4, "{} batches wait", flow.waiting.len());
    assert!(under_way <= 2, "a sink that rests is probed with one batch");
    let heads = waiting + flow.builder.stretches();
    assert!(heads <= 11 * 1024, "{heads} frame heads are held");
    assert_eq!(channel.snapshot().accounts[0].waiting, 20_000);
    channel.stop();
}
