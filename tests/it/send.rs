//! `spangate send` as a process, against listeners that say what a script tells them.

mod grpc;
mod listener;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::collector::Collector;
use crate::support::process::{Gateway, Process, free_port, wait_for};
use listener::{Listener, Say, Speaks};

const FORMATS: [Speaks; 6] =
    [Speaks::Scribe, Speaks::Json, Speaks::Proto3, Speaks::JsonV1, Speaks::Thrift, Speaks::Grpc];

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
    command.arg("send").args(arguments).stdin(Stdio::null());
    command
}

fn send(to: &[String], more: &[&str]) -> Output {
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    command(&[&to, more].concat()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The number that a line of the report begins with.
fn reported(output: &Output, label: &str) -> u64 {
    let text = text(output);
    let line = text.lines().find(|line| line.split(' ').next() == Some(label));
    let number = line.unwrap_or_else(|| panic!("no line {label}: {text}"))[label.len()..].trim_start();
    let digits: String = number.chars().take_while(|c| c.is_ascii_digit() || *c == ',').filter(|c| *c != ',').collect();
    digits.parse().unwrap()
}

fn lines(ledger: &Path) -> Vec<String> {
    let mut lines: Vec<String> = std::fs::read_to_string(ledger).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn the_ledger_is_what_the_listener_acknowledged_whatever_it_refused_or_left_unanswered() {
    for speaks in FORMATS {
        let dir = TempDir::new().unwrap();
        let ledger = dir.path().join("ledger");
        let listener = Listener::start(speaks, |nth| match nth {
            n if n % 7 == 3 => Say::Nothing,
            n if n % 3 == 1 => Say::Later,
            _ => Say::Yes,
        });
        let flags = ["--spans", "1010", "--batch", "50", "--connections", "3", "--ledger", ledger.to_str().unwrap()];
        let output = send(&listener.flags(), &flags);
        assert!(output.status.success(), "{speaks:?}: {}", text(&output));
        let seen = listener.seen();
        let mut acknowledged = seen.acknowledged.clone();
        acknowledged.sort();
        assert_eq!(acknowledged.len(), 1010);
        assert_eq!(lines(&ledger), acknowledged, "{speaks:?}");
        assert!(seen.later > 0 && seen.unanswered > 0);
        assert_eq!(reported(&output, "sent"), 1010);
        assert_eq!(reported(&output, "acknowledged"), 1010);
        assert_eq!(reported(&output, "refused"), seen.later);
        assert_eq!(reported(&output, "unanswered"), seen.unanswered);
        assert_eq!(reported(&output, "retried"), seen.later + seen.unanswered);
        assert_eq!(reported(&output, "never"), 0);
    }
}

#[test]
fn what_was_put_off_is_told_by_its_name() {
    for (speaks, name) in [
        (Speaks::Scribe, "(TRY_LATER 2 times)"),
        (Speaks::Json, "(503 2 times)"),
        (Speaks::Grpc, "(UNAVAILABLE 2 times)"),
    ] {
        let listener = Listener::start(speaks, |nth| if nth < 2 { Say::Later } else { Say::Yes });
        let output = send(&listener.flags(), &["--spans", "30", "--connections", "1"]);
        assert!(output.status.success() && text(&output).contains(name), "{}", text(&output));
    }
}

#[test]
fn a_dead_server_ends_it_with_its_address_and_what_to_do() {
    let port = free_port();
    let (host_port, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    for flags in [["--scribe", &host_port], ["--http", &url], ["--grpc", &url]] {
        let output = send(&flags.map(str::to_owned), &[]);
        assert_eq!(output.status.code(), Some(1));
        let text = text(&output);
        let words = [&port.to_string(), "refused", "nothing was sent", "is a gateway running there?", flags[0]];
        assert!(words.iter().all(|word| text.contains(*word)), "{text}");
    }
}

#[test]
fn whoever_never_says_yes_is_given_up_and_the_exit_code_says_so() {
    for (say, last) in [(Say::Later, "TRY_LATER"), (Say::Nothing, "closed without an answer")] {
        let listener = Listener::start(Speaks::Scribe, move |_| say);
        let output = send(&listener.flags(), &["--spans", "50", "--connections", "1", "--patience", "300ms"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains("gave up") && text(&output).contains(last), "{}", text(&output));
        assert_eq!((reported(&output, "acknowledged"), reported(&output, "never")), (0, 50));
        assert!(listener.seen().acknowledged.is_empty());
    }
}

#[test]
fn a_refusal_for_good_ends_it_with_what_was_said() {
    for speaks in FORMATS {
        let listener = Listener::start(speaks, |nth| if nth < 2 { Say::Yes } else { Say::Never });
        let output = send(&listener.flags(), &["--spans", "1000", "--connections", "1"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output).contains("refused for good") && text(&output).contains("not with us"),
            "{}",
            text(&output)
        );
        assert_eq!((reported(&output, "acknowledged"), reported(&output, "never")), (200, 100));
    }
}

#[test]
fn a_port_of_another_protocol_is_told_at_once() {
    let dir = TempDir::new().unwrap();
    let mut gateway = Gateway::start(dir.path(), &[]);
    let to_http = ["--scribe".to_owned(), format!("127.0.0.1:{}", gateway.http)];
    let output = send(&to_http, &[]);
    assert!(!output.status.success() && text(&output).contains("is this Scribe's port?"), "{}", text(&output));
    let to_scribe = ["--http".to_owned(), format!("http://127.0.0.1:{}", gateway.scribe)];
    let output = send(&to_scribe, &["--patience", "200ms"]);
    assert!(!output.status.success(), "{}", text(&output));
    let to_scribe = ["--grpc".to_owned(), format!("http://127.0.0.1:{}", gateway.scribe)];
    let output = send(&to_scribe, &[]);
    assert!(!output.status.success() && text(&output).contains("is this a port of gRPC?"), "{}", text(&output));
    assert_eq!(gateway.metric("spangate_spans_received_total", &[]), 0.0);
    gateway.stop();
}

#[test]
fn a_signal_stops_what_is_endless_and_the_ledger_is_whole() {
    let dir = TempDir::new().unwrap();
    let ledger = dir.path().join("ledger");
    let listener = Listener::start(Speaks::Proto3, |_| Say::Yes);
    let to = listener.flags();
    let flags = ["--spans", "endless", "--rate", "2000", "--batch", "20", "--ledger", ledger.to_str().unwrap()];
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let mut process = Process::start(command(&[&to, &flags[..]].concat()), &dir.path().join("log"));
    let limit = Duration::from_secs(30);
    wait_for("some are acknowledged", limit, || (listener.seen().acknowledged.len() > 200).then_some(()));
    let status = process.stop(Signal::INT, limit);
    assert!(status.success(), "{}", process.tail());
    let mut acknowledged = listener.seen().acknowledged.clone();
    acknowledged.sort();
    assert_eq!(lines(&ledger), acknowledged);
}

#[test]
fn a_seed_repeats_its_spans_and_a_rate_is_not_exceeded() {
    let ids = || {
        let listener = Listener::start(Speaks::Json, |_| Say::Yes);
        let flags = ["--spans", "60", "--batch", "20", "--rate", "100", "--seed", "11", "--connections", "2"];
        let begun = std::time::Instant::now();
        let output = send(&listener.flags(), &flags);
        assert!(output.status.success() && text(&output).contains("seed            11\n"), "{}", text(&output));
        // The first message goes at once, the third after 40 spans' time.
        assert!(begun.elapsed() >= Duration::from_millis(400));
        let mut acknowledged = listener.seen().acknowledged.clone();
        acknowledged.sort();
        acknowledged
    };
    assert_eq!(ids(), ids());
}

#[test]
fn prepared_messages_are_the_same_spans() {
    let ids = |more: &[&str]| {
        let listener = Listener::start(Speaks::Scribe, |_| Say::Yes);
        let output =
            send(&listener.flags(), &[&["--spans", "250", "--seed", "3", "--connections", "1"], more].concat());
        assert!(output.status.success(), "{}", text(&output));
        listener.seen().acknowledged.clone()
    };
    assert_eq!(ids(&[]), ids(&["--prepare"]));
}

#[test]
fn a_ledger_that_cannot_be_written_is_named_before_anything_is_sent() {
    let listener = Listener::start(Speaks::Json, |_| Say::Yes);
    let output = send(&listener.flags(), &["--ledger", "/nowhere/ledger"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("--ledger /nowhere/ledger"), "{}", text(&output));
    assert!(listener.seen().acknowledged.is_empty());
}

#[test]
fn usage_errors_have_the_exit_code_of_a_configuration() {
    for flags in [
        &["--scribe", "a", "--http", "http://b"][..],
        &["--batch", "0"],
        &["--grpc", "a"],
        &["--grpc", "http://a", "--format", "thrift"],
        &["--http", "http://a/api/v2/spans", "--format", "json-v1"],
    ] {
        assert_eq!(command(flags).output().unwrap().status.code(), Some(2), "{flags:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_accepts_every_span_of_every_format() {
    let dir = TempDir::new().unwrap();
    let collector = Collector::start().await;
    let mut gateway = Gateway::start(dir.path(), &["--collector", &collector.url(), "--archive", "none"]);
    let scribe = ["--scribe".to_owned(), format!("127.0.0.1:{}", gateway.scribe)];
    let http = ["--http".to_owned(), format!("http://127.0.0.1:{}", gateway.http)];
    let grpc = ["--grpc".to_owned(), format!("http://127.0.0.1:{}", gateway.http)];
    let ledger = dir.path().join("ledger");
    let mut ids = std::collections::BTreeSet::new();
    for (to, more) in [
        (&scribe, &[][..]),
        (&http, &["--span-bytes", "640"]),
        (&http, &["--format", "proto3"]),
        (&http, &["--format", "json-v1"]),
        (&http, &["--format", "thrift"]),
        (&grpc, &["--batch", "400"]),
    ] {
        let batch: &[&str] = if more.contains(&"--batch") { &[] } else { &["--batch", "40"] };
        let flags = ["--spans", "500", "--ledger", ledger.to_str().unwrap()];
        let output = send(to, &[&flags[..], batch, more].concat());
        assert!(output.status.success(), "{}", text(&output));
        ids.extend(lines(&ledger).iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()));
    }
    assert_eq!(gateway.metric("spangate_spans_accepted_total", &[]), 3000.0);
    assert_eq!(gateway.metric("spangate_spans_set_aside_total", &[]), 0.0);
    wait_for("all are collected", Duration::from_secs(30), || {
        let taken = collector.taken();
        (taken.values().sum::<u32>() == 3000 && taken.keys().eq(&ids)).then_some(())
    });
    gateway.stop();
}
