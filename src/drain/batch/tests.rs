//! Batches in halves, in parts, by sink; their bytes and their way.

use std::time::Duration;

use super::*;
use crate::channel::{FrameAt, Item, Kind, Origin};

fn head(first: u64, lens: &[u32]) -> Arc<Head> {
    from(first, lens, &[])
}

fn from(first: u64, lens: &[u32], via: &[&str]) -> Arc<Head> {
    let items: Vec<_> = lens.iter().map(|len| Item { key: 0, len: *len, label: u16::MAX, flags: 0 }).collect();
    let origin = via.iter().map(|v| ("via".to_owned(), (*v).to_owned())).collect();
    Arc::new(Head {
        at: FrameAt { segment: 0, offset: 0, first, items: items.len() as u32 },
        kind: Kind::Spans,
        received_us: 0,
        origin: Arc::new(Origin(origin)),
        labels: Vec::new(),
        body_len: lens.iter().sum(),
        items,
    })
}

#[test]
fn halves_hold_what_the_whole_held() {
    let (a, b) = (head(0, &[1, 2, 3]), head(3, &[4, 5, 6, 7]));
    let stretches = vec![Stretch { head: a, items: 1..3 }, Stretch { head: b, items: 0..4 }];
    let mut queue = vec![Batch { maybe_taken: true, ..Batch::of(stretches) }];
    let mut singles = Vec::new();
    while let Some(batch) = queue.pop() {
        match batch.halves(7) {
            Some((first, second)) => {
                assert_eq!((first.spans + second.spans, first.bytes + second.bytes), (batch.spans, batch.bytes));
                assert!(first.spans.abs_diff(second.spans) <= 1 && first.first() < second.first());
                queue.extend([second, first]);
            }
            None => singles.push(batch),
        }
    }
    assert_eq!(singles.iter().map(Batch::first).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(singles.iter().map(|b| b.bytes).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7]);
    assert!(singles.iter().all(|b| b.maybe_taken), "what may have been taken still may");
}

fn limits(spans: u32, bytes: usize) -> BatchSettings {
    BatchSettings { spans, bytes, linger: Duration::ZERO }
}

#[test]
fn a_batch_is_cut_to_the_measure_of_a_sink() {
    let stretches =
        vec![Stretch { head: head(0, &[1; 3]), items: 0..3 }, Stretch { head: head(3, &[5; 3]), items: 0..3 }];
    let batch = Batch { maybe_taken: true, again: true, lane: Some(7), ..Batch::of(stretches) };
    assert!(batch.clone().within(&limits(6, 18)).1.is_none(), "it fits");
    let cases = [(limits(4, 100), 4), (limits(100, 9), 4), (limits(100, 2), 2), (limits(1, 0), 1)];
    for (limits, at) in cases {
        let (cut, left) = batch.clone().within(&limits);
        let left = left.expect("something is left");
        let positions = |batch: &Batch| batch.positions().into_iter().flatten().collect::<Vec<_>>();
        assert_eq!((positions(&cut), positions(&left)), ((0..at).collect(), (at..6).collect()));
        assert_eq!((cut.spans + left.spans, cut.bytes + left.bytes), (6, 18));
        assert_eq!((cut.maybe_taken, cut.again, cut.lane), (true, true, Some(7)));
        assert_eq!((left.maybe_taken, left.again, left.lane), (true, false, Some(7)));
    }
}

#[test]
fn a_batch_is_parted_by_the_sinks_of_its_traces_and_put_together_again() {
    let mut keyed = Head::clone(&head(0, &[1; 6]));
    keyed.items.iter_mut().zip([1, 1, 2, 1, 2, 2]).for_each(|(item, key)| item.key = key);
    let batch = Batch { maybe_taken: true, ..Batch::of(vec![Stretch { head: Arc::new(keyed), items: 1..6 }]) };
    let mut parts = batch.by_lane(|trace| Some(trace as SinkId));
    assert_eq!(
        parts.iter().map(|p| (p.lane, p.positions())).collect::<Vec<_>>(),
        [(Some(1), vec![1..2, 3..4]), (Some(2), vec![2..3, 4..6])]
    );
    assert!(parts.iter().all(|p| p.maybe_taken));
    let second = parts.pop().unwrap();
    let second = parts[0].join(second, &limits(9, 9)).expect("another sink's");
    let third = Batch { lane: Some(1), ..second };
    let third = parts[0].join(third, &limits(4, 9)).expect("more than the limit");
    let third = parts[0].join(Batch { maybe_taken: false, ..third }, &limits(9, 9)).expect("another history");
    assert!(parts[0].join(Batch { maybe_taken: true, ..third }, &limits(9, 9)).is_none(), "alike");
    assert_eq!((parts[0].spans, parts[0].bytes), (5, 5));
}

#[test]
fn a_stretch_finds_its_bytes_in_the_body() {
    let stretch = Stretch { head: head(7, &[2, 3, 4]), items: 1..3 };
    let body = Bytes::from_static(b"aabbbcccc");
    assert_eq!(stretch.slice(&body), "bbbcccc");
    assert_eq!((stretch.bytes(), stretch.positions()), (7, 8..10));
}

#[test]
fn a_few_spans_of_a_frame_do_not_keep_all_of_it() {
    let body = Bytes::from(vec![7; 1000]);
    let head = head(0, &[10; 100]);
    let kept = |items: Range<u32>| {
        let part = Stretch { head: head.clone(), items }.slice(&body);
        body.as_ptr_range().contains(&part.as_ptr())
    };
    assert!(kept(0..100) && kept(50..100), "no more than twice what is sent");
    assert!(!kept(0..49) && !kept(99..100), "a copy");
}

#[test]
fn a_load_names_each_gateway_once_and_at_most_eight() {
    let frames = (0..20u64).map(|n| from(n, &[1], &["same", &format!("g{n}")]));
    let batch = Batch::of(frames.map(|head| Stretch { head, items: 0..1 }).collect());
    let via = batch.load(Vec::new()).via;
    assert_eq!(via.len(), VIA_MAX);
    assert_eq!(via[..3], ["same", "g0", "g1"]);
}
