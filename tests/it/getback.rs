//! `spangate archive`: what was acknowledged is found in the archive, each span once, and is sent again from there.
#![allow(clippy::disallowed_methods, reason = "a test reads and writes files of its own")]

mod replay;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::Gateway;
use crate::support::s3::{Fault, Op, S3};

fn command(verb: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
    command.args(["archive", verb]).args(more).stdin(Stdio::null());
    command
}

fn archive(verb: &str, more: &[&str]) -> Output {
    command(verb, more).output().unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Two archives of the same spans, one of each format, and a file that says so.
struct Two {
    dir: TempDir,
    config: String,
    /// Of each acknowledged span, `TRACE_ID ID KIND`.
    ledger: Vec<String>,
}

impl Two {
    fn lake(dir: &Path) -> PathBuf {
        dir.join("lake")
    }

    /// A gateway that took `spans` made-up ones and stopped.
    fn filled(spans: u64) -> Two {
        let dir = TempDir::new().unwrap();
        let (config, ledger) = (dir.path().join("spangate.toml"), dir.path().join("ledger"));
        let lake = Two::lake(dir.path());
        let text = format!(
            "data = \"{}\"\n[drain.archive]\n[drain.lake]\narchive = \"file://{}\"\n",
            dir.path().join("data").display(),
            lake.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut gateway = Gateway::start(dir.path(), &["--config", config.to_str().unwrap()]);
        let mut send = Command::new(env!("CARGO_BIN_EXE_spangate"));
        send.args(["send", "--scribe", &format!("127.0.0.1:{}", gateway.scribe), "--spans", &spans.to_string()]);
        let sent = send.arg("--ledger").arg(&ledger).output().unwrap();
        assert!(sent.status.success(), "{sent:?}");
        gateway.stop();
        let mut ledger: Vec<String> = std::fs::read_to_string(&ledger).unwrap().lines().map(str::to_owned).collect();
        ledger.sort();
        assert_eq!(ledger.len() as u64, spans);
        Two { config: config.to_str().unwrap().to_owned(), ledger, dir }
    }

    fn ask(&self, verb: &str, drain: &str, more: &[&str]) -> Output {
        archive(verb, &[&["--config", &self.config, "--drain", drain], more].concat())
    }

    fn spans(&self, drain: &str, more: &[&str]) -> Vec<Value> {
        said(&self.ask("cat", drain, more)).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// As a ledger has them.
fn names<'a>(spans: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let text = |span: &Value, key: &str| span[key].as_str().unwrap_or("-").to_owned();
    let name = |span: &Value| format!("{} {} {}", text(span, "traceId"), text(span, "id"), text(span, "kind"));
    let mut names: Vec<String> = spans.into_iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn what_is_printed_is_what_was_acknowledged_and_the_same_from_every_format() {
    let two = Two::filled(2_000);
    let lines = said(&two.ask("cat", "archive", &[]));
    assert_eq!(lines, said(&two.ask("cat", "lake", &[])), "the same lines in the same order");
    let spans: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(names(&spans), two.ledger);
    let mut traces: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for span in &spans {
        traces.entry(span["traceId"].as_str().unwrap()).or_default().push(span);
    }
    let (trace, members) = traces.iter().next_back().unwrap();
    for drain in ["archive", "lake"] {
        for id in [trace, &trace[trace.len() - 16..]] {
            assert_eq!(names(&two.spans(drain, &["--trace-id", id])), names(members.iter().copied()));
        }
        let service = spans[7]["localEndpoint"]["serviceName"].as_str().unwrap();
        let of_service = spans.iter().filter(|span| span["localEndpoint"]["serviceName"] == *service);
        assert_eq!(names(&two.spans(drain, &["--service", service])), names(of_service));
        assert_eq!(two.spans(drain, &["--service", "nobody"]), Vec::<Value>::new());
        let positions = two.spans(drain, &["--first", "100", "--last", "149"]);
        assert_eq!(names(&positions), names(&spans[100..150]));
        assert_eq!(two.spans(drain, &["--from", "1h"]).len(), 2_000);
        assert_eq!(two.spans(drain, &["--to", "1h"]).len(), 0);
    }
}

#[test]
fn objects_are_listed_with_what_they_hold() {
    let two = Two::filled(300);
    for (drain, extension) in [("archive", "jsonl.gz"), ("lake", "parquet")] {
        let list = said(&two.ask("list", drain, &[]));
        let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split('\t').collect()).collect();
        let spans: u64 = rows.iter().map(|row| row[1].parse::<u64>().unwrap()).sum();
        assert_eq!(spans, 300, "{list}");
        assert_eq!((rows[0].len(), rows[0][4]), (7, "0"));
        assert!(rows[0][0].ends_with('Z') && rows[0][6].ends_with(extension), "{list}");
        let json = said(&two.ask("list", drain, &["--json", "--channel", rows[0][3]]));
        let object: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!((&object["format"], &object["path"]), (&extension.into(), &rows[0][6].into()));
        assert_eq!(object["spans"].to_string(), rows[0][1]);
        assert_eq!(said(&two.ask("list", drain, &["--first", "1000000"])), "");
    }
}

#[test]
fn each_span_comes_with_its_origin_where_that_is_kept() {
    let two = Two::filled(50);
    let (kept, lost) = (two.spans("lake", &["--origin"]), two.spans("archive", &["--origin"]));
    assert_eq!(names(kept.iter().map(|line| &line["span"])), two.ledger);
    assert!(kept.iter().all(|line| line["origin"]["category"] == "zipkin" && line["received"].is_string()));
    assert!(lost.iter().all(|line| line["origin"].is_null() && line["received"].is_null()));
    assert_eq!(two.spans("lake", &["--category", "zipkin"]).len(), 50);
    assert_eq!(two.spans("lake", &["--category", "other"]).len(), 0);
    let told = two.ask("cat", "archive", &["--category", "zipkin"]);
    assert!(told.status.success() && told.stdout.is_empty(), "{told:?}");
    assert!(complaint(&told).contains("JSON lines keep neither category nor labels"), "{told:?}");
}

#[test]
fn a_damaged_object_is_said_and_the_others_are_read() {
    let two = Two::filled(20);
    let dir = two.dir.path().join("data/archive");
    let real = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let real = real.into_iter().find(|path| path.extension().is_some_and(|e| e == "gz")).unwrap();
    let name = real.file_name().unwrap().to_str().unwrap().to_owned();
    // Of another channel, in most runs of an earlier name.
    let other = if name.starts_with('0') { '1' } else { '0' };
    let before = format!("{other}{}", &name[1..]);
    let bytes = std::fs::read(&real).unwrap();
    std::fs::write(dir.join(&before), &bytes[..bytes.len() - 10]).unwrap();
    let told = two.ask("cat", "archive", &[]);
    assert_eq!(told.status.code(), Some(4), "{told:?}");
    assert!(complaint(&told).contains(&format!("{before} is damaged: ")), "{told:?}");
    assert!(String::from_utf8(told.stdout).unwrap().lines().count() >= 20);
}

#[test]
fn what_is_not_understood_or_not_there_says_so() {
    let dir = TempDir::new().unwrap();
    let nowhere = format!("file://{}", dir.path().join("nowhere").display());
    for (more, told) in [
        (&["--url", "ftp://x"][..], "file:///DIR"),
        (&["--url", &nowhere], "no archive at"),
        (&["--from", "yesterday"], "expected a time such as"),
        (&["--from", "1h", "--to", "2h"], "--to is not later than --from"),
        (&["--trace-id", "xyz"], "hexadecimal digits"),
        (&["--first", "9", "--last", "3"], "--last is less than --first"),
        (&["--url", "file:///x", "--endpoint", "http://x"], "on this machine"),
        (&["--drain", "lake"], "no archive lake; there is archive"),
    ] {
        let output = command("cat", more).current_dir(dir.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {output:?}");
        assert!(complaint(&output).contains(told), "{more:?}: {output:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "looking makes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_read_by_parts_whatever_the_store_throws_in() {
    let two = tokio::task::block_in_place(|| Two::filled(500));
    let s3 = S3::start().await;
    for source in [two.dir.path().join("data/archive"), Two::lake(two.dir.path())] {
        s3_holds(&s3, &source, "spans/x");
    }
    let lines = said(&two.ask("cat", "archive", &[]));
    let bucket = |verb: &str, more: &[&str]| {
        let url = ["--url", "s3://spans/spans/x", "--endpoint", &s3.url()];
        let mut command = command(verb, &[&url, more].concat());
        let command = command.envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        command.current_dir(two.dir.path()).output().unwrap()
    };
    for fault in [Fault::SlowDown, Fault::Error, Fault::Drop] {
        for op in [Op::List, Op::Head, Op::Get] {
            s3.script(op, [Some(fault), None, Some(fault)]);
        }
    }
    let found = tokio::task::block_in_place(|| said(&bucket("cat", &[])));
    let (mut found, mut both): (Vec<&str>, Vec<&str>) =
        (found.lines().collect(), lines.lines().chain(lines.lines()).collect());
    found.sort_unstable();
    both.sort_unstable();
    assert!(found == both, "{} lines, not {}", found.len(), both.len());
    let list = tokio::task::block_in_place(|| said(&bucket("list", &["--json"])));
    let spans = list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["spans"].as_u64().unwrap());
    assert_eq!(spans.sum::<u64>(), 1_000);
    s3.always(Some(Fault::Refuse));
    let refused = tokio::task::block_in_place(|| bucket("cat", &[]));
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(complaint(&refused).contains("s3://spans/spans/x") && complaint(&refused).contains("403"), "{refused:?}");
}

/// The objects in a directory and those below, as a copy that lost their metadata.
fn s3_holds(s3: &S3, dir: &Path, prefix: &str) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let key = format!("{prefix}/{name}");
        match entry.file_type().unwrap().is_dir() {
            true if name.starts_with('_') => {}
            true => s3_holds(s3, &entry.path(), &key),
            false => {
                let bytes = std::fs::read(entry.path()).unwrap().into();
                s3.place(&key, crate::support::s3::Stored { bytes, facts: None });
            }
        }
    }
}
