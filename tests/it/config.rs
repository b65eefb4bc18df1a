//! The front door, asked as a person asks it: the real binary, its words and its exit codes.

#![expect(clippy::disallowed_methods, reason = "the files that a person writes")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use spangate::channel::{Channel, Draft, Item, Kind, NO_LABEL, Origin, Settings, Start, Sync, Takes};
use spangate::clock::Clock;
use spangate::disk;
use spangate::metrics::{Registry, TABLE};

use crate::support::process::{Gateway, wait_for};

/// `spangate ARGS` in a directory of its own, with no environment but `variables`.
fn spangate(dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
    command.args(args).current_dir(dir).env_clear().envs(variables.iter().copied());
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[track_caller]
fn assert_refused(output: &Output, expected: &str) {
    assert_eq!(text(&output.stderr), expected);
    assert_eq!(text(&output.stdout), "");
    assert_eq!(output.status.code(), Some(2));
}

fn with_file(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("spangate.toml"), text).expect("room for a file");
    dir
}

const RICH_AND_BAD: &str = r#"data = "~/spans"
stop_timout = "5s"

[scribe]
adress = ["0.0.0.0:1463"]
frame_max = "1TiB"
categories = "zipkin"
categories = "again"
allow_shutdown = "yes"

[http]
address = ["0.0.0.0:9411", "localhost:80"]
header_timeout = 10
body_max = 64MiB

[channel]
sync = "sometimes"
memory = true

[drain.Zipkin]
sinks = []

[drain.zipkin]
policy = "randm" 
batch = { spans = 0, byte = "4MiB" }
sinks = [
  { url = "http://zipkin-1" },
  { url = "http://zipkin-1:9411/api/v2/spans" },
  { url = "thrift://zipkin-2:9410", timeout = "10" },
]

[drain.archive]
archive = "ftp://bucket/spans"
"#;

const ITS_REPORT: &str = r#"spangate.toml:1:8: data: found "~/spans", expected a path (`~` is the shell's, and not known here)
spangate.toml:2:1: stop_timout: unknown key; did you mean stop_timeout?
spangate.toml:5:1: scribe.adress: unknown key; did you mean scribe.address?
spangate.toml:6:13: scribe.frame_max: found "1TiB", expected a size from 1KiB to 1GiB, such as "4MiB" or a number of bytes
spangate.toml:8:1: not TOML: duplicate key
spangate.toml:9:18: scribe.allow_shutdown: found "yes", expected true or false
spangate.toml:12:28: http.address: found "localhost:80", expected IP:PORT such as "0.0.0.0:1463" or "[::]:1463", a list of them, or "none" to switch it off
spangate.toml:13:18: http.header_timeout: found 10, expected a time from 100ms to 1h, such as "20ms", "5s", "1m"
spangate.toml:14:12: not TOML: string values must be quoted, expected literal string; sizes, times, addresses and words stand in quotes
spangate.toml:17:8: channel.sync: found "sometimes", expected "always" or a time from 1ms to 1m, such as "20ms", "5s", "1m"
spangate.toml:18:1: channel.memory: unknown key; expected one of kind, capacity, capacity_spans, sync, free_min, cache
spangate.toml:20:8: drain.Zipkin: found "Zipkin", expected a name of 1 to 63 of a-z, 0-9, _ and -
spangate.toml:21:9: drain.Zipkin.sinks: found 0 sinks, expected 1 to 256
spangate.toml:24:10: drain.zipkin.policy: found "randm", expected "round_robin" or "random" or "weighted" or "least_loaded" or "failover" or "by_trace"
spangate.toml:25:19: drain.zipkin.batch.spans: found 0, expected a number from 1 to 100000
spangate.toml:25:22: drain.zipkin.batch.byte: unknown key; did you mean drain.zipkin.batch.bytes?
spangate.toml:28:11: drain.zipkin.sinks: the collector http://zipkin-1:9411/api/v2/spans is there twice
spangate.toml:29:11: drain.zipkin.sinks.url: found "thrift://zipkin-2:9410", expected http(s)://HOST[:9411], with or without /api/v2/spans, dns+http(s)://HOST[:9411] for each of its addresses, or scribe://HOST[:9410]
spangate.toml:29:47: drain.zipkin.sinks.timeout: found "10", expected a time from 10ms to 1h, such as "20ms", "5s", "1m"
spangate.toml:33:11: drain.archive.archive: found "ftp://bucket/spans", expected "builtin", "file:///DIR", "s3://BUCKET/PREFIX", "gs://BUCKET/PREFIX", "az://CONTAINER/PREFIX", "hdfs://NAMENODE[:PORT]/PATH" or "none"
variable SPANGATE_CHANEL_SYNC: unknown variable; did you mean SPANGATE_CHANNEL_SYNC?
variable SPANGATE_LOG_FORMAT: log.format: found "xml", expected "text" or "json"
flag --admin-address: admin.address: found "9412", expected IP:PORT such as "0.0.0.0:1463" or "[::]:1463", a list of them, or "none" to switch it off
23 problems in the configuration
"#;

