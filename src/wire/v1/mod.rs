//! Zipkin's v1 span, and how it becomes v2 spans.
//!
//! v1 has no kind, no local endpoint and no `shared`: they are read out of annotations such as
//! `cs`, each with its own endpoint, so that one v1 span can be both sides of a call.
//! [`convert`] holds these rules; [`crate::wire::thrift::span`] reads a v1 span from bytes.
//!
//! [`decode_entry`] is the whole way of a Scribe entry: base64, Thrift, v2, batch. On an error
//! the batch is as before. One entry makes at most [`convert::SERVICES_MAX`] spans, four times
//! its own bytes and `Limits::span_bytes`, whatever it claims. [`decode_list`] reads a Thrift
//! list of them, [`crate::wire::json_v1`] the same in JSON.
//!
//! [`from_v2`] is the way back, with its losses; [`encode`] writes what comes of it.

pub mod convert;
pub mod encode;
pub mod from_v2;
mod list;
pub mod value;

use std::borrow::Cow;

pub(super) use self::list::List;
pub use self::list::{count, decode_list};

use crate::span::{Batch, Endpoint, Span};
use crate::wire::{DecodeError, Limits, base64, thrift};

/// A v1 span (zipkinCore.thrift). Times are signed as on the wire; 0 means absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct V1Span<'a> {
    pub trace_id_high: u64,
    pub trace_id: u64,
    pub parent_id: u64,
    pub id: u64,
    pub name: Option<Cow<'a, str>>,
    pub timestamp_us: i64,
    pub duration_us: i64,
    pub annotations: Vec<V1Annotation<'a>>,
    pub binary_annotations: Vec<V1BinaryAnnotation<'a>>,
    pub debug: bool,
}

/// An event; from Thrift its `timestamp_us` is not 0. An endpoint without name, address and port is `None`,
/// and its name is lower-case: endpoints are compared, and Zipkin lowers them first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V1Annotation<'a> {
    pub timestamp_us: i64,
    pub value: Cow<'a, str>,
    pub endpoint: Option<Endpoint<'a>>,
}

/// A tag or an address. Its value is already a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V1BinaryAnnotation<'a> {
    /// Whether `endpoint` is the other side of the call; the key says which: `ca`, `sa` or `ma`.
    pub address: bool,
    pub key: Cow<'a, str>,
    pub value: Cow<'a, str>,
    pub endpoint: Option<Endpoint<'a>>,
}

/// What a reader of v1 may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Binary annotations that are no strings become strings, by the rules of [`value`]; false
    /// drops them, and their endpoints with them, as Zipkin does since 2018.
    pub keep_binary_annotations: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { keep_binary_annotations: true }
    }
}

/// Buffers that one entry leaves to the next, so that decoding seldom allocates. At most about
/// 12 KiB: each connection has one, and there may be ten thousand.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    source: V1Span<'static>,
    spans: Vec<Span<'static>>,
}

/// Spans kept in a [`Scratch`]: a v1 span is seldom more than the two sides of a call.
const SPARE_SPANS: usize = 2;

/// Elements for which a list's room is kept: tracers write about ten annotations of each kind.
const SPARE_ENTRIES: usize = 16;

/// Bytes of room kept: more than most spans have.
const SPARE_BYTES: usize = 4 << 10;

/// Canonical bytes that an entry may become, for each of its own. Real spans shrink, and one of both
/// sides of a call has its name twice; a long name and many services would make a call of 16 MB
/// a gigabyte that nobody paid for.
const GROWTH_MAX: usize = 4;

/// Decodes one Scribe entry, the base64 text of one Thrift struct, and appends its v2 spans.
/// Bytes after the struct are ignored, as Zipkin does. Returns the number of spans.
pub fn decode_entry(
    message: &[u8],
    limits: &Limits,
    options: &Options,
    scratch: &mut Scratch,
    batch: &mut Batch,
) -> Result<usize, DecodeError> {
    let mut bytes = std::mem::take(&mut scratch.bytes);
    let result = match base64::decode(message, &mut bytes) {
        Ok(()) => decode_struct(&bytes, limits, options, scratch, batch),
        Err(error) => Err(refusal("message", Some(error.position()), format!("base64: {error}"))),
    };
    bytes.clear();
    bytes.shrink_to(SPARE_BYTES);
    scratch.bytes = bytes;
    result
}

