//! The oracle: opens what a crash left, reads all of it, and holds it against the truth.
//!
//! Every answered span is there, whole and once, unless it was settled; nothing is there that was never sent; what was
//! said to be settled is not given again; no position holds another span than before; each ledger is what was done, to
//! the last item; the channel takes and gives again. An error names the promise that broke.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use spangate::channel::{Account, Channel, Intake, OpenError, Outcome, Settings, Start, Sync, Takes, Tap};
use spangate::metrics::Registry;
use tokio::time::Instant;

use super::book::{Book, Drain, Found, Row, SETTLED_WITHIN, Settled, TRIED_AGAIN_WITHIN, Truth, is_light};
use super::rot::Cost;
use super::world::{DIR, DRAINS, LETTERS, body, next, open, outlives, spans_of};
use super::{archive, going};
use crate::support::disk::{SimDisk, Trouble};

/// The clock goes in milliseconds.
pub const SYNC_SLACK: Duration = Duration::from_millis(2);
/// From one failure of the log to the next, of those in a row.
pub const BACKOFF: Range<Duration> = Duration::from_millis(100)..Duration::from_secs(10);

/// A crash.
pub struct Crash<'a> {
    pub settings: &'a Settings,
    pub registry: &'a Registry,
    pub book: &'a Book,
    pub truth: &'a Truth,
    /// What the disk refused before.
    pub trouble: Trouble,
    pub at: Instant,
    /// The power was lost; else the process was killed.
    pub power: bool,
    /// What a bit that flipped since has cost.
    pub cost: &'a Cost,
}

