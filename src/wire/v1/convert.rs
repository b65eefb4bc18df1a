//! From one v1 span to the v2 spans in it.
//!
//! The rules are Zipkin's (`V1SpanConverter`), because a trace must look the same whether its
//! tracer spoke to a collector or to us. An endpoint's service decides which v2 span a piece
//! belongs to; core annotations (`cs`, `sr`, `ms`, ...) decide kind, time and `shared`.
//!
//! Times are signed here and wrap as Java's do, so that nonsense gives the same nonsense;
//! what is negative in the end is absent.

use std::borrow::Cow;

use super::{V1Annotation, V1BinaryAnnotation, V1Span};
use crate::span::{Annotation, Endpoint, Kind, Span, TraceId, utf16_order};

/// Services in one v1 span. Two are a call, a few are a bug that Zipkin shows; as each piece
/// is compared with each service, this also bounds the time that a hostile span can take.
pub const SERVICES_MAX: usize = 256;

/// Bytes of the names of all spans that one v1 span makes: as many as a span may have.
const NAMES_BYTES_MAX: usize = 1 << 20;

/// A v1 span of more services than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("annotations of more than {SERVICES_MAX} services, or a name too long for as many as there are")]
pub struct TooManyServices;

/// Converts `source`, sorting its lists. The first elements of `spans`, as many as returned,
/// are the result; others are spare, and their lists are taken over as memory.
pub fn convert<'a>(source: &mut V1Span<'a>, spans: &mut Vec<Span<'a>>) -> Result<usize, TooManyServices> {
    let by_time = |a: &V1Annotation<'_>, b: &V1Annotation<'_>| {
        a.timestamp_us.cmp(&b.timestamp_us).then_with(|| utf16_order(&a.value, &b.value))
    };
    let by_key = |a: &V1BinaryAnnotation<'_>, b: &V1BinaryAnnotation<'_>| utf16_order(&a.key, &b.key);
    source.annotations.sort_by(by_time);
    source.binary_annotations.sort_by(by_key);
    let mut conversion = Conversion { source, spans, used: 0, core: Core::default() };
    conversion.start(None);
    conversion.take_annotations()?;
    conversion.infer_starts();
    conversion.time_calls()?;
    conversion.time_messages()?;
    let addresses = conversion.take_tags()?;
    conversion.place_addresses(addresses)?;
    Ok(conversion.used)
}

/// A core annotation: always with an endpoint, else it is no core annotation.
#[derive(Debug, Clone, Copy)]
struct Mark<'s, 'a> {
    timestamp_us: i64,
    endpoint: &'s Endpoint<'a>,
}

/// The core annotations found; of several with the same value the last one.
#[derive(Debug, Default)]
struct Core<'s, 'a> {
    cs: Option<Mark<'s, 'a>>,
    sr: Option<Mark<'s, 'a>>,
    ss: Option<Mark<'s, 'a>>,
    cr: Option<Mark<'s, 'a>>,
    ms: Option<Mark<'s, 'a>>,
    mr: Option<Mark<'s, 'a>>,
    ws: Option<Mark<'s, 'a>>,
    wr: Option<Mark<'s, 'a>>,
}

/// Endpoints of the address annotations.
#[derive(Debug, Default)]
struct Addresses<'s, 'a> {
    ca: Option<&'s Endpoint<'a>>,
    sa: Option<&'s Endpoint<'a>>,
    ma: Option<&'s Endpoint<'a>>,
}

struct Conversion<'s, 'a> {
    source: &'s V1Span<'a>,
    spans: &'s mut Vec<Span<'a>>,
    used: usize,
    core: Core<'s, 'a>,
}

/// The index of the span that takes what has no endpoint.
const FIRST: usize = 0;

impl<'s, 'a> Conversion<'s, 'a> {
    /// Begins another span with the source's identity; returns its index.
    fn start(&mut self, local: Option<Endpoint<'a>>) -> usize {
        if self.used == self.spans.len() {
            self.spans.push(Span::default());
        }
        let span = &mut self.spans[self.used];
        span.clear();
        span.trace_id = TraceId { high: self.source.trace_id_high, low: self.source.trace_id };
        span.parent_id = self.source.parent_id;
        span.id = self.source.id;
        span.name = self.source.name.clone();
        span.local = local;
        span.debug = self.source.debug;
        self.used += 1;
        self.used - 1
    }

