//! JSON v2 and proto3, against the reference codec's answers (tests/data/*/ORIGIN.md).

use spangate::span::Batch;
use spangate::wire::{Decode, DecodeError, Limits, json_v2, proto3};

use crate::support::spans::{Traces, json_body, proto3_body};
use crate::support::vectors::{hex, rows, unescape, unhex};

/// Where we differ from Zipkin's JSON reader: the bytes or the refusal, and why. Everything else must agree.
const DIFFERENT_JSON: [(&str, Result<&str, &str>); 8] = [
    // A collector refuses it in proto3.
    ("an id of one zero", Err("id is all zeros")),
    // Zipkin finds v1 by a text search before it reads.
    ("a v1 span", Err("Expected a JSON_V2 encoded list, but received: JSON_V1\n")),
    ("a hundred deep", Err("Nesting limit 64 reached")),
    ("three hundred deep", Err("Nesting limit 64 reached")),
    // Zipkin's proto3 reader makes 64 bits of it, its JSON reader 128; one span must be one.
    ("a trace id of 20, high bits zero", Ok("0a140a0800000000000000011a08000000000000000b")),
    // Likewise IPv4 in IPv6.
    ("ipv4 <::102:304>", Ok("0a1c0a0800000000000000011a0800000000000000024206120401020304")),
    ("ipv4 <::>", Ok("0a1c0a0800000000000000011a0800000000000000024206120400000000")),
    // Zipkin's writer miscounts and leaves bytes of 0 at the end.
    ("two high surrogates and a low", Ok("0a200a0800000000000000011a0800000000000000025a0a0a016112053ff09f9880")),
];

#[test]
fn json_is_read_as_zipkin_reads_it() {
    let wrong = rows(include_str!("../../data/json_v2/decode.tsv")).filter_map(|row| {
        let [name, body, outcome, expected] = row[..] else { panic!("{row:?}") };
        let expected = if outcome == "ok" { Ok(expected) } else { Err(expected) };
        let different = DIFFERENT_JSON.iter().find(|(case, _)| *case == name);
        let expected = different.map_or(expected, |(_, ours)| *ours);
        let mut batch = Batch::default();
        let decoded = json_v2::decode(&unescape(body), &Limits::default(), &mut batch);
        disagreement(name, expected, decoded, &batch)
    });
    assert_eq!(wrong.collect::<Vec<_>>(), [""; 0]);
}

fn disagreement(
    name: &str,
    expected: Result<&str, &str>,
    decoded: Result<(), DecodeError>,
    batch: &Batch,
) -> Option<String> {
    let agree = match (expected, &decoded) {
        (Ok(bytes), Ok(())) => hex(&batch.body) == bytes,
        (Err(words), Err(error)) => same_words(words, &error.reason) && *batch == Batch::default(),
        _ => false,
    };
    (!agree).then(|| format!("{name}: expected {expected:?}, got {decoded:?} {}", hex(&batch.body)))
}

/// Zipkin's messages name line and column, or the position; ours name the place in their own way.
fn same_words(zipkin: &str, ours: &str) -> bool {
    let words = zipkin.split(" at line ").next().and_then(|words| words.split(" at position ").next());
    ours.starts_with(words.unwrap())
}

#[test]
fn json_is_written_as_zipkin_writes_it() {
    for row in rows(include_str!("../../data/json_v2/encode.tsv")) {
        let [list, expected] = row[..] else { panic!("{row:?}") };
        let mut out = Vec::new();
        json_v2::encode_list([&unhex(list)[..]], &mut out).unwrap();
        assert_eq!(String::from_utf8(out), String::from_utf8(unescape(expected)));
    }
}

