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

/// One that knows a single directory.
fn planner(rolls: Rolls) -> Planner {
    Planner::new(rolls, Template::default(), "c", RATIO)
}

/// Adds all that is open.
fn add(planner: &mut Planner, taken: &Taken, now: Instant) {
    assert_eq!(planner.add(taken, &taken.open, now), None);
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
    let (mut planner, start) = (planner(ROLLS), Instant::now());
    assert_eq!(planner.due(), None);
    add(&mut planner, &taken(10, &[100, 200]), start);
    assert_eq!(planner.due(), Some(start + ROLLS.idle));
    assert_eq!(planner.close(start + ROLLS.idle - Duration::from_nanos(1)), None);
    let stretch = planner.close(start + ROLLS.idle).unwrap();
    assert_eq!(stretch, Stretch { dir: String::new(), first: 10, last: 11, spans: 2, bytes: 300, oldest_us: 10 });
    assert_eq!((planner.due(), planner.take()), (None, None));
}

#[test]
fn a_trickle_is_closed_by_age() {
    let (mut planner, start) = (planner(ROLLS), Instant::now());
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
    let mut planner = planner(ROLLS);
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
    let mut planner = planner(ROLLS);
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
    let mut planner = planner(ROLLS);
    let mut frame = taken(100, &[1, 10, 100, 1000]);
    frame.open = vec![1..2, 3..4];
    add(&mut planner, &frame, Instant::now());
    add(&mut planner, &taken(200, &[7]), Instant::now());
    assert_eq!(planner.oldest_us(), Some(100));
    assert_eq!(
        planner.take(),
        Some(Stretch { dir: String::new(), first: 101, last: 200, spans: 3, bytes: 1017, oldest_us: 100 })
    );
}

#[test]
fn a_stretch_is_closed_before_its_gaps_fill_the_drains_window() {
    let (mut planner, now) = (planner(ROLLS), Instant::now());
    let frames = (0..).find(|n| {
        add(&mut planner, &taken(n * 2, &[10]), now);
        planner.close(now).is_some()
    });
    assert_eq!(frames, Some(u64::from(GAPS_MAX)), "a gap before each frame but the first");
}

#[test]
fn what_a_sieve_leaves_out_is_not_counted_makes_no_gap_and_begins_no_stretch() {
    let (mut planner, now) = (planner(ROLLS), Instant::now());
    assert_eq!(planner.add(&taken(0, &[1; 10]), &[], now), None);
    assert_eq!((planner.due(), planner.oldest_us()), (None, None));
    for n in 1..1000 {
        let ended = planner.add(&taken(n * 10, &[1, 10, 100, 1000, 1, 1, 1, 1, 1, 1]), &[2..3, 5..6], now);
        assert_eq!(ended, None);
        assert_eq!(planner.close(now), None, "after {n}");
    }
    assert_eq!(planner.add(&taken(10_000, &[1; 10]), &[], now + ROLLS.idle / 2), None);
    let stretch = planner.close(now + ROLLS.idle).expect("a frame of which nothing is kept does not end idle time");
    assert_eq!(
        stretch,
        Stretch { dir: String::new(), first: 12, last: 9_995, spans: 1998, bytes: 999 * 101, oldest_us: 10 }
    );
}

#[test]
fn a_stretch_is_closed_before_what_was_left_out_fills_the_drains_window() {
    let (mut planner, now) = (planner(ROLLS), Instant::now());
    let frames = (1..).find(|n| {
        assert_eq!(planner.add(&taken(n * 4, &[1; 4]), &[0..1, 2..3], now), None);
        planner.close(now).is_some()
    });
    assert_eq!(frames, Some(u64::from(RUNS_MAX) / 2));
}

#[test]
fn a_stretch_is_closed_before_it_fills_a_small_channel() {
    let (mut planner, now) = (planner(Rolls { pinned_bytes: 10_000, ..ROLLS }), Instant::now());
    add(&mut planner, &taken(0, &[4000]), now);
    add(&mut planner, &taken(1, &[4000]), now);
    assert_eq!(planner.close(now), None);
    add(&mut planner, &taken(2, &[2000]), now);
    assert_eq!(planner.close(now).map(|stretch| stretch.spans), Some(3));
}

/// Minutes make directories.
fn by_minute() -> Planner {
    Planner::new(ROLLS, Template::parse("{channel}/%H%M").unwrap(), "c", RATIO)
}

/// A frame of one span, which came in at so many seconds.
fn received(first: u64, seconds: u64) -> Taken {
    let mut frame = taken(first, &[10]);
    Arc::get_mut(&mut frame.head).unwrap().received_us = seconds * 1_000_000;
    frame
}

/// Adds frames that came in at these seconds; gives directory and positions of the stretches, with the last one.
fn stretches(planner: &mut Planner, seconds: &[u64]) -> Vec<(String, u64, u64)> {
    let mut found = Vec::new();
    for (position, &at) in seconds.iter().enumerate() {
        let frame = received(position as u64, at);
        found.extend(planner.add(&frame, &frame.open, Instant::now()));
    }
    found.extend(planner.take());
    found.into_iter().map(|stretch| (stretch.dir, stretch.first, stretch.last)).collect()
}

#[test]
fn a_stretch_ends_where_the_next_frame_belongs_to_another_directory() {
    let found = stretches(&mut by_minute(), &[59, 59, 60, 119, 120, 600]);
    let expected = [("c/0000/", 0, 1), ("c/0001/", 2, 3), ("c/0002/", 4, 4), ("c/0010/", 5, 5)];
    assert_eq!(found, expected.map(|(dir, first, last)| (dir.to_owned(), first, last)));
}

#[test]
fn a_frame_of_which_nothing_is_kept_ends_no_stretch() {
    let (mut planner, now) = (by_minute(), Instant::now());
    add(&mut planner, &received(0, 59), now);
    assert_eq!(planner.add(&received(1, 60), &[], now), None);
    add(&mut planner, &received(2, 59), now);
    let ended = planner.add(&received(3, 61), std::slice::from_ref(&(0..1)), now).expect("another minute");
    assert_eq!((ended.first, ended.last, ended.spans, planner.oldest_us()), (0, 2, 2, Some(61_000_000)));
}

#[test]
fn a_clock_that_was_set_back_is_followed_with_the_next_stretch() {
    let mut planner = by_minute();
    let first = stretches(&mut planner, &[3600, 60, 3601, 61]);
    assert_eq!(first, [("c/0100/".to_owned(), 0, 3)], "what seems to be earlier goes along");
    assert_eq!(stretches(&mut planner, &[62, 63]), [("c/0001/".to_owned(), 0, 1)]);
}

#[test]
fn a_clock_that_jumps_to_and_fro_makes_two_objects_and_not_one_a_frame() {
    let to_and_fro: Vec<u64> = (0..1000).map(|n| if n % 2 == 0 { 60 } else { 86_400 * 30 }).collect();
    let found = stretches(&mut by_minute(), &to_and_fro);
    assert_eq!(found, [("c/0001/".to_owned(), 0, 0), ("c/0000/".to_owned(), 1, 999)]);
}

#[test]
fn a_stretch_is_closed_before_it_fills_a_channel_of_few_spans() {
    let (mut planner, now) = (planner(Rolls { pinned_spans: 5, ..ROLLS }), Instant::now());
    add(&mut planner, &taken(0, &[10; 4]), now);
    assert_eq!(planner.close(now), None);
    add(&mut planner, &taken(4, &[10; 3]), now);
    assert_eq!(planner.close(now).map(|stretch| stretch.spans), Some(7));
}
