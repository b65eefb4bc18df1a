//! Zipkin's JSON v1: a list of spans read, and converted to v2 as those from Thrift are.
//!
//! As lenient and as strict as Zipkin's `V1JsonSpanReader` on gson (the cases are in
//! tests/data/json_v1), on the reader of [`json_v2`]: one pass, texts borrowed,
//! no tree. A field that comes twice: the last counts, but lists add up and a true `debug` stays.
//!
//! Zipkin refuses every v1 body in which `Endpoint"` or `"tags"` occurs, be it in a tag's value.
//! Here a span that *has* such a v2 field is refused, in the same words. Nesting ends at
//! [`Limits::depth`](super::Limits). `encode` writes what [`v1::encode`](super::v1::encode) says.

pub(super) mod encode;

use std::borrow::Cow;

use super::fault::Fault;
use super::json_v2::{self, Reader, quoted};
use super::v1::{List, Options, V1Annotation, V1BinaryAnnotation, V1Span};
use super::{DecodeError, Limits, over_limit};
use crate::span::{Batch, Endpoint};

/// Reads a list of spans and pushes the v2 spans in them. No bytes are no spans; so is `[]`.
///
/// # Errors
/// Names the first span that is refused, its field and Zipkin's reason; `batch` is then as it was. The offset counts
/// in the body as it was read: each sequence that is not UTF-8 is three bytes there.
pub fn decode(body: &[u8], limits: &Limits, options: &Options, batch: &mut Batch) -> Result<(), DecodeError> {
    if body.is_empty() {
        return Ok(());
    }
    let text = json_v2::text(body);
    let mark = batch.mark();
    let mut list = List::new(limits, batch);
    let mut reader = Reader::new(&text, limits.depth);
    let mut span = V1Span::default();
    let mut reading = None;
    let read = reader.array(|reader| {
        let index = reading.map_or(0, |last: usize| last + 1);
        reading = Some(index);
        span.clear();
        let offset = reader.offset();
        Fields { index, limits, options, span: &mut span }.read(reader)?;
        list.push(&mut span, offset..reader.offset())
    });
    read.map_err(|fault| {
        batch.roll_back(mark);
        fault.in_list("json", reading)
    })
}

/// One span being read.
struct Fields<'s, 'a> {
    /// Of the span in the list.
    index: usize,
    limits: &'s Limits,
    options: &'s Options,
    span: &'s mut V1Span<'a>,
}

impl<'a> Fields<'_, 'a> {
    fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), Fault> {
        reader.object(|reader, name| match &*name {
            "traceId" => self.trace_id(reader),
            "id" => id(reader, "id").map(|id| self.span.id = id),
            _ if reader.null()? => Ok(()),
            _ => self.field(reader, &name),
        })
    }

    /// One of the fields that may be absent.
    fn field(&mut self, reader: &mut Reader<'a>, name: &str) -> Result<(), Fault> {
        let (field, read): (&'static str, Result<(), Fault>) = match name {
            "parentId" => ("parentId", id(reader, "parentId").map(|id| self.span.parent_id = id)),
            "name" => ("name", reader.string().map(|name| self.span.name = Some(name))),
            "timestamp" => ("timestamp", reader.long().map(|long| self.span.timestamp_us = long)),
            "duration" => ("duration", reader.long().map(|long| self.span.duration_us = long)),
            "annotations" => ("annotations", self.annotations(reader)),
            "binaryAnnotations" => ("binaryAnnotations", self.binary_annotations(reader)),
            "debug" => ("debug", reader.boolean().map(|debug| self.span.debug |= debug)),
            "localEndpoint" | "remoteEndpoint" | "tags" => ("", Err(received_v2(reader.offset()))),
            _ => ("", reader.skip()),
        };
        read.map_err(|fault| fault.within(field))
    }

    /// High bits come of 32 digits alone; of 17 to 31 only the last 16 count, as for Zipkin.
    fn trace_id(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let text = hex_text(reader, "traceId")?;
        if text.len() == 32 {
            self.span.trace_id_high = hex(&text, &text.as_bytes()[..16], "traceId", reader.offset())?;
        }
        self.span.trace_id = low(&text, "traceId", reader.offset())?;
        Ok(())
    }

    fn annotations(&mut self, reader: &mut Reader<'a>) -> Result<(), Fault> {
        let mut at = 0;
        reader.array(|reader| {
            let annotation = annotation(reader, self.index, at)?;
            at += 1;
            self.span.annotations.push(annotation);
            self.within(reader)
        })
    }

    fn binary_annotations(&mut self, reader: &mut Reader<'a>) -> Result<(), Fault> {
        let mut at = 0;
        reader.array(|reader| {
            let annotation = binary_annotation(reader, self.options, self.index, at)?;
            at += 1;
            self.span.binary_annotations.extend(annotation);
            self.within(reader)
        })
    }

    fn within(&self, reader: &Reader<'_>) -> Result<(), Fault> {
        let entries = self.span.annotations.len() + self.span.binary_annotations.len();
        over_limit("", reader.offset(), "annotations of a span", entries, self.limits.entries)
    }
}

/// A span of v2 would lose its endpoints and tags here, so it is refused in Zipkin's words.
fn received_v2(offset: usize) -> Fault {
    Fault::verbatim("", offset, "Expected a JSON_V1 encoded list, but received: JSON_V2\n")
}

