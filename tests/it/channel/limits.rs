//! Limits, restarts at bad moments, and what nobody else asks of the channel.

use super::*;

/// Waits for what the owner does on its own.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_only_passes_frames_over_holds_no_segment() {
    let settings = Settings { cache_bytes: 16 << 20, ..small() };
    let (disk, channel, mut tap) = begun(&settings);
    let mut letters = channel.tap("dead-letters", Start::Oldest, Takes::Addressed).unwrap();
    let work = async {
        for _ in 0..40 {
            say(&channel, &"x".repeat(30_000)).await;
            drained(&channel, &mut tap).await;
        }
        until("segments that nobody waits for are still there", || segments(&disk).len() == 1).await;
        channel.stop();
    };
    let (taken, ()) = tokio::join!(letters.next(), work);
    assert!(taken.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_with_more_ranges_than_its_window_goes_on_after_a_restart() {
    let settings = small();
    let (disk, channel, mut tap) = begun(&settings);
    let names: Vec<_> = (0..700).map(|n| n.to_string()).collect();
    let texts: Vec<_> = names.iter().map(String::as_str).collect();
    within(channel.append(vec![draft(None, &texts)]).wait()).await.unwrap();
    within(tap.next()).await.unwrap().unwrap();
    for n in 0..350 {
        tap.ledger().settle(2 * n + 1..2 * n + 2, Outcome::DeadLettered);
    }
    channel.stop();
    drop((tap, channel));
    let (channel, _) = open(&settings, &disk.disk()).unwrap();
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    assert_eq!(account(&channel, "zipkin").outcomes[&Outcome::DeadLettered], 256);
    assert_eq!(within(tap.next()).await.unwrap().unwrap().open.len(), 257);
    tap.ledger().settle(0..700, Outcome::Delivered);
    assert_eq!(account(&channel, "zipkin").waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_segment_unreadable_after_a_crash_is_passed() {
    let settings = small();
    for unsettled in [false, true] {
        let (disk, channel, mut tap) = begun(&settings);
        for n in 0..4 {
            say(&channel, &format!("{n}{}", "x".repeat(30_000))).await;
        }
        if unsettled {
            // Nothing vouches for the end: the slots were saved when there was nothing.
        } else {
            drained(&channel, &mut tap).await;
            within(tap.ledger().commit(0..0, Outcome::Delivered, Bytes::new())).await.unwrap();
            say(&channel, "last").await;
        }
        let left = disk.killed();
        let taken = channel.snapshot().tail;
        left.flip(segments(&left).last().unwrap(), 50);
        let (channel, found) = open(&settings, &left.disk()).unwrap();
        assert!(found.damaged_items > 0);
        assert_eq!(channel.snapshot().tail, taken, "positions that were given out are not given again");
        let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
        drained(&channel, &mut tap).await;
        assert_eq!(say(&channel, "after").await, taken..taken + 1);
        assert_eq!(drained(&channel, &mut tap).await, ["after"]);
        assert_eq!(account(&channel, "zipkin").low, taken + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_the_start_lets_the_drains_make_room() {
    let settings = Settings { free_min_bytes: Some(1 << 20), ..small() };
    let (disk, channel, tap) = begun(&settings);
    for _ in 0..5 {
        say(&channel, &"x".repeat(30_000)).await;
    }
    let killed = disk.killed();
    channel.stop();
    drop((tap, channel));
    for left in [disk, killed] {
        left.set_free(1000);
        let (channel, found) = open(&settings, &left.disk()).unwrap();
        assert_eq!((found.damaged_items, found.items), (0, 5));
        assert_ne!(channel.snapshot().intake, Intake::Open);
        let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
        assert_eq!(drained(&channel, &mut tap).await.len(), 5);
        let waiting = channel.append(vec![draft(None, &["after"])]);
        left.set_free(1 << 30);
        assert_eq!(within(waiting.wait()).await, Ok(5..6));
        assert_eq!(drained(&channel, &mut tap).await, ["after"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_vouches_for_is_kept_on_a_disk_without_a_free_block_and_outlives_the_next_loss_of_power() {
    let settings = small();
    // Answered, in the last group before the kill; or refused, as its sync failed, and in the page cache alone.
    for answered in [true, false] {
        let (disk, channel, _tap) = begun(&settings);
        say(&channel, "alpha").await;
        disk.fail_syncs(!answered);
        let said = channel.append(vec![draft(None, &["bravo"])]).wait().await;
        assert_eq!(said.is_ok(), answered);
        let left = disk.killed();
        left.set_full(true);
        let (channel, found) = open(&settings, &left.disk()).unwrap();
        assert!(found.rescued_items > 0 && found.damaged_items == 0, "{found:?}");
        assert_ne!(channel.snapshot().intake, Intake::Open);
        let left = left.lost_power(Power::Nothing);
        left.set_full(false);
        let (channel, _) = open(&settings, &left.disk()).unwrap();
        let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
        assert_eq!(drained(&channel, &mut tap).await, ["alpha", "bravo"]);
        assert_eq!(say(&channel, "after").await, 2..3);
        assert_eq!(drained(&channel, &mut tap).await, ["after"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_cursors_or_its_id_is_refused() {
    let settings = small();
    for name in ["cursors", "id"] {
        let (disk, channel, tap) = begun(&settings);
        say(&channel, "alpha").await;
        channel.stop();
        drop((tap, channel));
        let path = Path::new(DIR).join(name);
        disk.disk().remove(&path).unwrap();
        let before = disk.names();
        let refused = open(&settings, &disk.disk()).map(|_| ()).unwrap_err();
        assert!(matches!(&refused, OpenError::Damaged { path: p, .. } if *p == path), "{refused}");
        assert_eq!(disk.names(), before, "nothing was made in its place");
    }
}

/// Names that a killed process has left in the page cache are what the next one builds on.
#[test]
fn a_first_start_that_is_killed_and_then_loses_its_power_is_no_half_a_log() {
    let settings = small();
    let calls_of = |disk: SimDisk| {
        let _channel = open(&settings, &disk.disk()).unwrap();
        disk.calls()
    };
    let cut_off_at = |disk: SimDisk, call: u64| {
        disk.fault_at(call, Fault::Off);
        assert!(open(&settings, &disk.disk()).is_err());
        Some(disk).filter(|disk| !disk.is_saved())
    };
    for first in 1..=calls_of(SimDisk::new()) {
        let Some(killed) = cut_off_at(SimDisk::new(), first) else { continue };
        for second in killed.calls() + 1..=calls_of(killed.killed()) {
            let Some(again) = cut_off_at(killed.killed(), second) else { continue };
            for power in (0..24).map(Power::Some) {
                let opened = open(&settings, &again.lost_power(power).disk());
                opened.unwrap_or_else(|error| panic!("killed at {first}, {power:?} at {second}: {error}"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_major_version_of_a_segment_is_refused_by_name() {
    let settings = small();
    let (disk, channel, tap) = begun(&settings);
    say(&channel, "alpha").await;
    channel.stop();
    drop((tap, channel));
    let path = segments(&disk).pop().unwrap();
    let mut head = disk.read(&path)[..4096].to_vec();
    head[8] = 7;
    head[12..16].fill(0);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &head) as u32;
    head[12..16].copy_from_slice(&crc.to_le_bytes());
    disk.overwrite(&path, 0, &head);
    let refused = open(&settings, &disk.disk()).map(|_| ()).unwrap_err();
    assert!(matches!(&refused, OpenError::Version { major: 7, minor: 0, path: p } if *p == path), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_bounded_in_spans_takes_more_when_some_are_settled() {
    let settings = Settings { capacity_spans: Some(3), ..small() };
    let (_disk, channel, mut tap) = begun(&settings);
    within(channel.append(vec![draft(None, &["a", "b"])]).wait()).await.unwrap();
    let two = channel.append(vec![draft(None, &["c", "d"])]);
    until("intake is full", || channel.snapshot().intake == Intake::Full).await;
    let taken = within(tap.next()).await.unwrap().unwrap();
    assert_eq!(taken.open, vec![0..2]);
    tap.ledger().settle(0..1, Outcome::Delivered);
    assert_eq!(within(two.wait()).await, Ok(2..4));
    assert_eq!(channel.snapshot().items, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nearly_fills_the_channel_is_taken_once_what_was_before_it_is_settled() {
    let settings = Settings { capacity_bytes: 1 << 20, ..small() };
    let (_disk, channel, mut tap) = begun(&settings);
    let text = "x".repeat(30_000);
    let message = |spans: usize| vec![draft(None, &vec![text.as_str(); spans])];
    let mut sent = 0;
    for spans in [20, 20, 1, 34, 34] {
        let receipt = channel.append(message(spans));
        drained(&channel, &mut tap).await;
        let positions = within(receipt.wait()).await.unwrap_or_else(|error| panic!("{spans} after {sent}: {error}"));
        assert_eq!(positions, sent..sent + spans as u64);
        sent = positions.end;
        drained(&channel, &mut tap).await;
    }
    assert_eq!(account(&channel, "zipkin").outcomes[&Outcome::Damaged], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_next_loses_no_frame_and_no_wake() {
    for cache_bytes in [0, 64 * 1024] {
        let settings = Settings { cache_bytes, ..small() };
        let (_disk, channel, mut tap) = begun(&settings);
        let mut random = fastrand::Rng::with_seed(7);
        for n in 0..200 {
            let appended = channel.append(vec![draft(None, &[&n.to_string()])]);
            // Cut short at any point: before the wake, in it, in a read.
            for _ in 0..random.u8(0..3) {
                let brief = Duration::from_micros(random.u64(0..400));
                if let Ok(taken) = tokio::time::timeout(brief, tap.next()).await {
                    assert_eq!(taken.unwrap().unwrap().head.at.first, n);
                    tap.ledger().settle(n..n + 1, Outcome::Delivered);
                }
            }
            within(appended.wait()).await.unwrap();
            if account(&channel, "zipkin").waiting > 0 {
                assert_eq!(drained_soon(&mut tap).await, n);
                tap.ledger().settle(n..n + 1, Outcome::Delivered);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_with_the_most_labels_reads_back() {
    let settings = Settings { cache_bytes: 0, capacity_bytes: 4 << 20, ..small() };
    let (_disk, channel, mut tap) = begun(&settings);
    let mut long = draft(None, &[]);
    long.origin = Arc::new(Origin((0..3).map(|n| (format!("k{n}"), "o".repeat(255))).collect()));
    long.labels = (0..256).map(|n| format!("{n:0254}")).collect();
    let len = 196_000;
    long.items = vec![Item { key: 1, len, label: 0, flags: 0 }];
    long.body = Bytes::from("b".repeat(len as usize));
    for more in (0..700).step_by(100) {
        let mut long = Draft {
            body: long.body.clone(),
            labels: long.labels.clone(),
            items: long.items.clone(),
            origin: long.origin.clone(),
            kind: long.kind,
            addressee: None,
            received_us: 0,
        };
        long.items[0].len += more;
        long.body = Bytes::from("b".repeat((len + more) as usize));
        within(channel.append(vec![long]).wait()).await.unwrap();
        let taken = within(tap.next()).await.unwrap().unwrap();
        assert_eq!(tap.body(&taken.head).await.unwrap().len(), (len + more) as usize, "{more}");
        tap.ledger().settle(taken.head.at.first..taken.head.at.first + 1, Outcome::Delivered);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_rotten_slot_neither_hides_a_new_drain_nor_revives_a_forgotten_one() {
    let settings = small();
    for (forgotten, slot) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let (disk, channel, tap) = begun(&settings);
        drop(tap);
        if forgotten {
            assert_eq!(channel.forget("zipkin").unwrap(), 0);
        }
        // Killed: a stop would save the slots once more.
        let left = disk.killed();
        left.flip(&Path::new(DIR).join("cursors"), slot * 8192 + 5000);
        let (channel, _) = open(&settings, &left.disk()).unwrap();
        assert_eq!(channel.snapshot().accounts.is_empty(), forgotten, "slot {slot}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_stays_until_the_slots_beyond_it_are_synced() {
    let settings = small();
    let (disk, channel, mut tap) = begun(&settings);
    for _ in 0..6 {
        say(&channel, &"x".repeat(30_000)).await;
    }
    disk.fail_syncs(true);
    assert_eq!(drained(&channel, &mut tap).await.len(), 6);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (channel, found) = open(&settings, &disk.lost_power(Power::Nothing).disk()).unwrap();
    assert_eq!((found.items, account(&channel, "zipkin").waiting), (6, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_rots_asks_for_no_segment_that_is_gone() {
    let settings = small();
    let (disk, channel, mut tap) = begun(&settings);
    for _ in 0..6 {
        say(&channel, &"x".repeat(30_000)).await;
    }
    drained(&channel, &mut tap).await;
    until("what is settled goes", || segments(&disk).len() == 1).await;
    let left = disk.killed();
    let cursors = Path::new(DIR).join("cursors");
    let raw = left.read(&cursors);
    let generation = |n: usize| u64::from_le_bytes(raw[n * 8192 + 16..n * 8192 + 24].try_into().unwrap());
    left.flip(&cursors, usize::from(generation(1) > generation(0)) * 8192 + 5000);
    let (channel, _) = open(&settings, &left.disk()).unwrap();
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    assert_eq!(say(&channel, "after").await, 6..7);
    drained(&channel, &mut tap).await;
    assert_eq!(account(&channel, "zipkin").outcomes[&Outcome::Damaged], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_group_begins_in_a_sector_that_was_synced() {
    let (_disk, channel, mut tap) = begun(&small());
    for text in ["alpha", "bravo", "charlie"] {
        say(&channel, text).await;
        assert_eq!(within(tap.next()).await.unwrap().unwrap().head.at.offset % 512, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_write_finds_no_space_intake_says_so_and_that_nothing_failed() {
    let (disk, channel, mut tap) = begun(&small());
    disk.fault_in(disk.calls() + 1..u64::MAX, Fault::NoSpace);
    // The second comes while a fresh segment is tried for.
    for text in ["alpha", "bravo"] {
        let refused = within(channel.append(vec![draft(None, &[text])]).wait()).await;
        assert_eq!(refused, Err(AppendError::DiskLow));
        assert!(matches!(channel.snapshot().intake, Intake::NoSpace { .. }));
    }
    disk.mend();
    say(&channel, "charlie").await;
    assert_eq!(channel.snapshot().intake, Intake::Open);
    assert_eq!(drained(&channel, &mut tap).await, ["charlie"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_is_held_open_by_nobody_so_that_its_room_is_free() {
    // All from disk; or the first of it, and the rest from memory.
    for cache_bytes in [0, 64 << 10] {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { capacity_bytes: 512 << 10, cache_bytes, ..settings(dir.path()) };
        let (channel, _) = open(&settings, &disk::real()).unwrap();
        let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
        for _ in 0..8 {
            say(&channel, &"x".repeat(30_000)).await;
        }
        drained(&channel, &mut tap).await;
        // It waits for more, as a drain does.
        let waits = tokio::time::timeout(Duration::from_millis(50), tap.next()).await;
        assert!(waits.is_err());
        let count = || disk::real().list(&settings.dir).unwrap().iter().filter(|e| e.name.ends_with(".seg")).count();
        until("segments that nobody waits for are still there", || count() == 1).await;
        let open = (0..4096).filter_map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok());
        let held: Vec<_> = open.filter(|path| path.starts_with(dir.path()) && !path.exists()).collect();
        assert!(held.is_empty(), "with {cache_bytes} bytes of cache: {held:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_found_after_a_kill_is_still_there_after_the_next_loss_of_power() {
    let settings = small();
    let (disk, channel, tap) = begun(&settings);
    // Killed between the write of the new drain's first slot and its sync.
    disk.fault_at(disk.calls() + 2, Fault::Off);
    channel.tap("late", Start::End, Takes::Common).map(|_| ()).unwrap_err();
    let left = disk.killed();
    drop((tap, channel));
    let (channel, _) = open(&settings, &left.disk()).unwrap();
    let late = channel.tap("late", Start::End, Takes::Common).unwrap();
    say(&channel, "alpha").await;
    let left = left.lost_power(Power::Nothing);
    drop((late, channel));
    let (channel, _) = open(&settings, &left.disk()).unwrap();
    assert_eq!(account(&channel, "late").waiting, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_frame_that_was_for_another_drain_leaves_nothing_waiting() {
    let settings = small();
    for has_letters in [false, true] {
        let (disk, channel, mut tap) = begun(&settings);
        let letters = has_letters.then(|| channel.tap("dead-letters", Start::End, Takes::Addressed).unwrap());
        within(channel.append(vec![draft(Some("dead-letters"), &["bad", "worse"])]).wait()).await.unwrap();
        say(&channel, "alpha").await;
        assert_eq!(drained(&channel, &mut tap).await, ["alpha"]);
        channel.stop();
        drop((tap, letters, channel));
        let segment = segments(&disk).pop().unwrap();
        disk.flip(&segment, find(&disk, &segment, "bad").unwrap() - 40);
        let (channel, found) = open(&settings, &disk.disk()).unwrap();
        assert_eq!(found.damaged_items, 2);
        let zipkin = account(&channel, "zipkin");
        assert_eq!((zipkin.accepted, zipkin.waiting), (1, 0), "with the other drain: {has_letters}");
    }
}
