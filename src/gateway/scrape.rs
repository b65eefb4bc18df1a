//! From one snapshot of the channel to the gauges and counters of a scrape.
//!
//! The ledger lives with the cursors; here it is only shown. All series of one scrape come
//! from one [`Snapshot`], so that for each drain accepted = outcomes + waiting in every scrape.
//! What a drain's account says is written here rather than by the registry: a drain that is given
//! up is gone from the next scrape, and one that begins anew under its name begins at nothing.

use std::collections::VecDeque;
use std::fmt::{Display, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::channel::{Account, Intake, Outcome, Snapshot};
use crate::clock::Clock;
use crate::gateway::process::Process;
use crate::gateway::report::{Watch, furthest_behind};
use crate::metrics::{self, Gauge, Registry};

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
    growth: Mutex<Growth>,
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
        Scrape { registry, watch, clock, process, gauges, growth: Mutex::default() }
    }

    /// The whole text of `/metrics`.
    pub fn render(&self) -> String {
        let growth = self.growth();
        let snapshot = self.watch.snapshot();
        self.show(&snapshot, &growth);
        let mut text = self.registry.render();
        text.push_str(&self.drains(&snapshot));
        text.push_str(&self.process.render());
        text
    }

    /// Between scrapes, once a second: logs what changed, samples the channel's growth, folds the histograms.
    pub fn tick(&self) {
        let snapshot = self.watch.snapshot();
        self.watch.log_changes(&snapshot);
        self.growth().sample(Instant::now(), snapshot.bytes);
        self.registry.upkeep();
    }

    fn show(&self, snapshot: &Snapshot, growth: &Growth) {
        self.gauges.spans.set(snapshot.items as f64);
        self.gauges.bytes.set(snapshot.bytes as f64);
        self.gauges.capacity.set(snapshot.capacity_bytes as f64);
        self.gauges.oldest.set(snapshot.accounts.iter().map(|account| self.lag(account)).fold(0.0, f64::max));
        self.gauges.full_in.set(growth.full_in(Instant::now(), snapshot));
        self.gauges.disk_free.set(snapshot.disk_free_bytes as f64);
        self.gauges.ready.set(if self.watch.accepting(snapshot) { 1.0 } else { 0.0 });
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

    fn growth(&self) -> MutexGuard<'_, Growth> {
        self.growth.lock().expect("a sample does not panic")
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

/// The channel's size over the last half minute.
#[derive(Default)]
struct Growth(VecDeque<(Instant, u64)>);

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
