//! Canonical bytes read: splitting a `ListOfSpans`, and a span from its bytes.
//!
//! An *element* is a span with the list's tag and length before it, as it stands in a frame;
//! *span bytes* are what is within. The readers take what [`Batch::push`](super::Batch::push)
//! wrote and refuse anything else with the byte at which it differs; they check no order.

use std::borrow::Cow;

use super::proto::{Cursor, FIXED64, LENGTH_DELIMITED, Malformed, Problem, VARINT, tag};
use super::{Annotation, Endpoint, Kind, Span, TraceId};

const ELEMENT: u32 = tag(1, LENGTH_DELIMITED);

/// The span bytes of each element of a `ListOfSpans`. Ends after the first error.
pub fn elements(list: &[u8]) -> Elements<'_> {
    Elements { cursor: Cursor::new(list) }
}

/// See [`elements`].
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8], Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.is_empty() {
            return None;
        }
        let element = next_element(&mut self.cursor);
        if element.is_err() {
            self.cursor = Cursor::new(&[]);
        }
        Some(element)
    }
}

fn next_element<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Malformed> {
    let start = *cursor;
    match cursor.key()? {
        ELEMENT => cursor.bytes(),
        _ => Err(start.error(Problem::Span)),
    }
}

/// The span bytes of one element, which must be all of `element`.
pub fn span_bytes(element: &[u8]) -> Result<&[u8], Malformed> {
    let mut cursor = Cursor::new(element);
    let span = next_element(&mut cursor)?;
    if cursor.is_empty() { Ok(span) } else { Err(cursor.error(Problem::Span)) }
}

/// The trace id, which is a span's first field; the rest is not looked at.
pub fn trace_id_of(span: &[u8]) -> Result<TraceId, Malformed> {
    let mut cursor = Cursor::new(span);
    match cursor.key()? {
        TRACE_ID => trace_id(&mut cursor),
        _ => Err(Cursor::new(span).error(Problem::Span)),
    }
}

/// The timestamp, microseconds since the epoch, 0 for none; what comes behind it is not looked at.
pub fn timestamp_of(span: &[u8]) -> Result<u64, Malformed> {
    let mut cursor = Cursor::new(span);
    while !cursor.is_empty() {
        match cursor.key()? {
            TRACE_ID | PARENT_ID | ID | NAME => _ = cursor.bytes()?,
            KIND => _ = cursor.varint()?,
            TIMESTAMP => return cursor.fixed64(),
            _ => break,
        }
    }
    Ok(0)
}

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

/// A span from its bytes, borrowing every text.
pub fn read(span: &[u8]) -> Result<Span<'_>, Malformed> {
    let mut cursor = Cursor::new(span);
    let mut out = Span::default();
    while !cursor.is_empty() {
        read_field(&mut cursor, &mut out)?;
    }
    match out.zero_id() {
        None => Ok(out),
        Some(_) => Err(cursor.error(Problem::Span)),
    }
}

fn read_field<'a>(cursor: &mut Cursor<'a>, out: &mut Span<'a>) -> Result<(), Malformed> {
    let start = *cursor;
    match cursor.key()? {
        TRACE_ID => out.trace_id = trace_id(cursor)?,
        PARENT_ID => out.parent_id = u64::from_be_bytes(exactly(cursor)?),
        ID => out.id = u64::from_be_bytes(exactly(cursor)?),
        KIND => out.kind = Some(Kind::from_number(cursor.varint()?).ok_or_else(|| start.error(Problem::Span))?),
        NAME => out.name = Some(text(cursor)?),
        TIMESTAMP => out.timestamp_us = cursor.fixed64()?,
        DURATION => out.duration_us = cursor.varint()?,
        LOCAL => out.local = Some(endpoint(cursor.message()?)?),
        REMOTE => out.remote = Some(endpoint(cursor.message()?)?),
        ANNOTATION => out.annotations.push(annotation(cursor.message()?)?),
        TAG => out.tags.push(tag_pair(cursor.message()?)?),
        DEBUG => out.debug = cursor.varint()? == 1,
        SHARED => out.shared = cursor.varint()? == 1,
        _ => return Err(start.error(Problem::Span)),
    }
    Ok(())
}

fn endpoint(mut cursor: Cursor<'_>) -> Result<Endpoint<'_>, Malformed> {
    const SERVICE_NAME: u32 = tag(1, LENGTH_DELIMITED);
    const IPV4: u32 = tag(2, LENGTH_DELIMITED);
    const IPV6: u32 = tag(3, LENGTH_DELIMITED);
    const PORT: u32 = tag(4, VARINT);
    let mut out = Endpoint::default();
    while !cursor.is_empty() {
        let start = cursor;
        match cursor.key()? {
            SERVICE_NAME => out.service_name = Some(text(&mut cursor)?),
            IPV4 => out.ipv4 = Some(exactly(&mut cursor)?),
            IPV6 => out.ipv6 = Some(exactly(&mut cursor)?),
            PORT => out.port = u16::try_from(cursor.varint()?).map_err(|_| start.error(Problem::Span))?,
            _ => return Err(start.error(Problem::Span)),
        }
    }
    Ok(out)
}

fn annotation(mut cursor: Cursor<'_>) -> Result<Annotation<'_>, Malformed> {
    const TIMESTAMP: u32 = tag(1, FIXED64);
    const VALUE: u32 = tag(2, LENGTH_DELIMITED);
    let mut out = Annotation { timestamp_us: 0, value: Cow::Borrowed("") };
    while !cursor.is_empty() {
        let start = cursor;
        match cursor.key()? {
            TIMESTAMP => out.timestamp_us = cursor.fixed64()?,
            VALUE => out.value = text(&mut cursor)?,
            _ => return Err(start.error(Problem::Span)),
        }
    }
    Ok(out)
}

fn tag_pair(mut cursor: Cursor<'_>) -> Result<(Cow<'_, str>, Cow<'_, str>), Malformed> {
    const KEY: u32 = tag(1, LENGTH_DELIMITED);
    const VALUE: u32 = tag(2, LENGTH_DELIMITED);
    let mut out = (Cow::Borrowed(""), Cow::Borrowed(""));
    while !cursor.is_empty() {
        let start = cursor;
        match cursor.key()? {
            KEY => out.0 = text(&mut cursor)?,
            VALUE => out.1 = text(&mut cursor)?,
            _ => return Err(start.error(Problem::Span)),
        }
    }
    Ok(out)
}

fn trace_id(cursor: &mut Cursor<'_>) -> Result<TraceId, Malformed> {
    let start = *cursor;
    let bytes = cursor.bytes()?;
    match (bytes.len(), TraceId::from_be_bytes(bytes)) {
        (8 | 16, Some(id)) => Ok(id),
        _ => Err(start.error(Problem::Span)),
    }
}

fn exactly<const N: usize>(cursor: &mut Cursor<'_>) -> Result<[u8; N], Malformed> {
    let start = *cursor;
    cursor.bytes()?.try_into().map_err(|_| start.error(Problem::Span))
}

fn text<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, str>, Malformed> {
    let start = *cursor;
    let bytes = cursor.bytes()?;
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| start.error(Problem::Text))
}
