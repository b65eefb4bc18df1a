//! Hostile peers before the real process, briefly.

use crate::proof::{Budget, hostile};

#[test]
fn hostile_peers_are_refused_by_name_while_a_good_one_goes_on_and_memory_stays_bounded() {
    let tally = hostile::hostile_briefly(Budget::of(1, 1));
    println!("{tally}");
    tally.assert_whole();
}
