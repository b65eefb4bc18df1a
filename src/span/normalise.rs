//! One span, one form: what Zipkin's builders do to a span before they store or send it.
//!
//! The rules are those of zipkin's `Span.Builder`, `Endpoint.Builder` and `Annotation`
//! (zipkin/src/main/java/zipkin2). Nothing is refused and nothing allocated for a span that is
//! in form already, as nearly all are.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{Annotation, Endpoint, Kind, Span};

pub(super) fn normalise(span: &mut Span<'_>) {
    lower_case(&mut span.name);
    if span.parent_id == span.id {
        span.parent_id = 0;
    }
    absent_if_negative(&mut span.timestamp_us);
    absent_if_negative(&mut span.duration_us);
    endpoint(&mut span.local);
    endpoint(&mut span.remote);
    annotations(&mut span.annotations);
    tags(&mut span.tags);
    // "shared" is the server's word: a client that says it is mistaken (Span.Builder.build).
    span.shared &= span.kind != Some(Kind::Client);
}

/// Java's `long` is signed: what is beyond its range was negative, which means unknown.
fn absent_if_negative(number: &mut u64) {
    if *number > i64::MAX as u64 {
        *number = 0;
    }
}

/// As Java's `toLowerCase(Locale.ROOT)`, which knows more than ASCII: `İ` becomes two characters. "" is absent.
fn lower_case(name: &mut Option<Cow<'_, str>>) {
    let Some(text) = name else { return };
    if text.is_empty() {
        *name = None;
    } else if !text.is_ascii() {
        let lower = text.to_lowercase();
        if lower != *text {
            *text = Cow::Owned(lower);
        }
    } else if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        text.to_mut().make_ascii_lowercase();
    }
}

fn endpoint(endpoint: &mut Option<Endpoint<'_>>) {
    let Some(inner) = endpoint else { return };
    lower_case(&mut inner.service_name);
    if let Some(ipv4) = inner.ipv6.and_then(embedded_ipv4) {
        inner.ipv4 = Some(ipv4);
        inner.ipv6 = None;
    }
    if *inner == Endpoint::default() {
        *endpoint = None;
    }
}

/// The IPv4 address in an IPv4-compatible one (`::1.2.3.4`). Zipkin's proto3 reader turns such an address into IPv4
/// and its JSON reader keeps `::102:304`; here all encodings do the former, as a collector would do so in the end.
fn embedded_ipv4(ipv6: [u8; 16]) -> Option<[u8; 4]> {
    let (zeros, ipv4) = ipv6.split_at(12);
    let localhost = ipv4 == [0, 0, 0, 1];
    (zeros.iter().all(|byte| *byte == 0) && !localhost).then(|| [ipv4[0], ipv4[1], ipv4[2], ipv4[3]])
}

/// Sorted by time, then text; exact repetitions once (zipkin's `Span.sortedList`).
fn annotations(annotations: &mut Vec<Annotation<'_>>) {
    let order = |a: &Annotation<'_>, b: &Annotation<'_>| {
        (a.timestamp_us as i64).cmp(&(b.timestamp_us as i64)).then_with(|| utf16_order(&a.value, &b.value))
    };
    if annotations.is_sorted_by(|a, b| order(a, b).is_lt()) {
        return;
    }
    annotations.sort_by(order);
    annotations.dedup();
}

/// Sorted by key as Java's `TreeMap`; the last of equal keys stays.
fn tags(tags: &mut Vec<(Cow<'_, str>, Cow<'_, str>)>) {
    if tags.is_sorted_by(|a, b| utf16_order(&a.0, &b.0).is_lt()) {
        return;
    }
    tags.sort_by(|a, b| utf16_order(&a.0, &b.0));
    // `dedup_by` drops the later of two neighbours: so the one that stays takes the later value first.
    tags.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            first.1 = std::mem::take(&mut later.1);
        }
        same
    });
}

/// The order of Java's `String.compareTo`: by UTF-16 unit. It differs from the order of UTF-8 bytes in one thing:
/// characters beyond U+FFFF are surrogate pairs there, and so come before U+E000..U+FFFF.
pub fn utf16_order(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    match a.iter().zip(b).find(|(a, b)| a != b) {
        None => a.len().cmp(&b.len()),
        // Lead bytes: EE and EF begin U+E000..U+FFFF, F0 and above what lies beyond.
        Some((0xEE | 0xEF, 0xF0..)) => Ordering::Greater,
        Some((0xF0.., 0xEE | 0xEF)) => Ordering::Less,
        Some((a, b)) => a.cmp(b),
    }
}
