//! From the channel to a sink group: batch, balance, settle. Knows no protocol.
//!
//! A drain is one task that owns its group's state and polls its sends, several to a sink. A
//! batch belongs to the group, not to the sink: what one sink does not take another gets, and
//! while all rest everything waits in the channel. A batch that is refused is halved until the
//! bad spans stand alone; those end in the dead letters. [`aside`] is the drain that empties
//! what the listeners set aside.

pub mod aside;
pub mod backoff;
mod batch;
mod bury;
mod giving_up;
mod group;
mod run;
pub mod sieve;
mod status;

use std::time::Duration;

pub use group::State;
pub use run::{Drain, Parts};
pub use sieve::Sieve;
pub use status::{SinkView, Standing, Status};

#[derive(Debug, Clone)]
pub struct Settings {
    pub name: String,
    /// Which spans are its own. Default: all.
    pub sieve: Sieve,
    /// Longest wait of a span in the channel; then it is given up. Default: for ever.
    pub max_age: Option<Duration>,
    pub overflow: Overflow,
    pub batch: BatchSettings,
    /// Per sink. Default 4.
    pub in_flight_max: usize,
    /// First rest of a failing sink; doubles with full jitter. Default 200 ms.
    pub backoff_min: Duration,
    /// Default 30 s.
    pub backoff_max: Duration,
}

/// What a drain does when the channel is full and it is the one furthest behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Intake stops. The default: a yes cannot be taken back.
    Block,
    /// It gives up its oldest spans.
    Skip,
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
