//! A Zipkin collector over HTTP: `POST /api/v2/spans`.

use std::time::Duration;

/// The encodings a collector can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`: our own bytes, and the one encoding that Zipkin's substring guards cannot refuse.
    Proto3,
    /// `application/json`.
    JsonV2,
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// Name in metrics and logs; by default the URL's `host:port`.
    pub name: String,
    /// `http(s)://HOST[:9411]`; the path is `/api/v2/spans` unless the URL has another.
    pub url: String,
    pub encoding: Encoding,
    /// Default false: collectors are near.
    pub gzip: bool,
    /// Connect, send and answer together. Default 10 s.
    pub timeout: Duration,
}
