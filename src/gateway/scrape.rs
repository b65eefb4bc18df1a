//! From one snapshot of the channel to the gauges and counters of a scrape.
//!
//! The ledger lives with the cursors; here it is only shown. All series of one scrape come
//! from one [`Snapshot`] and are rendered under one lock, so that for each drain
//! accepted = outcomes + waiting in every scrape.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::channel::{Account, Intake, Outcome, Snapshot};
use crate::clock::Clock;
use crate::gateway::filling::Filling;
use crate::gateway::process::Process;
use crate::gateway::report::{Watch, furthest_behind};
use crate::metrics::{Counter, Gauge, Registry};

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
    state: Mutex<State>,
}

struct State {
    drains: BTreeMap<String, Drain>,
    filling: Filling,
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

struct Drain {
    outcomes: [Counter; OUTCOMES.len()],
    accepted: Counter,
    waiting_spans: Gauge,
    waiting_bytes: Gauge,
    lag: Gauge,
    blocking: Gauge,
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
        let state = Mutex::new(State { drains: BTreeMap::new(), filling: Filling::default() });
        Scrape { registry, watch, clock, process, gauges, state }
    }

    /// The whole text of `/metrics`.
    pub fn render(&self) -> String {
        let mut state = self.state.lock().expect("a scrape does not panic");
        let snapshot = self.watch.snapshot();
        self.show(&snapshot, &mut state);
        let mut text = self.registry.render();
        text.push_str(&self.process.render());
        text
    }

    /// Between scrapes, once a second: logs what changed and how full the channel is, folds the histograms.
    pub fn tick(&self) {
        let snapshot = self.watch.snapshot();
        self.watch.log_changes(&snapshot);
        let mut state = self.state.lock().expect("a scrape does not panic");
        let line = state.filling.sample(Instant::now(), &snapshot);
        drop(state);
        if let Some(line) = line {
            tracing::warn!("{line}");
        }
        self.registry.upkeep();
    }

    fn show(&self, snapshot: &Snapshot, state: &mut State) {
        let now_us = self.clock.now_us();
        let lag = |account: &Account| account.oldest_us.map_or(0.0, |us| now_us.saturating_sub(us) as f64 / 1e6);
        self.gauges.spans.set(snapshot.items as f64);
        self.gauges.bytes.set(snapshot.bytes as f64);
        self.gauges.capacity.set(snapshot.capacity_bytes as f64);
        self.gauges.oldest.set(snapshot.accounts.iter().map(lag).fold(0.0, f64::max));
        self.gauges.full_in.set(state.filling.full_in(Instant::now(), snapshot));
        self.gauges.disk_free.set(snapshot.disk_free_bytes as f64);
        self.gauges.ready.set(if self.watch.accepting(snapshot) { 1.0 } else { 0.0 });
        let full = snapshot.intake == Intake::Full;
        let blocking = furthest_behind(snapshot).filter(|_| full).map(|account| &account.drain);
        for account in &snapshot.accounts {
            let name = &account.drain;
            let drain = state.drains.entry(name.clone()).or_insert_with(|| Drain::new(name, &self.registry));
            drain.show(account, lag(account), blocking == Some(name));
        }
    }
}

impl Drain {
    fn new(name: &str, registry: &Registry) -> Self {
        let labels = [("drain", name)];
        Drain {
            outcomes: OUTCOMES.map(|(_, outcome)| {
                registry.counter("spangate_drain_spans_total", &[("drain", name), ("outcome", outcome)])
            }),
            accepted: registry.counter("spangate_drain_accepted_spans_total", &labels),
            waiting_spans: registry.gauge("spangate_drain_waiting_spans", &labels),
            waiting_bytes: registry.gauge("spangate_drain_waiting_bytes", &labels),
            lag: registry.gauge("spangate_drain_lag_seconds", &labels),
            blocking: registry.gauge("spangate_drain_blocking", &labels),
        }
    }

    fn show(&self, account: &Account, lag: f64, blocking: bool) {
        for ((outcome, _), counter) in OUTCOMES.iter().zip(&self.outcomes) {
            counter.absolute(account.outcomes.get(outcome).copied().unwrap_or(0));
        }
        self.accepted.absolute(account.accepted);
        self.waiting_spans.set(account.waiting as f64);
        self.waiting_bytes.set(account.waiting_bytes as f64);
        self.lag.set(lag);
        self.blocking.set(if blocking { 1.0 } else { 0.0 });
    }
}
