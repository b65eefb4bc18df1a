//! What `POST /api/v2/spans` does with a body: a look at its first bytes, then the decoder.
//!
//! The content type alone chooses the encoding, as in Zipkin's `ZipkinHttpCollector`; the first
//! bytes only tell a client that sends another one what it sends. Leading space is refused here
//! although the JSON reader would take it: so does Zipkin (but for a line feed).
//!
//! Zipkin refuses every v2 JSON body in which `yAnnotations"` occurs, be it at the end of a tag.
//! Here the reader refuses a span that *has* a field `binaryAnnotations`: v1 is found as surely,
//! and no valid v2 span is taken for it.

use super::{Decode, DecodeError, Limits, json_v2, proto3};
use crate::span::Batch;

/// The encodings of the v2 endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    JsonV2,
    Proto3,
}

impl Encoding {
    /// By a request's content type; all that is not `application/x-protobuf` is JSON, as for Zipkin.
    pub fn of_content_type(content_type: Option<&str>) -> Encoding {
        let essence = content_type.and_then(|value| value.split(';').next()).map(str::trim);
        match essence {
            Some(essence) if essence.eq_ignore_ascii_case("application/x-protobuf") => Encoding::Proto3,
            _ => Encoding::JsonV2,
        }
    }

    /// Zipkin's name of it (`SpanBytesDecoder`).
    pub fn name(self) -> &'static str {
        match self {
            Encoding::JsonV2 => "JSON_V2",
            Encoding::Proto3 => "PROTO3",
        }
    }

    /// Reads a whole body. No bytes are no spans.
    ///
    /// # Errors
    /// The text of the error is the body of the answer, status 400; `batch` is then as it was.
    pub fn decode(self, body: &[u8], limits: &Limits, batch: &mut Batch) -> Result<(), DecodeError> {
        let decode: Decode = match (self, received(body)) {
            (_, Received::Nothing) => return Ok(()),
            (Encoding::JsonV2, Received::Json) => json_v2::decode,
            // Zipkin takes a line feed for the start of proto3, and its JSON reader goes on behind it.
            (Encoding::JsonV2, Received::Proto3) if body[1..].trim_ascii_start().starts_with(b"[") => json_v2::decode,
            (Encoding::Proto3, Received::Proto3) => proto3::decode,
            (_, received) => return Err(self.not_a_list(received.name(body))),
        };
        decode(body, limits, batch)
    }

    fn not_a_list(self, received: Option<&str>) -> DecodeError {
        let received = received.map(|name| format!(", but received: {name}")).unwrap_or_default();
        let reason = format!("Expected a {} encoded list{received}\n", self.name());
        DecodeError { span: None, field: "", offset: Some(0), reason }
    }
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
