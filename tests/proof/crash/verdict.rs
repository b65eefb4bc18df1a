//! The oracle: opens what a crash left, reads all of it, and holds it against the truth.
//!
//! Every answered span is there, whole and once, unless it was settled; nothing is there that was never sent; what was
//! said to be settled is not given again; no position holds another span than before; each ledger is what was done, to
//! the last item; the channel takes and gives again. An error names the promise that broke.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use spangate::channel::{Account, Channel, Intake, Outcome, Settings, Start, Sync, Takes, Tap};
use spangate::metrics::Registry;
use tokio::time::{Instant, timeout};

use super::book::{Book, Drain, Found, Row, SETTLED_WITHIN, Settled, Truth};
use super::world::{DRAINS, LETTERS, body, draft, next, open, outlives, spans_of};
use crate::support::disk::SimDisk;

/// No span of a workload has this number.
const AGAIN: u64 = 1 << 40;
/// Room, a segment that is left, a disk that is looked at again.
const TAKES_WITHIN: Duration = Duration::from_secs(5);

/// A crash.
pub struct Crash<'a> {
    pub settings: &'a Settings,
    pub registry: &'a Registry,
    pub book: &'a Book,
    pub truth: &'a Truth,
    pub at: Instant,
    /// The power was lost; else the process was killed.
    pub power: bool,
}

