//! Intake: permits, one append, one yes.
//!
//! The only place that says yes, and only after the channel's receipt resolved. A message takes
//! byte permits before it is read ([`Share::permit`]), becomes one append ([`Door::begin`]), and
//! is answered when [`Pending::wait`] returns. Waiting for permits, for room and for the sync is
//! bounded by `commit_wait` in all; then the message is refused and its receipt dropped, which
//! withdraws what was not yet written. What was written by then may still become durable: a
//! peer that sends again after a refusal can be counted twice, never lost.
//! Counted here, and here alone: received = accepted + set aside + refused, in spans.

mod asides;
mod drafts;
mod permits;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use self::asides::Asides;
pub use self::permits::{Permit, Share};
pub use self::tally::REASONS;
use self::tally::{Sums, Tally};
use crate::channel::{AppendError, Channel, Origin, Receipt};
use crate::clock::Clock;
use crate::metrics::Registry;
use crate::span::Batch;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of messages being read, decoded or waiting for their sync. Default 32 MiB.
    pub bytes_in_flight: usize,
    /// Longest wait for permits, room and sync together. Default 500 ms.
    pub commit_wait: Duration,
}

/// Why a message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `bytes_in_flight`, or the connection's quarter of it, was taken for the whole wait.
    #[error("too many bytes are on their way in")]
    Busy,
    #[error("the channel is full")]
    Full,
    /// To send it again as it is would be in vain.
    #[error("it is larger than the whole channel (channel.capacity, channel.capacity_spans)")]
    TooLarge,
    #[error("the disk has too little room left")]
    DiskLow,
    #[error("the disk failed")]
    Failed,
    #[error("the gateway is stopping")]
    Stopping,
    /// The channel took it, and the sync did not return in time.
    #[error("the disk was too slow")]
    TimedOut,
    /// The peer went away before there was an answer.
    #[error("the peer went away")]
    Gone,
}

impl Refusal {
    pub(self) const ALL: [Refusal; 8] = [
        Refusal::Busy,
        Refusal::Full,
        Refusal::TooLarge,
        Refusal::DiskLow,
        Refusal::Failed,
        Refusal::Stopping,
        Refusal::TimedOut,
        Refusal::Gone,
    ];

    /// The metrics' `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Refusal::Busy => "busy",
            Refusal::Full => "full",
            Refusal::TooLarge => "too_large",
            Refusal::DiskLow => "disk_low",
            Refusal::Failed => "failed",
            Refusal::Stopping => "stopping",
            Refusal::TimedOut => "timed_out",
            Refusal::Gone => "gone",
        }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full => Refusal::Full,
            AppendError::TooLarge => Refusal::TooLarge,
            AppendError::DiskLow => Refusal::DiskLow,
            AppendError::Failed(_) => Refusal::Failed,
            AppendError::Stopping => Refusal::Stopping,
        }
    }
}

/// A decoded message: spans by origin, and what of it could not be decoded.
#[derive(Debug, Default)]
pub struct Message {
    pub groups: Vec<Group>,
    /// Bytes after decompression or base64 (Zipkin's `collector_bytes`).
    pub decoded_bytes: usize,
}

/// What came in one message from one origin (for Scribe: of one category).
#[derive(Debug, Default)]
pub struct Group {
    pub origin: Arc<Origin>,
    pub batch: Batch,
    pub aside: Asides,
}

/// Takes messages for the channel. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    channel: Channel,
    clock: Clock,
    budget: permits::Budget,
    registry: Registry,
    zipkin: Registry,
}

impl Intake {
    /// `registry` is of [`metrics::TABLE`](crate::metrics::TABLE), `zipkin` of
    /// [`metrics::ZIPKIN_TABLE`](crate::metrics::ZIPKIN_TABLE).
    pub fn new(settings: &Settings, channel: Channel, clock: Clock, registry: &Registry, zipkin: &Registry) -> Self {
        let budget = permits::Budget::new(settings, registry.gauge("spangate_intake_bytes", &[]));
        Intake { channel, clock, budget, registry: registry.clone(), zipkin: zipkin.clone() }
    }

    /// The identity that a loop is recognised by.
    pub fn channel_id(&self) -> &str {
        self.channel.id()
    }

    /// Zipkin's counters, as `GET /prometheus` shows them.
    pub fn zipkin(&self) -> &Registry {
        &self.zipkin
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The intake with the counters of one listener.
    pub fn door(&self, listener: &'static str) -> Door {
        let tally = Tally::new(listener, &self.registry, &self.zipkin);
        Door { intake: self.clone(), tally: Arc::new(tally) }
    }
}

/// A listener's way in. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    intake: Intake,
    tally: Arc<Tally>,
}

impl Door {
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// A new connection's share of the permits.
    pub fn share(&self) -> Share {
        self.intake.budget.share()
    }

    /// Counts bytes of messages as they came over the wire.
    pub fn read(&self, bytes: usize) {
        self.tally.read(bytes);
    }

    /// A message without a span for us: answered yes, nothing stored.
    pub fn empty(&self, decoded_bytes: usize) {
        self.tally.empty(decoded_bytes);
    }

    /// A message that cannot be decoded: all of its `spans`, as far as they could be counted, are refused.
    pub fn invalid(&self, spans: usize, decoded_bytes: usize) {
        self.tally.invalid(spans, decoded_bytes);
    }

    /// A message refused before it was decoded, for one of [`REASONS`]: its spans were never seen, so none are counted.
    pub fn unread(&self, reason: &'static str) {
        self.tally.unread(reason);
    }

    /// Begins to append a message that holds something. It is counted when the answer is known.
    pub fn begin(&self, message: Message, permit: Permit) -> Pending {
        let sums = Sums::of(&message);
        let drafts = drafts::of(message, self.intake.clock.now_us());
        Pending {
            receipt: Some(self.intake.channel.append(drafts)),
            deadline: Instant::now() + permit.wait_left(),
            door: self.clone(),
            sums,
            answered: false,
            _permit: permit,
        }
    }

    /// Appends a message and waits for the answer.
    pub async fn accept(&self, message: Message, permit: Permit) -> Result<(), Refusal> {
        self.begin(message, permit).wait().await
    }

    /// What keeps the channel from taking what it did not take in time.
    fn reason(&self) -> Refusal {
        use crate::channel::Intake as Of;
        match self.intake.channel.snapshot().intake {
            Of::Open => Refusal::TimedOut,
            Of::Full => Refusal::Full,
            Of::DiskLow | Of::NoSpace { .. } => Refusal::DiskLow,
            Of::Failed { .. } => Refusal::Failed,
            Of::Stopping => Refusal::Stopping,
        }
    }
}

/// A message on its way into the channel. Dropped unanswered, it counts as refused.
pub struct Pending {
    door: Door,
    /// `None` once waited for.
    receipt: Option<Receipt>,
    deadline: Instant,
    sums: Sums,
    answered: bool,
    _permit: Permit,
}

impl Pending {
    /// The one yes: `Ok` when every frame of the message is durable.
    pub async fn wait(mut self) -> Result<(), Refusal> {
        let receipt = self.receipt.take().expect("taken only here, and this consumes");
        let answer = match tokio::time::timeout_at(self.deadline, receipt.wait()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_late) => Err(self.door.reason()),
        };
        self.answered = true;
        self.door.tally.answered(&self.sums, answer);
        answer
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.answered {
            self.door.tally.answered(&self.sums, Err(Refusal::Gone));
        }
    }
}
