//! Drains that go while the log is written.

use std::time::Duration;

use spangate::channel::{Start, Takes};
use spangate::disk;

use super::{account, drained, open, say, settings};

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

/// It could not be forgotten, as where the disk failed, and a later configuration names it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_was_released_and_is_attached_again_is_given_all_that_came_since() {
    let dir = tempfile::tempdir().unwrap();
    let channel = open(&settings(dir.path()), &disk::real()).unwrap().0;
    let mut tap = channel.tap("back", Start::End, Takes::Common).unwrap();
    say(&channel, "one").await;
    assert_eq!(drained(&channel, &mut tap).await, ["one"]);
    assert_eq!(channel.release(&["back".to_owned()]), Ok(()));
    say(&channel, "two").await;
    drop(tap);
    let mut tap = channel.tap("back", Start::End, Takes::Common).unwrap();
    say(&channel, "three").await;
    assert_eq!(account(&channel, "back").waiting, 2);
    assert_eq!(drained(&channel, &mut tap).await, ["two", "three"]);
    channel.stop();
}
