//! From the channel to a sink group: admit, batch, balance, settle. Knows no protocol.
//!
//! A drain is one task that owns its group's state; sends run beside it, several to a sink.
//! A batch belongs to the group, not to the sink: what one sink does not take another gets.

use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Settings {
    pub name: String,
    pub batch: BatchSettings,
    /// Per sink. Default 4.
    pub in_flight_max: usize,
    /// First rest of a failing sink; doubles with full jitter. Default 200 ms.
    pub backoff_min: Duration,
    /// Default 30 s.
    pub backoff_max: Duration,
}

/// A batch is closed by whichever comes first.
#[derive(Debug, Clone)]
pub struct BatchSettings {
    /// Default 5000.
    pub spans: u32,
    /// Default 4 MiB (Zipkin takes 10 MiB).
    pub bytes: usize,
    /// Longest wait for more once something waits. Default 20 ms.
    pub linger: Duration,
}
