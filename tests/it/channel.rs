//! The durable channel through its public face: workloads, crashes, damage, full disks.

mod beginnings;
mod gone;
mod limits;
mod memory;
mod oldest;
mod release;
mod repair;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use spangate::channel::{
    Account, AppendError, Channel, Draft, Found, Head, Intake, Item, Kind, NO_LABEL, OpenError, Origin, Outcome,
    ReadError, Settings, Start, Sync, Takes, Tap,
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
    tap.ledger().commit(3..4, Outcome::DeadLettered, Bytes::from("note")).await.unwrap();
    assert_eq!(account(&channel, "zipkin").waiting, 1);
    channel.stop();
    assert!(tap.next().await.unwrap().is_none());
    drop((tap, channel));

    let (channel, found) = open(&settings, &disk).unwrap();
    assert_eq!((found.rescued_items, found.damaged_items, found.torn_bytes), (0, 0, 0));
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    assert_eq!(tap.note(), "note");
    let taken = tap.next().await.unwrap().unwrap();
    assert_eq!((taken.head.at.first, taken.open.as_slice()), (0, std::slice::from_ref(&(1..2))));
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
async fn workload(settings: &Settings, disk: &Arc<dyn Disk>, record: &mut Record) -> Option<()> {
    let (channel, _) = open(settings, disk).ok()?;
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
    let (channel, _) = open(settings, disk).ok()?;
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).ok()?;
    append(&channel, record, 2, 100).await.then_some(())?;
    take(&mut tap, record, true).await.then_some(())?;
    append(&channel, record, 2, 100).await.then_some(())?;
    channel.stop();
    Some(())
}

