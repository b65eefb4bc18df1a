//! What a listener counted: our names, and Zipkin's for scrapes written for Zipkin.

use super::{Message, Refusal};
use crate::metrics::{Counter, Gauge, Registry};

/// Why a message was refused whole: for what it holds, for how it came, or for what [`Refusal`] says.
pub const REASONS: [&str; 18] = [
    "invalid",
    "too_large",
    "ratio",
    "corrupt",
    "encoding",
    "slow",
    "slow_rate",
    "broken",
    "framing",
    "not_grpc",
    "loop",
    "busy",
    "full",
    "disk_low",
    "failed",
    "stopping",
    "timed_out",
    "gone",
];

/// A message's spans and entries, known before it is answered.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub spans: u64,
    pub aside: u64,
    pub decoded_bytes: u64,
}

impl Sums {
    pub fn of(message: &Message) -> Self {
        Sums {
            spans: message.groups.iter().map(|group| group.batch.items.len() as u64).sum(),
            aside: message.groups.iter().map(|group| group.aside.len() as u64).sum(),
            decoded_bytes: message.decoded_bytes as u64,
        }
    }
}

/// A listener's handles, registered once.
pub(super) struct Tally {
    registry: Registry,
    received: Counter,
    accepted: Counter,
    set_aside: Counter,
    invalid: Counter,
    /// In the order of [`Refusal::ALL`].
    refused: [Counter; Refusal::ALL.len()],
    messages_accepted: Counter,
    messages_refused: Counter,
    /// In the order of [`REASONS`].
    messages_refused_for: [Counter; REASONS.len()],
    messages_empty: Counter,
    bytes: Counter,
    zipkin: Zipkin,
}

impl Tally {
    pub fn new(listener: &'static str, registry: &Registry, zipkin: &Registry) -> Self {
        let by_listener = |name| registry.counter(name, &[("listener", listener)]);
        let spans = |name, reason| registry.counter(name, &[("listener", listener), ("reason", reason)]);
        let messages =
            |outcome| registry.counter("spangate_messages_total", &[("listener", listener), ("outcome", outcome)]);
        Tally {
            registry: registry.clone(),
            received: by_listener("spangate_spans_received_total"),
            accepted: by_listener("spangate_spans_accepted_total"),
            set_aside: spans("spangate_spans_set_aside_total", "undecodable"),
            invalid: spans("spangate_spans_refused_total", "invalid"),
            refused: Refusal::ALL.map(|refusal| spans("spangate_spans_refused_total", refusal.label())),
            messages_accepted: messages("accepted"),
            messages_refused: messages("refused"),
            messages_refused_for: REASONS.map(|reason| spans("spangate_messages_refused_total", reason)),
            messages_empty: messages("empty"),
            bytes: by_listener("spangate_received_bytes_total"),
            zipkin: Zipkin::new(listener, zipkin),
        }
    }

    pub fn read(&self, bytes: usize) {
        self.bytes.increment(bytes as u64);
    }

    pub fn empty(&self, decoded_bytes: usize) {
        self.messages_empty.increment(1);
        self.zipkin.message(0, decoded_bytes as u64);
    }

    pub fn invalid(&self, spans: usize, decoded_bytes: usize) {
        self.registry.together(|| {
            self.received.increment(spans as u64);
            self.invalid.increment(spans as u64);
        });
        self.refuse("invalid");
        self.zipkin.messages.increment(1);
        self.zipkin.messages_dropped.increment(1);
        self.zipkin.bytes.increment(decoded_bytes as u64);
    }

    pub fn unread(&self, reason: &'static str) {
        self.refuse(reason);
        self.zipkin.messages.increment(1);
        self.zipkin.messages_dropped.increment(1);
    }

    fn refuse(&self, reason: &str) {
        let at = REASONS.iter().position(|known| *known == reason).expect("every reason is one of the list");
        self.registry.together(|| {
            self.messages_refused.increment(1);
            self.messages_refused_for[at].increment(1);
        });
    }

    /// Counts a message once, with its answer.
    pub fn answered(&self, sums: &Sums, answer: Result<(), Refusal>) {
        self.registry.together(|| {
            self.received.increment(sums.spans + sums.aside);
            match answer {
                Ok(()) => {
                    self.accepted.increment(sums.spans);
                    self.set_aside.increment(sums.aside);
                }
                Err(refusal) => self.refused[refusal as usize].increment(sums.spans + sums.aside),
            }
        });
        self.zipkin.message(sums.spans, sums.decoded_bytes);
        match answer {
            Ok(()) => self.messages_accepted.increment(1),
            Err(refusal) => {
                self.refuse(refusal.label());
                self.zipkin.spans_dropped.increment(sums.spans);
            }
        }
    }
}

/// Zipkin's `CollectorMetrics`, one transport.
struct Zipkin {
    messages: Counter,
    messages_dropped: Counter,
    bytes: Counter,
    spans: Counter,
    spans_dropped: Counter,
    message_spans: Gauge,
    message_bytes: Gauge,
}

impl Zipkin {
    fn new(transport: &'static str, registry: &Registry) -> Self {
        let labels = [("transport", transport)];
        Zipkin {
            messages: registry.counter("zipkin_collector_messages_total", &labels),
            messages_dropped: registry.counter("zipkin_collector_messages_dropped_total", &labels),
            bytes: registry.counter("zipkin_collector_bytes_total", &labels),
            spans: registry.counter("zipkin_collector_spans_total", &labels),
            spans_dropped: registry.counter("zipkin_collector_spans_dropped_total", &labels),
            message_spans: registry.gauge("zipkin_collector_message_spans", &labels),
            message_bytes: registry.gauge("zipkin_collector_message_bytes", &labels),
        }
    }

    fn message(&self, spans: u64, bytes: u64) {
        self.messages.increment(1);
        self.spans.increment(spans);
        self.bytes.increment(bytes);
        self.message_spans.set(spans as f64);
        self.message_bytes.set(bytes as f64);
    }
}
