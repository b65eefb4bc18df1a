//! Several drains on one channel: each has its own place, its own filter, its own ledger.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::account::adds_up;
use super::rig::{LIMIT, archived, collected, http, objects, spans_of};
use crate::support::collector::Collector;
use crate::support::http::Client;
use crate::support::process::{Gateway, sum, wait_for};
use crate::support::scribe;

/// A span as it is sent, and what tells whether a drain takes it.
struct Sent {
    trace: u64,
    service: &'static str,
    debug: bool,
}

impl Sent {
    fn id(&self) -> String {
        format!("{:016x}", self.trace)
    }

    fn json(&self) -> Value {
        json!({ "traceId": self.id(), "id": self.id(), "debug": self.debug,
                "localEndpoint": { "serviceName": self.service } })
    }

    /// Zipkin's rule at a rate of a quarter.
    fn sampled(&self) -> bool {
        self.debug || (self.trace as i64).unsigned_abs() <= 1 << 61
    }
}

fn made(random: &mut fastrand::Rng, count: usize) -> Vec<Sent> {
    let services = ["Shop-eu", "shop-us", "front"];
    let mut one = || Sent { trace: random.u64(1..), service: services[random.usize(..3)], debug: random.u8(..8) == 0 };
    (0..count).map(|_| one()).collect()
}

fn ids<'a>(sent: impl Iterator<Item = &'a Sent>) -> BTreeSet<String> {
    sent.map(Sent::id).collect()
}

fn configuration(dir: &TempDir, sampled: &Collector, shop: &Collector) -> String {
    let mut file = String::from("[scribe]\nlabels = { zone = \"a\" }\n[drain.archive]\nroll_idle = \"100ms\"\n");
    writeln!(file, "[drain.zipkin]\nsample_rate = 0.25\nsinks = [{{ url = \"{}\" }}]", sampled.url()).unwrap();
    writeln!(file, "[drain.shop]\nfilter = {{ listeners = [\"http\"], services = [\"shop-*\"] }}").unwrap();
    writeln!(file, "sinks = [{{ url = \"{}\" }}]", shop.url()).unwrap();
    let zone = dir.path().join("zone");
    writeln!(
        file,
        "[drain.zone]\narchive = \"file://{}\"\nformat = \"jsonl.gz\"\nroll_idle = \"100ms\"",
        zone.display()
    )
    .unwrap();
    file + "filter.labels = { zone = \"a\" }\nfilter.services_exclude = [\"shop-us\"]\n"
}

const DRAINS: [&str; 4] = ["drain=\"zipkin\"", "drain=\"shop\"", "drain=\"archive\"", "drain=\"zone\""];

#[tokio::test(flavor = "multi_thread")]
async fn each_of_four_drains_gets_what_it_asks_for_through_a_kill_and_its_ledger_adds_up() {
    let dir = TempDir::new().unwrap();
    let (sampled, mut shop) = (Collector::start().await, Collector::start().await);
    let file = dir.path().join("spangate.toml");
    std::fs::write(&file, configuration(&dir, &sampled, &shop)).unwrap();
    let mut gateway = Gateway::start(dir.path(), &["-c", file.to_str().unwrap()]);
    let mut random = fastrand::Rng::with_seed(7);
    let (mut by_http, mut by_scribe) = (Vec::new(), Vec::new());
    for round in 0..20 {
        if round == 10 {
            // One drain stands still over the kill; the others go on.
            shop.fall().await;
            gateway.process.kill();
            gateway.start_again();
        }
        let sent = made(&mut random, 50);
        let body = serde_json::to_vec(&sent.iter().map(Sent::json).collect::<Vec<_>>()).unwrap();
        assert_eq!(http(&gateway).post("/api/v2/spans", "application/json", &body).unwrap().status, 202);
        by_http.extend(sent);
        let sent: Vec<Sent> =
            made(&mut random, 20).into_iter().map(|one| Sent { debug: false, service: "x", ..one }).collect();
        let texts: Vec<String> =
            sent.iter().map(|one| scribe::entry(one.trace as i64, one.trace as i64, "get")).collect();
        let entries: Vec<(&str, &str)> = texts.iter().map(|text| ("zipkin", text.as_str())).collect();
        assert_eq!(super::rig::scribe(&gateway).log(&entries), scribe::OK);
        by_scribe.extend(sent);
        adds_up(&scrape(&gateway), &DRAINS);
    }
    wait_for("two drains and the other group have all", LIMIT, || {
        let text = scrape(&gateway);
        let still = |drain: &str| sum(&text, "spangate_drain_waiting_spans", &[drain]) == 0.0;
        (still(DRAINS[0]) && still(DRAINS[2]) && still(DRAINS[3])).then_some(())
    });
    assert!(gateway.metric("spangate_drain_waiting_spans", &[DRAINS[1]]) > 0.0, "its collector is down");
    shop.rise();
    wait_for("all is settled", LIMIT, || (gateway.metric("spangate_drain_waiting_spans", &[]) == 0.0).then_some(()));
    let all = || by_http.iter().chain(&by_scribe);
    let keys = |found: std::collections::BTreeMap<String, u32>| found.into_keys().collect::<BTreeSet<_>>();
    assert_eq!(keys(collected(&[&sampled])), ids(all().filter(|one| one.sampled())));
    let of_shop = |one: &&Sent| one.service.to_lowercase().starts_with("shop-");
    assert_eq!(keys(collected(&[&shop])), ids(by_http.iter().filter(of_shop)));
    let whole = archived(&gateway);
    assert!(whole.values().all(|times| *times == 1), "each stands in the archive once");
    assert_eq!(keys(whole), ids(all()));
    let zone = spans_of(objects(&dir.path().join("zone")));
    assert_eq!((zone.len(), keys(zone)), (by_scribe.len(), ids(by_scribe.iter())));
    let text = scrape(&gateway);
    adds_up(&text, &DRAINS);
    let outcome = |drain: &str, outcome| sum(&text, "spangate_drain_spans_total", &[drain, outcome]) as usize;
    assert_eq!(outcome(DRAINS[0], "sampled_out"), all().filter(|one| !one.sampled()).count());
    assert_eq!(outcome(DRAINS[1], "filtered"), all().count() - by_http.iter().filter(of_shop).count());
    assert_eq!(outcome(DRAINS[3], "filtered"), by_http.len());
    gateway.stop();
}

fn scrape(gateway: &Gateway) -> String {
    Client::new(gateway.admin).get("/metrics").unwrap().text()
}
