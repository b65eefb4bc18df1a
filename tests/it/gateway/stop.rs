//! Stops that are held up: by a collector, by clients, by a second signal; and starts without collectors.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use super::rig::{LIMIT, Sender, collected, http, wait_until_all};
use crate::support::collector::{Collector, Play};
use crate::support::http::Client;
use crate::support::process::{Gateway, wait_for};

/// A gateway whose only collector never answers, with batches on the way to it.
async fn with_a_hung_collector(dir: &TempDir, stop_timeout: &str) -> (Gateway, Collector, Sender) {
    let collector = Collector::start().await;
    collector.play(Play::Hang);
    let gateway = Gateway::start(dir.path(), &["--collector", &collector.url(), "--stop-timeout", stop_timeout]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&gateway), 50));
    wait_for("a batch is under way", LIMIT, || (gateway.metric("spangate_sink_in_flight", &[]) > 0.0).then_some(()));
    (gateway, collector, sender)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_in_time_with_a_hung_collector_and_clients_that_never_finish() {
    let dir = TempDir::new().unwrap();
    let (mut gateway, collector, sender) = with_a_hung_collector(&dir, "3s").await;
    let half_post =
        b"POST /api/v2/spans HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n[{";
    let mut held = Vec::new();
    for (port, start) in [(gateway.http, &half_post[..]), (gateway.scribe, &[0, 0, 1, 0, 0x80, 1][..])] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(start).unwrap();
        held.push(stream);
    }
    let begun = Instant::now();
    let status = gateway.process.stop(Signal::TERM, LIMIT);
    assert!(status.success(), "{status}: {}", gateway.process.tail());
    assert!(begun.elapsed() < Duration::from_secs(15), "the stop took {:?}", begun.elapsed());
    for mut stream in held {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut answer = Vec::new();
        // A reset is as good an end.
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 202"), "half a message was accepted");
    }
    collector.play(Play::Ok);
    gateway.start_again();
    wait_until_all("collected", &sender.acknowledged, || collected(&[&collector]));
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once_and_nothing_is_lost() {
    let dir = TempDir::new().unwrap();
    let (mut gateway, collector, sender) = with_a_hung_collector(&dir, "60s").await;
    kill_process(gateway.process.pid(), Signal::TERM).unwrap();
    wait_for("it says that it stops", LIMIT, || gateway.process.tail().contains("stopping").then_some(()));
    let begun = Instant::now();
    let status = gateway.process.stop(Signal::INT, LIMIT);
    assert!(begun.elapsed() < Duration::from_secs(20), "the second signal took {:?}", begun.elapsed());
    assert_eq!(status.code(), Some(1), "{}", gateway.process.tail());
    assert!(gateway.process.tail().contains("SIGINT again: stopped at once"), "{}", gateway.process.tail());
    collector.play(Play::Ok);
    gateway.start_again();
    wait_until_all("collected", &sender.acknowledged, || collected(&[&collector]));
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn collectors_that_are_absent_unknown_or_speak_no_tls_cost_their_share_only_and_are_named() {
    let dir = TempDir::new().unwrap();
    let (absent, plain, well) = (Collector::absent(), Collector::start().await, Collector::start().await);
    let no_tls = plain.url().replace("http://", "https://");
    let urls = [absent.url(), "http://collector.invalid:9411".to_owned(), no_tls, well.url()];
    let arguments: Vec<&str> = urls.iter().flat_map(|url| ["--collector", url]).collect();
    let mut gateway = Gateway::start(dir.path(), &arguments);
    let mut sender = Sender::from(1);
    for _ in 0..20 {
        assert!(sender.post(&mut http(&gateway), 10));
    }
    wait_until_all("collected", &sender.acknowledged, || collected(&[&well]));
    assert!(plain.taken().is_empty());
    let states = |text: &str| -> Vec<(String, String, String)> {
        let ready: serde_json::Value = serde_json::from_str(text).unwrap();
        let drains = ready["drains"].as_array().unwrap();
        let zipkin = drains.iter().find(|drain| drain["name"] == "zipkin").expect("the drain is shown");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let sinks = zipkin["sinks"].as_array().unwrap().iter();
        sinks.map(|sink| (text(&sink["name"]), text(&sink["state"]), text(&sink["last_error"]))).collect()
    };
    let mut number = 1_000_000;
    let sinks = wait_for("three of them are told as ill", LIMIT, || {
        number += 10;
        assert!(Sender::from(number).post(&mut http(&gateway), 10));
        let answer = Client::new(gateway.admin).get("/ready").unwrap();
        assert_eq!(answer.status, 200, "ready without them");
        let sinks = states(&answer.text());
        sinks[..3].iter().all(|(_, _, error)| !error.is_empty()).then_some(sinks)
    });
    assert!(sinks[1].2.contains("collector.invalid"), "{sinks:?}");
    assert!(sinks[..3].iter().all(|(_, state, _)| state != "up"), "{sinks:?}");
    assert_eq!((sinks[3].1.as_str(), sinks[3].2.as_str()), ("up", ""), "{sinks:?}");
    gateway.stop();
}
