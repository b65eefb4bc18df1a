//! Proof by many tries: crashes, hours, kills and inputs by seed, with the promises of DURABILITY.md as the oracle.
//!
//! Each kind of proof is one function from a [`Budget`] to a [`Tally`]. `cargo test` runs some of each, from one storm
//! of kills to tens of thousands of inputs (tests/it/proofs.rs); `make soak` runs for as long as it is told
//! (tests/soak). Both are the same code.
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod crash;
pub mod fuzz;
pub mod handover;
pub mod hostile;
pub mod hours;
pub mod kills;
pub mod model;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long to go on, and from which seed.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Each try has a seed of its own, counted on from here.
    pub seed: u64,
    /// No try begins after so many.
    pub tries: u64,
    /// Nor after this.
    pub until: Option<Instant>,
    /// The seed of the try that began last. As long as the program: a budget is of a run.
    last: &'static AtomicU64,
}

impl Budget {
    /// So many tries, whatever time they take.
    pub fn of(seed: u64, tries: u64) -> Budget {
        Budget { seed, tries, until: None, last: Box::leak(Box::new(AtomicU64::new(seed))) }
    }

    /// As many as fit in the time.
    pub fn lasting(seed: u64, time: Duration) -> Budget {
        Budget { until: Some(Instant::now() + time), ..Budget::of(seed, u64::MAX) }
    }

    /// The seeds of the tries that may begin.
    pub fn seeds(self) -> impl Iterator<Item = u64> {
        let open = move |_: &u64| self.until.is_none_or(|until| Instant::now() < until);
        (0..self.tries).take_while(open).map(move |at| {
            let seed = self.seed.wrapping_add(at);
            self.last.store(seed, Ordering::Relaxed);
            seed
        })
    }
}

/// Runs a kind of proof. Where it panics that is its failure, with the seed of the try: what it had counted is lost,
/// the kinds after it are not.
pub fn guarded(kind: &str, budget: Budget, run: impl FnOnce(Budget) -> Tally) -> Tally {
    catch_unwind(AssertUnwindSafe(|| run(budget))).unwrap_or_else(|panic| {
        let mut tally = Tally::default();
        let seed = budget.last.load(Ordering::Relaxed);
        let again = format_args!("cargo test --release --test soak -- {kind} --seed {seed} --tries 1");
        tally.failed(format_args!("{kind}, seed {seed}: a panic: {}", words(&*panic)), again);
        tally
    })
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref().copied()).unwrap_or("a panic without words").to_owned()
}

/// What was tried, by kind, and what failed.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub counts: BTreeMap<String, u64>,
    /// Each names the promise that broke, and ends with the command that shows it again.
    pub failures: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, kind: &str, count: u64) {
        *self.counts.entry(kind.to_owned()).or_default() += count;
    }

    pub fn failed(&mut self, promise: impl fmt::Display, again: impl fmt::Display) {
        self.failures.push(format!("{promise}\n    again: {again}"));
    }

    pub fn merge(&mut self, other: Tally) {
        for (kind, count) in other.counts {
            self.add(&kind, count);
        }
        self.failures.extend(other.failures);
    }

    /// Panics with every failure.
    pub fn assert_whole(&self) {
        assert!(self.failures.is_empty(), "{self}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.counts {
            writeln!(f, "{count:>14}  {kind}")?;
        }
        for failure in &self.failures {
            writeln!(f, "FAILED  {failure}")?;
        }
        write!(f, "{:>14}  failed", self.failures.len())
    }
}
