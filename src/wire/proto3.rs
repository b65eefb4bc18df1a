//! `zipkin.proto3.ListOfSpans`, as lenient and as strict as Zipkin's own reader
//! (zipkin `Proto3ZipkinFields`): ids are padded, unknown fields and kinds skipped, broken UTF-8
//! replaced; a repeated message field replaces the former, where protobuf would merge them.
//!
//! Stricter in three things, so that nothing vanishes unseen: an element of length zero (Zipkin
//! silently drops all that follows it), a field of the list other than `spans` (Zipkin takes it
//! for one), and a nested message that goes beyond its length are refused. Laxer in two: a
//! boolean may be a varint of several bytes, a negative port of ten bytes is absent.
//! One span that is refused refuses the message; the error names it.

use std::borrow::Cow;

use super::fault::Fault;
use super::text::utf8;
use super::{DecodeError, Limits, over_limit};
use crate::span::proto::{Cursor, FIXED64, LENGTH_DELIMITED, VARINT, tag};
use crate::span::{Annotation, Batch, Endpoint, Kind, Span, TraceId};

/// Reads all of `body` and pushes its spans. No bytes are no spans.
///
/// # Errors
/// Names the first span that is refused; `batch` is then as it was.
pub fn decode(body: &[u8], limits: &Limits, batch: &mut Batch) -> Result<(), DecodeError> {
    let mark = batch.mark();
    let mut cursor = Cursor::new(body);
    let mut span = Span::default();
    let mut index = 0;
    while !cursor.is_empty() {
        if let Err(fault) = next_span(&mut cursor, index, limits, &mut span, batch) {
            batch.roll_back(mark);
            return Err(fault.in_list("proto3", Some(index)));
        }
        index += 1;
    }
    Ok(())
}

fn next_span<'a>(
    list: &mut Cursor<'a>,
    index: usize,
    limits: &Limits,
    span: &mut Span<'a>,
    batch: &mut Batch,
) -> Result<(), Fault> {
    const SPANS: u32 = tag(1, LENGTH_DELIMITED);
    let offset = list.offset();
    over_limit("", offset, "spans in a message", index + 1, limits.spans)?;
    if list.key()? != SPANS {
        return Err(Fault::malformed("", offset, "field 1 of ListOfSpans, length-delimited"));
    }
    let mut fields = list.message()?;
    if fields.is_empty() {
        return Err(Fault::malformed("", offset, "a span, found an element of length 0"));
    }
    span.clear();
    let mut ids = Ids::default();
    while !fields.is_empty() {
        read_field(&mut fields, span, &mut ids, limits)?;
    }
    ids.check(offset)?;
    batch.push(span);
    over_limit("", offset, "bytes of a span", batch.last_len(), limits.span_bytes)
}

/// Which of the required fields were there.
#[derive(Default)]
struct Ids {
    trace_id: bool,
    id: bool,
}

impl Ids {
    fn check(&self, offset: usize) -> Result<(), Fault> {
        match (self.trace_id, self.id) {
            (true, true) => Ok(()),
            (false, true) => Err(Fault::new("traceId", offset, "Missing : traceId")),
            (true, false) => Err(Fault::new("id", offset, "Missing : id")),
            (false, false) => Err(Fault::new("traceId", offset, "Missing : traceId id")),
        }
    }
}

fn read_field<'a>(cursor: &mut Cursor<'a>, span: &mut Span<'a>, ids: &mut Ids, limits: &Limits) -> Result<(), Fault> {
    const TRACE_ID: u32 = tag(1, LENGTH_DELIMITED);
    const PARENT_ID: u32 = tag(2, LENGTH_DELIMITED);
    const ID: u32 = tag(3, LENGTH_DELIMITED);
    const KIND: u32 = tag(4, VARINT);
    const NAME: u32 = tag(5, LENGTH_DELIMITED);
    const TIMESTAMP: u32 = tag(6, FIXED64);
    const DURATION: u32 = tag(7, VARINT);
    const LOCAL: u32 = tag(8, LENGTH_DELIMITED);
    const REMOTE: u32 = tag(9, LENGTH_DELIMITED);
    const ANNOTATION: u32 = tag(10, LENGTH_DELIMITED);
    const TAG: u32 = tag(11, LENGTH_DELIMITED);
    const DEBUG: u32 = tag(12, VARINT);
    const SHARED: u32 = tag(13, VARINT);
    let key = cursor.key()?;
    match key {
        TRACE_ID => (span.trace_id, ids.trace_id) = (trace_id(cursor)?, true),
        PARENT_ID => span.parent_id = span_id(cursor, "parentId")?.unwrap_or(0),
        ID => (span.id, ids.id) = (id(cursor)?, true),
        // A number that no kind has is passed over, 0 among them.
        KIND => span.kind = Kind::from_number(cursor.varint()?).or(span.kind),
        NAME => span.name = Some(text(cursor)?),
        TIMESTAMP => span.timestamp_us = cursor.fixed64()?,
        DURATION => span.duration_us = cursor.varint()?,
        LOCAL => span.local = Some(endpoint(cursor, "localEndpoint", "localEndpoint.port")?),
        REMOTE => span.remote = Some(endpoint(cursor, "remoteEndpoint", "remoteEndpoint.port")?),
        ANNOTATION => span.annotations.extend(annotation(cursor)?),
        TAG => span.tags.extend(tag_pair(cursor)?),
        DEBUG => span.debug |= boolean(cursor, "debug")?,
        SHARED => span.shared |= boolean(cursor, "shared")?,
        _ => cursor.skip(key)?,
    }
    let entries = span.annotations.len() + span.tags.len();
    over_limit("", cursor.offset(), "annotations and tags of a span", entries, limits.entries)
}

