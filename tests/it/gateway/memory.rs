//! The memory channel in the whole process: what it says, how it stops, what it does not leave behind.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::rig::{LIMIT, Sender, archived, collected, http, scribe, wait_until_all};
use super::start::{refused, run};
use crate::support::collector::Collector;
use crate::support::http::Client;
use crate::support::process::{Gateway, wait_for};

const MEMORY: [&str; 2] = ["--channel-kind", "memory"];

/// Told once at the start, and in `/ready`.
const NOT_PROMISED: &str = "in memory; what waits when the process ends is lost";

fn start(dir: &Path, more: &[&str]) -> Gateway {
    Gateway::start(dir, &[&MEMORY, more].concat())
}

fn log(gateway: &Gateway) -> String {
    std::fs::read_to_string(&gateway.process.log).unwrap()
}

/// Asks for a stop, goes on at once; the end is waited for by [`ended`].
fn ask_to_stop(gateway: &Gateway) {
    rustix::process::kill_process(gateway.process.pid(), Signal::TERM).unwrap();
}

fn ended(gateway: &mut Gateway) {
    let status = wait_for("it stops", LIMIT, || gateway.process.child.try_wait().unwrap());
    assert!(status.success(), "{status}: {}", gateway.process.tail());
}

/// The channels that the archive's objects name.
fn channels(gateway: &Gateway) -> BTreeSet<String> {
    let names = std::fs::read_dir(gateway.dir.join("data/archive")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let id =
        |name: String| name.split(|c: char| !c.is_ascii_hexdigit()).find(|part| part.len() == 32).map(str::to_owned);
    names.filter(|name| name.ends_with(".gz")).map(|name| id(name).expect("a channel")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_pass_through_memory_to_collectors_and_archive_and_no_log_is_written() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (Collector::start().await, Collector::start().await);
    let mut gateway = start(dir.path(), &["--collector", &a.url(), "--collector", &b.url()]);
    let mut sender = Sender::from(1);
    let (mut http, mut scribe) = (http(&gateway), scribe(&gateway));
    for _ in 0..20 {
        assert!(sender.post(&mut http, 5));
        assert!(sender.log(&mut scribe, 5));
    }
    assert_eq!(scribe.log(&[("zipkin", "no base64!")]), 0, "an undecodable entry is set aside");
    wait_until_all("collected", &sender.acknowledged, || collected(&[&a, &b]));
    let ready: Value = serde_json::from_str(&Client::new(gateway.admin).get("/ready").unwrap().text()).unwrap();
    assert!(ready["yes_means"].as_str().unwrap().contains(NOT_PROMISED), "{ready}");
    assert_eq!(ready["channel"]["capacity_bytes"], 256 << 20);
    let free = ready["channel"]["disk_free_bytes"].as_u64().unwrap();
    assert!(free > 0 && free < 1 << 60, "{free} bytes of real disk");
    assert_eq!(gateway.metric("spangate_channel_sync_interval_seconds", &[]), f64::INFINITY);
    // The archive's idle time has not passed: the stop archives what waits.
    gateway.stop();
    assert!(!dir.path().join("data/channel").exists(), "the log is nowhere on disk");
    let archived = archived(&gateway);
    assert!(archived.values().all(|times| *times == 1) && archived.len() == sender.acknowledged.len());
    let letters = std::fs::read_dir(dir.path().join("data/dead-letters/undecodable")).unwrap();
    assert_eq!(letters.count(), 1, "dead letters are on disk");
    let log = log(&gateway);
    assert_eq!(log.lines().filter(|line| line.contains(NOT_PROMISED)).count(), 1, "{log}");
    assert!(!log.contains("lost:"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_delivers_what_waits_in_memory_while_it_has_time() {
    let dir = TempDir::new().unwrap();
    let mut collector = Collector::absent();
    let mut gateway = start(dir.path(), &["--collector", &collector.url(), "--archive", "none"]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&gateway), 500));
    wait_for("the collector was tried", LIMIT, || {
        (gateway.metric("spangate_sink_spans_total", &[]) > 0.0).then_some(())
    });
    ask_to_stop(&gateway);
    wait_for("it stops taking spans", LIMIT, || http(&gateway).get("/health").is_err().then_some(()));
    assert_eq!(collected(&[&collector]).len(), 0);
    collector.rise();
    ended(&mut gateway);
    assert_eq!(collected(&[&collector]).len(), 500);
    assert!(!log(&gateway).contains("lost:"), "{}", log(&gateway));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_what_it_lost_and_the_next_start_is_another_channel() {
    let dir = TempDir::new().unwrap();
    let collector = Collector::absent();
    let mut gateway = start(dir.path(), &["--collector", &collector.url(), "--stop-timeout", "2s"]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&gateway), 70));
    gateway.stop();
    let said = log(&gateway);
    let lost = said.lines().filter(|line| line.contains("in memory are lost: 70 for zipkin"));
    assert_eq!(lost.filter(|line| line.contains("WARN")).count(), 1, "{said}");
    assert_eq!(archived(&gateway).len(), 70, "the archive had its time");
    gateway.start_again();
    assert_eq!(gateway.metric("spangate_drain_accepted_spans_total", &[]), 0.0, "nothing is left of the first");
    assert!(sender.post(&mut http(&gateway), 30));
    gateway.stop();
    assert_eq!(archived(&gateway).len(), 100, "no object replaced another");
    assert_eq!(channels(&gateway).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_archives_more_than_one_object_holds() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("spangate.toml");
    // Each 100 spans or so are an object; the idle time keeps them from being one before the stop.
    std::fs::write(&file, "[drain.archive]\nroll_size = \"1KiB\"\nroll_idle = \"1m\"\n").unwrap();
    let mut gateway = start(dir.path(), &["-c", &file.display().to_string()]);
    let mut sender = Sender::from(1);
    for _ in 0..40 {
        assert!(sender.post(&mut http(&gateway), 50));
    }
    gateway.stop();
    assert_eq!(archived(&gateway).len(), 2000);
    assert!(!log(&gateway).contains("lost:"), "{}", log(&gateway));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_channel_does_not_leave_spans_behind_in_an_earlier_one_of_files() {
    let dir = TempDir::new().unwrap();
    let mut collector = Collector::absent();
    let mut gateway = Gateway::start(dir.path(), &["--collector", &collector.url(), "--channel-kind", "file"]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&gateway), 7));
    gateway.stop();
    let data = dir.path().join("data").display().to_string();
    let addresses = ["--scribe-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--admin-address", "none"];
    let again = run(&[&["run", "--data", &data, "--collector", &collector.url()][..], &addresses, &MEMORY].concat());
    refused(&again, 2, &["7 for zipkin", "--channel-kind file", &format!("{data}/channel")]);
    collector.rise();
    gateway.start_again();
    wait_until_all("collected", &sender.acknowledged, || collected(&[&collector]));
    gateway.stop();
    gateway.replace_argument("file", "memory");
    gateway.start_again();
    assert!(sender.post(&mut http(&gateway), 7));
    wait_until_all("collected", &sender.acknowledged, || collected(&[&collector]));
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_memory_channel_says_no_and_takes_no_more_memory_than_it_was_given() {
    let dir = TempDir::new().unwrap();
    let mut collector = Collector::absent();
    // The collector that is back is found at once.
    let file = dir.path().join("spangate.toml");
    let sinks = format!("backoff_max = \"200ms\"\nsinks = [{{ url = \"{}\" }}]\n", collector.url());
    std::fs::write(&file, format!("[drain.zipkin]\n{sinks}\n[drain.archive]\narchive = \"none\"\n")).unwrap();
    let file = file.display().to_string();
    let mut gateway = start(dir.path(), &["-c", &file, "--channel-capacity", "16MiB", "--channel-cache", "1MiB"]);
    let (mut sender, mut client) = (Sender::from(1), http(&gateway));
    sender.padding = 4_000;
    assert!(sender.post(&mut client, 100));
    let before = gateway.metric("process_resident_memory_bytes", &[]);
    assert!((0..200).any(|_| !sender.post(&mut client, 100)), "16 MiB took 80 MB of spans");
    let more = gateway.metric("process_resident_memory_bytes", &[]) - before;
    println!("{:.1} MB more for 16 MiB of channel", more / 1e6);
    // Beside the log: what is read ahead, decoded and kept by the allocator.
    assert!(more < (64 << 20) as f64, "{more} bytes more");
    collector.rise();
    wait_for("there is room again", Duration::from_secs(30), || sender.post(&mut client, 1).then_some(()));
    wait_until_all("collected", &sender.acknowledged, || collected(&[&collector]));
    gateway.stop();
}
