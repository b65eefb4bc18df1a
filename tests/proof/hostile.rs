//! Hostile peers before the real process: each is refused by its counter and message, what was good beside it arrives
//! at the collector, good clients hear nothing but yes and resident memory stays under its bound. How much slower the
//! good ones become is printed: no verdict, as it is a matter of the machine, too. What the machine makes of it is told
//! by a twin: the same gateway with the same clients, at the same time, on the same disk and processors, that nobody
//! attacks.
#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

mod crowd;
mod good;
mod shots;
mod volley;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{Budget, Tally};
use crate::support::collector::Collector;
use crate::support::process::{Gateway, wait_for};
use crowd::Crowd;
use good::Good;
use shots::{Shot, harmless, shots};
use volley::volley;

/// The default of `intake.bytes_in_flight`.
const BYTES_IN_FLIGHT: u64 = 32 << 20;
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
/// Between the bytes of a slow peer.
const BYTE: Duration = Duration::from_millis(100);

/// How much of it.
struct Size {
    idle: usize,
    /// Of each kind, and peers where many send them at once.
    shots: u64,
    many: u64,
    /// Answers to good clients that a figure is of, at least.
    samples: usize,
}

/// Ten thousand idle connections, and thousands of shots of each kind.
pub fn hostile(budget: Budget) -> Tally {
    attacks(budget, &Size { idle: 10_000, shots: 2_000, many: 20, samples: 1_000 })
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
    let [mut target, twin] = ["attacked", "twin"].map(|name| Target::start(&dir.path().join(name)));
    let good = Pair { attacked: Good::begin(&target.gateway), twin: Good::begin(&twin.gateway) };
    let base = resident(&target.gateway, "VmRSS");
    let quiet = good.quiet(size.samples);
    println!("  alone: p99 of good clients {quiet:?}, {} MiB resident", base >> 20);
    let crowd = Crowd::gather(size.idle, &target.gateway);
    let mut faults = Vec::new();
    if crowd.len() < size.idle as u64 {
        faults.push(format!("{} idle connections of {}: ulimit -Hn allows no more", crowd.len(), size.idle));
    }
    good.quiet(size.samples);
    good.compare(&format!("{} idle connections", crowd.len()), &target.gateway);
    for shot in std::iter::once(harmless()).chain(shots()) {
        faults.extend(beside(&good, &shot, size, &target, tally));
    }
    target.wait_for_letters();
    faults.extend(target.collector.errors());
    let gateway = &mut target.gateway;
    gateway.process.must_run();
    let open = gateway.metric("spangate_connections", &[]) as u64;
    assert!(open >= crowd.len(), "{open} connections are left of {} idle ones", crowd.len());
    tally.add("idle connections", crowd.len());
    let bound = base + TIMES * BYTES_IN_FLIGHT + (crowd.len() + 500) * A_CONNECTION + DECODERS + BOMBS;
    let peak = resident(gateway, "VmHWM");
    println!("  {} MiB resident at most, bound {} MiB", peak >> 20, bound >> 20);
    if peak > bound {
        faults.push(format!("promise 6: {} MiB were resident, bound {} MiB", peak >> 20, bound >> 20));
    }
    for (whose, good) in [("", good.attacked), (" of the twin", good.twin)] {
        let (answered, refused) = good.end();
        tally.add("messages of good clients", answered);
        if answered == 0 || !refused.is_empty() {
            faults.push(format!("promise 5: good clients{whose} heard yes {answered} times, and {refused:?}"));
        }
    }
    faults
}

/// A gateway, and a collector that is well.
struct Target {
    gateway: Gateway,
    collector: Collector,
    /// The collector's.
    _runtime: Runtime,
}

impl Target {
    fn start(dir: &Path) -> Target {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut collector = Collector::by_name();
        runtime.block_on(async { collector.rise() });
        let url = collector.url();
        // Good ones wait rather than hear no: how long is what is measured. Bombs wait for each other, twenty in turn. Idle
        // ones are there to the end.
        let mut settings = vec!["--intake-commit-wait", "40s", "--archive", "none"];
        settings.extend(["--http-idle-timeout", "1h", "--http-header-timeout", "5s", "--scribe-frame-timeout", "5s"]);
        settings.extend(["--channel-free-min", "0", "--collector", &url]);
        let gateway = Gateway::start(dir, &settings);
        Target { gateway, collector, _runtime: runtime }
    }

    /// Dead letters of entries that could not be decoded.
    fn undecodable(&self) -> String {
        let dir = self.gateway.dir.join("data/dead-letters/undecodable");
        let files = std::fs::read_dir(dir).expect("it is made at the start").map(|file| file.expect("it lists").path());
        let text = |file: PathBuf| match std::fs::read_to_string(file) {
            // The oldest of them go.
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.expect("letters are text"),
        };
        files.map(text).collect()
    }

    /// Until each entry that was set aside is one.
    fn wait_for_letters(&self) {
        let sum = |name: &str, labels: &[&str]| self.gateway.metric(name, labels) as u64;
        wait_for("each entry that was set aside is a dead letter", LONG, || {
            let aside = sum("spangate_spans_set_aside_total", &[]);
            (sum("spangate_dead_letters_total", &["class=\"undecodable\""]) == aside).then_some(())
        });
    }
}

/// The good clients of both gateways.
struct Pair {
    attacked: Good,
    twin: Good,
}

impl Pair {
    fn forget(&self) {
        self.attacked.forget();
        self.twin.forget();
    }

    /// How many answers each waited for since.
    fn count(&self) -> usize {
        self.attacked.count().min(self.twin.count())
    }

    /// The p99 while nobody does anything.
    fn quiet(&self, samples: usize) -> Duration {
        self.forget();
        let enough = || self.count() >= samples;
        wait_for("good clients were answered often enough", LONG * 2, || enough().then_some(()));
        self.attacked.p99().expect("they were answered")
    }

    /// Tells what they waited for since, beside those of the twin.
    fn compare(&self, what: &str, gateway: &Gateway) {
        let [attacked, twin] = [&self.attacked, &self.twin].map(|good| good.p99().expect("they were answered"));
        let times = attacked.as_secs_f64() / twin.as_secs_f64();
        let verdict = if times <= 2.0 { "within twice" } else { "NOT within twice" };
        let resident = resident(gateway, "VmRSS") >> 20;
        let [attacked, twin] = [attacked, twin].map(|time| time.as_secs_f64() * 1e3);
        println!(
            "  {what:<52} p99 {attacked:>6.1} ms, the twin's {twin:>6.1} ms: {times:>4.1} times, {verdict}; {resident} MiB"
        );
    }
}

/// One kind of shot for as long as it takes to say what good clients had to wait meanwhile.
fn beside(good: &Pair, shot: &Shot, size: &Size, target: &Target, tally: &mut Tally) -> Vec<String> {
    good.forget();
    let (mut fired, mut faults) = (0, Vec::new());
    while faults.is_empty() && (fired == 0 || good.count() < size.samples) {
        let (times, odd) = volley(shot, size.shots, size.many, target);
        fired += times;
        faults.extend(odd);
    }
    good.compare(&format!("{fired} x {}", shot.what), &target.gateway);
    tally.add("hostile connections", fired);
    faults
}

/// `VmRSS` or `VmHWM`, in bytes.
fn resident(gateway: &Gateway, field: &str) -> u64 {
    let pid = gateway.process.child.id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(field)).expect("Linux says it");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
