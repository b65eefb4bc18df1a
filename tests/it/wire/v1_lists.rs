//! Lists of v1 spans in JSON and Thrift, against the reference codec's answers (tests/data/*/ORIGIN.md).

use proptest::prelude::*;
use spangate::span::{Batch, canonical};
use spangate::wire::v1::{Options, Scratch, decode_list, decode_struct};
use spangate::wire::{DecodeError, Limits, json_v1};

use crate::support::vectors::{hex, rows, unescape, unhex};

type Decode = fn(&[u8], &Limits, &Options, &mut Batch) -> Result<(), DecodeError>;

const DROP: Options = Options { keep_binary_annotations: false };

/// Where we differ from Zipkin's JSON v1 reader, and why. Everything else must agree.
const DIFFERENT: [(&str, &str); 4] = [
    // Zipkin's server finds v2 by a text search before it reads.
    ("the v2 field tags", RECEIVED_V2),
    ("the v2 field localEndpoint", RECEIVED_V2),
    ("the v2 field remoteEndpoint", RECEIVED_V2),
    ("a hundred deep", "Nesting limit 64 reached"),
];

const RECEIVED_V2: &str = "Expected a JSON_V1 encoded list, but received: JSON_V2\n";

fn decoded(decode: Decode, body: &[u8], options: &Options) -> Result<Batch, DecodeError> {
    let mut batch = Batch::default();
    let result = decode(body, &Limits::default(), options, &mut batch);
    if result.is_err() {
        assert_eq!(batch, Batch::default(), "a refused message left something");
    }
    result.map(|()| batch)
}

/// Zipkin's messages name line and column; ours name the place in their own way.
fn same_words(zipkin: &str, ours: &str) -> bool {
    ours.trim_start().starts_with(zipkin.split(" at line ").next().unwrap())
}

#[test]
fn json_is_read_as_zipkin_reads_it() {
    let mut wrong = Vec::new();
    for row in rows(include_str!("../../data/json_v1/decode.tsv")) {
        let [name, body, outcome, expected] = row[..] else { panic!("{row:?}") };
        let different = DIFFERENT.iter().find(|(case, _)| *case == name).map(|(_, words)| *words);
        let ours = decoded(json_v1::decode, &unescape(body), &DROP);
        let agree = match (&ours, different, outcome) {
            (Err(error), Some(words), _) => error.reason.starts_with(words),
            (Err(error), None, "error") => same_words(expected, &error.reason),
            (Ok(batch), None, "ok") => hex(&batch.body) == expected,
            _ => false,
        };
        if !agree {
            wrong.push(format!(
                "{name}: {body}\n  zipkin {outcome} {expected}\n  ours   {:?}",
                ours.map(|b| hex(&b.body))
            ));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn thrift_is_read_as_zipkin_reads_it() {
    for row in rows(include_str!("../../data/thrift_v1/lists.tsv")) {
        let [name, body, outcome, expected] = row[..] else { panic!("{row:?}") };
        match (decoded(decode_list, &unhex(body), &DROP), outcome) {
            (Ok(batch), "ok") => assert_eq!(hex(&batch.body), expected, "{name}"),
            (Err(error), "error") => assert!(error.reason.contains(" reading List<Span> from TBinary ("), "{error}"),
            (ours, _) => panic!("{name}: zipkin {outcome} {expected}, ours {ours:?}"),
        }
    }
}

#[test]
fn numbers_and_booleans_are_kept_as_tags_where_asked() {
    let body = br#"[{"traceId":"1","id":"2","binaryAnnotations":[
        {"key":"a","value":1.50,"type":"DOUBLE"},{"key":"b","value":true},{"key":"c","value":false},{"key":"d","value":{}},
        {"key":"e","value":"text","value":7},{"key":"sa","value":3},{"key":"ca","value":false,"endpoint":{"port":1}}]}]"#;
    let kept = decoded(json_v1::decode, body, &Options::default()).unwrap();
    let span = canonical::read(canonical::span_bytes(&kept.body).unwrap()).unwrap();
    let tags: Vec<_> = span.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!((tags.join(" ").as_str(), span.remote), ("a=1.50 b=true c=false e=text sa=3", None));
    let dropped = decoded(json_v1::decode, body, &DROP).unwrap();
    let span = canonical::read(canonical::span_bytes(&dropped.body).unwrap()).unwrap();
    assert_eq!(span.tags, [("e".into(), "text".into())]);
}

