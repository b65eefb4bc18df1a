//! Spans written into messages, one message at a time, by the gateway's own writers.

use crate::span::{Batch, Span};
use crate::wire::json_v2;
use crate::wire::scribe::call::LogCall;
use crate::wire::v1::encode::{Form, ListWriter, write_span};

use super::options::Format;

/// The category of Zipkin's spans.
const CATEGORY: &str = "zipkin";
/// A connection has one call under way, so one sequence number is enough.
pub const SEQID: i32 = 1;

/// Of spans of ours: their trace ids have no half of zeros, their names are short.
const SAYABLE: &str = "v1 can say what is made up here";

pub struct Encoder {
    format: Format,
    open: Open,
    /// One span as Thrift, before it is an entry.
    entry: Vec<u8>,
    /// Writes a span as proto3.
    batch: Batch,
}

/// What has to be closed at a message's end.
enum Open {
    Nothing,
    List(ListWriter),
    Call(LogCall),
}

impl Encoder {
    pub fn new(format: Format) -> Encoder {
        Encoder { format, open: Open::Nothing, entry: Vec::new(), batch: Batch::default() }
    }

    /// Begins a message in `out`, which is empty.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        self.open = match self.format {
            Format::Scribe => Open::Call(LogCall::begin(SEQID, out)),
            Format::JsonV1 => Open::List(ListWriter::begin(Form::Json, out)),
            Format::Thrift => Open::List(ListWriter::begin(Form::Thrift, out)),
            Format::Json => {
                out.push(b'[');
                Open::Nothing
            }
            Format::Proto3 => Open::Nothing,
        };
    }

    pub fn push(&mut self, span: &mut Span<'_>, out: &mut Vec<u8>) {
        match (&mut self.open, self.format) {
            (Open::List(list), _) => list.push(span, out).expect(SAYABLE),
            (Open::Call(call), _) => {
                self.entry.clear();
                write_span(Form::Thrift, span, &mut self.entry).expect(SAYABLE);
                call.entry(CATEGORY, &self.entry, out);
            }
            (Open::Nothing, Format::Json) => {
                if out.len() > 1 {
                    out.push(b',');
                }
                json_v2::write_span(span, out);
            }
            (Open::Nothing, _) => {
                self.batch.clear();
                self.batch.push(span);
                out.extend_from_slice(&self.batch.body);
            }
        }
    }

    pub fn end(&mut self, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::List(list) => list.end(out),
            Open::Call(call) => call.end(out),
            Open::Nothing if self.format == Format::Json => out.push(b']'),
            Open::Nothing => {}
        }
    }
}
