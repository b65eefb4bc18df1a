//! What a survey finds in a channel's directory, and what a repair makes of it: state by state.
#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

use std::fs;
use std::os::unix::fs::FileExt;

use spangate::channel::repair::{Impossible, Plan};
use spangate::channel::survey::{Depth, Finding, Grade, RowState, Survey};

use super::*;

/// Bytes of a segment's head, of a slot, of a span.
const HEAD: u64 = 4096;
const SLOT: u64 = 8192;
const SPAN: usize = 1000;
/// Spans a message, and messages: three segments of 64 KiB and a bit.
const SPANS: usize = 4;
const MESSAGES: usize = 50;

/// A channel's directory whose gateway is gone: two drains, one of which settled the first half.
struct Left {
    dir: tempfile::TempDir,
    disk: Arc<dyn Disk>,
    settings: Settings,
}

impl Left {
    async fn new() -> Left {
        let dir = tempfile::tempdir().unwrap();
        let (settings, disk) = (Settings { capacity_bytes: 512 << 10, ..settings(dir.path()) }, disk::real());
        let (channel, _) = open(&settings, &disk).unwrap();
        let mut zipkin = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
        let _archive = channel.tap("archive", Start::End, Takes::Common).unwrap();
        let _own = channel.tap("dead-letters", Start::Oldest, Takes::Addressed).unwrap();
        for message in 0..MESSAGES {
            let spans: Vec<String> = (0..SPANS).map(|n| format!("{:0>SPAN$}", message * SPANS + n)).collect();
            let spans: Vec<&str> = spans.iter().map(String::as_str).collect();
            channel.append(vec![draft(None, &spans)]).wait().await.unwrap();
        }
        for _ in 0..MESSAGES / 2 {
            let taken = zipkin.next().await.unwrap().unwrap();
            zipkin.ledger().settle(taken.head.at.first..taken.head.at.first + SPANS as u64, Outcome::Delivered);
        }
        channel.stop();
        Left { dir, disk, settings }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("channel").join(name)
    }

    /// Segments by first position.
    fn segments(&self) -> Vec<PathBuf> {
        let mut names: Vec<PathBuf> = fs::read_dir(self.path("")).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.retain(|path| path.extension().is_some_and(|e| e == "seg"));
        names.sort();
        names
    }

    fn flip(&self, path: &Path, at: u64) {
        let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
    }

    fn flip_row(&self, row: u64) {
        for slot in [0, 1] {
            self.flip(&self.path("cursors"), (2 * row + slot) * SLOT + 5000);
        }
    }

    fn survey(&self) -> Survey {
        Survey::of(&self.disk, &self.path(""), Depth::Whole).unwrap()
    }

    fn plan(&self) -> Result<Plan, Impossible> {
        Plan::of(&self.survey(), &known())
    }

    /// The start refuses, the repair is done, and then it does not.
    fn repair(&self) -> Vec<String> {
        assert!(self.survey().refuses() && matches!(open(&self.settings, &self.disk), Err(OpenError::Damaged { .. })));
        let plan = self.plan().unwrap();
        plan.carry_out(&*self.disk).unwrap();
        assert!(self.plan().unwrap().is_empty(), "once is enough");
        plan.steps
    }

    /// What each drain is given by the channel as it is now, and its identity.
    async fn given(&self) -> (Vec<u64>, Vec<u64>, String) {
        given(&self.settings, &self.disk).await
    }
}

