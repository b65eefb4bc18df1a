//! v2 spans written as v1: a Thrift struct for Scribe, Thrift and JSON lists for `/api/v1/spans`.
//!
//! Byte for byte what Zipkin's `SpanBytesEncoder.THRIFT` and `JSON_V1` write of the same spans (tests/data/v1_encode).
//! What is lost on the way is told by [`from_v2`]. On an error nothing was appended.

use super::from_v2::{self, Unsayable};
use crate::span::proto::Malformed;
use crate::span::{Span, canonical};
use crate::wire::thrift::write::structs_head;
use crate::wire::{json_v1, thrift};

/// Why spans could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error(transparent)]
    Unsayable(#[from] Unsayable),
    /// The bytes are not canonical.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// How a v1 span is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A bare struct of TBinaryProtocol.
    Thrift,
    Json,
}

/// Appends a span, which is normalised.
pub fn write_span(form: Form, span: &Span<'_>, out: &mut Vec<u8>) -> Result<(), Unsayable> {
    let said = from_v2::say(span)?;
    match form {
        Form::Thrift => thrift::write::span(&said, out),
        Form::Json => json_v1::encode::span(&said, out),
    }
    Ok(())
}

/// Appends one span, given its canonical bytes without the list's tag and length.
pub fn encode_span(form: Form, span: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    Ok(write_span(form, &canonical::read(span)?, out)?)
}

/// A list in the making, as a body of `/api/v1/spans`.
#[derive(Debug)]
pub struct ListWriter {
    form: Form,
    start: usize,
    spans: u32,
}

impl ListWriter {
    /// Begins a list at the end of `out`.
    pub fn begin(form: Form, out: &mut Vec<u8>) -> ListWriter {
        let start = out.len();
        match form {
            Form::Thrift => structs_head(0, out),
            Form::Json => out.push(b'['),
        }
        ListWriter { form, start, spans: 0 }
    }

    /// Appends a span, which is normalised.
    pub fn push(&mut self, span: &Span<'_>, out: &mut Vec<u8>) -> Result<(), Unsayable> {
        let before = out.len();
        if self.form == Form::Json && self.spans > 0 {
            out.push(b',');
        }
        write_span(self.form, span, out).inspect_err(|_| out.truncate(before))?;
        self.spans += 1;
        Ok(())
    }

    /// Closes the list.
    pub fn end(self, out: &mut Vec<u8>) {
        match self.form {
            Form::Thrift => out[self.start + 1..self.start + 5].copy_from_slice(&self.spans.to_be_bytes()),
            Form::Json => out.push(b']'),
        }
    }
}
