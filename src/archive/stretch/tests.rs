use std::sync::Arc;

use super::*;
use crate::archive::format::Format;
use crate::archive::lane::LANES_MAX;
use crate::archive::object::Object;
use crate::archive::path::Template;
use crate::archive::plan::{Place, Recipe};
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
    Planner::new(rolls, Rule::default(), "c", RATIO)
}

/// One whose directories are these.
fn in_lanes(rolls: Rolls, path: &str) -> Planner {
    Planner::new(rolls, Rule { path: Template::parse(path).unwrap(), ..Rule::default() }, "c", RATIO)
}

/// Adds all that is open, which nothing is in the way of.
fn add(planner: &mut Planner, taken: &Taken, now: Instant) {
    planner.add(taken.clone(), &taken.open, None, now);
    assert!(planner.frame.is_none());
}

/// A stretch of the one directory that there is.
fn flat(first: u64, last: u64, spans: u64, bytes: u64, oldest_us: u64) -> Stretch {
    Stretch { lane: Lane::new(""), first, last, spans, bytes, oldest_us }
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
    assert_eq!(planner.next(start + ROLLS.idle - Duration::from_nanos(1)), None);
    let stretch = planner.next(start + ROLLS.idle).unwrap();
    assert_eq!(stretch, flat(10, 11, 2, 300, 10));
    assert_eq!((planner.due(), planner.take_oldest()), (None, None));
}

#[test]
fn a_trickle_is_closed_by_age() {
    let (mut planner, start) = (planner(ROLLS), Instant::now());
    let (mut position, mut now) = (0, start);
    let stretch = loop {
        add(&mut planner, &taken(position, &[100]), now);
        position += 1;
        now += Duration::from_secs(3);
        if let Some(stretch) = planner.next(now) {
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
        planner.next(Instant::now()).is_some()
    });
    let expected = (ROLLS.bytes as f64 / RATIO / f64::from(frame)).ceil() as u64;
    assert_eq!(frames, Some(expected));
}

#[test]
fn the_first_measurement_replaces_the_guess_and_later_ones_move_it_by_a_quarter() {
    let mut planner = planner(ROLLS);
    planner.learn(RATIO_SAMPLE_BYTES_MIN - 1, RATIO_SAMPLE_BYTES_MIN);
    assert_eq!(planner.ratio.value(), RATIO, "what is too small to teach leaves the guess as it is");
    planner.learn(1 << 20, 1 << 17);
    assert_eq!(planner.ratio.value(), 0.125);
    planner.follow(Rule::default(), Marks::default());
    planner.learn(1 << 20, 1 << 20);
    assert_eq!(planner.ratio.value(), 0.125 * 0.75 + 0.25, "another rule is no reason to forget");
}

#[test]
fn the_second_object_is_as_large_as_was_asked_for() {
    const MEASURED: f64 = 0.08;
    let mut planner = planner(ROLLS);
    let sizes: Vec<f64> = (0..)
        .filter_map(|n| {
            add(&mut planner, &taken(n, &[10_000]), Instant::now());
            let closed = planner.next(Instant::now())?;
            let bytes = closed.bytes as f64 * MEASURED;
            planner.learn(closed.bytes, bytes as u64);
            planner.given_up();
            Some(bytes / ROLLS.bytes as f64)
        })
        .take(3)
        .collect();
    assert!(sizes[0] < 0.3 && (0.99..1.01).contains(&sizes[1]) && (0.99..1.01).contains(&sizes[2]), "{sizes:?}");
}

#[test]
fn the_ratio_follows_what_was_measured_within_bounds() {
    let mut planner = planner(ROLLS);
    for _ in 0..50 {
        planner.learn(1 << 20, 1 << 20);
    }
    assert!((planner.ratio.value() - 1.0).abs() < 0.01, "{:?}", planner.ratio);
    planner.learn(RATIO_SAMPLE_BYTES_MIN - 1, 0);
    assert!((planner.ratio.value() - 1.0).abs() < 0.01, "a small object teaches nothing");
    for _ in 0..100 {
        planner.learn(1 << 30, 0);
    }
    assert_eq!(planner.ratio.value(), *RATIO_RANGE.start());
    for _ in 0..100 {
        planner.learn(1 << 20, 1 << 40);
    }
    assert_eq!(planner.ratio.value(), *RATIO_RANGE.end());
}

