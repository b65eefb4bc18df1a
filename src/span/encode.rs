//! Canonical bytes written: one normalised span as an element of a `ListOfSpans`.
//!
//! Byte for byte what zipkin's `Proto3ZipkinFields` writes: fields in ascending order, absent
//! ones left out, texts written when present even if empty (a tag may be ""). Sizes are summed
//! before a byte is written, so that nothing is moved afterwards.

use std::borrow::Cow;

use super::proto::{FIXED64, LENGTH_DELIMITED, VARINT, tag, varint_len};
use super::{Annotation, Endpoint, Span};

/// Appends `span`, which is normalised, with the list's tag and length.
pub(super) fn element(span: &Span<'_>, out: &mut Vec<u8>) {
    let len = span_len(span);
    out.reserve(1 + varint_len(len as u64) + len);
    head(out, 1, len);
    let start = out.len();
    write_span(span, out);
    debug_assert_eq!(out.len() - start, len, "sizes are summed as they are written");
}

fn span_len(span: &Span<'_>) -> usize {
    let ids = 2 + trace_id_len(span) + 10 + if span.parent_id != 0 { 10 } else { 0 };
    let kind = if span.kind.is_some() { 2 } else { 0 };
    let flags = if span.debug { 2 } else { 0 } + if span.shared { 2 } else { 0 };
    let timestamp = if span.timestamp_us != 0 { 9 } else { 0 };
    let annotations: usize = span.annotations.iter().map(|annotation| field_len(annotation_len(annotation))).sum();
    let tags: usize = span.tags.iter().map(|(key, value)| field_len(tag_len(key, value))).sum();
    ids + kind
        + optional_text_len(&span.name)
        + timestamp
        + number_len(span.duration_us)
        + optional_endpoint_len(&span.local)
        + optional_endpoint_len(&span.remote)
        + annotations
        + tags
        + flags
}

fn write_span(span: &Span<'_>, out: &mut Vec<u8>) {
    head(out, 1, trace_id_len(span));
    if span.trace_id.high != 0 {
        out.extend_from_slice(&span.trace_id.high.to_be_bytes());
    }
    out.extend_from_slice(&span.trace_id.low.to_be_bytes());
    if span.parent_id != 0 {
        bytes(out, 2, &span.parent_id.to_be_bytes());
    }
    bytes(out, 3, &span.id.to_be_bytes());
    number(out, 4, span.kind.map_or(0, |kind| kind as u64));
    optional_text(out, 5, &span.name);
    if span.timestamp_us != 0 {
        fixed64(out, 6, span.timestamp_us);
    }
    number(out, 7, span.duration_us);
    optional_endpoint(out, 8, &span.local);
    optional_endpoint(out, 9, &span.remote);
    for annotation in &span.annotations {
        head(out, 10, annotation_len(annotation));
        if annotation.timestamp_us != 0 {
            fixed64(out, 1, annotation.timestamp_us);
        }
        bytes(out, 2, annotation.value.as_bytes());
    }
    for (key, value) in &span.tags {
        head(out, 11, tag_len(key, value));
        bytes(out, 1, key.as_bytes());
        bytes(out, 2, value.as_bytes());
    }
    number(out, 12, u64::from(span.debug));
    number(out, 13, u64::from(span.shared));
}

fn trace_id_len(span: &Span<'_>) -> usize {
    if span.trace_id.high != 0 { 16 } else { 8 }
}

fn annotation_len(annotation: &Annotation<'_>) -> usize {
    field_len(annotation.value.len()) + if annotation.timestamp_us != 0 { 9 } else { 0 }
}

fn tag_len(key: &str, value: &str) -> usize {
    field_len(key.len()) + field_len(value.len())
}

fn endpoint_len(endpoint: &Endpoint<'_>) -> usize {
    optional_text_len(&endpoint.service_name)
        + endpoint.ipv4.map_or(0, |_| 6)
        + endpoint.ipv6.map_or(0, |_| 18)
        + number_len(u64::from(endpoint.port))
}

fn optional_endpoint_len(endpoint: &Option<Endpoint<'_>>) -> usize {
    endpoint.as_ref().map_or(0, |endpoint| field_len(endpoint_len(endpoint)))
}

fn optional_text_len(text: &Option<Cow<'_, str>>) -> usize {
    text.as_ref().map_or(0, |text| field_len(text.len()))
}

fn number_len(number: u64) -> usize {
    if number == 0 { 0 } else { 1 + varint_len(number) }
}

fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

fn optional_endpoint(out: &mut Vec<u8>, field: u32, endpoint: &Option<Endpoint<'_>>) {
    let Some(endpoint) = endpoint else { return };
    head(out, field, endpoint_len(endpoint));
    optional_text(out, 1, &endpoint.service_name);
    if let Some(ipv4) = endpoint.ipv4 {
        bytes(out, 2, &ipv4);
    }
    if let Some(ipv6) = endpoint.ipv6 {
        bytes(out, 3, &ipv6);
    }
    number(out, 4, u64::from(endpoint.port));
}

fn optional_text(out: &mut Vec<u8>, field: u32, text: &Option<Cow<'_, str>>) {
    if let Some(text) = text {
        bytes(out, field, text.as_bytes());
    }
}

fn bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    head(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

fn head(out: &mut Vec<u8>, field: u32, len: usize) {
    out.push(tag(field, LENGTH_DELIMITED) as u8);
    varint(out, len as u64);
}

fn number(out: &mut Vec<u8>, field: u32, number: u64) {
    if number != 0 {
        out.push(tag(field, VARINT) as u8);
        varint(out, number);
    }
}

fn fixed64(out: &mut Vec<u8>, field: u32, number: u64) {
    out.push(tag(field, FIXED64) as u8);
    out.extend_from_slice(&number.to_le_bytes());
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
