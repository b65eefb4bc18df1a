use std::borrow::Cow;
use std::cmp::Ordering;

use super::*;

fn minimal() -> Span<'static> {
    Span { trace_id: TraceId { high: 0, low: 1 }, id: 2, ..Span::default() }
}

fn pushed(mut span: Span<'_>) -> Batch {
    let mut batch = Batch::default();
    batch.push(&mut span);
    batch
}

fn read_back(batch: &Batch) -> Span<'_> {
    canonical::read(canonical::span_bytes(&batch.body).unwrap()).unwrap()
}

fn annotation(timestamp_us: u64, value: &str) -> Annotation<'_> {
    Annotation { timestamp_us, value: value.into() }
}

#[test]
fn a_minimal_span_is_its_two_ids() {
    let batch = pushed(minimal());
    let ids = [0x0a, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0x1a, 8, 0, 0, 0, 0, 0, 0, 0, 2];
    assert_eq!(batch.body[..2], [0x0a, ids.len() as u8]);
    assert_eq!(batch.body[2..], ids);
    assert_eq!(batch.items, [Item { key: 1, len: 22, label: NO_LABEL, flags: 0 }]);
}

#[test]
fn names_are_lower_cased_beyond_ascii_and_empty_ones_vanish() {
    for (given, kept) in [("GET", Some("get")), ("İx", Some("i\u{307}x")), ("ΑΣ", Some("ας")), ("", None)] {
        let endpoint = Endpoint { service_name: Some(given.into()), port: 1, ..Endpoint::default() };
        let batch = pushed(Span { name: Some(given.into()), local: Some(endpoint), ..minimal() });
        let span = read_back(&batch);
        assert_eq!(span.name.as_deref(), kept);
        assert_eq!(span.local.unwrap().service_name.as_deref(), kept);
    }
}

#[test]
fn a_parent_that_is_the_span_itself_vanishes() {
    assert_eq!(read_back(&pushed(Span { parent_id: 2, ..minimal() })).parent_id, 0);
    assert_eq!(read_back(&pushed(Span { parent_id: 3, ..minimal() })).parent_id, 3);
}

#[test]
fn shared_vanishes_on_a_client_alone() {
    for kind in Kind::ALL {
        let batch = pushed(Span { kind: Some(kind), shared: true, ..minimal() });
        assert_eq!(read_back(&batch).shared, kind != Kind::Client);
    }
}

#[test]
fn negative_times_are_absent() {
    let batch = pushed(Span { timestamp_us: -1i64 as u64, duration_us: i64::MIN as u64, ..minimal() });
    assert_eq!(batch, pushed(minimal()));
}

#[test]
fn an_endpoint_of_nothing_is_none() {
    let nothing = Endpoint { service_name: Some("".into()), ..Endpoint::default() };
    assert_eq!(pushed(Span { local: Some(nothing), ..minimal() }), pushed(minimal()));
}

#[test]
fn an_ipv4_address_within_ipv6_is_ipv4_but_localhost_is_not() {
    let within = |last: [u8; 4]| {
        let mut ipv6 = [0; 16];
        ipv6[12..].copy_from_slice(&last);
        pushed(Span { local: Some(Endpoint { ipv6: Some(ipv6), ..Endpoint::default() }), ..minimal() })
    };
    assert_eq!(read_back(&within([1, 2, 3, 4])).local.unwrap().ipv4, Some([1, 2, 3, 4]));
    assert_eq!(read_back(&within([0, 0, 0, 1])).local.unwrap().ipv4, None);
}

#[test]
fn annotations_are_sorted_and_repetitions_dropped() {
    let given = [(5, "b"), (5, "a"), (-1i64 as u64, "c"), (5, "b")];
    let annotations = given.map(|(timestamp, value)| annotation(timestamp, value)).to_vec();
    let batch = pushed(Span { annotations, ..minimal() });
    let kept = vec![annotation(-1i64 as u64, "c"), annotation(5, "a"), annotation(5, "b")];
    assert_eq!(read_back(&batch).annotations, kept);
}

#[test]
fn tags_are_sorted_as_java_does_and_the_last_of_equal_keys_stays() {
    let given = [("\u{ffff}", "1"), ("\u{10000}", "2"), ("b", "3"), ("B", "4"), ("b", ""), ("", "6")];
    let tags = given.map(|(key, value)| (key.into(), value.into())).to_vec();
    let batch = pushed(Span { tags, ..minimal() });
    let kept = [("", "6"), ("B", "4"), ("b", ""), ("\u{10000}", "2"), ("\u{ffff}", "1")];
    let kept: Vec<(Cow<'_, str>, Cow<'_, str>)> = kept.map(|(key, value)| (key.into(), value.into())).to_vec();
    assert_eq!(read_back(&batch).tags, kept);
}

