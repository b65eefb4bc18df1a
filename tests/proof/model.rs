//! The channel against its model: any list of steps, made smaller until no step of a failing one can go.
//!
//! The steps are those of the crash points (appends, takes, settling out of order, drains that begin, leave, are
//! released and forgotten, crashes, restarts, capacity reached, calls that fail); the model is what [`crash::book`](super::crash)
//! knows. A case ends with a crash.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::crash::{Step, one_case};
use super::{Budget, Tally};

/// Steps of one case.
const STEPS_MAX: usize = 60;
/// Tries to make a failing case smaller.
const SHRINKS_MAX: u32 = 4_000;

fn drain() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0_usize), 1 => 0..4_usize]
}

fn step() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![4 => (1..6_u16, 1..400_u16), 1 => (1..5_u16, 5_000..20_000_u16)];
    prop_oneof![
        8 => (size(), any::<bool>()).prop_map(|((spans, bytes), letters)| Step::Append { spans, bytes, letters }),
        3 => size().prop_map(|(spans, bytes)| Step::Offer { spans, bytes }),
        1 => Just(Step::Withdraw),
        1 => Just(Step::Answers),
        3 => (drain(), any::<bool>()).prop_map(|(drain, oldest)| Step::Begin { drain, oldest }),
        1 => drain().prop_map(|drain| Step::Leave { drain }),
        1 => drain().prop_map(|drain| Step::Return { drain }),
        1 => drain().prop_map(|drain| Step::Release { drain }),
        1 => drain().prop_map(|drain| Step::Forget { drain }),
        6 => (drain(), 1..6_u8).prop_map(|(drain, frames)| Step::Take { drain, frames }),
        6 => (drain(), any::<u8>(), 0..3_u8, 0..4_u8)
            .prop_map(|(drain, pick, part, outcome)| Step::Settle { drain, pick, part, outcome }),
        2 => (drain(), any::<u8>(), 1..200_u16).prop_map(|(drain, pick, note)| Step::Commit { drain, pick, note }),
        1 => drain().prop_map(|drain| Step::Skip { drain }),
        1 => (drain(), 0..300_u16).prop_map(|(drain, ms)| Step::Expire { drain, ms }),
        1 => drain().prop_map(|drain| Step::Reread { drain }),
        2 => (0..200_u16).prop_map(|ms| Step::Wait { ms }),
        1 => (any::<u8>(), 0..40_u8, 1..4_u8).prop_map(|(kind, after, calls)| Step::Fault { kind, after, calls }),
        1 => Just(Step::Restart),
        2 => (any::<bool>(), any::<u64>()).prop_map(|(kill, seed)| Step::Crash { kill, seed }),
    ]
}

/// One case for each try.
pub fn proof(budget: Budget) -> Tally {
    let work = || {
        spangate::tasks::simulate();
        let mut tally = Tally::default();
        budget.seeds().for_each(|seed| tally.merge(case(seed)));
        tally
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

fn case(seed: u64) -> Tally {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: 1, max_shrink_iters: SHRINKS_MAX, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let mut tally = Tally::default();
    tally.add("model cases", 1);
    let whole = |steps: Vec<Step>| one_case(seed, &steps).map_err(TestCaseError::fail);
    let again = format_args!("cargo test --release --test soak -- model --seed {seed} --tries 1");
    match runner.run(&vec(step(), 1..STEPS_MAX), whole) {
        Ok(()) => {}
        Err(TestError::Fail(why, steps)) => {
            tally.failed(format_args!("{why}\n    after {steps:?}"), again);
        }
        Err(TestError::Abort(why)) => tally.failed(why, again),
    }
    tally
}