impl Crash<'_> {
    /// What the next process finds. Settles all of it and appends one message more.
    pub async fn check(&self, disk: &SimDisk) -> Result<Found, String> {
        let opened = open(disk, self.settings, self.registry);
        let (channel, opened) = match opened {
            Err(OpenError::Damaged { .. }) if self.cost.refused => return Ok(Found::default()),
            other => other.map_err(|error| format!("promise 1: the channel does not start: {error}"))?,
        };
        if opened.damaged_items > 0 && self.cost.lost.is_empty() {
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
            let archived = self.truth.drains[name].archived;
            if archived {
                archive::run(disk, &channel, self.registry, None).await?;
                self.stands(name, disk, &channel)?;
            }
            let mut tap = attach(&channel, name)?;
            let open = self.read(disk, &mut tap).await?;
            if !archived {
                self.holds(name, &tap, &channel, &open)?;
            }
            found.notes.insert(name, tap.note());
            found.lows.insert(name, account.low);
            found.open.insert(name, open);
            taps.push(tap);
        }
        self.forgot_nothing(&found)?;
        self.keeps_what_is_damaged(disk, &found)?;
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
    async fn read(&self, disk: &SimDisk, tap: &mut Tap) -> Result<BTreeMap<u64, u64>, String> {
        let mut open = BTreeMap::new();
        let ledger = tap.ledger();
        // Damage that is met is settled on the way.
        while (open.len() as u64) < ledger.waiting() {
            let Some(taken) = next(tap).await else {
                if ledger.waiting() <= open.len() as u64 {
                    break;
                }
                return Err(format!("promise 2: of {} that wait {} are given", ledger.waiting(), open.len()));
            };
            outlives(disk, &taken.head)?;
            let Some(body) = body(tap, &taken.head).await else {
                let first = taken.head.at.first;
                if !self.cost.lost.contains(&first) {
                    return Err(format!("promise 1: the body at {first} is damaged"));
                }
                let lost = taken.open.iter().map(|open| first + u64::from(open.start)..first + u64::from(open.end));
                ledger.settle_all(lost.map(|positions| (positions, Outcome::Damaged)));
                continue;
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

    /// Where there is no drain, nothing is settled but by those that are gone.
    async fn reads_without_drains(&self, disk: &SimDisk, channel: &Channel) -> Result<(), String> {
        let tap = channel.tap(DRAINS[0], Start::Oldest, Takes::Common);
        let mut tap = tap.map_err(|error| format!("promise 2: no drain can begin: {error}"))?;
        let open = self.read(disk, &mut tap).await?;
        let lost = self.truth.at.range(self.truth.passed..).find(|(position, span)| {
            let gone = self.cost.lost.contains(position) || self.may_be_lost(**position);
            self.truth.sent[span].is_none() && open.get(position) != Some(span) && !gone
        });
        drop(tap);
        channel.forget(DRAINS[0]).map_err(|error| format!("promise 2: it cannot be forgotten: {error}"))?;
        lost.map_or(Ok(()), |(position, _)| Err(format!("promise 1: {position} was answered, and no drain finds it")))
    }

    fn holds(&self, name: Drain, tap: &Tap, channel: &Channel, open: &BTreeMap<u64, u64>) -> Result<(), String> {
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
            if row.settled.get(position).is_some_and(|settled| self.must_last(name, *position, settled)) {
                let settled = &row.settled[position];
                return Err(format!("promise 2: {name} is given {position} again, {settled:?}"));
            }
        }
        self.has_all(name, row, open, channel.snapshot().tail)?;
        let account = channel.snapshot().accounts.into_iter().find(|account| account.drain == name).unwrap();
        self.counts(name, row, &account, open)?;
        match row.notes.contains(&tap.note()) {
            true => Ok(()),
            false => Err(format!("promise 3: the note of {name} is {:?}, not one of {:?}", tap.note(), row.notes)),
        }
    }

    /// Whether a settled position may not come again. What was filtered is filtered again.
    fn must_last(&self, name: Drain, position: u64, settled: &Settled) -> bool {
        let back = self.cost.back.as_ref().filter(|back| back.drain == name);
        let saved = || settled.durable || settled.at.is_some_and(|at| self.at > self.saved_by(at));
        !is_light(settled.outcome) && back.map_or_else(saved, |back| back.has_settled(position))
    }

    /// Until when what was settled is to be in a slot. Where that failed it is tried again each second.
    fn saved_by(&self, settled: Instant) -> Instant {
        let early = |by: Instant, hit: &Instant| if *hit <= by { by.max(*hit + TRIED_AGAIN_WITHIN) } else { by };
        self.trouble.hits.iter().fold(settled + SETTLED_WITHIN, early)
    }

    fn has_all(&self, name: Drain, row: &Row, open: &BTreeMap<u64, u64>, tail: u64) -> Result<(), String> {
        let Some(start) = row.start else { return Ok(()) };
        for (position, span) in self.truth.at.range(start..) {
            let here = !row.is_for(name, self.truth.sent[span]) || open.contains_key(position);
            let gone = *position >= tail && self.may_be_lost(*position);
            let lost = self.cost.lost.contains(position);
            if !here && !gone && !lost && !row.settled.contains_key(position) {
                return Err(format!(
                    "promise 1: {name} is not given {position}, which was answered yes or given (tail {tail})"
                ));
            }
        }
        Ok(())
    }

    /// With a delayed sync a lost machine loses what was not synced yet. A killed process loses nothing, but for pages
    /// that a failed sync took out of the cache.
    fn may_be_lost(&self, position: u64) -> bool {
        let (Sync::Every(most), Some(answered)) = (self.settings.sync, self.truth.answered.get(&position)) else {
            return false;
        };
        let evicted = self.trouble.evicted.is_some_and(|at| at >= answered.start);
        let down = self.truth.down_since.unwrap_or(self.at);
        (self.power || evicted)
            && !self.truth.given.contains(&position)
            && self.synced_by(answered.end, most).is_none_or(|by| down <= by)
    }

    /// Until when what was answered is to be synced: after the interval, and after each back-off in which the log could
    /// not be. `None`: until a restart it is not.
    fn synced_by(&self, answered: Instant, most: Duration) -> Option<Instant> {
        let (mut by, mut backoff) = (answered + most + SYNC_SLACK, BACKOFF.start);
        for hit in &self.trouble.hits {
            if (answered..=by).contains(hit) {
                if self.truth.closed {
                    return None;
                }
                by = by.max(*hit + backoff + SYNC_SLACK);
            }
            backoff = (backoff * 2).min(BACKOFF.end);
        }
        Some(by)
    }

    /// The ledger is what was done and stands.
    fn counts(&self, name: Drain, row: &Row, account: &Account, open: &BTreeMap<u64, u64>) -> Result<(), String> {
        let mut done: BTreeMap<Outcome, u64> = account.outcomes.keys().map(|outcome| (*outcome, 0)).collect();
        for (_, settled) in row.settled.iter().filter(|(position, _)| !open.contains_key(position)) {
            *done.entry(settled.outcome).or_default() += 1;
        }
        let start = row.start.unwrap_or(account.low);
        let lost = self.cost.lost.iter().filter(|position| {
            let span = self.truth.at.get(position);
            // Where a crash left an older copy before a lost segment, it is found.
            **position >= start
                && !open.contains_key(position)
                && !row.settled.contains_key(position)
                && span.is_some_and(|span| row.is_for(name, self.truth.sent[span]))
        });
        *done.entry(Outcome::Damaged).or_default() += lost.count() as u64;
        match self.is_counted_so(row, &done, account) {
            true => Ok(()),
            false => {
                // Damage that nothing did is what the log no longer has.
                let gone = account.outcomes[&Outcome::Damaged] > done[&Outcome::Damaged];
                let promise = if gone { "promise 2: spans left the channel unsettled:" } else { "promise 4:" };
                Err(format!("{promise} the ledger of {name} is {:?}, done was {done:?}", account.outcomes))
            }
        }
    }

    /// The ledger is what was done; but what was filtered is read again, and may be lost instead. And of what was never
    /// answered a lost frame may hold some, too.
    fn is_counted_so(&self, row: &Row, done: &BTreeMap<Outcome, u64>, account: &Account) -> bool {
        let lost = |outcome| {
            let lost = self.cost.lost.iter().filter_map(|position| row.settled.get(position));
            lost.filter(|settled| settled.outcome == outcome).count() as u64
        };
        let unanswered = self.cost.lost.iter().filter(|position| !self.truth.at.contains_key(position)).count() as u64;
        let mut more = 0;
        for (outcome, done) in done.iter().filter(|(outcome, _)| **outcome != Outcome::Damaged) {
            let light = if is_light(*outcome) { lost(*outcome) } else { 0 };
            match done.checked_sub(account.outcomes[outcome]) {
                Some(missing) if missing <= light => more += missing,
                _ => return false,
            }
        }
        let damaged = done[&Outcome::Damaged] + more;
        (damaged..=damaged + unanswered).contains(&account.outcomes[&Outcome::Damaged])
    }

    /// Where no drain reads it, the log has it all the same.
    fn forgot_nothing(&self, found: &Found) -> Result<(), String> {
        let lost = self.truth.at.range(found.tail..).find(|(position, _)| !self.may_be_lost(**position));
        let Some((position, _)) = lost else { return Ok(()) };
        let is_settled = self.truth.drains.values().any(|row| row.settled.contains_key(position));
        let promise = if is_settled { "promise 3: it will be used again:" } else { "promise 1:" };
        Err(format!("{promise} position {position} was answered yes, and the log ends at {}", found.tail))
    }

    /// Each answered span stands in one object, once; what stands there is what is settled.
    fn stands(&self, name: Drain, disk: &SimDisk, channel: &Channel) -> Result<(), String> {
        let objects = archive::spans(disk)?;
        let row = &self.truth.drains[name];
        let sent = |span: &u64| self.truth.sent.contains_key(span);
        if let Some((span, copies)) = objects.iter().find(|(span, copies)| **copies > 1 || !sent(span)) {
            return Err(format!("promise 3: span {span} stands in the archive {copies} times"));
        }
        let wanted = self.truth.at.range(row.start.unwrap_or(u64::MAX)..);
        let lost = wanted.into_iter().find(|(position, span)| {
            let gone = self.may_be_lost(**position) || self.cost.lost.contains(position);
            row.is_for(name, self.truth.sent[span]) && !objects.contains_key(span) && !gone
        });
        if let Some((position, span)) = lost {
            return Err(format!("promise 3: span {span} at {position} stands in no object"));
        }
        let account = channel.snapshot().accounts.into_iter().find(|account| account.drain == name).unwrap();
        let known = |position: &&u64| self.truth.at.get(position);
        let (known, unanswered): (Vec<_>, Vec<_>) =
            self.cost.lost.iter().partition(|position| known(position).is_some());
        let ours = |position: &&&u64| {
            let span = &self.truth.at[**position];
            row.start <= Some(***position) && row.is_for(name, self.truth.sent[span]) && !objects.contains_key(span)
        };
        let damaged = known.iter().filter(ours).count() as u64;
        let counted = (damaged..=damaged + unanswered.len() as u64).contains(&account.outcomes[&Outcome::Damaged]);
        match counted && account.outcomes[&Outcome::Delivered] == objects.len() as u64 && account.waiting == 0 {
            true => Ok(()),
            false => Err(format!("promise 4: {} spans stand in objects, the ledger is {account:?}", objects.len())),
        }
    }

    /// Damage is reported: its bytes are kept aside.
    fn keeps_what_is_damaged(&self, disk: &SimDisk, found: &Found) -> Result<(), String> {
        let is_met = |row: &Row| {
            let open = |lost: &&u64| row.start.is_some_and(|start| start <= **lost) && !row.settled.contains_key(lost);
            // What an archive settled is not in the book.
            row.takes == Takes::Common
                && !row.archived
                && self.cost.lost.iter().any(|lost| {
                    let span = self.truth.at.get(lost);
                    open(&lost) && span.is_some_and(|span| self.truth.sent[span].is_none())
                })
        };
        let met = self.truth.drains.iter().any(|(name, row)| found.open.contains_key(name) && is_met(row));
        match met && !disk.names().iter().any(|path| path.starts_with(format!("{DIR}/damaged"))) {
            true => Err(format!("promise 4: {:?} are damaged, and nothing is kept of them", self.cost.lost)),
            false => Ok(()),
        }
    }

    async fn goes_on(&self, channel: &Channel, taps: &mut [Tap], found: &Found) -> Result<(), String> {
        for tap in &*taps {
            let open = found.open[tap.drain()].keys();
            tap.ledger().settle_all(open.map(|position| (*position..position + 1, Outcome::Delivered)));
        }
        // One that reads nothing holds the log, though nothing of it is for it.
        for tap in taps.iter_mut().filter(|tap| tap.drain() == DRAINS[LETTERS]) {
            if let Some(taken) = next(tap).await {
                return Err(format!("promise 2: {} is given {:?}, all is settled", tap.drain(), taken.head.at));
            }
        }
        let positions = match going::say(channel).await {
            Ok(Ok(positions)) => positions,
            // Nobody makes room.
            Err(_) if taps.is_empty() && channel.snapshot().intake == Intake::Full => return Ok(()),
            other => return Err(format!("promise 6: the channel takes nothing: {other:?}, {:?}", channel.snapshot())),
        };
        if positions.start < found.tail {
            return Err(format!("promise 3: position {} is used twice", positions.start));
        }
        for tap in taps.iter_mut().filter(|tap| tap.drain() != DRAINS[LETTERS]) {
            going::gives(tap, &positions).await?;
        }
        Ok(())
    }
}

fn attach(channel: &Channel, name: Drain) -> Result<Tap, String> {
    let takes = if name == DRAINS[LETTERS] { Takes::Addressed } else { Takes::Common };
    channel.tap(name, Start::End, takes).map_err(|error| format!("promise 2: {name} cannot be attached: {error}"))
}
