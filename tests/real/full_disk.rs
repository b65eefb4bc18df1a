//! A disk that is full for real: data directory or archive on a small tmpfs in a mount namespace of the test's own.
//!
//! Intake answers 503 and TRY_LATER, draining goes on and makes room, intake resumes, nothing is lost; the same when
//! the gateway is killed meanwhile. Needs `unshare` and `nsenter` of util-linux and a kernel that gives user namespaces
//! to whoever asks: `make real` names what is missing.
#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

mod disk;
mod sender;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::collector::Collector;
use crate::support::http::Client;
use crate::support::process::{Gateway, sum, wait_for};
use crate::support::scribe;
use disk::Disk;
use sender::{NAME_BYTES, Sender};

const LONG: Duration = Duration::from_secs(60);
/// Of the channel's disk, of which the cursors take one MiB. The channel might be larger, and so might be its messages.
const DISK_BYTES: u64 = 20 << 20;
const CAPACITY: &str = "24MiB";
const SEGMENT_BYTES: u64 = 3 << 20;
/// What `channel.free_min` keeps.
const RESERVE: &str = "6MiB";
const RESERVE_BYTES: u64 = 6 << 20;
/// Of the archive's disk, and what a stranger leaves of it.
const LAKE_BYTES: u64 = 16 << 20;
const LAKE_LEFT: u64 = 512 << 10;

/// A gateway whose data is on a small disk, before a collector that is down.
struct Rig {
    disk: Disk,
    collector: Collector,
    gateway: Gateway,
    sender: Sender,
    _dir: TempDir,
}

impl Rig {
    fn start(free_min: &str) -> Rig {
        let (dir, collector) = (TempDir::new().unwrap(), Collector::absent());
        let disk = Disk::mount(dir.path(), "data", DISK_BYTES);
        let settings = ["--channel-capacity", CAPACITY, "--channel-free-min", free_min, "--archive", "none"];
        let url = collector.url();
        let arguments = [&settings[..], &["--collector", &url]].concat();
        let gateway = Gateway::start_by(&disk.inside(), dir.path(), &arguments, &[]);
        Rig { disk, collector, gateway, sender: Sender::default(), _dir: dir }
    }

    fn count(&self) -> usize {
        self.sender.acknowledged.len()
    }

    /// By HTTP; the status.
    fn post(&mut self, spans: u64) -> u16 {
        self.sender.post(&self.gateway, spans).status
    }

    /// By Scribe; the result code.
    fn log(&mut self, spans: u64) -> i32 {
        self.sender.log(&self.gateway, spans)
    }

    /// Each door says no, and why; the gateway lives.
    fn refuses(&mut self) {
        let said = self.sender.post(&self.gateway, 10);
        assert_eq!((said.status, said.header("retry-after")), (503, Some("10")), "{}", said.text());
        assert!(said.text().contains("the disk has too little room left"), "{}", said.text());
        assert_eq!(self.log(10), scribe::TRY_LATER);
        for listener in ["listener=\"http\"", "listener=\"scribe\""] {
            let refused = self.gateway.metric("spangate_spans_refused_total", &[listener, "reason=\"disk_low\""]);
            assert!(refused >= 10.0, "{listener}: {refused}");
        }
        let mut admin = Client::new(self.gateway.admin);
        let (ready, health) = (admin.get("/ready").unwrap(), admin.get("/health").unwrap());
        assert_eq!((ready.status, health.status), (503, 200), "{} {}", ready.text(), health.text());
        assert!(ready.text().contains("bytes of disk are left"), "{}", ready.text());
    }

    /// SIGKILL, and a start on the disk as it is.
    fn kill_and_start(&mut self) {
        self.gateway.process.kill();
        self.gateway.start_again_without_room();
        self.refuses();
        println!("  killed and started again with {} bytes left; refused again", self.disk.free());
    }

