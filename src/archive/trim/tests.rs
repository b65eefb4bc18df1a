use super::super::object::Object;
use super::super::object::tests::object;
use super::*;

const BLOCK: u64 = BLOCK_BYTES;

fn listed(channel: &str, first: u64, bytes: u64) -> Listed {
    let object = Object { channel: channel.into(), first, last: first, ..object() };
    let name = object.name("jsonl.gz");
    let parsed = crate::archive::object::ObjectName::parse(&name, "jsonl.gz").unwrap();
    Listed { name, parsed, bytes, written_us: None }
}

fn victims(keep_bytes: u64, listed: &[Listed]) -> Vec<(String, u64)> {
    victims_for(keep_bytes, 0, listed)
}

fn victims_for(keep_bytes: u64, wanted: u64, listed: &[Listed]) -> Vec<(String, u64)> {
    let mut listed = listed.to_vec();
    let keeper = Keeper::new(keep_bytes, &object().channel);
    let count = keeper.victims(&mut listed, wanted);
    listed[..count].iter().map(|l| (l.parsed.channel.clone(), l.parsed.first)).collect()
}

#[test]
fn the_oldest_by_position_go_first() {
    let ours = object().channel;
    let objects: Vec<_> = [30, 10, 20, 40].map(|first| listed(&ours, first, BLOCK)).into();
    assert_eq!(victims(4 * BLOCK, &objects), []);
    // One over the bound, and one more for the slack.
    assert_eq!(victims(3 * BLOCK, &objects), [(ours.clone(), 10), (ours.clone(), 20)]);
}

#[test]
fn objects_of_an_earlier_channel_are_older_than_ours() {
    let ours = object().channel;
    let before = "f".repeat(32);
    let objects = [listed(&ours, 1, BLOCK), listed(&before, 900, BLOCK), listed(&before, 5, BLOCK)];
    let all = victims(BLOCK, &objects);
    assert_eq!(all, [(before.clone(), 5), (before, 900)]);
}

#[test]
fn the_newest_object_stays_though_it_is_larger_than_the_bound() {
    let ours = object().channel;
    assert_eq!(victims(BLOCK, &[listed(&ours, 1, 50 * BLOCK)]), []);
    assert_eq!(victims(0, &[listed(&ours, 1, 1), listed(&ours, 2, 1)]), [(ours, 1)]);
}

#[test]
fn small_objects_are_counted_by_the_blocks_that_they_take() {
    let ours = object().channel;
    let objects: Vec<_> = (0..100).map(|first| listed(&ours, first, 1)).collect();
    let left = 100 - victims(50 * BLOCK, &objects).len() as u64;
    assert_eq!(left, 49, "50 blocks less the slack");
}

#[test]
fn more_objects_than_a_listing_should_hold_are_trimmed() {
    let ours = object().channel;
    let objects: Vec<_> = (0..=OBJECTS_MAX).map(|first| listed(&ours, first, 1)).collect();
    let left = OBJECTS_MAX + 1 - victims(u64::MAX, &objects).len() as u64;
    assert_eq!(left, OBJECTS_MAX - OBJECTS_MAX / SLACK);
}

#[test]
fn as_many_go_as_the_disk_wants_room_and_never_the_newest() {
    let ours = object().channel;
    let objects: Vec<_> = (0..4).map(|first| listed(&ours, first, BLOCK)).collect();
    let count = |wanted| victims_for(4 * BLOCK, wanted, &objects).len();
    assert_eq!([0, 1, BLOCK, BLOCK + 1, 3 * BLOCK, u64::MAX].map(count), [0, 1, 1, 2, 3, 3]);
}

#[test]
fn room_is_wanted_before_intake_stops_and_what_is_freed_late_is_waited_for() {
    let mut keeper = Keeper::new(0, &object().channel);
    let (floor, now) = (1 << 30, Instant::now());
    let wanted = |keeper: &Keeper, free, now| keeper.wanted(Room { free, floor }, now);
    assert_eq!(wanted(&keeper, floor + MARGIN_BYTES, now), 0);
    assert_eq!(wanted(&keeper, floor + MARGIN_BYTES - 1, now), MARGIN_BYTES + 1);
    assert_eq!(wanted(&keeper, 0, now), floor + 2 * MARGIN_BYTES);
    keeper.late = Some((2 * MARGIN_BYTES, now + FREED_LATE));
    assert_eq!(wanted(&keeper, floor, now), 0);
    assert_eq!(wanted(&keeper, floor, now + FREED_LATE), 2 * MARGIN_BYTES);
}
