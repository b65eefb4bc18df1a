//! The floors below the handles, one by one: frames, drafts, cursors, segments' totals.

use std::sync::Arc;

use bytes::Bytes;

use super::cursor::{self, Cursor, RANGES_MAX, SLOT_BYTES, Slot};
use super::frame::{self, Built, Marks, TOTAL_MAX};
use super::segment::Point;
use super::*;

const SALT: u64 = 42;

fn draft(items: usize, len: u32, labels: &[&str]) -> Draft {
    let item = |n| Item { key: n as u64, len, label: (n % labels.len().max(1)) as u16, flags: 1 };
    Draft {
        kind: Kind::Spans,
        addressee: None,
        received_us: 5,
        origin: Arc::new(Origin(vec![("peer".into(), "10.0.0.1".into())])),
        labels: labels.iter().map(|l| (*l).to_owned()).collect(),
        items: (0..items).map(item).collect(),
        body: Bytes::from(vec![7; items * len as usize]),
    }
}

fn placed(draft: Draft) -> frame::Placed {
    Built::new(draft).place(0, 4096, Marks { first: 9, synced: 3, common: 8 }, SALT)
}

#[test]
fn a_frame_reads_back_as_it_was_built() {
    let frame = placed(draft(3, 10, &["a", "front"]));
    let fixed = frame::peek(&frame.raw).unwrap();
    assert_eq!((fixed.first, fixed.synced, fixed.common, fixed.head_len()), (9, 3, 8, frame.raw.len()));
    assert!(frame::verify(&frame.raw, SALT));
    let head = frame::parse(&frame.raw, &fixed, 0, 4096).unwrap();
    assert_eq!((head.at, &head.labels, &head.items), (frame.head.at, &frame.head.labels, &frame.head.items));
    assert_eq!((&head.origin, head.received_us), (&frame.head.origin, 5));
}

#[test]
fn no_flipped_bit_of_a_head_and_no_other_salt_passes() {
    let frame = placed(draft(2, 10, &["a"]));
    assert!(!frame::verify(&frame.raw, SALT + 1));
    for bit in 0..frame.raw.len() * 8 {
        let mut raw = frame.raw.clone();
        raw[bit / 8] ^= 1 << (bit % 8);
        let passes = frame::peek(&raw).is_some_and(|f| f.head_len() == raw.len()) && frame::verify(&raw, SALT);
        assert!(!passes, "bit {bit}");
    }
}

#[test]
fn a_cut_head_is_no_head() {
    let frame = placed(draft(2, 10, &["a"]));
    for len in 0..frame::FIXED {
        assert_eq!(frame::peek(&frame.raw[..len]), None, "{len} bytes");
    }
}

#[test]
fn a_long_draft_is_split_at_items_and_keeps_their_labels() {
    let parts = draft(5000, 300, &["a", "b", "c"]).split();
    assert!(parts.len() > 2);
    let mut n = 0;
    for part in parts {
        assert_eq!(part.body.len(), part.items.len() * 300);
        for item in &part.items {
            assert_eq!((item.key, &*part.labels[usize::from(item.label)]), (n, ["a", "b", "c"][n as usize % 3]));
            n += 1;
        }
        assert!(placed(part).len() <= FRAME_BYTES_MAX as u64);
    }
    assert_eq!(n, 5000);
}

#[test]
fn the_longest_item_stands_alone_and_fits_a_frame() {
    let parts = draft(2, ITEM_BYTES_MAX as u32, &["a"]).split();
    assert_eq!(parts.iter().map(|p| p.items.len()).collect::<Vec<_>>(), [1, 1]);
    for part in parts {
        let frame = placed(part);
        assert!(frame.len() <= TOTAL_MAX as u64);
        assert!(frame::peek(&frame.raw).is_some());
    }
}

