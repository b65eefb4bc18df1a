//! Why a request was not answered with 202: the status, the text, and the log line.
//!
//! Texts begin as Zipkin's do (`BodyIsExceptionMessage.java`) where it has some, and go on to
//! name the span, the field and the place. Each kind is logged once a minute, with the peer of
//! that one and the count of those left out.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode};

use crate::listener::intake::Refusal;
use crate::listener::rarely::Rarely;
use crate::wire::DecodeError;
use crate::wire::inflate::Coding;

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("{}", describe(.0))]
    Invalid(DecodeError),
    #[error("{}", corrupt(*.0))]
    Corrupt(Coding),
    #[error("Request Entity Too Large: {what} is limited to {bytes_max} bytes")]
    TooLarge { what: &'static str, bytes_max: usize },
    #[error("Request Entity Too Large: the body decompresses to more than {0} times its size")]
    Ratio(usize),
    #[error("content-encoding {0:?} is not supported: send gzip, zstd or none")]
    Encoding(String),
    #[error("the body was not complete within {0} s")]
    Slow(u64),
    #[error("the body came slower than {0} bytes a second")]
    SlowRate(u64),
    #[error("the body ended early: {0}")]
    Broken(String),
    /// Of gRPC's own framing.
    #[error("the body is not one gRPC message: {0}")]
    Framing(&'static str),
    #[error("not accepted: {0}; send again later")]
    Refused(Refusal),
    /// To send it again as it is would be in vain.
    #[error("Request Entity Too Large: {0}")]
    RefusedForGood(Refusal),
    #[error("this request has passed this gateway already: its collectors lead back to it")]
    Loop,
}

/// The answer's `retry-after`, in seconds: what passes by itself soon, and what needs room or a person.
const RETRY_SOON: u64 = 1;
const RETRY_LATER: u64 = 10;

/// When what was refused may be sent again.
pub(super) fn retry_seconds(refusal: Refusal) -> u64 {
    match refusal {
        Refusal::Busy | Refusal::TimedOut | Refusal::Gone => RETRY_SOON,
        Refusal::Full | Refusal::TooLarge | Refusal::DiskLow | Refusal::Failed | Refusal::Stopping => RETRY_LATER,
    }
}

/// Bytes of a decoder's reason in an answer and a log line.
const REASON_BYTES_MAX: usize = 500;

impl Problem {
    /// Kinds that are logged apart.
    const KINDS: usize = 9;

    /// A coding that is not supported; its name cut short, as it is a peer's.
    pub fn encoding(name: &[u8]) -> Problem {
        Problem::Encoding(String::from_utf8_lossy(name).chars().take(40).collect())
    }

    /// What intake said.
    pub fn refused(refusal: Refusal) -> Problem {
        if refusal == Refusal::TooLarge { Problem::RefusedForGood(refusal) } else { Problem::Refused(refusal) }
    }

    /// Its counter, one of intake's `REASONS`.
    pub fn reason(&self) -> &'static str {
        match self {
            Problem::Invalid(_) => "invalid",
            Problem::Corrupt(_) => "corrupt",
            Problem::TooLarge { .. } => "too_large",
            Problem::Ratio(_) => "ratio",
            Problem::Encoding(_) => "encoding",
            Problem::Slow(_) => "slow",
            Problem::SlowRate(_) => "slow_rate",
            Problem::Broken(_) => "broken",
            Problem::Framing(_) => "framing",
            Problem::Refused(refusal) | Problem::RefusedForGood(refusal) => refusal.label(),
            Problem::Loop => "loop",
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Problem::Invalid(_) | Problem::Corrupt(_) | Problem::Broken(_) | Problem::Framing(_) => {
                StatusCode::BAD_REQUEST
            }
            Problem::TooLarge { .. } | Problem::Ratio(_) | Problem::RefusedForGood(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Problem::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Problem::Slow(_) | Problem::SlowRate(_) => StatusCode::REQUEST_TIMEOUT,
            Problem::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
            Problem::Loop => StatusCode::LOOP_DETECTED,
        }
    }

    pub fn response(&self) -> Response<Body> {
        let mut response = text(self.status(), format!("{self}\n"));
        let headers = response.headers_mut();
        match self {
            Problem::Refused(refusal) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(retry_seconds(*refusal)));
            }
            // RFC 9110, 15.5.16: what would have been taken.
            Problem::Encoding(_) => drop(headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"))),
            // The rest of the body may still be on its way.
            Problem::Slow(_) | Problem::SlowRate(_) => {
                drop(headers.insert(CONNECTION, HeaderValue::from_static("close")))
            }
            _ => {}
        }
        response
    }

    fn kind(&self) -> usize {
        match self {
            Problem::Invalid(_) => 0,
            Problem::Corrupt(_) => 1,
            Problem::TooLarge { .. } | Problem::Ratio(_) | Problem::RefusedForGood(_) => 2,
            Problem::Encoding(_) => 3,
            Problem::Slow(_) | Problem::SlowRate(_) => 4,
            Problem::Broken(_) => 5,
            Problem::Refused(_) => 6,
            Problem::Loop => 7,
            Problem::Framing(_) => 8,
        }
    }
}

fn describe(error: &DecodeError) -> String {
    let mut place = Vec::new();
    place.extend(error.span.map(|span| format!("span {span}")));
    place.extend((!error.field.is_empty()).then(|| error.field.to_owned()));
    place.extend(error.offset.map(|offset| format!("byte {offset}")));
    // A reason may quote the span.
    let reason = &error.reason[..error.reason.floor_char_boundary(REASON_BYTES_MAX)].trim_end();
    if place.is_empty() { (*reason).to_owned() } else { format!("{reason} ({})", place.join(", ")) }
}

fn corrupt(coding: Coding) -> &'static str {
    match coding {
        Coding::Gzip => "Cannot gunzip spans",
        Coding::Zstd => "Cannot unzstd spans",
    }
}

/// A plain text response.
pub(super) fn text(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// The log lines of refused requests, once a minute each.
#[derive(Default)]
pub(super) struct Logs {
    problems: [Rarely; Problem::KINDS],
}

impl Logs {
    pub fn problem(&self, problem: &Problem, peer: SocketAddr) {
        if let Some(left_out) = self.problems[problem.kind()].due() {
            // Quoted, as it may hold a peer's own characters.
            let reason = problem.to_string();
            tracing::warn!(%peer, status = problem.status().as_u16(), reason, left_out, "http request refused");
        }
    }
}
