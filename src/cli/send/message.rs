//! Messages made of traces: whole bodies, ready for the socket, and the names of what is in them.
//!
//! [`Source`] cuts the stream of spans into messages of a given size; a trace may go on in the
//! next one, as it does with real tracers. Its traces begin a second before they are made.

use crate::clock::Clock;
use crate::span::{Kind, Span, TraceId};

use super::encoder::Encoder;
use super::options::Format;
use super::padding::Padding;
use super::traces::Traces;

/// Traces are over when they are sent: the longest takes less than this, in microseconds.
const AGO_US: u64 = 1_000_000;

/// What tells a span from all others, both sides of a call too: a line of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    pub trace_id: TraceId,
    pub id: u64,
    pub kind: Option<Kind>,
}

/// One request.
#[derive(Debug, Default)]
pub struct Message {
    /// A Scribe frame, a body of HTTP, or a message of gRPC without its head.
    pub body: Vec<u8>,
    pub spans: u64,
    /// Empty unless a ledger is kept.
    pub names: Vec<Name>,
}

impl Message {
    fn clear(&mut self) {
        self.body.clear();
        self.names.clear();
        self.spans = 0;
    }
}

/// What is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub format: Format,
    pub seed: u64,
    /// Spans in all; `None` never ends.
    pub spans: Option<u64>,
    /// Spans in a message.
    pub batch: u64,
    /// Bytes of JSON v2 to which a smaller span is filled up.
    pub span_bytes: Option<usize>,
    /// Whether messages carry the names of their spans.
    pub names: bool,
}

/// Makes messages until all spans are in one.
pub struct Source {
    plan: Plan,
    clock: Clock,
    traces: Traces,
    /// Spans of the present trace that are in a message.
    taken: usize,
    /// Spans that no trace has yet.
    left: u64,
    padding: Option<Padding>,
    encoder: Encoder,
}

impl Source {
    pub fn new(plan: Plan, clock: Clock) -> Source {
        Source {
            clock,
            traces: Traces::seeded(plan.seed),
            taken: 0,
            left: plan.spans.unwrap_or(u64::MAX),
            padding: plan.span_bytes.map(Padding::new),
            encoder: Encoder::new(plan.format),
            plan,
        }
    }

    /// Makes the next message in the room of an old one; false if there is nothing left to send.
    pub fn fill(&mut self, message: &mut Message) -> bool {
        message.clear();
        self.encoder.begin(&mut message.body);
        while message.spans < self.plan.batch {
            let Some(span) = next(&mut self.traces, &mut self.taken, &mut self.left, &self.clock) else { break };
            if self.plan.names {
                message.names.push(Name { trace_id: span.trace_id, id: span.id, kind: span.kind });
            }
            if let Some(padding) = &mut self.padding {
                padding.fill(span);
            }
            self.encoder.push(span, &mut message.body);
            message.spans += 1;
        }
        self.encoder.end(&mut message.body);
        message.spans > 0
    }
}

/// The next span, of a new trace where the last one is used up.
fn next<'a>(traces: &'a mut Traces, taken: &mut usize, left: &mut u64, clock: &Clock) -> Option<&'a mut Span<'static>> {
    if *taken == traces.spans().len() {
        if *left == 0 {
            return None;
        }
        traces.make(clock.now_us().saturating_sub(AGO_US), usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= traces.spans().len() as u64;
        *taken = 0;
    }
    *taken += 1;
    traces.spans().get_mut(*taken - 1)
}

#[cfg(test)]
#[path = "tests/message.rs"]
mod tests;