#[test]
fn whole_traces_are_the_same_bytes_from_json_and_from_proto3() {
    let spans = Traces::seeded(7).spans(300);
    let (mut from_json, mut from_proto3) = (Batch::default(), Batch::default());
    json_v2::decode(&json_body(&spans), &Limits::default(), &mut from_json).unwrap();
    proto3::decode(&proto3_body(&spans), &Limits::default(), &mut from_proto3).unwrap();
    assert_eq!(from_json, from_proto3);
    assert_eq!(from_json.items.len(), 300);
    for (made, item) in spans.iter().zip(&from_json.items) {
        let low = &made.trace_id[made.trace_id.len() - 16..];
        assert_eq!(format!("{:016x}", item.key), low);
        assert_eq!(from_json.labels[usize::from(item.label)], made.service);
    }
}

#[test]
fn a_surrogate_in_utf8_is_one_replacement_in_every_encoding() {
    let json = b"[{\"traceId\":\"1\",\"id\":\"2\",\"name\":\"a\xed\xa0\xbd\xff\"}]";
    let proto3 = unhex("0a1b0a0800000000000000011a0800000000000000022a0561eda0bdff");
    let (mut from_json, mut from_proto3) = (Batch::default(), Batch::default());
    json_v2::decode(json, &Limits::default(), &mut from_json).unwrap();
    proto3::decode(&proto3, &Limits::default(), &mut from_proto3).unwrap();
    assert_eq!(hex(&from_json.body), "0a1d0a0800000000000000011a0800000000000000022a0761efbfbdefbfbd");
    assert_eq!(from_json, from_proto3);
}

/// Where we differ from Zipkin's proto3 reader: the bytes or the refusal, and why. Everything else must agree.
const DIFFERENT_PROTO3: [(&str, Result<&str, &str>); 16] = [
    ("a trace id of 33 bytes", Err("traceId.length > 32")),
    // Zipkin reads its own answer to this as 64 bits.
    ("a trace id of 12 bytes with leading zeros", Ok("0a140a0800000101010101011a080000000000000002")),
    ("an id of one zero", Err("id is all zeros")),
    // As protobuf's own readers: a number that no kind has, a negative int32, a bool of two bytes.
    ("negative kind", Ok(MINIMAL)),
    ("port -1 of ten bytes", Ok(MINIMAL)),
    ("debug as a long varint", Ok("0a1e0a10463ac35c9f6413ad48485a3953bb61241a0800000000000000026001")),
    ("shared as a long varint", Ok("0a1e0a10463ac35c9f6413ad48485a3953bb61241a0800000000000000026801")),
    ("field 0", Err("Malformed")),
    // Zipkin drops all that follows and says yes.
    ("an element of length 0", Err("Malformed")),
    ("an element of length 0 before a span", Err("Malformed")),
    // Zipkin does not look at the list's tags.
    ("another field in the list", Err("Malformed")),
    ("a varint in the list", Err("Malformed")),
    ("JSON", Err("Malformed")),
    ("a negative length", Err("Truncated: length 4294967295 > bytes available 0")),
    // Zipkin reads on beyond the end of a nested message.
    ("a nested length beyond its endpoint", Err("Truncated: length 9 > bytes available 1")),
    ("an unknown field beyond the span", Err("Truncated: length 100 > bytes available 0")),
];

/// A span of two ids.
const MINIMAL: &str = "0a1c0a10463ac35c9f6413ad48485a3953bb61241a080000000000000002";

#[test]
fn proto3_is_read_as_zipkin_reads_it() {
    let wrong = rows(include_str!("../../data/proto3/decode.tsv")).filter_map(|row| {
        let [name, body, outcome, expected] = row[..] else { panic!("{row:?}") };
        let expected = if outcome == "ok" { Ok(expected) } else { Err(expected) };
        let different = DIFFERENT_PROTO3.iter().find(|(case, _)| *case == name);
        let expected = different.map_or(expected, |(_, ours)| *ours);
        let mut batch = Batch::default();
        let decoded = proto3::decode(&unhex(body), &Limits::default(), &mut batch);
        disagreement(name, expected, decoded, &batch)
    });
    assert_eq!(wrong.collect::<Vec<_>>(), [""; 0]);
}

