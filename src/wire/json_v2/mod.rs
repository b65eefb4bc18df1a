//! Zipkin's JSON v2: a list of spans read, and canonical spans written.
//!
//! Reading is as lenient and as strict as Zipkin's `V2SpanReader` on gson (the cases are in
//! tests/data/json_v2): numbers where texts are wanted, texts where numbers are, raw control
//! characters, anything after the list; no half span, no trailing comma. It reads the body in
//! one pass, borrows what it can, and builds no tree. Writing gives the bytes of `V2SpanWriter`.
//!
//! Stricter in three things: an id of zero is refused in every spelling, a span with the v1 field
//! `binaryAnnotations` is told to be v1, and nesting ends at [`Limits::depth`](super::Limits).

pub(super) mod encode;
mod ip;
mod number;
mod reader;
mod span;

#[cfg(test)]
mod tests;

pub use encode::{encode_list, encode_span, hex, write_span};
pub use ip::write_ipv6;
pub(super) use reader::{Reader, quoted};
pub(super) use span::endpoint;

use std::borrow::Cow;

use super::text::utf8;
use super::{DecodeError, Limits};
use crate::span::Batch;

/// Reads a list of spans and pushes them. No bytes are no spans; so is `[]`.
///
/// # Errors
/// Names the first span that is refused, its field and Zipkin's reason; `batch` is then as it was. The offset counts
/// in the body as it was read: each sequence that is not UTF-8 is three bytes there.
pub fn decode(body: &[u8], limits: &Limits, batch: &mut Batch) -> Result<(), DecodeError> {
    let text = text(body);
    let mark = batch.mark();
    let decoded = span::decode_list(&text, limits, batch);
    if decoded.is_err() {
        batch.roll_back(mark);
    }
    decoded
}

/// A body as text. One check of the whole is cheaper than one per text within. Java replaces what is not UTF-8; so do
/// we.
pub(super) fn text(body: &[u8]) -> Cow<'_, str> {
    match simdutf8::basic::from_utf8(body) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => utf8(body),
    }
}
