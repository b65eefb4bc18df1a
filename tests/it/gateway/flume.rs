//! The experiments of "Impact of reliability in the scalability of Flume" (2012) on this gateway, with the cases that
//! Flume's own source suggests. The README has a table of them beside what Flume did.
//!
//! Each counts what was acknowledged and not delivered (lost, always 0) and what was delivered again (repeated,
//! bounded). An hour of an outage is told in spans, not on a clock.

mod faults;
mod load;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::rig::{LIMIT, Sender};
use crate::support::collector::Collector;
use crate::support::process::{Gateway, wait_for};

/// A gateway without an archive, with one drain and these keys in it.
fn gateway(dir: &Path, drain: &str, arguments: &[&str]) -> Gateway {
    let file = dir.join("spangate.toml");
    std::fs::write(&file, format!("[drain.zipkin]\n{drain}\n")).unwrap();
    Gateway::start(dir, &[&["-c", file.to_str().unwrap(), "--archive", "none"], arguments].concat())
}

/// The key `sinks` for these, with a timeout so long that no slow machine makes a batch be sent twice.
fn sinks(collectors: &[&Collector]) -> String {
    let sink = |sink: &&Collector| format!("{{ url = \"{}\", timeout = \"5m\" }}", sink.url());
    let sinks: Vec<String> = collectors.iter().map(sink).collect();
    format!("sinks = [{}]", sinks.join(", "))
}

/// Acknowledged and not found.
fn lost(senders: &[&Sender], found: &BTreeMap<String, u32>) -> usize {
    let sent: HashSet<&String> = senders.iter().flat_map(|sender| &sender.sent).collect();
    assert!(found.keys().all(|id| sent.contains(id)), "something came that was never sent");
    senders.iter().flat_map(|sender| &sender.acknowledged).filter(|id| !found.contains_key(*id)).count()
}

/// Found once more than once.
fn repeated(found: &BTreeMap<String, u32>) -> u32 {
    found.values().map(|times| times - 1).sum()
}

/// Waits until nothing waits in the channel.
fn emptied(gateway: &Gateway) {
    wait_for("the channel is empty", LIMIT, || (waiting(gateway) == 0.0).then_some(()));
}

fn waiting(gateway: &Gateway) -> f64 {
    gateway.metric("spangate_drain_waiting_spans", &["drain=\"zipkin\""])
}
