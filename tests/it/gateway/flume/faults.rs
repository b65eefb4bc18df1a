//! Experiments with a crash: of a collector, of the gateway, of both during a change, of all collectors but one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use super::super::rig::{LIMIT, Sender, collected, http, scribe, wait_until_all};
use super::{emptied, gateway, lost, repeated, sinks, waiting};
use crate::support::collector::{Collector, Play};
use crate::support::http::Client;
use crate::support::process::{Gateway, wait_for};
use crate::support::scribe_server::{self, Server};

/// Two spans a second for 65 minutes.
const OUTAGE: usize = 7_800;
/// Spans in a batch, where the bound on what is repeated is told in batches.
const BATCH: usize = 100;

/// R2a, after E2a.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_dies_for_65_minutes_gets_all_of_them_and_at_most_a_batch_again() {
    let dir = TempDir::new().unwrap();
    let mut collector = Collector::start().await;
    let keys = format!("in_flight = 1\nbatch.spans = {BATCH}\nbackoff_max = \"500ms\"\n{}", sinks(&[&collector]));
    let arguments = ["--channel-capacity-spans", "10000", "--intake-commit-wait", "30s"];
    let mut gateway = gateway(dir.path(), &keys, &arguments);
    let mut sender = Sender::from(1);
    let mut posts = http(&gateway);
    assert!(sender.post(&mut posts, BATCH));
    emptied(&gateway);
    // It dies when it has taken a batch and not said so.
    collector.play(Play::TakeAndHang);
    assert!(sender.post(&mut posts, BATCH));
    wait_for("it has taken some", LIMIT, || (collector.taken().len() > BATCH).then_some(()));
    collector.fall().await;
    for _ in 0..OUTAGE / BATCH {
        assert!(sender.post(&mut posts, BATCH));
    }
    assert_eq!(waiting(&gateway) as usize, OUTAGE + BATCH);
    collector.play(Play::Ok);
    collector.rise();
    emptied(&gateway);
    let found = collected(&[&collector]);
    assert_eq!((lost(&[&sender], &found), found.len()), (0, OUTAGE + 2 * BATCH));
    assert!(repeated(&found) as usize <= BATCH, "{} are repeated", repeated(&found));
    gateway.stop();
}

/// R4, after E4. What a power cut leaves is tried on a disk that drops what was not synced, in the channel's tests.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_stopped_repeats_nothing_and_one_that_is_killed_what_was_under_way() {
    let dir = TempDir::new().unwrap();
    let collector = Collector::start().await;
    let keys = format!("in_flight = 4\nbatch.spans = {BATCH}\nbackoff_max = \"500ms\"\n{}", sinks(&[&collector]));
    let mut gateway = gateway(dir.path(), &keys, &["--intake-commit-wait", "30s"]);
    let mut sender = Sender::from(1);
    for _ in 0..20 {
        assert!(sender.post(&mut http(&gateway), BATCH));
    }
    emptied(&gateway);
    gateway.stop();
    collector.play(Play::TakeAndHang);
    gateway.start_again();
    assert_eq!(repeated(&collected(&[&collector])), 0, "a stop repeats nothing");
    for _ in 0..20 {
        assert!(sender.post(&mut http(&gateway), BATCH));
    }
    wait_for("it is in the middle of batches", LIMIT, || (collector.taken().len() > 20 * BATCH).then_some(()));
    gateway.process.kill();
    collector.play(Play::Ok);
    gateway.start_again();
    emptied(&gateway);
    let found = collected(&[&collector]);
    assert_eq!((lost(&[&sender], &found), found.len()), (0, 40 * BATCH));
    let again = repeated(&found) as usize;
    assert!((1..=4 * BATCH).contains(&again), "{again} are repeated");
    gateway.stop();
}

/// Sends over HTTP and Scribe, each message on a connection of its own, until told to stop.
fn send(first: u64, gateway: &Gateway, stop: &AtomicBool) -> Sender {
    let mut sender = Sender::from(first);
    while !stop.load(Ordering::Relaxed) {
        assert!(sender.post(&mut http(gateway), 10), "refused over HTTP");
        assert!(sender.log(&mut scribe(gateway), 10), "refused over Scribe");
    }
    sender
}

