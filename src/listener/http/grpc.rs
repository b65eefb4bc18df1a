//! gRPC's `zipkin.proto3.SpanService/Report`, on the port of HTTP and over HTTP/2 alone.
//!
//! One unary method, by hand: its message is a `ListOfSpans`, which our own reader takes as it is
//! (RATIONALE.md says why there is no framework). As everywhere, OK goes out after durable, and a
//! request is all or nothing. Full is UNAVAILABLE, the status that clients send again after, with
//! `grpc-retry-pushback-ms`; too large is RESOURCE_EXHAUSTED; a bad span is INVALID_ARGUMENT and
//! named by index and field. Not a gRPC request at all: plain HTTP answers (415, 505).

use std::fmt::Write;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode, Version};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};

use super::connection::Connection;
use super::problem::{Problem, retry_seconds, text};
use super::spans::{self, Form};
use super::{body, routes};
use crate::listener::intake::Permit;
use crate::wire::detect::Encoding;
use crate::wire::grpc::{Message, PREFIX_BYTES, message};
use crate::wire::inflate::Coding;

pub(super) const PATH: &str = "/zipkin.proto3.SpanService/Report";

/// An empty `ReportResponse`, with its prefix.
const REPLY: &[u8] = &[0; PREFIX_BYTES];

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The codes in use here (grpc.io, "Status codes and their use in gRPC").
mod code {
    pub const OK: u16 = 0;
    pub const INVALID_ARGUMENT: u16 = 3;
    pub const DEADLINE_EXCEEDED: u16 = 4;
    pub const RESOURCE_EXHAUSTED: u16 = 8;
    pub const FAILED_PRECONDITION: u16 = 9;
    pub const UNIMPLEMENTED: u16 = 12;
    pub const INTERNAL: u16 = 13;
    pub const UNAVAILABLE: u16 = 14;
}

pub(super) async fn report(request: Request) -> Response<Body> {
    let connection = routes::connection(&request);
    let plain = if !is_grpc(request.headers()) {
        Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected content-type application/grpc\n"))
    } else if request.version() != Version::HTTP_2 {
        Some((StatusCode::HTTP_VERSION_NOT_SUPPORTED, "gRPC needs HTTP/2\n"))
    } else {
        None
    };
    if let Some((status, told)) = plain {
        let (head, body) = request.into_parts();
        unread(&connection, &head.headers, body, "not_grpc").await;
        return text(status, told);
    }
    match take(&connection, request).await {
        Ok(()) => accepted(),
        Err(problem) => {
            connection.server.logs.problem(&problem, connection.peer);
            refused(&problem)
        }
    }
}

/// `application/grpc`, which says protobuf, or `application/grpc+proto`.
fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    ["application/grpc", "application/grpc+proto"].iter().any(|known| essence.eq_ignore_ascii_case(known))
}

/// Counts what never came to be decoded.
async fn take(connection: &Connection, request: Request) -> Result<(), Problem> {
    let door = &connection.grpc.door;
    let (head, body) = request.into_parts();
    let headers = &head.headers;
    let known = spans::origin(connection, &connection.grpc, headers).and_then(|origin| Ok((origin, coding(headers)?)));
    let (origin, coding) = match known {
        Ok(known) => known,
        Err(problem) => {
            unread(connection, headers, body, problem.reason()).await;
            return Err(problem);
        }
    };
    let mut permit = connection.share.permit();
    let list = spans::counted(connection, door, read(connection, headers, body, coding, &mut permit)).await?;
    let form = Form { encoding: Encoding::Proto3, options: connection.server.v1_options() };
    spans::store(&connection.grpc, origin, form, list, permit).await
}

/// A request that is refused for its head.
async fn unread(connection: &Connection, headers: &HeaderMap, body: Body, reason: &'static str) {
    connection.grpc.door.unread(reason);
    spans::pass_over(connection, &connection.grpc.door, headers, body).await;
}

/// The one message of the request, inflated.
async fn read(
    connection: &Connection,
    headers: &HeaderMap,
    body: Body,
    coding: Option<Coding>,
    permit: &mut Permit,
) -> Result<Bytes, Problem> {
    let settings = connection.server.settings.get();
    let bytes_max = settings.body_bytes_max.saturating_add(PREFIX_BYTES);
    let limits = body::Limits { bytes_max, timeout: settings.body_timeout, rate_min: settings.body_rate_min };
    let body = body::read(headers, body, limits, permit, |bytes| connection.grpc.door.read(bytes)).await;
    let body = body.map_err(|problem| match problem {
        Problem::TooLarge { .. } => Problem::TooLarge { what: "a message", bytes_max: settings.body_bytes_max },
        other => other,
    })?;
    let Message { compressed, bytes } = message(body).map_err(Problem::Framing)?;
    match (compressed, coding) {
        (false, _) => Ok(bytes),
        (true, None) => Err(Problem::Framing("a compressed message without a grpc-encoding")),
        (true, Some(coding)) => spans::inflate(coding, &bytes, &settings, permit).await,
    }
}

fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Problem> {
    match headers.get(ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(None),
        Some(name) => Coding::of_name(name).map(Some).ok_or_else(|| Problem::encoding(name)),
    }
}

fn accepted() -> Response<Body> {
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from(code::OK))]);
    let reply = Full::new(Bytes::from_static(REPLY)).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(reply));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A status without a reply: the headers are the trailers.
fn refused(problem: &Problem) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, HeaderValue::from(code_of(problem)));
    headers.insert(MESSAGE, percent_encoded(&problem.to_string()));
    match problem {
        Problem::Refused(refusal) => {
            headers.insert(PUSHBACK, HeaderValue::from(retry_seconds(*refusal) * 1000));
        }
        Problem::Encoding(_) => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip,zstd"));
        }
        _ => {}
    }
    response
}

fn code_of(problem: &Problem) -> u16 {
    match problem {
        Problem::Invalid(_) | Problem::Corrupt(_) => code::INVALID_ARGUMENT,
        Problem::TooLarge { .. } | Problem::Ratio(_) | Problem::RefusedForGood(_) => code::RESOURCE_EXHAUSTED,
        Problem::Encoding(_) => code::UNIMPLEMENTED,
        Problem::Slow(_) | Problem::SlowRate(_) => code::DEADLINE_EXCEEDED,
        Problem::Broken(_) | Problem::Framing(_) => code::INTERNAL,
        Problem::Refused(_) => code::UNAVAILABLE,
        Problem::Loop => code::FAILED_PRECONDITION,
    }
}

/// gRPC over HTTP/2, "Status-Message": printable ASCII stands as it is, but for `%`.
fn percent_encoded(text: &str) -> HeaderValue {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(byte.into()),
            _ => write!(encoded, "%{byte:02X}").expect("a String takes every text"),
        }
    }
    HeaderValue::try_from(encoded).expect("printable ASCII is a header's value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_message_is_printable_whatever_a_span_holds() {
        assert_eq!(percent_encoded("a b~ 100%\né"), "a b~ 100%25%0A%C3%A9");
    }

    #[test]
    fn only_protobuf_is_taken_for_grpc() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("Application/GRPC+proto; a=b", true),
            ("application/grpc+json", false),
            ("application/grpc-web", false),
            ("application/x-protobuf", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            assert_eq!(is_grpc(&headers), expected, "{content_type}");
        }
    }
}
