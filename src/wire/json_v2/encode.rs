//! Canonical spans written as Zipkin's JSON v2, byte for byte as its `V2SpanWriter` does.
//!
//! For the archive, for collectors that want JSON, and for dead letters. What is absent is left
//! out, ids have 16 or 32 digits, `/` and all beyond ASCII stand as they are, but for U+2028 and
//! U+2029, which end a line in JavaScript.

use std::io::Write;

use super::ip;
use crate::span::proto::Malformed;
use crate::span::{Annotation, Endpoint, Span, canonical};

/// Appends the spans of `pieces`, each a canonical `ListOfSpans`, as one JSON list.
///
/// # Errors
/// Where a piece is not canonical; the offset counts from that piece's start, and `out` is as it was.
pub fn encode_list<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let start = out.len();
    out.push(b'[');
    for span in pieces.into_iter().flat_map(canonical::elements) {
        if out.len() > start + 1 {
            out.push(b',');
        }
        span.and_then(|span| encode_span(span, out)).inspect_err(|_| out.truncate(start))?;
    }
    out.push(b']');
    Ok(())
}

/// Appends one span, given its canonical bytes without the list's tag and length.
///
/// # Errors
/// Where the bytes are not canonical; `out` is then as it was.
pub fn encode_span(span: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    write_span(&canonical::read(span)?, out);
    Ok(())
}

fn write_span(span: &Span<'_>, out: &mut Vec<u8>) {
    put(out, format_args!("{{\"traceId\":\"{}\"", span.trace_id));
    if span.parent_id != 0 {
        put(out, format_args!(",\"parentId\":\"{:016x}\"", span.parent_id));
    }
    put(out, format_args!(",\"id\":\"{:016x}\"", span.id));
    if let Some(kind) = span.kind {
        put(out, format_args!(",\"kind\":\"{}\"", kind.name()));
    }
    if let Some(name) = &span.name {
        out.extend_from_slice(b",\"name\":");
        text(name, out);
    }
    if span.timestamp_us != 0 {
        put(out, format_args!(",\"timestamp\":{}", span.timestamp_us));
    }
    if span.duration_us != 0 {
        put(out, format_args!(",\"duration\":{}", span.duration_us));
    }
    for (field, endpoint) in [("local", &span.local), ("remote", &span.remote)] {
        if let Some(endpoint) = endpoint {
            put(out, format_args!(",\"{field}Endpoint\":"));
            write_endpoint(endpoint, out);
        }
    }
    write_annotations(&span.annotations, out);
    write_tags(span, out);
    if span.debug {
        out.extend_from_slice(b",\"debug\":true");
    }
    if span.shared {
        out.extend_from_slice(b",\"shared\":true");
    }
    out.push(b'}');
}

fn write_endpoint(endpoint: &Endpoint<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    if let Some(name) = &endpoint.service_name {
        out.extend_from_slice(b",\"serviceName\":");
        text(name, out);
    }
    if let Some([a, b, c, d]) = endpoint.ipv4 {
        put(out, format_args!(",\"ipv4\":\"{a}.{b}.{c}.{d}\""));
    }
    if let Some(ipv6) = endpoint.ipv6 {
        out.extend_from_slice(b",\"ipv6\":\"");
        ip::write_ipv6(ipv6, out);
        out.push(b'"');
    }
    if endpoint.port != 0 {
        put(out, format_args!(",\"port\":{}", endpoint.port));
    }
    // Each field brought its comma; the first one's place is the brace's.
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

fn write_annotations(annotations: &[Annotation<'_>], out: &mut Vec<u8>) {
    for (i, annotation) in annotations.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b",\"annotations\":[" } else { b"," });
        put(out, format_args!("{{\"timestamp\":{},\"value\":", annotation.timestamp_us as i64));
        text(&annotation.value, out);
        out.push(b'}');
    }
    if !annotations.is_empty() {
        out.push(b']');
    }
}

fn write_tags(span: &Span<'_>, out: &mut Vec<u8>) {
    for (i, (key, value)) in span.tags.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b",\"tags\":{" } else { b"," });
        text(key, out);
        out.push(b':');
        text(value, out);
    }
    if !span.tags.is_empty() {
        out.push(b'}');
    }
}

fn put(out: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a Vec takes every byte");
}

/// A text in quotes, with the escapes of zipkin's `JsonEscaper`.
fn text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, byte) in bytes.iter().enumerate() {
        // U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
        let line_end = *byte == 0xE2 && matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xA8 | 0xA9]));
        if !line_end && !matches!(byte, 0..0x20 | b'"' | b'\\') {
            continue;
        }
        out.extend_from_slice(&bytes[written..at]);
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0x0C => out.extend_from_slice(b"\\f"),
            0xE2 => put(out, format_args!("\\u202{}", bytes[at + 2] - 0xA0)),
            control => put(out, format_args!("\\u{control:04x}")),
        }
        written = at + if line_end { 3 } else { 1 };
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}