/// A JSON list, and the Thrift list of the same two spans.
fn lists() -> [(Decode, Vec<u8>); 2] {
    let endpoint = r#"{"serviceName":"Fé","ipv4":"1.2.3.4","port":80}"#;
    let span = |id: u8| {
        format!(
            r#"{{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"{id}","parentId":"9","name":"GET\n","timestamp":5,
            "duration":6,"annotations":[{{"timestamp":5,"value":"cs","endpoint":{endpoint}}}],"debug":true,
            "binaryAnnotations":[{{"key":"sa","value":true,"endpoint":{endpoint}}},{{"key":"a","value":"b"}}]}}"#
        )
    };
    let json = format!("[{},{}]", span(1), span(2)).into_bytes();
    let row = rows(include_str!("../../data/thrift_v1/reference.tsv"))
        .filter(|row| row[0].starts_with("random") && row[2] == "ok")
        .max_by_key(|row| row[1].len())
        .unwrap();
    let span = unhex(row[1]);
    let thrift = [&[12, 0, 0, 0, 2][..], &span, &span].concat();
    [(json_v1::decode, json), (decode_list, thrift)]
}

#[test]
fn a_list_cut_anywhere_is_refused_and_leaves_the_batch_as_it_was() {
    for (decode, body) in lists() {
        let mut batch = decoded(decode, &body, &DROP).unwrap();
        let whole = batch.clone();
        for cut in 1..body.len() {
            let error = decode(&body[..cut], &Limits::default(), &DROP, &mut batch).unwrap_err();
            assert!(error.offset.unwrap() <= cut, "{error}");
            assert_eq!(batch, whole, "cut at {cut}");
        }
    }
}

#[test]
fn any_flipped_bit_is_an_error_or_another_list_but_never_a_panic() {
    for (decode, body) in lists() {
        let mut batch = decoded(decode, &body, &DROP).unwrap();
        let whole = batch.clone();
        for at in 0..body.len() {
            for bit in 0..8 {
                let mut changed = body.clone();
                changed[at] ^= 1 << bit;
                match decode(&changed, &Limits::default(), &DROP, &mut batch) {
                    Ok(()) => {
                        assert!(canonical::elements(&batch.body).all(|span| canonical::read(span.unwrap()).is_ok()))
                    }
                    Err(_) => assert_eq!(batch, whole, "bit {bit} of byte {at}"),
                }
                batch = whole.clone();
            }
        }
    }
}

#[test]
fn an_error_names_the_span_the_field_and_the_byte() {
    let body = br#"[{"traceId":"1","id":"2"},{"traceId":"1","id":"2","annotations":[{"endpoint":{"port":70000}}]}]"#;
    let error = decoded(json_v1::decode, body, &DROP).unwrap_err();
    assert_eq!((error.span, error.field, error.offset), (Some(1), "annotations.endpoint.port", Some(90)));
    let body = br#"[{"traceId":"1","id":"2"},{"traceId":"1","id":"0"}]"#;
    let error = decoded(json_v1::decode, body, &DROP).unwrap_err();
    assert_eq!(
        (error.span, error.reason.as_str()),
        (Some(1), "id == 0 reading List<Span> from json (span 1, id, byte 26)")
    );
    let error = decoded(decode_list, b"\x0c\0\0\0\x01\x0a\0\x01\0", &DROP).unwrap_err();
    assert_eq!((error.span, error.offset), (Some(0), Some(8)));
}

#[test]
fn each_limit_holds_at_its_number_and_refuses_one_more() {
    for (decode, body) in lists() {
        let whole = decoded(decode, &body, &DROP).unwrap();
        let spans = whole.items.len();
        let outcome = |limits: Limits| decode(&body, &limits, &DROP, &mut Batch::default()).map_err(|e| e.reason);
        let fits = Limits { spans, ..Limits::default() };
        assert_eq!(outcome(fits), Ok(()));
        let told = outcome(Limits { spans: spans - 1, ..fits }).unwrap_err();
        assert!(told.starts_with(&format!("Over the limit of {} spans in a message: {spans}", spans - 1)), "{told}");
        let told = outcome(Limits { entries: 2, ..fits }).unwrap_err();
        assert!(told.contains('2'), "{told}");
        assert!(outcome(Limits { span_bytes: whole.last_len() / 2, ..fits }).is_err());
    }
}

