//! What must hold after a storm: the ledger of what was acknowledged against all that was found.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::account::Account;
use super::load::Sent;
use crate::support::names::{self, Name};

/// Spans that a fault names.
const SHOWN: usize = 10;

/// What was sent, and where it was found.
#[derive(Debug, Default)]
pub struct Found {
    pub sent: HashSet<Name>,
    pub acknowledged: HashSet<Name>,
    /// Spans that a sender sent again; each may be accepted again.
    pub again: u64,
    /// At collectors, and how often.
    pub collected: BTreeMap<Name, u32>,
    /// In the archive, and how often.
    pub archived: BTreeMap<Name, u32>,
    /// Dead letters.
    pub dead: HashSet<Name>,
    /// What collectors were told to refuse.
    pub refusable: HashSet<Name>,
    /// Spans that the archives say they delivered, and those that are dead letters by the accounts.
    pub settled: Settled,
    pub faults: Vec<String>,
}

/// Of the accounts at the end, over all data directories.
#[derive(Debug, Default)]
pub struct Settled {
    pub archived: u64,
    pub dead: u64,
}

impl Found {
    pub fn sent(&mut self, sent: Sent) {
        self.sent.extend(sent.names);
        self.acknowledged.extend(sent.acknowledged);
        self.again += sent.again;
    }

    /// The last account of a data directory, when nothing waits there.
    pub fn account(&mut self, account: &Account) {
        self.faults.extend(account.faults(None));
        let (zipkin, archive) = (&account.0["zipkin"], &account.0["archive"]);
        let delivered = archive.outcomes["delivered"];
        if zipkin.accepted != archive.accepted || delivered != archive.accepted {
            self.faults.push(format!("promise 4: both drains were there from the first span, and differ:\n{account}"));
        }
        self.settled.archived += delivered;
        self.settled.dead += zipkin.outcomes["dead_lettered"];
    }

    /// What nobody took, of one data directory. A crash may write a letter twice.
    pub fn letters(&mut self, dir: &Path) {
        for entry in std::fs::read_dir(dir.join("refused")).into_iter().flatten() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            self.dead.extend(text.lines().map(names::of_letter));
        }
    }

    /// What of the promises did not hold.
    pub fn verdict(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        let mut must_be_none = |what: &str, names: Vec<&Name>| {
            if !names.is_empty() {
                let shown: Vec<_> = names.iter().take(SHOWN).map(|name| name.as_str()).collect();
                faults.push(format!("{what}: {} spans, such as (trace, id, kind) {}", names.len(), shown.join("; ")));
            }
        };
        let taken = |name: &&Name| self.collected.contains_key(*name) || self.dead.contains(*name);
        let lost = self.acknowledged.iter().filter(|name| !taken(name)).collect();
        must_be_none("promises 1 and 2: acknowledged, at no collector and no dead letter", lost);
        let missing = self.acknowledged.iter().filter(|name| !self.archived.contains_key(*name)).collect();
        must_be_none("promises 1 and 3: acknowledged, not in the archive", missing);
        let found = self.collected.keys().chain(self.archived.keys()).chain(&self.dead).chain(&self.acknowledged);
        must_be_none("promise 1: never sent", found.filter(|name| !self.sent.contains(*name)).collect());
        must_be_none("promise 5: dead, and refused by no collector", self.dead.difference(&self.refusable).collect());
        if self.twice() > self.again {
            let twice = self.archived.iter().filter(|(_, times)| **times > 1).map(|(name, _)| name).collect();
            must_be_none(&format!("promise 3: sent again {} times, in the archive twice", self.again), twice);
        }
        faults.extend(self.against_the_accounts());
        faults
    }

    fn against_the_accounts(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let Settled { archived, dead } = self.settled;
        let in_objects: u64 = self.archived.values().map(|times| u64::from(*times)).sum();
        if in_objects != archived {
            faults.push(format!("promise 3: {in_objects} spans in the archive's objects, {archived} by the accounts"));
        }
        // A crash between a letter and its settling leaves the letter, and the span may be taken yet.
        let taken_after_all = self.dead.iter().filter(|name| self.collected.contains_key(*name)).count() as u64;
        let letters = self.dead.len() as u64;
        if dead > letters || letters > dead + taken_after_all {
            faults.push(format!(
                "promise 4: {letters} dead letters, {taken_after_all} of them taken after all; {dead} by the accounts"
            ));
        }
        faults
    }

    /// How often spans are in the archive once more than once.
    fn twice(&self) -> u64 {
        self.archived.values().map(|times| u64::from(times - 1)).sum()
    }

    /// What a storm had to do with.
    pub fn figures(&self) -> [(&'static str, u64); 5] {
        let repeats = self.collected.values().map(|times| u64::from(times - 1)).sum();
        [
            ("spans acknowledged", self.acknowledged.len() as u64),
            ("spans that were in flight at a kill, and found", (self.archived.len() - self.in_archive()) as u64),
            ("spans repeated at collectors", repeats),
            ("spans dead as they should be", self.dead.len() as u64),
            ("spans sent again by a sender", self.again),
        ]
    }

    fn in_archive(&self) -> usize {
        self.acknowledged.iter().filter(|name| self.archived.contains_key(*name)).count()
    }
}
