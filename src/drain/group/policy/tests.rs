//! Shares and ranks.

use super::*;

/// How often each of the sinks with these weights is chosen in `turns`.
fn shares(policy: Policy, weights: &[u32], turns: usize) -> Vec<usize> {
    let (mut credits, mut counts) = (vec![0; weights.len()], vec![0; weights.len()]);
    let mut rng = Rng::with_seed(7);
    for _ in 0..turns {
        let candidates = weights.iter().zip(&mut credits);
        let mut candidates: Vec<_> =
            candidates.map(|(weight, credit)| Candidate { weight: *weight, load: 0.0, credit }).collect();
        counts[choose(policy, &mut candidates, &mut rng).unwrap()] += 1;
    }
    counts
}

#[test]
fn turns_are_taken_evenly() {
    assert_eq!(shares(Policy::RoundRobin, &[9, 1, 5], 3_001), [1_001, 1_000, 1_000]);
}

#[test]
fn chance_is_even() {
    for share in shares(Policy::Random, &[9, 1, 5, 1], 40_000) {
        assert!((9_500..=10_500).contains(&share), "{share}");
    }
}

#[test]
fn shares_are_as_the_weights_and_spread() {
    assert_eq!(shares(Policy::Weighted, &[5, 1, 2], 8_000), [5_000, 1_000, 2_000]);
    assert_eq!(shares(Policy::Weighted, &[5, 1, 2], 3), [2, 0, 1], "nobody waits until another has had all of his");
}

#[test]
fn who_was_away_is_owed_nothing_for_it() {
    let (mut here, mut away, mut rng) = (0, 0, Rng::with_seed(7));
    for _ in 0..1_000 {
        let mut alone = [Candidate { weight: 1, load: 0.0, credit: &mut here }];
        choose(Policy::RoundRobin, &mut alone, &mut rng);
    }
    let mut counts = [0; 2];
    for _ in 0..10 {
        let mut both = [
            Candidate { weight: 1, load: 0.0, credit: &mut here },
            Candidate { weight: 1, load: 0.0, credit: &mut away },
        ];
        counts[choose(Policy::RoundRobin, &mut both, &mut rng).unwrap()] += 1;
    }
    assert_eq!(counts, [5, 5]);
}

#[test]
fn of_two_the_one_with_more_room_is_chosen() {
    let mut rng = Rng::with_seed(7);
    let mut counts = [0; 3];
    for _ in 0..3_000 {
        let mut credits = [0; 3];
        let loads = [1.0, 0.5, 0.0];
        let mut candidates: Vec<_> =
            loads.iter().zip(&mut credits).map(|(load, credit)| Candidate { weight: 1, load: *load, credit }).collect();
        counts[choose(Policy::LeastLoaded, &mut candidates, &mut rng).unwrap()] += 1;
    }
    assert_eq!(counts[0], 0, "of any two, the fullest has always less room");
    assert!((850..=1_150).contains(&counts[1]) && (1_850..=2_150).contains(&counts[2]), "{counts:?}");
}

#[test]
fn nobody_is_chosen_of_none() {
    assert_eq!(choose(Policy::LeastLoaded, &mut [], &mut Rng::with_seed(1)), None);
    assert_eq!(shares(Policy::LeastLoaded, &[1], 3), [3]);
}

#[test]
fn five_sinks_have_even_shares_of_the_traces_and_one_that_goes_moves_its_own_only() {
    let sinks: Vec<u64> = (1..=5).map(|n| identity(&format!("http://zipkin-{n}:9411/api/v2/spans"))).collect();
    let first = |sinks: &[u64], trace| *sinks.iter().max_by_key(|sink| rank(**sink, trace)).unwrap();
    let mut rng = Rng::with_seed(7);
    let random: Vec<u64> = (0..100_000).map(|_| rng.u64(..)).collect();
    // Ids in a row, as some tracers have them, and ids whose low bits are alike.
    for traces in [random, (0..100_000).collect(), (0..100_000).map(|n| n << 32).collect()] {
        for sink in &sinks {
            let share = traces.iter().filter(|trace| first(&sinks, **trace) == *sink).count();
            assert!((19_000..=21_000).contains(&share), "{share} of 100,000");
            let left: Vec<u64> = sinks.iter().copied().filter(|other| other != sink).collect();
            for trace in &traces {
                let (before, after) = (first(&sinks, *trace), first(&left, *trace));
                assert!(before == after || before == *sink);
            }
        }
    }
}
