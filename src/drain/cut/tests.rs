//! How frames are cut into batches, and by sink.

use std::time::Duration;

use super::*;
use crate::channel::{FrameAt, Item, Kind, Origin};

const LINGER: Duration = Duration::from_millis(20);

/// A frame of spans with these lengths, each of the trace of its own position.
fn head(first: u64, lens: &[u32]) -> Arc<Head> {
    let item = |(n, len): (usize, &u32)| Item { key: first + n as u64, len: *len, label: u16::MAX, flags: 0 };
    let items: Vec<_> = lens.iter().enumerate().map(item).collect();
    Arc::new(Head {
        at: FrameAt { segment: 0, offset: 0, first, items: items.len() as u32 },
        kind: Kind::Spans,
        received_us: 0,
        origin: Arc::new(Origin(Vec::new())),
        labels: Vec::new(),
        body_len: lens.iter().sum(),
        items,
    })
}

fn whole(head: &Arc<Head>) -> Taken {
    Taken { head: head.clone(), open: std::iter::once(0..head.at.items).collect() }
}

fn limits(spans: u32, bytes: usize) -> BatchSettings {
    BatchSettings { spans, bytes, linger: LINGER }
}

/// Cuts all that can be cut from a lane by now.
fn drain(cutter: &mut Cutter, lane: Lane, limits: &BatchSettings, now: Instant) -> Vec<Batch> {
    let mut batches = Vec::new();
    while cutter.ready(lane, limits).is_some_and(|ready| ready <= now) {
        batches.push(cutter.cut(lane, limits));
    }
    batches
}

#[test]
fn a_batch_closes_at_its_spans() {
    let (mut cutter, limits, now) = (Cutter::default(), limits(4, 1_000), Instant::now());
    cutter.push(&whole(&head(0, &[1; 3])), now);
    assert!(drain(&mut cutter, None, &limits, now).is_empty(), "not full and not due");
    cutter.push(&whole(&head(3, &[1; 6])), now);
    let batches = drain(&mut cutter, None, &limits, now);
    assert_eq!(batches.iter().map(|b| b.spans).collect::<Vec<_>>(), [4, 4]);
    assert_eq!(batches[0].positions(), std::iter::once(0..4).collect::<Vec<_>>());
    assert_eq!(batches[1].positions(), std::iter::once(4..8).collect::<Vec<_>>());
}

#[test]
fn a_batch_closes_before_its_bytes_are_exceeded() {
    let (mut cutter, limits, now) = (Cutter::default(), limits(100, 10), Instant::now());
    cutter.push(&whole(&head(0, &[4, 4, 4, 10, 3, 99, 1])), now);
    let later = now + Duration::from_millis(20);
    let bytes: Vec<_> = drain(&mut cutter, None, &limits, later).iter().map(|b| b.bytes).collect();
    assert_eq!(bytes, [8, 4, 10, 3, 99, 1], "one span that is too long stands alone");
}

#[test]
fn what_lies_before_a_position_is_taken_out_of_what_waits() {
    let (mut cutter, limits, now) = (Cutter::default(), limits(4, 1_000), Instant::now());
    cutter.push(&whole(&head(0, &[1, 2, 3])), now);
    cutter.push(&whole(&head(10, &[4; 6])), now);
    let taken = |cutter: &mut Cutter, position| -> Vec<_> {
        cutter.take_before(position).iter().map(|stretch| (stretch.positions(), stretch.bytes())).collect()
    };
    assert_eq!(taken(&mut cutter, 0), []);
    assert_eq!(taken(&mut cutter, 2), [(0..2, 3)]);
    assert_eq!(taken(&mut cutter, 12), [(2..3, 3), (10..12, 8)]);
    assert_eq!(cutter.take_before(12).len(), 0);
    let left = cutter.cut(None, &limits);
    assert_eq!((left.first(), left.spans, left.bytes), (12, 4, 16));
    cutter.push(&whole(&head(20, &[1])), now);
    assert_eq!(taken(&mut cutter, 100), [(20..21, 1)]);
    assert_eq!((cutter.ready(None, &limits), cutter.heads()), (None, 0));
}