/// An id's digits: 1 to 32.
fn hex_text<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<Cow<'a, str>, Fault> {
    let text = reader.string().map_err(|fault| fault.within(field))?;
    match text.len() {
        1..=32 => Ok(text),
        _ => Err(no_hex(&text, field, reader.offset())),
    }
}

fn id(reader: &mut Reader<'_>, field: &'static str) -> Result<u64, Fault> {
    let text = hex_text(reader, field)?;
    low(&text, field, reader.offset())
}

/// The last 16 digits; those before are not looked at (zipkin `HexCodec`).
fn low(text: &str, field: &'static str, offset: usize) -> Result<u64, Fault> {
    hex(text, &text.as_bytes()[text.len().saturating_sub(16)..], field, offset)
}

/// At most 16 lower-case digits of `text`.
fn hex(text: &str, digits: &[u8], field: &'static str, offset: usize) -> Result<u64, Fault> {
    let number = digits.iter().try_fold(0, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    });
    number.ok_or_else(|| no_hex(text, field, offset))
}

fn no_hex(text: &str, field: &'static str, offset: usize) -> Fault {
    let cause = format!("{} should be a 1 to 32 character lower-hex string with no prefix", quoted(text));
    Fault::new(field, offset, cause)
}

/// An endpoint with its name in lower case; `None` if nothing of it is set.
fn endpoint<'a>(reader: &mut Reader<'a>, port_field: &'static str) -> Result<Option<Endpoint<'a>>, Fault> {
    let mut found = json_v2::endpoint(reader, port_field)?;
    found.service_name = found.service_name.filter(|name| !name.is_empty()).map(|name| {
        let lower = name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
        if lower { name } else { Cow::Owned(name.to_lowercase()) }
    });
    Ok((found != Endpoint::default()).then_some(found))
}

fn annotation<'a>(reader: &mut Reader<'a>, span: usize, at: usize) -> Result<V1Annotation<'a>, Fault> {
    let (mut timestamp, mut value, mut host, mut last) = (None, None, None, Cow::Borrowed(""));
    reader.object(|reader, name| {
        match &*name {
            "timestamp" => timestamp = Some(reader.long()?),
            "value" => value = Some(reader.string()?),
            "endpoint" if !reader.null()? => host = endpoint(reader, "annotations.endpoint.port")?,
            "endpoint" => {}
            _ => reader.skip()?,
        }
        last = name;
        Ok(())
    })?;
    match (timestamp, value) {
        (Some(timestamp_us), Some(value)) => Ok(V1Annotation { timestamp_us, value, endpoint: host }),
        _ => {
            let cause = format!("Incomplete annotation at $[{span}].annotations[{at}].{}", quoted(&last));
            Err(Fault::new("", reader.offset(), cause))
        }
    }
}

/// What a binary annotation's value may be.
enum Value<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    /// As it is written.
    Number(Cow<'a, str>),
}

/// `None` where it is dropped: Zipkin keeps texts and true addresses alone.
fn binary_annotation<'a>(
    reader: &mut Reader<'a>,
    options: &Options,
    span: usize,
    at: usize,
) -> Result<Option<V1BinaryAnnotation<'a>>, Fault> {
    let (mut key, mut value, mut host, mut last) = (None, None, None, Cow::Borrowed(""));
    reader.object(|reader, name| {
        match &*name {
            _ if reader.null()? => {}
            "key" => key = Some(reader.string()?),
            "value" => {
                let found = read_value(reader)?;
                // A text counts before what is none, whichever comes last.
                if !matches!((&value, &found), (Some(Value::Text(_)), Some(Value::Bool(_) | Value::Number(_)))) {
                    value = found.or(value.take());
                }
            }
            "endpoint" => host = endpoint(reader, "binaryAnnotations.endpoint.port")?,
            _ => reader.skip()?,
        }
        last = name;
        Ok(())
    })?;
    let Some(key) = key else {
        let cause = format!("No key at $[{span}].binaryAnnotations[{at}].{}", quoted(&last));
        return Err(Fault::new("", reader.offset(), cause));
    };
    Ok(value.and_then(|value| kept(key, value, host, options)))
}

/// `None` for a value of no use: an object or an array.
fn read_value<'a>(reader: &mut Reader<'a>) -> Result<Option<Value<'a>>, Fault> {
    Ok(match reader.first()? {
        b'"' => Some(Value::Text(reader.string()?)),
        b't' | b'T' | b'f' | b'F' => Some(Value::Bool(reader.boolean()?)),
        b'-' | b'0'..=b'9' => Some(Value::Number(reader.string()?)),
        _ => {
            reader.skip()?;
            None
        }
    })
}

/// The same rules as for Thrift (`thrift::span`).
fn kept<'a>(
    key: Cow<'a, str>,
    value: Value<'a>,
    endpoint: Option<Endpoint<'a>>,
    options: &Options,
) -> Option<V1BinaryAnnotation<'a>> {
    let address_key = matches!(&*key, "ca" | "sa" | "ma");
    let keep = options.keep_binary_annotations;
    let (keep, address, value) = match value {
        // zipkin-ruby wrote "1" for an address.
        Value::Text(text) => (true, address_key, text),
        Value::Bool(true) if address_key => (endpoint.is_some(), true, Cow::Borrowed("true")),
        Value::Bool(false) if address_key => (false, true, Cow::Borrowed("false")),
        Value::Bool(value) => (keep, false, Cow::Borrowed(if value { "true" } else { "false" })),
        Value::Number(number) => (keep, false, number),
    };
    keep.then_some(V1BinaryAnnotation { address, key, value, endpoint })
}
