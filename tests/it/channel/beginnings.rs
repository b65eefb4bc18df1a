//! Drains that come and go, and segments, on a disk that fails: what was refused must not be found by the next process,
//! what was answered must.

use std::sync::atomic::{AtomicU64, Ordering};

use super::limits::until;
use super::*;

/// The drains that a process finds that starts now.
fn found(settings: &Settings, disk: &SimDisk) -> Vec<String> {
    let (channel, found) = open(settings, &disk.killed().disk()).unwrap();
    assert_eq!(found.damaged_items, 0);
    channel.snapshot().accounts.into_iter().map(|account| account.drain).collect()
}

/// Two slots, each written and synced.
const CALLS: u64 = 4;

/// All calls fail from this one on, until the work is done.
fn failing<T>(disk: &SimDisk, call: u64, work: impl FnOnce() -> T) -> T {
    disk.fault_in(disk.calls() + call..u64::MAX, Fault::Fail);
    let done = work();
    disk.mend();
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_whose_beginning_failed_is_not_there_after_a_restart() {
    let settings = small();
    for call in 1..=CALLS {
        let (disk, channel, mut tap) = begun(&settings);
        let second = failing(&disk, call, || channel.tap("second", Start::End, Takes::Common));
        assert!(second.is_err(), "call {call}");
        until("it is not written over", || found(&settings, &disk) == ["zipkin"]).await;
        for _ in 0..4 {
            say(&channel, &"x".repeat(30_000)).await;
            drained(&channel, &mut tap).await;
        }
        until("it holds the log", || segments(&disk).len() == 1).await;
        // The row is as good as any other.
        drop(channel.tap("third", Start::End, Takes::Common).unwrap());
        assert_eq!(found(&settings, &disk), ["zipkin", "third"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_whose_forgetting_failed_is_there_after_a_restart() {
    let settings = small();
    for call in 1..=CALLS {
        let (disk, channel, tap) = begun(&settings);
        drop(tap);
        assert!(failing(&disk, call, || channel.forget("zipkin")).is_err(), "call {call}");
        let _tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
        until("it is not saved again", || found(&settings, &disk) == ["zipkin"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_that_failed_takes_nothing_from_the_first_drain_that_there_is() {
    let (settings, disk) = (small(), SimDisk::new());
    let (channel, _) = open(&settings, &disk.disk()).unwrap();
    for _ in 0..4 {
        say(&channel, &"x".repeat(30_000)).await;
    }
    assert!(failing(&disk, 2, || channel.tap("zipkin", Start::End, Takes::Common)).is_err());
    say(&channel, "last").await;
    until("it is not written over", || found(&settings, &disk).is_empty()).await;
    let mut tap = channel.tap("zipkin", Start::Oldest, Takes::Common).unwrap();
    assert_eq!(drained(&channel, &mut tap).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_is_known_is_attached_while_the_disk_cannot_be_read() {
    let settings = small();
    let (disk, channel, tap) = begun(&settings);
    for _ in 0..4 {
        say(&channel, &"x".repeat(30_000)).await;
    }
    channel.stop();
    drop((tap, channel));
    let (channel, _) = open(&settings, &disk.disk()).unwrap();
    disk.fail_reads(true);
    let tap = channel.tap("zipkin", Start::Oldest, Takes::Common);
    disk.mend();
    assert_eq!(drained(&channel, &mut tap.unwrap()).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_fresh_segment_is_begun_loses_nothing_that_was_answered_before_its_sync() {
    let settings = Settings { sync: Sync::Every(Duration::from_millis(20)), ..small() };
    let (disk, channel, tap) = begun(&settings);
    let answered = Arc::new(AtomicU64::new(0));
    disk.film(answered.clone());
    // The write is answered, and its sync fails.
    disk.fault_at(disk.calls() + 2, Fault::Fail);
    say(&channel, "alpha").await;
    answered.store(1, Ordering::Relaxed);
    until("the log does not go on", || channel.snapshot().tail == 1).await;
    drop((tap, channel));
    for shot in disk.cut().into_iter().filter(|shot| shot.mark == 1) {
        let (channel, _) = open(&settings, &shot.disk.disk()).unwrap();
        let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
        assert_eq!(drained(&channel, &mut tap).await, ["alpha"], "killed before call {}", shot.call);
    }
}
