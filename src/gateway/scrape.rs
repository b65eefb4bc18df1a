//! From one snapshot of the channel to the gauges and counters of a scrape.
//!
//! The ledger lives with the cursors; here it is only shown. All series of one scrape come
//! from one [`Snapshot`] and are rendered under one lock, so that for each drain
//! accepted = outcomes + waiting in every scrape.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::channel::{Account, Intake, Outcome, Snapshot};
use crate::clock::Clock;
use crate::gateway::process::Process;
use crate::gateway::report::{Watch, furthest_behind};
use crate::metrics::{Counter, Gauge, Registry};

/// The window over which the channel's growth is measured for `full_in_seconds`.
const GROWTH_WINDOW: Duration = Duration::from_secs(30);

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
    growth: Growth,
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
        let state = Mutex::new(State { drains: BTreeMap::new(), growth: Growth::default() });
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

    /// Between scrapes, once a second: logs what changed, samples the channel's growth, folds the histograms.
    pub fn tick(&self) {
        let snapshot = self.watch.snapshot();
        self.watch.log_changes(&snapshot);
        self.state.lock().expect("a scrape does not panic").growth.sample(Instant::now(), snapshot.bytes);
        self.registry.upkeep();
    }

    fn show(&self, snapshot: &Snapshot, state: &mut State) {
        let now_us = self.clock.now_us();
        let lag = |account: &Account| account.oldest_us.map_or(0.0, |us| now_us.saturating_sub(us) as f64 / 1e6);
        self.gauges.spans.set(snapshot.items as f64);
        self.gauges.bytes.set(snapshot.bytes as f64);
        self.gauges.capacity.set(snapshot.capacity_bytes as f64);
        self.gauges.oldest.set(snapshot.accounts.iter().map(lag).fold(0.0, f64::max));
        self.gauges.full_in.set(state.growth.full_in(Instant::now(), snapshot));
        self.gauges.disk_free.set(snapshot.disk_free_bytes as f64);
        self.gauges.ready.set(if self.watch.accepting(snapshot) { 1.0 } else { 0.0 });
        for (drain, sink) in self.watch.sinks() {
            let labels = [("drain", drain), ("sink", sink.name.as_str())];
            let left = sink.backoff_left(Instant::now()).as_secs_f64();
            self.registry.gauge("spangate_sink_backoff_seconds", &labels).set(left);
        }
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

/// The channel's size over the last half minute.
#[derive(Default)]
struct Growth(std::collections::VecDeque<(Instant, u64)>);

impl Growth {
    fn sample(&mut self, now: Instant, bytes: u64) {
        self.0.push_back((now, bytes));
        while self.0.front().is_some_and(|(at, _)| now.duration_since(*at) > GROWTH_WINDOW) {
            self.0.pop_front();
        }
    }

    /// Seconds until `bytes` reaches capacity at the rate of the window; infinite while it does not grow.
    fn full_in(&self, now: Instant, snapshot: &Snapshot) -> f64 {
        let Some((at, then)) = self.0.front() else { return f64::INFINITY };
        let grown = snapshot.bytes.saturating_sub(*then) as f64;
        let seconds = now.duration_since(*at).as_secs_f64();
        if grown <= 0.0 || seconds <= 0.0 {
            return f64::INFINITY;
        }
        snapshot.capacity_bytes.saturating_sub(snapshot.bytes) as f64 * seconds / grown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bytes: u64) -> Snapshot {
        Snapshot {
            intake: Intake::Open,
            tail: 0,
            bytes,
            capacity_bytes: 1000,
            items: 0,
            accounts: Vec::new(),
            disk_free_bytes: 0,
        }
    }

    #[test]
    fn the_time_until_full_follows_the_rate_of_the_window() {
        let (mut growth, start) = (Growth::default(), Instant::now());
        assert_eq!(growth.full_in(start, &at(100)), f64::INFINITY);
        growth.sample(start, 100);
        assert_eq!(growth.full_in(start + Duration::from_secs(10), &at(100)), f64::INFINITY);
        assert_eq!(growth.full_in(start + Duration::from_secs(10), &at(200)), 80.0);
        growth.sample(start + Duration::from_secs(31), 900);
        assert_eq!(growth.full_in(start + Duration::from_secs(41), &at(950)), 10.0);
    }
}
