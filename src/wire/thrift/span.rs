//! Reads one Zipkin v1 span (zipkinCore.thrift) from a bare Thrift struct.
//!
//! As `V1ThriftSpanReader` of Zipkin: a field of another type than expected is passed over; an
//! annotation without value or time, and a binary annotation without key, value or type, is
//! dropped; invalid UTF-8 becomes U+FFFD. Strings are borrowed wherever they are valid.
//! Unlike it, a negative length is refused (it walks backwards), and counts and depth are bounded.

use std::borrow::Cow;

use super::{Cursor, Fault, Field, Result, kind};
use crate::span::Endpoint;
use crate::wire::Limits;
use crate::wire::text::utf8;
use crate::wire::v1::{Options, V1Annotation, V1BinaryAnnotation, V1Span, value};

/// Reads a span into `span`, whose lists are cleared first. Ids may come out as 0. After an
/// error `span` holds what was read before it.
pub fn read<'a>(cursor: &mut Cursor<'a>, limits: &Limits, options: &Options, span: &mut V1Span<'a>) -> Result<()> {
    span.clear();
    Reader { cursor, limits, options, entries: 0, last_host: None }.span(span)
}

struct Reader<'r, 'a> {
    cursor: &'r mut Cursor<'a>,
    limits: &'r Limits,
    options: &'r Options,
    /// Annotations of both kinds announced so far.
    entries: usize,
    /// The endpoint read last, and its bytes: most spans repeat one on each annotation, and
    /// equal bytes are an equal endpoint.
    last_host: Option<(&'a [u8], Option<Endpoint<'a>>)>,
}

