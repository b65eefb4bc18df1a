//! Random spans in any spelling are the same canonical bytes; broken ones are refused, never worse.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;
use serde_json::json;
use spangate::span::{Batch, canonical};
use spangate::wire::r#gen::zipkin_proto3::{Annotation, Endpoint, ListOfSpans, Span};
use spangate::wire::{Limits, json_v2, proto3};

use crate::proof::fuzz::against_proto3::{self, normal};
use crate::support::vectors::hex;

/// Short texts of all sorts: ASCII of both cases, escapes, surrogate pairs, letters whose lower case is longer.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-zA-Z0-9 ./_-]{0,24}",
        1 => "[\"\\\\/\\x00-\\x1f\\x7fé日İΣ\u{e000}\u{ffff}\u{10000}😀\u{2028}]{0,8}",
        1 => any::<String>().prop_map(|text| text.chars().take(12).collect()),
    ]
}

fn some_text() -> impl Strategy<Value = String> {
    text().prop_filter("a proto3 writer cannot tell \"\" from absent", |text| !text.is_empty())
}

fn microseconds() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..=i64::MAX as u64, Just(1_472_470_996_199_000)]
}

fn id(lengths: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), lengths).prop_filter("not zero", |id| id.iter().any(|byte| *byte != 0))
}

prop_compose! {
    fn endpoint()(
        service_name in text(),
        ipv4 in proptest::option::of(any::<[u8; 4]>()),
        ipv6 in proptest::option::of(any::<[u8; 16]>()),
        port in prop_oneof![Just(0), 1..=65_535],
    ) -> Endpoint {
        let bytes = |ip: Option<&[u8]>| ip.map_or_else(Vec::new, <[u8]>::to_vec);
        Endpoint {
            service_name,
            ipv4: bytes(ipv4.as_ref().map(|ip| &ip[..])),
            ipv6: bytes(ipv6.as_ref().map(|ip| &ip[..])),
            port,
        }
    }
}

prop_compose! {
    fn annotation()(timestamp in prop_oneof![1..5u64, 1..=i64::MAX as u64], value in some_text()) -> Annotation {
        Annotation { timestamp, value }
    }
}

prop_compose! {
    fn span()(
        (trace_id, id) in (prop_oneof![id(1..=16), id(16..=16)], id(1..=8)),
        (parent_id, same) in (proptest::collection::vec(any::<u8>(), 0..=8), any::<u8>()),
        (kind, name) in (0..=4, text()),
        (timestamp, duration) in (microseconds(), microseconds()),
        (local_endpoint, remote_endpoint) in (proptest::option::of(endpoint()), proptest::option::of(endpoint())),
        annotations in proptest::collection::vec(annotation(), 0..4),
        tags in proptest::collection::btree_map(some_text(), text(), 0..5),
        (debug, shared) in (any::<bool>(), any::<bool>()),
    ) -> Span {
        let parent_id = if same < 16 { id.clone() } else { parent_id };
        Span {
            trace_id, parent_id, id, kind, name, timestamp, duration, local_endpoint, remote_endpoint,
            annotations, tags, debug, shared,
        }
    }
}