#[test]
fn all_problems_of_a_configuration_are_one_report() {
    let dir = with_file(RICH_AND_BAD);
    let variables = [
        ("SPANGATE_CHANEL_SYNC", "always"),
        ("SPANGATE_LOG_FORMAT", "xml"),
        // Kubernetes' own, beside a service called spangate.
        ("SPANGATE_SERVICE_HOST", "10.0.0.1"),
        ("SPANGATE_PORT_9411_TCP", "tcp://10.0.0.1:9411"),
    ];
    for command in [&["check"][..], &["check", "--resolved"], &["run"], &[]] {
        let args = [command, &["-c", "spangate.toml", "--admin-address", "9412"]].concat();
        assert_refused(&spangate(dir.path(), &args, &variables), ITS_REPORT);
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["spangate.toml"], "nothing was started");
}

#[test]
fn a_good_configuration_is_said_to_be_understood() {
    let dir = with_file("[channel]\nsync = \"5ms\"\n");
    let output = spangate(dir.path(), &["check", "--config", "spangate.toml"], &[]);
    assert_eq!(text(&output.stdout), "the configuration is understood in full\n");
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)));
}

#[test]
fn resolved_says_of_every_setting_where_it_came_from() {
    let dir =
        with_file("log.level = \"debug\"\n[channel]\nsync = \"5ms\"\ncapacity = \"1GiB\"\n[scribe]\naddress = []\n");
    let args = ["check", "--resolved", "--channel-sync", "7ms", "--collector=http://b", "--scribe-allow-shutdown"];
    let variables = [
        ("SPANGATE_CONFIG", "spangate.toml"),
        ("SPANGATE_CHANNEL_SYNC", "6ms"),
        ("SPANGATE_CHANNEL_CAPACITY", "2GiB"),
        ("SPANGATE_COLLECTORS", "http://a"),
    ];
    let output = spangate(dir.path(), &args, &variables);
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)));
    let dir = dir.path().canonicalize().unwrap();
    let pairs: Vec<(&str, &str)> = text(&output.stdout).lines().map(|l| l.rsplit_once('#').expect(l)).collect();
    let expected = [
        (format!("data = \"{}/spangate-data\"", dir.display()), "default"),
        ("scribe.address = []".into(), "spangate.toml:6:11"),
        ("scribe.allow_shutdown = true".into(), "flag --scribe-allow-shutdown"),
        ("channel.capacity = \"2GiB\"".into(), "variable SPANGATE_CHANNEL_CAPACITY"),
        ("channel.sync = \"7ms\"".into(), "flag --channel-sync"),
        ("log.level = \"debug\"".into(), "spangate.toml:1:13"),
        ("drain.archive.archive = \"builtin\"".into(), "default"),
        (
            "drain.zipkin.sinks = [{ url = \"http://b:9411/api/v2/spans\", name = \"b:9411\", encoding = \"proto3\", \
             gzip = false, category = \"zipkin\", timeout = \"10s\", weight = 1, priority = 1, rate_max = \"none\", \
             watch = \"zipkin\" }]"
                .into(),
            "flag --collector",
        ),
    ];
    for (pair, origin) in &expected {
        let found = pairs.iter().any(|(p, o)| p.trim() == pair && o.trim() == *origin);
        assert!(found, "no line {pair} # {origin} in\n{}", text(&output.stdout));
    }
}

