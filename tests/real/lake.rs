//! The archive before DuckDB and pyarrow: types, every span of a Parquet object equal to its line of JSON, and the
//! queries of the README as they stand there.
#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::http::Client;
use crate::support::process::{Gateway, wait_for};

const SENT: u64 = 20_000;

fn python(script: &str, arguments: &[&Path]) -> String {
    let python = std::env::var("REAL_PYTHON").expect("REAL_PYTHON: run `make real`");
    let script = format!("{}/tests/real/{script}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python).arg(&script).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The SQL blocks of the README, each with the place of its own archive put in.
fn queries(objects: &Path) -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let blocks = readme.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut out = String::new();
    for block in blocks {
        writeln!(out, "{}", block.replace("/srv/spans/", &format!("{}/", objects.display()))).unwrap();
    }
    assert!(out.matches("select").count() >= 3, "the README has the queries: {out}");
    out
}

/// Spans with every field, with none that may lack, and with texts that need care.
fn odd_spans() -> String {
    let tags: Vec<String> = (0..300).map(|n| format!("\"k{n}\":\"{}\"", "v".repeat(n))).collect();
    let mut spans = [
        r#"{"traceId":"1","id":"1"}"#.to_owned(),
        r#"{"traceId":"463ac35c9f6413ad48485a3953bb6124","parentId":"1","id":"2","kind":"SERVER","name":"gét \"/\" \u0000 \ud83d\ude00",
            "timestamp":1472470996199000,"duration":207000,"shared":true,"debug":true,
            "localEndpoint":{"serviceName":"ünï","ipv4":"10.1.2.3","ipv6":"2001:db8::c001","port":65535},
            "remoteEndpoint":{"serviceName":"db","port":1},
            "annotations":[{"timestamp":1472470996238000,"value":"foo"},{"timestamp":1472470996403000,"value":"b\u2028ar"}],
            "tags":{"":"","a\"b":"\u0001","error":"x"}}"#.to_owned(),
        format!(r#"{{"traceId":"3","id":"3","kind":"PRODUCER","duration":9223372036854775807,"tags":{{{}}}}}"#, tags.join(",")),
        r#"{"traceId":"4","id":"4","kind":"CONSUMER","annotations":[{"timestamp":1,"value":""}],"remoteEndpoint":{"ipv6":"::1"}}"#.to_owned(),
    ];
    spans.iter_mut().for_each(|span| *span = span.replace('\n', " "));
    format!("[{}]", spans.join(","))
}

#[test]
fn duckdb_and_pyarrow_read_every_span_of_the_archive() {
    let dir = tempfile::tempdir().unwrap();
    let (parquet, zstd) = (dir.path().join("parquet"), dir.path().join("zstd"));
    let config = dir.path().join("spangate.toml");
    let text = format!(
        "[drain.archive]\narchive = \"builtin\"\n[drain.parquet]\narchive = \"file://{}\"\nroll_size = \"256KiB\"\nroll_idle = \"1s\"\n\
         [drain.zstd]\narchive = \"file://{}\"\nformat = \"jsonl.zst\"\nroll_idle = \"1s\"\n",
        parquet.display(),
        zstd.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut gateway = Gateway::start(dir.path(), &["-c", config.to_str().unwrap()]);
    let answer = Client::new(gateway.http).post("/api/v2/spans", "application/json", odd_spans().as_bytes()).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    let sent = Command::new(env!("CARGO_BIN_EXE_spangate"))
        .args(["send", "--http", &format!("http://127.0.0.1:{}", gateway.http), "--spans", &SENT.to_string()])
        .output()
        .unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    wait_for("all is archived", Duration::from_secs(60), || {
        (gateway.metric("spangate_drain_waiting_spans", &[]) == 0.0).then_some(())
    });
    gateway.stop();
    let said = python("lake.py", &[&parquet, &dir.path().join("data/archive"), &zstd]);
    println!("{said}");
    assert!(said.contains(&format!("{} spans equal", SENT + 4)), "{said}");
    let file = dir.path().join("queries.sql");
    std::fs::write(&file, queries(&parquet)).unwrap();
    println!("{}", python("lake_sql.py", &[&file]));
}
