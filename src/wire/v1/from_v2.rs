//! From one v2 span to what v1 can say of it.
//!
//! The rules are Zipkin's (`V2SpanConverter`): kind and times become core annotations at the local endpoint, the
//! other side becomes an address, tags become strings. A `shared` span leaves its time out: that is how v1 says it.
//!
//! What v1 cannot say is lost, without an error: without a timestamp the duration, `shared`, and the kind; without a
//! local endpoint the kind; `shared` of all but servers; an annotation at 0 (over Thrift); a server's remote endpoint
//! that equals its local one, or its name where it is the same service; tags named `sa`, `ca`, `ma` and an empty `lc`,
//! which mean something else there. Core annotations of a span's own change its kind.

use crate::span::{Annotation, Endpoint, Kind, Span, utf16_order};

/// Bytes that the local endpoint may take, which v1 says again for each annotation and tag. A long name and many tags
/// would make a span of 1 MiB gigabytes; this is the most that a frame of Flume's may have.
pub const REPEATED_BYTES_MAX: usize = 16_384_000;

/// Why a span cannot be said in v1 at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsayable {
    #[error("the low 64 bits of the trace id are 0, which v1 takes for no id")]
    NoTraceId,
    #[error(
        "v1 says the local endpoint with each of {entries} annotations and tags: {bytes} bytes, at most \
         {REPEATED_BYTES_MAX} are written"
    )]
    TooLarge { entries: usize, bytes: usize },
}

/// A v2 span as v1 says it. What is not here (ids, name, debug) is said as it is.
#[derive(Debug)]
pub struct Said<'s> {
    pub span: &'s Span<'s>,
    /// 0 means absent, always so where the span is shared.
    pub timestamp_us: u64,
    pub duration_us: u64,
    /// In order of time, then text; all at the local endpoint.
    pub annotations: Vec<(i64, &'s str)>,
    /// In order of their keys.
    pub binary: Vec<Binary<'s>>,
}

/// A binary annotation of the kinds that v2 has a use for.
#[derive(Debug, Clone, Copy)]
pub enum Binary<'s> {
    /// A string, at the local endpoint.
    Tag(&'s str, &'s str),
    /// The other side of the call.
    Address(&'static str, &'s Endpoint<'s>),
}

impl Binary<'_> {
    pub fn key(&self) -> &str {
        match self {
            Binary::Tag(key, _) | Binary::Address(key, _) => key,
        }
    }
}

/// Says `span`, which is normalised, in v1.
pub fn say<'s>(span: &'s Span<'_>) -> Result<Said<'s>, Unsayable> {
    if span.trace_id.low == 0 {
        return Err(Unsayable::NoTraceId);
    }
    fits(span)?;
    let core = Core::of(span);
    let annotations = annotations(span, &core);
    let binary = binary(span, &core, annotations.is_empty());
    let (timestamp_us, duration_us) = if span.shared { (0, 0) } else { (span.timestamp_us, span.duration_us) };
    Ok(Said { span, timestamp_us, duration_us, annotations, binary })
}

fn fits(span: &Span<'_>) -> Result<(), Unsayable> {
    // Two more: begin and end. Addresses and field heads are some tens of bytes in any format.
    let entries = span.annotations.len() + span.tags.len() + 2;
    let host = span.local.as_ref().map_or(0, |local| local.service_name.as_ref().map_or(0, |name| name.len()));
    let bytes = entries.saturating_mul(host);
    if bytes <= REPEATED_BYTES_MAX { Ok(()) } else { Err(Unsayable::TooLarge { entries, bytes }) }
}

