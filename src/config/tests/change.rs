//! What differs between two configurations, and what of it needs a restart.

use super::Case;
use crate::config::table::{Scope, rows};
use crate::config::{Changes, LIVE};

fn between(old: &str, new: &str) -> Changes {
    Changes::between(&Case::file(old).understood().resolved, &Case::file(new).understood().resolved)
}

fn told<'a>(changes: impl Iterator<Item = &'a crate::config::Change>) -> Vec<String> {
    changes.map(ToString::to_string).collect()
}

const SINK: &str = "[drain.zipkin]\nsinks = [{ url = \"http://a\" }]\n";

#[test]
fn what_is_written_otherwise_and_means_the_same_is_no_change() {
    assert!(between("channel.sync = \"1000ms\"", "[channel]\nsync = \"1s\" # as before\n").is_empty());
    assert!(between("", "http.body_max = 10485760").is_empty());
}

#[test]
fn a_setting_of_the_gateway_needs_a_restart_unless_it_is_named_as_live() {
    let changes = between("", "scribe.frame_max = \"1MiB\"\nchannel.sync = \"1s\"\nstop_timeout = \"5s\"");
    let stuck = ["channel.sync \"always\" -> \"1s\"", "stop_timeout \"20s\" -> \"5s\""];
    assert_eq!(told(changes.needs_restart()), stuck);
    assert_eq!(told(changes.of_gateway()), [stuck[0], "scribe.frame_max 16384000 -> \"1MiB\"", stuck[1]]);
    let at: Vec<String> = changes.needs_restart().map(|change| change.at.to_string()).collect();
    assert_eq!(at, ["spangate.toml:2:16", "spangate.toml:3:16"]);
}

#[test]
fn every_setting_that_is_live_is_a_row_of_the_table() {
    for key in LIVE {
        assert!(rows(Scope::Gateway).any(|setting| setting.key == key), "{key}");
    }
}

#[test]
fn whatever_differs_in_a_drain_is_that_drains_and_needs_no_restart() {
    let changes = between(SINK, &format!("{SINK}batch.linger = \"1s\"\n[drain.zip]\nretired = true\n"));
    assert_eq!(told(changes.of_drain("zipkin")), ["drain.zipkin.batch.linger \"20ms\" -> \"1s\""]);
    assert_eq!(told(changes.of_drain("zip")), ["drain.zip.retired nothing -> true"]);
    assert_eq!(changes.needs_restart().count() + changes.of_gateway().count(), 0);
    let sinks = between(SINK, &SINK.replace("\"http://a\"", "\"http://a\", gzip = true"));
    assert_eq!(sinks.of_drain("zipkin").count(), 1);
}

#[test]
fn a_value_that_is_long_is_cut() {
    let sinks: Vec<String> = (0..50).map(|n| format!("{{ url = \"http://é{n}\" }}")).collect();
    let changes = between(SINK, &format!("[drain.zipkin]\nsinks = [{}]\n", sinks.join(", ")));
    let [change] = &told(changes.of_drain("zipkin"))[..] else { panic!("{changes:?}") };
    assert!(change.ends_with("...") && change.chars().count() < 500, "{change}");
}
