//! `spangate send` seen by Zipkin: whole traces, and the dependency graph that it draws from them.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::equality::behind;
use crate::support::http::Client;
use crate::support::process::{Gateway, wait_for};
use crate::zipkin::Zipkin;

const SPANS: &str = "1500";

/// What the shop's services ask of each other; a few links that are rarer are left out.
const LINKS: [(&str, &str); 15] = [
    ("frontend", "users"),
    ("frontend", "catalogue"),
    ("frontend", "cart"),
    ("frontend", "checkout"),
    ("users", "redis"),
    ("catalogue", "stock"),
    ("cart", "redis"),
    ("stock", "postgres"),
    ("checkout", "cart"),
    ("checkout", "stock"),
    ("checkout", "payment"),
    ("checkout", "kafka"),
    ("kafka", "mail"),
    ("payment", "postgres"),
    ("mail", "redis"),
];

/// The flags of every form, but for where it goes to.
const FORMS: [&[&str]; 6] = [
    &["--scribe"],
    &["--format", "json", "--http"],
    &["--format", "proto3", "--http"],
    &["--format", "json-v1", "--http"],
    &["--format", "thrift", "--http"],
    &["--grpc"],
];

/// Sends to these ports of Scribe and HTTP; the seed makes a failure come again.
fn send(flags: &[&str], scribe: u16, http: u16, seed: &str) {
    let url = format!("http://127.0.0.1:{http}");
    let to = if flags == ["--scribe"] { format!("127.0.0.1:{scribe}") } else { url };
    let mut send = Command::new(env!("CARGO_BIN_EXE_spangate"));
    let output = send.arg("send").args(flags).args([&to, "--spans", SPANS, "--seed", seed]).output().unwrap();
    assert!(output.status.success(), "{flags:?}: {output:?}");
}

fn has_taken(zipkin: &Zipkin, times: usize) {
    wait_for("Zipkin has them", Duration::from_secs(30), || {
        (zipkin.taken().0 == times as u64 * SPANS.parse::<u64>().unwrap()).then_some(())
    });
}

fn draws_the_shop(zipkin: &Zipkin) -> usize {
    let links = dependencies(zipkin);
    for (parent, child) in LINKS {
        let link = links.iter().find(|link| link["parent"] == parent && link["child"] == child);
        assert!(link.is_some_and(|link| link["callCount"].as_u64() > Some(10)), "{parent} -> {child}: {links:?}");
    }
    assert!(links.iter().any(|link| link["errorCount"].as_u64() > Some(0)), "nothing ever fails: {links:?}");
    links.len()
}

#[test]
fn zipkin_draws_the_shop_from_what_send_sends_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    for flags in FORMS {
        let zipkin = Zipkin::start(dir.path(), "graph", "300m").ready();
        let gateway = behind(&dir.path().join(flags.join("")), &[zipkin.port]);
        send(flags, gateway.scribe, gateway.http, "1");
        has_taken(&zipkin, 1);
        println!("{}: {} links", flags.join(" "), draws_the_shop(&zipkin));
    }
}

#[test]
fn zipkin_draws_the_shop_behind_a_gateway_that_feeds_it_over_scribe() {
    let dir = tempfile::tempdir().unwrap();
    let zipkin = Zipkin::start(dir.path(), "scribe", "300m").ready();
    let collector = format!("scribe://127.0.0.1:{}", zipkin.scribe);
    let gateway = Gateway::start(&dir.path().join("gateway"), &["--collector", &collector]);
    send(&["--grpc"], gateway.scribe, gateway.http, "1");
    has_taken(&zipkin, 1);
    println!("out over Scribe: {} links", draws_the_shop(&zipkin));
}

#[test]
fn zipkin_itself_takes_what_send_sends_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let zipkin = Zipkin::start(dir.path(), "straight", "512m").ready();
    for (times, flags) in FORMS.into_iter().enumerate() {
        send(flags, zipkin.scribe, zipkin.port, &times.to_string());
        has_taken(&zipkin, times + 1);
    }
    println!("straight: {} links", draws_the_shop(&zipkin));
}

fn dependencies(zipkin: &Zipkin) -> Vec<Value> {
    // Until far after the run, from far before it.
    let path = "/api/v2/dependencies?endTs=4102444800000&lookback=4102444800000";
    let answer = Client::new(zipkin.port).get(path).unwrap();
    serde_json::from_str(&answer.text()).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}
