//! Hostile peers before the real process: each is refused by its own counter and message, while a good client hears
//! nothing but yes and resident memory stays under its bound. How much slower the good one becomes is printed: no verdict,
//! as it is a matter of the machine, too.
#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

mod crowd;
mod good;
mod shots;
mod volley;

use std::time::Duration;

use tempfile::TempDir;

use super::{Budget, Tally};
use crate::support::process::{Gateway, wait_for};
use crowd::Crowd;
use good::Good;
use shots::{Shot, harmless, shots};
use volley::volley;

const BYTES_IN_FLIGHT: u64 = 16 << 20;
/// While it is decoded a hostile message takes up to six times its permits, beside them (`listener::intake`).
const TIMES: u64 = 7;
/// Beside permits: a window of 8 MiB for each zstd body under way, and what threads freed and have not given back.
const DECODERS: u64 = 64 << 20;
/// Read from a socket before permits are asked for.
const A_CONNECTION: u64 = 32 << 10;
/// A body of `http.decoded_max`, which holds fewer permits than that; and the one before, not given back yet.
const BOMBS: u64 = 2 * (64 << 20);
/// Nothing here takes longer, but where it hangs.
const LONG: Duration = Duration::from_secs(60);

/// How much of it.
struct Size {
    idle: usize,
    /// Of each kind, and peers where many send them at once.
    shots: u64,
    many: u64,
    /// Answers to the good client that a figure is of, at least.
    samples: usize,
}

/// Ten thousand idle connections, and thousands of shots of each kind.
pub fn hostile(budget: Budget) -> Tally {
    attacks(budget, &Size { idle: 10_000, shots: 2_000, many: 20, samples: 500 })
}

/// The same, small.
pub fn hostile_briefly(budget: Budget) -> Tally {
    attacks(budget, &Size { idle: 1_000, shots: 40, many: 4, samples: 20 })
}

fn attacks(budget: Budget, size: &Size) -> Tally {
    let mut tally = Tally::default();
    for seed in budget.seeds() {
        let dir = TempDir::new().unwrap();
        let again = format!("cargo test --release --test soak -- hostile --seed {seed} --tries 1");
        for fault in attack(&dir, size, &mut tally) {
            tally.failed(fault, &again);
        }
    }
    tally
}

fn attack(dir: &TempDir, size: &Size, tally: &mut Tally) -> Vec<String> {
    // A good one waits rather than hears no: how long is what is measured. Idle ones are there to the end.
    let bytes = BYTES_IN_FLIGHT.to_string();
    let mut settings = vec!["--intake-bytes-in-flight", &bytes, "--intake-commit-wait", "20s", "--archive", "none"];
    settings.extend([
        "--http-idle-timeout",
        "1h",
        "--http-header-timeout",
        "5s",
        "--scribe-frame-timeout",
        "5s",
        "--channel-free-min",
        "0",
    ]);
    settings.extend(["--collector", "http://127.0.0.1:9"]);
    let mut gateway = Gateway::start(dir.path(), &settings);
    let good = Good::begin(gateway.http);
    let base = resident(&gateway, "VmRSS");
    let alone = quiet(&good, size.samples);
    println!("  alone: p99 of a good client {alone:?}, {} MiB resident", base >> 20);
    let crowd = Crowd::gather(size.idle, &gateway);
    let among = quiet(&good, size.samples);
    compare(&format!("{} idle connections", crowd.len()), alone, among, &gateway);
    let mut faults = Vec::new();
    for shot in std::iter::once(harmless()).chain(shots()) {
        faults.extend(beside(&good, &shot, size, &gateway, tally));
    }
    gateway.process.must_run();
    let open = gateway.metric("spangate_connections", &[]) as u64;
    assert!(open >= crowd.len(), "{open} connections are left of {} idle ones", crowd.len());
    tally.add("idle connections", crowd.len());
    let bound = base + TIMES * BYTES_IN_FLIGHT + (crowd.len() + 500) * A_CONNECTION + DECODERS + BOMBS;
    let peak = resident(&gateway, "VmHWM");
    println!("  {} MiB resident at most, bound {} MiB", peak >> 20, bound >> 20);
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

/// The p99 of the good client while nobody does anything.
fn quiet(good: &Good, samples: usize) -> Duration {
    good.forget();
    wait_for("the good client was answered often enough", LONG * 2, || (good.count() >= samples).then_some(()));
    good.p99().expect("it was answered")
}

/// One kind of shot for as long as it takes to say what a good client had to wait meanwhile; right before, what it
/// waits otherwise.
fn beside(good: &Good, shot: &Shot, size: &Size, gateway: &Gateway, tally: &mut Tally) -> Vec<String> {
    let quiet = quiet(good, size.samples);
    good.forget();
    let (mut fired, mut faults) = (0, Vec::new());
    while faults.is_empty() && (fired == 0 || good.count() < size.samples) {
        let (times, odd) = volley(shot, size.shots, size.many, gateway);
        fired += times;
        faults.extend(odd);
    }
    let under_fire = good.p99().expect("it was answered");
    compare(&format!("{fired} x {}", shot.what), quiet, under_fire, gateway);
    tally.add("hostile connections", fired);
    faults
}

fn compare(what: &str, quiet: Duration, then: Duration, gateway: &Gateway) {
    let times = then.as_secs_f64() / quiet.as_secs_f64();
    let verdict = if times <= 2.0 { "within twice" } else { "NOT within twice" };
    let resident = resident(gateway, "VmRSS") >> 20;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "  {what:<52} p99 {:>6.1} ms, quiet {:>6.1} ms: {times:>4.1} times, {verdict}; {resident} MiB resident",
        ms(then),
        ms(quiet)
    );
}

/// `VmRSS` or `VmHWM`, in bytes.
fn resident(gateway: &Gateway, field: &str) -> u64 {
    let pid = gateway.process.child.id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(field)).expect("Linux says it");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
