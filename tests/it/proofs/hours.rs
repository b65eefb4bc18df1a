//! Gateway-hours, and that they find what is planted in them.

use crate::proof::hours::Plant;
use crate::proof::{Budget, hours};

#[test]
fn gateway_hours_in_which_nearly_everything_goes_wrong_keep_every_promise() {
    let tally = hours::hours(Budget::of(1, 8));
    tally.assert_whole();
    assert_eq!(tally.counts["gateway-hours"], 8);
}

#[test]
fn what_is_planted_in_a_gateway_hour_is_named_with_its_promise() {
    let plants = [
        (Plant::TakenByNobody, "promise 2: "),
        (Plant::SentAgain, "promise 2: "),
        (Plant::StandingStill, "promise 5: "),
        (Plant::PublishedNowhere, "promise 3: "),
        (Plant::PublishedTwice, "promise 3: "),
        (Plant::DiskOfBefore, "promise "),
    ];
    for (plant, promise) in plants {
        // One with an object store.
        let told = hours::planted(2, plant).unwrap_or_default();
        assert!(told.contains(promise), "{plant:?}: {told:?}");
    }
}

#[test]
fn a_gateway_hour_is_the_same_each_time_that_its_seed_is_run() {
    assert_eq!(hours::digest(7), hours::digest(7));
}