impl<'a> Reader<'_, 'a> {
    fn span(&mut self, span: &mut V1Span<'a>) -> Result<()> {
        loop {
            match self.cursor.field()? {
                Field { kind: kind::STOP, .. } => return Ok(()),
                Field { kind: kind::I64, id: 1 } => span.trace_id = self.cursor.i64()? as u64,
                Field { kind: kind::STRING, id: 3 } => span.name = Some(self.text()?),
                Field { kind: kind::I64, id: 4 } => span.id = self.cursor.i64()? as u64,
                Field { kind: kind::I64, id: 5 } => span.parent_id = self.cursor.i64()? as u64,
                Field { kind: kind::LIST, id: 6 } => {
                    for _ in 0..self.entry_count()? {
                        span.annotations.extend(self.annotation()?);
                    }
                }
                Field { kind: kind::LIST, id: 8 } => {
                    for _ in 0..self.entry_count()? {
                        span.binary_annotations.extend(self.binary_annotation()?);
                    }
                }
                Field { kind: kind::BOOL, id: 9 } => span.debug = self.cursor.u8()? == 1,
                Field { kind: kind::I64, id: 10 } => span.timestamp_us = self.cursor.i64()?,
                Field { kind: kind::I64, id: 11 } => span.duration_us = self.cursor.i64()?,
                Field { kind: kind::I64, id: 12 } => span.trace_id_high = self.cursor.i64()? as u64,
                other => self.skip(other)?,
            }
        }
    }

    /// The count of a list of annotations. All lists of a span together are bounded.
    fn entry_count(&mut self) -> Result<usize> {
        let count = self.cursor.structs()?;
        self.entries = self.entries.saturating_add(count);
        if self.entries > self.limits.entries {
            return Err(self.cursor.error(Fault::TooMany { count: self.entries, limit: self.limits.entries }));
        }
        Ok(count)
    }

    fn annotation(&mut self) -> Result<Option<V1Annotation<'a>>> {
        let (mut timestamp_us, mut value, mut endpoint) = (0, None, None);
        loop {
            match self.cursor.field()? {
                Field { kind: kind::STOP, .. } => break,
                Field { kind: kind::I64, id: 1 } => timestamp_us = self.cursor.i64()?,
                Field { kind: kind::STRING, id: 2 } => value = Some(self.text()?),
                Field { kind: kind::STRUCT, id: 3 } => endpoint = self.host()?,
                other => self.skip(other)?,
            }
        }
        Ok(value.filter(|_| timestamp_us != 0).map(|value| V1Annotation { timestamp_us, value, endpoint }))
    }

    fn binary_annotation(&mut self) -> Result<Option<V1BinaryAnnotation<'a>>> {
        let (mut key, mut value, mut value_kind, mut endpoint) = (None, None, None, None);
        loop {
            match self.cursor.field()? {
                Field { kind: kind::STOP, .. } => break,
                Field { kind: kind::STRING, id: 1 } => key = Some(self.text()?),
                Field { kind: kind::STRING, id: 2 } => value = Some(self.cursor.string()?),
                Field { kind: kind::I32, id: 3 } => value_kind = Some(self.cursor.i32()?),
                Field { kind: kind::STRUCT, id: 4 } => endpoint = self.host()?,
                other => self.skip(other)?,
            }
        }
        let (Some(key), Some(value), Some(value_kind)) = (key, value, value_kind) else { return Ok(None) };
        let address_key = matches!(&*key, "ca" | "sa" | "ma");
        let (kept, address) = match value_kind {
            // zipkin-ruby wrote "1" for an address: with STRING the value does not matter.
            value::kind::STRING => (true, address_key),
            value::kind::BOOL if address_key => (value == [1] && endpoint.is_some(), true),
            _ => (self.options.keep_binary_annotations, false),
        };
        Ok(kept.then(|| V1BinaryAnnotation { address, key, value: value::text(value_kind, value), endpoint }))
    }

    fn host(&mut self) -> Result<Option<Endpoint<'a>>> {
        if let Some((bytes, host)) = &self.last_host
            && self.cursor.pass(bytes)
        {
            return Ok(host.clone());
        }
        let before = self.cursor.rest();
        let host = self.endpoint()?;
        let length = before.len() - self.cursor.remaining();
        self.last_host = Some((&before[..length], host.clone()));
        Ok(host)
    }

    /// An endpoint with its name in lower case; `None` if nothing of it is set.
    fn endpoint(&mut self) -> Result<Option<Endpoint<'a>>> {
        let mut found = Endpoint::default();
        loop {
            match self.cursor.field()? {
                Field { kind: kind::STOP, .. } => break,
                Field { kind: kind::I32, id: 1 } => match self.cursor.i32()? {
                    0 => {}
                    address => found.ipv4 = Some(address.to_be_bytes()),
                },
                Field { kind: kind::I16, id: 2 } => found.port = self.cursor.i16()? as u16,
                Field { kind: kind::STRING, id: 3 } => {
                    found.service_name = Some(lower(self.text()?)).filter(|name| !name.is_empty());
                }
                Field { kind: kind::STRING, id: 4 } => address(self.cursor.string()?, &mut found),
                other => self.skip(other)?,
            }
        }
        let set = found.service_name.is_some() || found.ipv4.is_some() || found.ipv6.is_some() || found.port != 0;
        Ok(set.then_some(found))
    }

    #[inline]
    fn text(&mut self) -> Result<Cow<'a, str>> {
        self.cursor.string().map(utf8)
    }

    fn skip(&mut self, field: Field) -> Result<()> {
        self.cursor.skip(field.kind, self.limits.depth)
    }
}

/// The `ipv6` field by its length; 4 bytes are an IPv4 address, other lengths are ignored
/// (Zipkin's `Endpoint.Builder.parseIp`).
fn address(bytes: &[u8], endpoint: &mut Endpoint<'_>) {
    if let Ok(ipv4) = bytes.try_into() {
        endpoint.ipv4 = Some(ipv4);
    } else if let Ok(ipv6) = bytes.try_into() {
        endpoint.ipv6 = Some(ipv6);
    }
}

/// The name in lower case, as `Endpoint.Builder.serviceName` makes it.
fn lower(name: Cow<'_, str>) -> Cow<'_, str> {
    // Folded over all bytes rather than ended at the first: names are short, and this has no branch.
    let lower = name.bytes().fold(true, |lower, byte| lower & (byte.is_ascii() & !byte.is_ascii_uppercase()));
    if lower { name } else { Cow::Owned(name.to_lowercase()) }
}
