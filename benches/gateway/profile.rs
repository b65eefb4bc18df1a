//! Where the time of a span goes: the floor and the gateway under `perf`, by what they did.
//!
//! `cargo bench --bench gateway -- profile [SPANS]`; needs Linux `perf`. A sample of the kernel is
//! told by its system call, one of the program by the crate or module of its innermost function:
//! what the compiler inlined counts as its caller.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::collector::Collector;
use super::process::Process;
use super::run::{Format, Load, Server, Who};

/// Samples a second of CPU time; no divisor of a timer's tick.
const HERTZ: f64 = 1999.0;
const BATCH: u64 = 100;
/// The forms that the aim is for.
const FORMATS: usize = 3;

const MEMORY: &str = "memory: allocate, touch, copy";
const OTHER: &str = "other";

/// What a sample did: the first line one of whose words is in a symbol. Of the kernel, in any frame.
const KERNEL: &[(&str, &[&str])] = &[
    ("sockets", &["tcp_", "sock_", "inet_", "sys_recvfrom", "sys_sendto"]),
    ("log: write, sync", &["writev", "fsync", "fdatasync", "ext4_"]),
    ("wait, wake", &["epoll", "futex", "eventfd", "schedule", "nanosleep"]),
    (MEMORY, &["page_fault", "mmap", "munmap", "madvise"]),
];
const PROGRAM: &[(&str, &[&str])] = &[
    (MEMORY, &["mi_", "malloc", "realloc", "cfree", "memmove", "memcpy", "memset", "memcmp", "bcmp"]),
    ("checksums", &["crc_fast", "crc32"]),
    ("decode", &["spangate::wire", "utf8", "serde_json"]),
    ("normal form, canonical bytes", &["spangate::span"]),
    ("listener, channel, drain, sink", &["spangate::"]),
    ("HTTP (hyper, axum, reqwest)", &["hyper", "http", "axum", "tower", "matchit", "reqwest", "mime", "url::"]),
    ("tasks, locks (tokio, std)", &["tokio", "mio", "futures", "std::", "core::", "alloc::", "pthread"]),
];

/// Samples by what they did.
type Samples = BTreeMap<&'static str, u64>;

/// Prints what the floor and the gateway spend on what, in microseconds of CPU a span.
pub fn profile(spans: u64) -> io::Result<()> {
    let collector = Collector::start()?;
    let formats = &Format::ALL[..FORMATS];
    let mut columns = Vec::new();
    for format in formats {
        let load = Load { format: *format, batch: BATCH, spans };
        for who in [Who::Floor, Who::Gateway] {
            columns.push(samples(who, load, &collector)?);
        }
    }
    let heads: Vec<_> = formats.iter().map(|format| format!("{}: floor | gateway", format.name)).collect();
    println!("| CPU us a span, {BATCH} spans a message | {} |", heads.join(" | "));
    println!("|---|{}", "---|".repeat(columns.len()));
    let us = |samples: u64| samples as f64 / HERTZ * 1e6 / spans as f64;
    let row = |name: &str, of: &dyn Fn(&Samples) -> u64| {
        let cells: Vec<_> = columns.iter().map(|samples| format!("{:.2}", us(of(samples)))).collect();
        println!("| {name} | {} |", cells.join(" | "));
    };
    let mut names: Vec<&str> = KERNEL.iter().chain(PROGRAM).map(|(name, _)| *name).chain([OTHER]).collect();
    // Once, where the kernel's share of it stands.
    names.remove(names.iter().rposition(|name| *name == MEMORY).expect("it is named twice"));
    for name in names {
        row(name, &|samples| samples.get(name).copied().unwrap_or(0));
    }
    row("all", &|samples| samples.values().sum());
    Ok(())
}

/// Runs a process under `perf` and sorts its samples.
fn samples(who: Who, load: Load, collector: &Collector) -> io::Result<Samples> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let data = dir.path().join("perf.data");
    let server = Server::start(who, load, collector)?;
    let perf = perf_on(&server, &data)?;
    server.measure(load, collector)?;
    perf.end()?;
    let script = Command::new("perf")
        .args(["script", "--no-inline", "-F", "ip,sym,dso", "-i"])
        .arg(&data)
        .stderr(Stdio::null())
        .output()?;
    if !script.status.success() {
        return Err(io::Error::other("perf script failed"));
    }
    let mut sorted = Samples::new();
    let text = String::from_utf8_lossy(&script.stdout);
    for sample in text.split("\n\n").filter(|sample| !sample.trim().is_empty()) {
        *sorted.entry(kind_of(sample)).or_default() += 1;
    }
    Ok(sorted)
}

/// `perf` that has begun to sample a server.
fn perf_on(server: &Server, data: &Path) -> io::Result<Process> {
    let mut command = Command::new("perf");
    command.args(["record", "--quiet", "--event", "cpu-clock", "--freq", &HERTZ.to_string(), "-g"]);
    command.args(["--pid", &server.process.id().to_string(), "--output"]).arg(data);
    let mut perf = Process::start(command)?;
    // It writes the file's head once all is set up.
    perf.wait_until("perf does not begin", || std::fs::metadata(data).is_ok_and(|data| data.len() > 0))?;
    Ok(perf)
}

/// What a sample did; its lines are frames, the innermost first.
fn kind_of(sample: &str) -> &'static str {
    let mut frames = sample.lines().map(str::trim).filter(|line| !line.is_empty());
    let innermost = frames.next().unwrap_or_default();
    let find = |rules: &[(&'static str, &[&str])], found: &dyn Fn(&str) -> bool| {
        rules.iter().find(|(_, words)| words.iter().any(|word| found(word))).map_or(OTHER, |(name, _)| *name)
    };
    if !innermost.contains("[kernel") {
        return find(PROGRAM, &|word| innermost.contains(word));
    }
    let kernel: Vec<&str> =
        [innermost].into_iter().chain(frames.take_while(|frame| frame.contains("[kernel"))).collect();
    find(KERNEL, &|word| kernel.iter().any(|frame| frame.contains(word)))
}
