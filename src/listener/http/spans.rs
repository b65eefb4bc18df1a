//! `POST /api/v2/spans`: a request is all or nothing, and 202 only after durable.
//!
//! In order: has it been here before (508), how is it encoded (415), read it within permits
//! (413, 408, 503), inflate it within bounds (413, 400), decode it (400), append it (503), 202.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use serde::de::IgnoredAny;

use super::body;
use super::connection::Connection;
use super::problem::Problem;
use super::routes;
use crate::channel::Origin;
use crate::listener::heavy;
use crate::listener::intake::{Group, Message, Permit};
use crate::span::{Batch, canonical};
use crate::wire::detect::Encoding;
use crate::wire::gzip::{self, GzipError};
use crate::wire::{DecodeError, Limits};

/// Channels that a request has passed: each gateway on the way adds its own.
const VIA: &str = "spangate-via";

/// Gateways in a row that are believed; more are a loop through gateways that do not know theirs.
const VIA_MAX: usize = 8;

/// A channel's id is 32 characters; others' ids are kept up to this.
const VIA_BYTES_MAX: usize = 64;

pub(super) async fn post(request: Request) -> Response<Body> {
    let connection = routes::connection(&request);
    match take(&connection, request).await {
        Ok(()) => {
            let mut accepted = Response::new(Body::empty());
            *accepted.status_mut() = StatusCode::ACCEPTED;
            accepted
        }
        Err(problem) => {
            connection.server.logs.problem(&problem, connection.peer);
            problem.response()
        }
    }
}

/// Counts what never came to be decoded.
async fn take(connection: &Connection, request: Request) -> Result<(), Problem> {
    let door = &connection.server.door;
    let (head, body) = request.into_parts();
    let headers = &head.headers;
    let (origin, gzipped) = match origin(connection, headers).and_then(|origin| Ok((origin, gzipped(headers)?))) {
        Ok(known) => known,
        Err(problem) => {
            door.unread();
            pass_over(connection, headers, body).await;
            return Err(problem);
        }
    };
    let mut permit = connection.share.permit();
    let body = read(connection, headers, body, gzipped, &mut permit).await.inspect_err(|_| door.unread())?;
    if body.is_empty() {
        door.empty(0);
        return Ok(());
    }
    let decoded_bytes = body.len();
    let batch = decode(headers, &body).map_err(|(error, spans)| {
        door.invalid(spans, decoded_bytes);
        Problem::Invalid(error)
    })?;
    drop(body);
    if batch.items.is_empty() {
        door.empty(decoded_bytes);
        return Ok(());
    }
    let groups = vec![Group { origin, batch, ..Group::default() }];
    door.accept(Message { groups, decoded_bytes }, permit).await.map_err(Problem::Refused)
}

/// Reads the body of a request that is refused for its head, and counts its bytes.
pub(super) async fn pass_over(connection: &Connection, headers: &HeaderMap, body: Body) {
    let bytes_max = connection.server.settings.body_bytes_max;
    body::pass_over(headers, body, bytes_max, |bytes| connection.server.door.read(bytes)).await;
}

/// Where the request came from, with the channels that it passed.
fn origin(connection: &Connection, headers: &HeaderMap) -> Result<Arc<Origin>, Problem> {
    let via: Vec<String> = headers
        .get_all(VIA)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|one| String::from_utf8_lossy(one.trim_ascii()).into_owned())
        .filter(|one| !one.is_empty())
        .collect();
    if via.is_empty() {
        return Ok(connection.origin.clone());
    }
    let own = connection.server.door.intake().channel_id();
    if via.len() > VIA_MAX || via.iter().any(|one| one == own) {
        return Err(Problem::Loop);
    }
    let cut = |one: String| one[..one.floor_char_boundary(VIA_BYTES_MAX)].to_owned();
    let passed = via.into_iter().map(|one| ("via".to_owned(), cut(one)));
    Ok(Arc::new(Origin(connection.origin.0.iter().cloned().chain(passed).collect())))
}

/// Whether the body is compressed. Zipkin would try to parse what it cannot decompress; 415 says
/// what is wrong instead.
fn gzipped(headers: &HeaderMap) -> Result<bool, Problem> {
    let mut gzipped = false;
    for value in headers.get_all(CONTENT_ENCODING) {
        for coding in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            match coding.to_ascii_lowercase().as_slice() {
                b"" | b"identity" => {}
                b"gzip" | b"x-gzip" if !gzipped => gzipped = true,
                _ => return Err(Problem::Encoding(String::from_utf8_lossy(coding).chars().take(40).collect())),
            }
        }
    }
    Ok(gzipped)
}

/// The body, inflated.
async fn read(
    connection: &Connection,
    headers: &HeaderMap,
    body: Body,
    gzipped: bool,
    permit: &mut Permit,
) -> Result<Bytes, Problem> {
    let settings = &connection.server.settings;
    let limits = body::Limits { bytes_max: settings.body_bytes_max, timeout: settings.body_timeout };
    let body = body::read(headers, body, limits, permit, |bytes| connection.server.door.read(bytes)).await?;
    if !gzipped || body.is_empty() {
        return Ok(body);
    }
    inflate(&body, settings.decoded_bytes_max, settings.decoded_ratio_max, permit).await
}

/// Takes permits for what the body says that it holds (RFC 1952: the length modulo 2^32 ends a
/// member), and where that is not the truth, for all that its ratio allows: a few bytes that lie
/// must not make everyone else wait for the whole budget.
async fn inflate(body: &[u8], bytes_max: usize, ratio_max: usize, permit: &mut Permit) -> Result<Bytes, Problem> {
    let most = gzip::most(body.len(), bytes_max, ratio_max);
    let trailer = body.last_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    let mut room = trailer.min(most);
    loop {
        permit.grow(body.len().saturating_add(room)).await.map_err(Problem::Refused)?;
        match heavy(room, || gzip::decode(body, room, ratio_max)) {
            Ok(inflated) => return Ok(inflated.into()),
            Err(GzipError::TooLarge { .. }) if room < most => room = most,
            Err(GzipError::TooLarge { .. }) if most == bytes_max => {
                return Err(Problem::TooLarge { what: "a decompressed body", bytes_max });
            }
            Err(GzipError::TooLarge { .. } | GzipError::RatioTooHigh { .. }) => return Err(Problem::Ratio(ratio_max)),
            Err(GzipError::Corrupt) => return Err(Problem::Gzip),
        }
    }
}

/// The spans of a body; or the first fault, and how many spans it costs.
fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Batch, (DecodeError, usize)> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let encoding = Encoding::of_content_type(content_type);
    heavy(body.len(), || {
        let mut batch = Batch::default();
        match encoding.decode(body, &Limits::default(), &mut batch) {
            Ok(()) => Ok(batch),
            Err(error) => {
                let spans = count(encoding, body).max(error.span.map_or(0, |index| index + 1));
                Err((error, spans))
            }
        }
    })
}

/// How many spans a body that was refused holds, as far as its outline can be read.
fn count(encoding: Encoding, body: &[u8]) -> usize {
    match encoding {
        Encoding::JsonV2 => serde_json::from_slice::<Vec<IgnoredAny>>(body).map_or(0, |spans| spans.len()),
        Encoding::Proto3 => canonical::elements(body).filter(Result::is_ok).count(),
    }
}