#[test]
fn what_is_resolved_is_a_file_that_resolves_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let first = spangate(dir.path(), &["check", "--resolved", "--collector", "http://a,http://b:19411"], &[]);
    std::fs::write(dir.path().join("again.toml"), &first.stdout).unwrap();
    let again = spangate(dir.path(), &["check", "--resolved", "-c", "again.toml"], &[]);
    let settings = |output: &Output| -> Vec<String> {
        text(&output.stdout).lines().map(|l| l.rsplit_once('#').expect(l).0.trim().to_owned()).collect()
    };
    assert_eq!(settings(&first), settings(&again));
    assert!(settings(&first).len() > 40);
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_of_who_asked_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let missing = "/no/such.toml: No such file or directory (os error 2)\n1 problem in the configuration\n";
    let by_flag = spangate(dir.path(), &["check", "-c", "/no/such.toml"], &[("SPANGATE_CONFIG", "other.toml")]);
    assert_refused(&by_flag, &format!("flag --config: {missing}"));
    let by_variable = spangate(dir.path(), &["check"], &[("SPANGATE_CONFIG", "/no/such.toml")]);
    assert_refused(&by_variable, &format!("variable SPANGATE_CONFIG: {missing}"));
    std::fs::write(dir.path().join("latin1.toml"), b"data = \"\xe9\"").unwrap();
    let not_utf8 = spangate(dir.path(), &["check", "-c", "latin1.toml"], &[]);
    assert_refused(&not_utf8, "flag --config: latin1.toml: not UTF-8 at byte 8\n1 problem in the configuration\n");
    std::fs::write(dir.path().join("large.toml"), vec![b'#'; 300 << 10]).unwrap();
    let large = spangate(dir.path(), &["check", "-c", "large.toml"], &[]);
    assert_refused(&large, "flag --config: large.toml: larger than 262144 bytes\n1 problem in the configuration\n");
}

