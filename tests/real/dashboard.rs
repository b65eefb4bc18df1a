//! Prometheus as docker-compose.yml configures it, before a live gateway and two Zipkin servers: each query of the
//! Grafana dashboard returns data, and each alert can be evaluated.
//!
//! `prometheus` is the program of that name (Debian's package will do); without it the test fails and says so.
#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::equality::behind;
use crate::support::dashboard::{Query, alerts, queries, text};
use crate::support::http::Client;
use crate::support::process::{Gateway, Process, free_port, wait_for};
use crate::support::scribe;
use crate::zipkin::Zipkin;

/// Scrapes of a second each; Grafana puts four scrapes and more for `$__rate_interval`.
const RATE_INTERVAL: &str = "10s";
/// Two scrapes of every target, with time for busy cores.
const LIMIT: Duration = Duration::from_secs(60);

/// The configuration of the compose file, its hosts mapped to this machine's ports.
fn configure(dir: &Path, gateway: &Gateway, zipkins: &[Zipkin; 2]) {
    let mut config = text("deploy/prometheus/prometheus.yml");
    for (name, port) in
        [("spangate:9412", gateway.admin), ("zipkin-1:9411", zipkins[0].port), ("zipkin-2:9411", zipkins[1].port)]
    {
        assert!(config.contains(name), "prometheus.yml scrapes {name}");
        config = config.replace(name, &format!("127.0.0.1:{port}"));
    }
    let config = config.replace("_interval: 5s", "_interval: 1s");
    std::fs::write(dir.join("prometheus.yml"), config).unwrap();
    std::fs::write(dir.join("alerts.yml"), text("deploy/prometheus/alerts.yml")).unwrap();
}

fn prometheus(dir: &Path) -> (Process, u16) {
    let port = free_port();
    let mut command = Command::new("prometheus");
    command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus-data"]);
    command.arg(format!("--web.listen-address=127.0.0.1:{port}")).current_dir(dir);
    let version = Command::new("prometheus").arg("--version").output();
    assert!(version.is_ok(), "prometheus is not installed (Debian: apt-get install prometheus)");
    let mut process = Process::start(command, &dir.join("prometheus.log"));
    let mut client = Client::new(port);
    wait_for("Prometheus is ready", LIMIT, || {
        process.must_run();
        client.get("/-/ready").ok().filter(|answer| answer.status == 200)
    });
    (process, port)
}

/// Sends spans on both ports, and what is refused and set aside, until `stop`.
fn load(http: u16, address: u16, stop: &AtomicBool) {
    let mut client = Client::new(http);
    let mut tracer = scribe::Client::connect((Ipv4Addr::LOCALHOST, address).into());
    for id in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let hex = format!("{id:016x}");
        let span = json!([{ "traceId": hex, "id": hex, "name": "get", "timestamp": 1_767_225_600_000_000u64,
                            "duration": 1000, "localEndpoint": { "serviceName": "shop" } }]);
        let answer = client.post("/api/v2/spans", "application/json", span.to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 202);
        assert_eq!(client.post("/api/v2/spans", "application/json", b"[{}]").unwrap().status, 400);
        let entry = scribe::entry(id, id, "get");
        assert_eq!(tracer.log(&[("zipkin", &entry), ("zipkin", "no span")]), 0);
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What Prometheus answers to a query: its series.
fn ask(port: u16, query: &Query) -> Vec<Value> {
    let expression = query.expression.replace("$__rate_interval", RATE_INTERVAL);
    let answer = Client::new(port).get(&format!("/api/v1/query?query={}", escaped(&expression))).unwrap();
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(value["status"], "success", "{}: {expression}: {}", query.at, answer.text());
    value["data"]["result"].as_array().expect("a vector").clone()
}

/// A series' value as text: Prometheus has numbers that JSON lacks.
fn value(series: &Value) -> &str {
    series["value"][1].as_str().expect("a sample")
}

/// No data is no series, or nothing but quotients of nothing.
fn has_data(series: &[Value]) -> bool {
    series.iter().any(|series| value(series) != "NaN")
}

#[test]
fn each_query_of_the_dashboard_returns_data() {
    let dir = tempfile::tempdir().unwrap();
    let zipkins = ["one", "two"].map(|name| Zipkin::start(dir.path(), name, "512m")).map(Zipkin::ready);
    let gateway = behind(dir.path(), &[zipkins[0].port, zipkins[1].port]);
    configure(dir.path(), &gateway, &zipkins);
    let (_prometheus, port) = prometheus(dir.path());
    let stop = AtomicBool::new(false);
    let queries = queries();
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| load(gateway.http, gateway.scribe, &stop));
        for query in &queries {
            let series = wait_for(&query.at, LIMIT, || Some(ask(port, query)).filter(|series| has_data(series)));
            println!("{:50} {:3} series, first {}", query.at, series.len(), value(&series[0]));
        }
        both_listeners_and_sinks_are_seen(port);
        alerts_are_evaluated(port);
    });
}

/// Ends the load when the scope is left, by a panic, too: the scope waits for its threads.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Data alone may be a flat zero.
fn both_listeners_and_sinks_are_seen(port: u16) {
    for (expression, count) in [
        ("sum by (listener) (rate(spangate_spans_accepted_total[10s])) > 0", 2),
        ("sum by (listener) (rate(spangate_spans_refused_total[10s])) > 0", 1),
        ("sum by (sink) (rate(spangate_sink_spans_total{outcome=\"delivered\"}[10s])) > 0", 2),
        ("sum by (instance) (rate(zipkin_collector_spans_total{job=\"zipkin\"}[10s])) > 0", 2),
        ("spangate_sink_up == 1", 2),
        ("up == 1", 3),
    ] {
        let query = Query { at: expression.into(), expression: expression.into(), legend: String::new() };
        wait_for(expression, LIMIT, || (ask(port, &query).len() == count).then_some(()));
    }
}

/// Each rule's state, by name; none of them may have failed.
fn alert_states(port: u16) -> BTreeMap<String, String> {
    let answer = Client::new(port).get("/api/v1/rules").unwrap();
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    let rules = value["data"]["groups"][0]["rules"].as_array().expect("a group of rules");
    let state = |rule: &Value| {
        assert_eq!((&rule["health"], rule.get("lastError")), (&json!("ok"), None), "{rule}");
        (rule["name"].as_str().unwrap().to_owned(), rule["state"].as_str().unwrap().to_owned())
    };
    rules.iter().map(state).collect()
}

fn alerts_are_evaluated(port: u16) {
    // Entries that are no spans are sent all the time: this one must notice.
    let states = wait_for("the alert on dead letters fires", LIMIT, || {
        Some(alert_states(port)).filter(|states| states["SpangateDeadLetters"] == "firing")
    });
    assert_eq!(states.len(), alerts().len());
    assert_eq!(states["SpangateDown"], "inactive");
}