/// Opens what a crash left and checks it against the record.
async fn check(settings: &Settings, disk: &Arc<dyn Disk>, record: &Record, case: &str) {
    let (channel, found) = open(settings, disk).unwrap_or_else(|e| panic!("{case}: {e}"));
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
    workload(&settings, &whole.disk(), &mut record).await.expect("no fault was set");
    check(&settings, &whole.killed().disk(), &record, "no fault").await;
    let calls = whole.calls();
    for call in 1..=calls + 2 {
        let disk = SimDisk::new();
        disk.fault_at(call, fault);
        let mut record = Record::default();
        workload(&settings, &disk.disk(), &mut record).await;
        for outcome in outcomes {
            let left = match outcome {
                Some(Power::Some(seed)) => disk.lost_power(Power::Some(seed + call)),
                Some(power) => disk.lost_power(*power),
                None => disk.killed(),
            };
            check(&settings, &left.disk(), &record, &format!("{fault:?} at call {call} of {calls}, then {outcome:?}"))
                .await;
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

const DIR: &str = "/data/channel";

/// A channel on a simulated disk with one drain, and its disk.
fn begun(settings: &Settings) -> (SimDisk, Channel, Tap) {
    let disk = SimDisk::new();
    let (channel, _) = open(settings, &disk.disk()).unwrap();
    let tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    (disk, channel, tap)
}

async fn say(channel: &Channel, text: &str) -> std::ops::Range<u64> {
    within(channel.append(vec![draft(None, &[text])]).wait()).await.unwrap()
}

/// The texts that the drain is given until nothing waits, settled as delivered.
async fn drained(channel: &Channel, tap: &mut Tap) -> Vec<String> {
    let mut all = Vec::new();
    while account(channel, tap.drain()).waiting > 0 {
        // Damage is settled on the way: then nothing may be left to give.
        let Ok(taken) = tokio::time::timeout(Duration::from_millis(500), tap.next()).await else { continue };
        let taken = taken.unwrap().unwrap();
        let body = tap.body(&taken.head).await.unwrap();
        let texts = texts(&taken.head, &body);
        for open in taken.open {
            let first = taken.head.at.first;
            tap.ledger().settle(first + u64::from(open.start)..first + u64::from(open.end), Outcome::Delivered);
            all.extend(open.map(|n| texts[n as usize].clone()));
        }
    }
    all
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    disk.names()
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "seg") && p.parent() == Some(Path::new(DIR)))
        .collect()
}

/// Where `text` stands in a file.
fn find(disk: &SimDisk, path: &Path, text: &str) -> Option<usize> {
    disk.read(path).windows(text.len()).position(|w| w == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_frame_is_counted_kept_and_passed() {
    let settings = small();
    let (disk, channel, tap) = begun(&settings);
    for text in ["alpha", "bravo", "charlie"] {
        say(&channel, text).await;
    }
    channel.stop();
    drop((tap, channel));
    let segment = segments(&disk).pop().unwrap();
    let at = find(&disk, &segment, "bravo").unwrap();
    disk.flip(&segment, at - 40);
    let (channel, found) = open(&settings, &disk.disk()).unwrap();
    assert_eq!(found.damaged_items, 1);
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    assert_eq!(drained(&channel, &mut tap).await, ["alpha", "charlie"]);
    assert_eq!(account(&channel, "zipkin").outcomes[&Outcome::Damaged], 1);
    let kept = disk.names().into_iter().find(|p| p.starts_with("/data/channel/damaged")).unwrap();
    assert!(find(&disk, &kept, "bravo").is_some());
    assert_eq!(say(&channel, "delta").await, 3..4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_body_is_told_with_its_positions() {
    let settings = Settings { cache_bytes: 0, ..small() };
    let (disk, channel, mut tap) = begun(&settings);
    say(&channel, "alpha").await;
    let segment = segments(&disk).pop().unwrap();
    disk.flip(&segment, find(&disk, &segment, "alpha").unwrap());
    let taken = within(tap.next()).await.unwrap().unwrap();
    let error = tap.body(&taken.head).await.unwrap_err();
    assert!(matches!(error, ReadError::Damaged { first: 0, end: 1 }), "{error}");
    tap.ledger().settle(0..1, Outcome::Damaged);
    assert_eq!(account(&channel, "zipkin").waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_cut_and_appending_resumes() {
    let settings = small();
    let (disk, channel, tap) = begun(&settings);
    say(&channel, "alpha").await;
    disk.fault_next(Fault::Off);
    let refused = channel.append(vec![draft(None, &["bravo, which is longer"])]).wait().await;
    assert!(matches!(refused, Err(AppendError::Failed(_))));
    drop((tap, channel));
    let left = disk.killed();
    let segment = segments(&left).pop().unwrap();
    let at = find(&left, &segment, "bravo").unwrap();
    left.flip(&segment, at);
    let (channel, found) = open(&settings, &left.disk()).unwrap();
    // The torn frame's head says that what is below it was synced.
    assert_eq!((found.rescued_items, found.damaged_items, found.torn_bytes > 0), (0, 0, true));
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    assert_eq!(say(&channel, "charlie").await, 1..2);
    assert_eq!(drained(&channel, &mut tap).await, ["alpha", "charlie"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_fails_is_neither_damage_nor_the_end() {
    let settings = Settings { cache_bytes: 0, ..small() };
    let (disk, channel, mut tap) = begun(&settings);
    say(&channel, "alpha").await;
    disk.fail_reads(true);
    let error = within(tap.next()).await.unwrap_err();
    assert!(matches!(error, ReadError::Failed(_)), "{error}");
    disk.fail_reads(false);
    assert_eq!(drained(&channel, &mut tap).await, ["alpha"]);
    assert_eq!(account(&channel, "zipkin").outcomes[&Outcome::Damaged], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_whose_sync_failed_are_refused_and_draining_goes_on() {
    let settings = small();
    let (disk, channel, mut tap) = begun(&settings);
    say(&channel, "alpha").await;
    disk.fail_syncs(true);
    let refused = channel.append(vec![draft(None, &["bravo"])]).wait().await;
    assert!(matches!(refused, Err(AppendError::Failed(_))));
    assert!(matches!(channel.snapshot().intake, Intake::Failed { for_good: false, .. }));
    disk.fail_syncs(false);
    assert_eq!(say(&channel, "charlie").await, 1..2);
    assert_eq!(channel.snapshot().intake, Intake::Open);
    assert_eq!(drained(&channel, &mut tap).await, ["alpha", "charlie"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn un_synced_pages_of_a_failed_sync_are_copied_and_survive_the_next_loss_of_power() {
    let settings = small();
    let (disk, channel, tap) = begun(&settings);
    say(&channel, "alpha").await;
    disk.fail_syncs(true);
    assert!(channel.append(vec![draft(None, &["bravo"])]).wait().await.is_err());
    // Two failures in a row: intake is closed for good.
    let refused = within(channel.append(vec![draft(None, &["charlie"])]).wait()).await;
    assert!(matches!(refused, Err(AppendError::Failed(_))));
    assert!(matches!(channel.snapshot().intake, Intake::Failed { for_good: true, .. }));
    drop((tap, channel));
    let left = disk.killed();
    let (channel, found) = open(&settings, &left.disk()).unwrap();
    assert_eq!(found.rescued_items, 1);
    drop(channel);
    let left = left.lost_power(Power::Nothing);
    let (channel, _) = open(&settings, &left.disk()).unwrap();
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    assert_eq!(drained(&channel, &mut tap).await, ["alpha", "bravo"]);
}

/// Appends `text` until there is no room; how many messages were taken. The one that was not is withdrawn.
async fn fill(channel: &Channel, text: &str) -> usize {
    for held in 0.. {
        let mut receipt = Box::pin(channel.append(vec![draft(None, &[text])]).wait());
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            // Full is said of a message that waits: while one waits and nothing is settled, it stays so.
            let full = channel.snapshot().intake == Intake::Full;
            match tokio::time::timeout(Duration::from_millis(20), &mut receipt).await {
                Ok(answer) => {
                    answer.unwrap();
                    break;
                }
                Err(_) if full => return held,
                Err(_) => assert!(Instant::now() < deadline, "neither taken nor full"),
            }
        }
    }
    unreachable!("a channel has a bound")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_channel_waits_for_room_and_withdraws_what_is_dropped() {
    let settings = small();
    let (_disk, channel, mut tap) = begun(&settings);
    let held = fill(&channel, &"x".repeat(30_000)).await;
    assert!((8..=17).contains(&held), "{held} messages of 30 kB in 512 KiB");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(channel.snapshot().intake, Intake::Full, "also when nobody waits any more");
    assert!(channel.snapshot().bytes <= settings.capacity_bytes);
    // As large as those before: something small may still fit.
    let [last, withdrawn] = ["last", "withdrawn"].map(|text| text.repeat(30_000 / text.len()));
    let waiting = channel.append(vec![draft(None, &[&last])]);
    drop(channel.append(vec![draft(None, &[&withdrawn])]));
    let mut all = drained(&channel, &mut tap).await;
    let positions = within(waiting.wait()).await.unwrap();
    assert_eq!(positions, held as u64..held as u64 + 1);
    all.extend(drained(&channel, &mut tap).await);
    assert!(all.len() == held + 1 && all.last() == Some(&last), "{} of {held} and one", all.len());
    assert_eq!(channel.snapshot().intake, Intake::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_intake_only() {
    let settings = Settings { free_min_bytes: Some(1 << 20), ..small() };
    let (disk, channel, mut tap) = begun(&settings);
    say(&channel, "alpha").await;
    disk.set_free(1000);
    let deadline = Instant::now() + Duration::from_secs(10);
    while channel.snapshot().intake != Intake::DiskLow {
        assert!(Instant::now() < deadline, "the free space is looked at about once a second");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let waiting = channel.append(vec![draft(None, &["bravo"])]);
    let taken = within(tap.next()).await.unwrap().unwrap();
    assert_eq!(taken.head.at.first, 0);
    within(tap.ledger().commit(0..1, Outcome::Delivered, Bytes::new())).await.unwrap();
    disk.set_free(1 << 30);
    assert_eq!(within(waiting.wait()).await, Ok(1..2));
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_go_when_every_drain_has_passed_them() {
    let settings = small();
    let (disk, channel, mut tap) = begun(&settings);
    drop(channel.tap("absent", Start::End, Takes::Common).unwrap());
    let big = "x".repeat(30_000);
    for _ in 0..6 {
        say(&channel, &big).await;
    }
    drained(&channel, &mut tap).await;
    tap.ledger().commit(0..0, Outcome::Delivered, Bytes::new()).await.unwrap();
    let many = segments(&disk).len();
    assert!(many >= 3, "{many} segments");
    assert!(matches!(channel.forget("zipkin"), Err(OpenError::Drain { .. })), "it is attached");
    assert_eq!(channel.forget("absent").unwrap(), 6);
    let deadline = Instant::now() + Duration::from_secs(10);
    while segments(&disk).len() > 1 {
        assert!(Instant::now() < deadline, "{:?}", segments(&disk));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(channel.forget("absent"), Err(OpenError::Drain { .. })), "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_unreadable_segment_costs_its_own_positions() {
    let settings = small();
    for (cut, unreadable) in [(1, false), (1, true), (9, true)] {
        let (disk, channel, tap) = begun(&settings);
        for n in 0..6 {
            say(&channel, &format!("{n}{}", "x".repeat(30_000))).await;
        }
        channel.stop();
        drop((tap, channel));
        let all = segments(&disk);
        let path = &all[cut.min(all.len() - 1)];
        match unreadable {
            true => disk.flip(path, 50),
            false => disk.disk().remove(path).unwrap(),
        }
        let (channel, found) = open(&settings, &disk.disk()).unwrap();
        assert_eq!(found.damaged_path.is_some(), unreadable);
        let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
        let left = drained(&channel, &mut tap).await.len() as u64;
        let zipkin = account(&channel, "zipkin");
        assert_eq!((zipkin.accepted, zipkin.outcomes[&Outcome::Damaged]), (6, 6 - left), "segment {cut} of {all:?}");
        assert!((2..6).contains(&left), "{left}");
        assert_eq!(say(&channel, "after").await, 6..7);
        assert_eq!(drained(&channel, &mut tap).await, ["after"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_slot_costs_repeats_and_two_unreadable_ones_refuse_the_start() {
    let settings = small();
    let (disk, channel, mut tap) = begun(&settings);
    say(&channel, "alpha").await;
    within(tap.next()).await.unwrap();
    tap.ledger().commit(0..1, Outcome::Delivered, Bytes::from("n")).await.unwrap();
    drop((tap, channel));
    let cursors = Path::new(DIR).join("cursors");
    let raw = disk.read(&cursors);
    let generation = |n: usize| u64::from_le_bytes(raw[n * 8192 + 16..n * 8192 + 24].try_into().unwrap());
    let newer = usize::from(generation(1) > generation(0));
    disk.flip(&cursors, newer * 8192 + 5000);
    let (channel, _) = open(&settings, &disk.disk()).unwrap();
    let account = account(&channel, "zipkin");
    assert_eq!(account.accepted, 1);
    drop(channel);
    disk.flip(&cursors, 5000);
    disk.flip(&cursors, 8192 + 5000);
    disk.overwrite(&cursors, 100, &[1; 8]);
    disk.overwrite(&cursors, 8192 + 100, &[1; 8]);
    let refused = open(&settings, &disk.disk()).map(|_| ()).unwrap_err();
    assert!(matches!(&refused, OpenError::Damaged { what, .. } if what.contains("zipkin")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_major_version_is_refused_by_name() {
    let settings = small();
    let (disk, channel, tap) = begun(&settings);
    drop((tap, channel));
    let path = Path::new(DIR).join("id");
    let mut raw = disk.read(&path);
    raw[8] = 2;
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &raw[..28]) as u32;
    raw[28..32].copy_from_slice(&crc.to_le_bytes());
    disk.overwrite(&path, 0, &raw);
    let refused = open(&settings, &disk.disk()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Version { major: 2, minor: 0, .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_does_not_get_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let held = disk::real().lock(&path).unwrap();
    let refused = disk::real().lock(&path).map(|_| ()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
    drop(held);
    disk::real().lock(&path).map(|_| ()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_delayed_sync_yes_means_written_and_drains_see_it_once_synced() {
    let settings = Settings { sync: Sync::Every(Duration::from_millis(200)), ..small() };
    let (disk, channel, mut tap) = begun(&settings);
    say(&channel, "alpha").await;
    assert_eq!(channel.snapshot().tail, 0, "not synced yet");
    let killed = disk.killed();
    assert_eq!(drained_soon(&mut tap).await, 0);
    assert_eq!(channel.snapshot().tail, 1);
    let (after, found) = open(&settings, &killed.disk()).unwrap();
    assert_eq!((found.rescued_items, after.snapshot().tail), (1, 1));
    // A sync that fails takes nothing back: what was answered goes into the fresh segment.
    disk.fail_syncs(true);
    say(&channel, "bravo").await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    disk.fail_syncs(false);
    assert_eq!(drained_soon(&mut tap).await, 1);
    let (after, _) = open(&settings, &disk.lost_power(Power::Nothing).disk()).unwrap();
    assert_eq!(after.snapshot().tail, 2);
}

async fn drained_soon(tap: &mut Tap) -> u64 {
    within(tap.next()).await.unwrap().unwrap().head.at.first
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_reads_a_stretch_again_and_a_commit_counts_no_other_drains_frames() {
    let settings = small();
    let (disk, channel, tap) = begun(&settings);
    let mut letters = channel.tap("dead-letters", Start::End, Takes::Addressed).unwrap();
    say(&channel, "alpha").await;
    within(channel.append(vec![draft(Some("dead-letters"), &["bad", "worse"])]).wait()).await.unwrap();
    say(&channel, "bravo").await;
    assert_eq!(within(letters.next()).await.unwrap().unwrap().open, vec![0..2]);
    drop((tap, letters, channel));
    // After a restart a plan is carried out before the tap has met its frames.
    let (channel, _) = open(&settings, &disk.disk()).unwrap();
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    let mut scan = tap.ledger().scan(0..4);
    let mut firsts = Vec::new();
    while let Some((head, items)) = within(scan.next()).await.unwrap() {
        firsts.push((head.at.first, items));
    }
    assert_eq!(firsts, [(0, 0..1), (3, 0..1)]);
    within(tap.ledger().commit(0..4, Outcome::Delivered, Bytes::new())).await.unwrap();
    let zipkin = account(&channel, "zipkin");
    assert_eq!((zipkin.accepted, zipkin.outcomes[&Outcome::Delivered], zipkin.low), (2, 2, 4));
    assert_eq!(account(&channel, "dead-letters").waiting, 2);
    say(&channel, "charlie").await;
    assert_eq!(drained_soon(&mut tap).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_messages_are_split_and_come_back_whole_from_cache_and_disk() {
    for cache_bytes in [0, 16 << 20] {
        let settings = Settings { capacity_bytes: 64 << 20, cache_bytes, ..small() };
        let (_disk, channel, mut tap) = begun(&settings);
        let names: Vec<_> = (0..9000).map(|n| format!("{n}{}", "y".repeat(n % 200))).collect();
        let texts: Vec<_> = names.iter().map(String::as_str).collect();
        let positions = within(channel.append(vec![draft(None, &texts)]).wait()).await.unwrap();
        assert_eq!(positions, 0..9000);
        assert_eq!(drained(&channel, &mut tap).await, names);
    }
}
