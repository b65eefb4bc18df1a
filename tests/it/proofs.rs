//! The proofs of tests/proof with a few thousand tries each, the same ones at each run; `make soak` goes on from there.

use std::collections::HashSet;

use crate::proof::kills::oracle::{Found, Settled};
use crate::proof::{Budget, Tally, hostile, hours, kills};

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
fn gateway_hours_in_which_nearly_everything_goes_wrong_keep_every_promise() {
    let tally = hours::hours(Budget::of(1, 12));
    tally.assert_whole();
    assert_eq!(tally.counts["gateway-hours"], 12);
}

#[test]
fn hostile_peers_are_refused_by_name_while_a_good_one_goes_on_and_memory_stays_bounded() {
    let tally = hostile::hostile_briefly(Budget::of(1, 1));
    println!("{tally}");
    tally.assert_whole();
}

#[test]
fn kills_under_load_lose_nothing_and_archive_each_span_once() {
    let tally = kills::kills(Budget::of(1, 1));
    println!("{tally}");
    tally.assert_whole();
    assert!(tally.counts["kills"] >= 3, "{tally}");
}

#[test]
fn kills_among_faults_of_a_store_archive_each_span_once() {
    let tally = kills::store_kills(Budget::of(1, 1));
    println!("{tally}");
    tally.assert_whole();
    assert!(tally.counts["kills"] >= 3 && tally.counts["faults of the store"] > 0, "{tally}");
}

/// Three spans that were sent, acknowledged, delivered and archived.
fn well() -> Found {
    let names = ["a", "b", "c"].map(str::to_owned);
    let all: HashSet<_> = names.clone().into();
    Found {
        sent: all.clone(),
        acknowledged: all,
        collected: names.clone().map(|name| (name, 1)).into(),
        archived: names.map(|name| (name, 1)).into(),
        settled: Settled { archived: 3, dead: 0 },
        ..Found::default()
    }
}

#[test]
fn whatever_is_lost_doubled_or_made_up_is_named_with_its_promise() {
    type Plant = fn(&mut Found);
    let dead = |found: &mut Found| {
        found.dead.insert("a".into());
        found.settled.dead = 1;
    };
    assert_eq!(well().verdict(), Vec::<String>::new());
    let plants: [(Plant, &str); 8] = [
        (|found| _ = found.collected.remove("b"), "promises 1 and 2: acknowledged, at no collector"),
        (|found| _ = found.archived.remove("b"), "promises 1 and 3: acknowledged, not in the archive: 1 spans"),
        (|found| _ = found.archived.insert("b".into(), 2), "in the archive twice: 1 spans"),
        (|found| _ = found.sent.remove("b"), "never sent"),
        (|found| _ = found.collected.insert("b2".into(), 1), "never sent: 1 spans, such as (trace, id, kind) b2"),
        (dead, "promise 5: dead, and refused by no collector"),
        (|found| found.settled.archived = 4, "3 spans in the archive's objects, 4 by the accounts"),
        (|found| found.settled.dead = 1, "0 dead letters, 0 of them taken after all; 1 by the accounts"),
    ];
    for (plant, told) in plants {
        let mut found = well();
        plant(&mut found);
        let verdict = found.verdict();
        assert!(verdict.iter().any(|fault| fault.contains(told)), "{told}: {verdict:?}");
    }
    let mut refused = well();
    dead(&mut refused);
    refused.refusable.insert("a".into());
    refused.collected.remove("a");
    assert_eq!(refused.verdict(), Vec::<String>::new(), "a dead letter is as good as a delivery where it was refused");
}