/// R5, after E5.
#[tokio::test(flavor = "multi_thread")]
async fn collectors_are_swapped_under_load_while_a_collector_and_a_gateway_are_down() {
    let (mut a, b, c) = (Collector::start().await, Collector::start().await, Collector::start().await);
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let keys = |collectors: &[&Collector]| format!("backoff_max = \"500ms\"\n{}", sinks(collectors));
    let start = |dir: &TempDir| gateway(dir.path(), &keys(&[&a, &b]), &["--intake-commit-wait", "30s"]);
    let (mut stays, mut dies) = (start(&dirs[0]), start(&dirs[1]));
    let mut early = Sender::from(1_000_000);
    a.fall().await;
    assert!(early.post(&mut http(&dies), 100));
    dies.process.kill();

    let stop = AtomicBool::new(false);
    let reloads = [vec![&b, &c], vec![&c], vec![&b, &c], vec![&c]];
    let late = thread::scope(|scope| {
        let load = scope.spawn(|| send(1, &stays, &stop));
        for collectors in &reloads {
            let before = stays.metric("spangate_spans_accepted_total", &[]);
            std::fs::write(dirs[0].path().join("spangate.toml"), format!("[drain.zipkin]\n{}\n", keys(collectors)))
                .unwrap();
            let answer = Client::new(stays.admin).request("POST", "/reload", &[("spangate-admin", "1")], b"").unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let accepted = || stays.metric("spangate_spans_accepted_total", &[]);
            wait_for("spans flow", LIMIT, || (accepted() > before + 200.0).then_some(()));
        }
        stop.store(true, Ordering::Relaxed);
        load.join().expect("every connection was taken and every answer was yes")
    });
    dies.start_again();
    for gateway in [&mut stays, &mut dies] {
        emptied(gateway);
        gateway.stop();
    }
    let found = collected(&[&a, &b, &c]);
    assert_eq!((lost(&[&early, &late], &found), late.sent.len()), (0, late.acknowledged.len()));
    // The one that was killed may say again what it had said; a reload repeats nothing.
    assert!(repeated(&found) <= 100, "{} are repeated", repeated(&found));
    assert!(late.sent.iter().all(|id| found[id] == 1), "a reload repeats nothing");
}

/// R6. The hung one is a process that is stopped by a signal: its sockets are open, and nobody reads.
#[tokio::test(flavor = "multi_thread")]
async fn beside_one_that_hangs_one_that_says_try_later_and_one_that_is_absent_all_goes_to_the_fourth() {
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let well = Collector::start().await;
    let later = Server::start().await;
    later.play(scribe_server::Play::Code(1));
    let mut absent = Collector::absent();
    let hangs = gateway(dirs[1].path(), &sinks(&[&well]), &[]);
    let signal = |signal| kill_process(hangs.process.pid(), signal).unwrap();
    signal(Signal::STOP);
    let sinks = [
        ("hangs", format!("http://127.0.0.1:{}", hangs.http), "1s"),
        ("later", later.url(), "5m"),
        ("absent", absent.url(), "5m"),
        ("well", well.url(), "5m"),
    ];
    let list = sinks
        .each_ref()
        .map(|(name, url, timeout)| format!("{{ name = \"{name}\", url = \"{url}\", timeout = \"{timeout}\" }}"));
    let keys = format!("batch.spans = {BATCH}\nbackoff_max = \"1s\"\nsinks = [{}]", list.join(", "));
    let mut gateway = gateway(dirs[0].path(), &keys, &["--intake-commit-wait", "30s"]);
    let mut sender = Sender::from(1);
    for _ in 0..50 {
        assert!(sender.post(&mut http(&gateway), BATCH));
    }
    emptied(&gateway);
    let found = collected(&[&well]);
    assert_eq!((lost(&[&sender], &found), repeated(&found), found.len()), (0, 0, 5_000));
    assert_eq!(gateway.metric("spangate_drain_spans_total", &["outcome=\"delivered\""]), 5_000.0);

    signal(Signal::CONT);
    later.play(scribe_server::Play::Code(0));
    absent.rise();
    let delivered =
        |name| gateway.metric("spangate_sink_spans_total", &["outcome=\"delivered\"", &format!("sink=\"{name}\"")]);
    wait_for("each is used again", LIMIT, || {
        assert!(sender.post(&mut http(&gateway), BATCH));
        sinks.iter().all(|(name, ..)| delivered(name) > 0.0).then_some(())
    });
    emptied(&gateway);
    emptied(&hangs);
    let all = || {
        let mut found = collected(&[&well, &absent]);
        later.seen().taken.into_iter().for_each(|(id, times)| *found.entry(id).or_default() += times);
        found
    };
    wait_until_all("all arrives", &sender.acknowledged, all);
    let hung = gateway.metric("spangate_sink_spans_total", &["outcome=\"elsewhere\"", "sink=\"hangs\""]);
    assert!(f64::from(repeated(&all())) <= hung, "{} are repeated, {hung} were left unanswered", repeated(&all()));
    gateway.stop();
}
