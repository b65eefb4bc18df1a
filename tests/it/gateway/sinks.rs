//! What the process shows of its collectors, and what they are told to do by its configuration.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::rig::{LIMIT, Sender, collected, http, wait_until_all};
use crate::support::collector::{Collector, Play};
use crate::support::http::Client;
use crate::support::process::{Gateway, wait_for};

/// A gateway with this file.
fn start(dir: &Path, file: &str) -> Gateway {
    let path = dir.join("spangate.toml");
    std::fs::write(&path, file).unwrap();
    Gateway::start(dir, &["-c", path.to_str().unwrap()])
}

/// A sink of the drain zipkin, as `/ready` has it.
fn sink(gateway: &Gateway, index: usize) -> Value {
    let body = Client::new(gateway.admin).get("/ready").unwrap().text();
    let ready: Value = serde_json::from_str(&body).unwrap();
    let drains = ready["drains"].as_array().unwrap();
    drains.iter().find(|drain| drain["name"] == "zipkin").unwrap()["sinks"][index].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_and_metrics_show_where_each_sink_stands() {
    let dir = TempDir::new().unwrap();
    let (well, absent) = (Collector::start().await, Collector::absent());
    let file = format!(
        "[drain.zipkin]\npolicy = \"failover\"\nbackoff_min = \"10s\"\nsinks = [{{ url = \"{}\", name = \"first\" }}, \
         {{ url = \"{}\", name = \"second\", priority = 2 }}]\n",
        absent.url(),
        well.url()
    );
    let mut gateway = start(dir.path(), &file);
    assert_eq!(
        (sink(&gateway, 0)["state"].clone(), sink(&gateway, 0)["backoff_seconds"].clone()),
        ("up".into(), 0.0.into())
    );
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&gateway), 10));
    wait_until_all("they fall over", &sender.acknowledged, || collected(&[&well]));
    let first = sink(&gateway, 0);
    assert_eq!((first["state"].as_str(), first["in_flight_limit"].as_u64()), (Some("resting"), Some(1)));
    assert!(first["backoff_seconds"].as_f64().unwrap() > 0.0, "{first}");
    assert!(first["last_error"].as_str().unwrap().contains(&absent.url()), "{first}");
    let metric = |name: &str, labels: &[&str]| gateway.metric(name, labels);
    assert_eq!(metric("spangate_sink_state", &["sink=\"first\"", "state=\"resting\""]), 1.0);
    assert_eq!(metric("spangate_sink_state", &["sink=\"first\""]), 1.0, "one state");
    assert_eq!(metric("spangate_sink_state", &["sink=\"second\"", "state=\"up\""]), 1.0);
    assert!(metric("spangate_sink_backoff_seconds", &["sink=\"first\""]) > 0.0);
    assert_eq!(metric("spangate_sink_backoff_seconds", &["sink=\"second\""]), 0.0);
    assert_eq!(metric("spangate_sink_in_flight_limit", &["sink=\"second\""]), 2.0);
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_has_a_batch_and_a_timeout_of_its_own() {
    let dir = TempDir::new().unwrap();
    let (small, hung) = (Collector::start().await, Collector::start().await);
    hung.play(Play::Hang);
    let file = format!(
        "[drain.zipkin]\npolicy = \"weighted\"\nsinks = [{{ url = \"{}\", batch = {{ spans = 7 }} }}, \
         {{ url = \"{}\", timeout = \"200ms\", weight = 3 }}]\n",
        small.url(),
        hung.url()
    );
    let mut gateway = start(dir.path(), &file);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&gateway), 500));
    wait_until_all("its timeout gives them to the other", &sender.acknowledged, || collected(&[&small]));
    assert!(small.requests().iter().all(|request| request.spans.len() <= 7));
    assert!(hung.requests().iter().any(|request| request.spans.len() > 7));
    wait_for("it is seen to time out", LIMIT, || {
        sink(&gateway, 1)["last_error"].as_str().filter(|error| error.contains("tim")).map(drop)
    });
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_holds_the_flow() {
    let dir = TempDir::new().unwrap();
    let collector = Collector::start().await;
    let file = format!("[drain.zipkin]\nrate_max = 100\nsinks = [{{ url = \"{}\" }}]\n", collector.url());
    let mut gateway = start(dir.path(), &file);
    let mut sender = Sender::from(1);
    let begun = std::time::Instant::now();
    assert!(sender.post(&mut http(&gateway), 300));
    wait_until_all("all arrive", &sender.acknowledged, || collected(&[&collector]));
    assert!(begun.elapsed() >= Duration::from_secs(2), "a hundred at once, and a hundred a second");
    assert!(collector.requests().iter().all(|request| request.spans.len() <= 100));
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_followed_has_a_sink_for_each_address() {
    let dir = TempDir::new().unwrap();
    let collector = Collector::start().await;
    let url = format!("dns+http://localhost:{}", collector.address.port());
    let mut gateway = Gateway::start(dir.path(), &["--collector", &url]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&gateway), 100));
    wait_until_all("it is found", &sender.acknowledged, || collected(&[&collector]));
    let first = sink(&gateway, 0);
    let name = format!("localhost:{}-", collector.address.port());
    assert!(first["name"].as_str().unwrap().starts_with(&name), "{first}");
    assert!(!first["url"].as_str().unwrap().contains("localhost"), "{first}");
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_drops_what_it_took_is_held_to_half_which_is_shown_and_told_once() {
    // A look every ten seconds: the first to begin with, one that finds growth, and one that finds more.
    let patience = Duration::from_secs(120);
    let dir = TempDir::new().unwrap();
    let collector = Collector::start().await;
    let mut gateway = start(dir.path(), &format!("[drain.zipkin]\nsinks = [{{ url = \"{}\" }}]\n", collector.url()));
    let (mut sender, mut client, mut dropped) = (Sender::from(1), http(&gateway), 0);
    assert_eq!(gateway.metric("spangate_sink_rate_limit", &[]), f64::INFINITY);
    let mut drops_until = |what: &str, done: &dyn Fn(f64) -> bool| {
        wait_for(what, patience, || {
            dropped += 1;
            collector.say(false, 70 + dropped);
            assert!(sender.post(&mut client, 20));
            let seen = gateway.metric("spangate_sink_dropped_spans_total", &[]);
            done(seen).then_some((seen, sender.sent.len()))
        })
    };
    let (first, sent) = drops_until("it is seen to drop", &|seen| seen > 0.0);
    let held = gateway.metric("spangate_sink_rate_limit", &[]);
    assert!(held >= 10.0 && held <= (sent as f64 / 20.0).max(10.0), "{held} a second, {sent} in more than ten seconds");
    let shown = sink(&gateway, 0);
    assert_eq!(
        (shown["held_to_spans_per_second"].as_f64(), shown["dropped_spans"].as_f64()),
        (Some(held), Some(first))
    );
    assert_eq!(shown["says_down"], true);
    drops_until("it goes on", &|seen| seen > first);
    let log = std::fs::read_to_string(&gateway.process.log).unwrap();
    assert_eq!(log.matches("a collector drops spans that it took; it is sent half").count(), 1, "{log}");
    assert_eq!(log.matches("a collector says at /health that it is down").count(), 1, "{log}");
    assert!(gateway.metric("spangate_sink_rate_limit", &[]).is_finite());
    gateway.stop();
}
