//! proto3 spans written by hand from their JSON, sharing nothing with the product's encoder.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A length-delimited field; an empty one is left out, as proto3 does.
pub fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    if !value.is_empty() {
        varint(out, field << 3 | 2);
        varint(out, value.len() as u64);
        out.extend(value);
    }
}

pub fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        varint(out, field << 3);
        varint(out, value);
    }
}

fn fixed(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        varint(out, field << 3 | 1);
        out.extend(value.to_le_bytes());
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("an id is hex");
    (0..text.len()).step_by(2).map(digits).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

fn endpoint(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 1, text(value, "serviceName").as_bytes());
    if let Ok(ipv4) = text(value, "ipv4").parse::<Ipv4Addr>() {
        bytes(&mut out, 2, &ipv4.octets());
    }
    if let Ok(ipv6) = text(value, "ipv6").parse::<Ipv6Addr>() {
        bytes(&mut out, 3, &ipv6.octets());
    }
    number(&mut out, 4, value["port"].as_u64().unwrap_or(0));
    out
}

/// A span from normalised JSON v2, as Zipkin's API gives it.
pub fn span(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 1, &hex(text(value, "traceId")));
    bytes(&mut out, 2, &hex(text(value, "parentId")));
    bytes(&mut out, 3, &hex(text(value, "id")));
    let kinds = ["", "CLIENT", "SERVER", "PRODUCER", "CONSUMER"];
    let kind = kinds.iter().position(|kind| *kind == text(value, "kind")).expect("a kind of Zipkin's");
    number(&mut out, 4, kind as u64);
    bytes(&mut out, 5, text(value, "name").as_bytes());
    fixed(&mut out, 6, value["timestamp"].as_u64().unwrap_or(0));
    number(&mut out, 7, value["duration"].as_u64().unwrap_or(0));
    bytes(&mut out, 8, &endpoint(&value["localEndpoint"]));
    bytes(&mut out, 9, &endpoint(&value["remoteEndpoint"]));
    for annotation in value["annotations"].as_array().into_iter().flatten() {
        let mut inner = Vec::new();
        fixed(&mut inner, 1, annotation["timestamp"].as_u64().unwrap_or(0));
        bytes(&mut inner, 2, text(annotation, "value").as_bytes());
        bytes(&mut out, 10, &inner);
    }
    for (key, tag) in value["tags"].as_object().into_iter().flatten() {
        let mut inner = Vec::new();
        bytes(&mut inner, 1, key.as_bytes());
        bytes(&mut inner, 2, tag.as_str().expect("a tag is a string").as_bytes());
        bytes(&mut out, 11, &inner);
    }
    number(&mut out, 12, u64::from(value["debug"] == Value::Bool(true)));
    number(&mut out, 13, u64::from(value["shared"] == Value::Bool(true)));
    out
}

/// A `ListOfSpans` of spans' bytes.
pub fn list(spans: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    spans.iter().for_each(|span| bytes(&mut out, 1, span));
    out
}

/// (what, the id to ask for, a span's bytes) that only a reader as lenient as Zipkin's takes.
pub fn odd() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let ids = |trace: &[u8], id: &[u8]| {
        let mut out = Vec::new();
        bytes(&mut out, 1, trace);
        bytes(&mut out, 3, id);
        out
    };
    let with = |trace: u8, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut out = ids(&[0xd0, trace], &[1]);
        edit(&mut out);
        out
    };
    vec![
        ("short ids", "d001", ids(&[0xd0, 1], &[1])),
        ("a trace id of 9 bytes", "0000000000000002000000000000d003", ids(&[2, 0, 0, 0, 0, 0, 0, 0xd0, 3], &[1])),
        ("a kind to come", "d004", with(4, &|out| number(out, 4, 9))),
        (
            "fields to come",
            "d005",
            with(5, &|out| {
                number(out, 14, 7);
                bytes(out, 15, b"new");
                fixed(out, 16, 1);
                out.extend([0x8d, 0x01, 1, 2, 3, 4]);
            }),
        ),
        ("a known field of another wire type", "d006", with(6, &|out| number(out, 5, 1))),
        ("an annotation without value", "d007", with(7, &|out| bytes(out, 10, &[9, 1, 0, 0, 0, 0, 0, 0, 0]))),
        (
            "a tag without value, one without key",
            "d008",
            with(8, &|out| {
                bytes(out, 11, &[0x0a, 1, b'k']);
                bytes(out, 11, &[0x12, 1, b'v']);
            }),
        ),
        ("an ipv4 of 5 bytes", "d009", with(9, &|out| bytes(out, 8, &[0x0a, 1, b's', 0x12, 5, 1, 2, 3, 4, 5]))),
        ("a negative duration", "d00a", with(10, &|out| number(out, 7, u64::MAX))),
        ("names in capitals", "d00b", with(11, &|out| bytes(out, 5, "ÄB".as_bytes()))),
    ]
}
