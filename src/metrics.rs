//! Metrics: one registry a gateway, handles registered once by each stage.
//!
//! No global recorder: two gateways in one process (tests) do not mix. Names, types, labels
//! and meanings stand in [`TABLE`]; a handle that does not fit it is our own bug and panics
//! at start. A test compares the README's table with it, and both with a scrape.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub use metrics::{Counter, Gauge, Histogram};
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

/// A metric family as `/metrics` shows it.
#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    /// With these upper bounds.
    Histogram(&'static [f64]),
}

/// From a sync on a fast disk to a collector's timeout.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Spans made durable by one sync.
const SPANS: &[f64] = &[1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    bounds: &'static [f64],
    help: &'static str,
) -> Family {
    Family { name, kind: Kind::Histogram(bounds), labels, help }
}

/// Every family of `/metrics`.
pub const TABLE: &[Family] = &[
    counter(
        "spangate_spans_received_total",
        &["listener"],
        "Spans and entries that peers sent: accepted + set aside + refused",
    ),
    counter("spangate_spans_accepted_total", &["listener"], "Spans answered yes, each durable in the channel"),
    counter(
        "spangate_spans_set_aside_total",
        &["listener", "reason"],
        "Scribe entries answered yes that could not be decoded; they end in the dead letters",
    ),
    counter("spangate_spans_refused_total", &["listener", "reason"], "Spans answered no"),
    counter("spangate_messages_total", &["listener", "outcome"], "Messages by answer: accepted, refused, empty"),
    counter(
        "spangate_messages_refused_total",
        &["listener", "reason"],
        "Messages refused whole, by reason; their sum is the outcome refused",
    ),
    counter("spangate_received_bytes_total", &["listener"], "Bytes of messages as they came over the wire"),
    counter(
        "spangate_entries_ignored_total",
        &["category"],
        "Scribe entries of categories that are not taken; categories beyond a bound count as 'other'",
    ),
    gauge("spangate_connections", &["listener"], "Open connections"),
    counter("spangate_connections_total", &["listener"], "Connections accepted"),
    counter(
        "spangate_connections_refused_total",
        &["listener", "reason"],
        "Connections closed by a limit, or for speaking another protocol",
    ),
    gauge("spangate_intake_bytes", &[], "Bytes of messages being read, decoded or waiting for their sync"),
    gauge("spangate_channel_spans", &[], "Spans in the channel that the slowest drain has not settled"),
    gauge("spangate_channel_bytes", &[], "Bytes of the log"),
    gauge("spangate_channel_capacity_bytes", &[], "Bytes at which intake stops"),
    gauge("spangate_channel_oldest_seconds", &[], "Age of the oldest span that waits"),
    gauge(
        "spangate_channel_full_in_seconds",
        &[],
        "Time until intake stops at the present rate; +Inf while the channel does not grow",
    ),
    gauge(
        "spangate_channel_sync_interval_seconds",
        &[],
        "0 where yes means synced; else what a lost machine may lose; +Inf in memory",
    ),
    histogram("spangate_channel_sync_seconds", &[], SECONDS, "Time of one write and fdatasync of the log"),
    histogram("spangate_channel_sync_spans", &[], SPANS, "Spans made durable by one sync"),
    counter("spangate_channel_failures_total", &["kind"], "Failed writes and syncs of the log: no_space, write, sync"),
    counter(
        "spangate_drain_spans_total",
        &["drain", "outcome"],
        "Spans settled, by outcome; accepted = their sum + waiting",
    ),
    counter(
        "spangate_drain_accepted_spans_total",
        &["drain"],
        "Spans that the channel took for this drain since it began",
    ),
    gauge("spangate_drain_waiting_spans", &["drain"], "Spans accepted and not settled"),
    gauge("spangate_drain_waiting_bytes", &["drain"], "Bytes of log from the drain's position to the end"),
    gauge("spangate_drain_lag_seconds", &["drain"], "Age of the oldest span that this drain has not settled"),
    gauge("spangate_drain_blocking", &["drain"], "1 for the drain furthest behind while the channel is full"),
    gauge(
        "spangate_drain_held_spans",
        &["drain", "reason"],
        "Spans kept apart from the flow: refused ones that wait for a second opinion, and suspects that broke sinks",
    ),
    counter("spangate_sink_spans_total", &["drain", "sink", "outcome"], "Spans sent, by verdict"),
    histogram("spangate_sink_request_seconds", &["drain", "sink"], SECONDS, "Time of one request to a collector"),
    gauge("spangate_sink_in_flight", &["drain", "sink"], "Requests under way"),
    gauge(
        "spangate_sink_in_flight_limit",
        &["drain", "sink"],
        "Requests that may be under way: found by trying, at most in_flight",
    ),
    gauge(
        "spangate_sink_state",
        &["drain", "sink", "state"],
        "1 for the state of the sink: up, resting, probing, misconfigured",
    ),
    counter(
        "spangate_sink_dropped_spans_total",
        &["drain", "sink"],
        "Spans that a collector took and dropped, by its own count, whoever sent them",
    ),
    gauge(
        "spangate_sink_rate_limit",
        &["drain", "sink"],
        "Spans a second that a sink is held to since it dropped some; +Inf while nothing holds it",
    ),
    gauge("spangate_sink_backoff_seconds", &["drain", "sink"], "Time for which the sink rests on"),
    gauge("spangate_sink_up", &["drain", "sink"], "1 while the sink takes batches, 0 while it rests"),
    counter("spangate_repeats_total", &["drain"], "Spans sent again because the fate of an earlier try was unknown"),
    counter("spangate_archive_objects_total", &["drain"], "Objects published"),
    counter("spangate_archive_bytes_total", &["drain"], "Bytes of published objects"),
    counter("spangate_archive_failures_total", &["drain"], "Tries to publish that failed"),
    counter(
        "spangate_archive_trimmed_objects_total",
        &["drain"],
        "Objects that the built-in archive removed, oldest first: beyond its bound, or to leave intake room on the disk",
    ),
    counter("spangate_archive_trimmed_bytes_total", &["drain"], "Bytes of objects that the built-in archive removed"),
    counter("spangate_dead_letters_total", &["class"], "Dead letters written"),
    gauge("spangate_dead_letters_bytes", &["class"], "Bytes of dead letters kept"),
    counter(
        "spangate_dead_letters_removed_total",
        &["class"],
        "Dead letters removed, oldest file first: beyond their bound, or to leave intake room on the disk",
    ),
    gauge("spangate_disk_free_bytes", &[], "Free bytes on the data directory's file system"),
    gauge("spangate_ready", &[], "1 while a span would be accepted"),
    gauge("spangate_build_info", &["version"], "1"),
    counter("process_cpu_seconds_total", &[], "User and system CPU time"),
    gauge("process_resident_memory_bytes", &[], "Resident memory"),
    gauge("process_open_fds", &[], "Open file descriptors"),
    gauge("process_start_time_seconds", &[], "Start time since the epoch"),
];