#[test]
fn an_unknown_flag_or_command_is_refused_with_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let output = spangate(dir.path(), &["--colector", "http://a"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("'--collector'"), "{}", text(&output.stderr));
    let output = spangate(dir.path(), &["chek"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("'check'"), "{}", text(&output.stderr));
}

#[test]
fn help_and_version_are_answers_and_no_errors() {
    let dir = tempfile::tempdir().unwrap();
    let version = spangate(dir.path(), &["--version"], &[]);
    assert_eq!(text(&version.stdout), format!("spangate {}\n", env!("CARGO_PKG_VERSION")));
    let short = spangate(dir.path(), &["-h"], &[]);
    let long = spangate(dir.path(), &["--help"], &[]);
    assert_eq!((version.status.code(), short.status.code(), long.status.code()), (Some(0), Some(0), Some(0)));
    let (short, long) = (text(&short.stdout), text(&long.stdout));
    assert!(short.contains("--collector <URL>") && !short.contains("--channel-sync <always|TIME>"), "{short}");
    assert!(short.lines().count() <= 45, "short help fits a screen:\n{short}");
    assert!(long.contains("Settings:") && long.contains("--channel-sync <always|TIME>"), "{long}");
}

/// Leaves a channel in `<dir>/spangate-data` in which two spans wait for `zipkin` and for `old`.
async fn leave_a_channel(dir: &Path) {
    let settings = Settings {
        dir: dir.join("spangate-data/channel"),
        capacity_bytes: 16 << 20,
        capacity_spans: None,
        sync: Sync::Always,
        free_min_bytes: Some(0),
        cache_bytes: 0,
    };
    let (channel, _) =
        Channel::open(settings, disk::real(), Clock::system(), &Registry::new(TABLE)).expect("a new channel");
    let taps = ["zipkin", "old"].map(|drain| channel.tap(drain, Start::End, Takes::Common).expect("a new drain"));
    let draft = Draft {
        kind: Kind::Spans,
        addressee: None,
        received_us: 1,
        origin: Arc::new(Origin::default()),
        labels: Vec::new(),
        items: vec![Item { key: 1, len: 2, label: NO_LABEL, flags: 0 }; 2],
        body: Bytes::from_static(b"abcd"),
    };
    channel.append(vec![draft]).wait().await.expect("room for two spans");
    drop(taps);
    channel.stop();
}

#[tokio::test]
async fn a_drain_is_forgotten_only_when_told_yes_and_others_keep_theirs() {
    let dir = tempfile::tempdir().unwrap();
    leave_a_channel(dir.path()).await;
    let forget = |args: &[&str]| {
        let output = spangate(
            dir.path(),
            &[&["channel", "forget"], args].concat(),
            &[("SPANGATE_CHANNEL_CAPACITY", "16MiB"), ("SPANGATE_CHANNEL_FREE_MIN", "0")],
        );
        (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    };
    let asked = (Some(0), "old: 2 spans wait for it and would be given up; --yes does it\n".to_owned());
    assert_eq!(forget(&["old"]), asked);
    assert_eq!(forget(&["old"]), asked, "nothing was changed");
    let misspelt = (Some(2), "no drain odl; the channel has zipkin, old\n".to_owned());
    assert_eq!(forget(&["odl", "--yes"]), misspelt);
    assert_eq!(forget(&["old", "--yes"]), (Some(0), "old: forgotten, with 2 spans that waited for it\n".to_owned()));
    assert_eq!(forget(&["old", "--yes"]), (Some(2), "no drain old; the channel has zipkin\n".to_owned()));
    assert_eq!(forget(&["zipkin"]).1, "zipkin: 2 spans wait for it and would be given up; --yes does it\n");
    assert_eq!(forget(&["dead-letters", "--yes"]).0, Some(2));
}

/// Every file below a directory, with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => _ = found.insert(path.clone(), std::fs::read(&path).unwrap()),
        }
    }
    found
}

#[tokio::test]
async fn what_forgetting_a_drain_would_give_up_is_told_of_the_directory_that_is_named_without_a_byte_written() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    leave_a_channel(dir.path()).await;
    let before = files(dir.path());
    let data = dir.path().join("spangate-data");
    let ask = |from: &Path, args: &[&str]| {
        let output = spangate(from, &[&["channel", "forget", "old"], args].concat(), &[]);
        (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    };
    let told = (Some(0), "old: 2 spans wait for it and would be given up; --yes does it\n".to_owned());
    assert_eq!(ask(elsewhere.path(), &[data.to_str().unwrap()]), told);
    assert_eq!(ask(dir.path(), &["spangate-data"]), told);
    assert!(files(dir.path()) == before, "{:?} of {:?}", files(dir.path()).keys(), before.keys());
    let _running = disk::real().lock(&data.join("lock")).unwrap();
    assert_eq!(ask(dir.path(), &[]), told, "looking takes no lock");
    assert!(files(elsewhere.path()).is_empty());
}

