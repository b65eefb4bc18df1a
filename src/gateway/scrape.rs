//! From one snapshot of the channel to the gauges and counters of a scrape.
//!
//! The ledger lives with the cursors; here it is only shown. All series of one scrape come
//! from one [`Snapshot`], so that for each drain accepted = outcomes + waiting in every scrape.
//! What a drain's account says is written here rather than by the registry: a drain that is given
//! up is gone from the next scrape, and one that begins anew under its name begins at nothing.

use std::fmt::{Display, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;

use crate::channel::{Account, Intake, Outcome, Snapshot};
use crate::clock::Clock;
use crate::gateway::filling::Filling;
use crate::gateway::process::Process;
use crate::gateway::report::{Watch, furthest_behind};
use crate::metrics::{self, Gauge, Registry};

/// Every outcome and its label.
pub const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Delivered, "delivered"),
    (Outcome::Filtered, "filtered"),
    (Outcome::SampledOut, "sampled_out"),
    (Outcome::DeadLettered, "dead_lettered"),
    (Outcome::Expired, "expired"),
    (Outcome::Skipped, "skipped"),
    (Outcome::Damaged, "damaged"),
];

/// What a scrape shows.
pub struct Scrape {
    registry: Registry,
    watch: Arc<Watch>,
    clock: Clock,
    process: Process,
    gauges: Gauges,
    /// Locked through a whole scrape.
    filling: Mutex<Filling>,
}

struct Gauges {
    spans: Gauge,
    bytes: Gauge,
    capacity: Gauge,
    oldest: Gauge,
    full_in: Gauge,
    disk_free: Gauge,
    ready: Gauge,
}

impl Scrape {
    pub fn new(registry: Registry, watch: Arc<Watch>, clock: Clock, process: Process) -> Self {
        let gauge = |name| registry.gauge(name, &[]);
        let gauges = Gauges {
            spans: gauge("spangate_channel_spans"),
            bytes: gauge("spangate_channel_bytes"),
            capacity: gauge("spangate_channel_capacity_bytes"),
            oldest: gauge("spangate_channel_oldest_seconds"),
            full_in: gauge("spangate_channel_full_in_seconds"),
            disk_free: gauge("spangate_disk_free_bytes"),
            ready: gauge("spangate_ready"),
        };
        registry.gauge("spangate_channel_sync_interval_seconds", &[]).set(watch.promise().seconds_at_risk());
        registry.gauge("spangate_build_info", &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        Scrape { registry, watch, clock, process, gauges, filling: Mutex::default() }
    }

    /// The whole text of `/metrics`.
    pub fn render(&self) -> String {
        let filling = self.filling();
        let snapshot = self.watch.snapshot();
        self.show(&snapshot, &filling);
        let mut text = self.registry.render();
        text.push_str(&self.drains(&snapshot));
        text.push_str(&self.sinks());
        text.push_str(&self.process.render());
        text
    }

    /// Between scrapes, once a second: logs what changed and how full the channel is, folds the histograms.
    pub fn tick(&self) {
        let snapshot = self.watch.snapshot();
        self.watch.log_changes(&snapshot);
        let line = self.filling().sample(Instant::now(), &snapshot);
        if let Some(line) = line {
            tracing::warn!("{line}");
        }
        self.registry.upkeep();
    }

    fn show(&self, snapshot: &Snapshot, filling: &Filling) {
        self.gauges.spans.set(snapshot.items as f64);
        self.gauges.bytes.set(snapshot.bytes as f64);
        self.gauges.capacity.set(snapshot.capacity_bytes as f64);
        self.gauges.oldest.set(snapshot.accounts.iter().map(|account| self.lag(account)).fold(0.0, f64::max));
        self.gauges.full_in.set(filling.full_in(Instant::now(), snapshot));
        self.gauges.disk_free.set(snapshot.disk_free_bytes as f64);
        self.gauges.ready.set(if self.watch.accepting(snapshot) { 1.0 } else { 0.0 });
    }

    /// How long sinks rest on. A registered series would bring back those of a sink that leaves meanwhile, for good.
    fn sinks(&self) -> String {
        let name = "spangate_sink_backoff_seconds";
        let mut out = metrics::head(name);
        for (drain, sink) in self.watch.sinks() {
            let left = sink.backoff_left(Instant::now()).as_secs_f64();
            let _ = writeln!(out, "{name}{{drain=\"{drain}\",sink=\"{}\"}} {left}", sink.name);
        }
        out.push('\n');
        out
    }

    /// The families of the drains' accounts.
    fn drains(&self, snapshot: &Snapshot) -> String {
        let full = snapshot.intake == Intake::Full;
        let blocking = furthest_behind(snapshot).filter(|_| full).map(|account| &account.drain);
        let mut out = metrics::head("spangate_drain_spans_total");
        for account in &snapshot.accounts {
            for (outcome, label) in OUTCOMES {
                let (name, spans) = (&account.drain, account.outcomes.get(&outcome).copied().unwrap_or(0));
                // Writing to a String cannot fail.
                let _ = writeln!(out, "spangate_drain_spans_total{{drain=\"{name}\",outcome=\"{label}\"}} {spans}");
            }
        }
        out.push('\n');
        each(&mut out, "spangate_drain_accepted_spans_total", snapshot, |account| account.accepted);
        each(&mut out, "spangate_drain_waiting_spans", snapshot, |account| account.waiting);
        each(&mut out, "spangate_drain_waiting_bytes", snapshot, |account| account.waiting_bytes);
        each(&mut out, "spangate_drain_lag_seconds", snapshot, |account| self.lag(account));
        each(&mut out, "spangate_drain_blocking", snapshot, |account| u8::from(blocking == Some(&account.drain)));
        out
    }

    fn lag(&self, account: &Account) -> f64 {
        account.oldest_us.map_or(0.0, |us| self.clock.now_us().saturating_sub(us) as f64 / 1e6)
    }

    fn filling(&self) -> MutexGuard<'_, Filling> {
        self.filling.lock().expect("a sample does not panic")
    }
}

/// A family with a series for each drain.
fn each<T: Display>(out: &mut String, name: &str, snapshot: &Snapshot, value: impl Fn(&Account) -> T) {
    out.push_str(&metrics::head(name));
    for account in &snapshot.accounts {
        let _ = writeln!(out, "{name}{{drain=\"{}\"}} {}", account.drain, value(account));
    }
    out.push('\n');
}
