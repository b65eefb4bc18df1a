//! Inputs by structured mutation, for everything that reads bytes from peers, disks and people.
//!
//! A [`Target`] is one function from bytes to nothing, with its oracle inside: it panics where what it reads is not
//! what it should be. Three callers share them: `cargo test` (the corpus, and some thirty thousand mutations of it),
//! `make soak KINDS=fuzz`, and the coverage-guided targets of `fuzz/`. Mutations come from a seed alone; an input that
//! fails is written to a file, and belongs into `tests/data/fuzz/TARGET/` once it is mended.

#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

pub mod against_json;
pub mod against_proto3;
pub mod against_thrift;
mod fit;
pub mod framer;
pub mod kept;
mod layers;
mod mutate;
mod rest;
mod targets;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crc_fast::CrcAlgorithm;

use super::{Budget, Tally};

pub use targets::{TARGETS, Target};

/// Seeds are dealt to the targets in turn, and each makes as many inputs as its target says. Those that were made
/// before in this run are passed over, and do not count. `SOAK_TARGET=NAME`: the seeds of that target alone.
pub fn run(budget: Budget) -> Tally {
    // On a thread of its own, which a target may make the only one of a channel.
    std::thread::scope(|threads| threads.spawn(|| deal(budget)).join().expect("targets' panics are caught"))
}

fn deal(budget: Budget) -> Tally {
    let mut tally = Tally::default();
    let mut seen = Seen::of(budget);
    let corpora: Vec<Vec<Vec<u8>>> = TARGETS.iter().map(corpus).collect();
    let mut spent = vec![(0, Duration::ZERO); TARGETS.len()];
    let only = std::env::var("SOAK_TARGET").ok();
    let chosen = |target: &Target| only.as_deref().is_none_or(|only| only == target.name);
    assert!(TARGETS.iter().any(chosen), "there is no target {only:?}");
    for seed in budget.seeds() {
        let at = (seed % TARGETS.len() as u64) as usize;
        let (target, begun) = (&TARGETS[at], Instant::now());
        if !chosen(target) {
            continue;
        }
        let mut random = fastrand::Rng::with_seed(seed);
        let mut inputs = 0;
        for _ in 0..target.inputs {
            let input = mutate::mutated(&mut random, &corpora[at], target);
            if !seen.is_new(at, &input) {
                continue;
            }
            inputs += 1;
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
                let file = keep(target, &input);
                let what = format!("{}: an input is read wrongly; it is in {}", target.name, file.display());
                tally.failed(what, format_args!("cargo test --release --test soak -- fuzz --seed {seed} --tries 1"));
                break;
            }
        }
        tally.add(&format!("fuzz inputs, {}", target.name), inputs);
        spent[at] = (spent[at].0 + inputs, spent[at].1 + begun.elapsed());
    }
    for (target, (inputs, time)) in TARGETS.iter().zip(spent).filter(|(_, (inputs, _))| *inputs > 0) {
        println!("{:>14.0}  inputs/s, {}", inputs as f64 / time.as_secs_f64(), target.name);
    }
    tally
}

/// Which inputs a run has made: a bit for each of so many hashes. It may take a new one for an old one, rarely, and
/// never the other way round.
struct Seen(Vec<u64>);

impl Seen {
    /// 2^30 bits, of which 10^8 inputs set a tenth; fewer where few seeds are dealt.
    fn of(budget: Budget) -> Seen {
        let words = if budget.tries > 1_000 { 1 << 24 } else { 1 << 18 };
        Seen(vec![0; words])
    }

    fn is_new(&mut self, target: usize, input: &[u8]) -> bool {
        let hash = hash(input).wrapping_add(target as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        let (word, bit) = ((hash >> 6) as usize % self.0.len(), 1 << (hash & 63));
        let old = self.0[word];
        self.0[word] |= bit;
        old & bit == 0
    }
}

fn hash(input: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, input)
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
    let file = std::env::temp_dir().join(format!("spangate-fuzz-{}-{:016x}", target.name, hash(input)));
    std::fs::write(&file, input).unwrap();
    file
}
