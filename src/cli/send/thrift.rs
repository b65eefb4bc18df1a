//! Spans of the [`traces`](super::traces) as Scribe entries: Thrift v1, in base64.
//!
//! Each side of a call is an entry of its own, as tracers of that time sent them: `cs`/`cr` or
//! `sr`/`ss` at its own host, the other side as `sa` or `ca`, tags as strings. The server leaves
//! the span's own time to the client (zipkin `V2SpanConverter.toV1`: shared spans have none).

use crate::span::{Endpoint, Kind, Span};
use crate::wire::base64;
use crate::wire::thrift::kind::{BOOL, I16, I32, I64, LIST, STOP, STRING, STRUCT};

/// The category of Zipkin's spans.
const CATEGORY: &str = "zipkin";
/// `AnnotationType` of zipkinCore.thrift.
const TYPE_BOOL: i32 = 0;
const TYPE_STRING: i32 = 6;

/// The head of a strict `Log` call whose sequence number is [`SEQID`]; `messages` follows as a list of structs.
const CALL: &[u8] = b"\x80\x01\x00\x01\x00\x00\x00\x03Log\x00\x00\x00\x01\x0f\x00\x01\x0c";
/// A connection has one call under way, so one number is enough.
pub const SEQID: i32 = 1;

/// A frame in the making.
#[derive(Default)]
pub struct Frame {
    entries: u32,
    span: Vec<u8>,
}

impl Frame {
    /// Begins a frame in `out`, which is empty.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        self.entries = 0;
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(CALL);
        out.extend_from_slice(&[0; 4]);
    }

    /// Appends a span as an entry.
    pub fn push(&mut self, span: &Span<'_>, out: &mut Vec<u8>) {
        self.entries += 1;
        self.span.clear();
        write_span(span, &mut self.span);
        string(1, CATEGORY, out);
        field(STRING, 2, out);
        out.extend_from_slice(&(self.span.len().div_ceil(3) as u32 * 4).to_be_bytes());
        base64::encode(&self.span, out);
        out.push(STOP);
    }

    /// Closes the frame: its count and length are known now.
    pub fn end(&self, out: &mut Vec<u8>) {
        out.push(STOP);
        let length = u32::try_from(out.len() - 4).expect("a message is bounded far below 4 GiB");
        out[..4].copy_from_slice(&length.to_be_bytes());
        let count = 4 + CALL.len();
        out[count..count + 4].copy_from_slice(&self.entries.to_be_bytes());
    }
}

fn write_span(span: &Span<'_>, out: &mut Vec<u8>) {
    long(1, span.trace_id.low, out);
    string(3, span.name.as_deref().unwrap_or_default(), out);
    long(4, span.id, out);
    if span.parent_id != 0 {
        long(5, span.parent_id, out);
    }
    let mut host = Vec::with_capacity(48);
    write_host(span.local.as_ref(), &mut host);
    write_annotations(span, &host, out);
    write_tags(span, &host, out);
    if span.debug {
        field(BOOL, 9, out);
        out.push(1);
    }
    if !span.shared {
        long(10, span.timestamp_us, out);
        long(11, span.duration_us, out);
    }
    if span.trace_id.high != 0 {
        long(12, span.trace_id.high, out);
    }
    out.push(STOP);
}

/// What v1 calls the begin and the end of a kind, and its other side.
fn core(kind: Option<Kind>) -> (Option<&'static str>, Option<&'static str>, &'static str) {
    match kind {
        Some(Kind::Client) => (Some("cs"), Some("cr"), "sa"),
        Some(Kind::Server) => (Some("sr"), Some("ss"), "ca"),
        Some(Kind::Producer) => (Some("ms"), None, "ma"),
        Some(Kind::Consumer) => (Some("mr"), None, "ma"),
        None => (None, None, "sa"),
    }
}

fn write_annotations(span: &Span<'_>, host: &[u8], out: &mut Vec<u8>) {
    let (begin, end, _) = core(span.kind);
    let own = span.annotations.iter().map(|a| (a.timestamp_us, &*a.value));
    let begin = begin.map(|value| (span.timestamp_us, value));
    let end = end.map(|value| (span.timestamp_us + span.duration_us, value));
    let all = begin.into_iter().chain(own).chain(end);
    list(6, all.clone().count(), out);
    for (timestamp_us, value) in all {
        long(1, timestamp_us, out);
        string(2, value, out);
        field(STRUCT, 3, out);
        out.extend_from_slice(host);
        out.push(STOP);
    }
}

fn write_tags(span: &Span<'_>, host: &[u8], out: &mut Vec<u8>) {
    let (_, _, other) = core(span.kind);
    list(8, span.tags.len() + usize::from(span.remote.is_some()), out);
    for (key, value) in &span.tags {
        string(1, key, out);
        string(2, value, out);
        int(3, TYPE_STRING, out);
        field(STRUCT, 4, out);
        out.extend_from_slice(host);
        out.push(STOP);
    }
    if span.remote.is_some() {
        string(1, other, out);
        string(2, "\u{1}", out);
        int(3, TYPE_BOOL, out);
        field(STRUCT, 4, out);
        write_host(span.remote.as_ref(), out);
        out.push(STOP);
    }
}

/// An `Endpoint`; none is an empty struct.
fn write_host(endpoint: Option<&Endpoint<'_>>, out: &mut Vec<u8>) {
    let Some(endpoint) = endpoint else { return out.push(STOP) };
    int(1, i32::from_be_bytes(endpoint.ipv4.unwrap_or_default()), out);
    field(I16, 2, out);
    out.extend_from_slice(&endpoint.port.to_be_bytes());
    string(3, endpoint.service_name.as_deref().unwrap_or_default(), out);
    out.push(STOP);
}

fn field(kind: u8, id: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[kind, 0, id]);
}

fn list(id: u8, structs: usize, out: &mut Vec<u8>) {
    field(LIST, id, out);
    out.push(STRUCT);
    out.extend_from_slice(&(structs as u32).to_be_bytes());
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
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}