    fn fork(&mut self, endpoint: &Endpoint<'a>) -> Result<usize, TooManyServices> {
        // A name that had to be mended is copied for each span, before anyone looks at their size.
        let name_bytes = self.source.name.as_ref().map_or(0, |name| name.len());
        if self.used == SERVICES_MAX || (self.used + 1).saturating_mul(name_bytes) > NAMES_BYTES_MAX {
            return Err(TooManyServices);
        }
        Ok(self.start(Some(endpoint.clone())))
    }

    /// The span of the endpoint's service. Addresses and ports are not compared: tracers write
    /// them on some annotations and not on others.
    fn span_of(&mut self, endpoint: &Endpoint<'a>) -> Result<usize, TooManyServices> {
        let first = &mut self.spans[FIRST];
        if first.local.is_none() {
            first.local = Some(endpoint.clone());
            return Ok(FIRST);
        }
        let same = |span: &Span<'_>| span.local.as_ref().is_some_and(|local| same_service(local, endpoint));
        match self.spans[..self.used].iter().position(same) {
            Some(index) => Ok(index),
            None => self.fork(endpoint),
        }
    }

    fn take_annotations(&mut self) -> Result<(), TooManyServices> {
        for annotation in &self.source.annotations {
            let V1Annotation { timestamp_us, value, endpoint } = annotation;
            let Some(endpoint) = endpoint else {
                self.annotate(FIRST, *timestamp_us, value.clone());
                continue;
            };
            let span = self.span_of(endpoint)?;
            let core = &mut self.core;
            let (place, kind) = match &**value {
                "cs" => (&mut core.cs, Some(Kind::Client)),
                "cr" => (&mut core.cr, Some(Kind::Client)),
                "sr" => (&mut core.sr, Some(Kind::Server)),
                "ss" => (&mut core.ss, Some(Kind::Server)),
                "ms" => (&mut core.ms, Some(Kind::Producer)),
                "mr" => (&mut core.mr, Some(Kind::Consumer)),
                "ws" => (&mut core.ws, None),
                "wr" => (&mut core.wr, None),
                _ => {
                    self.annotate(span, *timestamp_us, value.clone());
                    continue;
                }
            };
            *place = Some(Mark { timestamp_us: *timestamp_us, endpoint });
            self.spans[span].kind = kind.or(self.spans[span].kind);
        }
        Ok(())
    }

    /// A bridge between models can lose the annotation of a start: the end, together with the
    /// span's own time, says when it was.
    fn infer_starts(&mut self) {
        let V1Span { timestamp_us, duration_us, .. } = *self.source;
        let timed = timestamp_us != 0 && duration_us != 0;
        let start_of = |end: Option<Mark<'s, 'a>>| {
            end.filter(|end| timed && timestamp_us.wrapping_add(duration_us) == end.timestamp_us)
                .map(|end| Mark { timestamp_us, ..end })
        };
        self.core.cs = self.core.cs.or_else(|| start_of(self.core.cr));
        self.core.sr = self.core.sr.or_else(|| start_of(self.core.ss));
    }

    /// Times of the two sides of a call, and who is `shared`.
    fn time_calls(&mut self) -> Result<(), TooManyServices> {
        let Core { cs, sr, ss, cr, .. } = self.core;
        match (cs, sr) {
            (Some(cs), Some(sr)) => self.time_both_sides(cs, sr)?,
            (Some(cs), None) if cr.is_some() => self.time(cs, cr)?,
            (None, Some(sr)) if ss.is_some() => self.time(sr, ss)?,
            _ => self.time_incomplete(),
        }
        // v1 has no `shared`: a server that did not write the span's time left it to the client.
        // With `ss` and no duration, the time is the client's, merged into the same row (MySQL).
        let V1Span { timestamp_us, duration_us, .. } = *self.source;
        if let (None, Some(sr)) = (cs, sr)
            && (timestamp_us == 0 || (ss.is_some() && duration_us == 0))
        {
            let server = self.span_of(sr.endpoint)?;
            self.spans[server].shared = true;
        }
        Ok(())
    }