#[tokio::test]
async fn a_drain_of_a_running_gateway_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    leave_a_channel(dir.path()).await;
    let data = dir.path().join("spangate-data");
    let _running = disk::real().lock(&data.join("lock")).unwrap();
    let output = spangate(dir.path(), &["channel", "forget", "old", "--yes"], &[]);
    let data = dir.path().canonicalize().unwrap().join("spangate-data");
    assert_eq!(text(&output.stderr), format!("{} is in use by another spangate; stop it first\n", data.display()));
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_mistyped_data_directory_is_not_made_into_a_channel() {
    let dir = tempfile::tempdir().unwrap();
    let output = spangate(dir.path(), &["channel", "forget", "old", "--data", "/no/such"], &[]);
    assert_eq!(
        text(&output.stderr),
        "no channel at /no/such/channel: No such file or directory (os error 2); name the data directory with --data\n"
    );
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn damage_that_needs_a_person_has_an_exit_code_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let channel = dir.path().join("spangate-data/channel");
    std::fs::create_dir_all(&channel).unwrap();
    std::fs::write(channel.join("id"), b"this is no channel's id").unwrap();
    let output = spangate(dir.path(), &["channel", "forget", "old"], &[("SPANGATE_CHANNEL_CAPACITY", "16MiB")]);
    assert!(text(&output.stderr).contains("channel/id"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(4));
}

/// The lines of a log, once `last` is in one of them.
fn log_with(gateway: &Gateway, last: &str) -> Vec<String> {
    let read = || {
        let log = std::fs::read_to_string(&gateway.process.log).expect("a log");
        log.contains(last).then_some(log)
    };
    let log = wait_for(&format!("{last} in the log"), Duration::from_secs(10), read);
    log.lines().map(str::to_owned).collect()
}

#[test]
fn without_a_terminal_each_fact_is_a_line_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path(), &["--collector", "http://127.0.0.1:9"]);
    let log = log_with(&gateway, " admin: ");
    let data = dir.path().join("data");
    for fact in [
        format!("spangate {} serves", env!("CARGO_PKG_VERSION")),
        format!("Scribe: 127.0.0.1:{} (category zipkin)", gateway.scribe),
        format!("HTTP: 127.0.0.1:{} (Zipkin v2 and v1, gRPC)", gateway.http),
        format!("data: {} (no spans wait)", data.display()),
        "yes means: the spans are on disk".to_owned(),
        format!("archive: {}/archive (gzip JSON lines, keeps 10GiB, oldest go first)", data.display()),
        "collectors: 127.0.0.1:9".to_owned(),
        format!("admin: 127.0.0.1:{} (/metrics, /health, /ready)", gateway.admin),
    ] {
        assert_eq!(log.iter().filter(|line| line.contains(&fact)).count(), 1, "{fact} in\n{}", log.join("\n"));
    }
    assert!(log.iter().all(|line| !line.contains('\x1b')), "no colours in a file");
    gateway.stop();
}

#[test]
fn a_json_log_is_one_object_a_line_and_its_level_holds() {
    let dir = tempfile::tempdir().unwrap();
    // So few that no machine has too few descriptors for them, which would be another line.
    let few = ["--scribe-connections-max", "10", "--http-connections-max", "10"];
    let log = ["--log-format", "json", "--log-level", "warn,spangate::cli=info"];
    let mut gateway = Gateway::start(dir.path(), &[&few[..], &log[..]].concat());
    let log = log_with(&gateway, "\"admin: ");
    gateway.stop();
    assert_eq!(log_with(&gateway, "\"admin: ").len(), log.len(), "the stop is told at info, by another module");
    for line in log {
        let object: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(object["message"].is_string() && object["timestamp"].is_string(), "{line}");
        assert_eq!(object["target"], "spangate::cli::banner");
    }
}

#[test]
fn a_port_or_a_data_directory_in_use_exits_with_3_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path(), &[]);
    let any = "127.0.0.1:0";
    let http = format!("127.0.0.1:{}", gateway.http);
    let run = |data: &str, http: &str| {
        let args = ["--data", data, "--scribe-address", any, "--http-address", http, "--admin-address", any];
        let output = spangate(dir.path(), &args, &[]);
        (output.status.code(), text(&output.stderr).to_owned())
    };
    let (code, error) = run("data", any);
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains(&dir.path().join("data").display().to_string()), "{error}");
    let (code, error) = run("other", &http);
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains(&http) && error.contains("--http-address"), "{error}");
    gateway.stop();
}
