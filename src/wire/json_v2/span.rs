//! A span from JSON v2, field by field; the rules are those of zipkin's `V2SpanReader`.
//!
//! A field that comes twice: the last counts, but annotations and tags add up and a true flag
//! stays. `null` is as good as absent, but for the ids and within annotations and tags.

use std::borrow::Cow;

use super::ip;
use super::reader::{Reader, quoted};
use crate::span::{Annotation, Batch, Endpoint, Kind, Span, TraceId};
use crate::wire::fault::Fault;
use crate::wire::{DecodeError, Limits, over_limit};

pub(super) fn decode_list(text: &str, limits: &Limits, batch: &mut Batch) -> Result<(), DecodeError> {
    if text.is_empty() {
        return Ok(());
    }
    let mut reader = Reader::new(text, limits.depth);
    let mut span = Span::default();
    let mut reading = None;
    let list = reader.array(|reader| {
        let index = reading.map_or(0, |last: usize| last + 1);
        reading = Some(index);
        over_limit("", reader.offset(), "spans in a message", index + 1, limits.spans)?;
        span.clear();
        let offset = reader.offset();
        read_span(reader, &mut span, index, limits)?;
        batch.push(&mut span);
        over_limit("", offset, "bytes of a span", batch.last_len(), limits.span_bytes)
    });
    list.map_err(|fault| fault.in_list("json", reading))
}

fn read_span<'a>(reader: &mut Reader<'a>, span: &mut Span<'a>, index: usize, limits: &Limits) -> Result<(), Fault> {
    let start = reader.offset();
    let (mut has_trace_id, mut has_id) = (false, false);
    reader.object(|reader, name| match &*name {
        "traceId" => {
            has_trace_id = true;
            trace_id(reader).map(|id| span.trace_id = id).map_err(|fault| fault.within("traceId"))
        }
        "id" => {
            has_id = true;
            id(reader).map(|id| span.id = id).map_err(|fault| fault.within("id"))
        }
        _ if reader.null()? => Ok(()),
        _ => read_field(reader, &name, span, index, limits),
    })?;
    let missing = match (has_trace_id, has_id) {
        (true, true) => return Ok(()),
        (false, true) => ("traceId", "Missing : traceId"),
        (true, false) => ("id", "Missing : id"),
        (false, false) => ("traceId", "Missing : traceId id"),
    };
    Err(Fault::new(missing.0, start, missing.1))
}

/// One of the fields that may be absent.
fn read_field<'a>(
    reader: &mut Reader<'a>,
    name: &str,
    span: &mut Span<'a>,
    index: usize,
    limits: &Limits,
) -> Result<(), Fault> {
    let (field, read): (&'static str, Result<(), Fault>) = match name {
        "parentId" => ("parentId", parent_id(reader).map(|id| span.parent_id = id)),
        "kind" => ("kind", kind(reader).map(|kind| span.kind = Some(kind))),
        "name" => ("name", reader.string().map(|name| span.name = Some(name))),
        "timestamp" => ("timestamp", reader.long().map(|long| span.timestamp_us = long as u64)),
        "duration" => ("duration", reader.long().map(|long| span.duration_us = long as u64)),
        "localEndpoint" => {
            ("localEndpoint", endpoint(reader, "localEndpoint.port").map(|endpoint| span.local = Some(endpoint)))
        }
        "remoteEndpoint" => {
            ("remoteEndpoint", endpoint(reader, "remoteEndpoint.port").map(|endpoint| span.remote = Some(endpoint)))
        }
        "annotations" => ("annotations", annotations(reader, span, index, limits)),
        "tags" => ("tags", tags(reader, span, index, limits)),
        "debug" => ("debug", reader.boolean().map(|debug| span.debug |= debug)),
        "shared" => ("shared", reader.boolean().map(|shared| span.shared |= shared)),
        "binaryAnnotations" => ("binaryAnnotations", Err(received_v1(reader.offset()))),
        _ => ("", reader.skip()),
    };
    read.map_err(|fault| fault.within(field))
}

/// A span of v1 would lose its tags and endpoints here, so it is refused in Zipkin's words.
fn received_v1(offset: usize) -> Fault {
    Fault::verbatim("", offset, "Expected a JSON_V2 encoded list, but received: JSON_V1\n")
}

fn trace_id(reader: &mut Reader<'_>) -> Result<TraceId, Fault> {
    let Hex { number, offset } = hex(reader, "traceId", 32)?;
    match number {
        0 => Err(Fault::new("traceId", offset, "traceId is all zeros")),
        _ => Ok(TraceId { high: (number >> 64) as u64, low: number as u64 }),
    }
}

