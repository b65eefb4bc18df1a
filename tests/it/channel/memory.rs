//! The same log on the disk in memory: the same life, and a bound on what it holds.

use spangate::disk::MemoryDisk;

use super::*;

/// What a channel holds beside its capacity: the cursors, and the unused end of each segment's last chunk.
const BESIDE: u64 = (1 << 20) + 10 * 64 * 1024;

fn in_memory(settings: &Settings) -> (MemoryDisk, Channel, Tap) {
    let disk = MemoryDisk::new();
    let (channel, _) = open(settings, &(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap();
    let tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    (disk, channel, tap)
}

async fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_channel_is_the_same_in_memory() {
    for cache_bytes in [0, 64 * 1024] {
        let settings = Settings { cache_bytes, ..small() };
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let mut record = Record::default();
        workload(&settings, &disk, &mut record).await.expect("memory does not fail");
        check(&settings, &disk, &record, "in memory").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_channel_in_memory_holds_its_capacity_and_gives_all_back_when_it_is_drained() {
    let settings = Settings { capacity_bytes: 16 << 20, cache_bytes: 0, free_min_bytes: Some(0), ..small() };
    let (disk, channel, mut tap) = in_memory(&settings);
    let big = "x".repeat(300_000);
    // A reader stands in the first segment, and keeps it open, all the time.
    say(&channel, "first").await;
    let first = within(tap.next()).await.unwrap().unwrap();
    assert_eq!(tap.body(&first.head).await.unwrap(), "first");
    let held = fill(&channel, &big).await;
    let (bytes, memory) = (channel.snapshot().bytes, disk.held_bytes());
    assert!(held > 40 && bytes <= settings.capacity_bytes, "{held} messages, {bytes} bytes");
    assert!(memory >= bytes && memory <= settings.capacity_bytes + BESIDE, "{memory} bytes of memory for {bytes}");
    // As large as those before: something small may still fit.
    let [last, withdrawn] = ["last", "withdrawn"].map(|text| text.repeat(300_000 / text.len()));
    let waiting = channel.append(vec![draft(None, &[&last])]);
    drop(channel.append(vec![draft(None, &[&withdrawn])]));
    tap.ledger().settle(0..1, Outcome::Delivered);
    let mut all = drained(&channel, &mut tap).await;
    within(waiting.wait()).await.unwrap();
    all.extend(drained(&channel, &mut tap).await);
    assert!(all.len() == held + 1 && all.last() == Some(&last), "{} of {held} and one", all.len());
    assert_eq!(channel.snapshot().intake, Intake::Open);
    // Down to the segment that is written to.
    wait_until("the memory is given back", || disk.held_bytes() <= settings.capacity_bytes / 8 + BESIDE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_in_spans_holds_in_memory() {
    let settings = Settings { capacity_spans: Some(3), ..small() };
    let (_disk, channel, mut tap) = in_memory(&settings);
    for text in ["one", "two", "three"] {
        say(&channel, text).await;
    }
    let fourth = channel.append(vec![draft(None, &["four"])]);
    wait_until("it is full", || channel.snapshot().intake == Intake::Full).await;
    let first = within(tap.next()).await.unwrap().unwrap();
    assert_eq!(tap.body(&first.head).await.unwrap(), "one");
    tap.ledger().settle(0..1, Outcome::Delivered);
    assert_eq!(within(fourth.wait()).await, Ok(3..4));
    assert_eq!(drained(&channel, &mut tap).await, ["two", "three", "four"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_channels_in_memory_have_two_identities() {
    let (first, second) = (in_memory(&small()), in_memory(&small()));
    assert_ne!(first.1.id(), second.1.id());
}
