//! Crash points of the channel, and any steps of it against its model.

use crate::proof::crash::{Step, Thin};
use crate::proof::{Budget, crash, handover, model};
use crate::support::disk::Fault;

#[test]
fn no_crash_and_no_fault_at_any_call_breaks_a_promise_of_the_channel() {
    let tally = crash::thinned(Budget::of(0, 74), Thin(16));
    tally.assert_whole();
    let most = [
        ("crash points", 1_000),
        ("crash points in recovery", 100),
        ("crash points after a fault", 2_000),
        ("fault points", 150),
        ("flipped bits", 100),
    ];
    for (kind, least) in most {
        assert!(tally.counts.get(kind).is_some_and(|count| *count > least), "{kind}: {tally}");
    }
}

/// Half a slot that says forgotten, over one that a failed sync had lost: unreadable in the page cache, whole on disk.
#[test]
fn a_slot_that_is_another_one_on_disk_than_in_the_page_cache_takes_no_drain_away() {
    let say = Step::Append { spans: 3, bytes: 100, letters: false };
    let steps = [say, Step::Begin { drain: 0, oldest: true }, Step::Restart, Step::Take { drain: 0, frames: 9 }];
    crash::swept(Fault::Short, 5, &steps).assert_whole();
}

/// In this process the plan is there, and another archive goes on with it: reloaded, say.
#[test]
fn a_plan_that_could_not_be_saved_is_not_carried_out_before_it_is() {
    let say = Step::Append { spans: 2, bytes: 200, letters: false };
    let archive = Step::Archive { ms: 80 };
    let steps = [Step::Begin { drain: 1, oldest: false }, say, archive, say, archive, say];
    crash::swept(Fault::ShortOfSpace, 2, &steps).assert_whole();
}

/// The directory is made, its name is not synced; the next start finds it, and may not pass over that.
#[test]
fn a_directory_made_during_a_read_only_spell_has_a_durable_name_before_anybody_is_answered() {
    let say = Step::Append { spans: 3, bytes: 100, letters: false };
    crash::swept(Fault::ReadOnly, 2, &[say, Step::Begin { drain: 0, oldest: true }]).assert_whole();
}

#[test]
fn any_steps_of_a_channel_agree_with_its_model() {
    let tally = model::proof(Budget::of(0, 150));
    tally.assert_whole();
    assert_eq!(tally.counts["model cases"], 150);
}

#[test]
fn a_drain_that_looks_the_instant_it_is_woken_finds_what_was_published() {
    handover::hand_over(|| {}).unwrap();
}