/// Zipkin takes `"0"` and refuses 16 zeros; no collector takes either in proto3, so here both are refused.
fn id(reader: &mut Reader<'_>) -> Result<u64, Fault> {
    let Hex { number, offset } = hex(reader, "id", 16)?;
    match number {
        0 => Err(Fault::new("id", offset, "id is all zeros")),
        _ => Ok(number as u64),
    }
}

fn parent_id(reader: &mut Reader<'_>) -> Result<u64, Fault> {
    Ok(hex(reader, "parentId", 16)?.number as u64)
}

struct Hex {
    number: u128,
    offset: usize,
}

/// An id of 1 to `digits_max` lower-case hexadecimal digits.
fn hex(reader: &mut Reader<'_>, field: &'static str, digits_max: usize) -> Result<Hex, Fault> {
    let text = reader.string()?;
    let offset = reader.offset();
    let digits = text.as_bytes();
    if digits.is_empty() {
        return Err(Fault::new(field, offset, format!("{field} is empty")));
    }
    if digits.len() > digits_max {
        return Err(Fault::new(field, offset, format!("{field}.length > {digits_max}")));
    }
    let (high, low) = digits.split_at(digits.len().saturating_sub(16));
    match (hex_u64(high), hex_u64(low)) {
        (Some(high), Some(low)) => Ok(Hex { number: u128::from(high) << 64 | u128::from(low), offset }),
        _ => Err(Fault::new(field, offset, format!("{text} should be lower-hex encoded with no prefix"))),
    }
}

/// At most 16 lower-case digits; none are 0.
fn hex_u64(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

fn kind(reader: &mut Reader<'_>) -> Result<Kind, Fault> {
    let name = reader.string()?;
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| {
        let cause = format!("No enum constant zipkin2.Span.Kind.{}", quoted(&name));
        Fault::new("kind", reader.offset(), cause)
    })
}

/// An endpoint of v2 or v1; `port_field` is what its port is called in an error.
pub(in crate::wire) fn endpoint<'a>(reader: &mut Reader<'a>, port_field: &'static str) -> Result<Endpoint<'a>, Fault> {
    let mut endpoint = Endpoint::default();
    reader.object(|reader, name| {
        if reader.null()? {
            return Ok(());
        }
        match &*name {
            "serviceName" => endpoint.service_name = Some(reader.string()?),
            "ipv4" | "ipv6" => ip::parse(&reader.string()?, &mut endpoint),
            "port" => endpoint.port = port(reader, port_field)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(endpoint)
}

/// What is not above 0 is absent.
fn port(reader: &mut Reader<'_>, field: &'static str) -> Result<u16, Fault> {
    let port = reader.int().map_err(|fault| fault.within(field))?.max(0);
    u16::try_from(port).map_err(|_| Fault::new(field, reader.offset(), format!("invalid port {port}")))
}

fn annotations<'a>(reader: &mut Reader<'a>, span: &mut Span<'a>, index: usize, limits: &Limits) -> Result<(), Fault> {
    let mut at = 0;
    reader.array(|reader| {
        let annotation = annotation(reader, index, at)?;
        at += 1;
        span.annotations.push(annotation);
        entries_within(reader, span, limits)
    })
}

fn annotation<'a>(reader: &mut Reader<'a>, span: usize, at: usize) -> Result<Annotation<'a>, Fault> {
    let (mut timestamp, mut value, mut last) = (None, None, Cow::Borrowed(""));
    reader.object(|reader, name| {
        match &*name {
            "timestamp" => timestamp = Some(reader.long()? as u64),
            "value" => value = Some(reader.string()?),
            _ => reader.skip()?,
        }
        last = name;
        Ok(())
    })?;
    match (timestamp, value) {
        (Some(timestamp_us), Some(value)) => Ok(Annotation { timestamp_us, value }),
        _ => {
            let cause = format!("Incomplete annotation at $[{span}].annotations[{at}].{}", quoted(&last));
            Err(Fault::new("", reader.offset(), cause))
        }
    }
}

fn tags<'a>(reader: &mut Reader<'a>, span: &mut Span<'a>, index: usize, limits: &Limits) -> Result<(), Fault> {
    reader.object(|reader, key| {
        if reader.null()? {
            let cause = format!("No value at $[{index}].tags.{}", quoted(&key));
            return Err(Fault::new("", reader.offset(), cause));
        }
        span.tags.push((key, reader.string()?));
        entries_within(reader, span, limits)
    })
}

fn entries_within(reader: &Reader<'_>, span: &Span<'_>, limits: &Limits) -> Result<(), Fault> {
    let entries = span.annotations.len() + span.tags.len();
    over_limit("", reader.offset(), "annotations and tags of a span", entries, limits.entries)
}
