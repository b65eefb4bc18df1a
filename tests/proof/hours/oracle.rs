//! What has to hold of an hour, by the promises of DURABILITY.md: while it goes on, across its crashes, at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use spangate::archive::format::Format;
use spangate::channel::{Account, Outcome, Snapshot, Sync};
use spangate::deadletter;

use super::collectors::Group;
use super::life::{LETTERS, OBJECTS};
use super::rest::{Sums, Whose};
use super::script::{Feed, GUEST};
use super::world::{World, number_of};
use super::{Hour, Outside};
use crate::support::disk::SimDisk;

/// A group of which one collector has been well for so long takes something, if anything waits that was there as long.
const FLOWS: Duration = Duration::from_secs(90);
/// That a slot has room for (DURABILITY.md). What is settled in order of positions never makes as many.
const RANGES: u64 = 256;
/// Counted at the end of each process.
pub const GAVE_WAY: &str = "letters that gave way on a full disk";
/// What a collector took is delivered; what is neither is not counted as it.
const DONE: [Outcome; 4] = [Outcome::Delivered, Outcome::DeadLettered, Outcome::Expired, Outcome::Skipped];

pub fn of(account: &Account, outcome: Outcome) -> u64 {
    account.outcomes.get(&outcome).copied().unwrap_or_default()
}

fn account<'a>(accounts: &'a [Account], drain: &str) -> &'a Account {
    accounts.iter().find(|account| account.drain == drain).expect("the drain has an account")
}

/// Promise 4, and that nothing is counted as delivered that was not.
pub fn look(hour: &Hour, outside: &Outside, snapshot: &Snapshot, before: Option<&Snapshot>) {
    let world = &outside.world;
    world.count("looks at the ledger", 1);
    for account in &snapshot.accounts {
        let settled: u64 = account.outcomes.values().sum();
        world.holds(account.accepted == settled + account.waiting, || format!("promise 4: {account:?}"));
    }
    for (number, group) in outside.groups.iter().enumerate() {
        let Some(now) = find(&snapshot.accounts, group.drain) else {
            world.holds(group.drain == GUEST, || format!("promise 4: {} has no account", group.drain));
            continue;
        };
        let taken = group.count();
        world.holds(of(now, Outcome::Delivered) <= taken, || format!("promise 2: {taken} were taken, {now:?}"));
        flows(hour, outside, number);
    }
    for old in before.iter().flat_map(|before| &before.accounts) {
        let Some(new) = find(&snapshot.accounts, &old.drain) else { continue };
        let back = Outcome::Delivered..=Outcome::Damaged;
        let less = old.outcomes.iter().any(|(outcome, count)| back.contains(outcome) && of(new, *outcome) < *count);
        world.holds(!less && new.accepted >= old.accepted, || format!("promise 4: {old:?} became {new:?}"));
    }
}

/// Promise 5: while one of its collectors is well, a group's spans flow.
fn flows(hour: &Hour, outside: &Outside, number: usize) {
    let (world, now) = (&outside.world, outside.world.now());
    let (group, feed) = (&outside.groups[number], &hour.script.feeds[number]);
    let addresses = hour.script.addresses(number, now);
    let sinks = outside.collectors[number].iter().filter(|sink| addresses >> sink.number & 1 == 1);
    let since = sinks.filter_map(|sink| sink.well_since(now)).min();
    let begun = world.life_began().max(hour.script.changed_last(number, now));
    let Some(since) = since.map(|since| since.max(begun)).filter(|since| *since + FLOWS < now) else { return };
    let long = now - FLOWS;
    if group.last() >= long || group.drain == GUEST {
        return;
    }
    let (bad, mut stuck) = (world.bad(), None);
    world.each_span(|number, made| {
        let waits = made.acked.is_some_and(|at| at < long) && !bad.is_bad(number) && feed.taste.takes(made);
        // It may be a letter, rightly.
        let waits = waits && !world.rot.has(number) && !group.is_suspect(number);
        if waits && stuck.is_none() && !group.has(number) && !feed.gives_up() {
            stuck = Some(number);
        }
    });
    if let Some(number) = stuck {
        world.broke(format!("promise 5: {} stands still since {since:?} at span {number}", group.drain));
    }
}

