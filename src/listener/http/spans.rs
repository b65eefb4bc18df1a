//! `POST /api/v2/spans` and `/api/v1/spans`: a request is all or nothing, and 202 only after durable.
//!
//! In order: has it been here before (508), how is it encoded (415), read it within permits
//! (413, 408, 503), inflate it within bounds (413, 400), decode it (400), append it (503), 202.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use axum::http::{Response, StatusCode};
use bytes::Bytes;

use super::connection::{Connection, Entrance};
use super::problem::Problem;
use super::routes;
use super::{Settings, body};
use crate::channel::Origin;
use crate::listener::heavy;
use crate::listener::intake::{Door, Group, Message, Permit};
use crate::span::Batch;
use crate::wire::detect::Encoding;
use crate::wire::inflate::{self, Coding, InflateError};
use crate::wire::v1::Options;
use crate::wire::{DecodeError, Limits, replay};

/// Channels that a request has passed: each gateway on the way adds its own.
const VIA: &str = "spangate-via";

/// Gateways in a row that are believed; more are a loop through gateways that do not know theirs.
const VIA_MAX: usize = 8;

/// A channel's id is 32 characters; others' ids are kept up to this.
const VIA_BYTES_MAX: usize = 64;

/// The encoding of a body by its content type.
type EncodingOf = fn(Option<&str>) -> Encoding;

pub(super) async fn post_v2(request: Request) -> Response<Body> {
    post(request, Encoding::of_content_type).await
}

pub(super) async fn post_v1(request: Request) -> Response<Body> {
    post(request, Encoding::of_v1_content_type).await
}

async fn post(request: Request, encoding_of: EncodingOf) -> Response<Body> {
    let connection = routes::connection(&request);
    match take(&connection, request, encoding_of).await {
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
async fn take(connection: &Connection, request: Request, encoding_of: EncodingOf) -> Result<(), Problem> {
    let door = &connection.http.door;
    let (head, body) = request.into_parts();
    let headers = &head.headers;
    let known = origin(connection, &connection.http, headers).and_then(|origin| Ok((origin, coding(headers)?)));
    let (origin, coding) = match known {
        Ok(known) => known,
        Err(problem) => {
            door.unread(problem.reason());
            pass_over(connection, door, headers, body).await;
            return Err(problem);
        }
    };
    let mut permit = connection.share.permit();
    let body = counted(connection, door, read(connection, headers, body, coding, &mut permit)).await?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = Form { encoding: encoding_of(content_type), options: connection.server.v1_options() };
    store(&connection.http, origin, form, body, permit).await
}

/// What `read` comes to. A refusal is counted; and a request that is dropped before that, as its connection or its call
/// ends, is broken.
pub(super) async fn counted(
    connection: &Connection,
    door: &Door,
    read: impl Future<Output = Result<Bytes, Problem>>,
) -> Result<Bytes, Problem> {
    let mut unread = Unread { connection, door, ended: false };
    let body = read.await;
    unread.ended = true;
    body.inspect_err(|problem| door.unread(problem.reason()))
}

/// A request whose body is not there yet.
struct Unread<'a> {
    connection: &'a Connection,
    door: &'a Door,
    ended: bool,
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let gone = Problem::Broken("it ended before all of it was read".to_owned());
            self.door.unread(gone.reason());
            self.connection.server.logs.problem(&gone, self.connection.peer);
        }
    }
}

/// How a body is read.
pub(super) struct Form {
    pub encoding: Encoding,
    pub options: Options,
}

/// Decodes a whole body and appends its spans; returns when they are durable.
pub(super) async fn store(
    Entrance { door, .. }: &Entrance,
    origin: Arc<Origin>,
    form: Form,
    body: Bytes,
    permit: Permit,
) -> Result<(), Problem> {
    let decoded_bytes = body.len();
    if body.is_empty() {
        door.empty(decoded_bytes);
        return Ok(());
    }
    let batch = decode(&form, &body).map_err(|(error, spans)| {
        door.invalid(spans, decoded_bytes);
        Problem::Invalid(error)
    })?;
    drop(body);
    if batch.items.is_empty() {
        door.empty(decoded_bytes);
        return Ok(());
    }
    let groups = vec![Group { origin, batch, ..Group::default() }];
    door.accept(Message { groups, decoded_bytes }, permit).await.map_err(Problem::refused)
}

