//! Each query of the dashboard and of the alerts against the table of metrics: names, labels, and rates of counters.
//!
//! [`faults`] reads as much of PromQL as these queries use. That each of them returns data is for `make real`.

use spangate::metrics::{Family, Kind, TABLE, ZIPKIN_TABLE};

use crate::support::dashboard::{Query, alerts, queries};

/// Labels that Prometheus adds to every series.
const TARGET_LABELS: &[&str] = &["instance", "job"];
const FUNCTIONS: &[&str] =
    &["sum", "min", "max", "count", "rate", "increase", "histogram_quantile", "by", "without", "or", "and"];

/// A metric as a query names it.
#[derive(Debug, PartialEq, Eq)]
struct Selector<'a> {
    name: &'a str,
    /// Labels in braces.
    labels: Vec<&'a str>,
    /// Whether a range follows, as rates want it.
    range: bool,
}

/// Identifiers are letters, digits, `_` and `:`.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    &text[..end.unwrap_or(text.len())]
}

/// The content of a bracket that `text` opens with, and what follows it. No query here nests brackets of one kind
/// within labels or ranges.
fn bracket(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    text.strip_prefix(open)?.split_once(close)
}

fn matched_labels(inside: &str) -> Vec<&str> {
    inside.split(',').map(|matcher| identifier(matcher.trim())).collect()
}

/// The metrics that a query names, and the labels that it groups by.
fn read(query: &str) -> (Vec<Selector<'_>>, Vec<&str>) {
    let (mut selectors, mut groups, mut rest) = (Vec::new(), Vec::new(), query);
    while let Some(first) = rest.chars().next() {
        let word = identifier(rest);
        let after = &rest[word.len()..];
        if word.is_empty() {
            rest = &rest[first.len_utf8()..];
        } else if first.is_ascii_digit() {
            rest = after;
        } else if matches!(word, "by" | "without") {
            let (inside, left) = bracket(after.trim_start(), '(', ')').expect("labels follow `by`");
            groups.extend(inside.split(',').map(str::trim));
            rest = left;
        } else if FUNCTIONS.contains(&word) {
            rest = after;
        } else {
            let (inside, left) = bracket(after, '{', '}').unwrap_or(("", after));
            let labels = if inside.is_empty() { Vec::new() } else { matched_labels(inside) };
            let (range, left) = bracket(left, '[', ']').map_or((false, left), |(_, left)| (true, left));
            selectors.push(Selector { name: word, labels, range });
            rest = left;
        }
    }
    (selectors, groups)
}

/// The family behind a name; a histogram is asked for by its parts.
fn family(name: &str) -> Option<&'static Family> {
    let parts = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
    let in_table = |family: &&Family| match family.kind {
        Kind::Histogram(_) => parts == Some(family.name),
        _ => family.name == name,
    };
    TABLE.iter().chain(ZIPKIN_TABLE).find(in_table)
}

fn labels_of(name: &str, family: &Family) -> Vec<&'static str> {
    let bucket = name.ends_with("_bucket").then_some("le");
    family.labels.iter().copied().chain(bucket).chain(TARGET_LABELS.iter().copied()).collect()
}

/// What is wrong with a query.
fn faults(query: &Query) -> Vec<String> {
    let (selectors, groups) = read(&query.expression);
    let mut found = Vec::new();
    let mut fault = |what: String| found.push(format!("{}: {what}", query.at));
    for selector in selectors.iter().filter(|selector| selector.name != "up") {
        let name = selector.name;
        let Some(family) = family(name) else {
            fault(format!("there is no metric {name}"));
            continue;
        };
        let known = labels_of(name, family);
        for label in selector.labels.iter().chain(&groups).filter(|label| !known.contains(label)) {
            fault(format!("{name} has no label {label}"));
        }
        if selector.range != (family.kind != Kind::Gauge) {
            fault(format!("{name}: counters are asked for their rate, gauges for their value"));
        }
        if ZIPKIN_TABLE.iter().any(|family| family.name == name) && !selector.labels.contains(&"job") {
            fault(format!("{name} without a job would take the gateway's own, too, where its 9411 is scraped"));
        }
    }
    // The labels of a series that was not grouped are all there.
    let named = shown_labels(&query.legend).into_iter().filter(|label| !groups.is_empty() && !groups.contains(label));
    named.for_each(|label| fault(format!("its text names {label}, which the query has summed away")));
    found
}

/// The labels of `{{label}}` and `{{ $labels.label }}`.
fn shown_labels(text: &str) -> Vec<&str> {
    let inside = text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim());
    let words = inside.map(|word| word.strip_prefix("$labels.").unwrap_or(word));
    words.filter(|word| !word.starts_with("$value")).collect()
}

fn none(queries: Vec<Query>) {
    assert!(!queries.is_empty());
    let found: Vec<String> = queries.iter().flat_map(faults).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_query_of_the_dashboard_asks_for_what_there_is() {
    none(queries());
}

#[test]
fn every_alert_asks_for_what_there_is() {
    none(alerts());
}

#[test]
fn a_query_for_what_is_not_there_is_found() {
    let faults = |expression: &str, legend: &str| {
        faults(&Query { at: "x".into(), expression: expression.into(), legend: legend.into() })
    };
    assert_eq!(faults("sum(rate(spangate_spans_total[1m]))", ""), ["x: there is no metric spangate_spans_total"]);
    assert_eq!(
        faults("sum by (sink) (rate(spangate_spans_accepted_total{drain=\"zipkin\"}[1m]))", "{{sink}}"),
        ["x: spangate_spans_accepted_total has no label drain", "x: spangate_spans_accepted_total has no label sink"]
    );
    assert_eq!(faults("rate(spangate_ready[1m])", "").len(), 1);
    assert_eq!(faults("spangate_spans_accepted_total", "").len(), 1);
    assert_eq!(faults("spangate_channel_sync_seconds", ""), ["x: there is no metric spangate_channel_sync_seconds"]);
    assert_eq!(faults("rate(zipkin_collector_spans_total[1m])", "").len(), 1);
    assert_eq!(
        faults("sum by (listener) (rate(spangate_spans_refused_total[1m]))", "{{listener}} {{reason}}"),
        ["x: its text names reason, which the query has summed away"]
    );
}

/// What the issue asks the dashboard to show.
#[test]
fn the_dashboard_shows_throughput_backlog_sync_and_sink_health() {
    let queries = queries();
    let asked = |metric: &str, group: &str| {
        let grouped = |groups: &[&str]| group.is_empty() || groups.contains(&group);
        queries.iter().any(|query| {
            let (selectors, groups) = read(&query.expression);
            selectors.iter().any(|selector| selector.name == metric) && grouped(&groups)
        })
    };
    for (metric, group) in [
        ("spangate_spans_accepted_total", "listener"),
        ("spangate_sink_spans_total", "sink"),
        ("spangate_drain_waiting_spans", "drain"),
        ("spangate_drain_waiting_bytes", "drain"),
        ("spangate_drain_lag_seconds", "drain"),
        ("spangate_channel_sync_seconds_bucket", "le"),
        ("spangate_sink_up", "sink"),
        ("spangate_sink_request_seconds_bucket", "sink"),
    ] {
        assert!(asked(metric, group), "no panel shows {metric} by {group}");
    }
}
