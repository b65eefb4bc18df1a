//! One gateway that archives a load: what it took until the last object stood.
//!
//! Fed by `spangate send` in proto3, a hundred spans a message, as they come; a collector takes everything beside. CPU
//! is user plus system time of the gateway. Objects roll as the defaults for a named store say.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::collector::Collector;
use super::process::{self, Process, free_ports, wait_drained};

/// Spans of which the size as JSON v2 is taken.
const SAMPLE: u64 = 20_000;

pub struct Archived {
    pub spans_a_second: f64,
    pub cpu_us: f64,
    /// Bytes of each.
    pub objects: Vec<u64>,
    pub json_bytes_a_span: f64,
    /// Mean, p50 and p99 of requests to the collector; the last two are the bucket's upper end.
    pub requests_ms: [f64; 3],
    dir: tempfile::TempDir,
}

impl Archived {
    pub fn objects_dir(&self) -> PathBuf {
        self.dir.path().join("objects")
    }
}

/// `format`: none archives nothing. `rate`: spans a second, or as fast as they are acknowledged.
pub fn run(format: Option<&str>, spans: u64, rate: Option<u64>, collector: &Collector) -> io::Result<Archived> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let [http, scribe, admin] = free_ports()?;
    let mut gateway = Process::start(gateway(format, [http, scribe, admin], dir.path(), collector)?)?;
    gateway.wait_for(http)?;
    let begun = Instant::now();
    send(http, spans, rate, "proto3")?;
    wait_drained(admin)?;
    let took = begun.elapsed().as_secs_f64();
    let cpu_us = gateway.cpu_seconds() * 1e6 / spans as f64;
    let requests_ms = requests(&process::scrape(admin)?);
    let mut objects = Vec::new();
    sizes(&dir.path().join("objects"), &mut objects)?;
    let json_bytes_a_span = send(http, SAMPLE, None, "json")? / SAMPLE as f64;
    gateway.end()?;
    Ok(Archived { spans_a_second: spans as f64 / took, cpu_us, objects, json_bytes_a_span, requests_ms, dir })
}

fn gateway(format: Option<&str>, ports: [u16; 3], dir: &Path, collector: &Collector) -> io::Result<Command> {
    let archive = match format {
        None => "archive = \"none\"".to_owned(),
        // Ages as by default; idle, so that a run ends soon after its load.
        Some(format) => {
            let objects = dir.join("objects");
            format!("archive = \"file://{}\"\nformat = \"{format}\"\nroll_idle = \"3s\"", objects.display())
        }
    };
    let config = dir.join("spangate.toml");
    fs::write(&config, format!("[drain.archive]\n{archive}\n"))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
    command.args(["run", "--log-level", "error"]);
    for (flag, port) in ["--http-address", "--scribe-address", "--admin-address"].into_iter().zip(ports) {
        command.args([flag, &format!("127.0.0.1:{port}")]);
    }
    command.args(["--collector", &format!("http://{}", collector.address)]);
    command.arg("--config").arg(config).arg("--data").arg(dir.join("data"));
    Ok(command)
}

/// Sends the load; its bytes on the wire.
fn send(http: u16, spans: u64, rate: Option<u64>, format: &str) -> io::Result<f64> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
    command.args(["send", "--http", &format!("http://127.0.0.1:{http}"), "--format", format, "--batch", "100"]);
    command.args(["--spans", &spans.to_string(), "--seed", "1", "--connections", "8", "--patience", "10m"]);
    if let Some(rate) = rate {
        command.args(["--rate", &rate.to_string()]);
    }
    let sent = command.stderr(Stdio::inherit()).output()?;
    let report = String::from_utf8_lossy(&sent.stdout).into_owned();
    if !sent.status.success() {
        return Err(io::Error::other(format!("send failed:\n{report}")));
    }
    let rest = report.split(" messages, ").nth(1).and_then(|rest| rest.split(" MB").next());
    let mb = rest.and_then(|text| text.trim().replace(',', "").parse::<f64>().ok());
    Ok(mb.expect("send's report says how much") * 1e6)
}

fn sizes(dir: &Path, found: &mut Vec<u64>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sizes(&entry.path(), found)?;
        } else {
            found.push(entry.metadata()?.len());
        }
    }
    Ok(())
}

/// Mean, p50 and p99 of `spangate_sink_request_seconds`, as milliseconds.
fn requests(scrape: &str) -> [f64; 3] {
    let of = |suffix: &str| {
        let name = format!("spangate_sink_request_seconds_{suffix}{{");
        scrape.lines().filter(move |line| line.starts_with(&name)).map(str::to_owned).collect::<Vec<_>>()
    };
    let value = |line: &String| line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok()).expect("a number");
    let (count, sum) = (of("count").iter().map(value).sum::<f64>(), of("sum").iter().map(value).sum::<f64>());
    let buckets = of("bucket");
    let below = |part: f64| {
        let reached = buckets.iter().find(|line| value(line) >= part * count).expect("the last bucket has all");
        let end = reached.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a bucket has an end");
        end.parse::<f64>().unwrap_or(f64::INFINITY) * 1e3
    };
    [sum / count * 1e3, below(0.5), below(0.99)]
}
