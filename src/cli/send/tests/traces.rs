use std::collections::{HashMap, HashSet};

use super::*;

/// A start that no test depends on.
const START_US: u64 = 1_700_000_000_000_000;

fn trace(traces: &mut Traces, most: usize) -> Vec<Span<'static>> {
    traces.make(START_US, most);
    traces.spans().to_vec()
}

fn many() -> Vec<Vec<Span<'static>>> {
    let mut traces = Traces::seeded(7);
    (0..2_000).map(|_| trace(&mut traces, usize::MAX)).collect()
}

#[test]
fn a_trace_has_one_root_and_every_parent_that_is_named() {
    for spans in many() {
        assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id && span.zero_id().is_none()));
        let ids: HashSet<u64> = spans.iter().map(|span| span.id).collect();
        let roots: Vec<_> = spans.iter().filter(|span| span.parent_id == 0).collect();
        assert_eq!(roots.len(), 1);
        assert_eq!(roots[0].id, spans[0].trace_id.low);
        assert!(spans.iter().all(|span| span.parent_id == 0 || ids.contains(&span.parent_id)));
    }
}

#[test]
fn both_sides_of_a_call_share_an_id_and_the_server_says_so() {
    let mut calls = 0;
    for spans in many() {
        let mut sides: HashMap<u64, Vec<&Span<'_>>> = HashMap::new();
        spans.iter().for_each(|span| sides.entry(span.id).or_default().push(span));
        for side in sides.values().filter(|side| side.len() > 1) {
            let [client, server] = side[..] else { panic!("{} spans with one id", side.len()) };
            assert_eq!((client.kind, server.kind), (Some(Kind::Client), Some(Kind::Server)));
            assert_eq!((client.shared, server.shared), (false, true));
            assert_eq!(client.parent_id, server.parent_id);
            assert_eq!(client.remote.as_ref().unwrap().service_name, server.local.as_ref().unwrap().service_name);
            assert!(client.timestamp_us <= server.timestamp_us && server.duration_us <= client.duration_us);
            calls += 1;
        }
        assert!(spans.iter().filter(|span| span.shared).all(|span| sides[&span.id].len() == 2));
    }
    assert!(calls > 2_000, "{calls} calls");
}

#[test]
fn some_fail_and_most_do_not_and_every_service_is_seen() {
    let all: Vec<_> = many().concat();
    let failed = all.iter().filter(|span| span.tags.iter().any(|(key, _)| key == "error")).count();
    assert!(failed * 1000 > all.len() && failed * 10 < all.len(), "{failed} of {} failed", all.len());
    let services: HashSet<_> = all.iter().map(|span| span.local.as_ref().unwrap().service_name.clone()).collect();
    assert_eq!(services.len(), 8);
    for kind in Kind::ALL {
        assert!(all.iter().any(|span| span.kind == Some(kind)), "no {}", kind.name());
    }
}

#[test]
fn a_trace_keeps_to_the_spans_it_may_have() {
    let mut traces = Traces::seeded(3);
    for most in (1..40).cycle().take(2_000) {
        let spans = trace(&mut traces, most);
        assert!((1..=most).contains(&spans.len()), "{} spans of {most}", spans.len());
        let shared = spans.iter().filter(|span| span.shared).count();
        let answered = spans.iter().filter(|span| spans.iter().any(|other| other.shared && other.id == span.id));
        assert_eq!(answered.count(), 2 * shared, "half a call");
    }
}

#[test]
fn traces_are_over_within_a_second() {
    let longest = many().concat().iter().map(|span| span.timestamp_us + span.duration_us - START_US).max();
    assert!(longest.unwrap() < 1_000_000, "{longest:?} us");
}

#[test]
fn a_seed_repeats_and_another_one_differs() {
    let make = |seed| {
        let mut traces = Traces::seeded(seed);
        (0..50).flat_map(|_| trace(&mut traces, usize::MAX)).collect::<Vec<_>>()
    };
    assert_eq!(make(1), make(1));
    assert_ne!(make(1), make(2));
}

#[test]
fn tags_come_sorted_but_for_the_rare_error() {
    for span in many().concat().iter().filter(|span| span.tags[0].0 != "error") {
        assert!(span.tags.is_sorted_by_key(|(key, _)| key.as_ref()), "{:?}", span.tags);
    }
}
