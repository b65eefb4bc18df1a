//! `spangate send` seen by Zipkin: whole traces, and the dependency graph that it draws from them.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::equality::behind;
use crate::support::http::Client;
use crate::support::process::wait_for;
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

#[test]
fn zipkin_draws_the_shop_from_what_send_sends_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let formats: [&[&str]; 3] = [&["--scribe"], &["--format", "json", "--http"], &["--format", "proto3", "--http"]];
    for flags in formats {
        let zipkin = Zipkin::start(dir.path(), "graph", "300m").ready();
        let gateway = behind(&dir.path().join(flags.join("")), &[zipkin.port]);
        let http = format!("http://127.0.0.1:{}", gateway.http);
        let to = if flags == ["--scribe"] { format!("127.0.0.1:{}", gateway.scribe) } else { http };
        let mut send = Command::new(env!("CARGO_BIN_EXE_spangate"));
        // A seed, so that a failure comes again.
        let output = send.arg("send").args(flags).args([&to, "--spans", SPANS, "--seed", "1"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        wait_for("Zipkin has them", Duration::from_secs(30), || {
            (zipkin.taken().0 == SPANS.parse::<u64>().unwrap()).then_some(())
        });
        let links = dependencies(&zipkin);
        for (parent, child) in LINKS {
            let link = links.iter().find(|link| link["parent"] == parent && link["child"] == child);
            assert!(link.is_some_and(|link| link["callCount"].as_u64() > Some(10)), "{parent} -> {child}: {links:?}");
        }
        assert!(links.iter().any(|link| link["errorCount"].as_u64() > Some(0)), "nothing ever fails: {links:?}");
        println!("{}: {} links", flags.join(" "), links.len());
    }
}

fn dependencies(zipkin: &Zipkin) -> Vec<Value> {
    // Until far after the run, from far before it.
    let path = "/api/v2/dependencies?endTs=4102444800000&lookback=4102444800000";
    let answer = Client::new(zipkin.port).get(path).unwrap();
    serde_json::from_str(&answer.text()).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}