/// A span as JSON: fields in any order, white space anywhere, texts escaped or not.
fn spelled(span: &Span, random: &mut fastrand::Rng) -> String {
    let mut fields = vec![("traceId", quoted_hex(&span.trace_id)), ("id", quoted_hex(&span.id))];
    if !span.parent_id.is_empty() {
        fields.push(("parentId", quoted_hex(&span.parent_id)));
    }
    if span.kind != 0 {
        let kind = ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"][span.kind as usize - 1];
        fields.push(("kind", format!("\"{kind}\"")));
    }
    fields.push(("name", spelled_text(&span.name, random)));
    fields.push(("timestamp", span.timestamp.to_string()));
    fields.push(("duration", format!("\"{}\"", span.duration)));
    fields.extend(span.local_endpoint.iter().map(|endpoint| ("localEndpoint", spelled_endpoint(endpoint))));
    fields.extend(span.remote_endpoint.iter().map(|endpoint| ("remoteEndpoint", spelled_endpoint(endpoint))));
    let annotations =
        span.annotations.iter().map(|a| json!({ "value": a.value, "timestamp": a.timestamp }).to_string());
    fields.push(("annotations", format!("[{}]", annotations.collect::<Vec<_>>().join(" , "))));
    let mut tags: Vec<(&String, &String)> = span.tags.iter().collect();
    random.shuffle(&mut tags);
    let tags = tags.into_iter().map(|(key, value)| {
        let key = spelled_text(key, random);
        format!("{key}:{}", spelled_text(value, random))
    });
    fields.push(("tags", format!("{{{}}}", tags.collect::<Vec<_>>().join(","))));
    fields.push(("debug", span.debug.to_string()));
    fields.push(("shared", span.shared.to_string()));
    random.shuffle(&mut fields);
    let mut space = || [" ", "\t", "\r\n", ""][random.usize(..4)];
    let fields = fields.iter().map(|(name, value)| format!("{}\"{name}\"{}:{}{value}", space(), space(), space()));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn spelled_text(text: &str, random: &mut fastrand::Rng) -> String {
    if random.bool() {
        return json!(text).to_string();
    }
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

fn quoted_hex(id: &[u8]) -> String {
    format!("\"{}\"", hex(id))
}

fn spelled_endpoint(endpoint: &Endpoint) -> String {
    let mut json = json!({ "serviceName": endpoint.service_name, "port": endpoint.port });
    if let Ok(ipv4) = <[u8; 4]>::try_from(&endpoint.ipv4[..]) {
        json["ipv6"] = json!(std::net::Ipv4Addr::from(ipv4).to_string());
    }
    if let Ok(ipv6) = <[u8; 16]>::try_from(&endpoint.ipv6[..]) {
        json["ipv4"] = json!(std::net::Ipv6Addr::from(ipv6).segments().map(|group| format!("{group:X}")).join(":"));
    }
    json.to_string()
}

fn from_proto3(list: &[u8]) -> Batch {
    let mut batch = Batch::default();
    proto3::decode(list, &Limits::default(), &mut batch).unwrap();
    batch
}

fn from_json(list: &str) -> Batch {
    let mut batch = Batch::default();
    json_v2::decode(list.as_bytes(), &Limits::default(), &mut batch).unwrap();
    batch
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_span_in_any_spelling_is_the_same_bytes(spans in proptest::collection::vec(span(), 0..4), seed in any::<u64>()) {
        let mut random = fastrand::Rng::with_seed(seed);
        let batch = from_proto3(&ListOfSpans { spans: spans.clone() }.encode_to_vec());
        let json: Vec<String> = spans.iter().map(|span| spelled(span, &mut random)).collect();
        prop_assert_eq!(&from_json(&format!("[{}]", json.join(" ,\n"))), &batch);

        let normal: Vec<Span> = spans.iter().map(normal).collect();
        prop_assert_eq!(ListOfSpans::decode(&batch.body[..]).unwrap().spans, normal);
    }

    #[test]
    fn canonical_bytes_are_a_fixed_point(spans in proptest::collection::vec(span(), 1..4)) {
        let batch = from_proto3(&ListOfSpans { spans }.encode_to_vec());
        prop_assert_eq!(&from_proto3(&batch.body), &batch);

        let mut again = Batch::default();
        for span in canonical::elements(&batch.body) {
            again.push(&mut canonical::read(span.unwrap()).unwrap());
        }
        prop_assert_eq!(&again, &batch);

        let mut json = Vec::new();
        json_v2::encode_list([&batch.body[..]], &mut json).unwrap();
        let json = String::from_utf8(json).unwrap();
        prop_assert!(serde_json::from_str::<Vec<BTreeMap<String, serde_json::Value>>>(&json).is_ok());
        prop_assert_eq!(&from_json(&json), &batch);
    }

    #[test]
    fn a_changed_proto3_list_is_read_as_the_generated_types_read_it_or_refused(
        spans in proptest::collection::vec(span(), 1..3),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut list = ListOfSpans { spans }.encode_to_vec();
        for (at, byte) in changes {
            *at.get_mut(&mut list) = byte;
        }
        let mut batch = Batch::default();
        let ours = proto3::decode(&list, &Limits::default(), &mut batch);
        match (ours, ListOfSpans::decode(&list[..])) {
            (Ok(()), Ok(_)) => against_proto3::compare(&list, &batch),
            // Zipkin takes broken UTF-8, fields of a wrong wire type and a cut list tag; protobuf does not.
            (Ok(()), Err(_)) => {}
            // Ids, ports, lengths of zero, groups: protobuf knows nothing of them. The frame of it we read alike.
            (Err(error), Ok(_)) => {
                let framing = error.reason.starts_with("Truncated") || error.reason.starts_with("Greater");
                prop_assert!(!framing, "{}", error);
                prop_assert_eq!(batch, Batch::default());
            }
            (Err(_), Err(_)) => prop_assert_eq!(batch, Batch::default()),
        }
    }

    #[test]
    fn a_changed_json_list_never_leaves_half_a_message(
        spans in proptest::collection::vec(span(), 1..3),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        seed in any::<u64>(),
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let json: Vec<String> = spans.iter().map(|span| spelled(span, &mut random)).collect();
        let mut list = format!("[{}]", json.join(",")).into_bytes();
        for (at, byte) in changes {
            *at.get_mut(&mut list) = byte;
        }
        let mut batch = from_json(r#"[{"traceId":"1","id":"2"}]"#);
        let before = batch.clone();
        match json_v2::decode(&list, &Limits::default(), &mut batch) {
            Ok(()) => prop_assert!(canonical::elements(&batch.body).all(|span| canonical::read(span.unwrap()).is_ok())),
            Err(_) => prop_assert_eq!(batch, before),
        }
    }

    #[test]
    fn what_nobody_asked_for_is_passed_over(value in any_json()) {
        let list = format!(r#"[{{"traceId":"1","x":{value},"id":"2","localEndpoint":{{"y":{value}}},"name":"n"}}]"#);
        prop_assert_eq!(from_json(&list), from_json(r#"[{"traceId":"1","id":"2","name":"n"}]"#));
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        text().prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(|list| json!(list)),
            proptest::collection::btree_map(text(), inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}
