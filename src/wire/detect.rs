//! What `POST /api/v2/spans` and `/api/v1/spans` do with a body: a look at its first bytes, then the decoder.
//!
//! The content type alone chooses the encoding, as in Zipkin's `ZipkinHttpCollector`; the first
//! bytes only tell a client that sends another one what it sends. Leading space is refused here
//! although the JSON reader would take it: so does Zipkin (but for a line feed).
//!
//! Zipkin refuses every v2 JSON body in which `yAnnotations"` occurs, be it at the end of a tag.
//! Here the reader refuses a span that *has* a field `binaryAnnotations`: v1 is found as surely,
//! and no valid v2 span is taken for it. Likewise `json_v1` with a field of v2.

use serde::de::IgnoredAny;

use super::v1::{self, Options};
use super::{DecodeError, Limits, json_v1, json_v2, proto3};
use crate::span::{Batch, canonical};

/// The encodings of a message of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    JsonV2,
    Proto3,
    JsonV1,
    Thrift,
}

impl Encoding {
    /// By a content type at the v2 endpoint; all that is not `application/x-protobuf` is JSON, as for Zipkin.
    pub fn of_content_type(content_type: Option<&str>) -> Encoding {
        if is(content_type, "application/x-protobuf") { Encoding::Proto3 } else { Encoding::JsonV2 }
    }

    /// The same at the v1 endpoint, where `application/x-thrift` alone is not JSON.
    pub fn of_v1_content_type(content_type: Option<&str>) -> Encoding {
        if is(content_type, "application/x-thrift") { Encoding::Thrift } else { Encoding::JsonV1 }
    }

    /// Zipkin's name of it (`SpanBytesDecoder`).
    pub fn name(self) -> &'static str {
        match self {
            Encoding::JsonV2 => "JSON_V2",
            Encoding::Proto3 => "PROTO3",
            Encoding::JsonV1 => "JSON_V1",
            Encoding::Thrift => "THRIFT",
        }
    }

    /// Reads a whole body; `options` are for v1. No bytes are no spans.
    ///
    /// # Errors
    /// The text of the error is the body of the answer, status 400; `batch` is then as it was.
    pub fn decode(self, body: &[u8], limits: &Limits, options: &Options, batch: &mut Batch) -> Result<(), DecodeError> {
        // Zipkin takes a line feed for the start of proto3, and its JSON reader goes on behind it.
        let json_after_line_feed = || body[1..].trim_ascii_start().starts_with(b"[");
        let received = match (self, received(body)) {
            (Encoding::JsonV2 | Encoding::JsonV1, Received::Proto3) if json_after_line_feed() => Received::Json,
            (_, received) => received,
        };
        match (self, received) {
            (_, Received::Nothing) => Ok(()),
            (Encoding::JsonV2, Received::Json) => json_v2::decode(body, limits, batch),
            (Encoding::Proto3, Received::Proto3) => proto3::decode(body, limits, batch),
            (Encoding::JsonV1, Received::Json) => json_v1::decode(body, limits, options, batch),
            (Encoding::Thrift, Received::Thrift) => v1::decode_list(body, limits, options, batch),
            (_, received) => Err(self.not_a_list(received.name(body))),
        }
    }

    /// How many spans a body that was refused holds, as far as its outline can be read.
    pub fn count(self, body: &[u8], limits: &Limits) -> usize {
        match self {
            Encoding::JsonV2 | Encoding::JsonV1 => {
                serde_json::from_slice::<Vec<IgnoredAny>>(body).map_or(0, |spans| spans.len())
            }
            Encoding::Proto3 => canonical::elements(body).filter(Result::is_ok).count(),
            Encoding::Thrift => v1::count(body, limits),
        }
    }

    fn not_a_list(self, received: Option<&str>) -> DecodeError {
        let received = received.map(|name| format!(", but received: {name}")).unwrap_or_default();
        let reason = format!("Expected a {} encoded list{received}\n", self.name());
        DecodeError { span: None, field: "", offset: Some(0), reason }
    }
}

/// Whether a content type is `essence`, whatever its parameters.
fn is(content_type: Option<&str>, essence: &str) -> bool {
    let found = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    found.is_some_and(|found| found.eq_ignore_ascii_case(essence))
}

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Received {
    Nothing,
    Json,
    Proto3,
    Thrift,
    Unknown,
}

/// Zipkin's `SpanBytesDecoderDetector.decoderForListMessage`; 0x0c and 0x0b begin a Thrift list.
fn received(body: &[u8]) -> Received {
    match body {
        [] => Received::Nothing,
        [b'[', ..] => Received::Json,
        // Zipkin wants a length above 0 here; where it is 0, the proto3 reader tells what is wrong with it.
        [0x0a, _, ..] => Received::Proto3,
        [0x0b | 0x0c, ..] => Received::Thrift,
        _ => Received::Unknown,
    }
}

impl Received {
    fn name(self, body: &[u8]) -> Option<&'static str> {
        let has = |part: &[u8]| body.windows(part.len()).any(|window| window == part);
        match self {
            Received::Nothing | Received::Unknown => None,
            Received::Thrift => Some("THRIFT"),
            Received::Proto3 => Some("PROTO3"),
            Received::Json if has(b"Endpoint\"") || has(b"\"tags\"") => Some("JSON_V2"),
            Received::Json => Some("JSON_V1"),
        }
    }
}

#[cfg(test)]
mod tests;
