//! A disk that fails from a chosen change on: every change before it is made, none after it.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use spangate::disk::{Disk, Entry, File, Open, Space};

/// Changes and their count. Reading always works.
#[derive(Clone)]
pub struct Faulty {
    disk: Arc<dyn Disk>,
    gate: Arc<Gate>,
}

struct Gate {
    left: AtomicU64,
    tripped: AtomicBool,
}

impl Gate {
    fn pass(&self) -> io::Result<()> {
        let take = |left: u64| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            self.tripped.store(true, Ordering::SeqCst);
            return Err(io::Error::from_raw_os_error(28)); // ENOSPC
        }
        Ok(())
    }
}

impl Faulty {
    pub fn new(disk: Arc<dyn Disk>) -> Arc<Faulty> {
        let gate = Gate { left: AtomicU64::new(u64::MAX), tripped: AtomicBool::new(false) };
        Arc::new(Faulty { disk, gate: Arc::new(gate) })
    }

    pub fn fail_after(&self, changes: u64) {
        self.gate.left.store(changes, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.fail_after(u64::MAX);
    }

    pub fn tripped(&self) -> bool {
        self.gate.tripped.load(Ordering::SeqCst)
    }
}

impl Disk for Faulty {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if matches!(how, Open::CreateNew | Open::Truncate) {
            self.gate.pass()?;
        }
        let file = self.disk.open(path, how)?;
        Ok(Arc::new(FaultyFile { file, gate: self.gate.clone() }))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.gate.pass()?;
        self.disk.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.gate.pass()?;
        self.disk.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.gate.pass()?;
        self.disk.rename_new(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.gate.pass()?;
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.gate.pass()?;
        self.disk.sync_dir(dir)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.disk.space(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock(path)
    }
}

struct FaultyFile {
    file: Arc<dyn File>,
    gate: Arc<Gate>,
}

impl File for FaultyFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        self.gate.pass()?;
        self.file.write_at(bufs, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass()?;
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.gate.pass()?;
        self.file.sync_all()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.gate.pass()?;
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.gate.pass()?;
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
