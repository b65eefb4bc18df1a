//! Reads one Zipkin v1 span (zipkinCore.thrift) from a bare Thrift struct.
//!
//! As `V1ThriftSpanReader` of Zipkin: a field of another type than expected is passed over; an
//! annotation without value or time, and a binary annotation without key, value or type, is
//! dropped; invalid UTF-8 becomes U+FFFD. Strings are borrowed wherever they are valid.
//!
//! Known difference: a surrogate encoded in UTF-8 is three U+FFFD here and one in Java.

use std::borrow::Cow;

use super::{Cursor, Fault, Field, Result, kind};
use crate::span::Endpoint;
use crate::wire::Limits;
use crate::wire::v1::{Options, V1Annotation, V1BinaryAnnotation, V1Span, value};

/// Reads a span into `span`, whose lists are cleared first. Ids may come out as 0. After an
/// error `span` holds what was read before it.
pub fn read<'a>(cursor: &mut Cursor<'a>, limits: &Limits, options: &Options, span: &mut V1Span<'a>) -> Result<()> {
    let annotations = std::mem::take(&mut span.annotations);
    let binary_annotations = std::mem::take(&mut span.binary_annotations);
    *span = V1Span { annotations, binary_annotations, ..V1Span::default() };
    span.annotations.clear();
    span.binary_annotations.clear();
    let mut entries = 0;
    loop {
        match cursor.field()? {
            Field { kind: kind::STOP, .. } => return Ok(()),
            Field { kind: kind::I64, id: 1 } => span.trace_id = cursor.i64()? as u64,
            Field { kind: kind::STRING, id: 3 } => span.name = Some(text(cursor)?),
            Field { kind: kind::I64, id: 4 } => span.id = cursor.i64()? as u64,
            Field { kind: kind::I64, id: 5 } => span.parent_id = cursor.i64()? as u64,
            Field { kind: kind::LIST, id: 6 } => {
                for _ in 0..entry_count(cursor, &mut entries, limits)? {
                    span.annotations.extend(annotation(cursor, limits)?);
                }
            }
            Field { kind: kind::LIST, id: 8 } => {
                for _ in 0..entry_count(cursor, &mut entries, limits)? {
                    span.binary_annotations.extend(binary_annotation(cursor, limits, options)?);
                }
            }
            Field { kind: kind::BOOL, id: 9 } => span.debug = cursor.u8()? == 1,
            Field { kind: kind::I64, id: 10 } => span.timestamp_us = cursor.i64()?,
            Field { kind: kind::I64, id: 11 } => span.duration_us = cursor.i64()?,
            Field { kind: kind::I64, id: 12 } => span.trace_id_high = cursor.i64()? as u64,
            other => cursor.skip(other.kind, limits.depth)?,
        }
    }
}

/// The count of a list of annotations. All lists of a span together are bounded.
fn entry_count(cursor: &mut Cursor<'_>, entries: &mut usize, limits: &Limits) -> Result<usize> {
    let count = cursor.structs()?;
    *entries = entries.saturating_add(count);
    if *entries > limits.entries {
        return Err(cursor.error(Fault::TooMany { count: *entries, limit: limits.entries }));
    }
    Ok(count)
}

fn annotation<'a>(cursor: &mut Cursor<'a>, limits: &Limits) -> Result<Option<V1Annotation<'a>>> {
    let (mut timestamp_us, mut value, mut host) = (0, None, None);
    loop {
        match cursor.field()? {
            Field { kind: kind::STOP, .. } => break,
            Field { kind: kind::I64, id: 1 } => timestamp_us = cursor.i64()?,
            Field { kind: kind::STRING, id: 2 } => value = Some(text(cursor)?),
            Field { kind: kind::STRUCT, id: 3 } => host = endpoint(cursor, limits)?,
            other => cursor.skip(other.kind, limits.depth)?,
        }
    }
    Ok(value.filter(|_| timestamp_us != 0).map(|value| V1Annotation { timestamp_us, value, endpoint: host }))
}

fn binary_annotation<'a>(
    cursor: &mut Cursor<'a>,
    limits: &Limits,
    options: &Options,
) -> Result<Option<V1BinaryAnnotation<'a>>> {
    let (mut key, mut value, mut value_kind, mut host) = (None, None, None, None);
    loop {
        match cursor.field()? {
            Field { kind: kind::STOP, .. } => break,
            Field { kind: kind::STRING, id: 1 } => key = Some(text(cursor)?),
            Field { kind: kind::STRING, id: 2 } => value = Some(cursor.string()?),
            Field { kind: kind::I32, id: 3 } => value_kind = Some(cursor.i32()?),
            Field { kind: kind::STRUCT, id: 4 } => host = endpoint(cursor, limits)?,
            other => cursor.skip(other.kind, limits.depth)?,
        }
    }
    let (Some(key), Some(value), Some(value_kind)) = (key, value, value_kind) else { return Ok(None) };
    let address = matches!(&*key, "ca" | "sa" | "ma");
    let kept = match value_kind {
        value::kind::STRING => true,
        value::kind::BOOL if address => value == [1] && host.is_some(),
        _ => options.keep_binary_annotations,
    };
    Ok(kept.then(|| V1BinaryAnnotation { key, value: value::text(value_kind, value), endpoint: host }))
}

/// An endpoint with its name in lower case; `None` if nothing of it is set.
fn endpoint<'a>(cursor: &mut Cursor<'a>, limits: &Limits) -> Result<Option<Endpoint<'a>>> {
    let mut found = Endpoint::default();
    loop {
        match cursor.field()? {
            Field { kind: kind::STOP, .. } => break,
            Field { kind: kind::I32, id: 1 } => match cursor.i32()? {
                0 => {}
                address => found.ipv4 = Some(address.to_be_bytes()),
            },
            Field { kind: kind::I16, id: 2 } => found.port = cursor.i16()? as u16,
            Field { kind: kind::STRING, id: 3 } => {
                found.service_name = Some(lower(text(cursor)?)).filter(|name| !name.is_empty());
            }
            Field { kind: kind::STRING, id: 4 } => address(cursor.string()?, &mut found),
            other => cursor.skip(other.kind, limits.depth)?,
        }
    }
    Ok((found != Endpoint::default()).then_some(found))
}

/// The `ipv6` field by its length. One that embeds an IPv4 address in 96 zero bits is that
/// address, but for `::1` (Zipkin's `Endpoint.Builder.parseIp`); other lengths are ignored.
fn address(bytes: &[u8], endpoint: &mut Endpoint<'_>) {
    if let Ok(ipv4) = bytes.try_into() {
        endpoint.ipv4 = Some(ipv4);
    } else if let Ok(ipv6) = <[u8; 16]>::try_from(bytes) {
        match ipv6 {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] => endpoint.ipv6 = Some(ipv6),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => endpoint.ipv4 = Some([a, b, c, d]),
            _ => endpoint.ipv6 = Some(ipv6),
        }
    }
}

fn text<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, str>> {
    cursor.string().map(String::from_utf8_lossy)
}

fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return text;
    }
    Cow::Owned(text.to_lowercase())
}
