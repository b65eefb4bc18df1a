//! When a disk has lied: inspect, verify and repair of a gateway's directory, and sending what waits in a dead one's.

use std::collections::HashSet;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::rig::{LIMIT, Sender, archived, collected, http, wait_until_all};
use super::start::{refused, run};
use crate::support::collector::{Collector, Play};
use crate::support::process::{Gateway, Process, wait_for};

/// Messages, and the spans of each.
const MESSAGES: usize = 20;
const SPANS: usize = 10;

/// A gateway that was killed with a backlog: its collector is absent, nothing was archived yet.
fn killed(dir: &TempDir, collector: &Collector) -> (Gateway, Sender) {
    let mut gateway = Gateway::start(dir.path(), &["--collector", &collector.url(), "--archive", "none"]);
    let mut sender = Sender::from(1);
    for _ in 0..MESSAGES {
        assert!(sender.post(&mut http(&gateway), SPANS));
    }
    gateway.process.kill();
    (gateway, sender)
}

fn channel(verb: &str, gateway: &Gateway, more: &[&str]) -> Output {
    run(&[&["channel", verb, &gateway.dir.join("data").display().to_string()], more].concat())
}

fn said(output: &Output, code: i32) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

fn flip(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// What the directory says, also while another process has it.
fn waiting(gateway: &Gateway) -> u64 {
    let json: Value = serde_json::from_slice(&channel("inspect", gateway, &["--json"]).stdout).unwrap();
    let zipkin = json["drains"].as_array().unwrap().iter().find(|drain| drain["drain"] == "zipkin").unwrap();
    zipkin["waiting"].as_u64().unwrap()
}

fn segment(gateway: &Gateway) -> PathBuf {
    gateway.dir.join("data/channel/0000000000000000.seg")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateways_directory_is_inspected_and_verified_and_nothing_in_it_changes() {
    let (dir, collector) = (TempDir::new().unwrap(), Collector::absent());
    let (mut gateway, _) = killed(&dir, &collector);
    let files = || {
        let mut all: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        for entry in std::fs::read_dir(gateway.dir.join("data/channel")).unwrap() {
            let path = entry.unwrap().path();
            all.push((path.clone(), std::fs::read(path).unwrap_or_default()));
        }
        all.sort();
        all
    };
    let before = files();
    let text = said(&channel("inspect", &gateway, &[]), 0);
    assert!(text.contains("drain zipkin: settled below 0, 200 wait, the oldest since 20"), "{text}");
    assert!(text.contains("drain dead-letters, takes its own only"), "{text}");
    let json: Value = serde_json::from_slice(&channel("inspect", &gateway, &["--json"]).stdout).unwrap();
    assert_eq!((&json["segments"][0]["spans"], &json["end"], &json["damaged"]), (&200.into(), &200.into(), &0.into()));
    assert_eq!(waiting(&gateway), 200);
    let text = said(&channel("verify", &gateway, &[]), 0);
    assert!(text.contains("spans in the log: 200, segments: 1,") && text.ends_with("nothing is damaged\n"), "{text}");
    assert!(before == files());
    gateway.start_again();
    said(&channel("verify", &gateway, &[]), 0);
    refused(&channel("repair", &gateway, &["--yes"]), 3, &["in use by another spangate"]);
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_named_and_counted_before_and_all_else_is_delivered_once() {
    let (dir, mut collector) = (TempDir::new().unwrap(), Collector::absent());
    let (mut gateway, sender) = killed(&dir, &collector);
    let file = std::fs::read(segment(&gateway)).unwrap();
    // The second frame's body: frames are groups here, each on a sector of its own.
    let frames: Vec<usize> = (4096..file.len()).step_by(512).filter(|at| file[*at..].starts_with(b"SFRM")).collect();
    assert_eq!(frames.len(), MESSAGES);
    flip(&segment(&gateway), frames[2] as u64 - 520);
    let text = said(&channel("verify", &gateway, &[]), 4);
    let named = format!("0000000000000000.seg at {}, positions 10 to 20", frames[1]);
    assert!(text.contains(&named) && text.contains("lost: 10 for zipkin"), "{text}");
    let text = said(&channel("repair", &gateway, &[]), 0);
    assert!(text.contains("nothing to repair"), "{text}");
    collector.rise();
    gateway.start_again();
    wait_for("the rest is delivered", LIMIT, || (collected(&[&collector]).len() == 190).then_some(()));
    gateway.stop();
    let found = collected(&[&collector]);
    assert!(found.values().all(|times| *times == 1) && found.keys().all(|id| sender.acknowledged.contains(id)));
    assert!(!found.contains_key(&format!("{:016x}", 11)) && found.contains_key(&format!("{:016x}", 21)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_gone_and_slots_that_rot_refuse_the_start_until_the_repair_that_was_shown_is_done() {
    let (dir, mut collector) = (TempDir::new().unwrap(), Collector::absent());
    let (mut gateway, sender) = killed(&dir, &collector);
    let data = gateway.dir.join("data").display().to_string();
    std::fs::remove_file(gateway.dir.join("data/channel/id")).unwrap();
    let cursors = gateway.dir.join("data/channel/cursors");
    let json: Value = serde_json::from_slice(&channel("inspect", &gateway, &["--json"]).stdout).unwrap();
    let zipkin = json["drains"].as_array().unwrap().iter().find(|drain| drain["drain"] == "zipkin").unwrap();
    let row = zipkin["row"].as_u64().unwrap();
    flip(&cursors, row * 16384 + 6000);
    flip(&cursors, row * 16384 + 8192 + 6000);
    let text = said(&channel("verify", &gateway, &[]), 4);
    assert!(text.contains("channel/id: is missing") && text.contains(&format!("both slots of row {row}")), "{text}");
    assert!(text.ends_with("a gateway refuses to start on it: `spangate channel repair`\n"), "{text}");
    let nobody = ["--scribe-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"];
    refused(&run(&[&["run", "--data", &data][..], &nobody].concat()), 4, &["is missing"]);
    let shown = said(&channel("repair", &gateway, &[]), 4);
    assert!(shown.contains("the id is written again") && shown.contains("--yes does it"), "{shown}");
    assert!(shown.contains("drain zipkin begins at position 0") && shown.contains("at most 200 spans"), "{shown}");
    assert!(!gateway.dir.join("data/channel/id").exists(), "it was shown and not done");
    let done = said(&channel("repair", &gateway, &["--yes"]), 0);
    assert!(done.contains("done; what is replaced"), "{done}");
    said(&channel("verify", &gateway, &[]), 0);
    assert!(gateway.dir.join("data/channel/damaged/cursors").exists());
    collector.rise();
    gateway.start_again();
    wait_until_all("delivered", &sender.acknowledged, || collected(&[&collector]));
    gateway.stop();
    assert!(collected(&[&collector]).values().all(|times| *times == 1), "nothing was settled before");
}

/// The sender as a process, which a test can kill.
fn send(gateway: &Gateway, more: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
    command.args(["channel", "send"]).arg(gateway.dir.join("data")).args(more);
    Process::start(command, &gateway.dir.join("sent"))
}

fn ended(mut process: Process) -> (i32, String) {
    let status = wait_for("it ends", LIMIT, || process.child.try_wait().unwrap());
    (status.code().unwrap_or(-1), process.tail())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_dead_gateways_directory_is_sent_once_and_refused_spans_are_its_dead_letters() {
    let (dir, collector, other) = (TempDir::new().unwrap(), Collector::absent(), Collector::start().await);
    let (mut gateway, sender) = killed(&dir, &collector);
    let bad: HashSet<String> = [format!("{:016x}", 77)].into();
    other.play(Play::RefuseSpans(bad.clone()));
    let (code, log) = ended(send(&gateway, &["--to", &other.url()]));
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("zipkin: 199 sent, 1 refused, now dead letters"), "{log}");
    let found = collected(&[&other]);
    assert_eq!(found.keys().cloned().collect::<HashSet<_>>(), &sender.acknowledged - &bad);
    assert!(found.values().all(|times| *times == 1), "{found:?}");
    let data = gateway.dir.join("data").display().to_string();
    let letters = said(&run(&["dead-letters", "list", "--data", &data]), 0);
    assert!(letters.lines().count() == 1 && letters.contains("zipkin"), "{letters}");
    let (code, log) = ended(send(&gateway, &["--to", &other.url()]));
    assert!(code == 0 && log.contains("zipkin: 0 sent"), "{log}");
    assert_eq!(collected(&[&other]).len(), 199);
    gateway.start_again();
    assert_eq!(gateway.metric("spangate_drain_waiting_spans", &["drain=\"zipkin\""]), 0.0);
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_is_killed_goes_on_where_it_stopped_and_heeds_a_collector_that_says_wait() {
    let (dir, collector, other) = (TempDir::new().unwrap(), Collector::absent(), Collector::start().await);
    let (gateway, sender) = killed(&dir, &collector);
    other.play(Play::Status(503, vec![("Retry-After", "1".to_owned())], "busy".to_owned()));
    let arguments = ["--to", &other.url(), "--drain", "zipkin", "--rate", "50"];
    let mut first = send(&gateway, &arguments);
    wait_for("it was told to wait", LIMIT, || (!other.requests().is_empty()).then_some(()));
    other.play(Play::Ok);
    wait_for("some of it is settled on disk", LIMIT, || (waiting(&gateway) < 200).then_some(()));
    first.kill();
    let (then, left) = (collected(&[&other]).len(), waiting(&gateway));
    assert!(then < 200, "it was to be killed in the middle");
    let (code, log) = ended(send(&gateway, &arguments[..4]));
    assert_eq!(code, 0, "{log}");
    assert!(log.contains(&format!("zipkin: {left} sent")), "it begins anew: {left} were left, {log}");
    let found = collected(&[&other]);
    assert_eq!(found.keys().cloned().collect::<HashSet<_>>(), sender.acknowledged);
    // A batch owes a second at most: that many may have been under way.
    let repeats = found.values().map(|times| times - 1).sum::<u32>();
    assert!(repeats <= 100, "{repeats} repeats of {then}");
    refused(&channel("send", &gateway, &["--to", "ftp://there"]), 2, &["--to", "ftp://there"]);
    refused(&channel("send", &gateway, &["--to", &other.url(), "--drain", "zipkn"]), 2, &["no drain zipkn"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_archive_had_not_taken_is_said_and_taken_by_a_gateway_on_the_directory() {
    let (dir, collector) = (TempDir::new().unwrap(), Collector::start().await);
    let file = dir.path().join("spangate.toml");
    let text = format!("[drain.zipkin]\nsinks = [{{ url = \"{}\" }}]\n", collector.url());
    std::fs::write(&file, text).unwrap();
    let mut gateway = Gateway::start(dir.path(), &["-c", file.to_str().unwrap()]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&gateway), SPANS));
    wait_until_all("delivered", &sender.acknowledged, || collected(&[&collector]));
    gateway.process.kill();
    let output = channel("send", &gateway, &["--to", &collector.url()]);
    let text = said(&output, 0);
    assert!(text.contains("archive: 10 still wait for it; a gateway that is started on this directory"), "{text}");
    gateway.start_again();
    gateway.stop();
    assert_eq!(archived(&gateway).len(), SPANS);
}
