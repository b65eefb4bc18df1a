//! A gateway's accounts, as one scrape shows them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use super::LONG;
use crate::support::http::Client;
use crate::support::process::{Gateway, sum};

/// The drains of a storm's gateway.
const DRAINS: [&str; 3] = ["zipkin", "archive", "dead-letters"];
/// What can become of a span.
const OUTCOMES: [&str; 7] = ["delivered", "filtered", "sampled_out", "dead_lettered", "expired", "skipped", "damaged"];

/// Of one drain, in spans.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    pub accepted: u64,
    pub waiting: u64,
    pub outcomes: BTreeMap<&'static str, u64>,
}

/// Of all drains.
#[derive(Debug, Clone)]
pub struct Account(pub BTreeMap<&'static str, Drain>);

impl Account {
    pub fn of(gateway: &Gateway) -> Account {
        let scrape = Client::new(gateway.admin).get("/metrics").unwrap_or_else(|error| panic!("/metrics: {error}"));
        let text = scrape.text();
        let drain = |name| {
            let label = format!("drain=\"{name}\"");
            let read = |metric, more: &str| sum(&text, metric, &[&label, more]) as u64;
            let outcome = |outcome| (outcome, read("spangate_drain_spans_total", &format!("outcome=\"{outcome}\"")));
            let drain = Drain {
                accepted: read("spangate_drain_accepted_spans_total", ""),
                waiting: read("spangate_drain_waiting_spans", ""),
                outcomes: OUTCOMES.map(outcome).into(),
            };
            (name, drain)
        };
        Account(DRAINS.map(drain).into())
    }

    pub fn waiting(&self) -> u64 {
        self.0.values().map(|drain| drain.waiting).sum()
    }

    /// What does not add up, or is less than it was `before`.
    pub fn faults(&self, before: Option<&Account>) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, drain) in &self.0 {
            let parts: u64 = drain.outcomes.values().sum::<u64>() + drain.waiting;
            if drain.accepted != parts {
                faults.push(format!("promise 4: drain {name} does not add up: {drain:?}"));
            }
            if let Some(before) = before.map(|before| &before.0[name]).filter(|before| before.accepted > drain.accepted)
            {
                faults.push(format!("promise 1: drain {name} had {} spans and has {drain:?}", before.accepted));
            }
        }
        faults
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, drain)| writeln!(f, "{name}: {drain:?}"))
    }
}

/// Looks ten times a second; panics with what it saw last.
pub fn wait_until(mut settled: impl FnMut() -> Result<(), String>) {
    let begun = Instant::now();
    while let Err(seen) = settled() {
        assert!(begun.elapsed() < LONG, "promise 2: a backlog does not go within {LONG:?}:\n{seen}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
