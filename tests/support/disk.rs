//! A disk in memory that can fail, fill up, lose power and rot.
//!
//! Keeps two images: what a running system reads (page cache) and what would survive a loss
//! of power. Un-synced sectors of 512 bytes and directory entries survive or not by seed.
//! Mutating calls are counted; the nth can fail, or be the last that happens.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use spangate::disk::{Disk, Entry, File, Open, Space};

const SECTOR: usize = 512;

/// What the call with the chosen number does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Fails with EIO; a write may have been carried out, a sync loses its pages: they are
    /// read as written, count as clean, and are not on disk.
    Fail,
    /// Fails with ENOSPC and does nothing.
    NoSpace,
    /// Nothing happens any more from here on: the machine is off.
    Off,
}

/// What becomes of un-synced data when the power goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Power {
    /// All is lost.
    Nothing,
    /// All of it happened to be written back.
    Everything,
    /// Each sector and each directory entry by chance.
    Some(u64),
}

#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Inner>>);

#[derive(Clone, Default)]
struct Inner {
    files: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Entries not yet synced, in order.
    entries: Vec<Change>,
    dirs: BTreeSet<PathBuf>,
    synced_dirs: BTreeSet<PathBuf>,
    calls: u64,
    fault: Option<(u64, Fault)>,
    /// Syncs of data fail while this is set.
    sync_fails: bool,
    reads_fail: bool,
    off: bool,
    free: Option<u64>,
    locked: BTreeSet<PathBuf>,
}

#[derive(Clone, Default)]
struct Inode {
    cache: Vec<u8>,
    disk: Vec<u8>,
    /// Sectors of `cache` that a sync would write.
    dirty: BTreeSet<usize>,
}

