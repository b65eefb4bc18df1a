//! JSON v2 and proto3, against the reference codec's answers (tests/data/*/ORIGIN.md).

use spangate::span::Batch;
use spangate::wire::{DecodeError, Limits, json_v2};

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

/// gson's messages name line, column and path; ours name the place in their own way.
fn same_words(zipkin: &str, ours: &str) -> bool {
    let words = zipkin.split(" at line ").next().unwrap();
    ours.starts_with(words)
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
