//! Our decoder of proto3 against the one that prost generated: where both take a list, its spans are the same.
//!
//! [`normal`] tells once more, in the simplest way, what Zipkin makes of a span. Where a field that stands once is
//! there twice, the two differ knowingly (`wire::proto3`), and that field of that span is not compared.

use prost::Message;
use spangate::span::Batch;
use spangate::wire::r#gen::zipkin_proto3::{Endpoint, ListOfSpans, Span};

use super::fit::{fields, tagged};

// Fields of a span.
const KIND: u64 = 4;
const LOCAL: u64 = 8;
const REMOTE: u64 = 9;
const TAGS: u64 = 11;
const DEBUG: u64 = 12;
const SHARED: u64 = 13;

/// Panics where `ours`, as our decoder read it of `body`, has other spans than the generated decoder finds there.
pub fn compare(body: &[u8], ours: &Batch) {
    let Ok(theirs) = ListOfSpans::decode(body) else { return };
    let read = ListOfSpans::decode(&ours.body[..]).expect("canonical bytes are a ListOfSpans");
    assert_eq!(read.spans.len(), theirs.spans.len(), "another's decoder counts other spans");
    let raw = fields(body).expect("a list that was read");
    for ((ours, theirs), (_, raw)) in read.spans.into_iter().zip(&theirs.spans).zip(raw) {
        // A group is of a kind that nobody writes.
        let Some(odd) = odd(raw) else { continue };
        assert_eq!(masked(ours, &odd), masked(normal(theirs), &odd), "another's decoder reads another span");
    }
}

/// What Zipkin makes of a span, told once more and in the simplest way.
pub fn normal(span: &Span) -> Span {
    let padded = |id: &[u8], len: usize| [&vec![0; len.saturating_sub(id.len())][..], id].concat();
    let mut trace_id = padded(&span.trace_id, 16);
    if trace_id[..8] == [0; 8] {
        trace_id.drain(..8);
    }
    let id = padded(&span.id, 8);
    let parent_id = Some(padded(&span.parent_id, 8)).filter(|parent| *parent != id && *parent != [0; 8]);
    let mut annotations = span.annotations.clone();
    annotations.retain(|annotation| annotation.timestamp != 0 && !annotation.value.is_empty());
    // Java's numbers are signed; what would be negative for a span's own times is absent.
    let time = |us: u64| if us.cast_signed() < 0 { 0 } else { us };
    annotations.sort_by_key(|a| (a.timestamp.cast_signed(), a.value.encode_utf16().collect::<Vec<_>>()));
    annotations.dedup();
    let mut tags = span.tags.clone();
    tags.remove("");
    Span {
        trace_id,
        parent_id: parent_id.unwrap_or_default(),
        id,
        kind: if (1..=4).contains(&span.kind) { span.kind } else { 0 },
        name: span.name.to_lowercase(),
        timestamp: time(span.timestamp),
        duration: time(span.duration),
        local_endpoint: normal_endpoint(&span.local_endpoint),
        remote_endpoint: normal_endpoint(&span.remote_endpoint),
        annotations,
        tags,
        shared: span.shared && span.kind != 1,
        ..span.clone()
    }
}

fn normal_endpoint(endpoint: &Option<Endpoint>) -> Option<Endpoint> {
    let endpoint = endpoint.clone()?;
    let ip = |len: usize| [&endpoint.ipv4, &endpoint.ipv6].into_iter().rfind(|ip| ip.len() == len);
    let normal = Endpoint {
        service_name: endpoint.service_name.to_lowercase(),
        ipv4: ip(4).cloned().unwrap_or_default(),
        ipv6: ip(16).cloned().unwrap_or_default(),
        port: endpoint.port.max(0),
    };
    (normal != Endpoint::default()).then_some(normal)
}

/// The fields of a span that the two read differently, or that merge; `None` where it has a group, or tags of another
/// wire type: those the other one reads as if they were tags, and so all that follows.
fn odd(span: &[u8]) -> Option<Vec<u64>> {
    let is_odd_tag = |(tag, _): &(u64, _)| tag >> 3 == TAGS && tag & 7 != 2;
    let fields = fields(span).filter(|_| !tagged(span).is_some_and(|all| all.iter().any(is_odd_tag)))?;
    let mut odd: Vec<u64> = [KIND, LOCAL, REMOTE, DEBUG, SHARED]
        .into_iter()
        .filter(|number| fields.iter().filter(|(found, _)| found == number).count() > 1)
        .collect();
    for (number, content) in fields {
        match number {
            // Of a number of several bytes protobuf takes what fits into 32 bits.
            KIND if content.len() > 1 => odd.push(KIND),
            LOCAL | REMOTE if is_odd(content)? => odd.push(number),
            _ => {}
        }
    }
    Some(odd)
}

/// Whether addresses of an endpoint stand more than once: ours goes by their length, the other by their field.
fn is_odd(endpoint: &[u8]) -> Option<bool> {
    let ips = fields(endpoint)?.into_iter().filter(|(number, _)| matches!(number, 2 | 3));
    let ips: Vec<(u64, usize)> = ips.map(|(number, content)| (number, content.len())).collect();
    Some(matches!(&ips[..], [a, b, rest @ ..] if !rest.is_empty() || a.0 == b.0 || a.1 == b.1))
}

fn masked(mut span: Span, odd: &[u64]) -> Span {
    for number in odd {
        match *number {
            // Who is a client is not shared.
            KIND => (span.kind, span.shared) = (0, false),
            LOCAL => span.local_endpoint = None,
            REMOTE => span.remote_endpoint = None,
            DEBUG => span.debug = false,
            _ => span.shared = false,
        }
    }
    span
}