/// A v1 span's name is repeated in each of the up to 256 spans that come of it.
#[test]
fn a_span_may_not_become_many_times_its_size() {
    let list = |name: usize| {
        let annotations: Vec<_> = (0..250)
            .map(|service| format!(r#"{{"timestamp":1,"value":"x","endpoint":{{"serviceName":"{service}"}}}}"#))
            .collect();
        let name = "n".repeat(name);
        format!(r#"[{{"traceId":"1","id":"2","name":"{name}","annotations":[{}]}}]"#, annotations.join(","))
            .into_bytes()
    };
    assert_eq!(decoded(json_v1::decode, &list(100), &DROP).unwrap().items.len(), 250);
    let told = decoded(json_v1::decode, &list(3000), &DROP).unwrap_err();
    assert!(told.reason.starts_with("span of "), "{told}");
}

prop_compose! {
    fn any_endpoint()(name in "[a-zA-Zé]{0,3}", ipv4 in any::<[u8; 4]>(), port in any::<u16>()) -> (String, [u8; 4], u16) {
        (name, ipv4, port)
    }
}

type Endpoint = Option<(String, [u8; 4], u16)>;

/// A span both ways: JSON made by serde, Thrift by hand.
#[derive(Debug, Clone)]
struct Both {
    ids: (u64, u64, u64, u64),
    name: String,
    times: (i64, i64),
    annotations: Vec<(i64, String, Endpoint)>,
    tags: Vec<(String, String, Endpoint)>,
    debug: bool,
}

prop_compose! {
    fn both()(
        ids in (any::<u64>(), 1..=u64::MAX, 1..=u64::MAX, any::<u64>()),
        name in "[A-Za-z\"\\\\\n é😀]{0,6}",
        times in (0..9i64, 0..9i64),
        annotations in proptest::collection::vec((1..9i64, "(cs|cr|sr|ss|ms|mr|ws|wr|[a-z]{0,3})", proptest::option::of(any_endpoint())), 0..5),
        tags in proptest::collection::vec(("(sa|ca|ma|lc|[a-z]{0,2})", "[a-z\"é]{0,4}", proptest::option::of(any_endpoint())), 0..4),
        debug in any::<bool>(),
    ) -> Both {
        Both { ids, name, times, annotations, tags, debug }
    }
}

fn as_json(span: &Both) -> serde_json::Value {
    let endpoint = |endpoint: &Endpoint| {
        endpoint.as_ref().map(|(name, ipv4, port)| {
            let ipv4 = std::net::Ipv4Addr::from(*ipv4).to_string();
            serde_json::json!({ "serviceName": name, "ipv4": ipv4, "port": port })
        })
    };
    let annotations: Vec<_> = span
        .annotations
        .iter()
        .map(|(at, value, host)| serde_json::json!({ "timestamp": at, "value": value, "endpoint": endpoint(host) }))
        .collect();
    let tags: Vec<_> = span
        .tags
        .iter()
        .map(|(key, value, host)| serde_json::json!({ "key": key, "value": value, "endpoint": endpoint(host) }))
        .collect();
    let (high, low, id, parent) = span.ids;
    serde_json::json!({
        "traceId": format!("{high:016x}{low:016x}"), "id": format!("{id:x}"), "parentId": format!("{parent:x}"),
        "name": span.name, "timestamp": span.times.0, "duration": span.times.1, "debug": span.debug,
        "annotations": annotations, "binaryAnnotations": tags,
    })
}

/// Through the generated types.
fn as_thrift(span: &Both) -> Vec<u8> {
    use crate::support::thrift as support;
    use spangate::wire::r#gen::zipkin_core as core;
    let host = |endpoint: &Endpoint| {
        endpoint
            .as_ref()
            .map(|(name, ipv4, port)| core::Endpoint::new(i32::from_be_bytes(*ipv4), *port as i16, name.clone(), None))
    };
    let annotations: Vec<_> =
        span.annotations.iter().map(|(at, value, e)| core::Annotation::new(*at, value.clone(), host(e))).collect();
    let tags: Vec<_> = span
        .tags
        .iter()
        .map(|(key, value, e)| {
            core::BinaryAnnotation::new(key.clone(), value.clone().into_bytes(), core::AnnotationType::STRING, host(e))
        })
        .collect();
    let (high, low, id, parent) = span.ids;
    support::bytes(&core::Span::new(
        low as i64,
        span.name.clone(),
        id as i64,
        parent as i64,
        annotations,
        tags,
        span.debug,
        span.times.0,
        span.times.1,
        high as i64,
    ))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_span_in_json_and_in_thrift_is_the_same_bytes(spans in proptest::collection::vec(both(), 0..4)) {
        // 0.0.0.0 is absent in Thrift and an address in JSON.
        let zero = |e: &Endpoint| e.as_ref().is_some_and(|(_, ipv4, _)| *ipv4 == [0; 4]);
        prop_assume!(!spans.iter().any(|s| s.annotations.iter().any(|a| zero(&a.2)) || s.tags.iter().any(|t| zero(&t.2))));
        let json: Vec<_> = spans.iter().map(as_json).collect();
        let from_json = decoded(json_v1::decode, serde_json::to_string(&json).unwrap().as_bytes(), &DROP).unwrap();
        let mut list = vec![12];
        list.extend((spans.len() as u32).to_be_bytes());
        spans.iter().for_each(|span| list.extend(as_thrift(span)));
        let from_thrift = decoded(decode_list, &list, &DROP).unwrap();
        prop_assert_eq!(&from_json, &from_thrift);

        let (mut scratch, mut one_by_one) = (Scratch::default(), Batch::default());
        for span in &spans {
            decode_struct(&as_thrift(span), &Limits::default(), &DROP, &mut scratch, &mut one_by_one).unwrap();
        }
        prop_assert_eq!(from_thrift, one_by_one);
    }
}
