//! How frames are cut into batches, and batches into halves.

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

fn whole(head: &Arc<Head>) -> Taken {
    Taken { head: head.clone(), open: std::iter::once(0..head.at.items).collect() }
}

fn builder(spans: u32, bytes: usize) -> Builder {
    Builder::new(BatchSettings { spans, bytes, linger: Duration::from_millis(20) })
}

fn drain(builder: &mut Builder, now: Instant) -> Vec<Batch> {
    std::iter::from_fn(|| builder.pop(now)).collect()
}

#[test]
fn a_batch_closes_at_its_spans() {
    let (mut builder, now) = (builder(4, 1_000), Instant::now());
    builder.push(&whole(&head(0, &[1; 3])), now);
    assert!(builder.pop(now).is_none(), "not full and not due");
    builder.push(&whole(&head(3, &[1; 6])), now);
    let batches = drain(&mut builder, now);
    assert_eq!(batches.iter().map(|b| b.spans).collect::<Vec<_>>(), [4, 4]);
    assert_eq!(batches[0].positions(), std::iter::once(0..4).collect::<Vec<_>>());
    assert_eq!(batches[1].positions(), std::iter::once(4..8).collect::<Vec<_>>());
}

#[test]
fn a_batch_closes_before_its_bytes_are_exceeded() {
    let (mut builder, now) = (builder(100, 10), Instant::now());
    builder.push(&whole(&head(0, &[4, 4, 4, 10, 3, 99, 1])), now);
    let later = now + Duration::from_millis(20);
    let bytes: Vec<_> = drain(&mut builder, later).iter().map(|b| b.bytes).collect();
    assert_eq!(bytes, [8, 4, 10, 3, 99, 1], "one span that is too long stands alone");
}

#[test]
fn what_lies_before_a_position_is_taken_out_of_open_and_closed_batches() {
    let (mut builder, now) = (builder(4, 1_000), Instant::now());
    builder.push(&whole(&head(0, &[1, 2, 3])), now);
    builder.push(&whole(&head(10, &[4; 6])), now);
    let taken = |builder: &mut Builder, position| -> Vec<_> {
        builder.take_before(position).iter().map(|stretch| (stretch.positions(), stretch.bytes())).collect()
    };
    assert_eq!(taken(&mut builder, 0), []);
    assert_eq!(taken(&mut builder, 2), [(0..2, 3)]);
    assert_eq!(taken(&mut builder, 12), [(2..3, 3), (10..11, 4), (11..12, 4)]);
    assert_eq!(builder.take_before(12).len(), 0);
    let left = drain(&mut builder, now);
    assert_eq!(left.iter().map(|b| (b.first(), b.spans, b.bytes)).collect::<Vec<_>>(), [(12, 3, 12)]);
    assert_eq!(taken(&mut builder, 100), [(15..16, 4)]);
    assert_eq!((builder.due(), builder.stretches()), (None, 0));
}

#[test]
fn a_batch_closes_after_its_linger() {
    let (mut builder, now) = (builder(100, 1_000), Instant::now());
    builder.push(&whole(&head(0, &[1])), now);
    builder.push(&whole(&head(1, &[1])), now + Duration::from_millis(15));
    assert_eq!(builder.due(), Some(now + Duration::from_millis(20)), "from the first span on");
    assert!(builder.pop(now + Duration::from_millis(19)).is_none());
    assert_eq!(builder.pop(now + Duration::from_millis(20)).unwrap().spans, 2);
    assert_eq!(builder.due(), None);
}

#[test]
fn only_open_items_are_taken_and_every_one_once() {
    let (mut builder, now) = (builder(3, 1_000), Instant::now());
    let head = head(100, &[1; 10]);
    builder.push(&Taken { head, open: vec![0..2, 5..6, 8..10] }, now);
    let batches = drain(&mut builder, now + Duration::from_secs(1));
    let positions: Vec<u64> = batches.iter().flat_map(|b| b.positions()).flatten().collect();
    assert_eq!(positions, [100, 101, 105, 108, 109]);
}

#[test]
fn no_more_is_taken_while_batches_wait() {
    let (mut builder, now) = (builder(2, 1_000), Instant::now());
    assert!(builder.has_room());
    builder.push(&whole(&head(0, &[1; 4])), now);
    assert!(!builder.has_room());
    builder.pop(now);
    assert!(builder.has_room());
}

#[test]
fn halves_hold_what_the_whole_held() {
    let (a, b) = (head(0, &[1, 2, 3]), head(3, &[4, 5, 6, 7]));
    let stretches = vec![Stretch { head: a, items: 1..3 }, Stretch { head: b, items: 0..4 }];
    let mut queue = vec![Batch { maybe_taken: true, ..Batch::of(stretches) }];
    let mut singles = Vec::new();
    while let Some(batch) = queue.pop() {
        match batch.halves() {
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

#[test]
fn a_stretch_finds_its_bytes_in_the_body() {
    let stretch = Stretch { head: head(7, &[2, 3, 4]), items: 1..3 };
    let body = Bytes::from_static(b"aabbbcccc");
    assert_eq!(stretch.slice(&body), "bbbcccc");
    assert_eq!((stretch.bytes(), stretch.positions()), (7, 8..10));
}

#[test]
fn a_load_names_each_gateway_once_and_at_most_eight() {
    let frames = (0..20u64).map(|n| from(n, &[1], &["same", &format!("g{n}")]));
    let batch = Batch::of(frames.map(|head| Stretch { head, items: 0..1 }).collect());
    let via = batch.load(Vec::new()).via;
    assert_eq!(via.len(), VIA_MAX);
    assert_eq!(via[..3], ["same", "g0", "g1"]);
}