    /// Client and server in one span: the span's own time is the client's.
    fn time_both_sides(&mut self, cs: Mark<'s, 'a>, sr: Mark<'s, 'a>) -> Result<(), TooManyServices> {
        let Core { ss, cr, .. } = self.core;
        self.time(cs, cr)?;
        let client = self.span_of(cs.endpoint)?;
        let server = self.other_side(client, Kind::Client, cs, sr, Kind::Server)?;
        let span = &mut self.spans[server];
        span.shared = true;
        span.timestamp_us = present(sr.timestamp_us);
        if let Some(ss) = ss {
            span.duration_us = present(ss.timestamp_us.wrapping_sub(sr.timestamp_us));
        }
        if cr.is_none() && self.source.duration_us == 0 {
            self.spans[client].duration_us = 0; // one-way: nobody knows how long it took
        }
        Ok(())
    }

    /// The span of `far`. A service that calls itself needs a second one beside `near_span`.
    fn other_side(
        &mut self,
        near_span: usize,
        near_kind: Kind,
        near: Mark<'s, 'a>,
        far: Mark<'s, 'a>,
        far_kind: Kind,
    ) -> Result<usize, TooManyServices> {
        if !same_service(near.endpoint, far.endpoint) {
            return self.span_of(far.endpoint);
        }
        self.spans[near_span].kind = Some(near_kind);
        let span = self.fork(far.endpoint)?;
        self.spans[span].kind = Some(far_kind);
        Ok(span)
    }

    /// Half a call: times as far as they are known; an end without a start stays an annotation.
    fn time_incomplete(&mut self) {
        let Core { cs, sr, ss, cr, .. } = self.core;
        for span in 0..self.used {
            let (start, end, value) = match self.spans[span].kind {
                Some(Kind::Client) => (cs, cr, "cr"),
                Some(Kind::Server) => (sr, ss, "ss"),
                _ => continue,
            };
            if let Some(start) = start {
                self.spans[span].timestamp_us = present(start.timestamp_us);
            }
            if let Some(end) = end {
                self.annotate(span, end.timestamp_us, Cow::Borrowed(value));
            }
        }
        if self.source.timestamp_us != 0 {
            self.spans[FIRST].timestamp_us = present(self.source.timestamp_us);
            self.spans[FIRST].duration_us = present(self.source.duration_us);
        }
    }

    fn time_messages(&mut self) -> Result<(), TooManyServices> {
        let Core { ms, mr, ws, wr, .. } = self.core;
        match (ms, mr) {
            (Some(ms), Some(mr)) => self.time_both_ends(ms, mr),
            (Some(ms), None) => self.time(ms, ws),
            (None, Some(mr)) => match wr {
                Some(wr) => self.time(wr, Some(mr)),
                None => self.time(mr, None),
            },
            (None, None) => {
                for (mark, value) in [(ws, "ws"), (wr, "wr")] {
                    let Some(mark) = mark else { continue };
                    let span = self.span_of(mark.endpoint)?;
                    self.annotate(span, mark.timestamp_us, Cow::Borrowed(value));
                }
                Ok(())
            }
        }
    }

    /// Producer and consumer should not share a span, but some do.
    fn time_both_ends(&mut self, ms: Mark<'s, 'a>, mr: Mark<'s, 'a>) -> Result<(), TooManyServices> {
        let Core { ws, wr, .. } = self.core;
        let producer = self.span_of(ms.endpoint)?;
        let consumer = self.other_side(producer, Kind::Producer, ms, mr, Kind::Consumer)?;
        let span = &mut self.spans[consumer];
        span.shared = true;
        span.timestamp_us = present(wr.unwrap_or(mr).timestamp_us);
        if let Some(wr) = wr {
            span.duration_us = present(mr.timestamp_us.wrapping_sub(wr.timestamp_us));
        }
        let span = &mut self.spans[producer];
        span.timestamp_us = present(ms.timestamp_us);
        span.duration_us = ws.map_or(0, |ws| present(ws.timestamp_us.wrapping_sub(ms.timestamp_us)));
        Ok(())
    }