/// The lines before the series of one of [`TABLE`]'s families, for those that are not the registry's to write.
pub fn head(name: &str) -> String {
    let family = TABLE.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("{name} is not in the table"));
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    format!("# HELP {name} {}\n# TYPE {name} {kind}\n", family.help)
}

/// The families of `GET /prometheus` on the HTTP listener: Zipkin's collector names, for
/// scrapes written for Zipkin (zipkin-server, `MicrometerCollectorMetrics.java`).
pub const ZIPKIN_TABLE: &[Family] = &[
    counter("zipkin_collector_messages_total", &["transport"], "Messages received"),
    counter("zipkin_collector_messages_dropped_total", &["transport"], "Messages that could not be decoded"),
    counter("zipkin_collector_bytes_total", &["transport"], "Bytes of messages, decompressed"),
    counter("zipkin_collector_spans_total", &["transport"], "Spans decoded"),
    counter("zipkin_collector_spans_dropped_total", &["transport"], "Spans decoded that were not accepted"),
    gauge("zipkin_collector_message_spans", &["transport"], "Spans of the last message"),
    gauge("zipkin_collector_message_bytes", &["transport"], "Bytes of the last message"),
];

/// Where handles are made and the text is rendered. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    recorder: Arc<PrometheusRecorder>,
    table: &'static [Family],
    /// Read while counters change together, written while they are shown.
    whole: Arc<RwLock<()>>,
    /// Whose series are not shown. The recorder cannot forget one: each name that was ever configured keeps a few KiB.
    gone: Arc<Mutex<BTreeSet<Owner>>>,
}

/// Whose a series is, where it is a drain's: the drain, and which of its sinks if it is one's.
type Owner = (String, Option<String>);

