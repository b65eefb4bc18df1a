//! Where a storm's archive is, and how its settings change with each start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fastrand::Rng;
use tokio::runtime::Runtime;

use crate::support::names::{self, Name};

/// Directories that a template may make; one of them has the name of a host in it.
const PATHS: [&str; 4] = ["", "dt=%Y-%m-%d/hour=%H/", "host=a/%Y%m%d/%H%M/", "{channel}/"];

pub struct Place {
    dir: PathBuf,
    builtin: bool,
}

impl Place {
    /// The built-in one, or a directory of the user's.
    pub fn in_files(chance: &mut Rng, dir: &Path, _runtime: &Runtime) -> Place {
        match chance.bool() {
            true => Place { dir: dir.join("gateway/data/archive"), builtin: true },
            false => Place { dir: dir.join("lake"), builtin: false },
        }
    }

    /// What the gateway has in its environment.
    pub fn variables(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    /// The archive's part of the settings; small objects, so that kills fall into their publishing.
    pub fn settings(&self, chance: &mut Rng) -> String {
        let one_of = |chance: &mut Rng, words: &[&'static str]| *chance.choice(words).expect("there are some");
        let archive = match self.builtin {
            true => "archive = \"builtin\"".to_owned(),
            false => format!(
                "archive = \"file://{}\"\npath = \"{}\"\nzone = \"{}\"",
                self.dir.display(),
                one_of(chance, &PATHS),
                one_of(chance, &["UTC", "+05:45", "-08:00"]),
            ),
        };
        format!(
            "[drain.archive]\n{archive}\nformat = \"{}\"\nroll_size = \"{}KiB\"\nroll_age = \"{}ms\"\n\
             roll_idle = \"100ms\"\n",
            one_of(chance, &["jsonl.gz", "jsonl.zst", "parquet"]),
            chance.u32(4..200),
            chance.u32(100..600),
        )
    }

    pub fn calm(&self) {}

    /// How often each span stands in its objects.
    pub fn names(&self) -> BTreeMap<Name, u32> {
        let mut found = BTreeMap::new();
        for path in files(&self.dir) {
            let bytes = Bytes::from(std::fs::read(&path).unwrap());
            for name in names::of_object(path.to_str().unwrap(), &bytes) {
                *found.entry(name).or_default() += 1;
            }
        }
        found
    }

    /// What it did that none may.
    pub fn faults(&self) -> Vec<String> {
        let left = files(&self.dir.join("_spangate"));
        left.iter().map(|path| format!("promise 3: left unfinished: {}", path.display())).collect()
    }
}

/// The files of a directory and those below, but for what is staged.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let below = |path: PathBuf| match path.is_dir() {
        true if path.ends_with("_spangate") => Vec::new(),
        true => files(&path),
        false => vec![path],
    };
    entries.flat_map(|entry| below(entry.unwrap().path())).collect()
}
