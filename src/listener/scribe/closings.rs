//! Connections that we close: why, counted and logged once a minute each.

use std::net::SocketAddr;

use super::Settings;
use crate::listener::rarely::Rarely;
use crate::metrics::{Counter, Registry};

/// How a strict message begins, where a frame's length should stand.
const STRICT_VERSION: u32 = 0x8001;

/// Why we closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    Http,
    Tls,
    BadLength(i32),
    BadHeader,
    SlowFrame,
    SlowRate,
    RepliesUnread,
}

/// Counters and log lines of the connections that we closed.
pub(super) struct Closings([(Counter, Rarely); 7]);

impl Closings {
    pub fn new(registry: &Registry) -> Self {
        let reasons = ["http", "tls", "frame_length", "protocol", "slow_frame", "slow_rate", "replies_unread"];
        Closings(reasons.map(|reason| {
            let labels = [("listener", "scribe"), ("reason", reason)];
            (registry.counter("spangate_connections_refused_total", &labels), Rarely::default())
        }))
    }

    pub fn count(&self, closing: Closing, peer: SocketAddr, settings: &Settings) {
        let (index, why) = closing.why(settings);
        let (counter, rarely) = &self.0[index];
        counter.increment(1);
        if let Some(left_out) = rarely.due() {
            tracing::warn!(%peer, left_out, "scribe connection closed: {why}");
        }
    }
}

impl Closing {
    /// The index of its counter, and the sentence of its log line.
    fn why(self, settings: &Settings) -> (usize, String) {
        match self {
            Closing::Http => (0, "it speaks HTTP".to_owned()),
            Closing::Tls => (1, "it speaks TLS".to_owned()),
            Closing::BadLength(length) if length as u32 >> 16 == STRICT_VERSION => {
                (2, "it speaks Thrift without frames: set its transport to framed".to_owned())
            }
            Closing::BadLength(length) => {
                (2, format!("frame of {length} bytes, expected 1 to {}", settings.frame_bytes_max))
            }
            Closing::BadHeader => (3, "a frame that holds no Thrift message".to_owned()),
            Closing::SlowFrame => (4, format!("frame not complete in {:?}", settings.frame_timeout)),
            Closing::SlowRate => (5, format!("frame came slower than {} bytes a second", settings.frame_rate_min)),
            Closing::RepliesUnread => (6, format!("reply not taken in {:?}", settings.frame_timeout)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn thrift_without_frames_is_told_from_a_frame_that_is_too_long() {
        let settings = Settings {
            addresses: Vec::new(),
            categories: Vec::new(),
            frame_bytes_max: 1000,
            frame_timeout: Duration::ZERO,
            frame_rate_min: 1,
            connections_max: 1,
            labels: Vec::new(),
            keep_binary_annotations: true,
            allow_shutdown: false,
            replay_mark: true,
        };
        let why = |first: [u8; 4]| Closing::BadLength(i32::from_be_bytes(first)).why(&settings).1;
        assert!(why([0x80, 1, 0, 1]).contains("framed"));
        assert_eq!(why([0, 0, 3, 0xe9]), "frame of 1001 bytes, expected 1 to 1000");
    }
}
