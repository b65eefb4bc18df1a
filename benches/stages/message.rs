//! What is measured: a message of `spangate send`, in each format.

use spangate::cli::send::message::{Message, Plan, Source};
use spangate::cli::send::options::Format;
use spangate::clock::Clock;

pub const SPANS: u64 = 100;
/// Of JSON v2, in every format.
const SPAN_BYTES: usize = 640;

pub fn message(format: Format) -> Vec<u8> {
    let plan = Plan { format, seed: 1, spans: Some(SPANS), batch: SPANS, span_bytes: Some(SPAN_BYTES), names: false };
    let mut message = Message::default();
    assert!(Source::new(plan, Clock::system()).fill(&mut message), "there are spans to send");
    message.body
}
