//! v2 spans written as v1, against the reference codec's bytes and what it reads back (tests/data/v1_encode/ORIGIN.md).

use std::collections::BTreeSet;

use proptest::prelude::*;
use spangate::span::{Annotation, Batch, Endpoint, Kind, Span, TraceId, canonical};
use spangate::wire::v1::encode::{EncodeError, Form, ListWriter, encode_span};
use spangate::wire::v1::from_v2::{REPEATED_BYTES_MAX, Unsayable};
use spangate::wire::v1::{Options, decode_list};
use spangate::wire::{Limits, json_v1};

use crate::support::vectors::{hex, rows, unescape, unhex};

const OPTIONS: Options = Options { keep_binary_annotations: true };

fn written(form: Form, list: &[u8]) -> Result<Vec<u8>, Unsayable> {
    let mut out = b"before".to_vec();
    let mut writer = ListWriter::begin(form, &mut out);
    for span in canonical::elements(list) {
        writer.push(&canonical::read(span.unwrap()).unwrap(), &mut out)?;
    }
    writer.end(&mut out);
    Ok(out.split_off(6))
}

fn read_back(form: Form, body: &[u8]) -> Batch {
    let mut batch = Batch::default();
    match form {
        Form::Thrift => decode_list(body, &Limits::default(), &OPTIONS, &mut batch).unwrap(),
        Form::Json => json_v1::decode(body, &Limits::default(), &OPTIONS, &mut batch).unwrap(),
    }
    batch
}

