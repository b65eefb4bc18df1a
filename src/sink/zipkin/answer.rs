//! A collector's answer as a verdict (DESIGN, "Verdicts"; Zipkin's own statuses: 202, 400, 413,
//! 500, and 503 when it took longer than its QUERY_TIMEOUT).

use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::sink::Verdict;
use crate::sink::quote::{QUOTED_MAX, quote};

/// Bytes of an answer that are read; more costs the connection, not memory.
const READ_MAX: usize = 64 * 1024;
/// Longest wait for an answer's text once its status is known: the verdict stands already.
const TEXT_WAIT: Duration = Duration::from_secs(1);
/// A 429 that does not say for how long. The group's own back-off bounds it.
const WAIT_UNSAID: Duration = Duration::from_secs(1);

/// What the status says of load and sink; the text only explains it.
pub(super) async fn verdict(url: &str, mut response: Response) -> Verdict {
    let status = response.status();
    let wait = retry_after(response.headers());
    let text = read_text(&mut response).await;
    let reason = if text.is_empty() { format!("{url}: {status}") } else { format!("{url}: {status}: {text}") };
    match status {
        s if s.is_success() => Verdict::Delivered,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Verdict::Refused(reason),
        StatusCode::PAYLOAD_TOO_LARGE => Verdict::TooLarge(reason),
        StatusCode::TOO_MANY_REQUESTS => Verdict::Wait(wait.unwrap_or(WAIT_UNSAID), reason),
        StatusCode::SERVICE_UNAVAILABLE if wait.is_some() => Verdict::Wait(wait.unwrap_or(WAIT_UNSAID), reason),
        StatusCode::LOOP_DETECTED => Verdict::Misconfigured(reason),
        StatusCode::REQUEST_TIMEOUT => Verdict::Elsewhere { reason, maybe_taken: true },
        s if s.is_server_error() => Verdict::Elsewhere { reason, maybe_taken: fate_unknown(s) },
        _ => Verdict::Misconfigured(reason),
    }
}

/// 502, 503 and 504 come from somebody who waited for another, or for itself, and gave up: the load may be in.
/// Any other 5xx is a no.
fn fate_unknown(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// Seconds, or a date, which is held against the answer's own Date: neither clock need be right (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |value: &str| httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok();
    let until = date(value)?;
    let now = headers.get(DATE).and_then(|v| date(v.to_str().ok()?));
    Some(now.map_or(WAIT_UNSAID, |now| until.saturating_sub(now)))
}

/// Reads the answer to its end, within bounds, so that the connection can be used again.
async fn read_text(response: &mut Response) -> String {
    let mut start = Vec::new();
    let mut read = 0;
    let reading = async {
        // A failure here changes nothing: the status has said what there is to say.
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            let room = QUOTED_MAX - start.len();
            start.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if read > READ_MAX {
                break;
            }
        }
    };
    // Too late is as good as too long.
    let _ = tokio::time::timeout(TEXT_WAIT, reading).await;
    quote(&start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        assert_eq!(retry_after(&headers(&[("retry-after", "17")])), Some(Duration::from_secs(17)));
        let both = [("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")];
        assert_eq!(retry_after(&headers(&both)), Some(Duration::from_secs(30)));
        let past = [("date", "Sun, 06 Nov 1994 08:50:07 GMT"), ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(retry_after(&headers(&past)), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers(&both[1..])), Some(WAIT_UNSAID), "a date without the peer's own clock");
    }

    #[test]
    fn a_retry_after_that_says_nothing_counts_as_none() {
        assert_eq!(retry_after(&headers(&[])), None);
        for value in ["", "soon", "-1", "1.5"] {
            assert_eq!(retry_after(&headers(&[("retry-after", value)])), None, "{value:?}");
        }
    }
}
