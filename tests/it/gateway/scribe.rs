//! A gateway that feeds another one over Scribe.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::rig::{LIMIT, Sender, collected, http, scribe, wait_until_all};
use crate::support::collector::Collector;
use crate::support::http::Client;
use crate::support::process::{Gateway, sum, wait_for};
use crate::support::scribe_server::{Play, Server};

/// What became of the spans of the drain `zipkin`, by outcome; they add up at every scrape.
fn account(gateway: &Gateway, outcome: &str) -> f64 {
    let text = Client::new(gateway.admin).get("/metrics").unwrap().text();
    let of = |name: &str, more: &[&str]| sum(&text, name, &[&["drain=\"zipkin\""], more].concat());
    let settled = of("spangate_drain_spans_total", &[]) + of("spangate_drain_waiting_spans", &[]);
    assert_eq!(of("spangate_drain_accepted_spans_total", &[]), settled);
    of("spangate_drain_spans_total", &[&format!("outcome=\"{outcome}\"")])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_span_reaches_a_second_gateway_over_scribe_through_its_death() {
    let dirs = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let collector = Collector::start().await;
    let mut second = Gateway::start(dirs.1.path(), &["--collector", &collector.url(), "--archive", "none"]);
    let to_second = format!("scribe://127.0.0.1:{}", second.scribe);
    let mut first = Gateway::start(dirs.0.path(), &["--collector", &to_second, "--archive", "none"]);
    let mut sender = Sender::from(1);
    let (mut client, mut log) = (http(&first), scribe(&first));
    for round in 0..20 {
        if round == 10 {
            second.process.kill();
            second.start_again();
        }
        assert!(sender.post(&mut client, 50));
        assert!(sender.log(&mut log, 50));
    }
    wait_until_all("collected", &sender.acknowledged, || collected(&[&collector]));
    assert!(collected(&[&collector]).keys().all(|id| sender.sent.contains(id)));
    wait_for("the first one has heard its last yes", LIMIT, || (account(&first, "delivered") == 2_000.0).then_some(()));
    wait_for("so has the second", LIMIT, || {
        let waiting = second.metric("spangate_drain_waiting_spans", &[]);
        (account(&second, "delivered") >= 2_000.0 && waiting == 0.0).then_some(())
    });
    // What the death left in doubt came twice, and the first one says so.
    let twice = second.metric("spangate_drain_accepted_spans_total", &["drain=\"zipkin\""]) - 2_000.0;
    let repeats = first.metric("spangate_repeats_total", &[]);
    assert!(twice <= repeats, "{twice} came twice, {repeats} counted");
    assert_eq!(second.metric("spangate_spans_set_aside_total", &[]), 0.0);
    first.stop();
    second.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_send_makes_is_the_same_spans_at_the_end_of_two_gateways() {
    let dirs = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (near, far) = (Collector::start().await, Collector::start().await);
    let mut second = Gateway::start(dirs.1.path(), &["--collector", &far.url(), "--archive", "none"]);
    let scribe = format!("scribe://127.0.0.1:{}", second.scribe);
    // Two drains: one over Scribe to the other gateway, one straight.
    let file = dirs.0.path().join("spangate.toml");
    let toml = format!(
        "[drain.zipkin]\nsinks = [{{ url = \"{scribe}\" }}]\n[drain.straight]\nsinks = [{{ url = \"{}\" }}]\n",
        near.url()
    );
    std::fs::write(&file, toml).unwrap();
    let arguments = ["-c", file.to_str().unwrap(), "--archive", "none"];
    let mut first = Gateway::start(dirs.0.path(), &arguments);
    let url = format!("http://127.0.0.1:{}", first.http);
    let send = ["send", "--http", &url, "--spans", "1000", "--seed", "7"];
    let sent = Command::new(env!("CARGO_BIN_EXE_spangate")).args(send).stdout(Stdio::null()).status().unwrap();
    assert!(sent.success());
    let spans = |collector: &Collector| -> BTreeMap<Vec<u8>, usize> {
        let mut all = BTreeMap::new();
        for request in collector.requests() {
            for span in spangate::span::canonical::elements(&request.body) {
                *all.entry(span.unwrap().to_vec()).or_default() += 1;
            }
        }
        all
    };
    wait_for("all are at both ends", LIMIT, || {
        [&near, &far].iter().all(|collector| spans(collector).values().sum::<usize>() == 1_000).then_some(())
    });
    assert!(spans(&near) == spans(&far), "a span of `send` lost something on its way through v1");
    first.stop();
    second.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_scribe_refuses_and_what_v1_cannot_say_is_dead_lettered_alone() {
    let dir = TempDir::new().unwrap();
    let server = Server::start().await;
    server.play(Play::RefuseSpans(["0000000000000007".to_owned()].into()));
    let mut gateway = Gateway::start(dir.path(), &["--collector", &server.url(), "--archive", "none"]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&gateway), 200));
    // 128 bits whose low half is zero: v1 takes such an id for none.
    let unsayable = br#"[{"traceId":"463ac35c9f6413ad0000000000000000","id":"abc"}]"#;
    let answer = http(&gateway).post("/api/v2/spans", "application/json", unsayable).unwrap();
    assert_eq!(answer.status, 202);
    let all = |text: &str| account(&gateway, text);
    wait_for("all but two are delivered", LIMIT, || (all("delivered") == 199.0).then_some(()));
    wait_for("the two are dead letters", LIMIT, || (all("dead_lettered") == 2.0).then_some(()));
    let taken = server.seen().taken;
    assert!(taken.len() == 199 && !taken.contains_key("0000000000000007"), "{taken:?}");
    gateway.stop();
}
