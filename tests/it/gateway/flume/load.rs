//! Experiments without a crash: all is well, two sources and one way, a trickle, a full channel, a full disk.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::rig::{LIMIT, Sender, collected, http, ids_of, objects, scribe, wait_until_all};
use super::{emptied, gateway, lost, repeated, sinks, waiting};
use crate::support::collector::Collector;
use crate::support::process::{Gateway, wait_for};

/// What a memory channel of Flume kept awake for another event before it sent what it had.
const FLUMES_SHORTEST_WAIT: Duration = Duration::from_secs(3);

/// A third of R1's spans, by turns to both gateways.
fn trace(source: u64, gateways: &[Gateway; 2]) -> Sender {
    let mut sender = Sender::from(1 + source * 1_000_000);
    let (mut posts, mut logs) = (gateways.each_ref().map(http), gateways.each_ref().map(scribe));
    let counts = [50; 66].into_iter().chain([if source == 0 { 100 } else { 0 }]).filter(|count| *count > 0);
    for (turn, count) in counts.enumerate() {
        let yes = match source {
            0 => sender.log(&mut logs[turn % 2], count),
            _ => sender.post(&mut posts[turn % 2], count),
        };
        assert!(yes, "source {source} is refused");
    }
    sender
}

/// The ids in the built-in archive, in the channel's order.
fn archived_in_order(gateway: &Gateway) -> Vec<String> {
    objects(&gateway.dir.join("data/archive")).iter().flat_map(|object| ids_of(object)).collect()
}

/// R1, after E1.
#[tokio::test(flavor = "multi_thread")]
async fn three_tracers_two_gateways_and_two_collectors_lose_and_repeat_nothing_and_keep_each_sources_order() {
    let (a, b) = (Collector::start().await, Collector::start().await);
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let file = format!("[drain.zipkin]\n{}\n", sinks(&[&a, &b]));
    let mut gateways = dirs.each_ref().map(|dir| {
        let path = dir.path().join("spangate.toml");
        std::fs::write(&path, &file).unwrap();
        Gateway::start(dir.path(), &["-c", path.to_str().unwrap(), "--intake-commit-wait", "30s"])
    });
    let senders: Vec<Sender> = thread::scope(|scope| {
        let gateways = &gateways;
        let sources: Vec<_> = (0..3).map(|source| scope.spawn(move || trace(source, gateways))).collect();
        sources.into_iter().map(|source| source.join().unwrap()).collect()
    });
    let senders: Vec<&Sender> = senders.iter().collect();
    assert_eq!(senders.iter().map(|sender| sender.acknowledged.len()).sum::<usize>(), 10_000);
    gateways.iter().for_each(emptied);
    gateways.iter_mut().for_each(Gateway::stop);
    let found = collected(&[&a, &b]);
    assert_eq!((lost(&senders, &found), repeated(&found), found.len()), (0, 0, 10_000));
    let in_archives = gateways.each_ref().map(archived_in_order);
    for sender in senders {
        for archived in &in_archives {
            let of_source: Vec<&String> = archived.iter().filter(|id| sender.sent.contains(*id)).collect();
            assert!(of_source.is_sorted() && of_source.len() > 1_000, "{} in another order", of_source.len());
        }
    }
    let mut ids: Vec<String> = in_archives.concat();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), in_archives.concat().len()), (10_000, 10_000), "each is archived once");
}

/// R3, after E3.
#[tokio::test(flavor = "multi_thread")]
async fn two_sources_of_one_rate_share_the_collector_by_halves_through_an_outage() {
    let dir = TempDir::new().unwrap();
    let mut collector = Collector::absent();
    let keys = format!("batch.spans = 50\nbackoff_max = \"500ms\"\n{}", sinks(&[&collector]));
    let mut gateway = gateway(dir.path(), &keys, &["--intake-commit-wait", "30s"]);
    let (mut first, mut second) = (Sender::from(1), Sender::from(1_000_000));
    let (mut posts, mut logs) = (http(&gateway), scribe(&gateway));
    for turn in 0..160 {
        if turn == 80 {
            collector.rise();
        }
        assert!(first.post(&mut posts, 5) && second.log(&mut logs, 5));
    }
    emptied(&gateway);
    let found = collected(&[&collector]);
    assert_eq!((lost(&[&first, &second], &found), repeated(&found)), (0, 0));
    let arrived: Vec<String> = collector.requests().into_iter().flat_map(|request| request.spans).collect();
    for window in arrived.windows(100) {
        let of_first = window.iter().filter(|id| first.sent.contains(*id)).count();
        assert!((40..=60).contains(&of_first), "{of_first} of 100 are the first one's");
    }
    gateway.stop();
}

