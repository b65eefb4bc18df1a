//! Reading a body: within its size, its time, and permits that are taken before its bytes.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{timeout, timeout_at};

use super::problem::Problem;
use crate::listener::intake::Permit;
use crate::listener::pace::Pace;

/// A refused body is read and thrown away for at most this long, and as far as its limit: a peer
/// that writes its whole body before it reads would otherwise see a reset instead of the answer.
const DISCARD: Duration = Duration::from_secs(2);

/// What bounds a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub bytes_max: usize,
    pub timeout: Duration,
    /// Bytes a second, once it took a while.
    pub rate_min: u64,
}

/// The length that the head announces, if any.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a whole body; `read` is told of its bytes, whatever becomes of them.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limits: Limits,
    permit: &mut Permit,
    read: impl Fn(usize),
) -> Result<Bytes, Problem> {
    let announced = announced(headers);
    let result = if announced.is_some_and(|bytes| bytes > limits.bytes_max as u64) {
        Err(too_large(limits))
    } else {
        let expected = announced.map_or(limits.bytes_max, |bytes| bytes as usize);
        let whole = gather(&mut body, expected, limits, permit, &read);
        timeout(limits.timeout, whole).await.unwrap_or_else(|_late| Err(Problem::Slow(limits.timeout.as_secs())))
    };
    if matches!(result, Err(Problem::TooLarge { .. } | Problem::Refused(_))) {
        permit.release();
        pass_over(headers, body, limits.bytes_max, read).await;
    }
    result
}

/// Reads a body that nobody wants, so that its answer is heard. Who asked first (`expect`) hears it without.
pub(super) async fn pass_over(headers: &HeaderMap, mut body: Body, bytes_max: usize, read: impl Fn(usize)) {
    if !headers.contains_key(EXPECT) {
        discard(&mut body, bytes_max, &read).await;
    }
}

async fn gather(
    body: &mut Body,
    expected: usize,
    limits: Limits,
    permit: &mut Permit,
    read: &impl Fn(usize),
) -> Result<Bytes, Problem> {
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    let mut pace = Pace::begin(limits.rate_min);
    loop {
        let have = first.len() + rest.len();
        let wait_left = permit.wait_left();
        permit.step(have, expected.max(1)).await.map_err(Problem::Refused)?;
        pace.pause(wait_left - permit.wait_left());
        let frame = timeout_at(pace.deadline(have), body.frame()).await;
        let Some(frame) = frame.map_err(|_late| Problem::SlowRate(limits.rate_min))? else { break };
        let Ok(data) = frame.map_err(|e| Problem::Broken(e.to_string()))?.into_data() else { continue };
        read(data.len());
        if have + data.len() > limits.bytes_max {
            return Err(too_large(limits));
        }
        // One piece is the usual case, and is not copied.
        match (first.is_empty(), rest.is_empty()) {
            (true, true) => first = data,
            (_, true) => {
                rest.reserve((first.len() + data.len()) * 2);
                rest.extend_from_slice(&std::mem::take(&mut first));
                rest.extend_from_slice(&data);
            }
            (_, false) => rest.extend_from_slice(&data),
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

async fn discard(body: &mut Body, bytes_max: usize, read: &impl Fn(usize)) {
    let mut left = bytes_max;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            read(bytes);
            left = left.saturating_sub(bytes);
            if left == 0 {
                return;
            }
        }
    };
    // What is not read by then is cut off with the connection.
    let _ = timeout(DISCARD, all).await;
}

fn too_large(limits: Limits) -> Problem {
    Problem::TooLarge { what: "a body", bytes_max: limits.bytes_max }
}
