//! Writes a v1 span as a bare Thrift struct, byte for byte as Zipkin's `V1ThriftSpanWriter`.
//!
//! Fields in ascending order, lists also where they are empty, an endpoint with all but its IPv6 address. The local
//! endpoint is written once and copied for each annotation and tag.

use std::ops::Range;

use super::kind::{BOOL, I16, I32, I64, LIST, STOP, STRING, STRUCT};
use crate::span::Endpoint;
use crate::wire::v1::from_v2::{Binary, Said};
use crate::wire::v1::value;

/// Appends a span.
pub(in crate::wire) fn span(said: &Said<'_>, out: &mut Vec<u8>) {
    let span = said.span;
    long(1, span.trace_id.low, out);
    string(3, span.name.as_deref().unwrap_or_default(), out);
    long(4, span.id, out);
    if span.parent_id != 0 {
        long(5, span.parent_id, out);
    }
    let mut host = Host { endpoint: span.local.as_ref(), written: None };
    list(6, said.annotations.len(), out);
    for (timestamp_us, value) in &said.annotations {
        long(1, *timestamp_us as u64, out);
        string(2, value, out);
        host.write(3, out);
        out.push(STOP);
    }
    list(8, said.binary.len(), out);
    for binary in &said.binary {
        write_binary(binary, &mut host, out);
    }
    if span.debug {
        field(BOOL, 9, out);
        out.push(1);
    }
    for (id, number) in [(10, said.timestamp_us), (11, said.duration_us), (12, span.trace_id.high)] {
        if number != 0 {
            long(id, number, out);
        }
    }
    out.push(STOP);
}

fn write_binary(binary: &Binary<'_>, host: &mut Host<'_>, out: &mut Vec<u8>) {
    string(1, binary.key(), out);
    match binary {
        Binary::Tag(_, text) => {
            string(2, text, out);
            int(3, value::kind::STRING, out);
            host.write(4, out);
        }
        Binary::Address(_, endpoint) => {
            string(2, "\u{1}", out);
            int(3, value::kind::BOOL, out);
            field(STRUCT, 4, out);
            write_endpoint(endpoint, out);
        }
    }
    out.push(STOP);
}

/// The local endpoint, and where it was written first.
struct Host<'s> {
    endpoint: Option<&'s Endpoint<'s>>,
    written: Option<Range<usize>>,
}

impl Host<'_> {
    fn write(&mut self, id: u8, out: &mut Vec<u8>) {
        let Some(endpoint) = self.endpoint else { return };
        field(STRUCT, id, out);
        match &self.written {
            Some(written) => out.extend_from_within(written.clone()),
            None => {
                let start = out.len();
                write_endpoint(endpoint, out);
                self.written = Some(start..out.len());
            }
        }
    }
}

fn write_endpoint(endpoint: &Endpoint<'_>, out: &mut Vec<u8>) {
    int(1, i32::from_be_bytes(endpoint.ipv4.unwrap_or_default()), out);
    field(I16, 2, out);
    out.extend_from_slice(&endpoint.port.to_be_bytes());
    string(3, endpoint.service_name.as_deref().unwrap_or_default(), out);
    if let Some(ipv6) = endpoint.ipv6 {
        field(STRING, 4, out);
        bytes(&ipv6, out);
    }
    out.push(STOP);
}

/// The head of a field; those of Zipkin's structs are numbered up to 12.
fn field(kind: u8, id: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[kind, 0, id]);
}

fn list(id: u8, structs: usize, out: &mut Vec<u8>) {
    field(LIST, id, out);
    structs_head(structs, out);
}

/// The head of a list of structs: as a field's value, or as a whole body.
pub(in crate::wire) fn structs_head(count: usize, out: &mut Vec<u8>) {
    out.push(STRUCT);
    out.extend_from_slice(&u32::try_from(count).expect("a list is shorter than its bytes").to_be_bytes());
}

fn int(id: u8, value: i32, out: &mut Vec<u8>) {
    field(I32, id, out);
    out.extend_from_slice(&value.to_be_bytes());
}

fn long(id: u8, value: u64, out: &mut Vec<u8>) {
    field(I64, id, out);
    out.extend_from_slice(&value.to_be_bytes());
}

fn string(id: u8, text: &str, out: &mut Vec<u8>) {
    field(STRING, id, out);
    bytes(text.as_bytes(), out);
}

fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("a span is under 4 GiB").to_be_bytes());
    out.extend_from_slice(bytes);
}