#[test]
fn v1_is_written_as_zipkin_writes_it_and_read_back_as_zipkin_reads_it() {
    let mut wrong = Vec::new();
    for row in rows(include_str!("../../data/v1_encode/encode.tsv")) {
        let [name, list, thrift, from_thrift, json, from_json] = row[..] else { panic!("{row:?}") };
        let list = unhex(list);
        for (form, bytes, back) in [(Form::Thrift, unhex(thrift), from_thrift), (Form::Json, unescape(json), from_json)]
        {
            let ours = written(form, &list).unwrap();
            if ours != bytes {
                wrong.push(format!("{name}: {form:?}\n  zipkin {}\n  ours   {}", hex(&bytes), hex(&ours)));
            } else if hex(&read_back(form, &ours).body) != back {
                wrong.push(format!("{name}: {form:?} read back\n  zipkin {back}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..3.min(wrong.len())].join("\n"));
}

#[test]
fn several_spans_are_one_list() {
    let all: Vec<Vec<&str>> = rows(include_str!("../../data/v1_encode/encode.tsv")).collect();
    let (mut list, mut thrift, mut json) = (Vec::new(), Vec::new(), Vec::new());
    for row in &all {
        list.extend(unhex(row[1]));
        thrift.extend(&unhex(row[2])[5..]);
        let one = unescape(row[4]);
        json.push(String::from_utf8(one[1..one.len() - 1].to_vec()).unwrap());
    }
    let head = [&[12][..], &(all.len() as u32).to_be_bytes()].concat();
    assert!(written(Form::Thrift, &list).unwrap() == [head, thrift].concat());
    assert!(written(Form::Json, &list).unwrap() == format!("[{}]", json.join(",")).into_bytes());
    assert_eq!(written(Form::Thrift, &[]).unwrap(), [12, 0, 0, 0, 0]);
    assert_eq!(written(Form::Json, &[]).unwrap(), b"[]");
}

fn pushed(mut span: Span<'_>) -> Vec<u8> {
    let mut batch = Batch::default();
    batch.push(&mut span);
    batch.body
}

#[test]
fn a_trace_id_whose_low_half_is_zero_cannot_be_said() {
    let span = pushed(Span { trace_id: TraceId { high: 7, low: 0 }, id: 1, ..Span::default() });
    for form in [Form::Thrift, Form::Json] {
        assert_eq!(written(form, &span), Err(Unsayable::NoTraceId));
        let mut out = vec![1];
        let bytes = canonical::span_bytes(&span).unwrap();
        assert_eq!(encode_span(form, bytes, &mut out), Err(EncodeError::Unsayable(Unsayable::NoTraceId)));
        assert_eq!(out, [1]);
    }
}

#[test]
fn a_span_that_v1_would_make_gigabytes_of_cannot_be_said() {
    let name = "n".repeat(500_000);
    let local = Some(Endpoint { service_name: Some(name.as_str().into()), ..Endpoint::default() });
    let annotation = |at| Annotation { timestamp_us: at, value: "a".into() };
    let of = |count| Span {
        trace_id: TraceId { high: 0, low: 1 },
        id: 1,
        local: local.clone(),
        annotations: (1..=count).map(annotation).collect(),
        ..Span::default()
    };
    let bytes = 10_002 * 500_000;
    assert_eq!(written(Form::Thrift, &pushed(of(10_000))), Err(Unsayable::TooLarge { entries: 10_002, bytes }));
    let most = REPEATED_BYTES_MAX / 500_000 - 2;
    let largest = written(Form::Thrift, &pushed(of(most as u64))).unwrap();
    assert!(largest.len() < REPEATED_BYTES_MAX + 10_000, "{}", largest.len());
}

/// What v1 can say of a span without loss: a kind with a time at a local endpoint, a server that is shared.
fn sayable() -> impl Strategy<Value = Span<'static>> {
    let host = ("[a-z]{1,8}", proptest::option::of(any::<[u8; 4]>()), any::<u16>());
    let tags = proptest::collection::btree_map("[b-z]{3,8}", "[ -~]{0,8}", 0..4);
    let annotations = proptest::collection::btree_set((1..9_000_000u64, "[a-z]{3,8}"), 0..4);
    (0..5u64, 1..=u64::MAX, any::<u64>(), (1..1u64 << 60, 1..1u64 << 50), any::<[bool; 3]>(), host, tags, annotations)
        .prop_map(|(kind, low, high, (timestamp_us, duration_us), [debug, shared, remote], host, tags, annotations)| {
            let kind = Kind::from_number(kind);
            let (name, ipv4, port) = host;
            let endpoint = |name: String| Endpoint {
                service_name: Some(name.into()),
                ipv4: ipv4.filter(|ip| *ip != [0; 4]),
                ipv6: None,
                port,
            };
            Span {
                trace_id: TraceId { high, low },
                id: low,
                kind,
                name: Some("get".into()),
                timestamp_us,
                duration_us,
                remote: remote.then(|| endpoint(format!("{name}2"))),
                local: Some(endpoint(name)),
                annotations: annotations
                    .into_iter()
                    .map(|(timestamp_us, value)| Annotation { timestamp_us, value: value.into() })
                    .collect(),
                tags: tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
                debug,
                shared: shared && kind == Some(Kind::Server),
                ..Span::default()
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_v1_can_say_comes_back_as_it_was(span in sayable()) {
        let list = pushed(span);
        for form in [Form::Thrift, Form::Json] {
            let back = read_back(form, &written(form, &list).unwrap());
            prop_assert_eq!(hex(&back.body), hex(&list));
        }
    }
}

#[test]
fn the_vectors_cover_what_is_lost() {
    let lost: BTreeSet<&str> = rows(include_str!("../../data/v1_encode/encode.tsv"))
        .filter(|row| row[1] != row[3])
        .map(|row| row[0])
        .collect();
    // One of each loss that `wire::v1::from_v2` names.
    for name in [
        "CLIENT 00110",
        "CLIENT 11010",
        "SERVER 00111",
        "null 01100",
        "an event at 0",
        "SERVER of one service, two hosts",
        "CLIENT and tag sa=text",
        "CLIENT and tag lc=",
        "CLIENT and sr@300",
    ] {
        assert!(lost.contains(name), "{name} is in no vector, or not lost");
    }
    assert!(lost.iter().any(|name| name.starts_with("SERVER to itself")));
}