/// Reads the body of a request that is refused for its head, and counts its bytes.
pub(super) async fn pass_over(connection: &Connection, door: &Door, headers: &HeaderMap, body: Body) {
    let bytes_max = connection.server.settings.get().body_bytes_max;
    body::pass_over(headers, body, bytes_max, |bytes| door.read(bytes)).await;
}

/// Where the request came from, with the mark of a replay and the channels that it passed.
pub(super) fn origin(
    connection: &Connection,
    entrance: &Entrance,
    headers: &HeaderMap,
) -> Result<Arc<Origin>, Problem> {
    let marked = headers.contains_key(replay::HEADER) && connection.server.settings.get().replay_mark;
    let origin = if marked { Arc::new(entrance.origin.replayed()) } else { entrance.origin.clone() };
    let via: Vec<String> = headers
        .get_all(VIA)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|one| String::from_utf8_lossy(one.trim_ascii()).into_owned())
        .filter(|one| !one.is_empty())
        .collect();
    if via.is_empty() {
        return Ok(origin);
    }
    let own = entrance.door.intake().channel_id();
    if via.len() > VIA_MAX || via.iter().any(|one| one == own) {
        return Err(Problem::Loop);
    }
    let cut = |one: String| one[..one.floor_char_boundary(VIA_BYTES_MAX)].to_owned();
    let passed = via.into_iter().map(|one| ("via".to_owned(), cut(one)));
    Ok(Arc::new(Origin(origin.0.iter().cloned().chain(passed).collect())))
}

/// How the body is compressed. Zipkin would try to parse what it cannot decompress; 415 says
/// what is wrong instead.
fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Problem> {
    let mut found = None;
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
                continue;
            }
            match Coding::of_name(name) {
                Some(coding) if found.is_none() => found = Some(coding),
                _ => return Err(Problem::encoding(name)),
            }
        }
    }
    Ok(found)
}

/// The body, inflated.
async fn read(
    connection: &Connection,
    headers: &HeaderMap,
    body: Body,
    coding: Option<Coding>,
    permit: &mut Permit,
) -> Result<Bytes, Problem> {
    let settings = connection.server.settings.get();
    let limits = body::Limits {
        bytes_max: settings.body_bytes_max,
        timeout: settings.body_timeout,
        rate_min: settings.body_rate_min,
    };
    let body = body::read(headers, body, limits, permit, |bytes| connection.http.door.read(bytes)).await?;
    match coding {
        Some(coding) if !body.is_empty() => inflate(coding, &body, &settings, permit).await,
        _ => Ok(body),
    }
}

/// Takes permits for what the body says that it holds, and where that is not the truth, for all
/// that its ratio allows: a few bytes that lie must not make everyone else wait for the whole budget.
pub(super) async fn inflate(
    coding: Coding,
    body: &[u8],
    settings: &Settings,
    permit: &mut Permit,
) -> Result<Bytes, Problem> {
    let (bytes_max, ratio_max) = (settings.decoded_bytes_max, settings.decoded_ratio_max);
    let most = inflate::most(body.len(), bytes_max, ratio_max);
    let mut room = coding.claimed(body).min(most);
    loop {
        permit.inflate(body.len().saturating_add(room)).await.map_err(Problem::Refused)?;
        match heavy(room, || coding.decode(body, room, ratio_max)) {
            Ok(inflated) => return Ok(inflated.into()),
            Err(InflateError::TooLarge { .. }) if room < most => room = most,
            Err(InflateError::TooLarge { .. }) if most == bytes_max => {
                return Err(Problem::TooLarge { what: "a decompressed body", bytes_max });
            }
            Err(InflateError::TooLarge { .. } | InflateError::RatioTooHigh { .. }) => {
                return Err(Problem::Ratio(ratio_max));
            }
            Err(InflateError::Corrupt) => return Err(Problem::Corrupt(coding)),
        }
    }
}

/// The spans of a body; or the first fault, and how many spans it costs.
fn decode(Form { encoding, options }: &Form, body: &[u8]) -> Result<Batch, (DecodeError, usize)> {
    let limits = Limits::default();
    heavy(body.len(), || {
        let mut batch = Batch::default();
        match encoding.decode(body, &limits, options, &mut batch) {
            Ok(()) => Ok(batch),
            Err(error) => {
                let spans = encoding.count(body, &limits).max(error.span.map_or(0, |index| index + 1));
                Err((error, spans))
            }
        }
    })
}
