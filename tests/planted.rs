//! Promises broken on purpose, one at a time: each proof must fail, and name the promise.
//!
//! By the disk where a lie of it is the fault, else by the feature `planted`, which no release build can have.
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "a test")]

#[path = "support/mod.rs"]
mod support;

#[path = "proof/mod.rs"]
mod proof;

use proof::crash::{broken, squatted};
use proof::handover::hand_over;
use spangate::planted::{Planted, plant};
use support::disk::Lie;

/// Each call of a workload meets one fault of many: some need more than one round to be shown.
const SEEDS: u64 = 12;

/// Whether a failure of a broken gateway names the promise, and says what became of it in these words: others may
/// follow from it, and prove nothing.
#[track_caller]
fn is_caught((promise, words): (&str, &str), workload: &str, lie: Option<Lie>, plant: fn()) {
    let mut told = String::new();
    for seed in 0..SEEDS {
        let tally = broken(workload, seed, lie, plant);
        if tally.failures.iter().any(|failure| failure.starts_with(promise) && failure.contains(words)) {
            return;
        }
        told = tally.to_string();
    }
    panic!("{workload}: no {promise}: {words} in\n{told}");
}

#[test]
fn the_proof_finds_nothing_where_nothing_is_planted() {
    for workload in ["roll", "settle", "archive cut short"] {
        broken(workload, 0, None, || {}).assert_whole();
    }
}

#[test]
fn a_directory_that_is_not_synced_breaks_promise_one() {
    is_caught(("promise 1", "is missing, though there are segments beside it"), "roll", Some(Lie::Directories), || {});
}

#[test]
fn a_yes_before_the_sync_breaks_promise_one() {
    is_caught(("promise 1", "which was answered yes or given"), "append", Some(Lie::Data), || {});
}

#[test]
fn a_rename_before_the_sync_of_what_is_renamed_breaks_promise_one() {
    is_caught(("promise 1", "the channel's id is unreadable"), "recovery", Some(Lie::Renamed), || {});
}

#[test]
fn a_cursor_that_is_saved_before_the_delivery_breaks_promise_two() {
    is_caught(("promise 2", "that wait 0 are given"), "settle", None, || plant(Planted::CursorBeforeDelivery));
}

#[test]
fn checksums_that_nobody_checks_break_promise_one() {
    is_caught(("promise 1", "is not as it was sent"), "append", None, || plant(Planted::CrcUnchecked));
}

#[test]
fn a_position_that_is_used_again_breaks_promise_three() {
    is_caught(("promise 3", "it will be used again"), "remove", None, || plant(Planted::PositionReused));
}

#[test]
fn a_plan_that_is_not_saved_before_its_object_stands_breaks_promise_three() {
    is_caught(("promise 3", "stands in the archive 2 times"), "archive cut short", None, || {
        plant(Planted::PlanAfterPublish)
    });
}

#[test]
fn a_segment_that_goes_before_the_cursor_is_saved_breaks_promise_two() {
    is_caught(("promise 2", "left the channel unsettled"), "remove", None, || plant(Planted::UnlinkBeforeCursor));
}

#[test]
fn a_drain_that_reads_past_the_synced_tail_breaks_promise_one() {
    is_caught(("promise 1", "before it is synced"), "delayed sync", None, || plant(Planted::PastTheTail));
}

#[test]
fn an_object_that_is_taken_as_done_unseen_breaks_promise_three() {
    squatted(|| {}).unwrap();
    let why = squatted(|| plant(Planted::TakenUnseen)).unwrap_err();
    assert!(why.contains("promise 3"), "{why}");
}

#[test]
fn a_wake_before_the_publication_breaks_promise_two() {
    hand_over(|| {}).unwrap();
    let why = hand_over(|| plant(Planted::WakeBeforePublish)).unwrap_err();
    assert!(why.contains("promise 2"), "{why}");
}