/// The span of which zipkin.md gives the bytes in each encoding; here as JSON.
const VECTOR_JSON: &str = r#"[{"traceId":"463ac35c9f6413ad48485a3953bb6124","parentId":"1","id":"2","kind":"CLIENT",
    "name":"get","timestamp":1472470996199000,"duration":207000,"localEndpoint":{"serviceName":"fe","ipv4":"127.0.0.1"},
    "remoteEndpoint":{"serviceName":"be","ipv4":"192.168.99.101","port":9000},
    "annotations":[{"timestamp":1472470996238000,"value":"foo"}],"tags":{"http.path":"/api"},"debug":true}]"#;

const VECTOR_PROTO3: &str = "0a7a0a10463ac35c9f6413ad48485a3953bb6124120800000000000000011a08000000000000000220012a036765\
    743158a6ab5e343b05003898d10c420a0a02666512047f0000014a0d0a0262651204c0a8636520a846520e09b03eac5e343b05001203666f6f5a\
    110a09687474702e7061746812042f6170696001";

#[test]
fn a_body_cut_or_changed_at_any_byte_is_whole_or_refused_and_the_batch_stays() {
    for (decode, body) in
        [(json_v2::decode as Decode, VECTOR_JSON.as_bytes().to_vec()), (proto3::decode as Decode, unhex(VECTOR_PROTO3))]
    {
        let mut whole = Batch::default();
        decode(&body, &Limits::default(), &mut whole).unwrap();
        assert_eq!(hex(&whole.body), VECTOR_PROTO3);
        for at in 1..body.len() {
            let mut batch = whole.clone();
            decode(&body[..at], &Limits::default(), &mut batch).unwrap_err();
            assert_eq!(batch, whole, "cut at {at}");
            for bit in 0..8 {
                let mut changed = body.clone();
                changed[at] ^= 1 << bit;
                if decode(&changed, &Limits::default(), &mut batch).is_err() {
                    assert_eq!(batch, whole, "bit {bit} of byte {at}");
                }
                batch = whole.clone();
            }
        }
    }
}

#[test]
fn each_limit_holds_at_its_number_and_refuses_one_more() {
    let two_tags = r#"{"traceId":"1","id":"2","tags":{"a":"1","b":"2"},"annotations":[{"timestamp":1,"value":"c"}]}"#;
    let json = format!("[{two_tags},{two_tags}]");
    let mut whole = Batch::default();
    json_v2::decode(json.as_bytes(), &Limits::default(), &mut whole).unwrap();
    let fits = Limits { spans: 2, entries: 3, span_bytes: whole.last_len(), depth: 4 };
    let proto3_body = whole.body.clone();
    let outcome = |decode: Decode, body: &[u8], limits: Limits| decode(body, &limits, &mut Batch::default());
    for (limits, what) in [
        (Limits { spans: 1, ..fits }, "Over the limit of 1 spans in a message: 2"),
        (Limits { entries: 2, ..fits }, "Over the limit of 2 annotations and tags of a span: 3"),
        (Limits { span_bytes: fits.span_bytes - 1, ..fits }, "Over the limit of "),
    ] {
        for (decode, body) in [(json_v2::decode as Decode, json.as_bytes()), (proto3::decode, &proto3_body)] {
            assert_eq!(outcome(decode, body, fits), Ok(()));
            let error = outcome(decode, body, limits).unwrap_err();
            assert!(error.reason.starts_with(what), "{error}");
        }
    }
    let error = outcome(json_v2::decode, json.as_bytes(), Limits { depth: 3, ..fits }).unwrap_err();
    assert!(error.reason.starts_with("Nesting limit 3 reached"), "{error}");
}

#[test]
fn an_error_names_the_span_the_field_and_the_byte() {
    let json = br#"[{"traceId":"1","id":"2"},{"traceId":"1","id":"2","remoteEndpoint":{"port":70000}}]"#;
    let error = json_v2::decode(json, &Limits::default(), &mut Batch::default()).unwrap_err();
    assert_eq!((error.span, error.field, error.offset), (Some(1), "remoteEndpoint.port", Some(80)));
    let place = "(span 1, remoteEndpoint.port, byte 80)";
    assert_eq!(error.reason, format!("invalid port 70000 reading List<Span> from json {place}"));
}