    /// With the collector up, draining makes room, both doors say yes again, and all is there, whole.
    fn recovers(&mut self) {
        let before = self.count();
        self.collector.rise();
        wait_for("intake resumes", LONG, || {
            self.gateway.process.must_run();
            (self.post(10) == 202 && self.log(10) == scribe::OK).then_some(())
        });
        self.drained();
        self.sender.assert_whole(&self.collector.requests());
        println!("  {before} spans acknowledged, then {} after the disk had room; none missing", self.count() - before);
    }

    /// Nothing waits, and the ledger adds up.
    fn drained(&mut self) {
        let text = wait_for("nothing waits", LONG, || {
            self.gateway.process.must_run();
            let text = Client::new(self.gateway.admin).get("/metrics").unwrap().text();
            (sum(&text, "spangate_drain_waiting_spans", &[]) == 0.0).then_some(text)
        });
        let of_drain = |name| sum(&text, name, &["drain=\"zipkin\""]);
        assert_eq!(of_drain("spangate_drain_accepted_spans_total"), of_drain("spangate_drain_spans_total"), "{text}");
        assert_eq!(
            sum(&text, "spangate_drain_spans_total", &["outcome=\"delivered\""]),
            of_drain("spangate_drain_spans_total")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_reserve_is_kept_intake_stops_before_it_and_goes_on_when_the_drain_has_made_room() {
    let mut rig = Rig::start(RESERVE);
    // Free space is looked at each second: of a segment or less in each, the last one is at most one too many.
    let pause = Duration::from_secs(1) * (20 * NAME_BYTES) as u32 / SEGMENT_BYTES as u32;
    while (rig.post(10), rig.log(10)) == (202, scribe::OK) {
        std::thread::sleep(pause);
    }
    rig.refuses();
    let left = rig.disk.free();
    println!("  {} spans acknowledged, then 503 and TRY_LATER with {left} bytes left", rig.count());
    assert!(left >= RESERVE_BYTES - SEGMENT_BYTES, "{left} of the {RESERVE_BYTES} bytes that are kept");
    rig.kill_and_start();
    rig.recovers();
    rig.gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_none_is_kept_the_disk_fills_in_the_middle_of_an_append_and_nothing_is_lost() {
    let mut rig = Rig::start("0");
    while (rig.count() as u64) < 2 * SEGMENT_BYTES / NAME_BYTES {
        assert_eq!((rig.post(10), rig.log(10)), (202, scribe::OK));
    }
    wait_for("an append meets the full disk", LONG, || rig.meets_a_full_disk().then_some(()));
    println!("  {} spans acknowledged, then ENOSPC", rig.count());
    rig.refuses();
    rig.disk.fill(0);
    rig.kill_and_start();
    // The stranger's file stays: it is draining that makes the room.
    rig.recovers();
    rig.gateway.stop();
}

impl Rig {
    /// Right after the gateway has seen that there is room, a stranger takes it to the last byte, and a message comes
    /// that needs a segment of its own; whether that segment was tried for in vain.
    fn meets_a_full_disk(&mut self) -> bool {
        let seen = |gateway: &Gateway| gateway.metric("spangate_disk_free_bytes", &[]);
        self.disk.fill(0);
        wait_for("it sees a full disk", LONG, || (seen(&self.gateway) == 0.0).then_some(()));
        self.disk.free_again();
        wait_for("it sees room", LONG, || (seen(&self.gateway) > 0.0).then_some(()));
        self.disk.fill(0);
        self.post(SEGMENT_BYTES / NAME_BYTES + 1);
        self.gateway.metric("spangate_channel_failures_total", &["kind=\"no_space\""]) > 0.0
    }
}

/// The channel's disk has room, the archive's has none.
async fn an_archive_waits(free_min: &str, says: &str) {
    let (dir, collector) = (TempDir::new().unwrap(), Collector::start().await);
    let lake = Disk::mount(dir.path(), "lake", LAKE_BYTES);
    lake.fill(LAKE_LEFT);
    let file = dir.path().join("spangate.toml");
    let archive = format!(
        "[drain.archive]\nformat = \"jsonl.gz\"\narchive = \"file://{}\"\nroll_idle = \"100ms\"\n",
        lake.dir().display()
    );
    std::fs::write(&file, format!("[drain.zipkin]\nsinks = [{{ url = \"{}\" }}]\n{archive}", collector.url())).unwrap();
    let arguments = ["-c", file.to_str().unwrap(), "--channel-free-min", free_min];
    let mut gateway = Gateway::start_by(&lake.inside(), dir.path(), &arguments, &[]);
    let mut sender = Sender::default();
    for run in 0..2 {
        for _ in 0..10 {
            assert_eq!((sender.post(&gateway, 10).status, sender.log(&gateway, 10)), (202, scribe::OK));
        }
        wait_for("the collector has it all", LONG, || {
            let taken = collector.taken();
            sender.acknowledged.iter().all(|id| taken.contains_key(&format!("{id:016x}"))).then_some(())
        });
        archive_says(&gateway, says);
        if run == 0 {
            gateway.process.kill();
            gateway.start_again();
        }
    }
    lake.free_again();
    wait_for("the archive has it all", LONG, || {
        gateway.process.must_run();
        (gateway.metric("spangate_drain_waiting_spans", &["drain=\"archive\""]) == 0.0).then_some(())
    });
    gateway.stop();
    sender.assert_whole(&collector.requests());
    each_once(&sender, &lake);
}

/// It waits, and `/ready`, `/metrics` and the log tell why; a span would be accepted all the same.
fn archive_says(gateway: &Gateway, says: &str) {
    let trouble = wait_for("the archive is in trouble", LONG, || {
        let ready = Client::new(gateway.admin).get("/ready").unwrap();
        assert_eq!(ready.status, 200, "{}", ready.text());
        let ready: Value = serde_json::from_slice(&ready.body).unwrap();
        let archive =
            ready["drains"].as_array().unwrap().iter().find(|drain| drain["name"] == "archive").unwrap().clone();
        archive["trouble"].as_str().map(str::to_owned)
    });
    assert!(trouble.contains(says), "{trouble}");
    assert!(gateway.metric("spangate_archive_failures_total", &["drain=\"archive\""]) > 0.0);
    assert!(gateway.metric("spangate_drain_waiting_spans", &["drain=\"archive\""]) > 0.0);
    assert_eq!(gateway.metric("spangate_drain_waiting_spans", &["drain=\"zipkin\""]), 0.0);
    let log = std::fs::read_to_string(&gateway.process.log).unwrap();
    assert!(log.contains("the archive cannot go on; trying again"), "{log}");
}

/// As `find` and `zcat` see the objects.
fn each_once(sender: &Sender, lake: &Disk) {
    let enter = lake.inside();
    let mut command = Command::new(&enter[0]);
    command.args(&enter[1..]).arg("find").arg(lake.dir());
    command.args(["-name", "_spangate", "-prune", "-o", "-name", "*.jsonl.gz", "-exec", "zcat", "{}", "+"]);
    let found = command.output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    for line in String::from_utf8(found.stdout).unwrap().lines() {
        let span: Value = serde_json::from_str(line).unwrap();
        let id = u64::from_str_radix(span["id"].as_str().unwrap(), 16).unwrap();
        *times.entry(sender.checked(id, span["name"].as_str().unwrap())).or_default() += 1;
    }
    let once = sender.acknowledged.iter().map(|id| (*id, 1)).collect();
    let odd: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
    assert!(times == once, "{} of {} spans, not once: {odd:?}", times.len(), once.len());
    println!("  {} spans in the archive, each once", times.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_whose_disk_is_full_waits_and_holds_each_span_once_when_it_has_room() {
    an_archive_waits("0", "No space left on device").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_leaves_the_half_of_the_reserve_alone_and_goes_on_when_there_is_more() {
    an_archive_waits("4MiB", "are kept in reserve").await;
}
