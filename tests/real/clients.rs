//! Clients that we did not write: thriftpy2 over Scribe, py_zipkin over HTTP (JSON v2, proto3), grpcio. What they sent is in
//! Zipkin, and no answer surprised them.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::equality::behind;
use crate::support::http::Client;
use crate::support::process::{sum, wait_for};
use crate::zipkin::Zipkin;

const COUNT: &str = "20";

/// Runs a script of this directory against a port and reads the line of JSON that it prints.
fn run(script: &str, port: u16) -> Value {
    let python = std::env::var("REAL_PYTHON").expect("REAL_PYTHON: run `make real`");
    let script = format!("{}/tests/real/{script}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python).args([&script, "127.0.0.1", &port.to_string(), COUNT]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{script}: {error}\n{errors}"))
}

fn ids(report: &Value) -> Vec<String> {
    report["traces"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[test]
fn clients_that_we_did_not_write_are_understood() {
    let dir = tempfile::tempdir().unwrap();
    let zipkin = Zipkin::start(dir.path(), "a", "512m").ready();
    let gateway = behind(dir.path(), &[zipkin.port]);

    let scribe = run("scribe_client.py", gateway.scribe);
    assert_eq!(scribe["status"], 2, "fb303 getStatus is ALIVE: {scribe}");
    let sent = ids(&scribe);
    let found = wait_for("thriftpy2's spans", Duration::from_secs(20), || {
        Some(zipkin.traces(&sent, Value::clone)).filter(|spans| spans.len() == sent.len())
    });
    for span in &found {
        assert_eq!((&span["kind"], &span["localEndpoint"]["serviceName"]), (&"CLIENT".into(), &"thriftpy2".into()));
        assert!(span["tags"]["http.path"].as_str().unwrap().starts_with("/ünïcode/"), "{span}");
    }

    let http = run("http_client.py", gateway.http);
    let (sent, spans) = (ids(&http), http["spans"].as_u64().unwrap());
    let found = wait_for("py_zipkin's spans", Duration::from_secs(20), || {
        Some(zipkin.traces(&sent, Value::clone)).filter(|found| found.len() as u64 == spans)
    });
    assert!(found.iter().all(|span| span["localEndpoint"]["serviceName"] == "py_zipkin"), "{found:?}");
    println!("thriftpy2: {} spans, py_zipkin: {spans} spans", ids(&scribe).len());

    let grpc = run("grpc_client.py", gateway.http);
    let (sent, spans) = (ids(&grpc), grpc["spans"].as_u64().unwrap());
    let found = wait_for("grpcio's spans", Duration::from_secs(20), || {
        Some(zipkin.traces(&sent, Value::clone)).filter(|found| found.len() as u64 == spans)
    });
    assert!(found.iter().all(|span| span["localEndpoint"]["serviceName"] == "grpcio"), "{found:?}");
    assert_eq!(grpc["refused"], serde_json::json!(["INVALID_ARGUMENT", "INVALID_ARGUMENT"]));
    println!("grpcio: {spans} spans");

    let metrics = Client::new(gateway.admin).get("/metrics").unwrap().text();
    let refused =
        sum(&metrics, "spangate_spans_refused_total", &[]) + sum(&metrics, "spangate_spans_set_aside_total", &[]);
    // The span of zeros that grpcio sent twice.
    assert_eq!(refused, 2.0, "{metrics}");
}
