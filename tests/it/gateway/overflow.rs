//! A full channel beside a drain that skips: intake goes on, and the log says where the rest is.

use tempfile::TempDir;

use super::account::adds_up;
use super::rig::{LIMIT, Sender, archived, collected, http};
use crate::support::collector::Collector;
use crate::support::http::Client;
use crate::support::process::{Gateway, sum, wait_for};

const DRAINS: [&str; 2] = ["drain=\"zipkin\"", "drain=\"archive\""];

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_skips_keeps_intake_open_and_the_log_names_what_the_archive_has() {
    let dir = TempDir::new().unwrap();
    let mut collector = Collector::absent();
    let file = dir.path().join("spangate.toml");
    let sinks = format!("backoff_max = \"500ms\"\nsinks = [{{ url = \"{}\" }}]\n", collector.url());
    let archive = "[drain.archive]\nroll_idle = \"100ms\"\nroll_age = \"200ms\"\n";
    std::fs::write(&file, format!("[drain.zipkin]\noverflow = \"skip\"\n{sinks}{archive}")).unwrap();
    let arguments = ["-c", file.to_str().unwrap(), "--channel-capacity-spans", "2000"];
    let mut gateway = Gateway::start(dir.path(), &arguments);
    let mut sender = Sender::from(1);
    let mut client = http(&gateway);
    let scrape = || Client::new(gateway.admin).get("/metrics").unwrap().text();
    let mut again = 0;
    while sender.acknowledged.len() < 6_000 {
        // A busy machine may be late for one; a channel that stays full would refuse them all.
        again += u32::from(!sender.post(&mut client, 100));
        assert!(again < 100, "6,000 spans did not pass 2,000: {}", scrape());
    }
    adds_up(&scrape(), &DRAINS);
    collector.rise();
    wait_for("all is settled", LIMIT, || (sum(&scrape(), "spangate_drain_waiting_spans", &[]) == 0.0).then_some(()));
    let text = scrape();
    adds_up(&text, &DRAINS);
    let skipped = sum(&text, "spangate_drain_spans_total", &[DRAINS[0], "skipped"]);
    let delivered = sum(&text, "spangate_drain_spans_total", &[DRAINS[0], "delivered"]);
    assert!(skipped >= 2_000.0 && delivered >= 500.0, "{skipped} skipped, {delivered} delivered");
    assert_eq!(collected(&[&collector]).len() as f64, delivered, "what was skipped was not sent");
    let archived = archived(&gateway);
    assert!(sender.acknowledged.iter().all(|id| archived.get(id) == Some(&1)), "the archive has all of it, once");
    gateway.stop();
    let log = std::fs::read_to_string(&gateway.process.log).unwrap();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("spans were skipped")).collect();
    assert!((1..=3).contains(&said.len()), "{log}");
    let place = dir.path().join("data/archive").display().to_string();
    for part in [
        "drain=\"zipkin\"",
        "first=0",
        "the objects that cover these positions hold them",
        &place,
        "spangate archive replay --channel ",
    ] {
        assert!(said[0].contains(part), "{part}: {}", said[0]);
    }
    let number =
        |line: &str| -> f64 { line.split("spans=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap() };
    assert_eq!(said.iter().map(|line| number(line)).sum::<f64>(), skipped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_a_reload_leaves_alone_names_where_the_archive_was_moved_to() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("spangate.toml");
    let sinks = format!("backoff_max = \"500ms\"\nsinks = [{{ url = \"{}\" }}]\n", Collector::absent().url());
    let drain = format!("[drain.zipkin]\noverflow = \"skip\"\n{sinks}");
    std::fs::write(&file, &drain).unwrap();
    let arguments = ["-c", file.to_str().unwrap(), "--channel-capacity-spans", "1000"];
    let gateway = Gateway::start(dir.path(), &arguments);
    let lake = dir.path().join("lake").display().to_string();
    let archive =
        format!("[drain.archive]\narchive = \"file://{lake}\"\nroll_age = \"200ms\"\nroll_idle = \"100ms\"\n");
    std::fs::write(&file, format!("{drain}{archive}")).unwrap();
    let said = Client::new(gateway.admin).request("POST", "/reload", &[("spangate-admin", "1")], b"").unwrap().text();
    assert!(said.contains("drain.archive.archive") && !said.contains("drain.zipkin"), "{said}");
    let (mut sender, mut client) = (Sender::from(1), http(&gateway));
    let skips = || {
        let log = std::fs::read_to_string(&gateway.process.log).unwrap();
        log.lines().find(|line| line.contains("spans were skipped")).map(str::to_owned)
    };
    let line = wait_for("spans are skipped", LIMIT, || {
        sender.post(&mut client, 100);
        skips()
    });
    assert!(line.contains(&format!("hold them, in {lake}")), "{line}");
}
