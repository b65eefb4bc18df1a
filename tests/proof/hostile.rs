//! Hostile peers before the real process: each is refused by its own counter, while a good client hears nothing but yes
//! and resident memory stays under its bound. How much slower the good one becomes is printed, and no verdict.
#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

mod crowd;
mod shots;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Budget, Tally};
use crate::support::http::Client;
use crate::support::process::{Gateway, wait_for};
use crowd::Crowd;
use shots::{Shot, shots};

const BYTES_IN_FLIGHT: u64 = 16 << 20;
/// While it is decoded a hostile message takes up to six times its permits, beside them (`listener::intake`).
const TIMES: u64 = 7;
/// Beside permits: a window of 8 MiB for each zstd body under way, and what threads freed and have not given back.
const DECODERS: u64 = 64 << 20;
/// Read from a socket before permits are asked for.
const A_CONNECTION: u64 = 32 << 10;
/// Nothing here takes longer, but where it hangs.
const LONG: Duration = Duration::from_secs(60);
const THREADS: u64 = 4;

/// Ten thousand idle connections, as far as descriptors go, and thousands of shots of each kind.
pub fn hostile(budget: Budget) -> Tally {
    attacks(budget, 10_000, 500)
}

/// The same, small.
pub fn hostile_briefly(budget: Budget) -> Tally {
    attacks(budget, 1_000, 20)
}

fn attacks(budget: Budget, crowd: usize, of_each: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in budget.seeds() {
        let dir = TempDir::new().unwrap();
        let again = format!("cargo test --release --test soak -- hostile --seed {seed} --tries 1");
        for fault in attack(&dir, crowd, of_each, &mut tally) {
            tally.failed(fault, &again);
        }
    }
    tally
}

fn attack(dir: &TempDir, crowd: usize, of_each: u64, tally: &mut Tally) -> Vec<String> {
    // A good one waits rather than hears no: how long is what is measured.
    let bytes = BYTES_IN_FLIGHT.to_string();
    let settings = ["--intake-bytes-in-flight", &bytes, "--intake-commit-wait", "20s", "--archive", "none"];
    let mut gateway = Gateway::start(dir.path(), &[&settings[..], &["--collector", "http://127.0.0.1:9"]].concat());
    let good = Good::begin(gateway.http);
    std::thread::sleep(Duration::from_millis(500));
    let quiet = good.p99();
    let base = resident(&gateway, "VmRSS");
    println!("  {:<44} p99 of a good client {quiet:?}, {} MiB resident", "quiet", base >> 20);
    let crowd = Crowd::gather(crowd, &gateway);
    say("idle connections", crowd.len(), &good, &gateway);
    let mut faults = Vec::new();
    for shot in shots() {
        faults.extend(volley(&shot, of_each, &gateway));
        say(shot.what, of_each * THREADS, &good, &gateway);
        tally.add("hostile connections", of_each * THREADS);
    }
    gateway.process.must_run();
    tally.add("idle connections", crowd.len());
    let bound = base + TIMES * BYTES_IN_FLIGHT + (crowd.len() + 100) * A_CONNECTION + DECODERS;
    let peak = resident(&gateway, "VmHWM");
    if peak > bound {
        faults.push(format!("promise 6: {} MiB were resident, bound {} MiB", peak >> 20, bound >> 20));
    }
    let (answered, refused) = good.end();
    tally.add("messages of a good client", answered);
    if answered == 0 || !refused.is_empty() {
        faults.push(format!("promise 5: a good client heard yes {answered} times, and {refused:?}"));
    }
    faults
}

fn say(what: &str, count: u64, good: &Good, gateway: &Gateway) {
    let resident = resident(gateway, "VmRSS") >> 20;
    println!("  {:<44} p99 of a good client {:?}, {resident} MiB resident", format!("{count} x {what}"), good.p99());
}

/// Sends a shot again and again over connections of their own; what was not refused as it should be.
fn volley(shot: &Shot, of_each: u64, gateway: &Gateway) -> Vec<String> {
    let counted = || gateway.metric(shot.counter.0, shot.counter.1) as u64;
    let (before, odd) = (counted(), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..of_each {
                    if let Err(answer) = shot.fire(gateway) {
                        odd.lock().unwrap().push(format!("{}: answered {answer:?}", shot.what));
                    }
                }
            });
        }
    });
    let expected = before + of_each * THREADS;
    // A connection's end is counted after the peer has seen it.
    wait_for(&format!("{}: {:?} is {expected}", shot.what, shot.counter), LONG, || {
        (counted() == expected).then_some(())
    });
    let mut odd = odd.into_inner().unwrap();
    odd.truncate(3);
    odd
}

/// `VmRSS` or `VmHWM`, in bytes.
fn resident(gateway: &Gateway, field: &str) -> u64 {
    let pid = gateway.process.child.id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(field)).expect("Linux says it");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// A client that sends good messages, one after the other.
struct Good {
    stop: Arc<AtomicBool>,
    times: Arc<Mutex<Vec<Duration>>>,
    answered: Arc<AtomicU64>,
    refused: Arc<Mutex<Vec<String>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Good {
    fn begin(port: u16) -> Good {
        let (stop, times) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Duration>>>::default());
        let (answered, refused) = (Arc::<AtomicU64>::default(), Arc::<Mutex<Vec<String>>>::default());
        let span = |id| format!(r#"{{"traceId":"{id:x}","id":"{id:x}","name":"good"}}"#);
        let body = format!("[{}]", (1..21).map(span).collect::<Vec<_>>().join(","));
        let thread = {
            let (stop, times, answered, refused) = (stop.clone(), times.clone(), answered.clone(), refused.clone());
            std::thread::spawn(move || {
                let mut client = Client::new(port);
                client.timeout = LONG;
                while !stop.load(Ordering::SeqCst) {
                    let begun = Instant::now();
                    match client.post("/api/v2/spans", "application/json", body.as_bytes()) {
                        Ok(answer) if answer.status == 202 => drop(answered.fetch_add(1, Ordering::SeqCst)),
                        other => refused.lock().unwrap().push(format!("{other:?}")),
                    }
                    times.lock().unwrap().push(begun.elapsed());
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        };
        Good { stop, times, answered, refused, thread }
    }

    /// Of the answers since it was last asked.
    fn p99(&self) -> Option<Duration> {
        let mut times = std::mem::take(&mut *self.times.lock().unwrap());
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) * 99 / 100).copied()
    }

    /// How often it heard yes, and what else.
    fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("it panics at nothing");
        let mut refused = std::mem::take(&mut *self.refused.lock().unwrap());
        refused.truncate(3);
        (self.answered.load(Ordering::SeqCst), refused)
    }
}
