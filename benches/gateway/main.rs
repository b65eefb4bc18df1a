//! `make bench`: what a span costs the gateway, beside what it costs the bare floor.
//!
//! `cargo bench --bench gateway [-- SPANS]`. For each format and message size it runs the floor
//! and the gateway in turn, each a process of its own with an empty directory, fed by `spangate
//! send` over 16 connections with bodies encoded beforehand, in front of a collector that takes
//! everything. CPU is user plus system time of that process alone, from /proc, until all is
//! delivered. Prints one table; asserts nothing about time. Linux alone.

#![allow(clippy::disallowed_methods, reason = "a bench's files, threads and tasks are not the product's")]

mod collector;
mod floor;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use collector::Collector;

const CONNECTIONS: &str = "16";
/// Of both processes, so that what slows the machine down slows both.
const ROUNDS: usize = 3;
const FORMATS: [(&str, &[&str]); 3] =
    [("Scribe", &[]), ("JSON v2", &["--format", "json"]), ("proto3", &["--format", "proto3"])];
/// Spans in a message, and the part of all spans that a run sends of it.
const BATCHES: [(u64, u64); 2] = [(100, 1), (10, 4)];
/// A run of a second or two.
const SPANS: u64 = 200_000;

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Floor,
    Gateway,
}

/// A run's figures.
#[derive(Clone)]
struct Run {
    cpu_us: f64,
    spans_a_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    resident_mib: f64,
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some("floor") {
        let rest: Vec<String> = arguments.collect();
        let port = |at: usize| rest[at].parse::<u16>().expect("a port");
        return floor::run(port(0), port(1), Path::new(&rest[2]), &rest[3]);
    }
    // Cargo passes `--bench`.
    let spans = first.into_iter().chain(arguments).find(|argument| !argument.starts_with('-'));
    let spans = spans.map_or(SPANS, |text| text.parse().expect("SPANS is a number"));
    let collector = Collector::start()?;
    println!("| format | spans a message | | CPU us a span | durable spans/s | p50 ms | p99 ms | MiB |");
    println!("|---|---|---|---|---|---|---|---|");
    for (batch, part) in BATCHES {
        for (format, flags) in FORMATS {
            let (mut floors, mut gateways) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                floors.push(run(Who::Floor, format, flags, batch, spans / part, &collector)?);
                gateways.push(run(Who::Gateway, format, flags, batch, spans / part, &collector)?);
            }
            let (floor, gateway) = (median(floors), median(gateways));
            let times = format!("gateway, {:.1}x", gateway.cpu_us / floor.cpu_us);
            row(format, batch, &times, &gateway);
            row(format, batch, "floor", &floor);
        }
    }
    Ok(())
}

fn row(format: &str, batch: u64, who: &str, run: &Run) {
    let Run { cpu_us, spans_a_second, p50_ms, p99_ms, resident_mib } = run;
    println!(
        "| {format} | {batch} | {who} | {cpu_us:.2} | {spans_a_second:.0} | {p50_ms:.1} | {p99_ms:.1} | \
         {resident_mib:.0} |"
    );
}

/// The run of the middle CPU time.
fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
    runs[runs.len() / 2].clone()
}

fn run(who: Who, format: &str, flags: &[&str], batch: u64, spans: u64, collector: &Collector) -> io::Result<Run> {
    // Where the build is, not in /tmp, which may be memory: a sync is to cost what it costs.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (scribe, http) = (free_port()?, free_port()?);
    let mut server = Server(start(who, scribe, http, dir.path(), collector)?);
    server.wait_for(http)?;
    let before = cpu_seconds(server.0.id());
    let target = match format {
        "Scribe" => ["--scribe".to_owned(), format!("127.0.0.1:{scribe}")],
        _ => ["--http".to_owned(), format!("http://127.0.0.1:{http}")],
    };
    let (spans_text, batch_text) = (spans.to_string(), batch.to_string());
    let sent = Command::new(env!("CARGO_BIN_EXE_spangate"))
        .arg("send")
        .args(&target)
        .args(flags)
        .args(["--spans", &spans_text, "--batch", &batch_text, "--connections", CONNECTIONS, "--seed", "1"])
        .args(["--prepare", "--patience", "60s"])
        .stderr(Stdio::inherit())
        .output()?;
    let report = String::from_utf8_lossy(&sent.stdout).into_owned();
    if !sent.status.success() {
        return Err(io::Error::other(format!("send failed:\n{report}")));
    }
    collector.wait_quiet();
    let number = |after: &str, unit: &str| {
        let rest = report.split(after).nth(1).and_then(|rest| rest.split(unit).next());
        rest.and_then(|text| text.trim().replace(',', "").parse::<f64>().ok()).expect("send's report has it")
    };
    Ok(Run {
        cpu_us: (cpu_seconds(server.0.id()) - before) * 1e6 / spans as f64,
        spans_a_second: spans as f64 / number(" MB, in ", " s"),
        p50_ms: number("p50 ", " ms"),
        p99_ms: number("p99 ", " ms"),
        resident_mib: peak_resident_bytes(server.0.id()) as f64 / (1 << 20) as f64,
    })
}

fn start(who: Who, scribe: u16, http: u16, dir: &Path, collector: &Collector) -> io::Result<Child> {
    let mut command = match who {
        Who::Floor => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["floor", &scribe.to_string(), &http.to_string()]);
            command.arg(dir.join("log")).arg(collector.address.to_string());
            command
        }
        Who::Gateway => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
            command.args(["run", "--archive", "none", "--admin-address", "127.0.0.1:0", "--log-level", "error"]);
            command.args(["--scribe-address", &format!("127.0.0.1:{scribe}")]);
            command.args(["--http-address", &format!("127.0.0.1:{http}")]);
            command.args(["--collector", &format!("http://{}", collector.address)]);
            command.arg("--data").arg(dir.join("data"));
            command
        }
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
}

/// Killed when its run is over.
struct Server(Child);

impl Server {
    fn wait_for(&mut self, port: u16) -> io::Result<()> {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.0.try_wait()? {
                return Err(io::Error::other(format!("the process ended: {status}")));
            }
            if begun.elapsed() > Duration::from_secs(20) {
                return Err(io::Error::other("the process does not listen"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// User and system time; /proc counts in hundredths.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("/proc");
    let fields: Vec<_> = stat.rsplit(')').next().expect("the fields").split_whitespace().collect();
    (fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime")) / 100.0
}

fn peak_resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") << 10
}