#[test]
fn texts_are_ordered_by_their_utf16_units() {
    let texts =
        ["", "a", "ab", "b", "\u{7f}", "\u{80}", "é", "\u{d7ff}", "\u{e000}", "\u{fffd}", "\u{ffff}", "😀", "😀a"];
    for a in texts {
        for b in texts {
            let expected: Ordering = a.encode_utf16().cmp(b.encode_utf16());
            assert_eq!(utf16_order(a, b), expected, "{a:?} {b:?}");
        }
    }
}

#[test]
fn a_label_is_found_again_among_many() {
    let mut batch = Batch::default();
    let names: Vec<String> = (0..300).map(|i| format!("service-{i}")).collect();
    for name in names.iter().chain(&names) {
        let local = Some(Endpoint { service_name: Some(name.as_str().into()), ..Endpoint::default() });
        batch.push(&mut Span { local, ..minimal() });
    }
    assert_eq!(batch.labels, names);
    assert!(batch.items.iter().enumerate().all(|(i, item)| usize::from(item.label) == i % 300));
}

#[test]
fn a_long_label_is_cut_at_a_character_and_the_span_keeps_its_name() {
    let name = "é".repeat(200);
    let local = Some(Endpoint { service_name: Some(name.as_str().into()), ..Endpoint::default() });
    let batch = pushed(Span { local, ..minimal() });
    assert_eq!(batch.labels, ["é".repeat(127)]);
    assert_eq!(read_back(&batch).local.unwrap().service_name.as_deref(), Some(name.as_str()));
}

#[test]
fn rolling_back_leaves_the_batch_as_it_was() {
    let mut batch = Batch::default();
    let named = |i: usize| {
        let local = Endpoint { service_name: Some(format!("s{i}").into()), ..Endpoint::default() };
        Span { local: Some(local), debug: true, ..minimal() }
    };
    for i in 0..20 {
        batch.push(&mut named(i));
    }
    let before = batch.clone();
    let mark = batch.mark();
    for i in 10..50 {
        batch.push(&mut named(i));
    }
    batch.roll_back(mark);
    assert_eq!(batch, before);
    batch.push(&mut named(30));
    assert_eq!(batch.items[20].label, 20, "a label that was rolled back is not remembered");
    batch.clear();
    assert_eq!(batch, Batch::default());
}

#[test]
fn appending_renames_labels() {
    let named = |name: &'static str| {
        let local = Endpoint { service_name: Some(name.into()), ..Endpoint::default() };
        pushed(Span { local: Some(local), ..minimal() })
    };
    let mut merged = named("a");
    for other in [named("b"), pushed(minimal()), named("a")] {
        merged.append(&other);
    }
    assert_eq!(merged.labels, ["a", "b"]);
    assert_eq!(merged.items.iter().map(|item| item.label).collect::<Vec<_>>(), [0, 1, NO_LABEL, 0]);
    assert_eq!(canonical::elements(&merged.body).filter(Result::is_ok).count(), 4);
}

#[test]
fn canonical_bytes_cut_or_changed_anywhere_never_panic() {
    let full = Span {
        trace_id: TraceId { high: 1, low: 2 },
        parent_id: 1,
        kind: Some(Kind::Server),
        name: Some("get".into()),
        timestamp_us: 1_472_470_996_199_000,
        duration_us: 207_000,
        local: Some(Endpoint { service_name: Some("fe".into()), ipv4: Some([127, 0, 0, 1]), ipv6: None, port: 0 }),
        remote: Some(Endpoint { service_name: None, ipv4: None, ipv6: Some([9; 16]), port: 9000 }),
        annotations: vec![annotation(1, "foo")],
        tags: vec![("a".into(), "b".into())],
        debug: true,
        shared: true,
        ..minimal()
    };
    let batch = pushed(full.clone());
    assert_eq!(read_back(&batch), full);
    for at in 0..batch.body.len() {
        assert!(canonical::span_bytes(&batch.body[..at]).is_err());
        for bit in 0..8 {
            let mut changed = batch.body.clone();
            changed[at] ^= 1 << bit;
            for span in canonical::elements(&changed).flatten() {
                let _ = (canonical::read(span), canonical::trace_id_of(span));
            }
        }
    }
}

#[test]
fn a_varint_takes_as_many_bytes_as_it_says() {
    for (number, len) in [(0, 1), (1, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX, 10)] {
        assert_eq!(proto::varint_len(number), len);
    }
}
