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
        (Plant::TakenByNobody, 2, "promise 2: "),
        (Plant::SentAgain, 2, "promise 2: "),
        (Plant::StandingStill, 2, "promise 5: "),
        (Plant::PublishedNowhere, 2, "promise 3: "),
        (Plant::PublishedTwice, 2, "promise 3: "),
        (Plant::DiskOfBefore, 2, "promise "),
        (Plant::CursorsOfBefore, 2, "promise 2: "),
        (Plant::RotUntold, 4, "promise 3: "),
        (Plant::LetGoEarly, 2, "promise 4: "),
        (Plant::TooFast, 5, "rate_max: "),
    ];
    for (plant, seed, promise) in plants {
        let told = hours::planted(seed, plant).unwrap_or_default();
        assert!(told.contains(promise), "{plant:?}: {told:?}");
    }
}

#[test]
fn a_gateway_hour_is_the_same_each_time_that_its_seed_is_run() {
    assert_eq!(hours::digest(7), hours::digest(7));
}
