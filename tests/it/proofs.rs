//! The proofs of tests/proof with a few thousand tries each, the same ones at each run; `make soak` goes on from there.

mod crash;
mod fuzz;
mod hostile;
mod hours;
mod kills;

use crate::proof::{Budget, Tally};

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
