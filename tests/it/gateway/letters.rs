//! `spangate dead-letters` beside the gateway that wrote them, and without it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::rig::{LIMIT, Sender, http, scribe, wait_until_all};
use crate::support::collector::{Collector, Play};
use crate::support::process::{Gateway, wait_for};
use crate::support::scribe as client;

fn letters(dir: &Path, verb: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
    command.args(["dead-letters", verb, "--data"]).arg(dir.join("data")).args(more);
    command.output().expect("the binary runs")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A gateway whose collector refuses span 7 of ten, and the letter that came of it.
async fn with_a_letter(dir: &Path) -> (Gateway, Collector, Sender) {
    let collector = Collector::start().await;
    let bad = format!("{:016x}", 7);
    collector.play(Play::RefuseSpans([bad].into()));
    let gateway = Gateway::start(dir, &["--collector", &collector.url(), "--archive", "none"]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&gateway), 10));
    wait_for("the bad one is a letter", LIMIT, || {
        (gateway.metric("spangate_dead_letters_total", &["class=\"refused\""]) == 1.0).then_some(())
    });
    (gateway, collector, sender)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_span_is_listed_shown_and_replayed_while_the_gateway_runs() {
    let dir = TempDir::new().unwrap();
    let (mut gateway, collector, sender) = with_a_letter(dir.path()).await;
    let list = said(&letters(dir.path(), "list", &[]));
    let fields: Vec<&str> = list.trim_end().split('\t').collect();
    assert_eq!((list.lines().count(), fields[2], fields[3]), (1, "refused", "zipkin"), "{list}");
    assert!(fields[4].contains("400"), "{list}");
    let shown: Value = serde_json::from_str(&said(&letters(dir.path(), "show", &[fields[0]]))).unwrap();
    assert_eq!(shown["span"]["id"], format!("{:016x}", 7));
    assert_eq!(shown["span"]["localEndpoint"]["serviceName"], "shop");
    assert_eq!(said(&letters(dir.path(), "list", &["--class", "suspect"])), "");
    assert_eq!(said(&letters(dir.path(), "list", &["--drain", "other"])), "");
    assert_eq!(said(&letters(dir.path(), "list", &["--since", "2100-01-01"])), "");

    collector.play(Play::Ok);
    let admin = format!("127.0.0.1:{}", gateway.admin);
    let replayed = said(&letters(dir.path(), "replay", &["--reason", "400", "--admin-address", &admin]));
    assert!(replayed.contains("zipkin: 1 replayed"), "{replayed}");
    wait_until_all("collected", &sender.acknowledged, || collector.taken());
    assert!(collector.taken().values().all(|times| *times == 1));
    assert_eq!(said(&letters(dir.path(), "list", &[])), "", "the letter is gone");
    wait_for("the ledger adds up", LIMIT, || {
        let of = |name: &str, more: &[&str]| gateway.metric(name, &[&["drain=\"zipkin\""], more].concat());
        let accepted = of("spangate_drain_accepted_spans_total", &[]);
        let delivered = of("spangate_drain_spans_total", &["outcome=\"delivered\""]);
        let dead = of("spangate_drain_spans_total", &["outcome=\"dead_lettered\""]);
        (accepted == 11.0 && delivered == 10.0 && dead == 1.0).then_some(())
    });
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_counts_letters_that_go_and_one_refused_again_says_that_it_was_sent_again() {
    let dir = TempDir::new().unwrap();
    let collector = Collector::start().await;
    collector.play(Play::RefuseSpans([3, 5, 7].map(|n: u64| format!("{n:016x}")).into()));
    let drain = |name: &str| format!("[drain.{name}]\nsinks = [{{ url = \"{}\" }}]\n", collector.url());
    let file = dir.path().join("spangate.toml");
    std::fs::write(&file, drain("old") + &drain("zipkin")).unwrap();
    let arguments = ["-c", file.to_str().unwrap(), "--archive", "none"];
    let mut gateway = Gateway::start(dir.path(), &arguments);
    assert!(Sender::from(1).post(&mut http(&gateway), 10));
    let dead = |gateway: &Gateway| gateway.metric("spangate_dead_letters_total", &["class=\"refused\""]);
    wait_for("the bad ones are letters", LIMIT, || (dead(&gateway) == 6.0).then_some(()));
    wait_for("all is settled", LIMIT, || (gateway.metric("spangate_drain_waiting_spans", &[]) == 0.0).then_some(()));
    gateway.stop();
    std::fs::write(&file, drain("zipkin")).unwrap();
    gateway.start_again();
    let admin = format!("127.0.0.1:{}", gateway.admin);
    let replayed = said(&letters(dir.path(), "replay", &["--limit", "2", "--admin-address", &admin]));
    assert!(replayed.contains("zipkin: 2 replayed") && replayed.contains("old: 3 kept"), "{replayed}");
    // Something passes, so those refused again are letters again.
    assert!(Sender::from(100).post(&mut http(&gateway), 10));
    wait_for("they are letters again", LIMIT, || (dead(&gateway) == 2.0).then_some(()));
    let list = said(&letters(dir.path(), "list", &["--drain", "zipkin"]));
    let last = list.lines().last().unwrap().split('\t').next().unwrap();
    let shown: Value = serde_json::from_str(&said(&letters(dir.path(), "show", &[last]))).unwrap();
    let origin = shown["origin"].as_array().unwrap();
    assert!(origin.contains(&serde_json::json!(["replay", "dead-letters"])), "{shown}");
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_letters_than_a_channel_has_room_for_are_replayed_a_few_at_a_time() {
    let dir = TempDir::new().unwrap();
    let collector = Collector::start().await;
    collector.play(Play::RefuseSpans([3, 5, 7].map(|n: u64| format!("{n:016x}")).into()));
    let drain = format!("[drain.zipkin]\nsinks = [{{ url = \"{}\" }}]\n", collector.url());
    let file = dir.path().join("spangate.toml");
    std::fs::write(&file, &drain).unwrap();
    let mut gateway = Gateway::start(dir.path(), &["-c", file.to_str().unwrap(), "--archive", "none"]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&gateway), 10));
    wait_for("all is settled", LIMIT, || (gateway.metric("spangate_drain_waiting_spans", &[]) == 0.0).then_some(()));
    gateway.stop();
    std::fs::write(&file, drain + "[channel]\ncapacity_spans = 2\n").unwrap();
    gateway.start_again();
    collector.play(Play::Ok);
    let admin = format!("127.0.0.1:{}", gateway.admin);
    let replayed = said(&letters(dir.path(), "replay", &["--admin-address", &admin]));
    assert!(replayed.contains("zipkin: 3 replayed"), "{replayed}");
    wait_until_all("collected", &sender.acknowledged, || collector.taken());
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_replayed_to_a_gateway_that_is_stopped_and_sent_at_its_next_start() {
    let dir = TempDir::new().unwrap();
    let (mut gateway, collector, sender) = with_a_letter(dir.path()).await;
    gateway.stop();
    collector.play(Play::Ok);
    let replayed = said(&letters(dir.path(), "replay", &[]));
    assert!(replayed.contains("zipkin: 1 replayed"), "{replayed}");
    assert_eq!(said(&letters(dir.path(), "replay", &[])), "no letters\n");
    gateway.start_again();
    wait_until_all("collected", &sender.acknowledged, || collector.taken());
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_decoded_is_shown_as_it_came_and_purged_but_goes_to_no_drain() {
    let dir = TempDir::new().unwrap();
    let mut gateway = Gateway::start(dir.path(), &["--archive", "none", "--collector", "http://127.0.0.1:9"]);
    let mut peer = scribe(&gateway);
    assert!(peer.try_send("Log", &client::log_arguments(&[("zipkin", "no span at all")])).is_ok());
    assert_eq!(peer.reply().unwrap().code(), client::OK);
    wait_for("it is a letter", LIMIT, || {
        (gateway.metric("spangate_dead_letters_total", &["class=\"undecodable\""]) == 1.0).then_some(())
    });
    gateway.stop();
    let list = said(&letters(dir.path(), "list", &["--class", "undecodable"]));
    let id = list.split('\t').next().unwrap();
    let shown: Value = serde_json::from_str(&said(&letters(dir.path(), "show", &[id]))).unwrap();
    assert_eq!(shown["bytes"], "bm8gc3BhbiBhdCBhbGw=");
    let replayed = said(&letters(dir.path(), "replay", &[]));
    assert!(replayed.contains("1 could not be decoded"), "{replayed}");
    assert!(said(&letters(dir.path(), "purge", &[])).contains("1 letters would be removed"));
    assert_eq!(said(&letters(dir.path(), "list", &[])).lines().count(), 1, "nothing is removed unasked");
    assert_eq!(said(&letters(dir.path(), "purge", &["--yes"])), "1 letters removed\n");
    assert_eq!(said(&letters(dir.path(), "list", &[])), "");
    assert_eq!(letters(dir.path(), "show", &[id]).status.code(), Some(2));
}
