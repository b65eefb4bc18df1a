//! Connections that we close: why, counted and logged once a minute each.

use std::net::SocketAddr;

use super::Settings;
use crate::listener::rarely::Rarely;
use crate::metrics::{Counter, Registry};

/// Why we closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    Http,
    Tls,
    BadLength(i32),
    BadHeader,
    SlowFrame,
    RepliesUnread,
}

/// Counters and log lines of the connections that we closed.
pub(super) struct Closings([(Counter, Rarely); 6]);

impl Closings {
    pub fn new(registry: &Registry) -> Self {
        let reasons = ["http", "tls", "frame_length", "protocol", "slow_frame", "replies_unread"];
        Closings(reasons.map(|reason| {
            let labels = [("listener", "scribe"), ("reason", reason)];
            (registry.counter("spangate_connections_refused_total", &labels), Rarely::default())
        }))
    }

    pub fn count(&self, closing: Closing, peer: SocketAddr, settings: &Settings) {
        let (index, why) = match closing {
            Closing::Http => (0, "it speaks HTTP".to_owned()),
            Closing::Tls => (1, "it speaks TLS".to_owned()),
            Closing::BadLength(length) => {
                (2, format!("frame of {length} bytes, expected 1 to {}", settings.frame_bytes_max))
            }
            Closing::BadHeader => (3, "a frame that holds no Thrift message".to_owned()),
            Closing::SlowFrame => (4, format!("frame not complete in {:?}", settings.frame_timeout)),
            Closing::RepliesUnread => (5, format!("reply not taken in {:?}", settings.frame_timeout)),
        };
        let (counter, rarely) = &self.0[index];
        counter.increment(1);
        if let Some(left_out) = rarely.due() {
            tracing::warn!(%peer, left_out, "scribe connection closed: {why}");
        }
    }
}
