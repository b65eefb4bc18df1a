//! What is seen of a drain's sinks from outside: a status to ask, metrics, log lines.
//!
//! A log line is written when a sink's state changes, not when it fails again. A sink that goes
//! up and down all the time gets [`LINES_MAX`] lines a minute; the next one says how many were
//! left out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::group::{Change, SinkId, Stand, State};
use super::judge::Held;
use super::watch::News;
use crate::metrics::{Counter, Gauge, Histogram, Registry};
use crate::sink::{Sink, Verdict};

/// State changes of one sink that are logged in a minute: three outages.
const LINES_MAX: u32 = 6;
const MINUTE: Duration = Duration::from_secs(60);
const PAUSED: &str = "many refused spans wait and none passes: new ones are tried a few at a time";

/// A sink's state as people name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Up,
    Resting,
    Probing,
    Misconfigured,
}

/// Every standing, as `/metrics` has them.
const STANDINGS: [Standing; 4] = [Standing::Up, Standing::Resting, Standing::Probing, Standing::Misconfigured];

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Up => "up",
            Standing::Resting => "resting",
            Standing::Probing => "probing",
            Standing::Misconfigured => "misconfigured",
        }
    }
}

/// A sink at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkView {
    pub name: String,
    pub url: String,
    pub standing: Standing,
    /// When its rest ends, if it rests.
    pub until: Option<Instant>,
    /// Batches under way.
    pub in_flight: usize,
    /// Batches that may be under way: found by trying.
    pub limit: usize,
    /// Spans a second that it is held to since it dropped what it had taken.
    pub held_to: Option<f64>,
    /// Spans that it dropped while it was looked at.
    pub dropped: u64,
    /// It says itself that it is not well.
    pub says_down: bool,
    /// What its last failure was; kept after a recovery.
    pub last_error: Option<String>,
}

