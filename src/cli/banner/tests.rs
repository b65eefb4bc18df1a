//! The banner: what it says of each state, and that its commands are commands.

use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::channel::Found;
use crate::clock::Clock;

fn started() -> Started {
    Started {
        scribe: vec!["0.0.0.0:1463".parse().unwrap()],
        categories: vec!["zipkin".into()],
        http: vec!["0.0.0.0:9411".parse().unwrap()],
        admin: vec!["127.0.0.1:9412".parse().unwrap()],
        data: PathBuf::from("/home/me/spangate-data"),
        promise: Promise::Synced,
        found: Found::default(),
        waiting: Vec::new(),
        archives: vec![ArchiveAt {
            drain: "archive".into(),
            at: "/home/me/spangate-data/archive".into(),
            dir: Some(PathBuf::from("/home/me/spangate-data/archive")),
            format: Format::JsonLinesGzip1,
            keep_bytes: Some(10 << 30),
        }],
        collectors: Vec::new(),
    }
}

/// What a shell makes of a command line's words, one a line.
fn words(line: &str) -> Vec<String> {
    let out = Command::new("sh").args(["-c", &format!("printf '%s\\n' {line}")]).output().unwrap();
    assert!(out.status.success(), "{line}");
    String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_first_start_says_everything_in_one_block() {
    let expected = format!(
        r#"
spangate {}

  Scribe      0.0.0.0:1463 (category zipkin)
  HTTP        0.0.0.0:9411 (Zipkin v2 and v1, gRPC)
  data        /home/me/spangate-data (no spans wait)
  yes means   the spans are on disk
  archive     /home/me/spangate-data/archive (gzip JSON lines, keeps 10GiB, oldest go first)
  collectors  none: add --collector http://HOST:9411
  admin       127.0.0.1:9412 (/metrics, /health, /ready)

Send a span:
  curl -i http://127.0.0.1:9411/api/v2/spans -H 'Content-Type: application/json' -d '[{{"traceId":"'$(date +%s)'","id":"'$(date +%s)'","name":"hello","timestamp":'$(date +%s)'000000,"duration":1000,"localEndpoint":{{"serviceName":"curl"}}}}]'
See it, ten seconds later:
  zcat /home/me/spangate-data/archive/*.gz | grep '"hello"' | tail -n 1

"#,
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(block(&started()), expected);
}

#[test]
fn what_waits_what_was_damaged_and_what_is_missing_is_said() {
    let mut started = started();
    started.waiting = vec![("archive".into(), 7), ("zipkin".into(), 1_234)];
    started.found.damaged_items = 2;
    started.found.damaged_path = Some("/d/damaged/1".into());
    started.promise = Promise::Written(std::time::Duration::from_secs(5));
    started.categories = vec!["zipkin".into(), "*".into()];
    started.archives.clear();
    started.scribe.clear();
    started.collectors = vec!["a:9411".into(), "b:9411".into()];
    let said: Vec<String> = facts(&started).into_iter().map(|(label, fact)| format!("{label}: {fact}")).collect();
    assert_eq!(
        said,
        [
            "Scribe: none",
            "HTTP: 0.0.0.0:9411 (Zipkin v2 and v1, gRPC)",
            "data: /home/me/spangate-data (spans wait: 7 for archive, 1234 for zipkin; 2 damaged, kept in /d/damaged/1)",
            "yes means: the spans are written; a lost machine loses at most 5s",
            "archive: none",
            "collectors: a:9411, b:9411",
            "admin: 127.0.0.1:9412 (/metrics, /health, /ready)",
        ]
    );
    started.promise = Promise::Held;
    let said = facts(&started);
    assert_eq!(said[2].1, "/home/me/spangate-data (for archive and dead letters)");
    let lost = "the spans are in memory; what waits when the process ends is lost, to collectors and archive";
    assert_eq!(said[3], ("yes means", lost.to_owned()));
    assert!(!block(&started).contains("zcat"));
    started.http.clear();
    assert!(!block(&started).contains("curl"));
}

#[test]
fn the_span_of_the_curl_line_is_json_of_this_very_time() {
    let now = Clock::system().now_us();
    for (bound, url) in [
        ("0.0.0.0:9411", "http://127.0.0.1:9411/api/v2/spans"),
        ("[::]:19411", "http://[::1]:19411/api/v2/spans"),
        ("10.0.0.7:9411", "http://10.0.0.7:9411/api/v2/spans"),
    ] {
        let words = words(&curl(bound.parse().unwrap()));
        assert_eq!(words[..5], ["curl", "-i", url, "-H", "Content-Type: application/json"]);
        let spans: serde_json::Value = serde_json::from_str(&words[6]).unwrap();
        let timestamp = spans[0]["timestamp"].as_u64().unwrap();
        assert!(timestamp.abs_diff(now) < 60_000_000, "{timestamp} is not about {now}");
        let id = spans[0]["id"].as_str().unwrap();
        assert!((1..=16).contains(&id.len()) && u64::from_str_radix(id, 16).unwrap() > 0, "{id}");
    }
}

#[test]
fn the_zcat_line_finds_the_span_wherever_the_directory_is() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("it's an $(archive)");
    for dir in [dir.path(), &odd] {
        Command::new("mkdir").arg("-p").arg(dir).status().unwrap();
        let quoted = shell_word(&dir.display().to_string());
        let write = format!("echo '{{\"name\":\"hello\"}}' | gzip > {quoted}/a.jsonl.gz");
        assert!(Command::new("sh").args(["-c", &write]).status().unwrap().success());
        let archive = ArchiveAt { dir: Some(dir.into()), ..started().archives.remove(0) };
        let line = look(&archive).expect("the built-in archive can be looked at");
        let out = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), "{\"name\":\"hello\"}\n", "{line}");
        assert_eq!(look(&ArchiveAt { keep_bytes: None, ..archive }), None, "one that is for queries");
    }
}

#[test]
fn a_store_is_shown_by_its_url_and_format_and_no_command_that_could_not_read_it() {
    let mut started = started();
    let at = "s3://spans/x http://minio:9000".to_owned();
    started.archives =
        vec![ArchiveAt { drain: "archive".into(), at, dir: None, format: Format::Parquet1, keep_bytes: None }];
    let text = block(&started);
    assert!(text.contains("archive     s3://spans/x http://minio:9000 (Parquet, never trimmed)\n"), "{text}");
    assert!(!text.contains("zcat"), "{text}");
}
