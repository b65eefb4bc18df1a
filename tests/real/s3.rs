//! The archive on an S3 server that we did not write (moto), read back by a client that we did not write (boto3).
//!
//! The gateway is killed while it archives, and started again; each acknowledged span is in the bucket once.
#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::http::Client;
use crate::support::process::{Gateway, Process, free_port, wait_for};

const PREFIX: &str = "a=b/50%";
/// As many as there are kills, and one more; each of so many messages of one span.
const RUNS: u64 = 6;
const A_RUN: u64 = 40;

fn python() -> PathBuf {
    std::env::var("REAL_PYTHON").expect("REAL_PYTHON: run `make real`").into()
}

fn ask(endpoint: &str, arguments: &[&str]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/s3.py");
    let out = Command::new(python()).arg(script).arg(endpoint).args(arguments).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn moto(dir: &Path) -> (Process, String) {
    let port = free_port();
    let mut command = Command::new(python().with_file_name("moto_server"));
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    let mut process = Process::start(command, &dir.join("moto.log"));
    wait_for("moto serves", Duration::from_secs(60), || {
        process.must_run();
        Client::new(port).get("/moto-api/").ok()
    });
    (process, format!("http://127.0.0.1:{port}"))
}

#[test]
fn a_bucket_of_another_server_holds_each_span_once_across_kills() {
    let dir = tempfile::tempdir().unwrap();
    let (_moto, endpoint) = moto(dir.path());
    ask(&endpoint, &["make"]);
    let file = dir.path().join("spangate.toml");
    let archive = format!(
        "[drain.archive]\narchive = \"s3://spans/{PREFIX}\"\nendpoint = \"{endpoint}\"\nroll_idle = \"100ms\"\n\
         format = \"jsonl.gz\"\n"
    );
    std::fs::write(&file, archive).unwrap();
    let variables = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let arguments = ["-c", file.to_str().unwrap()];
    let mut gateway = Gateway::start_with(&dir.path().join("gateway"), &arguments, &variables);
    for run in 0..RUNS {
        let mut client = Client::new(gateway.http);
        for n in run * A_RUN..(run + 1) * A_RUN {
            let id = n + 1;
            let span = format!("[{{\"traceId\":\"{id:016x}\",\"id\":\"{id:016x}\",\"name\":\"get\"}}]");
            let answer = client.post("/api/v2/spans", "application/json", span.as_bytes()).unwrap();
            assert_eq!(answer.status, 202);
        }
        // Each run is killed a little further into an object.
        std::thread::sleep(Duration::from_millis(40 * run));
        if run + 1 < RUNS {
            gateway.process.kill();
            gateway.start_again();
        }
    }
    wait_for("the bucket has it all", Duration::from_secs(60), || {
        let waiting = gateway.metric("spangate_drain_waiting_spans", &["drain=\"archive\""]);
        Some(()).filter(|()| waiting == 0.0)
    });
    gateway.stop();
    each_once(&ask(&endpoint, &["read", PREFIX]));
}

fn each_once(read: &[Value]) {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for object in read.iter().filter(|line| line["key"].is_string()) {
        let (key, facts) = (object["key"].as_str().unwrap(), object["facts"].as_str().expect("it says what it is"));
        assert!(key.starts_with(&format!("{PREFIX}/")), "{key}");
        let ids = object["ids"].as_array().unwrap();
        assert!(facts.contains(&format!("spans={} ", ids.len())), "{key}: {facts}");
        for id in ids {
            *counts.entry(id.as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    let expected: BTreeMap<String, u32> = (1..=RUNS * A_RUN).map(|id| (format!("{id:016x}"), 1)).collect();
    assert_eq!(counts, expected);
    assert_eq!(read.last().unwrap()["uploads"], Value::Array(Vec::new()));
}
