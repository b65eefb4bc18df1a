//! Drains that go while the log is written.

use std::time::{Duration, Instant};

use spangate::channel::{Settings, Start, Sync, Takes};
use spangate::disk;

use super::{account, begun, drained, open, say, settings, small};

#[tokio::test(flavor = "multi_thread")]
async fn drains_are_released_all_or_none_and_have_no_share_in_what_comes_after() {
    let dir = tempfile::tempdir().unwrap();
    let channel = open(&settings(dir.path()), &disk::real()).unwrap().0;
    let mut going = channel.tap("going", Start::End, Takes::Common).unwrap();
    let _stays = channel.tap("stays", Start::End, Takes::Common).unwrap();
    let release =
        |drains: &[&str]| channel.release(&drains.iter().map(|drain| (*drain).to_owned()).collect::<Vec<_>>());
    say(&channel, "one").await;
    assert_eq!(release(&["going"]), Err(("going".to_owned(), 1)));
    assert_eq!(drained(&channel, &mut going).await, ["one"]);
    assert_eq!(release(&["going", "stays"]), Err(("stays".to_owned(), 1)));
    say(&channel, "two").await;
    assert_eq!(account(&channel, "going").waiting, 1, "it was not released alone");
    assert_eq!(drained(&channel, &mut going).await, ["two"]);

    assert_eq!(release(&["going", "unknown"]), Ok(()));
    say(&channel, "three").await;
    let gone = account(&channel, "going");
    assert_eq!((gone.accepted, gone.waiting, account(&channel, "stays").waiting), (2, 0, 3));
    let next = tokio::time::timeout(Duration::from_millis(100), going.next()).await;
    assert!(next.is_err(), "what came after is not given to it: {next:?}");
    drop(going);
    assert_eq!(channel.forget("going").unwrap(), 0);
    channel.stop();
}

/// With a delayed sync a yes is ahead of what drains are given, and of what they are told that waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_not_released_while_something_that_was_answered_yes_for_it_is_not_synced() {
    let settings = Settings { sync: Sync::Every(Duration::from_secs(3600)), ..small() };
    let (_disk, channel, tap) = begun(&settings);
    say(&channel, "one").await;
    assert_eq!(account(&channel, "zipkin").waiting, 0);
    assert_eq!(channel.release(&["zipkin".to_owned()]), Err(("zipkin".to_owned(), 1)));
    drop(tap);
    assert_eq!(channel.forget("zipkin").unwrap(), 1, "it is told that this is given up");
    channel.stop();
}

/// A later configuration names it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_was_released_and_could_not_be_forgotten_goes_on_with_all_that_came_since() {
    let settings = small();
    let (disk, channel, mut tap) = begun(&settings);
    say(&channel, "one").await;
    assert_eq!(drained(&channel, &mut tap).await, ["one"]);
    assert_eq!(channel.release(&["zipkin".to_owned()]), Ok(()));
    say(&channel, "two").await;
    drop(tap);
    // Saved by then, or the proof is less sharp: the slot is due for what was settled.
    tokio::time::sleep(Duration::from_millis(300)).await;
    disk.fail_syncs(true);
    assert!(channel.forget("zipkin").is_err());
    disk.fail_syncs(false);
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    say(&channel, "three").await;
    assert_eq!(account(&channel, "zipkin").waiting, 2);
    // One of its slots said that it was forgotten.
    let late = Instant::now() + Duration::from_secs(10);
    while open(&settings, &disk.killed().disk()).unwrap().0.snapshot().accounts.is_empty() {
        assert!(Instant::now() < late, "a crash forgets it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let killed = disk.killed();
    assert_eq!(drained(&channel, &mut tap).await, ["two", "three"]);
    channel.stop();
    let (channel, _) = open(&settings, &killed.disk()).unwrap();
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    assert_eq!(drained(&channel, &mut tap).await, ["two", "three"]);
    channel.stop();
}
