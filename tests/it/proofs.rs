//! The proofs of tests/proof with a few thousand tries each, the same ones at each run; `make soak` goes on from there.

use crate::proof::crash::Thin;
use crate::proof::{Budget, Tally, crash, model};

#[test]
fn a_failure_carries_the_command_that_shows_it_again() {
    let mut tally = Tally::default();
    for seed in Budget::of(7, 3).seeds() {
        tally.add("tries", 1);
        if seed == 8 {
            tally.failed("promise 1: a span was lost", format_args!("soak crash --seed {seed} --tries 1"));
        }
    }
    assert_eq!(tally.counts["tries"], 3);
    assert!(tally.to_string().contains("again: soak crash --seed 8 --tries 1"), "{tally}");
}

#[test]
fn no_crash_and_no_fault_at_any_call_breaks_a_promise_of_the_channel() {
    let tally = crash::thinned(Budget::of(0, 74), Thin(16));
    tally.assert_whole();
    assert!(tally.counts["crash points"] > 1_000, "{tally}");
}

#[test]
fn any_steps_of_a_channel_agree_with_its_model() {
    let tally = model::proof(Budget::of(0, 150));
    tally.assert_whole();
    assert_eq!(tally.counts["model cases"], 150);
}
