//! Intake: permits, one append, one yes.

use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of messages being read, decoded or waiting for their sync. Default 32 MiB.
    pub bytes_in_flight: usize,
    /// Longest wait for permits, room and sync together. Default 500 ms.
    pub commit_wait: Duration,
}
