//! Messages of many v1 spans: what bounds them, and the Thrift list of `POST /api/v1/spans`.
//!
//! All or nothing: one span that is refused refuses the message, and the error names it. What a
//! span may become is bounded as for a Scribe entry. Bytes after the list are ignored, as Zipkin
//! does.

use std::ops::Range;

use super::{Options, Refused, V1Span, append};
use crate::span::{Batch, Span};
use crate::wire::fault::Fault;
use crate::wire::thrift::{self, Cursor, kind};
use crate::wire::{DecodeError, Limits, over_limit};

/// The v2 spans of one message of v1 spans, pushed to a batch within the message's limits.
pub(in crate::wire) struct List<'b, 'a> {
    batch: &'b mut Batch,
    limits: Limits,
    spans: Vec<Span<'a>>,
    /// Spans that the batch held before.
    before: usize,
}

impl<'b, 'a> List<'b, 'a> {
    pub fn new(limits: &Limits, batch: &'b mut Batch) -> Self {
        let before = batch.items.len();
        List { batch, limits: *limits, spans: Vec::new(), before }
    }

    /// Converts the span that was read from these bytes of the message, and pushes what came of it.
    pub fn push(&mut self, source: &mut V1Span<'a>, bytes: Range<usize>) -> Result<(), Fault> {
        let offset = bytes.start;
        append(source, bytes.len(), &self.limits, &mut self.spans, self.batch)
            .map_err(|Refused { field, cause }| Fault::new(field, offset, cause))?;
        let spans = self.batch.items.len() - self.before;
        over_limit("", offset, "spans in a message", spans, self.limits.spans)
    }
}

/// Reads a Thrift list of spans and pushes the v2 spans in them. No bytes are no spans.
///
/// # Errors
/// Names the first span that is refused, with Zipkin's reason; `batch` is then as it was.
pub fn decode_list(body: &[u8], limits: &Limits, options: &Options, batch: &mut Batch) -> Result<(), DecodeError> {
    if body.is_empty() {
        return Ok(());
    }
    let mark = batch.mark();
    let mut reading = None;
    let decoded = read_list(body, limits, options, batch, &mut reading);
    decoded.map_err(|fault| {
        batch.roll_back(mark);
        fault.in_list("TBinary", reading)
    })
}

fn read_list(
    body: &[u8],
    limits: &Limits,
    options: &Options,
    batch: &mut Batch,
    reading: &mut Option<usize>,
) -> Result<(), Fault> {
    let mut cursor = Cursor::new(body);
    let mut list = List::new(limits, batch);
    let mut source = V1Span::default();
    for index in 0..cursor.structs().map_err(broken)? {
        *reading = Some(index);
        let offset = cursor.offset();
        thrift::span::read(&mut cursor, limits, options, &mut source).map_err(broken)?;
        list.push(&mut source, offset..cursor.offset())?;
    }
    Ok(())
}

fn broken(error: thrift::Error) -> Fault {
    Fault::new("", error.offset, error.fault.to_string())
}

/// How many spans of a list are there, as far as its outline can be read.
pub fn count(body: &[u8], limits: &Limits) -> usize {
    let mut cursor = Cursor::new(body);
    let claimed = cursor.structs().unwrap_or(0);
    (0..claimed).take_while(|_| cursor.skip(kind::STRUCT, limits.depth).is_ok()).count()
}