impl Registry {
    /// A registry of `table`'s families. Panics where two histograms of one name differ in bounds.
    pub fn new(table: &'static [Family]) -> Self {
        let mut builder = PrometheusBuilder::new();
        for family in table {
            if let Kind::Histogram(bounds) = family.kind {
                let name = Matcher::Full(family.name.to_owned());
                builder = builder.set_buckets_for_metric(name, bounds).expect("the table's bounds are not empty");
            }
        }
        let recorder = builder.build_recorder();
        for family in table {
            let (name, help) = (family.name.into(), family.help.into());
            match family.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Histogram(_) => recorder.describe_histogram(name, None, help),
            }
        }
        Registry { recorder: Arc::new(recorder), table, whole: Arc::default(), gone: Arc::default() }
    }

    /// A handle on one series; `labels` are (name, value), those of the family and in its order.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&self.key(name, labels, "counter"), &METADATA)
    }

    /// As [`counter`](Self::counter), for a gauge.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.recorder.register_gauge(&self.key(name, labels, "gauge"), &METADATA)
    }

    /// As [`counter`](Self::counter), for a histogram.
    pub fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.recorder.register_histogram(&self.key(name, labels, "histogram"), &METADATA)
    }

    /// Changes counters that are to add up in every scrape: it shows all of `change` or nothing of it.
    pub fn together(&self, change: impl FnOnce()) {
        let _whole = self.whole.read().unwrap_or_else(PoisonError::into_inner);
        change();
    }

    /// The Prometheus text (0.0.4) of everything registered and not retired.
    pub fn render(&self) -> String {
        let text = {
            let _whole = self.whole.write().unwrap_or_else(PoisonError::into_inner);
            self.recorder.handle().render()
        };
        let gone = self.gone();
        let stays = |line: &&str| owner(|name| label(line, name)).is_none_or(|owner| !gone.contains(&owner));
        match gone.is_empty() {
            true => text,
            false => text.split_inclusive('\n').filter(stays).collect(),
        }
    }

    /// Shows a drain's own series, or those of one of its sinks, no more until one of them is registered again.
    pub fn retire(&self, drain: &str, sink: Option<&str>) {
        self.gone().insert((drain.to_owned(), sink.map(str::to_owned)));
    }

    fn gone(&self) -> MutexGuard<'_, BTreeSet<Owner>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Folds histogram samples into their buckets; to be called every few seconds, as samples
    /// pile up in memory until then.
    pub fn upkeep(&self) {
        self.recorder.handle().run_upkeep();
    }

    fn key(&self, name: &'static str, labels: &[(&'static str, &str)], kind: &str) -> Key {
        let family = self.table.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let same_kind = matches!(
            (family.kind, kind),
            (Kind::Counter, "counter") | (Kind::Gauge, "gauge") | (Kind::Histogram(_), "histogram")
        );
        let same_labels = family.labels.iter().copied().eq(labels.iter().map(|(name, _)| *name));
        assert!(same_kind && same_labels, "{name} is registered as another kind or with other labels");
        let value = |of: &str| labels.iter().find(|(name, _)| *name == of).map(|(_, value)| *value);
        if let Some(owner) = owner(value) {
            self.gone().remove(&owner);
        }
        Key::from_parts(name, labels.iter().map(|(k, v)| Label::new(*k, (*v).to_owned())).collect::<Vec<_>>())
    }
}

fn owner<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Option<Owner> {
    Some((label("drain")?.to_owned(), label("sink").map(str::to_owned)))
}

/// The value of a label in a line of Prometheus text. Names of drains and sinks hold nothing that is escaped there, and
/// within another value a quote is.
fn label<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let at = |before: char| Some(line.split_once(&format!("{before}{name}=\""))?.1);
    at('{').or_else(|| at(','))?.split('"').next()
}

static METADATA: Metadata<'static> = Metadata::new("spangate", Level::INFO, None);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn what_is_retired_is_shown_no_more_until_it_is_registered_again() {
        let registry = Registry::new(TABLE);
        let waiting = |drain| registry.gauge("spangate_drain_waiting_spans", &[("drain", drain)]);
        let up = |drain, sink| registry.gauge("spangate_sink_up", &[("drain", drain), ("sink", sink)]);
        let seconds = [("drain", "a"), ("sink", "x:1")];
        registry.histogram("spangate_sink_request_seconds", &seconds).record(0.1);
        registry.counter("spangate_entries_ignored_total", &[("category", ",drain=\"a\"")]).increment(1);
        waiting("a").set(1.0);
        waiting("ab").set(1.0);
        up("a", "x:1").set(1.0);
        up("a", "y:1").set(1.0);
        let shown = || -> BTreeSet<String> {
            registry.render().lines().filter(|line| line.contains('{')).map(str::to_owned).collect()
        };
        let all = shown();
        let without = |word: &str, of: &BTreeSet<String>| -> BTreeSet<String> {
            of.iter().filter(|line| !line.contains(word)).cloned().collect()
        };
        registry.retire("a", Some("x:1"));
        assert_eq!(shown(), without("sink=\"x:1\"", &all));
        registry.retire("a", None);
        assert_eq!(shown(), without("{drain=\"a\"}", &without("sink=\"x:1\"", &all)));
        up("a", "x:1").set(1.0);
        assert_eq!(shown(), without("{drain=\"a\"}", &all));
        waiting("a").increment(0.0);
        assert_eq!(shown(), all);
    }

    #[test]
    fn counters_that_change_together_are_shown_together() {
        let registry = Registry::new(TABLE);
        let labels = [("listener", "http")];
        let received = registry.counter("spangate_spans_received_total", &labels);
        let accepted = registry.counter("spangate_spans_accepted_total", &labels);
        let done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    registry.together(|| {
                        received.increment(1);
                        accepted.increment(1);
                    });
                }
            });
            while registry.render().contains("_accepted_total{listener=\"http\"} 0") {
                std::thread::yield_now();
            }
            for _ in 0..2_000 {
                let text = registry.render();
                let of = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.rsplit(' ').next()).expect(name);
                let (received, accepted) = (of("spangate_spans_received_total{"), of("spangate_spans_accepted_total{"));
                if received != accepted {
                    done.store(true, Ordering::Relaxed);
                    panic!("{received} received, {accepted} accepted");
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
