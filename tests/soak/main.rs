//! `make soak`: the proofs of tests/proof for as long as one is told, in a release build.
//!
//! `soak [KIND ...] [--minutes N] [--seed N] [--tries N]`: the time is shared evenly by the kinds (default: all of
//! them). The last lines are the counts by kind and what failed, also where a kind panics; a failure has the command
//! that shows it again, and the exit code is 1. Without `--seed` each run begins at another one and prints it.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../proof/mod.rs"]
mod proof;

use std::process::ExitCode;
use std::time::Duration;

use proof::{Budget, Tally, guarded};
use spangate::clock::Clock;

/// As the gateway's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Proof = fn(Budget) -> Tally;

/// Name, what it tries, and how.
const KINDS: &[(&str, &str, Proof)] = &[
    ("crash", "crashes and faults at every call of the channel's workloads", proof::crash::proof),
    ("model", "any steps of a channel against its model, made smaller where they fail", proof::model::proof),
    ("fuzz", "every reader of bytes, fed with mutations of what it reads", proof::fuzz::run),
    ("hostile", "peers that claim, flood, bomb and stall; prints how slow a good one becomes", proof::hostile::hostile),
    ("hours", "virtual time: failing collectors, store and disk, crashes with restart", proof::hours::hours),
    ("kills", "the real process, killed under load again and again", proof::kills::kills),
    ("store-kills", "the same with its archive in an object store that fails", proof::kills::store_kills),
];

fn main() -> ExitCode {
    let asked = match Asked::parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(wrong) => {
            eprintln!("soak: {wrong}\nsoak [KIND ...] [--minutes N] [--seed N] [--tries N]");
            for (name, what, _) in KINDS {
                eprintln!("  {name:<12} {what}");
            }
            return ExitCode::from(2);
        }
    };
    let mut whole = Tally::default();
    for (name, what, run) in &asked.kinds {
        println!("soak {name} --seed {}: {what}", asked.seed);
        let tally = guarded(name, asked.budget(), run);
        println!("{tally}\n");
        whole.merge(tally);
    }
    println!("in all, from seed {}:\n{whole}", asked.seed);
    ExitCode::from(u8::from(!whole.failures.is_empty()))
}

struct Asked {
    kinds: Vec<(&'static str, &'static str, Proof)>,
    seed: u64,
    minutes: f64,
    tries: Option<u64>,
}

impl Asked {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked, String> {
        let mut asked = Asked { kinds: Vec::new(), seed: Clock::system().now_us(), minutes: 10.0, tries: None };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--seed" => asked.seed = number(&arg, &value()?)?,
                "--minutes" => asked.minutes = number(&arg, &value()?)?,
                "--tries" => asked.tries = Some(number(&arg, &value()?)?),
                kind => {
                    let known = KINDS.iter().find(|known| known.0 == kind);
                    asked.kinds.push(*known.ok_or(format!("there is no kind {kind:?}"))?);
                }
            }
        }
        if asked.kinds.is_empty() {
            asked.kinds = KINDS.to_vec();
        }
        Ok(asked)
    }

    fn budget(&self) -> Budget {
        match self.tries {
            Some(tries) => Budget::of(self.seed, tries),
            None => Budget::lasting(self.seed, Duration::from_secs_f64(self.minutes * 60.0 / self.kinds.len() as f64)),
        }
    }
}

fn number<T: std::str::FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{flag} {text:?}: not a number"))
}
