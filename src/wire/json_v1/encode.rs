//! Writes a v1 span as JSON, byte for byte as Zipkin's `V1JsonSpanWriter`.
//!
//! Ids have 16 or 32 digits; a name is always there, of the span and of its endpoints; other fields and lists where
//! there is something in them.

use crate::span::Endpoint;
use crate::wire::json_v2::encode::{decimal, hex, signed, text, write_addresses};
use crate::wire::v1::from_v2::{Binary, Said};

/// Appends a span.
pub(in crate::wire) fn span(said: &Said<'_>, out: &mut Vec<u8>) {
    let span = said.span;
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
    out.extend_from_slice(b"\",\"name\":");
    text(span.name.as_deref().unwrap_or_default(), out);
    for (field, number) in [(",\"timestamp\":", said.timestamp_us), (",\"duration\":", said.duration_us)] {
        if number != 0 {
            out.extend_from_slice(field.as_bytes());
            decimal(number, out);
        }
    }
    write_annotations(said, out);
    write_binary(said, out);
    if span.debug {
        out.extend_from_slice(b",\"debug\":true");
    }
    out.push(b'}');
}

fn write_annotations(said: &Said<'_>, out: &mut Vec<u8>) {
    for (i, (timestamp_us, value)) in said.annotations.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b",\"annotations\":[" } else { b"," });
        out.extend_from_slice(b"{\"timestamp\":");
        signed(*timestamp_us, out);
        out.extend_from_slice(b",\"value\":");
        text(value, out);
        write_endpoint(said.span.local.as_ref(), out);
        out.push(b'}');
    }
    if !said.annotations.is_empty() {
        out.push(b']');
    }
}

fn write_binary(said: &Said<'_>, out: &mut Vec<u8>) {
    for (i, binary) in said.binary.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b",\"binaryAnnotations\":[" } else { b"," });
        out.extend_from_slice(b"{\"key\":");
        text(binary.key(), out);
        out.extend_from_slice(b",\"value\":");
        match binary {
            Binary::Tag(_, value) => {
                text(value, out);
                write_endpoint(said.span.local.as_ref(), out);
            }
            Binary::Address(_, endpoint) => {
                out.extend_from_slice(b"true");
                write_endpoint(Some(endpoint), out);
            }
        }
        out.push(b'}');
    }
    if !said.binary.is_empty() {
        out.push(b']');
    }
}

fn write_endpoint(endpoint: Option<&Endpoint<'_>>, out: &mut Vec<u8>) {
    let Some(endpoint) = endpoint else { return };
    out.extend_from_slice(b",\"endpoint\":{\"serviceName\":");
    text(endpoint.service_name.as_deref().unwrap_or_default(), out);
    write_addresses(endpoint, out);
    out.push(b'}');
}