/// R2b, after E2b.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_of_a_hundred_refuses_aloud_delivers_what_it_took_and_flows_again() {
    let dir = TempDir::new().unwrap();
    let mut collector = Collector::absent();
    let keys = format!("backoff_max = \"500ms\"\n{}", sinks(&[&collector]));
    let mut gateway = gateway(dir.path(), &keys, &["--channel-capacity-spans", "100"]);
    // By many, as each refusal comes after a wait for room.
    let offer = &|source: u64| {
        let (mut sender, mut logs) = (Sender::from(1 + source * 1_000), scribe(&gateway));
        for _ in 0..6 {
            sender.log(&mut logs, 1);
        }
        sender
    };
    let mut senders: Vec<Sender> = thread::scope(|scope| {
        let sources: Vec<_> = (0..25).map(|source| scope.spawn(move || offer(source))).collect();
        sources.into_iter().map(|source| source.join().unwrap()).collect()
    });
    let yes: usize = senders.iter().map(|sender| sender.acknowledged.len()).sum();
    assert!((1..=100).contains(&yes), "{yes} of 150 were taken");
    assert_eq!(gateway.metric("spangate_spans_refused_total", &["listener=\"scribe\""]) as usize, 150 - yes);
    assert!(waiting(&gateway) as usize >= yes);
    collector.rise();
    emptied(&gateway);
    let (mut after, mut logs) = (Sender::from(1_000_000), scribe(&gateway));
    for _ in 0..50 {
        wait_for("it takes again", LIMIT, || after.log(&mut logs, 1).then_some(()));
    }
    emptied(&gateway);
    senders.push(after);
    let found = collected(&[&collector]);
    assert_eq!((lost(&senders.iter().collect::<Vec<_>>(), &found), repeated(&found)), (0, 0));
    gateway.stop();
}

/// R7.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_that_comes_alone_does_not_wait_for_another() {
    let dir = TempDir::new().unwrap();
    let collector = Collector::start().await;
    let mut gateway = gateway(dir.path(), &sinks(&[&collector]), &[]);
    let mut sender = Sender::from(1);
    let mut logs = scribe(&gateway);
    let mut times: Vec<Duration> = (0..15)
        .map(|_| {
            let begun = Instant::now();
            assert!(sender.log(&mut logs, 1));
            wait_until_all("it arrives, alone", &sender.acknowledged, || collected(&[&collector]));
            begun.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[7] < FLUMES_SHORTEST_WAIT, "the middle one of 15 took {:?}", times[7]);
    let found: BTreeMap<String, u32> = collected(&[&collector]);
    assert_eq!((lost(&[&sender], &found), repeated(&found), collector.requests().len()), (0, 0, 15));
    gateway.stop();
}

/// R8: a disk below `free_min` is what a full one looks like to the channel.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_stops_intake_and_never_the_draining() {
    let dir = TempDir::new().unwrap();
    let mut collector = Collector::absent();
    let keys = format!("batch.spans = 100\nbackoff_max = \"500ms\"\n{}", sinks(&[&collector]));
    let mut gateway = gateway(dir.path(), &keys, &["--intake-commit-wait", "30s", "--channel-free-min", "0"]);
    let mut sender = Sender::from(1);
    for _ in 0..10 {
        assert!(sender.post(&mut http(&gateway), 100));
    }
    gateway.stop();
    gateway.replace_argument("0", "1000000GiB");
    gateway.replace_argument("30s", "500ms");
    gateway.start_again_without_room();
    assert!(!sender.post(&mut http(&gateway), 1), "there is no room");
    assert_eq!(waiting(&gateway), 1000.0);
    collector.rise();
    emptied(&gateway);
    let found = collected(&[&collector]);
    assert_eq!((lost(&[&sender], &found), repeated(&found), found.len()), (0, 0, 1000));
    gateway.stop();
}
