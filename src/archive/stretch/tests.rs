use std::sync::Arc;

use super::*;
use crate::channel::{FrameAt, Head, Item, Kind, Origin};

const RATIO: f64 = 0.35;
const ROLLS: Rolls = Rolls {
    bytes: 1_000_000,
    pinned_bytes: 1 << 30,
    pinned_spans: u64::MAX,
    age: Duration::from_secs(60),
    idle: Duration::from_secs(5),
};

/// Adds all that is open.
fn add(planner: &mut Planner, taken: &Taken, now: Instant) {
    planner.add(taken, &taken.open, now);
}

fn taken(first: u64, lens: &[u32]) -> Taken {
    let items: Vec<Item> = lens.iter().map(|&len| Item { key: 1, len, label: u16::MAX, flags: 0 }).collect();
    let count = items.len() as u32;
    let head = Head {
        at: FrameAt { segment: 0, offset: 4096, first, items: count },
        kind: Kind::Spans,
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
    add(&mut planner, &taken(10, &[100, 200]), start);
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
        add(&mut planner, &taken(position, &[100]), now);
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
        add(&mut planner, &taken(*n, &[frame]), Instant::now());
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
fn only_open_items_are_counted() {
    let mut planner = Planner::new(ROLLS, RATIO);
    let mut frame = taken(100, &[1, 10, 100, 1000]);
    frame.open = vec![1..2, 3..4];
    add(&mut planner, &frame, Instant::now());
    add(&mut planner, &taken(200, &[7]), Instant::now());
    assert_eq!(planner.oldest_us(), Some(100));
    assert_eq!(planner.take(), Some(Stretch { first: 101, last: 200, spans: 3, bytes: 1017, oldest_us: 100 }));
}

#[test]
fn a_stretch_is_closed_before_its_gaps_fill_the_drains_window() {
    let (mut planner, now) = (Planner::new(ROLLS, RATIO), Instant::now());
    let frames = (0..).find(|n| {
        add(&mut planner, &taken(n * 2, &[10]), now);
        planner.close(now).is_some()
    });
    assert_eq!(frames, Some(u64::from(GAPS_MAX)), "a gap before each frame but the first");
}

#[test]
fn what_a_sieve_leaves_out_is_not_counted_makes_no_gap_and_begins_no_stretch() {
    let (mut planner, now) = (Planner::new(ROLLS, RATIO), Instant::now());
    planner.add(&taken(0, &[1; 10]), &[], now);
    assert_eq!((planner.due(), planner.oldest_us()), (None, None));
    for n in 1..1000 {
        planner.add(&taken(n * 10, &[1, 10, 100, 1000, 1, 1, 1, 1, 1, 1]), &[2..3, 5..6], now);
        assert_eq!(planner.close(now), None, "after {n}");
    }
    planner.add(&taken(10_000, &[1; 10]), &[], now + ROLLS.idle / 2);
    let stretch = planner.close(now + ROLLS.idle).expect("a frame of which nothing is kept does not end idle time");
    assert_eq!(stretch, Stretch { first: 12, last: 9_995, spans: 1998, bytes: 999 * 101, oldest_us: 10 });
}

#[test]
fn a_stretch_is_closed_before_what_was_left_out_fills_the_drains_window() {
    let (mut planner, now) = (Planner::new(ROLLS, RATIO), Instant::now());
    let frames = (1..).find(|n| {
        planner.add(&taken(n * 4, &[1; 4]), &[0..1, 2..3], now);
        planner.close(now).is_some()
    });
    assert_eq!(frames, Some(u64::from(RUNS_MAX) / 2));
}

#[test]
fn a_stretch_is_closed_before_it_fills_a_small_channel() {
    let (mut planner, now) = (Planner::new(Rolls { pinned_bytes: 10_000, ..ROLLS }, RATIO), Instant::now());
    add(&mut planner, &taken(0, &[4000]), now);
    add(&mut planner, &taken(1, &[4000]), now);
    assert_eq!(planner.close(now), None);
    add(&mut planner, &taken(2, &[2000]), now);
    assert_eq!(planner.close(now).map(|stretch| stretch.spans), Some(3));
}

#[test]
fn a_stretch_is_closed_before_it_fills_a_channel_of_few_spans() {
    let (mut planner, now) = (Planner::new(Rolls { pinned_spans: 5, ..ROLLS }, RATIO), Instant::now());
    add(&mut planner, &taken(0, &[10; 4]), now);
    assert_eq!(planner.close(now), None);
    add(&mut planner, &taken(4, &[10; 3]), now);
    assert_eq!(planner.close(now).map(|stretch| stretch.spans), Some(7));
}