#[test]
fn a_long_origin_is_cut_alike_in_memory_and_on_disk() {
    let mut long = draft(1, 1, &[]);
    long.origin = Arc::new(Origin((0..9).map(|n| (format!("k{n}"), "é".repeat(200))).collect()));
    let frame = placed(long);
    let fixed = frame::peek(&frame.raw).unwrap();
    let head = frame::parse(&frame.raw, &fixed, 0, 4096).unwrap();
    assert_eq!(head.origin, frame.head.origin);
    assert_eq!(head.origin.0.len(), 3);
}

fn common(position: u64) -> Point {
    Point { position, common: position, ..Point::default() }
}

fn saved(cursor: &Cursor, now: &Point) -> Cursor {
    match cursor::decode(&cursor.encode(&[1; 16], 5, now), &[1; 16]) {
        Slot::Live { cursor, .. } => *cursor,
        other => panic!("{other:?}"),
    }
}

#[test]
fn settling_merges_counts_once_and_moves_low() {
    let mut cursor = Cursor::begin("zipkin", Takes::Common, &common(10));
    assert_eq!(cursor.settle(12..14, Outcome::Delivered), 2);
    assert_eq!(cursor.settle(16..18, Outcome::Filtered), 2);
    assert_eq!(cursor.open(10..20), [10..12, 14..16, 18..20]);
    assert_eq!(cursor.settle(11..17, Outcome::Skipped), 3);
    assert_eq!(cursor.low, 10);
    assert_eq!(cursor.settle(0..11, Outcome::Delivered), 1);
    assert_eq!((cursor.low, cursor.waiting(&common(20))), (18, 2));
    assert_eq!(cursor.open(10..18), []);
    assert_eq!(cursor.settle(10..18, Outcome::Delivered), 0);
}

#[test]
fn any_order_of_settling_adds_up_before_and_after_a_restart() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut cursor, now) = (Cursor::begin("d", Takes::Common, &common(0)), common(1200));
        let mut settled = [false; 1200];
        for _ in 0..random.usize(1..900) {
            let first = random.usize(0..1199);
            let end = (first + random.usize(1..4)).min(1200);
            let outcome = if random.bool() { Outcome::Delivered } else { Outcome::SampledOut };
            cursor.settle(first as u64..end as u64, outcome);
            settled[first..end].fill(true);
            if random.u8(0..80) == 0 {
                // What a slot had no room for is open again, and not counted.
                cursor = saved(&cursor, &now);
                settled.fill(true);
                cursor.open(0..1200).into_iter().for_each(|r| settled[r.start as usize..r.end as usize].fill(false));
            }
        }
        let open = settled.iter().filter(|s| !**s).count() as u64;
        assert_eq!(cursor.waiting(&now), open, "seed {seed}");
        assert_eq!(cursor.open(0..1200).iter().map(|r| r.end - r.start).sum::<u64>(), open, "seed {seed}");
    }
}

#[test]
fn a_slot_with_too_many_ranges_forgets_the_highest_with_their_counts() {
    let mut cursor = Cursor::begin("d", Takes::Common, &common(0));
    for n in 0..RANGES_MAX as u64 + 10 {
        cursor.settle(n * 2 + 1..n * 2 + 2, Outcome::Delivered);
    }
    assert!(!cursor.has_window(600) && cursor.has_window(400));
    let now = common(1000);
    let again = saved(&cursor, &now);
    assert_eq!(cursor.waiting(&now) + 10, again.waiting(&now));
    cursor.scatter();
    assert!(cursor.has_window(600), "it may be given more");
}