impl SinkView {
    /// How long nothing is sent to it for its failures.
    pub fn backoff_left(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

/// The sinks of a drain, to be asked from any thread. Cheap to clone.
#[derive(Clone, Default)]
pub struct Status(Arc<Mutex<View>>);

#[derive(Default)]
struct View {
    sinks: BTreeMap<SinkId, SinkView>,
    held: Held,
}

impl Status {
    /// The sinks, in the order in which they came: the configuration's.
    pub fn sinks(&self) -> Vec<SinkView> {
        self.lock().sinks.values().cloned().collect()
    }

    /// What the drain keeps apart.
    pub fn held(&self) -> Held {
        self.lock().held
    }

    /// Whether every sink takes batches.
    pub fn all_up(&self) -> bool {
        self.lock().sinks.values().all(|s| s.standing == Standing::Up)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, View> {
        // Views are replaced field by field; a panic between two of them leaves nothing broken.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells of a drain's sinks.
pub(super) struct Report {
    drain: String,
    registry: Registry,
    status: Status,
    sinks: BTreeMap<SinkId, SinkReport>,
    repeats: Counter,
    /// Spans kept apart: refused, suspect.
    held: (Gauge, Gauge),
}

struct SinkReport {
    name: String,
    delivered: Counter,
    elsewhere: Counter,
    wait: Counter,
    too_large: Counter,
    refused: Counter,
    misconfigured: Counter,
    request_seconds: Histogram,
    in_flight: Gauge,
    limit: Gauge,
    dropped: Counter,
    rate_limit: Gauge,
    up: Gauge,
    /// One for each of [`STANDINGS`].
    states: [Gauge; STANDINGS.len()],
    down_since: Option<Instant>,
    lines: Lines,
}

impl Report {
    pub fn new(drain: &str, registry: &Registry) -> Self {
        let held = |why| registry.gauge("spangate_drain_held_spans", &[("drain", drain), ("reason", why)]);
        Report {
            drain: drain.to_owned(),
            registry: registry.clone(),
            status: Status::default(),
            sinks: BTreeMap::new(),
            repeats: registry.counter("spangate_repeats_total", &[("drain", drain)]),
            held: (held("refused"), held("suspect")),
        }
    }

    /// A sink is there from now on.
    pub fn add(&mut self, id: SinkId, sink: &dyn Sink) {
        let view = SinkView {
            name: sink.name().to_owned(),
            url: sink.url().to_owned(),
            standing: Standing::Up,
            until: None,
            in_flight: 0,
            limit: 0,
            held_to: None,
            dropped: 0,
            says_down: false,
            last_error: None,
        };
        self.status.lock().sinks.insert(id, view);
        self.sinks.insert(id, SinkReport::new(&self.drain, sink.name(), &self.registry));
    }

    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// What a look at a sink told, and what it is held to since. One line a change.
    pub fn watched(&self, sink: SinkId, news: &News, held_to: Option<f64>) {
        let Some(report) = self.sinks.get(&sink) else { return };
        report.dropped.increment(news.dropped);
        report.rate_limit.set(held_to.unwrap_or(f64::INFINITY));
        self.see(sink, |view| {
            view.dropped += news.dropped;
            view.held_to = held_to;
            view.says_down = news.down.unwrap_or(view.says_down);
        });
        let (drain, sink) = (self.drain.as_str(), report.name.as_str());
        if news.begins {
            let dropped = news.dropped;
            tracing::warn!(drain, sink, dropped, held_to, "a collector drops spans that it took; it is sent half");
        }
        if news.ends {
            tracing::info!(drain, sink, held_to, "a collector drops no more");
        }
        match news.down {
            Some(true) => tracing::warn!(drain, sink, "a collector says at /health that it is down"),
            Some(false) => tracing::info!(drain, sink, "a collector says at /health that it is up again"),
            None => {}
        }
        if news.blind {
            tracing::debug!(drain, sink, "a collector has neither /health nor /prometheus to look at");
        }
    }

    /// A sink left: it is not shown any more.
    pub fn leave(&self, sink: SinkId) {
        self.status.lock().sinks.remove(&sink);
    }

    /// The last answer of a sink that left has come: its series end, unless another has its name by now.
    pub fn forget(&mut self, sink: SinkId) {
        let Some(gone) = self.sinks.remove(&sink) else { return };
        if self.sinks.values().all(|other| other.name != gone.name) {
            self.registry.retire(&self.drain, Some(&gone.name));
        }
    }

    /// Spans are sent that an earlier try may have delivered.
    pub fn repeated(&self, spans: u32) {
        self.repeats.increment(u64::from(spans));
    }

    pub fn answered(&self, sink: SinkId, verdict: &Verdict, spans: u32, took: Duration) {
        let Some(report) = self.sinks.get(&sink) else { return };
        report.request_seconds.record(took.as_secs_f64());
        let (counter, error) = match verdict {
            Verdict::Delivered => (&report.delivered, None),
            Verdict::Absent(reason) | Verdict::Elsewhere { reason, .. } | Verdict::Again(reason) => {
                (&report.elsewhere, Some(reason))
            }
            Verdict::Wait(_, reason) => (&report.wait, Some(reason)),
            Verdict::TooLarge(reason) => (&report.too_large, Some(reason)),
            Verdict::Refused(reason) => (&report.refused, Some(reason)),
            Verdict::Misconfigured(reason) => (&report.misconfigured, Some(reason)),
        };
        counter.increment(u64::from(spans));
        if let Some(error) = error {
            self.see(sink, |view| view.last_error = Some(error.clone()));
        }
    }

    /// Shows where a sink stands now.
    pub fn stands(&self, sink: SinkId, stand: Stand) {
        let (standing, until) = match stand.state {
            State::Up => (Standing::Up, None),
            State::Resting { until } => (Standing::Resting, Some(until)),
            State::Misconfigured { until } => (Standing::Misconfigured, Some(until)),
            State::Probing => (Standing::Probing, None),
        };
        let Stand { in_flight, limit, .. } = stand;
        let Some(report) = self.sinks.get(&sink) else { return };
        report.in_flight.set(in_flight as f64);
        report.up.set(if standing == Standing::Up { 1.0 } else { 0.0 });
        report.limit.set(limit as f64);
        for (of, gauge) in STANDINGS.iter().zip(&report.states) {
            gauge.set(if *of == standing { 1.0 } else { 0.0 });
        }
        self.see(sink, |view| {
            (view.standing, view.until, view.in_flight, view.limit) = (standing, until, in_flight, limit);
        });
    }

    /// Shows what is kept apart; a line says when that stops the flow, and when it goes on.
    pub fn holds(&self, held: Held) {
        let before = std::mem::replace(&mut self.status.lock().held, held);
        if before == held {
            return;
        }
        self.held.0.set(held.refused as f64);
        self.held.1.set(held.suspects as f64);
        let drain = self.drain.as_str();
        match (before.paused, held.paused) {
            (false, true) => tracing::warn!(drain, held.refused, held.suspects, "{PAUSED}"),
            (true, false) => tracing::info!(drain, "over: {PAUSED}"),
            _ => {}
        }
    }

    fn see(&self, sink: SinkId, change: impl FnOnce(&mut SinkView)) {
        if let Some(view) = self.status.lock().sinks.get_mut(&sink) {
            change(view);
        }
    }

    /// Logs a change of state; `reason` is the verdict's text.
    pub fn changed(&mut self, sink: SinkId, change: Change, reason: &str, now: Instant) {
        let Some(report) = self.sinks.get_mut(&sink).filter(|_| change != Change::Nothing) else { return };
        let down_since = *report.down_since.get_or_insert(now);
        if matches!(change, Change::Recovered { .. }) {
            report.down_since = None;
        }
        let Some(left_out) = report.lines.next(now) else { return };
        let (drain, name) = (self.drain.as_str(), report.name.as_str());
        match change {
            Change::Nothing => {}
            Change::Rests => tracing::warn!(drain, sink = name, reason, left_out, "a collector failed and rests"),
            Change::Misconfigured => {
                tracing::error!(
                    drain,
                    sink = name,
                    reason,
                    left_out,
                    "a collector answers what none should: is it one?"
                );
            }
            Change::Recovered { failures } => {
                let seconds = (now - down_since).as_secs_f64();
                tracing::info!(drain, sink = name, seconds, failures, left_out, "a collector is back");
            }
        }
    }
}

impl SinkReport {
    fn new(drain: &str, sink: &str, registry: &Registry) -> Self {
        let labels = [("drain", drain), ("sink", sink)];
        let spans = |outcome: &str| {
            registry.counter("spangate_sink_spans_total", &[("drain", drain), ("sink", sink), ("outcome", outcome)])
        };
        let up = registry.gauge("spangate_sink_up", &labels);
        up.set(1.0);
        let rate_limit = registry.gauge("spangate_sink_rate_limit", &labels);
        rate_limit.set(f64::INFINITY);
        SinkReport {
            name: sink.to_owned(),
            delivered: spans("delivered"),
            elsewhere: spans("elsewhere"),
            wait: spans("wait"),
            too_large: spans("too_large"),
            refused: spans("refused"),
            misconfigured: spans("misconfigured"),
            request_seconds: registry.histogram("spangate_sink_request_seconds", &labels),
            in_flight: registry.gauge("spangate_sink_in_flight", &labels),
            limit: registry.gauge("spangate_sink_in_flight_limit", &labels),
            dropped: registry.counter("spangate_sink_dropped_spans_total", &labels),
            rate_limit,
            up,
            states: STANDINGS.map(|standing| {
                let labels = [("drain", drain), ("sink", sink), ("state", standing.name())];
                registry.gauge("spangate_sink_state", &labels)
            }),
            down_since: None,
            lines: Lines::default(),
        }
    }
}

/// A limit on log lines.
#[derive(Debug, Default)]
struct Lines {
    minute: Option<Instant>,
    written: u32,
    left_out: u32,
}

impl Lines {
    /// Whether a line may be written; then how many were not since the last one.
    fn next(&mut self, now: Instant) -> Option<u32> {
        if self.minute.is_none_or(|start| now - start >= MINUTE) {
            (self.minute, self.written) = (Some(now), 0);
        }
        if self.written == LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_limited_and_those_left_out_are_counted() {
        let (mut lines, now) = (Lines::default(), Instant::now());
        let written: Vec<_> = (0..20).map_while(|_| lines.next(now)).collect();
        assert_eq!(written, [0; LINES_MAX as usize]);
        assert_eq!(lines.next(now + MINUTE / 2), None);
        assert_eq!(lines.next(now + MINUTE), Some(2));
        assert_eq!(lines.next(now + MINUTE), Some(0));
    }
}
