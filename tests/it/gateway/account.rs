//! Nothing disappears: the ledger at every scrape, a full channel, the README's table.

use std::collections::{BTreeMap, BTreeSet};

use tempfile::TempDir;

use super::rig::{LIMIT, Sender, collected, http, scribe, wait_until_all};
use crate::support::collector::{Collector, Play};
use crate::support::http::Client;
use crate::support::process::{Gateway, sum, wait_for};
use spangate::metrics::{Kind, TABLE};

const DRAINS: [&str; 3] = ["drain=\"zipkin\"", "drain=\"archive\"", "drain=\"dead-letters\""];

fn scrape(gateway: &Gateway) -> String {
    Client::new(gateway.admin).get("/metrics").unwrap().text()
}

/// accepted = outcomes + waiting for each drain; received = accepted + set aside + refused for each listener.
pub fn adds_up(text: &str, drains: &[&str]) {
    for drain in drains {
        let accepted = sum(text, "spangate_drain_accepted_spans_total", &[drain]);
        let settled = sum(text, "spangate_drain_spans_total", &[drain]);
        let waiting = sum(text, "spangate_drain_waiting_spans", &[drain]);
        assert_eq!(accepted, settled + waiting, "{drain}: accepted, settled and waiting do not add up");
    }
    for listener in ["listener=\"http\"", "listener=\"scribe\""] {
        let part = |name| sum(text, name, &[listener]);
        let parts = part("spangate_spans_accepted_total")
            + part("spangate_spans_set_aside_total")
            + part("spangate_spans_refused_total");
        assert_eq!(part("spangate_spans_received_total"), parts, "{listener}: received is not the sum of its parts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_adds_up_at_every_scrape_and_across_a_kill() {
    let dir = TempDir::new().unwrap();
    let collector = Collector::start().await;
    collector.play(Play::RefuseSpans(["000000000000000b".to_owned()].into()));
    let mut gateway = Gateway::start(dir.path(), &["--collector", &collector.url()]);
    let mut sender = Sender::from(1);
    for round in 0..30 {
        if round == 15 {
            gateway.process.kill();
            gateway.start_again();
        }
        let mut scribe = scribe(&gateway);
        assert!(sender.post(&mut http(&gateway), 20));
        assert!(sender.log(&mut scribe, 20));
        assert_eq!(scribe.log(&[("zipkin", "no base64!")]), 0, "an undecodable entry is set aside");
        let bad = http(&gateway).post("/api/v2/spans", "application/json", b"[{\"traceId\":\"1\"}]").unwrap();
        assert_eq!(bad.status, 400);
        adds_up(&scrape(&gateway), &DRAINS);
    }
    wait_for("all is settled", LIMIT, || {
        let text = scrape(&gateway);
        adds_up(&text, &DRAINS);
        (sum(&text, "spangate_drain_waiting_spans", &[]) == 0.0).then_some(())
    });
    let text = scrape(&gateway);
    assert_eq!(sum(&text, "spangate_drain_accepted_spans_total", &["drain=\"zipkin\""]), 1200.0);
    assert_eq!(sum(&text, "spangate_drain_spans_total", &["drain=\"dead-letters\"", "dead_lettered"]), 30.0);
    assert_eq!(sum(&text, "spangate_drain_spans_total", &["drain=\"zipkin\"", "dead_lettered"]), 1.0);
    assert_eq!(sum(&text, "spangate_drain_spans_total", &["drain=\"archive\"", "delivered"]), 1200.0);
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_channel_says_no_names_the_drain_and_takes_again_when_it_has_room() {
    let dir = TempDir::new().unwrap();
    let mut collector = Collector::absent();
    // A short rest, so that the collector is found soon after it rises.
    let file = dir.path().join("spangate.toml");
    let drain = format!("[drain.zipkin]\nbackoff_max = \"500ms\"\nsinks = [{{ url = \"{}\" }}]\n", collector.url());
    std::fs::write(&file, drain).unwrap();
    let arguments = ["-c", file.to_str().unwrap(), "--channel-capacity", "16MiB"];
    let mut gateway = Gateway::start(dir.path(), &arguments);
    let mut sender = Sender::from(1);
    sender.padding = 4_000;
    let mut client = http(&gateway);
    // A message may be refused because a sync took its time: full is what /ready calls so.
    let full = || Client::new(gateway.admin).get("/ready").unwrap().status == 503;
    assert!((0..1000).any(|_| !sender.post(&mut client, 100) && full()), "16 MiB took 400 MB");
    // What is left has room for small messages still.
    for padding in [4_000, 0] {
        sender.padding = padding;
        assert!((0..10_000).any(|_| !sender.post(&mut client, 1) && full()), "the rest took 10,000 messages");
    }
    let answer = client.post("/api/v2/spans", "application/json", b"[{\"traceId\":\"1\",\"id\":\"2\"}]").unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(scribe(&gateway).log(&[("zipkin", &crate::support::scribe::entry(1, 2, "x"))]), 1, "TRY_LATER");
    let ready = Client::new(gateway.admin).get("/ready").unwrap();
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("drain zipkin is furthest behind"), "{}", ready.text());
    assert_eq!(Client::new(gateway.admin).get("/health").unwrap().status, 200);
    let text = scrape(&gateway);
    adds_up(&text, &DRAINS);
    assert_eq!(sum(&text, "spangate_drain_blocking", &["drain=\"zipkin\""]), 1.0);
    for part in ["% full; drain zipkin fills it", "intake stopped reason=\"full: drain zipkin is furthest behind"] {
        wait_for(part, LIMIT, || std::fs::read_to_string(&gateway.process.log).unwrap().contains(part).then_some(()));
    }
    collector.rise();
    wait_for("there is room again", LIMIT, || sender.post(&mut client, 1).then_some(()));
    wait_until_all("collected", &sender.acknowledged, || collected(&[&collector]));
    adds_up(&scrape(&gateway), &DRAINS);
    gateway.stop();
}

/// Family, type and labels of each row of the README's table of metrics.
fn readme() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `spangate_") || line.starts_with("| `process_"));
    let cell = |cell: &str| cell.trim().replace('`', "");
    rows.map(|row| {
        let cells: Vec<String> = row.split('|').skip(1).map(cell).collect();
        let labels = cells[2].split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty());
        (cells[0].clone(), (cells[1].clone(), labels.collect()))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_the_table_and_a_scrape_name_the_same_families() {
    let dir = TempDir::new().unwrap();
    let collector = Collector::start().await;
    let mut gateway = Gateway::start(dir.path(), &["--collector", &collector.url()]);
    assert!(Sender::from(1).post(&mut http(&gateway), 1));
    let text = scrape(&gateway);
    let shown: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let readme = readme();
    for family in TABLE {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert_eq!(shown.get(family.name), Some(&kind), "{} in a scrape", family.name);
        let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
        assert_eq!(readme.get(family.name), Some(&(kind.to_owned(), labels)), "{} in the README", family.name);
    }
    assert_eq!((shown.len(), readme.len()), (TABLE.len(), TABLE.len()));
    gateway.stop();
}
