//! The way of a span through the whole process.

use rustix::process::Signal;
use tempfile::TempDir;

use super::rig::{LIMIT, Sender, archived, collected, http, scribe, wait_until_all};
use crate::support::collector::Collector;
use crate::support::process::{Gateway, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_both_listeners_reach_two_collectors_in_about_halves_and_the_archive_once() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (Collector::start().await, Collector::start().await);
    let mut gateway = Gateway::start(dir.path(), &["--collector", &a.url(), "--collector", &b.url()]);
    let mut sender = Sender::from(1);
    let (mut http, mut scribe) = (http(&gateway), scribe(&gateway));
    for _ in 0..40 {
        assert!(sender.post(&mut http, 5));
        assert!(sender.log(&mut scribe, 5));
    }
    wait_until_all("collected", &sender.acknowledged, || collected(&[&a, &b]));
    wait_until_all("archived", &sender.acknowledged, || archived(&gateway));
    for found in [collected(&[&a, &b]), archived(&gateway)] {
        assert!(found.values().all(|times| *times == 1), "something is there twice: {found:?}");
        assert_eq!(found.len(), sender.acknowledged.len());
    }
    let (a, b) = (a.requests().len(), b.requests().len());
    assert!(a.abs_diff(b) <= 2, "round robin gave {a} and {b} batches");
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_was_read_and_the_next_start_delivers_what_waited() {
    let dir = TempDir::new().unwrap();
    let mut collector = Collector::absent();
    let mut gateway = Gateway::start(dir.path(), &["--collector", &collector.url(), "--archive", "none"]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&gateway), 100));
    assert!(sender.log(&mut scribe(&gateway), 100));
    let status = gateway.process.stop(Signal::INT, LIMIT);
    assert!(status.success(), "{status}: {}", gateway.process.tail());
    collector.rise();
    gateway.start_again();
    wait_until_all("collected", &sender.acknowledged, || collected(&[&collector]));
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_feed_each_other_break_the_loop_and_the_spans_stay() {
    let dirs = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // The first one's collector is the second, whose port is known only when it runs.
    let mut second = Gateway::start(dirs.1.path(), &["--collector", "http://127.0.0.1:9", "--archive", "none"]);
    let to_second = format!("http://127.0.0.1:{}", second.http);
    let first = Gateway::start(dirs.0.path(), &["--collector", &to_second, "--archive", "none"]);
    second.stop();
    let to_first = format!("http://127.0.0.1:{}", first.http);
    second.replace_argument("http://127.0.0.1:9", &to_first);
    second.start_again();
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&first), 10));
    wait_for("the second gateway is told of the loop", LIMIT, || {
        let refused = second.metric("spangate_sink_spans_total", &["outcome=\"misconfigured\""]);
        (refused > 0.0).then_some(())
    });
    assert_eq!(first.metric("spangate_spans_accepted_total", &[]), 10.0, "nothing came round");
    assert_eq!(second.metric("spangate_drain_waiting_spans", &["drain=\"zipkin\""]), 10.0, "nothing was dropped");
}
