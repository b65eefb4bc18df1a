//! The oldest segment, while it goes: a new drain that is to begin there reads its head meanwhile.

use std::io;
use std::sync::Mutex;

use spangate::disk::{Entry, File, Open, Space};

use super::*;

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
