//! v1 spans and Scribe frames written by the `thrift` crate and its generated types: a second
//! opinion on every byte that our own parsers read.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use spangate::wire::r#gen::scribe::LogEntry;
use spangate::wire::r#gen::zipkin_core::{Annotation, AnnotationType, BinaryAnnotation, Endpoint, Span};
use thrift::protocol::{
    TBinaryInputProtocol, TBinaryOutputProtocol, TFieldIdentifier, TInputProtocol, TListIdentifier, TMessageIdentifier,
    TMessageType, TOutputProtocol, TSerializable, TStructIdentifier, TType,
};

/// Which header a frame has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Strict,
    Unversioned,
}

/// A struct as bare Thrift, as Scribe entries carry it in base64.
pub fn bytes(value: &impl TSerializable) -> Vec<u8> {
    let mut out = Vec::new();
    value.write_to_out_protocol(&mut TBinaryOutputProtocol::new(&mut out, true)).unwrap();
    out
}

/// A Scribe entry's message.
pub fn message(span: &Span) -> String {
    STANDARD.encode(bytes(span))
}

/// A frame with a `Log` call of these (category, message) entries.
pub fn log_frame(form: Form, seqid: i32, entries: &[(&str, &str)]) -> Vec<u8> {
    frame(form, "Log", seqid, |out| {
        out.write_field_begin(&TFieldIdentifier::new("messages", TType::List, 1))?;
        out.write_list_begin(&TListIdentifier::new(TType::Struct, entries.len() as i32))?;
        for (category, message) in entries {
            LogEntry::new(category.to_string(), message.to_string()).write_to_out_protocol(out)?;
        }
        out.write_list_end()?;
        out.write_field_end()
    })
}

/// A frame with a call without arguments: the Finagle probe, or a method of fb303.
pub fn call_frame(form: Form, name: &str, seqid: i32) -> Vec<u8> {
    frame(form, name, seqid, |_| Ok(()))
}

fn frame(
    form: Form,
    name: &str,
    seqid: i32,
    arguments: impl FnOnce(&mut dyn TOutputProtocol) -> thrift::Result<()>,
) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut out = TBinaryOutputProtocol::new(&mut payload, form == Form::Strict);
    let write = || {
        out.write_message_begin(&TMessageIdentifier::new(name, TMessageType::Call, seqid))?;
        out.write_struct_begin(&TStructIdentifier::new("args"))?;
        arguments(&mut out)?;
        out.write_field_stop()?;
        out.write_struct_end()?;
        out.write_message_end()
    };
    write().unwrap();
    [&(payload.len() as u32).to_be_bytes()[..], &payload].concat()
}

/// What a reply says: method, sequence number and the `i32` of a `Log` result, or the exception.
pub fn log_result(payload: &[u8]) -> (String, i32, Result<i32, thrift::ApplicationError>) {
    let mut input = TBinaryInputProtocol::new(payload, false);
    let head = input.read_message_begin().unwrap();
    if head.message_type == TMessageType::Exception {
        let error = thrift::Error::read_application_error_from_in_protocol(&mut input).unwrap();
        return (head.name, head.sequence_number, Err(error));
    }
    input.read_struct_begin().unwrap();
    let field = input.read_field_begin().unwrap();
    assert_eq!((field.id, field.field_type), (Some(0), TType::I32));
    (head.name, head.sequence_number, Ok(input.read_i32().unwrap()))
}

/// An endpoint of IPv4.
pub fn host(service: &str, ipv4: [u8; 4], port: u16) -> Endpoint {
    Endpoint::new(i32::from_be_bytes(ipv4), port as i16, service.to_owned(), None)
}

/// An annotation of `host`.
pub fn event(at_us: i64, value: &str, host: &Endpoint) -> Annotation {
    Annotation::new(at_us, value.to_owned(), host.clone())
}

/// A tag as a string.
pub fn tag(key: &str, value: &str, host: &Endpoint) -> BinaryAnnotation {
    BinaryAnnotation::new(key.to_owned(), value.as_bytes().to_vec(), AnnotationType::STRING, host.clone())
}

/// An address: `sa`, `ca` or `ma`.
pub fn address(key: &str, host: &Endpoint) -> BinaryAnnotation {
    BinaryAnnotation::new(key.to_owned(), vec![1], AnnotationType::BOOL, host.clone())
}

/// The two halves of a call as each side reports it: the client's with the span's time, the
/// server's without, which makes it shared.
pub fn call(
    ids: (i64, i64, Option<i64>),
    name: &str,
    start_us: i64,
    client: &Endpoint,
    server: &Endpoint,
) -> [Span; 2] {
    let (trace_id, id, parent_id) = ids;
    let span = |annotations, tags, timestamp, duration| {
        Span::new(trace_id, name.to_owned(), id, parent_id, annotations, tags, false, timestamp, duration, None)
    };
    let (sent, received, answered, done) = (start_us, start_us + 1_000, start_us + 9_000, start_us + 10_000);
    [
        span(
            vec![event(sent, "cs", client), event(done, "cr", client)],
            vec![tag("http.path", "/api", client), address("sa", server)],
            Some(sent),
            Some(done - sent),
        ),
        span(
            vec![event(received, "sr", server), event(answered, "ss", server)],
            vec![tag("http.status_code", "200", server), address("ca", client)],
            None,
            None,
        ),
    ]
}

/// A seeded trace of `calls` calls from service to service, each a child of the one before.
pub fn trace(random: &mut fastrand::Rng, calls: usize) -> Vec<Span> {
    let trace_id = random.i64(..).max(1);
    let hosts: Vec<Endpoint> =
        (0..=calls).map(|at| host(&format!("service-{}", random.u8(..9)), [10, 0, 0, at as u8 + 1], 8080)).collect();
    let (mut spans, mut parent, mut start_us) = (Vec::new(), None, 1_472_470_996_199_000);
    for pair in hosts.windows(2) {
        let id = if parent.is_none() { trace_id } else { random.i64(1..) };
        let name = ["get", "post", "put /orders", "poll"][random.usize(..4)];
        spans.extend(call((trace_id, id, parent), name, start_us, &pair[0], &pair[1]));
        (parent, start_us) = (Some(id), start_us + 2_000);
    }
    spans
}
