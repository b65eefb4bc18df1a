//! Segments whose heads rot behind one that a write failed in: what was refused there must not come back in their
//! place.

use spangate::channel::survey::{Depth, Survey};

use super::*;

/// What the log holds before the write that fails, and what is said after it.
const BEFORE: [&str; 2] = ["alpha", "bravo"];
const AFTER: [&str; 3] = ["charlie", "delta", "echo"];
const FAILED_AT: u64 = BEFORE.len() as u64;

/// A killed process's disk: a write failed behind `BEFORE`, what was refused is whole on disk, `AFTER` stands at its
/// positions in the next segment, whose head has rotted; `more` long messages behind it. Where the log ended, too.
async fn rotten(more: usize, vouched: bool) -> (SimDisk, u64) {
    let (disk, channel, tap) = begun(&small());
    for text in BEFORE {
        say(&channel, text).await;
    }
    // The write is carried out, and fails.
    disk.fault_next(Fault::Fail);
    let refused = channel.append(vec![draft(None, &["refused"; 4])]).wait().await;
    assert!(matches!(refused, Err(AppendError::Failed(_))), "{refused:?}");
    for text in AFTER {
        say(&channel, text).await;
    }
    for _ in 0..more {
        say(&channel, &"x".repeat(30_000)).await;
    }
    if vouched {
        within(tap.ledger().commit(0..0, Outcome::Delivered, Bytes::new())).await.unwrap();
    }
    let (left, tail) = (disk.killed(), channel.snapshot().tail);
    channel.stop();
    assert!(find(&left, &of(0), "refused").is_some(), "it is on disk");
    left.flip(&of(FAILED_AT), 50);
    (left, tail)
}

/// The segment of a first position.
fn of(first: u64) -> PathBuf {
    Path::new(DIR).join(format!("{first:016x}.seg"))
}

/// Where the segment behind the rotten one begins, or the log ends.
fn end_of_the_rotten(disk: &SimDisk, tail: u64) -> u64 {
    let firsts = segments(disk).into_iter().map(|path| u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok());
    firsts.flatten().find(|first| *first > FAILED_AT).unwrap_or(tail)
}

/// What a survey says that the drain waits for, that it loses of it, and where the log ends.
fn surveyed(disk: &SimDisk) -> (u64, u64, u64) {
    let survey = Survey::of(&disk.disk(), Path::new(DIR), Depth::Whole).unwrap();
    assert!(survey.is_damaged() && !survey.refuses(), "{:#?}", survey.findings);
    let lost = survey.findings.iter().flat_map(|finding| &finding.lost).map(|(_, spans)| spans).sum();
    (survey.drains[0].account.as_ref().unwrap().waiting, lost, survey.end())
}

/// Opens the log, and reads it by a scan and by the drain.
async fn read(disk: &SimDisk, tail: u64, lost: u64, case: &str) {
    let (channel, _) = open(&small(), &disk.disk()).unwrap();
    assert_eq!(channel.snapshot().tail, tail, "{case}");
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    let mut scan = tap.ledger().scan(0..tail);
    let (mut scanned, mut damaged) = (0, Vec::new());
    loop {
        match within(scan.next()).await {
            Ok(None) => break,
            Ok(Some((_, items))) => scanned += u64::from(items.end - items.start),
            Err(ReadError::Damaged { first, end }) => damaged.push((first, end)),
            Err(error) => panic!("{case}: {error}"),
        }
    }
    assert_eq!((scanned, damaged), (tail - lost, vec![(FAILED_AT, FAILED_AT + lost)]), "{case}");
    let given = drained(&channel, &mut tap).await;
    assert_eq!(given[..BEFORE.len()], BEFORE, "{case}");
    assert!(given.iter().all(|text| text != "refused"), "{case}: {given:?}");
    let zipkin = account(&channel, "zipkin");
    assert_eq!((zipkin.accepted, zipkin.outcomes[&Outcome::Damaged]), (tail, lost), "{case}");
    assert_eq!(say(&channel, "after").await, tail..tail + 1, "{case}");
    assert_eq!(drained(&channel, &mut tap).await, ["after"], "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_does_not_come_back_where_the_head_of_the_next_segment_rots() {
    for (more, vouched) in [(0, false), (0, true), (4, false), (4, true)] {
        let (disk, tail) = rotten(more, vouched).await;
        let lost = end_of_the_rotten(&disk, tail) - FAILED_AT;
        assert!(lost >= AFTER.len() as u64 && segments(&disk).len() == if more > 0 { 4 } else { 2 });
        for starts in 0..3 {
            let case = format!("{more} behind it, vouched for: {vouched}, after {starts} more starts");
            assert_eq!(surveyed(&disk), (tail, lost, tail), "{case}");
            read(&disk.killed(), tail, lost, &case).await;
            let (channel, _) = open(&small(), &disk.disk()).unwrap();
            channel.stop();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_cut_off_after_a_segment_was_set_aside_leaves_its_positions_taken() {
    let (disk, tail) = rotten(0, false).await;
    let lost = tail - FAILED_AT;
    disk.film(Arc::default());
    open(&small(), &disk.disk()).unwrap().0.stop();
    for shot in disk.cut() {
        for left in [shot.disk.killed(), shot.disk.lost_power(Power::Nothing), shot.disk.lost_power(Power::Some(5))] {
            let case = format!("cut off before call {}", shot.call);
            assert_eq!(surveyed(&left), (tail, lost, tail), "{case}");
            read(&left, tail, lost, &case).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_heads_that_rot_at_one_position_are_both_kept() {
    let (disk, tail) = rotten(0, false).await;
    disk.overwrite(&of(FAILED_AT), 4096, &[0; 4096]);
    for copies in 1..3 {
        let (channel, _) = open(&small(), &disk.disk()).unwrap();
        assert_eq!(channel.snapshot().tail, FAILED_AT, "no frame of it is left, of {tail}");
        channel.stop();
        let kept = disk.names().into_iter().filter(|path| path.parent() == Some(&Path::new(DIR).join("damaged")));
        assert_eq!(kept.filter(|path| path.to_str().unwrap().contains(".seg")).count(), copies);
        disk.flip(&of(FAILED_AT), 50);
    }
}

/// A repair moved another channel's segment there; its name is of positions that this log has not reached.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_in_damaged_that_cannot_be_read_now_is_taken_for_neither_this_channels_nor_anothers() {
    let (disk, channel, _tap) = begun(&small());
    let tail = say(&channel, "alpha").await.end;
    channel.stop();
    let strange = Settings { dir: "/data/strange".into(), ..small() };
    open(&strange, &disk.disk()).unwrap().0.stop();
    let damaged = Path::new(DIR).join("damaged");
    disk.disk().create_dir_all(&damaged).unwrap();
    disk.disk().rename(&strange.dir.join("0000000000000000.seg"), &damaged.join("00000000000000ff.seg")).unwrap();

    let looks = {
        let left = disk.killed();
        open(&small(), &left.disk()).unwrap().0.stop();
        left.looks()
    };
    let mut refusals = 0;
    for look in 1..=looks {
        let left = disk.killed();
        left.fail_looks_in(look..look + 1);
        for starts in ["one that fails to look", "the next one"] {
            let (channel, _) = match open(&small(), &left.disk()) {
                Err(_) if starts != "the next one" => {
                    refusals += 1;
                    continue;
                }
                opened => opened.unwrap(),
            };
            assert_eq!(channel.snapshot().tail, tail, "{starts}, look {look} of {looks}");
            channel.stop();
        }
    }
    assert!(refusals > 0);
}
