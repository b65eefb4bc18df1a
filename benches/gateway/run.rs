//! One run: an empty floor or gateway, a load, and what the process took until all was delivered.
//!
//! Fed by `spangate send` over 16 connections with bodies encoded beforehand, in front of a
//! collector that takes everything. CPU is user plus system time of the measured process alone,
//! after a part of the load has warmed it up; for a gateway that archives, until the last object
//! stands.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::collector::Collector;
use super::process::{Process, free_ports, wait_drained};

const CONNECTIONS: &str = "16";
/// As JSON v2, in every format: what the floor's known figures are for.
const SPAN_BYTES: &str = "640";
/// A part of the load that comes first and is not measured: memory that is touched for the first time costs the
/// kernel a tenth of such a short run, and a gateway that has run for a minute nothing.
const WARMING: u64 = 4;
/// The archive works while the load runs, as it does in the long run, and ends soon after it.
const ARCHIVE: &str = "[drain.archive]\narchive = \"builtin\"\nroll_size = \"4MiB\"\nroll_idle = \"200ms\"\n";
const NO_ARCHIVE: &str = "[drain.archive]\narchive = \"none\"\n";

/// How a message is written.
#[derive(Clone, Copy)]
pub struct Format {
    pub name: &'static str,
    /// As `spangate send --format` has it; `None` is Scribe.
    http: Option<&'static str>,
}

impl Format {
    pub const ALL: [Format; 5] = [
        Format { name: "Scribe", http: None },
        Format { name: "JSON v2", http: Some("json") },
        Format { name: "proto3", http: Some("proto3") },
        Format { name: "JSON v1", http: Some("json-v1") },
        Format { name: "Thrift v1", http: Some("thrift") },
    ];
}

#[derive(Clone, Copy)]
pub struct Load {
    pub format: Format,
    /// Spans in a message.
    pub batch: u64,
    pub spans: u64,
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Floor,
    Gateway,
    /// With the built-in archive.
    Archiving,
}

impl Who {
    pub const ALL: [Who; 3] = [Who::Floor, Who::Gateway, Who::Archiving];
}

/// A run's figures.
#[derive(Debug, Clone)]
pub struct Measured {
    /// On the wire, without heads.
    pub bytes_a_span: f64,
    pub cpu_us: f64,
    /// Acknowledged, so durable.
    pub spans_a_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// At its peak.
    pub resident_mib: f64,
}

/// The measured process and the ports of its listeners.
pub struct Server {
    pub process: Process,
    who: Who,
    scribe: u16,
    http: u16,
    admin: u16,
    _dir: tempfile::TempDir,
}

pub fn run(who: Who, load: Load, collector: &Collector) -> io::Result<Measured> {
    let server = Server::start(who, load, collector)?;
    server.measure(load, collector)
}

impl Server {
    /// Starts it and warms it up with a part of the load.
    pub fn start(who: Who, load: Load, collector: &Collector) -> io::Result<Server> {
        // Where the build is, not in /tmp, which may be memory: a sync is to cost what it costs.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let [scribe, http, admin] = free_ports()?;
        let command = match who {
            Who::Floor => floor(scribe, http, dir.path(), collector)?,
            Who::Gateway => gateway(NO_ARCHIVE, [scribe, http, admin], dir.path(), collector)?,
            Who::Archiving => gateway(ARCHIVE, [scribe, http, admin], dir.path(), collector)?,
        };
        let mut process = Process::start(command)?;
        process.wait_for(http)?;
        let server = Server { process, who, scribe, http, admin, _dir: dir };
        server.carry(Load { spans: load.spans / WARMING, ..load }, collector)?;
        Ok(server)
    }

    /// Has it carry the load, and looks at what that took.
    pub fn measure(&self, load: Load, collector: &Collector) -> io::Result<Measured> {
        let before = self.process.cpu_seconds();
        let report = self.carry(load, collector)?;
        let spans = load.spans as f64;
        let number = |after: &str, unit: &str| {
            let rest = report.split(after).nth(1).and_then(|rest| rest.split(unit).next());
            rest.and_then(|text| text.trim().replace(',', "").parse::<f64>().ok()).expect("send's report has it")
        };
        Ok(Measured {
            bytes_a_span: number(" messages, ", " MB") * 1e6 / spans,
            cpu_us: (self.process.cpu_seconds() - before) * 1e6 / spans,
            spans_a_second: spans / number(" MB, in ", " s"),
            p50_ms: number("p50 ", " ms"),
            p99_ms: number("p99 ", " ms"),
            resident_mib: self.process.peak_resident_bytes() as f64 / (1 << 20) as f64,
        })
    }

    /// Sends the load and waits until all of it is where it is to go; the sender's report.
    fn carry(&self, load: Load, collector: &Collector) -> io::Result<String> {
        let report = self.send(load)?;
        collector.wait_quiet();
        if self.who != Who::Floor {
            wait_drained(self.admin)?;
        }
        Ok(report)
    }

    fn send(&self, load: Load) -> io::Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
        command.arg("send");
        match load.format.http {
            None => command.args(["--scribe", &format!("127.0.0.1:{}", self.scribe)]),
            Some(name) => command.args(["--http", &format!("http://127.0.0.1:{}", self.http), "--format", name]),
        };
        command.args(["--spans", &load.spans.to_string(), "--batch", &load.batch.to_string(), "--seed", "1"]);
        command.args(["--span-bytes", SPAN_BYTES, "--connections", CONNECTIONS, "--prepare", "--patience", "60s"]);
        let sent = command.stderr(Stdio::inherit()).output()?;
        let report = String::from_utf8_lossy(&sent.stdout).into_owned();
        if sent.status.success() { Ok(report) } else { Err(io::Error::other(format!("send failed:\n{report}"))) }
    }
}

fn floor(scribe: u16, http: u16, dir: &Path, collector: &Collector) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["floor", &scribe.to_string(), &http.to_string()]);
    command.arg(dir.join("log")).arg(collector.address.to_string());
    Ok(command)
}

fn gateway(archive: &str, ports: [u16; 3], dir: &Path, collector: &Collector) -> io::Result<Command> {
    let config = dir.join("spangate.toml");
    fs::write(&config, archive)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
    command.args(["run", "--log-level", "error"]);
    for (flag, port) in ["--scribe-address", "--http-address", "--admin-address"].into_iter().zip(ports) {
        command.args([flag, &format!("127.0.0.1:{port}")]);
    }
    command.args(["--collector", &format!("http://{}", collector.address)]);
    command.arg("--config").arg(config).arg("--data").arg(dir.join("data"));
    Ok(command)
}
