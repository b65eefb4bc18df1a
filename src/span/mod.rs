//! The words of a span, and its canonical bytes.
//!
//! [`Span`] is what the decoders fill: borrowed where it can be, not yet normalised.
//! [`Batch::push`] normalises it as Zipkin's own reader would (ARCHITECTURE.md, "Canonical
//! bytes") and appends its proto3 bytes, so that the same span in any encoding is the same
//! bytes. [`canonical`] splits and peeks such bytes without decoding them.

pub mod canonical;

use std::borrow::Cow;

/// A 128-bit trace id; `high` is 0 for a 64-bit one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TraceId {
    pub high: u64,
    pub low: u64,
}

/// Which side of a call a span stands on (zipkin.proto, `Span.Kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Client = 1,
    Server = 2,
    Producer = 3,
    Consumer = 4,
}

/// A host and service. A `port` of 0 and a `service_name` of "" mean absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint<'a> {
    pub service_name: Option<Cow<'a, str>>,
    pub ipv4: Option<[u8; 4]>,
    pub ipv6: Option<[u8; 16]>,
    pub port: u16,
}

/// An event in a span; microseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation<'a> {
    pub timestamp_us: u64,
    pub value: Cow<'a, str>,
}

/// A v2 span as decoded. Zero means absent for `parent_id`, `timestamp_us`, `duration_us`.
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

/// Spans of one message: a `ListOfSpans` and an item for each of its elements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub body: Vec<u8>,
    pub items: Vec<Item>,
    /// Distinct local service names, at most 255 bytes each (longer ones are cut at a character).
    pub labels: Vec<String>,
}

impl Batch {
    /// Normalises `span` and appends it. The ids must not be zero (the decoders refuse that).
    pub fn push(&mut self, _span: &mut Span<'_>) {
        todo!("wire helper")
    }
}
