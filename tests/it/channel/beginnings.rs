//! Drains that come and go on a disk that fails: what was refused must not be found by the next process.

use std::io;
use std::sync::Mutex;

use spangate::disk::{Entry, File, Open, Space};

use super::limits::until;
use super::*;

/// The drains that a process finds that starts now.
fn found(settings: &Settings, disk: &SimDisk) -> Vec<String> {
    let (channel, found) = open(settings, &disk.killed().disk()).unwrap();
    assert_eq!(found.damaged_items, 0);
    channel.snapshot().accounts.into_iter().map(|account| account.drain).collect()
}

/// Two slots, each written and synced.
const CALLS: u64 = 4;

/// All calls fail from this one on, until the work is done.
fn failing<T>(disk: &SimDisk, call: u64, work: impl FnOnce() -> T) -> T {
    disk.fault_in(disk.calls() + call..u64::MAX, Fault::Fail);
    let done = work();
    disk.mend();
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_whose_beginning_failed_is_not_there_after_a_restart() {
    let settings = small();
    for call in 1..=CALLS {
        let (disk, channel, mut tap) = begun(&settings);
        let second = failing(&disk, call, || channel.tap("second", Start::End, Takes::Common));
        assert!(second.is_err(), "call {call}");
        until("it is not written over", || found(&settings, &disk) == ["zipkin"]).await;
        for _ in 0..4 {
            say(&channel, &"x".repeat(30_000)).await;
            drained(&channel, &mut tap).await;
        }
        until("it holds the log", || segments(&disk).len() == 1).await;
        // The row is as good as any other.
        drop(channel.tap("third", Start::End, Takes::Common).unwrap());
        assert_eq!(found(&settings, &disk), ["zipkin", "third"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_whose_forgetting_failed_is_there_after_a_restart() {
    let settings = small();
    for call in 1..=CALLS {
        let (disk, channel, tap) = begun(&settings);
        drop(tap);
        assert!(failing(&disk, call, || channel.forget("zipkin")).is_err(), "call {call}");
        let _tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
        until("it is not saved again", || found(&settings, &disk) == ["zipkin"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_that_failed_takes_nothing_from_the_first_drain_that_there_is() {
    let (settings, disk) = (small(), SimDisk::new());
    let (channel, _) = open(&settings, &disk.disk()).unwrap();
    for _ in 0..4 {
        say(&channel, &"x".repeat(30_000)).await;
    }
    assert!(failing(&disk, 2, || channel.tap("zipkin", Start::End, Takes::Common)).is_err());
    say(&channel, "last").await;
    until("it is not written over", || found(&settings, &disk).is_empty()).await;
    let mut tap = channel.tap("zipkin", Start::Oldest, Takes::Common).unwrap();
    assert_eq!(drained(&channel, &mut tap).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_is_known_is_attached_while_the_disk_cannot_be_read() {
    let settings = small();
    let (disk, channel, tap) = begun(&settings);
    for _ in 0..4 {
        say(&channel, &"x".repeat(30_000)).await;
    }
    channel.stop();
    drop((tap, channel));
    let (channel, _) = open(&settings, &disk.disk()).unwrap();
    disk.fail_reads(true);
    let tap = channel.tap("zipkin", Start::Oldest, Takes::Common);
    disk.mend();
    assert_eq!(drained(&channel, &mut tap.unwrap()).await.len(), 4);
}

/// When something is done while a head is read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    BeforeItIsOpened,
    AfterItWasRead,
}

type Meanwhile = Arc<Mutex<Option<(Moment, Box<dyn FnOnce() + Send>)>>>;

/// A disk on which something is done, once, while a file is opened to be read.
struct Busy {
    disk: SimDisk,
    meanwhile: Meanwhile,
}

struct BusyFile {
    file: Arc<dyn File>,
    meanwhile: Meanwhile,
}

fn at(moment: Moment, meanwhile: &Meanwhile) {
    let due = meanwhile.lock().unwrap().take_if(|(when, _)| *when == moment);
    if let Some((_, work)) = due {
        work();
    }
}

impl Disk for Busy {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if how != Open::Read {
            return self.disk.open(path, how);
        }
        at(Moment::BeforeItIsOpened, &self.meanwhile);
        let file = self.disk.open(path, how)?;
        Ok(Arc::new(BusyFile { file, meanwhile: self.meanwhile.clone() }))
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename_new(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.disk.space(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + std::marker::Sync>> {
        self.disk.lock(path)
    }
}

impl File for BusyFile {
    fn read_at(&self, buf: &mut [u8], at_offset: u64) -> io::Result<usize> {
        let got = self.file.read_at(buf, at_offset);
        at(Moment::AfterItWasRead, &self.meanwhile);
        got
    }
    fn write_at(&self, bufs: &[io::IoSlice<'_>], at: u64) -> io::Result<()> {
        self.file.write_at(bufs, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_begins_at_the_oldest_begins_in_a_segment_that_is_there_though_one_goes_meanwhile() {
    // So that nobody has opened it.
    let settings = Settings { cache_bytes: 16 << 20, ..small() };
    for moment in [Moment::BeforeItIsOpened, Moment::AfterItWasRead] {
        let (disk, meanwhile) = (SimDisk::new(), Meanwhile::default());
        let busy: Arc<dyn Disk> = Arc::new(Busy { disk: disk.clone(), meanwhile: meanwhile.clone() });
        let (channel, _) = open(&settings, &busy).unwrap();
        let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
        for n in 0..6 {
            say(&channel, &format!("{n}{}", "x".repeat(30_000))).await;
            within(tap.next()).await.unwrap().unwrap();
        }
        let first = segments(&disk);
        let second = u64::from_str_radix(first[1].file_stem().unwrap().to_str().unwrap(), 16).unwrap();
        let (ledger, oldest) = (tap.ledger(), first[0].clone());
        let work = move || {
            ledger.settle(0..second, Outcome::Delivered);
            let deadline = Instant::now() + Duration::from_secs(20);
            while disk.names().contains(&oldest) {
                assert!(Instant::now() < deadline, "it does not go");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        *meanwhile.lock().unwrap() = Some((moment, Box::new(work)));
        let mut late = channel.tap("late", Start::Oldest, Takes::Common).unwrap();
        assert!(meanwhile.lock().unwrap().is_none(), "{moment:?}: nothing was read");
        let given = drained(&channel, &mut late).await;
        assert_eq!(given.len() as u64, 6 - second, "{moment:?}");
        let account = account(&channel, "late");
        assert_eq!((account.accepted, account.outcomes[&Outcome::Damaged]), (6 - second, 0), "{moment:?}");
    }
}
