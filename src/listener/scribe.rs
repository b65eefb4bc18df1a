//! The Scribe listener: framed Thrift binary on port 1463.

use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Default 0.0.0.0:1463. Empty: no Scribe.
    pub addresses: Vec<SocketAddr>,
    /// Categories taken, exactly; `*` takes all. Default `zipkin`.
    pub categories: Vec<String>,
    /// Default 16,384,000 (Flume's).
    pub frame_bytes_max: usize,
    /// A started frame must be complete in this time. Default 30 s.
    pub frame_timeout: Duration,
    /// Default 10,000.
    pub connections_max: usize,
    /// Non-string binary annotations become strings (true, the default) or are dropped as Zipkin does.
    pub keep_binary_annotations: bool,
    /// Whether fb303's `shutdown` stops the gateway. Default false: nobody is asked for a password here.
    pub allow_shutdown: bool,
}
