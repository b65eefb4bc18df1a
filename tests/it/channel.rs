//! The durable channel through its public face: workloads, crashes, damage, full disks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use spangate::channel::{
    Account, Channel, Draft, Found, Head, Item, Kind, NO_LABEL, OpenError, Origin, Outcome, Settings, Start, Sync,
    Takes, Tap,
};
use spangate::clock::Clock;
use spangate::disk::{self, Disk};
use spangate::metrics::{Registry, TABLE};

use crate::support::disk::{Fault, Power, SimDisk};

fn settings(dir: &std::path::Path) -> Settings {
    Settings {
        dir: dir.join("channel"),
        capacity_bytes: 1 << 20,
        capacity_spans: None,
        sync: Sync::Always,
        free_min_bytes: Some(0),
        cache_bytes: 64 * 1024,
    }
}

fn open(settings: &Settings, disk: &Arc<dyn Disk>) -> Result<(Channel, Found), OpenError> {
    Channel::open(settings.clone(), disk.clone(), Clock::manual(1_000_000), &Registry::new(TABLE))
}

/// A draft of the given spans' bytes, which are their own names in these tests.
fn draft(addressee: Option<&str>, spans: &[&str]) -> Draft {
    let items = spans.iter().map(|s| Item { key: 7, len: s.len() as u32, label: NO_LABEL, flags: 0 }).collect();
    Draft {
        kind: Kind::Spans,
        addressee: addressee.map(str::to_owned),
        received_us: 1_000_000,
        origin: Arc::new(Origin(vec![("listener".into(), "test".into())])),
        labels: Vec::new(),
        items,
        body: Bytes::from(spans.concat()),
    }
}

fn account(channel: &Channel, drain: &str) -> Account {
    let account = channel.snapshot().accounts.into_iter().find(|a| a.drain == drain).unwrap();
    assert_eq!(account.accepted, account.outcomes.values().sum::<u64>() + account.waiting);
    account
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_appended_is_given_settled_and_gone_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, disk) = (settings(dir.path()), disk::real());
    let (channel, _) = open(&settings, &disk).unwrap();
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    assert_eq!(channel.append(vec![draft(None, &["one", "two"])]).wait().await, Ok(0..2));
    assert_eq!(channel.append(vec![draft(Some("dead-letters"), &["bad"])]).wait().await, Ok(2..3));
    assert_eq!(channel.append(vec![draft(None, &["three"])]).wait().await, Ok(3..4));
    let taken = tap.next().await.unwrap().unwrap();
    assert_eq!(tap.body(&taken.head).await.unwrap(), "onetwo");
    tap.ledger().settle(0..1, Outcome::Delivered);
    let three = tap.next().await.unwrap().unwrap();
    assert_eq!(three.head.at.first, 3);
    tap.ledger().commit(3..4, Outcome::Filtered, Bytes::from("note")).await.unwrap();
    assert_eq!(account(&channel, "zipkin").waiting, 1);
    channel.stop();
    assert!(tap.next().await.unwrap().is_none());
    drop((tap, channel));

    let (channel, found) = open(&settings, &disk).unwrap();
    assert_eq!((found.rescued_items, found.damaged_items, found.torn_bytes), (0, 0, 0));
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    assert_eq!(tap.note(), "note");
    let taken = tap.next().await.unwrap().unwrap();
    assert_eq!((taken.head.at.first, taken.open.clone()), (0, vec![1..2]));
    assert_eq!(tap.body(&taken.head).await.unwrap(), "onetwo");
    let zipkin = account(&channel, "zipkin");
    assert_eq!((zipkin.accepted, zipkin.waiting), (3, 1));
    assert_eq!(channel.append(vec![draft(None, &["four"])]).wait().await, Ok(4..5));
}

/// What a workload sent, was told, and did.
#[derive(Default)]
struct Record {
    /// Every span ever handed to `append`, by its text.
    sent: BTreeSet<String>,
    /// Position to text, for what was answered yes.
    acked: BTreeMap<u64, String>,
    /// Positions handed to `settle` or `commit`.
    settled: BTreeSet<u64>,
    /// Positions of commits that returned.
    committed: BTreeSet<u64>,
    /// Notes that may be found: the last one that was committed, and one under way.
    notes: Vec<Bytes>,
    /// Whether `tap` returned.
    begun: bool,
}

/// Appends a message of `spans` spans of about `len` bytes; false if it was refused.
async fn append(channel: &Channel, record: &mut Record, spans: usize, len: usize) -> bool {
    let names: Vec<_> = (0..spans).map(|n| format!("{}/{n}{}", record.sent.len(), ".".repeat(len))).collect();
    record.sent.extend(names.iter().cloned());
    let texts: Vec<_> = names.iter().map(String::as_str).collect();
    match channel.append(vec![draft(None, &texts)]).wait().await {
        Ok(positions) => {
            assert_eq!(positions.end - positions.start, spans as u64);
            record.acked.extend(positions.zip(names));
            true
        }
        Err(_) => false,
    }
}

/// Takes a frame and settles it, by commit or not; false if that could not be made durable.
async fn take(tap: &mut Tap, record: &mut Record, commit: bool) -> bool {
    let taken = match tap.next().await {
        Ok(Some(taken)) => taken,
        _ => return false,
    };
    let (first, end) = (taken.head.at.first, taken.head.at.first + u64::from(taken.head.at.items));
    record.settled.extend(first..end);
    if !commit {
        tap.ledger().settle(first..end, Outcome::Delivered);
        return true;
    }
    let note = Bytes::from(format!("note {first}"));
    record.notes.push(note.clone());
    if tap.ledger().commit(first..end, Outcome::Delivered, note.clone()).await.is_err() {
        return false;
    }
    record.notes = vec![note];
    record.committed.extend(first..end);
    true
}

