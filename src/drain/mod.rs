//! From the channel to a sink group: batch, balance, settle. Knows no protocol.
//!
//! A drain is one task that owns its group's state and polls its sends, several to a sink. A
//! batch belongs to the group, not to the sink: what one sink does not take another gets, and
//! while all rest everything waits in the channel. What becomes of a batch after its verdict is
//! `judge`'s to say. [`aside`] is the drain that empties what the listeners set aside.

pub mod aside;
mod backlog;
pub mod backoff;
mod batch;
mod bury;
mod cut;
mod dispatch;
mod giving_up;
mod group;
mod judge;
pub mod letters;
mod roster;
mod run;
mod seat;
pub mod sieve;
mod status;
mod trickle;
mod watch;

use std::time::Duration;

pub use group::{Policy, State};
pub use judge::Held;
pub use roster::Roster;
pub use run::{Drain, Parts};
pub use seat::{Seat, Terms};
pub use sieve::Sieve;
pub use status::{SinkView, Standing, Status};

#[derive(Debug, Clone)]
pub struct Settings {
    pub name: String,
    pub policy: Policy,
    /// Which spans are its own. Default: all.
    pub sieve: Sieve,
    /// Longest wait of a span in the channel; then it is given up. Default: for ever.
    pub max_age: Option<Duration>,
    pub overflow: Overflow,
    /// Of a sink whose terms do not say otherwise.
    pub batch: BatchSettings,
    /// Per sink. Default 4.
    pub in_flight_max: usize,
    /// Spans a second, by all sinks together.
    pub rate_max: Option<u64>,
    /// Spans a second of those received more than a minute ago.
    pub backlog_rate: Option<u64>,
    /// First rest of a failing sink; doubles with full jitter. Default 200 ms.
    pub backoff_min: Duration,
    /// Default 30 s.
    pub backoff_max: Duration,
    pub mass_refusal: MassRefusal,
}

/// What is made of a sink that refuses more than one span in twenty, and at least a thousand in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MassRefusal {
    /// The sink is wrong, not the spans: it is held like a misconfigured one, and they stay in the channel.
    #[default]
    Hold,
    /// The spans are wrong, however many.
    DeadLetter,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    /// Default 5000.
    pub spans: u32,
    /// Default 4 MiB (Zipkin takes 10 MiB).
    pub bytes: usize,
    /// Longest wait for more once something waits. Default 20 ms.
    pub linger: Duration,
}
