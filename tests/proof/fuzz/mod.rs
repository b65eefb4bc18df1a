//! Inputs by structured mutation, for everything that reads bytes from peers, disks and people.
//!
//! A [`Target`] is one function from bytes to nothing, with its oracle inside: it panics where what it reads is not what
//! it should be. Three callers share them: `cargo test` (the corpus, and a few thousand mutations of it), `make soak
//! KINDS=fuzz`, and the coverage-guided targets of `fuzz/`. Mutations come from a seed alone; an input that fails is
//! written to a file, and belongs into `tests/data/fuzz/TARGET/` once it is mended.

#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

mod mutate;
mod rest;
mod targets;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::{Budget, Tally};

pub use targets::{TARGETS, Target};

/// Seeds are shared out: each makes so many inputs, of one target.
pub const INPUTS: u64 = 1_000;

/// As many inputs as the budget has seeds, a thousand each (fewer of a costly target), target by target in turn.
pub fn run(budget: Budget) -> Tally {
    let mut tally = Tally::default();
    let corpora: Vec<Vec<Vec<u8>>> = TARGETS.iter().map(corpus).collect();
    for seed in budget.seeds() {
        let at = (seed % TARGETS.len() as u64) as usize;
        let (target, corpus) = (&TARGETS[at], &corpora[at]);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut inputs = 0;
        for _ in 0..INPUTS / target.cost {
            let input = mutate::mutated(&mut random, corpus, target.tokens);
            inputs += 1;
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
                let file = keep(target, &input);
                let what = format!("{}: an input is read wrongly; it is in {}", target.name, file.display());
                tally.failed(what, format_args!("cargo test --release --test soak -- fuzz --seed {seed} --tries 1"));
                break;
            }
        }
        tally.add(&format!("fuzz inputs, {}", target.name), inputs);
    }
    tally
}

/// The files of a target's corpus, in the order of their names.
pub fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz").join(target.name);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let files: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!files.is_empty(), "{} has no corpus", target.name);
    files
}

/// Writes an input that failed where a person finds it.
fn keep(target: &Target, input: &[u8]) -> PathBuf {
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    let file = std::env::temp_dir().join(format!("spangate-fuzz-{}-{hash:016x}", target.name));
    std::fs::write(&file, input).unwrap();
    file
}
