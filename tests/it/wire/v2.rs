//! JSON v2 and proto3, against the reference codec's answers (tests/data/*/ORIGIN.md).

use spangate::span::Batch;
use spangate::wire::{DecodeError, Limits, json_v2, proto3};

use crate::support::spans::{Traces, json_body, proto3_body};
use crate::support::vectors::{hex, rows, unescape, unhex};

/// Where we differ from Zipkin's JSON reader: the bytes or the refusal, and why. Everything else must agree.
const DIFFERENT_JSON: [(&str, Result<&str, &str>); 9] = [
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
    // Java puts one U+FFFD for a surrogate in UTF-8, Rust one for each byte.
    ("a UTF-8 surrogate", Ok("0a240a0800000000000000011a0800000000000000025a0e0a01611209efbfbdefbfbdefbfbd")),
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
    ("a negative length", Err("Truncated: length 18446744073709551615 > bytes available 0")),
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