#[test]
fn only_open_items_are_counted() {
    let mut planner = planner(ROLLS);
    let mut frame = taken(100, &[1, 10, 100, 1000]);
    frame.open = vec![1..2, 3..4];
    add(&mut planner, &frame, Instant::now());
    add(&mut planner, &taken(200, &[7]), Instant::now());
    assert_eq!(planner.oldest_us(), Some(100));
    assert_eq!(planner.take_oldest(), Some(flat(101, 200, 3, 1017, 100)));
}

#[test]
fn a_stretch_is_closed_before_its_gaps_fill_the_drains_window() {
    let (mut planner, now) = (planner(ROLLS), Instant::now());
    let frames = (0..).find(|n| {
        add(&mut planner, &taken(n * 2, &[10]), now);
        planner.next(now).is_some()
    });
    assert_eq!(frames, Some(GAPS_MAX), "a gap before each frame but the first");
}

#[test]
fn what_a_sieve_leaves_out_is_not_counted_makes_no_gap_and_begins_no_stretch() {
    let (mut planner, now) = (planner(ROLLS), Instant::now());
    planner.add(taken(0, &[1; 10]), &[], None, now);
    assert_eq!((planner.due(), planner.oldest_us()), (None, None));
    for n in 1..1000 {
        planner.add(taken(n * 10, &[1, 10, 100, 1000, 1, 1, 1, 1, 1, 1]), &[2..3, 5..6], None, now);
        assert_eq!(planner.next(now), None, "after {n}");
    }
    planner.add(taken(10_000, &[1; 10]), &[], None, now + ROLLS.idle / 2);
    let stretch = planner.next(now + ROLLS.idle).expect("a frame of which nothing is kept does not end idle time");
    assert_eq!(stretch, flat(12, 9_995, 1998, 999 * 101, 10));
}

#[test]
fn a_stretch_is_closed_before_what_was_left_out_fills_the_drains_window() {
    let (mut planner, now) = (planner(ROLLS), Instant::now());
    let frames = (1..).find(|n| {
        planner.add(taken(n * 4, &[1; 4]), &[0..1, 2..3], None, now);
        planner.next(now).is_some()
    });
    assert_eq!(frames, Some(RUNS_MAX / 2));
}

#[test]
fn small_messages_of_which_all_is_kept_close_no_stretch_by_their_number() {
    let (mut planner, now) = (planner(ROLLS), Instant::now());
    for first in 0..RUNS_MAX + 10 {
        add(&mut planner, &taken(first, &[0]), now);
        assert_eq!(planner.next(now), None);
    }
}

#[test]
fn a_stretch_is_closed_before_it_fills_a_small_channel() {
    let (mut planner, now) = (planner(Rolls { pinned_bytes: 10_000, ..ROLLS }), Instant::now());
    add(&mut planner, &taken(0, &[4000]), now);
    add(&mut planner, &taken(1, &[4000]), now);
    assert_eq!(planner.next(now), None);
    add(&mut planner, &taken(2, &[2000]), now);
    assert_eq!(planner.next(now).map(|stretch| stretch.spans), Some(3));
}

/// Minutes make directories.
fn by_minute() -> Planner {
    in_lanes(ROLLS, "{channel}/%H%M")
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
    for (position, &at) in (planner.end..).zip(seconds) {
        let frame = received(position, at);
        let now = Instant::now();
        planner.add(frame.clone(), &frame.open, None, now);
        while let Some(stretch) = planner.next(now) {
            found.push(stretch);
        }
    }
    found.extend(planner.take_oldest());
    found.into_iter().map(|stretch| (stretch.lane.dir.to_string(), stretch.first, stretch.last)).collect()
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
    planner.add(received(1, 60), &[], None, now);
    assert_eq!(planner.next(now), None);
    add(&mut planner, &received(2, 59), now);
    planner.add(received(3, 61), std::slice::from_ref(&(0..1)), None, now);
    let ended = planner.next(now).expect("another minute");
    assert_eq!(planner.next(now), None);
    assert_eq!((ended.first, ended.last, ended.spans, planner.oldest_us()), (0, 2, 2, Some(61_000_000)));
}

#[test]
fn a_clock_that_was_set_back_is_followed_with_the_next_stretch() {
    let mut planner = by_minute();
    let first = stretches(&mut planner, &[3600, 60, 3601, 61]);
    assert_eq!(first, [("c/0100/".to_owned(), 0, 3)], "what seems to be earlier goes along");
    assert_eq!(stretches(&mut planner, &[62, 63]), [("c/0001/".to_owned(), 4, 5)]);
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
    assert_eq!(planner.next(now), None);
    add(&mut planner, &taken(4, &[10; 3]), now);
    assert_eq!(planner.next(now).map(|stretch| stretch.spans), Some(7));
}

