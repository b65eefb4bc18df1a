//! The proofs of tests/proof with as many tries as a minute allows, the same ones at each run; `make soak` goes on.

mod crash;
mod fuzz;
mod hostile;
mod hours;
mod kills;

use crate::proof::{Budget, Tally, guarded};

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
fn a_panic_is_a_failure_of_its_kind_with_the_seed_that_was_tried() {
    let gives_up = |budget: Budget| {
        budget.seeds().for_each(|seed| assert!(seed < 9, "it gives up"));
        Tally::default()
    };
    let tally = guarded("hostile", Budget::of(7, 5), gives_up);
    assert_eq!(tally.failures.len(), 1);
    assert!(tally.failures[0].starts_with("hostile, seed 9: a panic: it gives up"), "{tally}");
    assert!(tally.failures[0].ends_with("hostile --seed 9 --tries 1"), "{tally}");
    guarded("hostile", Budget::of(7, 2), gives_up).assert_whole();
}