#[test]
fn a_batch_closes_after_its_linger() {
    let (mut cutter, limits, now) = (Cutter::default(), limits(100, 1_000), Instant::now());
    cutter.push(&whole(&head(0, &[1])), now);
    cutter.push(&whole(&head(1, &[1])), now + Duration::from_millis(15));
    assert_eq!(cutter.ready(None, &limits), Some(now + LINGER), "from the first span on");
    assert_eq!(cutter.cut(None, &limits).spans, 2);
    assert_eq!(cutter.ready(None, &limits), None);
}

#[test]
fn only_open_items_are_taken_and_every_one_once() {
    let (mut cutter, limits, now) = (Cutter::default(), limits(3, 1_000), Instant::now());
    let head = head(100, &[1; 10]);
    cutter.push(&Taken { head, open: vec![0..2, 5..6, 8..10] }, now);
    let batches = drain(&mut cutter, None, &limits, now + Duration::from_secs(1));
    let positions: Vec<u64> = batches.iter().flat_map(|b| b.positions()).flatten().collect();
    assert_eq!(positions, [100, 101, 105, 108, 109]);
}

#[test]
fn no_more_is_taken_while_two_batches_wait_for_each_lane() {
    let (mut cutter, limits, now) = (Cutter::default(), limits(2, 1_000), Instant::now());
    assert!(cutter.has_room(&limits, 1));
    cutter.push(&whole(&head(0, &[1; 4])), now);
    assert!(!cutter.has_room(&limits, 1));
    assert!(cutter.has_room(&limits, 2));
    cutter.cut(None, &limits);
    assert!(cutter.has_room(&limits, 1));
}

#[test]
fn frames_that_are_small_make_small_batches() {
    let (mut cutter, limits, now) = (Cutter::default(), limits(100_000, 1 << 20), Instant::now());
    let mut first = 0;
    while cutter.has_room(&limits, 1) {
        cutter.push(&whole(&head(first, &[1])), now);
        first += 1;
    }
    assert_eq!(first, 2 * HEADS_MAX as u64);
    assert_eq!(cutter.cut(None, &limits).spans, HEADS_MAX as u32);
    assert_eq!(cutter.heads(), HEADS_MAX);
}

#[test]
fn a_sink_is_given_its_own_measure() {
    let (mut cutter, now) = (Cutter::default(), Instant::now());
    cutter.push(&whole(&head(0, &[1; 10])), now);
    assert_eq!(cutter.ready(None, &limits(20, 100)), Some(now + LINGER));
    assert_eq!(cutter.ready(None, &limits(10, 100)), Some(now));
    assert_eq!(cutter.cut(None, &limits(3, 100)).spans, 3);
    assert_eq!(cutter.cut(None, &limits(100, 5)).spans, 5);
    assert_eq!(cutter.cut(None, &limits(100, 100)).spans, 2);
}

#[test]
fn each_trace_waits_in_the_lane_of_its_sink() {
    let (mut cutter, limits, now) = (Cutter::default(), limits(100, 1_000), Instant::now());
    let parity = |trace: u64, _: &dyn Fn(SinkId) -> u32| Some((trace % 2) as SinkId);
    cutter.push_routed(&whole(&head(0, &[1; 7])), now, parity);
    cutter.push_routed(&Taken { head: head(7, &[1; 4]), open: std::iter::once(1..4).collect() }, now, parity);
    assert!(drain(&mut cutter, None, &limits, now + LINGER).is_empty());
    let spans = |batches: Vec<Batch>| -> Vec<u64> { batches.iter().flat_map(|b| b.positions()).flatten().collect() };
    assert_eq!(spans(drain(&mut cutter, Some(0), &limits, now + LINGER)), [0, 2, 4, 6, 8, 10]);
    cutter.reroute(|sink| sink != 1, |_, held| Some(if held(5) < 2 { 5 } else { 6 }));
    assert_eq!(spans(drain(&mut cutter, Some(1), &limits, now + LINGER)), [0; 0]);
    assert_eq!(spans(drain(&mut cutter, Some(5), &limits, now + LINGER)), [1, 3]);
    assert_eq!(spans(drain(&mut cutter, Some(6), &limits, now + LINGER)), [5, 9]);
}