impl Crash<'_> {
    /// What the next process finds. Settles all of it and appends one message more.
    pub async fn check(&self, disk: &SimDisk) -> Result<Found, String> {
        let opened = open(disk, self.settings, self.registry);
        let (channel, opened) = opened.map_err(|error| format!("promise 1: the channel does not start: {error}"))?;
        if opened.damaged_items > 0 {
            return Err(format!("promise 4: {} items are called damaged", opened.damaged_items));
        }
        self.knows_its_drains(&channel)?;
        let mut found = Found { tail: channel.snapshot().tail, ..Found::default() };
        let mut taps = Vec::new();
        if self.truth.drains.is_empty() {
            self.reads_without_drains(disk, &channel).await?;
        }
        for account in channel.snapshot().accounts {
            let name = *DRAINS.iter().find(|name| **name == account.drain).expect("a drain of ours");
            let mut tap = attach(&channel, name)?;
            let open = self.read(disk, &mut tap, &account).await?;
            self.holds(name, &tap, &account, &open, found.tail)?;
            found.notes.insert(name, tap.note());
            found.lows.insert(name, account.low);
            found.open.insert(name, open);
            taps.push(tap);
        }
        self.forgot_nothing(&found)?;
        self.goes_on(&channel, &mut taps, &found).await?;
        Ok(found)
    }

    fn knows_its_drains(&self, channel: &Channel) -> Result<(), String> {
        let accounts = channel.snapshot().accounts;
        let known = |name: &str| accounts.iter().any(|account| account.drain == name);
        let lost = self.truth.drains.iter().find(|(name, row)| row.start.is_some() && !row.forgetting && !known(name));
        if let Some((name, _)) = lost {
            return Err(format!("promise 2: the drain {name} was begun and is gone"));
        }
        match accounts.iter().find(|account| !self.truth.drains.contains_key(&*account.drain)) {
            Some(account) => Err(format!("promise 2: the drain {} was forgotten and is back", account.drain)),
            None => Ok(()),
        }
    }

    /// What is open, by position.
    async fn read(&self, disk: &SimDisk, tap: &mut Tap, account: &Account) -> Result<BTreeMap<u64, u64>, String> {
        let mut open = BTreeMap::new();
        while (open.len() as u64) < account.waiting {
            let Some(taken) = next(tap).await else {
                let given = open.len();
                return Err(format!("promise 4: {given} of {} that wait are given: {account:?}", account.waiting));
            };
            outlives(disk, &taken.head)?;
            let Some(body) = body(tap, &taken.head).await else {
                return Err(format!("promise 1: the body at {} is damaged", taken.head.at.first));
            };
            let spans = spans_of(self.book, &taken.head, &body)?;
            for at in taken.open.into_iter().flatten() {
                let position = taken.head.at.first + u64::from(at);
                if open.insert(position, spans[at as usize]).is_some() {
                    return Err(format!("promise 1: position {position} is given twice"));
                }
            }
        }
        Ok(open)
    }

    /// Where there was no drain yet, nothing was settled.
    async fn reads_without_drains(&self, disk: &SimDisk, channel: &Channel) -> Result<(), String> {
        let tap = channel.tap(DRAINS[0], Start::Oldest, Takes::Common);
        let mut tap = tap.map_err(|error| format!("promise 2: no drain can begin: {error}"))?;
        let account = channel.snapshot().accounts.pop().expect("it was just begun");
        let open = self.read(disk, &mut tap, &account).await?;
        let lost = self.truth.at.iter().find(|(position, span)| {
            self.truth.sent[span].is_none() && open.get(position) != Some(span) && !self.may_be_lost(**position)
        });
        drop(tap);
        channel.forget(DRAINS[0]).map_err(|error| format!("promise 2: it cannot be forgotten: {error}"))?;
        lost.map_or(Ok(()), |(position, _)| Err(format!("promise 1: {position} was answered, and no drain finds it")))
    }

    fn holds(
        &self,
        name: Drain,
        tap: &Tap,
        account: &Account,
        open: &BTreeMap<u64, u64>,
        tail: u64,
    ) -> Result<(), String> {
        let row = &self.truth.drains[name];
        let mut seen = BTreeSet::new();
        for (position, span) in open {
            if self.truth.at.get(position).is_some_and(|known| known != span) {
                return Err(format!("promise 3: position {position} is used for another span"));
            }
            if !row.is_for(name, *self.truth.sent.get(span).ok_or(format!("promise 1: span {span} was not sent"))?) {
                return Err(format!("promise 4: {name} is given the span {span} of another drain"));
            }
            if !seen.insert(span) {
                return Err(format!("promise 1: span {span} is there twice"));
            }
            if row.settled.get(position).is_some_and(|settled| self.must_last(settled)) {
                let settled = &row.settled[position];
                return Err(format!("promise 2: {name} is given {position} again, {settled:?}"));
            }
        }
        self.has_all(name, row, open, tail)?;
        self.counts(name, row, account, open)?;
        match row.notes.contains(&tap.note()) {
            true => Ok(()),
            false => Err(format!("promise 3: the note of {name} is {:?}, not one of {:?}", tap.note(), row.notes)),
        }
    }

    /// Whether a settled position may not come again. What was filtered is filtered again.
    fn must_last(&self, settled: &Settled) -> bool {
        let light = matches!(settled.outcome, Outcome::Filtered | Outcome::SampledOut);
        let late = settled.at.is_some_and(|at| self.at.duration_since(at) > SETTLED_WITHIN);
        !light && (settled.durable || (late && !self.truth.failed))
    }

    fn has_all(&self, name: Drain, row: &Row, open: &BTreeMap<u64, u64>, tail: u64) -> Result<(), String> {
        let Some(start) = row.start else { return Ok(()) };
        for (position, span) in self.truth.at.range(start..) {
            let here = !row.is_for(name, self.truth.sent[span]) || open.contains_key(position);
            let gone = *position >= tail && self.may_be_lost(*position);
            if !here && !gone && !row.settled.contains_key(position) {
                return Err(format!(
                    "promise 1: {name} is not given {position}, which was answered yes or given (tail {tail})"
                ));
            }
        }
        Ok(())
    }

    /// With a delayed sync a lost machine loses so much.
    fn may_be_lost(&self, position: u64) -> bool {
        let Sync::Every(most) = self.settings.sync else { return false };
        let late = |answered: &Instant| self.at.duration_since(*answered) <= most + Duration::from_millis(2);
        (self.power || self.truth.failed)
            && !self.truth.given.contains(&position)
            && (self.truth.failed || self.truth.answered.get(&position).is_some_and(late))
    }

    /// The ledger is what was done and stands.
    fn counts(&self, name: Drain, row: &Row, account: &Account, open: &BTreeMap<u64, u64>) -> Result<(), String> {
        let mut done: BTreeMap<Outcome, u64> = account.outcomes.keys().map(|outcome| (*outcome, 0)).collect();
        for (_, settled) in row.settled.iter().filter(|(position, _)| !open.contains_key(position)) {
            *done.entry(settled.outcome).or_default() += 1;
        }
        match done == account.outcomes {
            true => Ok(()),
            false => Err(format!("promise 4: the ledger of {name} is {:?}, done was {done:?}", account.outcomes)),
        }
    }

    /// Where no drain reads it, the log has it all the same.
    fn forgot_nothing(&self, found: &Found) -> Result<(), String> {
        let lost = self.truth.at.range(found.tail..).find(|(position, _)| !self.may_be_lost(**position));
        match lost {
            Some((position, _)) => {
                Err(format!("promise 1: {position} was answered, and the log ends at {}", found.tail))
            }
            None => Ok(()),
        }
    }

    async fn goes_on(&self, channel: &Channel, taps: &mut [Tap], found: &Found) -> Result<(), String> {
        for tap in &*taps {
            let open = found.open[tap.drain()].keys();
            tap.ledger().settle_all(open.map(|position| (*position..position + 1, Outcome::Delivered)));
        }
        if taps.is_empty() && channel.snapshot().intake == Intake::Full {
            // Nobody makes room.
            return Ok(());
        }
        let (draft, _) = draft(AGAIN..AGAIN + 1, 10, None);
        let answer = timeout(TAKES_WITHIN, channel.append(vec![draft]).wait()).await;
        let positions = match answer {
            Ok(Ok(positions)) => positions,
            other => return Err(format!("promise 6: the channel takes nothing: {other:?}, {:?}", channel.snapshot())),
        };
        if positions.start < found.tail {
            return Err(format!("promise 3: position {} is used twice", positions.start));
        }
        for tap in taps.iter_mut().filter(|tap| tap.drain() != DRAINS[LETTERS]) {
            let given = timeout(TAKES_WITHIN, tap.next()).await;
            let given =
                given.map(|taken| taken.map(|taken| taken.map(|taken| (taken.head.at.first, taken.head.items[0].key))));
            if !matches!(given, Ok(Ok(Some(given))) if given == (positions.start, AGAIN)) {
                return Err(format!("promise 2: {} is given {given:?} next, not {positions:?}", tap.drain()));
            }
            let ledger = tap.ledger();
            let committed = timeout(TAKES_WITHIN, ledger.commit(positions.clone(), Outcome::Delivered, Bytes::new()));
            if !matches!(committed.await, Ok(Ok(()))) || tap.ledger().waiting() > 0 {
                return Err(format!("promise 4: {} cannot settle what is left", tap.drain()));
            }
        }
        Ok(())
    }
}

fn attach(channel: &Channel, name: Drain) -> Result<Tap, String> {
    let takes = if name == DRAINS[LETTERS] { Takes::Addressed } else { Takes::Common };
    channel.tap(name, Start::End, takes).map_err(|error| format!("promise 2: {name} cannot be attached: {error}"))
}