/// Appends, rolls, settles, commits, forgets and restarts; ends where the disk does.
async fn workload(settings: &Settings, disk: &SimDisk, record: &mut Record) -> Option<()> {
    let disk = disk.disk();
    let (channel, _) = open(settings, &disk).ok()?;
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).ok()?;
    record.begun = true;
    record.notes = vec![Bytes::new()];
    drop(channel.tap("gone", Start::End, Takes::Common).ok()?);
    for n in 0..6 {
        append(&channel, record, 3, 7000).await.then_some(())?;
        append(&channel, record, 1, 10).await.then_some(())?;
        take(&mut tap, record, n % 2 == 0).await.then_some(())?;
    }
    channel.forget("gone").ok()?;
    take(&mut tap, record, true).await.then_some(())?;
    channel.stop();
    drop((tap, channel));
    let (channel, _) = open(settings, &disk).ok()?;
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).ok()?;
    append(&channel, record, 2, 100).await.then_some(())?;
    take(&mut tap, record, true).await.then_some(())?;
    append(&channel, record, 2, 100).await.then_some(())?;
    channel.stop();
    Some(())
}

/// Opens what a crash left and checks it against the record.
async fn check(settings: &Settings, disk: &SimDisk, record: &Record, case: &str) {
    let (channel, found) = open(settings, &disk.disk()).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!(found.damaged_items, 0, "{case}");
    let known = channel.snapshot().accounts.iter().any(|a| a.drain == "zipkin");
    assert!(known || !record.begun, "{case}: the drain is gone");
    let mut tap = channel.tap("zipkin", Start::Oldest, Takes::Common).unwrap();
    let before = account(&channel, "zipkin");
    assert_eq!(before.outcomes[&Outcome::Damaged], 0, "{case}");
    assert!(!record.begun || record.notes.contains(&tap.note()), "{case}: the note is {:?}", tap.note());
    let mut read = BTreeMap::new();
    let mut left = before.waiting;
    while left > 0 {
        let taken = within(tap.next()).await.unwrap().unwrap();
        let body = tap.body(&taken.head).await.unwrap();
        let texts = texts(&taken.head, &body);
        for open in taken.open {
            for n in open {
                let (position, text) = (taken.head.at.first + u64::from(n), texts[n as usize].clone());
                assert!(record.sent.contains(&text), "{case}: position {position} was never sent");
                assert!(read.insert(position, text).is_none(), "{case}: position {position} came twice");
                left -= 1;
            }
        }
    }
    for (position, text) in &record.acked {
        match read.get(position) {
            Some(found) => assert_eq!(found, text, "{case}: position {position}"),
            None => assert!(record.settled.contains(position), "{case}: position {position} is lost"),
        }
    }
    let repeated = record.committed.iter().find(|p| read.contains_key(p));
    assert_eq!(repeated, None, "{case}: committed, and given again");
    let positions = within(channel.append(vec![draft(None, &["again"])]).wait()).await.unwrap();
    let highest = record.acked.keys().chain(read.keys()).max();
    assert!(highest.is_none_or(|&highest| positions.start > highest), "{case}: a position is used twice");
    let taken = within(tap.next()).await.unwrap().unwrap();
    assert_eq!(taken.head.at.first, positions.start, "{case}");
    tap.ledger().commit(0..positions.end, Outcome::Skipped, Bytes::new()).await.unwrap();
    assert_eq!(account(&channel, "zipkin").waiting, 0, "{case}");
}

fn texts(head: &Head, body: &Bytes) -> Vec<String> {
    let mut at = 0;
    let cut = |item: &Item| {
        at += item.len as usize;
        String::from_utf8(body[at - item.len as usize..at].to_vec()).unwrap()
    };
    head.items.iter().map(cut).collect()
}

/// A deadline for what must come.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it came within 20 s")
}

fn small() -> Settings {
    Settings { capacity_bytes: 512 * 1024, ..settings(Path::new("/data")) }
}

async fn crash_everywhere(settings: Settings, fault: Fault, outcomes: &[Option<Power>]) {
    let whole = SimDisk::new();
    let mut record = Record::default();
    workload(&settings, &whole, &mut record).await.expect("no fault was set");
    check(&settings, &whole.killed(), &record, "no fault").await;
    let calls = whole.calls();
    for call in 1..=calls + 2 {
        let disk = SimDisk::new();
        disk.fault_at(call, fault);
        let mut record = Record::default();
        workload(&settings, &disk, &mut record).await;
        for outcome in outcomes {
            let left = match outcome {
                Some(Power::Some(seed)) => disk.lost_power(Power::Some(seed + call)),
                Some(power) => disk.lost_power(*power),
                None => disk.killed(),
            };
            check(&settings, &left, &record, &format!("{fault:?} at call {call} of {calls}, then {outcome:?}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn power_lost_at_any_call_loses_nothing_answered() {
    crash_everywhere(small(), Fault::Off, &[Some(Power::Nothing), Some(Power::Some(1))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_at_any_call_loses_nothing_answered() {
    crash_everywhere(small(), Fault::Off, &[None, Some(Power::Everything)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_anywhere_loses_nothing_answered() {
    crash_everywhere(small(), Fault::Fail, &[None, Some(Power::Some(2))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_any_call_loses_nothing_answered() {
    crash_everywhere(small(), Fault::NoSpace, &[Some(Power::Some(3))]).await;
}
