//! What a Zipkin server says of itself: `/health`, and the drops of its HTTP collector at `/prometheus`.

use reqwest::{Client, StatusCode, Url};

use crate::sink::Glimpse;

/// Bytes of a page that are read: a Zipkin server's has a tenth of it.
const READ_MAX: usize = 1 << 20;
/// Spans that were decoded and not stored, for whatever reason (Zipkin's `MicrometerCollectorMetrics.java`).
const DROPPED: &str = "zipkin_collector_spans_dropped_total";

/// Looks at the server of which `url` takes spans.
pub(super) async fn look(client: &Client, url: &Url) -> Glimpse {
    let get = |path: &str| {
        let mut page = url.clone();
        page.set_path(path);
        client.get(page).send()
    };
    let up = match get("/health").await.map(|answer| answer.status()) {
        Ok(StatusCode::OK) => Some(true),
        Ok(StatusCode::SERVICE_UNAVAILABLE) => Some(false),
        _ => None,
    };
    let page = match get("/prometheus").await {
        Ok(answer) if answer.status() == StatusCode::OK => read(answer).await,
        _ => None,
    };
    Glimpse { up, dropped: page.and_then(|page| dropped(&page)) }
}

/// A page, if it is whole within the bound.
async fn read(mut answer: reqwest::Response) -> Option<String> {
    let mut page = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        page.extend_from_slice(&chunk);
        if page.len() > READ_MAX {
            return None;
        }
    }
    String::from_utf8(page).ok()
}

/// The drops of the transport that we use; none where the page has no such counter.
fn dropped(page: &str) -> Option<u64> {
    let of_http = |line: &&str| line.starts_with(DROPPED) && line.contains("transport=\"http\"");
    let value: f64 = page.lines().find(of_http)?.rsplit(' ').next()?.parse().ok()?;
    Some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drops_of_http_are_found() {
        let page = "# TYPE zipkin_collector_spans_dropped_total counter\n\
            zipkin_collector_spans_dropped_total{transport=\"grpc\",} 7.0\n\
            zipkin_collector_spans_dropped_total{transport=\"http\",} 1.2E3\n";
        assert_eq!(dropped(page), Some(1_200));
        assert_eq!(dropped(&page.replace("http", "kafka")), None);
        assert_eq!(dropped("zipkin_collector_spans_dropped_total{transport=\"http\"} x"), None);
    }
}
