//! Proof by many tries: crashes, hours, kills and inputs by seed, with the promises of DURABILITY.md as the oracle.
//!
//! Each kind of proof is one function from a [`Budget`] to a [`Tally`]. `cargo test` runs a few thousand tries of each
//! (tests/it/proof.rs); `make soak` runs for as long as it is told (tests/soak). Both are the same code.
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod crash;
pub mod fuzz;
pub mod handover;
pub mod hostile;
pub mod hours;
pub mod kills;
pub mod model;

use std::collections::BTreeMap;
use std::fmt;
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
}

impl Budget {
    /// So many tries, whatever time they take.
    pub fn of(seed: u64, tries: u64) -> Budget {
        Budget { seed, tries, until: None }
    }

    /// As many as fit in the time.
    pub fn lasting(seed: u64, time: Duration) -> Budget {
        Budget { seed, tries: u64::MAX, until: Some(Instant::now() + time) }
    }

    /// The seeds of the tries that may begin.
    pub fn seeds(self) -> impl Iterator<Item = u64> {
        let open = move |_: &u64| self.until.is_none_or(|until| Instant::now() < until);
        (0..self.tries).take_while(open).map(move |at| self.seed.wrapping_add(at))
    }
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