/// Promises 1 and 2: all that was acknowledged is there; the ledger is behind by no more than promised.
pub fn restarted(hour: &Hour, outside: &Outside, snapshot: &Snapshot, left: &Left) {
    let (world, Left { promised, last, crowded }) = (&outside.world, left);
    let delay = if let Sync::Every(most) = hour.script.sync { Some(most) } else { None };
    let is_given = |span| outside.groups.iter().any(|group| group.has(span));
    let gone = world.forget_unsynced(snapshot.tail, delay, is_given);
    world.holds(gone == 0, || format!("promise 1: {gone} spans were acknowledged, the log ends at {}", snapshot.tail));
    let (made, entries) = (world.made(), world.entries());
    let mut acked = 0;
    world.each_span(|_, made| acked += u64::from(made.acked.is_some()));
    for account in &snapshot.accounts {
        let name = account.drain.as_str();
        let (least, most) = match name {
            "dead-letters" => (entries.1, entries.0),
            // It began later.
            GUEST => (0, made),
            _ => (acked, made),
        };
        let accepted = account.accepted;
        let there = (least..=most).contains(&accepted);
        world.holds(there, || format!("promise 1: {name} has {accepted}, {least} were acknowledged of {most}"));
        let settled: u64 = account.outcomes.values().sum();
        world.holds(accepted == settled + account.waiting, || format!("promise 4: after a crash: {account:?}"));
        let (old, promised) = (find(last, name), find(promised, name));
        for outcome in DONE {
            let now = of(account, outcome);
            let most = old.map_or(0, |old| of(old, outcome));
            world.holds(now <= most, || format!("promise 2: {name}: {now} {outcome:?}, {most} before the crash"));
            let least = promised.map_or(0, |promised| of(promised, outcome));
            let is_crowded = outside.groups.iter().any(|group| group.drain == name && group.is_crowded(crowded));
            world.holds(now >= least || is_crowded, || {
                format!("promise 2: {name}: {now} {outcome:?}, {least} were to be saved before the crash")
            });
        }
    }
    world.count("restarts", 1);
}

pub fn find<'a>(accounts: &'a [Account], drain: &str) -> Option<&'a Account> {
    accounts.iter().find(|account| account.drain == drain)
}

/// What a process promised that ends, and what it had done.
pub struct Left {
    /// The accounts as they have to be saved, at least.
    pub promised: Vec<Account>,
    pub last: Vec<Account>,
    /// Drains whose slots may have had no room for all that was settled.
    pub crowded: BTreeSet<String>,
}

impl Left {
    /// `seen`: accounts of the process that ends now, and when they were so.
    pub fn of(world: &World, seen: &[(Duration, Vec<Account>)], last: Vec<Account>, orderly: bool) -> Left {
        let now = world.now();
        let promised = seen.iter().rev().find(|(at, _)| world.must_last(*at, now, orderly));
        let promised = promised.map(|(_, accounts)| accounts.clone()).unwrap_or_default();
        // No two ranges meet: between them stands what waits, as it did at any time since.
        let is_crowded = |now: &&Account| {
            let before = find(&promised, &now.drain);
            before.is_none_or(|before| before.waiting + now.accepted - before.accepted >= RANGES)
        };
        let crowded = last.iter().filter(is_crowded).map(|account| account.drain.clone()).collect();
        Left { promised, last, crowded }
    }
}

/// When faults have stopped, nothing waits at the end.
pub fn emptied(outside: &Outside, snapshot: &Snapshot) {
    for account in &snapshot.accounts {
        let what = || format!("{} still has {} waiting at the end: {account:?}", account.drain, account.waiting);
        outside.world.holds(account.waiting == 0, what);
    }
}

/// What became of every span, when the last process has stopped.
pub fn ended(hour: &Hour, outside: &Outside, disk: &SimDisk, accounts: &[Account]) {
    // A read that is to fail may not have come.
    disk.mend();
    let letters = letters(outside, disk);
    for (group, feed) in outside.groups.iter().zip(&hour.script.feeds) {
        delivered(outside, group, feed, accounts, &letters);
    }
    archived(hour, outside, disk, account(accounts, "archive"));
    let (made, acked) = outside.world.entries();
    let there = letters.get("dead-letters").map_or(0, |letters| letters.len() as u64);
    let damaged = of(account(accounts, "dead-letters"), Outcome::Damaged);
    // The oldest go where the disk is nearly full: of a class that has another file, as it has after a write failed.
    let gave_way = outside.world.counted(GAVE_WAY);
    let whole = there <= made && acked <= there + damaged + gave_way && damaged <= outside.world.rot.entries();
    outside.world.holds(whole, || {
        format!("promise 4: {there} entries are letters, {damaged} damaged, {acked} were acknowledged of {made}")
    });
}

