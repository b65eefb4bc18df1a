//! How processes ended, and what the disk had refused by then: what the next one may have lost of what was settled, and
//! of what was answered before its sync.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Inner, World};
use crate::proof::crash::{BACKOFF, SETTLED_WITHIN, SYNC_SLACK, TRIED_AGAIN_WITHIN};
use crate::support::disk::Trouble;

/// The end of a process, that of the hour apart.
#[derive(Debug, Clone)]
pub struct Cut {
    pub at: Duration,
    /// It was told to stop; else it was killed, or its machine was lost.
    pub orderly: bool,
    /// Drains whose slots may have had no room for all that was settled.
    pub crowded: BTreeSet<String>,
}

/// Failures of the log so long apart are not in a row.
const APART: Duration = Duration::from_secs(60);

impl Inner {
    /// Until when what was answered is to be synced: after the interval, and after each back-off in which the log could
    /// not be. `None`: until a restart it is not.
    fn synced_by(&self, answered: Duration, most: Duration) -> Option<Duration> {
        let (mut by, mut backoff) = (answered + most + SYNC_SLACK, BACKOFF.start);
        for hit in self.hits.iter().filter(|hit| **hit + APART > answered) {
            if (answered..=by).contains(hit) {
                if self.closed {
                    return None;
                }
                by = by.max(*hit + backoff + SYNC_SLACK);
            }
            backoff = (backoff * 2).min(BACKOFF.end);
        }
        Some(by)
    }
}

impl World {
    /// Whether the log of the process that ends was closed for good.
    pub fn closed(&self, closed: bool) {
        self.inner().closed = closed;
    }

    /// What the disk of the process that runs has refused since it was last asked: it tells of those before, too.
    pub fn learn(&self, trouble: &Trouble) {
        let mut inner = self.inner();
        let (past, start) = inner.began.expect("a process runs");
        let new = trouble.changes.get(inner.hits.len()..).unwrap_or_default();
        if let Some(at) = trouble.evicted.filter(|at| new.contains(at)) {
            inner.evicted = Some(past + (at - start));
        }
        inner.hits.extend(new.iter().map(|hit| past + (*hit - start)));
    }

    /// Calls that change something and failed under the process that runs.
    pub fn hits_of_life(&self) -> usize {
        let began = self.life_began();
        self.inner().hits.iter().filter(|hit| **hit >= began).count()
    }

    /// Until when what was settled is to be in a slot. Where that failed it is tried again each second.
    fn saved_by(&self, settled: Duration) -> Duration {
        let early = |by: Duration, hit: &Duration| if *hit <= by { by.max(*hit + TRIED_AGAIN_WITHIN) } else { by };
        self.inner().hits.iter().fold(settled + SETTLED_WITHIN, early)
    }

    /// Whether what was settled then outlives a process that ends like this. An orderly stop saves it at once; where
    /// that failed it is as late as anywhere.
    pub fn must_last(&self, settled: Duration, cut: Duration, orderly: bool) -> bool {
        let by = self.saved_by(settled);
        cut > by || (orderly && by <= settled + SETTLED_WITHIN)
    }

    pub fn cut(&self, orderly: bool, crowded: BTreeSet<String>) {
        let at = self.now();
        self.inner().cuts.push(Cut { at, orderly, crowded });
    }

    /// The first end of a process at `at` or later.
    pub fn cut_after(&self, at: Duration) -> Option<Cut> {
        self.inner().cuts.iter().find(|cut| cut.at >= at).cloned()
    }

    /// A letter that was written and not settled when a process was cut off is written again.
    pub fn may_repeat_letters(&self) -> bool {
        self.inner().cuts.iter().any(|cut| !cut.orderly)
    }

    /// What was answered before its sync and is not in the log, which ends at `tail`, is as if it had never been
    /// answered: where a sync lost its pages, and the process ended before they were to be written again (`most`: the
    /// interval of delayed syncs; what some drain `is_given` was synced). How many spans it may not have lost.
    pub fn forget_unsynced(&self, tail: u64, most: Option<Duration>, is_given: impl Fn(u64) -> bool) -> u64 {
        let mut inner = self.inner();
        let Some(cut) = inner.cuts.last().map(|cut| cut.at) else { return 0 };
        let (mut gone, mut wrong) = (Vec::new(), 0);
        for (number, made) in inner.spans.iter().enumerate() {
            let Some(acked) = made.acked.filter(|_| made.position >= tail) else { continue };
            let evicted = inner.evicted.is_some_and(|at| (acked..=cut).contains(&at));
            let late = most.is_some_and(|most| inner.synced_by(acked, most).is_none_or(|by| cut <= by));
            match evicted && late && !is_given(number as u64) {
                true => gone.push(number),
                false => wrong += 1,
            }
        }
        for number in &gone {
            (inner.spans[*number].acked, inner.spans[*number].position) = (None, 0);
        }
        let over = inner.positions.range(..).filter(|(_, end)| **end > tail).map(|(start, end)| (*start, *end));
        let over: Vec<_> = over.collect();
        let positions: u64 = over.iter().map(|(start, end)| end - (*start).max(tail)).sum();
        for (start, _) in &over {
            inner.positions.remove(start);
        }
        inner.positions.extend(over.iter().filter(|(start, _)| *start < tail).map(|(start, _)| (*start, tail)));
        inner.entries_acked -= positions - gone.len() as u64 - wrong;
        *inner.counts.entry("spans lost before their sync").or_default() += gone.len() as u64;
        wrong
    }
}