/// A frame with a span of each of these services, received at the epoch.
fn of(first: u64, services: &[&str]) -> Taken {
    let mut frame = taken(first, &vec![10; services.len()]);
    let head = Arc::get_mut(&mut frame.head).unwrap();
    head.received_us = 0;
    for (item, service) in services.iter().enumerate() {
        let known = head.labels.iter().position(|label| label == service);
        let at = known.unwrap_or_else(|| {
            head.labels.push((*service).to_owned());
            head.labels.len() - 1
        });
        head.items[item].label = at as u16;
    }
    frame
}

/// Directory, first and last position.
fn brief(stretch: &Stretch) -> (&str, u64, u64) {
    (&*stretch.lane.dir, stretch.first, stretch.last)
}

/// As if the stretch's object stood: gives what may be settled.
fn publish(planner: &mut Planner, stretch: &Stretch) -> u64 {
    let Stretch { lane, first, last, spans, bytes, .. } = stretch.clone();
    let recipe = Recipe { format: Format::Parquet1, rule: planner.rule().clone(), lane: Some(lane.clone()) };
    let object = Object { channel: "0".repeat(32), partition: 0, first, last, spans, bytes };
    planner.published(&Plan::new(recipe, Place::BuiltIn, &lane.dir, object)).end
}

/// Closes and publishes all that is to be closed by now; gives the stretches.
fn all_of(planner: &mut Planner, now: Instant) -> Vec<Stretch> {
    let mut found = Vec::new();
    while let Some(stretch) = planner.next(now) {
        publish(planner, &stretch);
        found.push(stretch);
    }
    found
}

#[test]
fn lanes_interleave_and_each_is_a_stretch_of_its_own_spans() {
    let (mut planner, now) = (in_lanes(ROLLS, "{service}"), Instant::now());
    add(&mut planner, &of(0, &["a", "b", "b", "a"]), now);
    add(&mut planner, &of(4, &["c", "a"]), now);
    assert_eq!((planner.spans(), planner.low()), (6, 0));
    let found = all_of(&mut planner, now + ROLLS.idle);
    let brief: Vec<_> = found.iter().map(|stretch| (brief(stretch), stretch.spans, stretch.bytes)).collect();
    assert_eq!(brief, [(("a/", 0, 5), 3, 30), (("b/", 1, 2), 2, 20), (("c/", 4, 4), 1, 10)]);
    assert_eq!((planner.low(), planner.marks().is_empty()), (6, true));
}

#[test]
fn positions_are_settled_up_to_the_first_open_lane_and_marked_above_it() {
    let (mut planner, start) = (in_lanes(ROLLS, "{service}"), Instant::now());
    add(&mut planner, &of(0, &["a"]), start);
    add(&mut planner, &of(1, &["b"]), start);
    add(&mut planner, &of(2, &["a"]), start + ROLLS.idle / 2);
    let b = planner.next(start + ROLLS.idle).expect("it is idle");
    assert_eq!((brief(&b), planner.low()), (("b/", 1, 1), 0));
    assert_eq!(publish(&mut planner, &b), 0, "a is open from there on");
    assert_eq!(planner.marks().of(b.lane.fingerprint), Some(1));
    let a = planner.take_oldest().unwrap();
    assert_eq!(planner.low(), 0, "it is not published yet");
    assert_eq!(planner.marks().of(b.lane.fingerprint), Some(1), "nor is the mark of what lies above it dropped");
    assert_eq!(publish(&mut planner, &a), 3);
    assert!(planner.marks().is_empty());
}

#[test]
fn what_is_marked_is_not_planned_again() {
    let mut planner = in_lanes(ROLLS, "{service}");
    let (rule, mut marks) = (planner.rule().clone(), Marks::default());
    marks.set(Lane::new("a/").fingerprint, 4);
    marks.set(Lane::new("b/").fingerprint, 1);
    planner.follow(rule, marks);
    let now = Instant::now();
    add(&mut planner, &of(0, &["a", "b"]), now);
    assert_eq!((planner.low(), planner.due()), (2, None), "all that was read is published");
    add(&mut planner, &of(2, &["b", "a", "a", "a", "a"]), now);
    let found = all_of(&mut planner, now + ROLLS.idle);
    assert_eq!(found.iter().map(brief).collect::<Vec<_>>(), [("b/", 2, 2), ("a/", 5, 6)]);
}