#[derive(Clone)]
struct Change {
    dir: PathBuf,
    gone: Option<PathBuf>,
    set: Option<(PathBuf, usize)>,
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn enospc() -> io::Error {
    io::Error::from_raw_os_error(28)
}

impl SimDisk {
    pub fn new() -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Inner { dirs: [PathBuf::from("/")].into(), ..Inner::default() })))
    }

    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// Mutating calls so far.
    pub fn calls(&self) -> u64 {
        self.inner().calls
    }

    /// The call with this number (from 1, counted from the disk's making) meets the fault.
    pub fn fault_at(&self, call: u64, fault: Fault) {
        self.inner().fault = Some((call, fault));
    }

    /// The next call meets the fault.
    pub fn fault_next(&self, fault: Fault) {
        let mut inner = self.inner();
        inner.fault = Some((inner.calls + 1, fault));
    }

    /// Nothing happens any more from here on.
    pub fn turn_off(&self) {
        self.inner().off = true;
    }

    pub fn is_off(&self) -> bool {
        self.inner().off
    }

    /// Every sync of data fails from here on, or works again.
    pub fn fail_syncs(&self, fail: bool) {
        self.inner().sync_fails = fail;
    }

    pub fn fail_reads(&self, fail: bool) {
        self.inner().reads_fail = fail;
    }

    pub fn set_free(&self, free: u64) {
        self.inner().free = Some(free);
    }

    /// What a new process finds after the old one was killed: the page cache is as it was.
    pub fn killed(&self) -> SimDisk {
        let inner = self.inner();
        let fresh = Inner {
            fault: None,
            sync_fails: false,
            reads_fail: false,
            off: false,
            locked: BTreeSet::new(),
            ..inner.clone()
        };
        SimDisk(Arc::new(Mutex::new(fresh)))
    }

    /// What a new process finds after a loss of power.
    pub fn lost_power(&self, power: Power) -> SimDisk {
        let mut inner = self.killed().inner().clone();
        let mut chance = fastrand::Rng::with_seed(match power {
            Power::Some(seed) => seed,
            _ => 0,
        });
        let mut survives = |_: usize| match power {
            Power::Nothing => false,
            Power::Everything => true,
            Power::Some(_) => chance.bool(),
        };
        for file in &mut inner.files {
            file.lose(&mut survives);
        }
        for change in std::mem::take(&mut inner.entries) {
            if survives(0) {
                change.apply(&mut inner.durable_names);
            }
        }
        inner.names = inner.durable_names.clone();
        SimDisk(Arc::new(Mutex::new(inner)))
    }

    /// Flips a bit, on disk and in the cache.
    pub fn flip(&self, path: &Path, at: usize) {
        let mut inner = self.inner();
        let file = inner.names[path];
        inner.files[file].cache[at] ^= 1;
        inner.files[file].disk[at] ^= 1;
    }

    /// Overwrites, on disk and in the cache.
    pub fn overwrite(&self, path: &Path, at: usize, bytes: &[u8]) {
        let mut inner = self.inner();
        let file = inner.names[path];
        inner.files[file].cache[at..at + bytes.len()].copy_from_slice(bytes);
        inner.files[file].disk[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn read(&self, path: &Path) -> Vec<u8> {
        let inner = self.inner();
        inner.files[inner.names[path]].cache.clone()
    }

    /// All files, sorted.
    pub fn names(&self) -> Vec<PathBuf> {
        self.inner().names.keys().cloned().collect()
    }

    /// Directories that were ever synced.
    pub fn synced_dirs(&self) -> BTreeSet<PathBuf> {
        self.inner().synced_dirs.clone()
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Counts a mutating call; what goes wrong with it.
    fn call(&self) -> io::Result<(std::sync::MutexGuard<'_, Inner>, Option<Fault>)> {
        let mut inner = self.inner();
        if inner.off {
            return Err(eio());
        }
        inner.calls += 1;
        let fault = inner.fault.filter(|(n, _)| *n == inner.calls).map(|(_, fault)| fault);
        inner.off = fault == Some(Fault::Off);
        if fault == Some(Fault::NoSpace) {
            return Err(enospc());
        }
        Ok((inner, fault))
    }

    /// As [`call`](Self::call), for calls that do nothing when they fail.
    fn plain(&self) -> io::Result<std::sync::MutexGuard<'_, Inner>> {
        match self.call()? {
            (inner, None) => Ok(inner),
            _ => Err(eio()),
        }
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((path, file)) = &self.set {
            names.insert(path.clone(), *file);
        }
    }
}

impl Inode {
    fn mark(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / SECTOR..to.div_ceil(SECTOR));
    }

    /// What is cut off reads as zeros if the file grows again, there and on disk.
    fn set_len(&mut self, len: usize) {
        self.mark(len, self.disk.len().max(self.cache.len()).max(len));
        self.cache.resize(len, 0);
    }

    fn flush(&mut self) {
        self.disk.resize(self.cache.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.copy(sector);
        }
    }

    fn copy(&mut self, sector: usize) {
        let end = ((sector + 1) * SECTOR).min(self.cache.len());
        let start = (sector * SECTOR).min(end);
        if self.disk.len() < end {
            self.disk.resize(end, 0);
        }
        self.disk[start..end].copy_from_slice(&self.cache[start..end]);
    }

    fn lose(&mut self, survives: &mut dyn FnMut(usize) -> bool) {
        if self.disk.len() != self.cache.len() && survives(0) {
            self.disk.resize(self.cache.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            if survives(sector) {
                self.copy(sector);
            }
        }
        self.cache = self.disk.clone();
    }
}

impl Inner {
    fn change(&mut self, dir: &Path, gone: Option<&Path>, set: Option<(&Path, usize)>) {
        let change = Change {
            dir: dir.to_owned(),
            gone: gone.map(Path::to_owned),
            set: set.map(|(path, file)| (path.to_owned(), file)),
        };
        change.apply(&mut self.names);
        self.entries.push(change);
    }

    fn sync_dir(&mut self, dir: &Path) {
        self.synced_dirs.insert(dir.to_owned());
        let (synced, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.entries).into_iter().partition(|c| c.dir == dir);
        synced.iter().for_each(|c| c.apply(&mut self.durable_names));
        self.entries = kept;
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let file = *self.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        if from.parent() == to.parent() {
            self.change(from.parent().unwrap(), Some(from), Some((to, file)));
        } else {
            self.change(to.parent().unwrap(), None, Some((to, file)));
            self.change(from.parent().unwrap(), Some(from), None);
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if matches!(how, Open::Read | Open::Write) {
            let inner = self.inner();
            let file = *inner.names.get(path).ok_or(io::ErrorKind::NotFound)?;
            return if inner.off { Err(eio()) } else { Ok(Arc::new(SimFile { disk: self.clone(), file })) };
        }
        let mut inner = self.plain()?;
        let file = match inner.names.get(path) {
            Some(_) if how == Open::CreateNew => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(&file) => {
                inner.files[file].set_len(0);
                file
            }
            None => {
                let dir = path.parent().unwrap().to_owned();
                if !inner.dirs.contains(&dir) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                inner.files.push(Inode::default());
                let file = inner.files.len() - 1;
                inner.change(&dir, None, Some((path, file)));
                file
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), file }))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.plain()?;
        inner.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let inner = self.inner();
        if inner.off {
            return Err(eio());
        }
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let files = inner.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let file = |(path, &file): (&PathBuf, &usize)| Entry {
            name: name(path),
            len: inner.files[file].cache.len() as u64,
            is_dir: false,
        };
        let dirs = inner.dirs.iter().filter(|path| path.parent() == Some(dir));
        let dirs = dirs.map(|path| Entry { name: name(path), len: 0, is_dir: true });
        Ok(files.map(file).chain(dirs).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plain()?.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.plain()?;
        if inner.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.plain()?;
        if !inner.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(path.parent().unwrap(), Some(path), None);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.plain()?.sync_dir(dir);
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let inner = self.inner();
        Ok(Space { free: inner.free.unwrap_or(1 << 40), total: 1 << 40 })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        if !self.inner().locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        struct Unlock(SimDisk, PathBuf);
        impl Drop for Unlock {
            fn drop(&mut self) {
                self.0.inner().locked.remove(&self.1);
            }
        }
        Ok(Box::new(Unlock(self.clone(), path.to_owned())))
    }
}

struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let inner = self.disk.inner();
        if inner.off || inner.reads_fail {
            return Err(eio());
        }
        let cache = &inner.files[self.file].cache;
        let from = (at as usize).min(cache.len());
        let n = buf.len().min(cache.len() - from);
        buf[..n].copy_from_slice(&cache[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        let (mut inner, fault) = self.disk.call()?;
        let file = &mut inner.files[self.file];
        let mut end = at as usize;
        for buf in bufs {
            if file.cache.len() < end + buf.len() {
                file.cache.resize(end + buf.len(), 0);
            }
            file.cache[end..end + buf.len()].copy_from_slice(buf);
            end += buf.len();
        }
        file.mark(at as usize, end);
        if fault.is_some() { Err(eio()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut inner, fault) = self.disk.call()?;
        if fault == Some(Fault::Off) {
            return Err(eio());
        }
        if fault.is_some() || inner.sync_fails {
            inner.files[self.file].dirty.clear();
            return Err(eio());
        }
        inner.files[self.file].flush();
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut inner = self.disk.plain()?;
        if inner.free.is_some_and(|free| free < len) {
            return Err(enospc());
        }
        let file = &mut inner.files[self.file];
        let len = (len as usize).max(file.cache.len());
        file.cache.resize(len, 0);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.disk.plain()?;
        inner.files[self.file].set_len(len as usize);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.inner().files[self.file].cache.len() as u64)
    }
}