/// The same from a bare Thrift struct.
pub fn decode_struct(
    bytes: &[u8],
    limits: &Limits,
    options: &Options,
    scratch: &mut Scratch,
    batch: &mut Batch,
) -> Result<usize, DecodeError> {
    if bytes.is_empty() {
        return Err(refusal("message", None, "empty message, expected one Thrift span".into()));
    }
    let mut source = std::mem::take(&mut scratch.source).recycle();
    let mut spans = recycle_spans(std::mem::take(&mut scratch.spans));
    let result = thrift::span::read(&mut thrift::Cursor::new(bytes), limits, options, &mut source)
        .map_err(|error| refusal("span", Some(error.offset), format!("{} reading Span from TBinary", error.fault)))
        .and_then(|()| {
            let refused = |Refused { field, cause }| refusal(field, None, format!("{cause} reading Span from TBinary"));
            append(&mut source, bytes.len(), limits, &mut spans, batch).map_err(refused)
        });
    spans.truncate(SPARE_SPANS);
    spans.shrink_to(SPARE_SPANS);
    scratch.spans = recycle_spans(spans);
    scratch.source = source.recycle();
    result
}

/// Why a v1 span makes no v2 spans.
struct Refused {
    field: &'static str,
    cause: String,
}

/// Converts `source` and pushes what came of it; on an error the batch is as before.
fn append<'a>(
    source: &mut V1Span<'a>,
    entry_bytes: usize,
    limits: &Limits,
    spans: &mut Vec<Span<'a>>,
    batch: &mut Batch,
) -> Result<usize, Refused> {
    for (id, field, cause) in [(source.trace_id, "trace_id", "traceId == 0"), (source.id, "id", "id == 0")] {
        if id == 0 {
            return Err(Refused { field, cause: cause.to_owned() });
        }
    }
    let count =
        convert::convert(source, spans).map_err(|error| Refused { field: "annotations", cause: error.to_string() })?;
    let (mark, start) = (batch.mark(), batch.body.len());
    let most = limits.span_bytes.min(entry_bytes.saturating_mul(GROWTH_MAX));
    for span in &mut spans[..count] {
        batch.push(span);
        let grown = batch.body.len() - start;
        if grown > most {
            batch.roll_back(mark);
            let cause = format!("span of {grown} bytes or more, at most {most} are taken");
            return Err(Refused { field: "span", cause });
        }
    }
    Ok(count)
}

fn refusal(field: &'static str, offset: Option<usize>, reason: String) -> DecodeError {
    DecodeError { span: None, field, offset, reason }
}

impl V1Span<'_> {
    /// Empties the span and keeps the room of its lists.
    pub fn clear(&mut self) {
        let (mut annotations, mut binary) =
            (std::mem::take(&mut self.annotations), std::mem::take(&mut self.binary_annotations));
        annotations.clear();
        binary.clear();
        *self = V1Span { annotations, binary_annotations: binary, ..V1Span::default() };
    }

    /// An empty span with the lists' room, for bytes that live elsewhere.
    fn recycle<'b>(self) -> V1Span<'b> {
        V1Span {
            annotations: room(self.annotations),
            binary_annotations: room(self.binary_annotations),
            ..V1Span::default()
        }
    }
}

fn recycle_spans<'b>(spans: Vec<Span<'_>>) -> Vec<Span<'b>> {
    let empty = |span: Span<'_>| Span { annotations: room(span.annotations), tags: room(span.tags), ..Span::default() };
    spans.into_iter().map(empty).collect()
}

/// An empty list, of elements with other lifetimes, in the memory of `list` unless that is large.
///
/// std collects a `Vec`'s own iterator in place where sizes agree; if it did not, this would
/// cost an allocation and nothing else.
fn room<T, U>(mut list: Vec<T>) -> Vec<U> {
    if list.capacity() > SPARE_ENTRIES {
        return Vec::new();
    }
    list.clear();
    list.into_iter().map(|_| unreachable!("the list is empty")).collect()
}

#[cfg(test)]
mod tests;