#[test]
fn a_lane_too_many_closes_the_oldest_and_loses_no_span() {
    let (mut planner, now) = (in_lanes(ROLLS, "{service}"), Instant::now());
    let services: Vec<String> = (0..LANES_MAX + 3).map(|n| format!("s{n}")).collect();
    let services: Vec<&str> = services.iter().map(String::as_str).collect();
    let frame = of(0, &services);
    planner.add(frame.clone(), &frame.open, None, now);
    let mut found = all_of(&mut planner, now);
    let expected: Vec<_> = (0..3).map(|n| (format!("s{n}/"), n, n)).collect();
    assert_eq!(found.iter().map(|s| (s.lane.dir.to_string(), s.first, s.last)).collect::<Vec<_>>(), expected);
    assert_eq!((planner.open.len(), planner.low()), (LANES_MAX, 3));
    found.extend(all_of(&mut planner, now + ROLLS.idle));
    assert_eq!(found.iter().map(|stretch| stretch.spans).sum::<u64>(), services.len() as u64);
}

#[test]
fn open_and_marked_lanes_together_are_no_more_than_a_note_holds() {
    let (mut planner, now) = (in_lanes(ROLLS, "{service}"), Instant::now());
    let mut rng = fastrand::Rng::with_seed(7);
    for frame in 0..400 {
        let services: Vec<String> = (0..5).map(|_| format!("s{}", rng.u32(..100))).collect();
        let services: Vec<&str> = services.iter().map(String::as_str).collect();
        let frame = of(frame * 5, &services);
        planner.add(frame.clone(), &frame.open, None, now);
        while let Some(stretch) = planner.next(now) {
            let known = planner.open.len() + planner.marks().lanes().count();
            assert!(known < 2 * LANES_MAX && planner.marks().lanes().count() < LANES_MAX, "{known}");
            publish(&mut planner, &stretch);
        }
        if rng.u8(..4) == 0
            && let Some(stretch) = planner.take_oldest()
        {
            publish(&mut planner, &stretch);
        }
    }
}

/// Two directories of one fingerprint.
fn alike() -> (String, String) {
    let mut seen = std::collections::HashMap::new();
    let found = (0u64..).find_map(|n| {
        let name = format!("{n:x}");
        let before = seen.insert(Lane::new(&format!("{name}/")).fingerprint, name.clone());
        before.map(|before| (before, name))
    });
    found.expect("32 bits are few")
}

#[test]
fn lanes_of_one_fingerprint_are_never_open_together() {
    let (a, b) = alike();
    let (mut planner, now) = (in_lanes(ROLLS, "{service}"), Instant::now());
    let frame = of(0, &[&a, &a, &b, &a]);
    planner.add(frame.clone(), &frame.open, None, now);
    let mut found = all_of(&mut planner, now);
    found.extend(all_of(&mut planner, now + ROLLS.idle));
    let expected = [(format!("{a}/"), 0, 1), (format!("{b}/"), 2, 2), (format!("{a}/"), 3, 3)];
    assert_eq!(found.iter().map(|s| (s.lane.dir.to_string(), s.first, s.last)).collect::<Vec<_>>(), expected);
}

#[test]
fn under_pressure_the_lane_that_began_first_is_closed() {
    let (mut planner, now) = (in_lanes(Rolls { pinned_bytes: 1000, ..ROLLS }, "{service}"), Instant::now());
    add(&mut planner, &of(0, &["a"]), now);
    let mut closed = None;
    for at in 1..100 {
        add(&mut planner, &of(at, &["b"]), now);
        closed = planner.next(now);
        if closed.is_some() {
            break;
        }
    }
    let a = closed.expect("what lies behind it is too much");
    assert_eq!(brief(&a), ("a/", 0, 0));
    assert_eq!(publish(&mut planner, &a), 1);
    assert_eq!(planner.next(now), None, "b is younger by a frame");
}

#[test]
fn a_lane_ends_with_the_rule_that_made_it() {
    let (mut planner, now) = (in_lanes(ROLLS, "{service}"), Instant::now());
    add(&mut planner, &of(0, &["a", "b"]), now);
    planner.end();
    assert_eq!(all_of(&mut planner, now).len(), 2);
    assert!(planner.is_ended());
    planner.follow(Rule::default(), Marks::default());
    add(&mut planner, &of(2, &["a", "b"]), now);
    assert_eq!(planner.take_oldest().map(|stretch| stretch.spans), Some(2));
}