/// By drain and position, what letters hold. A letter is there twice only where a crash made it so.
fn letters(outside: &Outside, disk: &SimDisk) -> BTreeMap<String, BTreeMap<u64, Option<u64>>> {
    let world = &outside.world;
    let mut letters: BTreeMap<String, BTreeMap<u64, Option<u64>>> = BTreeMap::new();
    let every = deadletter::Filter::default();
    let read = deadletter::read(disk, Path::new(LETTERS), &every, |letter| {
        let number = number_of(&letter.bytes);
        world.count("dead letters", 1);
        if letter.drain != "dead-letters" {
            let known = number.is_some_and(|number| world.knows(number, &letter.bytes));
            world.holds(known, || format!("a letter holds what was never made: {letter:?}"));
        }
        let what = format!("promise 4: two letters of {} have position {}", letter.drain, letter.position);
        if let Some(before) = letters.entry(letter.drain).or_default().insert(letter.position, number) {
            world.holds(before == number, || format!("{what} and are not the same"));
            world.holds(world.may_repeat_letters(), || what);
        }
    });
    if let Err(error) = read {
        world.broke(format!("the dead letters cannot be read: {error}"));
    }
    letters
}

fn delivered(
    outside: &Outside,
    group: &Group,
    feed: &Feed,
    accounts: &[Account],
    letters: &BTreeMap<String, BTreeMap<u64, Option<u64>>>,
) {
    let (world, name) = (&outside.world, group.drain);
    let whose = Whose::new(outside, feed);
    let Some(account) = find(accounts, name).or(whose.last_account()) else {
        world.holds(group.count() == 0, || format!("{name} took spans and never began"));
        return;
    };
    let dead: BTreeSet<u64> =
        letters.get(name).into_iter().flat_map(|letters| letters.values().flatten()).copied().collect();
    let (unsound, mut sums) = (world.bad(), Sums::default());
    world.each_span(|number, made| {
        let (taken, bad, letter) = (group.has(number), unsound.is_bad(number), dead.contains(&number));
        let wanted = whose.takes(made);
        sums.add(number, made, wanted, taken, letter, world.rot.has(number));
        if taken && wanted == Some(false) {
            world.broke_later(format!("{name} was sent span {number}, which is not for it"));
        }
        if letter && !bad && !group.is_suspect(number) {
            world.broke_later(format!("promise 5: span {number} of {name} is a letter, and is sound"));
        }
    });
    world.tell_broken();
    // The oldest letters go where the disk is nearly full and intake would stop (README, limits).
    sums.judge(world, account, feed.gives_up(), world.counted(GAVE_WAY));
    world.count("spans given up", of(account, Outcome::Expired) + of(account, Outcome::Skipped));
    world.count("spans delivered", group.count());
}

/// Promise 3: each acknowledged span is in one object, once.
fn archived(hour: &Hour, outside: &Outside, disk: &SimDisk, account: &Account) {
    let world = &outside.world;
    let objects = outside.bucket.as_ref().map_or_else(|| files(disk), |bucket| bucket.objects());
    let mut copies: BTreeMap<u64, u32> = BTreeMap::new();
    for (name, bytes) in objects {
        world.count("objects", 1);
        for id in ids(&name, bytes) {
            *copies.entry(id.wrapping_sub(1)).or_default() += 1;
        }
    }
    let taste = hour.script.objects.taste;
    let (made, mut sums) = (world.made(), Sums::default());
    world.holds(copies.keys().all(|number| *number < made), || "the archive holds what was never made".into());
    world.each_span(|number, made| {
        let (copies, wanted) = (copies.get(&number).copied().unwrap_or_default(), taste.takes(made));
        let damaged = world.rot.has(number);
        sums.add(number, made, Some(wanted), copies > 0, false, damaged);
        if copies > u32::from(wanted) || (copies == 0 && wanted && made.acked.is_some() && !damaged) {
            world.broke_later(format!("promise 3: span {number} is in the archive {copies} times"));
        }
    });
    world.tell_broken();
    sums.judge(world, account, false, 0);
    world.count("spans archived", copies.values().map(|copies| u64::from(*copies)).sum());
}

fn files(disk: &SimDisk) -> Vec<(String, Bytes)> {
    let objects = |path: &PathBuf| path.starts_with(OBJECTS) && !path.starts_with(Path::new(OBJECTS).join("_spangate"));
    let paths = disk.names().into_iter().filter(objects);
    paths.map(|path| (path.to_string_lossy().into_owned(), disk.read(&path).into())).collect()
}

/// The span ids in an object.
fn ids(name: &str, bytes: Bytes) -> Vec<u64> {
    match Format::of_name(name).expect("an object's name") {
        Format::Parquet1 => {
            let file = SerializedFileReader::new(bytes).expect("the object is whole");
            let rows = file.get_row_iter(None).expect("it has rows");
            rows.map(|row| hex(row.expect("a row").get_string(2).expect("an id"))).collect()
        }
        _ => {
            let mut text = String::new();
            flate2::read::MultiGzDecoder::new(&*bytes).read_to_string(&mut text).expect("the object is whole");
            text.lines().map(|line| hex(&line.split_once("\"id\":\"").expect("an id").1[..16])).collect()
        }
    }
}

fn hex(id: &str) -> u64 {
    u64::from_str_radix(id, 16).expect("an id is hexadecimal")
}