#[test]
fn what_a_sieve_left_out_closes_no_window_and_takes_no_room_in_a_slot() {
    let mut cursor = Cursor::begin("d", Takes::Common, &common(0));
    for n in 0..5_000 {
        cursor.settle(n * 4 + 1..n * 4 + 2, Outcome::SampledOut);
        cursor.settle(n * 4 + 2..n * 4 + 3, Outcome::Filtered);
    }
    // Late, and next to what was left out: it takes its neighbours into the slot with it.
    cursor.settle(19_991..19_992, Outcome::Delivered);
    assert!(cursor.has_window(30_000));
    let (now, again) = (common(30_000), saved(&cursor, &common(30_000)));
    assert_eq!(cursor.waiting(&now), 30_000 - 10_001);
    assert_eq!(again.open(0..30_000), [0..19_989, 19_992..30_000]);
    assert_eq!(again.waiting(&now), 30_000 - 3);
    for n in 5_000..cursor::RANGES_ALL_MAX as u64 + 1 {
        cursor.settle(n * 4 + 1..n * 4 + 2, Outcome::SampledOut);
    }
    assert!(!cursor.has_window(1 << 20), "memory is bounded");
    cursor.settle(0..1 << 20, Outcome::Delivered);
    assert!(cursor.has_window(1 << 20));
}

#[test]
fn no_flipped_byte_of_a_slot_passes() {
    let mut cursor = Cursor::begin("d", Takes::Addressed, &common(3));
    cursor.note = Bytes::from_static(b"plan");
    let raw = cursor.encode(&[1; 16], 7, &common(9));
    assert_eq!(saved(&cursor, &common(9)).note, "plan");
    for at in 0..SLOT_BYTES {
        let mut raw = raw.clone();
        raw[at] ^= 0x10;
        assert!(matches!(cursor::decode(&raw, &[1; 16]), Slot::Invalid), "byte {at}");
    }
}

#[test]
fn a_slot_of_another_version_or_channel_is_told() {
    let cursor = Cursor::begin("d", Takes::Common, &common(3));
    let raw = cursor.encode(&[1; 16], 7, &common(9));
    assert!(matches!(cursor::decode(&raw, &[2; 16]), Slot::Foreign));
    let mut newer = raw;
    newer[12] = 9;
    frame::put32(&mut newer, 8, 0);
    let sum = frame::crc(&[&newer]);
    frame::put32(&mut newer, 8, sum);
    assert!(matches!(cursor::decode(&newer, &[1; 16]), Slot::Version { major: 9, minor: 0 }));
}

#[test]
fn withdrawn_messages_do_not_pile_up_while_the_owner_hangs() {
    let mut queue = state::Queue::default();
    let mut wanted = Vec::new();
    for n in 0..1000 {
        let (reply, answer) = oneshot::channel();
        assert!(queue.push(state::Message { frames: Vec::new(), bytes: 1 << 20, items: 1, reply }));
        if n % 100 == 0 {
            wanted.push(answer);
        }
    }
    assert!(queue.held_bytes() <= 32 << 20, "{} bytes held for {} messages", queue.held_bytes(), wanted.len());
    queue.purge();
    assert_eq!(queue.held_bytes(), 10 << 20);
    while queue.pop().is_some() {}
    assert_eq!(queue.held_bytes(), 0);
}

#[test]
fn what_the_slots_say_of_a_lost_stretch_is_charged_to_whom_they_name() {
    let floor = recovery::Floor { position: 9, common: 4, addressed: vec![(7, 3)] };
    let mut point = Point::default();
    floor.raise(&mut point);
    assert_eq!((point.position, point.common, point.addressed_to(7)), (9, 4, 5), "two that no slot told of");
}

#[test]
fn a_slot_whose_ranges_or_ledger_cannot_be_is_for_a_person_though_its_crc_fits() {
    let channel = [7; 16];
    let mut cursor = Cursor::begin("zipkin", Takes::Common, &Point::default());
    cursor.settle(10..20, Outcome::Delivered);
    cursor.settle(30..40, Outcome::Delivered);
    let slot = cursor.encode(&channel, 1, &Point::default());
    assert!(matches!(cursor::decode(&slot, &channel), Slot::Live { .. }));
    for (at, value) in [(200, 35_u64), (208, 5), (216, 15), (224, 30), (72, u64::MAX - 9), (80, u64::MAX)] {
        let mut slot = slot.clone();
        frame::put64(&mut slot, at, value);
        let slot = cursor::of_channel(&slot, &channel);
        assert!(matches!(cursor::decode(&slot, &channel), Slot::Invalid), "{value} at {at}");
    }
}