fn trace_id(cursor: &mut Cursor<'_>) -> Result<TraceId, Fault> {
    let offset = cursor.offset();
    let bytes = cursor.bytes()?;
    let refuse = |cause: &str| Err(Fault::new("traceId", offset, cause));
    match TraceId::from_be_bytes(bytes) {
        _ if bytes.is_empty() => refuse("traceId == null"),
        None => refuse("traceId.length > 32"),
        Some(id) if id.is_zero() => refuse("traceId is all zeros"),
        Some(id) => Ok(id),
    }
}

fn id(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    let offset = cursor.offset();
    match span_id(cursor, "id")? {
        None => Err(Fault::new("id", offset, "id == null")),
        Some(0) => Err(Fault::new("id", offset, "id is all zeros")),
        Some(id) => Ok(id),
    }
}

/// An id of 1 to 8 bytes, or none of 0.
fn span_id(cursor: &mut Cursor<'_>, field: &'static str) -> Result<Option<u64>, Fault> {
    let offset = cursor.offset();
    let bytes = cursor.bytes()?;
    match bytes.len() {
        0 => Ok(None),
        1..=8 => Ok(TraceId::from_be_bytes(bytes).map(|id| id.low)),
        _ => Err(Fault::new(field, offset, format!("{field}.length > 16"))),
    }
}

fn endpoint<'a>(cursor: &mut Cursor<'a>, field: &'static str, port_field: &'static str) -> Result<Endpoint<'a>, Fault> {
    const SERVICE_NAME: u32 = tag(1, LENGTH_DELIMITED);
    const IPV4: u32 = tag(2, LENGTH_DELIMITED);
    const IPV6: u32 = tag(3, LENGTH_DELIMITED);
    const PORT: u32 = tag(4, VARINT);
    let mut read = || {
        let mut fields = cursor.message()?;
        let mut endpoint = Endpoint::default();
        while !fields.is_empty() {
            let key = fields.key()?;
            match key {
                SERVICE_NAME => endpoint.service_name = Some(text(&mut fields)?),
                IPV4 | IPV6 => ip(fields.bytes()?, &mut endpoint),
                PORT => endpoint.port = port(&mut fields, port_field)?,
                _ => fields.skip(key)?,
            }
        }
        Ok(endpoint)
    };
    read().map_err(|fault: Fault| fault.within(field))
}

/// An address goes where its length says; of another length it is passed over (zipkin `Endpoint.Builder.parseIp`).
fn ip(bytes: &[u8], endpoint: &mut Endpoint<'_>) {
    if let Ok(ipv4) = bytes.try_into() {
        endpoint.ipv4 = Some(ipv4);
    } else if let Ok(ipv6) = bytes.try_into() {
        endpoint.ipv6 = Some(ipv6);
    }
}

/// An `int32` in name; what is not above 0 is absent.
fn port(cursor: &mut Cursor<'_>, field: &'static str) -> Result<u16, Fault> {
    let offset = cursor.offset();
    let port = cursor.varint()? as i32;
    u16::try_from(port.max(0)).map_err(|_| Fault::new(field, offset, format!("invalid port {port}")))
}

/// An annotation without time or text is dropped, as a proto3 writer cannot tell absent from 0 or "".
fn annotation<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Annotation<'a>>, Fault> {
    const TIMESTAMP: u32 = tag(1, FIXED64);
    const VALUE: u32 = tag(2, LENGTH_DELIMITED);
    let mut read = || {
        let mut fields = cursor.message()?;
        let mut annotation = Annotation { timestamp_us: 0, value: Cow::Borrowed("") };
        while !fields.is_empty() {
            let key = fields.key()?;
            match key {
                TIMESTAMP => annotation.timestamp_us = fields.fixed64()?,
                VALUE => annotation.value = text(&mut fields)?,
                _ => fields.skip(key)?,
            }
        }
        Ok((annotation.timestamp_us != 0 && !annotation.value.is_empty()).then_some(annotation))
    };
    read().map_err(|fault: Fault| fault.within("annotations"))
}

/// A tag without a key is dropped; its value may be "".
#[expect(clippy::type_complexity, reason = "a pair of texts is what a span's tags are")]
fn tag_pair<'a>(cursor: &mut Cursor<'a>) -> Result<Option<(Cow<'a, str>, Cow<'a, str>)>, Fault> {
    const KEY: u32 = tag(1, LENGTH_DELIMITED);
    const VALUE: u32 = tag(2, LENGTH_DELIMITED);
    let mut read = || {
        let mut fields = cursor.message()?;
        let mut pair = (Cow::Borrowed(""), Cow::Borrowed(""));
        while !fields.is_empty() {
            let key = fields.key()?;
            match key {
                KEY => pair.0 = text(&mut fields)?,
                VALUE => pair.1 = text(&mut fields)?,
                _ => fields.skip(key)?,
            }
        }
        Ok((!pair.0.is_empty()).then_some(pair))
    };
    read().map_err(|fault: Fault| fault.within("tags"))
}

fn boolean(cursor: &mut Cursor<'_>, field: &'static str) -> Result<bool, Fault> {
    let offset = cursor.offset();
    match cursor.varint()? {
        number @ 0..=1 => Ok(number == 1),
        _ => Err(Fault::malformed(field, offset, "0 or 1")),
    }
}

/// A text; bytes that are not UTF-8 become U+FFFD, as in Java's `String`.
fn text<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, str>, Fault> {
    Ok(utf8(cursor.bytes()?))
}