/// What v1 calls begin and end of the span, and its other side.
#[derive(Debug, Default, Clone, Copy)]
struct Core {
    begin: Option<(i64, &'static str)>,
    end: Option<(i64, &'static str)>,
    address: &'static str,
}

/// Times told by core annotations among the span's own; 0 means not told.
#[derive(Debug, Default)]
struct Told {
    kind: Option<Kind>,
    start_us: i64,
    end_us: i64,
    ms: i64,
    mr: i64,
    ws: i64,
    wr: i64,
}

impl Told {
    /// Half-converted spans have core annotations beside kind and time: the last one decides the kind, and a wider
    /// time counts.
    fn by(span: &Span<'_>) -> Told {
        let start_us = span.timestamp_us as i64;
        let whole = span.timestamp_us != 0 && span.duration_us != 0;
        // Wraps as Java's does.
        let end_us = if whole { start_us.wrapping_add(span.duration_us as i64) } else { 0 };
        let mut told = Told { kind: span.kind, start_us, end_us, ..Told::default() };
        for Annotation { timestamp_us, value } in &span.annotations {
            let at = *timestamp_us as i64;
            match &**value {
                "cs" => (told.kind, told.start_us) = (Some(Kind::Client), told.start_us.min(at)),
                "sr" => (told.kind, told.start_us) = (Some(Kind::Server), told.start_us.min(at)),
                "cr" => (told.kind, told.end_us) = (Some(Kind::Client), told.end_us.max(at)),
                "ss" => (told.kind, told.end_us) = (Some(Kind::Server), told.end_us.max(at)),
                "ms" => (told.kind, told.ms) = (Some(Kind::Producer), at),
                "mr" => (told.kind, told.mr) = (Some(Kind::Consumer), at),
                "ws" => told.ws = at,
                "wr" => told.wr = at,
                _ => {}
            }
        }
        told
    }
}

impl Core {
    fn of(span: &Span<'_>) -> Core {
        let told = Told::by(span);
        let (begin, end, address) = match told.kind {
            None => return Core { address: "sa", ..Core::default() },
            Some(Kind::Client) => ((told.start_us, "cs"), (told.end_us, Some("cr")), "sa"),
            Some(Kind::Server) => ((told.start_us, "sr"), (told.end_us, Some("ss")), "ca"),
            Some(Kind::Producer) => {
                let (start, end) = (earlier(told.start_us, told.ms), later(told.end_us, told.ws));
                ((start, "ms"), (end, Some("ws")), "ma")
            }
            Some(Kind::Consumer) => {
                let (start, end) = (earlier(told.start_us, told.wr), later(told.end_us, told.mr));
                // What took a time was received from the wire before it was received.
                let timed = end != 0 || told.wr != 0;
                ((start, if timed { "wr" } else { "mr" }), (end, timed.then_some("mr")), "ma")
            }
        };
        Core {
            begin: Some(begin).filter(|(at, _)| *at != 0),
            end: end.1.map(|value| (end.0, value)).filter(|(at, _)| *at != 0),
            address,
        }
    }
}

/// The earlier of two times of which 0 is none.
fn earlier(time: i64, other: i64) -> i64 {
    if time == 0 || (other != 0 && other < time) { other } else { time }
}

fn later(time: i64, other: i64) -> i64 {
    if time == 0 || (other != 0 && other > time) { other } else { time }
}

fn annotations<'s>(span: &'s Span<'_>, core: &Core) -> Vec<(i64, &'s str)> {
    let is = |mark: Option<(i64, &str)>, value: &str| mark.is_some_and(|(_, core)| core == value);
    let own = span.annotations.iter().map(|annotation| (annotation.timestamp_us as i64, &*annotation.value));
    let own = own.filter(|(_, value)| !is(core.begin, value) && !is(core.end, value));
    let mut all: Vec<(i64, &str)> = core.begin.into_iter().chain(own).chain(core.end).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| utf16_order(a.1, b.1)));
    all
}

fn binary<'s>(span: &'s Span<'_>, core: &Core, nothing_else: bool) -> Vec<Binary<'s>> {
    let tags = span.tags.iter().map(|(key, value)| Binary::Tag(key, value));
    // An empty `lc` is there for its endpoint only, which nothing else would carry.
    let local = (nothing_else && span.tags.is_empty() && span.local.is_some()).then_some(Binary::Tag("lc", ""));
    let address = span.remote.as_ref().map(|remote| Binary::Address(core.address, remote));
    let mut all: Vec<Binary<'_>> = tags.chain(local).chain(address).collect();
    all.sort_by(|a, b| utf16_order(a.key(), b.key()));
    all
}
