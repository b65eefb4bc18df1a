use std::sync::Arc;

use super::*;
use crate::channel::{FrameAt, Head, Item, Origin};

const RATIO: f64 = 0.35;
const ROLLS: Rolls =
    Rolls { bytes: 1_000_000, pinned_bytes: 1 << 30, age: Duration::from_secs(60), idle: Duration::from_secs(5) };

fn taken(first: u64, lens: &[u32]) -> Taken {
    taken_as(Kind::Spans, first, lens)
}

fn taken_as(kind: Kind, first: u64, lens: &[u32]) -> Taken {
    let items: Vec<Item> = lens.iter().map(|&len| Item { key: 1, len, label: u16::MAX, flags: 0 }).collect();
    let count = items.len() as u32;
    let head = Head {
        at: FrameAt { segment: 0, offset: 4096, first, items: count },
        kind,
        received_us: first,
        origin: Arc::new(Origin::default()),
        labels: vec![],
        items,
        body_len: lens.iter().sum(),
    };
    Taken { head: Arc::new(head), open: std::iter::once(0..count).collect() }
}

#[test]
fn a_stretch_is_closed_after_idle_time_and_not_before() {
    let (mut planner, start) = (Planner::new(ROLLS, RATIO), Instant::now());
    assert_eq!(planner.due(), None);
    planner.add(&taken(10, &[100, 200]), start);
    assert_eq!(planner.due(), Some(start + ROLLS.idle));
    assert_eq!(planner.close(start + ROLLS.idle - Duration::from_nanos(1)), None);
    let stretch = planner.close(start + ROLLS.idle).unwrap();
    assert_eq!(stretch, Stretch { first: 10, last: 11, spans: 2, bytes: 300, oldest_us: 10 });
    assert_eq!((planner.due(), planner.take()), (None, None));
}

#[test]
fn a_trickle_is_closed_by_age() {
    let (mut planner, start) = (Planner::new(ROLLS, RATIO), Instant::now());
    let (mut position, mut now) = (0, start);
    let stretch = loop {
        planner.add(&taken(position, &[100]), now);
        position += 1;
        now += Duration::from_secs(3);
        if let Some(stretch) = planner.close(now) {
            break stretch;
        }
    };
    assert_eq!(now - start, ROLLS.age);
    assert_eq!((stretch.spans, stretch.last), (20, 19));
}

#[test]
fn a_stretch_is_closed_by_the_estimated_size_of_its_object() {
    let mut planner = Planner::new(ROLLS, RATIO);
    let frame = 100_000;
    let frames = (1..).find(|n| {
        planner.add(&taken(*n, &[frame]), Instant::now());
        planner.close(Instant::now()).is_some()
    });
    let expected = (ROLLS.bytes as f64 / RATIO / f64::from(frame)).ceil() as u64;
    assert_eq!(frames, Some(expected));
}

#[test]
fn the_ratio_follows_what_was_measured_within_bounds() {
    let mut planner = Planner::new(ROLLS, RATIO);
    for _ in 0..50 {
        planner.learn(1 << 20, 1 << 20);
    }
    assert!((planner.ratio - 1.0).abs() < 0.01, "{}", planner.ratio);
    planner.learn(RATIO_SAMPLE_BYTES_MIN - 1, 0);
    assert!((planner.ratio - 1.0).abs() < 0.01, "a small object teaches nothing");
    for _ in 0..100 {
        planner.learn(1 << 30, 0);
    }
    assert_eq!(planner.ratio, *RATIO_RANGE.start());
    for _ in 0..100 {
        planner.learn(1 << 20, 1 << 40);
    }
    assert_eq!(planner.ratio, *RATIO_RANGE.end());
}

#[test]
fn only_open_items_of_spans_are_counted() {
    let mut planner = Planner::new(ROLLS, RATIO);
    planner.add(&taken_as(Kind::Entries, 0, &[5000]), Instant::now());
    assert_eq!(planner.due(), None, "a frame of entries opens no stretch");
    let mut frame = taken(100, &[1, 10, 100, 1000]);
    frame.open = vec![1..2, 3..4];
    planner.add(&frame, Instant::now());
    planner.add(&taken(200, &[7]), Instant::now());
    assert_eq!(planner.oldest_us(), Some(100));
    assert_eq!(planner.take(), Some(Stretch { first: 101, last: 200, spans: 3, bytes: 1017, oldest_us: 100 }));
}

#[test]
fn a_stretch_is_closed_before_its_gaps_fill_the_drains_window() {
    let (mut planner, now) = (Planner::new(ROLLS, RATIO), Instant::now());
    let frames = (0..).find(|n| {
        planner.add(&taken(n * 2, &[10]), now);
        planner.close(now).is_some()
    });
    assert_eq!(frames, Some(u64::from(GAPS_MAX)), "a gap before each frame but the first");
}

#[test]
fn a_stretch_is_closed_before_it_fills_a_small_channel() {
    let (mut planner, now) = (Planner::new(Rolls { pinned_bytes: 10_000, ..ROLLS }, RATIO), Instant::now());
    planner.add(&taken(0, &[4000]), now);
    planner.add(&taken(1, &[4000]), now);
    assert_eq!(planner.close(now), None);
    planner.add(&taken(2, &[2000]), now);
    assert_eq!(planner.close(now).map(|stretch| stretch.spans), Some(3));
}
