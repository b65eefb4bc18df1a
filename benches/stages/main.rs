//! Each stage of a span's way by itself: the decoders, append, drain, recovery.
//!
//! `cargo bench --bench stages [-- FILTER]`. Criterion keeps the last figures in target/criterion
//! and says what became slower. A message has 100 spans of 640 bytes of JSON v2, as in
//! `make bench`; figures are for a message, rates in spans. About two minutes for all.

mod channel;
mod decode;
mod message;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// The program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group! {
    name = stages;
    config = settings();
    targets = decode::decoders, channel::append, channel::drain, channel::recovery
}
criterion_main!(stages);

/// Less than criterion's own eight seconds a bench: what we look for is a tenth, not a hundredth.
fn settings() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4))
}
