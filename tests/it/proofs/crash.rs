//! Crash points of the channel.

use crate::proof::crash::Thin;
use crate::proof::{Budget, crash};

#[test]
fn no_crash_and_no_fault_at_any_call_breaks_a_promise_of_the_channel() {
    let tally = crash::thinned(Budget::of(0, 66), Thin(10));
    tally.assert_whole();
    assert!(tally.counts["crash points"] > 1_000, "{tally}");
}