    /// The span's own time if it is whole, else what the annotations say.
    fn time(&mut self, begin: Mark<'s, 'a>, end: Option<Mark<'s, 'a>>) -> Result<(), TooManyServices> {
        let index = self.span_of(begin.endpoint)?;
        let span = &mut self.spans[index];
        if self.source.timestamp_us != 0 && self.source.duration_us != 0 {
            span.timestamp_us = present(self.source.timestamp_us);
            span.duration_us = present(self.source.duration_us);
            return Ok(());
        }
        span.timestamp_us = present(begin.timestamp_us);
        if let Some(end) = end {
            span.duration_us = present(end.timestamp_us.wrapping_sub(begin.timestamp_us));
        }
        Ok(())
    }

    /// Binary annotations that are tags; returns those that are addresses.
    fn take_tags(&mut self) -> Result<Addresses<'s, 'a>, TooManyServices> {
        let mut addresses = Addresses::default();
        for V1BinaryAnnotation { address, key, value, endpoint } in &self.source.binary_annotations {
            match &**key {
                "ca" if *address => addresses.ca = endpoint.as_ref(),
                "sa" if *address => addresses.sa = endpoint.as_ref(),
                "ma" if *address => addresses.ma = endpoint.as_ref(),
                _ => {
                    let span = match endpoint {
                        Some(endpoint) => self.span_of(endpoint)?,
                        None => FIRST,
                    };
                    // An empty `lc` is there for its endpoint only.
                    if key != "lc" || !value.is_empty() {
                        self.spans[span].tags.push((key.clone(), value.clone()));
                    }
                }
            }
        }
        Ok(addresses)
    }

    fn place_addresses(&mut self, addresses: Addresses<'s, 'a>) -> Result<(), TooManyServices> {
        let Core { cs, sr, ss, cr, ms, mr, .. } = self.core;
        let Addresses { ca, sa, ma } = addresses;
        let server = sr.or(ss);
        let client = cs.or(cr);
        if server.is_none() && client.is_none() && (ca.is_some() || sa.is_some()) {
            return self.place_addresses_alone(ca, sa);
        }
        if let (Some(ca), Some(server)) = (ca, server)
            && ca != server.endpoint
        {
            let mut remote = ca.clone();
            // Finagle writes the client's socket under the server's name: a loop to itself.
            if same_service(ca, server.endpoint) {
                remote.service_name = None;
            }
            self.set_remote(server.endpoint, remote)?;
        }
        if let (Some(sa), Some(client)) = (sa, client) {
            self.set_remote(client.endpoint, sa.clone())?;
        }
        if let Some(ma) = ma {
            for end in [ms, mr].into_iter().flatten() {
                self.set_remote(end.endpoint, ma.clone())?;
            }
        }
        Ok(())
    }

    /// Addresses and no core annotation: `ca` alone is a server's; `sa` alone says no kind.
    fn place_addresses_alone(
        &mut self,
        ca: Option<&'s Endpoint<'a>>,
        sa: Option<&'s Endpoint<'a>>,
    ) -> Result<(), TooManyServices> {
        if let (Some(ca), Some(sa)) = (ca, sa) {
            return self.set_remote(ca, sa.clone());
        }
        let first = &mut self.spans[FIRST];
        first.remote = ca.or(sa).cloned();
        if ca.is_some() {
            first.kind = Some(Kind::Server);
        }
        Ok(())
    }

    fn set_remote(&mut self, of: &Endpoint<'a>, remote: Endpoint<'a>) -> Result<(), TooManyServices> {
        let span = self.span_of(of)?;
        self.spans[span].remote = Some(remote).filter(|remote| *remote != Endpoint::default());
        Ok(())
    }

    fn annotate(&mut self, span: usize, timestamp_us: i64, value: Cow<'a, str>) {
        // Java keeps a negative time as it is; in canonical bytes it is the same 64 bits.
        self.spans[span].annotations.push(Annotation { timestamp_us: timestamp_us as u64, value });
    }
}

/// Absent where zero or negative, as in `Span.Builder`.
fn present(time_us: i64) -> u64 {
    time_us.try_into().unwrap_or(0)
}

fn same_service(a: &Endpoint<'_>, b: &Endpoint<'_>) -> bool {
    a.service_name == b.service_name
}

#[cfg(test)]
mod tests;