async fn given(settings: &Settings, disk: &Arc<dyn Disk>) -> (Vec<u64>, Vec<u64>, String) {
    let (channel, _) = open(settings, disk).unwrap();
    let mut all = Vec::new();
    let end = channel.append(vec![draft(None, &["end"])]).wait().await.unwrap();
    for drain in ["zipkin", "archive"] {
        let mut tap = channel.tap(drain, Start::End, Takes::Common).unwrap();
        let mut spans = Vec::new();
        loop {
            let taken = tap.next().await.unwrap().unwrap();
            if taken.head.at.first == end.start {
                tap.ledger().settle(end.clone(), Outcome::Delivered);
                break;
            }
            let body = tap.body(&taken.head).await;
            for n in taken.open.iter().flat_map(|range| range.clone()) {
                if let Ok(body) = &body {
                    let text = &body[n as usize * SPAN..][..SPAN];
                    spans.push(std::str::from_utf8(text).unwrap().parse().unwrap());
                }
            }
            let first = taken.head.at.first;
            tap.ledger().settle(first..first + u64::from(taken.head.at.items), Outcome::Delivered);
        }
        assert_eq!(tap.ledger().waiting(), 0);
        all.push(spans);
    }
    let id = channel.id().to_owned();
    channel.stop();
    let [zipkin, archive] = all.try_into().unwrap();
    (zipkin, archive, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_segment_that_cannot_be_read_is_counted_as_the_start_counts_it_also_where_entries_were_addressed() {
    let left = Left::new().await;
    let (channel, _) = open(&left.settings, &left.disk).unwrap();
    for _ in 0..5 {
        channel.append(vec![draft(Some("dead-letters"), &["a", "b"])]).wait().await.unwrap();
    }
    channel.stop();
    left.flip(&left.segments().pop().unwrap(), 100);
    let survey = left.survey();
    let (channel, _) = open(&left.settings, &left.disk).unwrap();
    for drain in &survey.drains {
        let real = account(&channel, &drain.name).waiting;
        assert_eq!(drain.account.as_ref().unwrap().waiting, real, "{}", drain.name);
    }
}

fn known() -> Vec<(String, Takes)> {
    let common = |name: &str| (name.to_owned(), Takes::Common);
    vec![common("zipkin"), common("archive"), ("dead-letters".to_owned(), Takes::Addressed)]
}

fn half() -> Vec<u64> {
    ((MESSAGES / 2 * SPANS) as u64..whole().len() as u64).collect()
}

fn whole() -> Vec<u64> {
    (0..(MESSAGES * SPANS) as u64).collect()
}

/// The one finding that is damage.
fn only(survey: &Survey) -> &Finding {
    let damage: Vec<&Finding> = survey.findings.iter().filter(|f| f.grade == Grade::Damage).collect();
    let [finding] = damage[..] else { panic!("{:#?}", survey.findings) };
    finding
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_channel_is_surveyed_without_a_finding_and_repaired_into_itself() {
    let left = Left::new().await;
    let before: Vec<Vec<u8>> = left.segments().iter().map(|path| fs::read(path).unwrap()).collect();
    let survey = left.survey();
    assert_eq!(survey.findings, []);
    assert_eq!((survey.items(), survey.end(), survey.segments.len()), (200, 200, left.segments().len()));
    assert!(survey.segments.len() > 2);
    let accounts: Vec<_> =
        survey.drains.iter().map(|d| (d.name.as_str(), d.account.as_ref().unwrap().waiting)).collect();
    assert_eq!(accounts, [("zipkin", 100), ("archive", 200), ("dead-letters", 0)]);
    assert!(survey.drains.iter().all(|d| d.open == d.account.as_ref().unwrap().waiting));
    assert!(left.plan().unwrap().is_empty());
    let after: Vec<Vec<u8>> = left.segments().iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(before == after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_body_is_found_with_who_loses_what_and_costs_its_frame_alone() {
    let left = Left::new().await;
    let second = &left.segments()[1];
    let first = u64::from_str_radix(second.file_stem().unwrap().to_str().unwrap(), 16).unwrap();
    left.flip(second, HEAD + 2000);
    let survey = left.survey();
    let finding = only(&survey);
    assert_eq!((&finding.file, finding.offset), (second, Some(HEAD)));
    assert_eq!(finding.positions, Some(first..first + 4));
    let zipkin = if first >= 100 { vec![("zipkin".to_owned(), 4)] } else { vec![] };
    assert_eq!(finding.lost, [zipkin, vec![("archive".to_owned(), 4)]].concat());
    assert!(!survey.refuses() && Survey::of(&left.disk, &left.path(""), Depth::Heads).unwrap().findings.is_empty());
    let (_, archive, _) = left.given().await;
    assert_eq!(archive, whole().into_iter().filter(|n| !(first..first + 4).contains(n)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_frames_head_is_a_stretch_that_is_no_frame() {
    let left = Left::new().await;
    left.flip(&left.segments()[0], HEAD + 20);
    let survey = left.survey();
    let finding = only(&survey);
    assert_eq!((finding.offset, finding.positions.clone()), (Some(HEAD), Some(0..4)));
    assert_eq!(finding.lost, [("archive".to_owned(), 4)], "zipkin had settled them");
    assert!(finding.means.contains("lost: 4 for archive"), "{finding:?}");
    let (zipkin, archive, _) = left.given().await;
    assert_eq!((zipkin, archive), (half(), whole()[4..].to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_segment_head_is_found_with_all_its_positions_and_the_start_sets_it_aside() {
    let left = Left::new().await;
    let segments = left.segments();
    let first = |n: usize| u64::from_str_radix(segments[n].file_stem().unwrap().to_str().unwrap(), 16).unwrap();
    left.flip(&segments[1], 100);
    let survey = left.survey();
    let finding = only(&survey);
    assert_eq!((&finding.file, finding.positions.clone()), (&segments[1], Some(first(1)..first(2))));
    assert!(finding.lost.contains(&("archive".to_owned(), first(2) - first(1))), "{finding:?}");
    assert!(left.plan().unwrap().is_empty(), "the start sees to it");
    let (_, archive, _) = left.given().await;
    assert_eq!(archive, whole().into_iter().filter(|n| !(first(1)..first(2)).contains(n)).collect::<Vec<_>>());
    let again = left.survey();
    assert!(again.set_aside.iter().any(|entry| entry.name.ends_with(".seg")), "{:?}", again.set_aside);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slot_that_rots_is_named_and_both_refuse_the_start_until_the_drain_begins_at_the_oldest_again() {
    let left = Left::new().await;
    left.flip(&left.path("cursors"), 5000);
    let survey = left.survey();
    assert!(only(&survey).what.contains("one of the two slots of row 0") && !survey.refuses());
    assert!(left.plan().unwrap().is_empty());
    left.flip(&left.path("cursors"), SLOT + 5000);
    assert_eq!(left.survey().drains[0].state, RowState::Unreadable);
    let before = left.survey().channel_id();
    let steps = left.repair();
    assert!(
        steps[0].starts_with("drain zipkin begins at position 0,") && steps[0].contains("at most 200 spans"),
        "{steps:?}"
    );
    assert!(!steps.iter().any(|step| step.contains("archive")), "{steps:?}");
    assert_eq!(fs::metadata(left.path("damaged/cursors")).unwrap().len(), 64 * 2 * SLOT, "kept as it was");
    let (zipkin, archive, id) = left.given().await;
    assert_eq!((zipkin, archive), (whole(), whole()));
    assert_eq!(Some(id), before, "the other cursors vouch for the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_gone_or_rotten_is_written_again_as_all_else_says() {
    let left = Left::new().await;
    let before = left.survey().channel_id();
    for round in 0..2 {
        if round == 0 {
            fs::remove_file(left.path("id")).unwrap();
        } else {
            left.flip(&left.path("id"), 15);
        }
        let steps = left.repair();
        assert!(steps.len() == 1 && steps[0].contains(before.as_ref().unwrap()), "{steps:?}");
    }
    assert!(left.path("damaged/id").exists());
    let (zipkin, archive, id) = left.given().await;
    assert_eq!((zipkin, archive, Some(id)), (half(), whole(), before));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_channel_gives_way_to_what_every_segment_says() {
    let (left, other) = (Left::new().await, Left::new().await);
    let before = left.survey().channel_id();
    fs::copy(other.path("id"), left.path("id")).unwrap();
    left.repair();
    let (zipkin, archive, id) = left.given().await;
    assert_eq!((zipkin, archive, Some(id)), (half(), whole(), before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_of_another_channel_is_moved_aside() {
    let (left, other) = (Left::new().await, Left::new().await);
    let segments = left.segments();
    let names: Vec<&str> = segments.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    let first = |n: usize| u64::from_str_radix(segments[n].file_stem().unwrap().to_str().unwrap(), 16).unwrap();
    fs::copy(&other.segments()[1], &segments[1]).unwrap();
    let steps = left.repair();
    assert!(steps.len() == 1 && steps[0].starts_with(&format!("{} is of the channel", names[1])), "{steps:?}");
    assert!(left.path("damaged").join(names[1]).exists());
    let (_, archive, _) = left.given().await;
    assert_eq!(archive, whole().into_iter().filter(|n| !(first(1)..first(2)).contains(n)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_that_are_gone_begin_at_the_oldest_for_every_drain_that_is_named() {
    for cut in [None, Some(SLOT * 2)] {
        let left = Left::new().await;
        let before = left.survey().channel_id();
        match cut {
            None => fs::remove_file(left.path("cursors")).unwrap(),
            Some(len) => fs::OpenOptions::new().write(true).open(left.path("cursors")).unwrap().set_len(len).unwrap(),
        }
        let nobody = Plan::of(&left.survey(), &known()[2..]);
        assert!(matches!(nobody, Err(Impossible::Nameless(_))), "nothing is guessed");
        let steps = left.repair();
        assert!(steps.iter().any(|step| step.starts_with("drain archive begins at position 0,")), "{steps:?}");
        let (zipkin, archive, id) = left.given().await;
        let expected = if cut.is_some() { half() } else { whole() };
        assert_eq!(
            (zipkin, archive, Some(id)),
            (expected, whole(), before),
            "the log's end is whole, so it is certain"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_vouches_for_the_logs_end_the_channel_takes_another_identity() {
    let left = Left::new().await;
    let before = left.survey().channel_id();
    // The last frame's body rots, and with the cursors goes what vouched for it.
    let last = left.segments().pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    left.flip(&last, end as u64);
    fs::remove_file(left.path("cursors")).unwrap();
    let steps = left.repair();
    assert!(steps[0].contains("takes the identity") && steps[0].contains(before.as_ref().unwrap()), "{steps:?}");
    let (zipkin, archive, id) = left.given().await;
    let expected = &whole()[..whole().len() - SPANS];
    assert_eq!((&zipkin[..], &archive[..]), (expected, expected));
    assert_ne!(Some(id), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_without_a_readable_byte_begins_anew_under_another_identity() {
    let left = Left::new().await;
    let before = left.survey().channel_id();
    for segment in left.segments() {
        left.flip(&segment, 100);
    }
    left.flip(&left.path("id"), 15);
    (0..3).for_each(|row| left.flip_row(row));
    let steps = left.repair();
    assert!(steps[0].contains("begins anew"), "{steps:?}");
    let (zipkin, archive, id) = left.given().await;
    assert_eq!((zipkin, archive), (vec![], vec![]));
    assert_ne!(Some(id), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_nobody_that_is_named_is_emptied_and_one_whose_name_is_lost_goes_to_who_has_none() {
    let left = Left::new().await;
    left.flip_row(20);
    // Blank slots with a flipped bit: nobody's, and no drain of the gateway is without a row.
    let steps = left.repair();
    assert!(steps[0].contains("of no drain that is named"), "{steps:?}");
    for slot in [0, 1] {
        left.flip(&left.path("cursors"), slot * SLOT + 136);
        fs::OpenOptions::new()
            .write(true)
            .open(left.path("cursors"))
            .unwrap()
            .write_all_at(b"?", slot * SLOT + 136)
            .unwrap();
    }
    let steps = left.repair();
    assert!(steps[0].starts_with("drain zipkin begins"), "{steps:?}");
    let (zipkin, archive, _) = left.given().await;
    assert_eq!((zipkin, archive), (whole(), whole()));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_refused_by_name_and_left_alone() {
    let left = Left::new().await;
    let mut id = fs::read(left.path("id")).unwrap();
    id[8] = 2;
    let sum = crc32c(&id[..28]);
    id[28..32].copy_from_slice(&sum.to_le_bytes());
    fs::write(left.path("id"), &id).unwrap();
    let Err(error) = left.plan() else { panic!("a plan") };
    assert!(matches!(&error, Impossible::Version(path) if path.ends_with("id")), "{error}");
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(bytes);
    digest.finalize() as u32
}

/// The files of a directory, on a simulated disk, all of them durable.
fn simulated(left: &Left) -> SimDisk {
    let (simulated, channel) = (SimDisk::new(), left.settings.dir.clone());
    let disk = simulated.disk();
    disk.create_dir_all(&channel).unwrap();
    for entry in fs::read_dir(&channel).unwrap().map(|entry| entry.unwrap()).filter(|e| e.path().is_file()) {
        let file = disk.open(&entry.path(), disk::Open::Truncate).unwrap();
        file.write_at(&[std::io::IoSlice::new(&fs::read(entry.path()).unwrap())], 0).unwrap();
        file.sync_all().unwrap();
    }
    disk.sync_dir(&channel).unwrap();
    simulated
}

/// Whether what stood at the front of a file, or all of it, is in `damaged/`.
fn is_kept(disk: &SimDisk, before: &[u8]) -> bool {
    let damaged = disk.names().into_iter().filter(|path| path.parent().is_some_and(|dir| dir.ends_with("damaged")));
    damaged.into_iter().any(|path| disk.read(&path) == before)
}

/// Where nothing vouches for the log's end, on a simulated disk, beside a segment of another channel; which one that
/// is.
async fn ruined() -> (SimDisk, Left, PathBuf) {
    let (left, other) = (Left::new().await, Left::new().await);
    let (channel, _) = open(&other.settings, &other.disk).unwrap();
    for _ in 0..3 {
        channel.append(vec![draft(None, &["x".repeat(40_000).as_str()])]).wait().await.unwrap();
    }
    channel.stop();
    let last = left.segments().pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    left.flip(&last, bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64);
    (0..3).for_each(|row| left.flip_row(row));
    let foreign = other.segments().pop().unwrap();
    let stray = left.path(foreign.file_name().unwrap().to_str().unwrap());
    fs::copy(foreign, &stray).unwrap();
    let disk = simulated(&left);
    (disk.clone(), Left { disk: disk.disk(), ..left }, stray)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_cut_off_at_any_call_goes_on_to_the_same_end_with_all_that_it_replaced_kept() {
    let (whole, left, stray) = ruined().await;
    let before = left.survey().channel_id();
    let ours = left.segments().into_iter().filter(|path| *path != stray);
    let heads = ours.map(|path| whole.read(&path)[..HEAD as usize].to_vec());
    let replaced: Vec<Vec<u8>> = heads.chain(["cursors", "id"].map(|name| whole.read(&left.path(name)))).collect();
    let expected = self::whole()[..MESSAGES * SPANS - SPANS].to_vec();
    let foreign = whole.read(&stray);
    for cut in 1.. {
        let disk = whole.killed();
        disk.fault_at(whole.calls() + cut, Fault::Off);
        let done = left.plan().unwrap().carry_out(&*disk.disk()).is_ok();
        let powers = [Power::Nothing, Power::Everything, Power::Some(cut)];
        let powers = powers.into_iter().map(|power| (format!("{power:?}"), disk.lost_power(power)));
        for (how, after) in powers.chain([("killed".to_owned(), disk.killed())]) {
            let case = format!("cut at {cut}, {how}");
            let survey = Survey::of(&after.disk(), &left.settings.dir, Depth::Whole).unwrap();
            // Only the sync of its last step may be lacking.
            let is_done = survey.channel_id().is_some_and(|id| Some(id) != before);
            assert!(survey.refuses() || is_done, "{case}: half a repair must not start");
            Plan::of(&survey, &known()).unwrap().carry_out(&*after.disk()).unwrap();
            assert!(replaced.iter().all(|bytes| is_kept(&after, bytes)), "{case}: what was replaced is not kept");
            // A rename into another directory is one step, but the simulated disk may lose half of it.
            let half = how.starts_with("Some");
            assert!(half || is_kept(&after, &foreign), "{case}: what was moved is not kept");
            let (zipkin, archive, id) = given(&left.settings, &after.disk()).await;
            assert_eq!((&zipkin, &archive), (&expected, &expected), "{case}");
            assert_ne!(Some(id), before, "{case}");
        }
        if done {
            assert!(cut > 30, "it has more calls than {cut}");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_longer_than_it_should_be_is_copied_whole_before_it_is_replaced() {
    let left = Left::new().await;
    let mut cursors = fs::read(left.path("cursors")).unwrap();
    cursors.extend(vec![7; 100_000]);
    fs::write(left.path("cursors"), &cursors).unwrap();
    left.flip_row(0);
    let before = fs::read(left.path("cursors")).unwrap();
    left.repair();
    assert!(fs::read(left.path("damaged/cursors")).unwrap() == before, "cut short");
}
