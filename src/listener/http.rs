//! The Zipkin HTTP listener on port 9411.

use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Default 0.0.0.0:9411. Empty: no HTTP.
    pub addresses: Vec<SocketAddr>,
    /// Bytes of a body on the wire. Default 10 MiB (Zipkin's).
    pub body_bytes_max: usize,
    /// Bytes of a body decompressed. Default 64 MiB.
    pub decoded_bytes_max: usize,
    /// Decompressed bytes per compressed byte. Default 100.
    pub decoded_ratio_max: usize,
    /// A started request head must be complete in this time. Default 10 s.
    pub header_timeout: Duration,
    /// A started body likewise. Default 30 s.
    pub body_timeout: Duration,
    /// Default 60 s.
    pub idle_timeout: Duration,
    /// Default 10,000.
    pub connections_max: usize,
    /// Default `*`, as Zipkin's; empty: no CORS headers.
    pub allowed_origins: Vec<String>,
}
