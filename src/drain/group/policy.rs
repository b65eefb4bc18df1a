//! How a group shares its batches: pure choices, with chance from the caller's seed.
//!
//! All but `by_trace` choose a sink for the next batch; `by_trace` ranks the sinks for each trace,
//! by rendezvous hashing: a trace's first choice changes only when that sink comes or goes.

use fastrand::Rng;

/// How batches are shared among the sinks of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Equal shares, in turn.
    #[default]
    RoundRobin,
    /// Equal shares, by chance.
    Random,
    /// Shares by weight, evenly spread (smooth weighted round robin, as nginx has it).
    Weighted,
    /// Of two by chance, the one with more room.
    LeastLoaded,
    /// All to the lowest priority number that has a sink which is well.
    Failover,
    /// All spans of a trace to one sink.
    ByTrace,
}

/// A sink that could take the next batch, as a policy sees it.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub weight: u32,
    /// Batches in flight of those that it may have.
    pub load: f64,
    /// What it is owed, for smooth round robin.
    pub credit: &'a mut i64,
}

/// The index of the one that takes the next batch; `None` where there is none. Priorities and traces have been looked
/// at before: both leave sinks between which the next batch is shared in turn.
pub(super) fn choose(policy: Policy, candidates: &mut [Candidate<'_>], rng: &mut Rng) -> Option<usize> {
    match (policy, candidates.len()) {
        (_, 0) => None,
        (Policy::Random, count) => Some(rng.usize(..count)),
        (Policy::LeastLoaded, count) => Some(less_loaded(candidates, two(count, rng))),
        (Policy::Weighted, _) => in_turn(candidates, |candidate| i64::from(candidate.weight)),
        (Policy::RoundRobin | Policy::Failover | Policy::ByTrace, _) => in_turn(candidates, |_| 1),
    }
}

/// Each is owed its weight a turn; who is owed most is chosen and pays the turn.
fn in_turn(candidates: &mut [Candidate<'_>], weight: impl Fn(&Candidate<'_>) -> i64) -> Option<usize> {
    let mut turn = 0;
    for candidate in candidates.iter_mut() {
        let owed = weight(candidate);
        *candidate.credit += owed;
        turn += owed;
    }
    // The first of equals, so that a round begins where the configuration does.
    let chosen = (0..candidates.len()).rev().max_by_key(|n| *candidates[*n].credit)?;
    *candidates[chosen].credit -= turn;
    Some(chosen)
}

/// Two different indexes by chance; twice the same where there is one.
fn two(count: usize, rng: &mut Rng) -> (usize, usize) {
    let first = rng.usize(..count);
    if count == 1 {
        return (first, first);
    }
    let second = rng.usize(..count - 1);
    (first, if second < first { second } else { second + 1 })
}

fn less_loaded(candidates: &[Candidate<'_>], (a, b): (usize, usize)) -> usize {
    if candidates[b].load < candidates[a].load { b } else { a }
}

/// What stands for a sink in [`rank`]: its URL's FNV-1a, so that its place in a list does not matter.
pub(super) fn identity(url: &str) -> u64 {
    url.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A sink's rank for a trace: the highest is its first choice. Another formula would move traces at an upgrade.
pub(super) fn rank(identity: u64, trace: u64) -> u64 {
    mix(identity ^ mix(trace))
}

/// The finalizer of SplitMix64: each bit of the input changes half of the output's.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
