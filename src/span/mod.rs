//! The words of a span, and its canonical bytes.
//!
//! [`Span`] is what the decoders fill: borrowed where it can be, not yet normalised.
//! [`Batch::push`] normalises it as Zipkin's own reader would (ARCHITECTURE.md, "Canonical
//! bytes") and appends its proto3 bytes, so that the same span in any encoding is the same
//! bytes. [`canonical`] splits and reads such bytes again.
//!
//! Nothing here fails but the readers of [`canonical`] and [`proto`]: what a span may not be
//! (an id of zero) is the decoders' to refuse, see [`Span::zero_id`].

mod batch;
pub mod canonical;
mod encode;
mod normalise;
pub mod proto;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use batch::{Batch, Mark};
pub use normalise::utf16_order;

/// A 128-bit trace id; `high` is 0 for a 64-bit one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TraceId {
    pub high: u64,
    pub low: u64,
}

impl TraceId {
    /// The id in 1 to 16 big-endian bytes, padded on the left; `None` beyond 16.
    pub fn from_be_bytes(bytes: &[u8]) -> Option<TraceId> {
        let mut padded = [0; 16];
        padded[16usize.checked_sub(bytes.len())?..].copy_from_slice(bytes);
        let id = u128::from_be_bytes(padded);
        Some(TraceId { high: (id >> 64) as u64, low: id as u64 })
    }

    pub fn is_zero(self) -> bool {
        self.high == 0 && self.low == 0
    }
}

/// Lower-case hexadecimal, 16 or 32 characters, as Zipkin writes it.
impl std::fmt::Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.high != 0 {
            write!(f, "{:016x}", self.high)?;
        }
        write!(f, "{:016x}", self.low)
    }
}

/// Which side of a call a span stands on (zipkin.proto, `Span.Kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Client = 1,
    Server = 2,
    Producer = 3,
    Consumer = 4,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Client, Kind::Server, Kind::Producer, Kind::Consumer];

    /// The kind of that number in zipkin.proto; 0 (unspecified) and numbers beyond 4 are none.
    pub fn from_number(number: u64) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u64 == number)
    }

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Client => "CLIENT",
            Kind::Server => "SERVER",
            Kind::Producer => "PRODUCER",
            Kind::Consumer => "CONSUMER",
        }
    }
}

/// A host and service. A `port` of 0 and a `service_name` of "" mean absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint<'a> {
    pub service_name: Option<Cow<'a, str>>,
    pub ipv4: Option<[u8; 4]>,
    pub ipv6: Option<[u8; 16]>,
    pub port: u16,
}

/// An event in a span; microseconds since the epoch, in two's complement where it is negative (Zipkin takes such).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation<'a> {
    pub timestamp_us: u64,
    pub value: Cow<'a, str>,
}

/// A v2 span as decoded. Zero means absent for `parent_id`, `timestamp_us`, `duration_us`; so do the last two
/// beyond `i64::MAX`, which are Java's negative numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Span<'a> {
    pub trace_id: TraceId,
    pub parent_id: u64,
    pub id: u64,
    pub kind: Option<Kind>,
    pub name: Option<Cow<'a, str>>,
    pub timestamp_us: u64,
    pub duration_us: u64,
    pub local: Option<Endpoint<'a>>,
    pub remote: Option<Endpoint<'a>>,
    pub annotations: Vec<Annotation<'a>>,
    pub tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub debug: bool,
    pub shared: bool,
}

impl Span<'_> {
    /// The field whose id is zero, `traceId` before `id`. A decoder refuses such a span: Zipkin does for all
    /// encodings but one quirk (JSON's `"id":"0"`), and a collector refuses the whole batch that carries it.
    pub fn zero_id(&self) -> Option<&'static str> {
        match (self.trace_id.is_zero(), self.id == 0) {
            (true, _) => Some("traceId"),
            (_, true) => Some("id"),
            _ => None,
        }
    }

    /// Empties the span and keeps the room of its lists, so that a decoder allocates them once a message.
    pub fn clear(&mut self) {
        let (mut annotations, mut tags) = (std::mem::take(&mut self.annotations), std::mem::take(&mut self.tags));
        annotations.clear();
        tags.clear();
        *self = Span { annotations, tags, ..Span::default() };
    }
}

/// The flag of an [`Item`] whose span has `debug` set: sampling always keeps it.
pub const ALWAYS_KEEP: u8 = 1;

/// The label index of an item without one.
pub const NO_LABEL: u16 = u16::MAX;

/// What the channel knows of one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Low 64 bits of the trace id.
    pub key: u64,
    /// Bytes of the element in the body, with its tag and length.
    pub len: u32,
    /// Index into [`Batch::labels`]: the local service name; or [`NO_LABEL`].
    pub label: u16,
    /// [`ALWAYS_KEEP`].
    pub flags: u8,
}
