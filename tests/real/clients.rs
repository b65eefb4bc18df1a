//! Clients that we did not write. Over Scribe: thriftpy2, facebook-scribe, Brave's libthrift sender. Over HTTP, in JSON
//! v2 and proto3: py_zipkin, OpenTelemetry's exporters, Brave's other senders. Over gRPC: grpcio. What they sent is in
//! Zipkin, and no answer surprised them.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::equality::behind;
use crate::support::http::Client;
use crate::support::process::{Gateway, sum, wait_for};
use crate::zipkin::Zipkin;

const COUNT: &str = "20";

/// Runs a script of this directory against a port and reads the line of JSON that it prints.
fn run(script: &str, port: u16) -> Value {
    let python = std::env::var("REAL_PYTHON").expect("REAL_PYTHON: run `make real`");
    let script = format!("{}/tests/real/{script}", env!("CARGO_MANIFEST_DIR"));
    printed(&script, Command::new(python).args([&script, "127.0.0.1", &port.to_string(), COUNT]))
}

/// The line of JSON that a client prints when it was never answered no.
fn printed(client: &str, command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{client}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{client}: {error}\n{errors}"))
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// What Brave sent through each sender of zipkin-reporter: (the sender, which is the service, its trace ids).
fn brave(gateway: &Gateway) -> Vec<(String, Vec<String>)> {
    let jars = std::env::var("REAL_BRAVE").expect("REAL_BRAVE: run `make real`");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/brave/Brave.java");
    let (http, scribe) = (gateway.http.to_string(), gateway.scribe.to_string());
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-cp", &format!("{jars}/*"), source, "127.0.0.1", &http, &scribe, COUNT]);
    let report = printed("Brave.java", &mut java);
    let sender = |(name, ids): (&String, &Value)| (name.clone(), strings(ids));
    report.as_object().unwrap().iter().map(sender).collect()
}

/// Waits until Zipkin has `count` spans of these traces.
fn arrived(zipkin: &Zipkin, service: &str, ids: &[String], count: usize) -> Vec<Value> {
    let spans = wait_for(service, Duration::from_secs(20), || {
        Some(zipkin.traces(ids, Value::clone)).filter(|spans| spans.len() == count)
    });
    assert!(spans.iter().all(|span| span["localEndpoint"]["serviceName"] == service), "{spans:?}");
    println!("{service}: {count} spans");
    spans
}

#[test]
fn clients_that_we_did_not_write_are_understood() {
    let dir = tempfile::tempdir().unwrap();
    let zipkin = Zipkin::start(dir.path(), "a", "512m").ready();
    let gateway = behind(dir.path(), &[zipkin.port]);

    for (script, service, status) in
        [("scribe_client.py", "thriftpy2", "name"), ("facebook_scribe.py", "facebook-scribe", "version")]
    {
        let report = run(script, gateway.scribe);
        assert_eq!(report["status"], 2, "fb303 getStatus is ALIVE: {report}");
        assert!(report[status].is_string(), "{report}");
        let sent = strings(&report["traces"]);
        arrived(&zipkin, service, &sent, sent.len());
    }

    for (script, service) in
        [("http_client.py", "py_zipkin"), ("otel_client.py", "opentelemetry"), ("grpc_client.py", "grpcio")]
    {
        let report = run(script, gateway.http);
        arrived(&zipkin, service, &strings(&report["traces"]), report["spans"].as_u64().unwrap() as usize);
        if service == "grpcio" {
            assert_eq!(report["refused"], serde_json::json!(["INVALID_ARGUMENT", "INVALID_ARGUMENT"]));
        }
    }

    for (sender, ids) in brave(&gateway) {
        let spans = arrived(&zipkin, &sender, &ids, 2 * ids.len());
        let calls: Vec<&Value> = spans.iter().filter(|span| span["kind"] == "CLIENT").collect();
        assert_eq!(calls.len(), ids.len());
        for call in calls {
            assert_eq!(call["annotations"][0]["value"], "halfway", "{call}");
            assert_eq!(call["remoteEndpoint"]["port"], 5432, "{call}");
            assert!(call["tags"]["http.path"].as_str().unwrap().starts_with("/ünïcode/"), "{call}");
        }
    }

    let metrics = Client::new(gateway.admin).get("/metrics").unwrap().text();
    let refused =
        sum(&metrics, "spangate_spans_refused_total", &[]) + sum(&metrics, "spangate_spans_set_aside_total", &[]);
    // The span of zeros that grpcio sent twice.
    assert_eq!(refused, 2.0, "{metrics}");
}
