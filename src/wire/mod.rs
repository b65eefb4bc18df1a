//! The formats, pure: slices in, a [`Batch`] or an error out.
//!
//! No socket, no async, no allocation that the input has not paid for. Every list, length and
//! depth is bounded by [`Limits`]. A decoder that fails leaves the batch as it found it.

pub mod base64;
pub mod detect;
mod fault;
pub mod fb303;
pub mod r#gen;
pub mod grpc;
pub mod gzip;
pub mod inflate;
pub mod json_v1;
pub mod json_v2;
pub mod proto3;
pub mod replay;
pub mod scribe;
mod text;
pub mod thrift;
pub mod v1;
pub mod zstd;

use crate::span::Batch;

/// What a decoder refuses to go beyond.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Spans in one message.
    pub spans: usize,
    /// Annotations plus tags in one span.
    pub entries: usize,
    /// Bytes of one span in canonical form: the channel's largest frame takes 1 MiB.
    pub span_bytes: usize,
    /// Depth of nested JSON or of unknown Thrift structs.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // 100,000 spans: ten times what a reporter queues; 64 levels: Thrift's own bound.
        Limits { spans: 100_000, entries: 10_000, span_bytes: 1 << 20, depth: 64 }
    }
}

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .reason)]
pub struct DecodeError {
    /// Index of the span in the message, where it was known.
    pub span: Option<usize>,
    /// The field, such as `traceId` or `localEndpoint.port`; empty where none is to blame.
    pub field: &'static str,
    /// Byte offset in the (decoded) message, where it was known.
    pub offset: Option<usize>,
    /// What was found and what was expected; Zipkin's own words where it has some.
    pub reason: String,
}

/// `wire::json_v2::decode`, `wire::proto3::decode` have this shape.
pub type Decode = fn(&[u8], &Limits, &mut Batch) -> Result<(), DecodeError>;

/// Refuses what is beyond a limit, with what was found and what is allowed.
fn over_limit(field: &'static str, offset: usize, what: &str, found: usize, limit: usize) -> Result<(), fault::Fault> {
    if found <= limit {
        return Ok(());
    }
    Err(fault::Fault::new(field, offset, format!("Over the limit of {limit} {what}: {found}")))
}
