//! Canonical spans written as Zipkin's JSON v2, byte for byte as its `V2SpanWriter` does.
//!
//! For the archive, for collectors that want JSON, and for dead letters. What is absent is left
//! out, ids have 16 or 32 digits, `/` and all beyond ASCII stand as they are, but for U+2028 and
//! U+2029, which end a line in JavaScript.

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

/// Appends a span as it is: what is not in canonical order is not put into it.
pub fn write_span(span: &Span<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"traceId\":\"");
    if span.trace_id.high != 0 {
        hex(span.trace_id.high, out);
    }
    hex(span.trace_id.low, out);
    if span.parent_id != 0 {
        out.extend_from_slice(b"\",\"parentId\":\"");
        hex(span.parent_id, out);
    }
    out.extend_from_slice(b"\",\"id\":\"");
    hex(span.id, out);
    if let Some(kind) = span.kind {
        out.extend_from_slice(b"\",\"kind\":\"");
        out.extend_from_slice(kind.name().as_bytes());
    }
    out.push(b'"');
    if let Some(name) = &span.name {
        out.extend_from_slice(b",\"name\":");
        text(name, out);
    }
    if span.timestamp_us != 0 {
        out.extend_from_slice(b",\"timestamp\":");
        decimal(span.timestamp_us, out);
    }
    if span.duration_us != 0 {
        out.extend_from_slice(b",\"duration\":");
        decimal(span.duration_us, out);
    }
    for (field, endpoint) in [(",\"localEndpoint\":", &span.local), (",\"remoteEndpoint\":", &span.remote)] {
        if let Some(endpoint) = endpoint {
            out.extend_from_slice(field.as_bytes());
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
    write_addresses(endpoint, out);
    // Each field brought its comma; the first one's place is the brace's.
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

/// The fields of an endpoint behind its name, each with its comma.
pub(in crate::wire) fn write_addresses(endpoint: &Endpoint<'_>, out: &mut Vec<u8>) {
    if let Some(ipv4) = endpoint.ipv4 {
        for (i, octet) in ipv4.into_iter().enumerate() {
            out.extend_from_slice(if i == 0 { b",\"ipv4\":\"" } else { b"." });
            decimal(u64::from(octet), out);
        }
        out.push(b'"');
    }
    if let Some(ipv6) = endpoint.ipv6 {
        out.extend_from_slice(b",\"ipv6\":\"");
        ip::write_ipv6(ipv6, out);
        out.push(b'"');
    }
    if endpoint.port != 0 {
        out.extend_from_slice(b",\"port\":");
        decimal(u64::from(endpoint.port), out);
    }
}

fn write_annotations(annotations: &[Annotation<'_>], out: &mut Vec<u8>) {
    for (i, annotation) in annotations.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b",\"annotations\":[" } else { b"," });
        out.extend_from_slice(b"{\"timestamp\":");
        signed(annotation.timestamp_us as i64, out);
        out.extend_from_slice(b",\"value\":");
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

/// 16 digits.
pub fn hex(number: u64, out: &mut Vec<u8>) {
    let digit = |i: usize| b"0123456789abcdef"[(number >> (60 - 4 * i)) as usize & 0xF];
    out.extend_from_slice(&std::array::from_fn::<u8, 16, _>(digit));
}

pub(in crate::wire) fn signed(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    decimal(number.unsigned_abs(), out);
}

pub(in crate::wire) fn decimal(mut number: u64, out: &mut Vec<u8>) {
    // u64::MAX has 20 digits.
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[start..]);
        }
    }
}

/// A text in quotes, with the escapes of zipkin's `JsonEscaper`.
pub(in crate::wire) fn text(text: &str, out: &mut Vec<u8>) {
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
            0xE2 => out.extend_from_slice(if bytes[at + 2] == 0xA8 { b"\\u2028" } else { b"\\u2029" }),
            control => {
                let high = if *control < 0x10 { b'0' } else { b'1' };
                out.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    high,
                    b"0123456789abcdef"[usize::from(control & 0xF)],
                ]);
            }
        }
        written = at + if line_end { 3 } else { 1 };
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}
