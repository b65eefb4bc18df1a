//! Drains from the channel to collectors that misbehave in every way.
#![allow(clippy::unwrap_used, reason = "the support of tests, which may panic as they do")]

mod flow;
mod gate;
mod giving_up;
mod scribe;
mod sink;

use std::collections::BTreeSet;

use bytes::Bytes;

/// A span as an element of a `ListOfSpans`: trace id and id alone.
pub fn span(id: u64) -> Bytes {
    let mut span = vec![0x0a, 20, 0x0a, 8];
    span.extend_from_slice(&id.to_be_bytes());
    span.extend_from_slice(&[0x1a, 8]);
    span.extend_from_slice(&id.to_be_bytes());
    span.into()
}

/// An id as a collector notes it.
pub fn id(id: u64) -> String {
    format!("{id:016x}")
}

/// The ids of spans `from..to`.
pub fn ids(range: std::ops::Range<u64>) -> BTreeSet<String> {
    range.map(id).collect()
}
