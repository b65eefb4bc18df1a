//! A disk in memory whose next call can be made to fail.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::disk::{Disk, Entry, File, Open, Space};

#[derive(Default)]
pub struct Memory {
    files: Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>,
    pub free: AtomicU64,
    /// The next sync fails, after the write went through.
    pub fail_sync: Arc<AtomicBool>,
    pub dir_syncs: AtomicU64,
}

struct MemoryFile {
    bytes: Mutex<Vec<u8>>,
    fail_sync: Arc<AtomicBool>,
}

impl Memory {
    /// One with room for all that a test writes.
    pub fn new() -> Arc<Memory> {
        Arc::new(Memory { free: AtomicU64::new(1 << 40), ..Memory::default() })
    }

    /// The files and what they hold, by path.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.files.lock().unwrap().iter().map(|(path, f)| (path.clone(), f.bytes.lock().unwrap().clone())).collect()
    }

    /// Appends to a file as a crash might have.
    pub fn tear(&self, name: &str, bytes: &[u8]) {
        let files = self.files.lock().unwrap();
        let (_, file) = files.iter().find(|(path, _)| path.ends_with(name)).unwrap();
        file.bytes.lock().unwrap().extend_from_slice(bytes);
    }
}

impl Disk for Memory {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut files = self.files.lock().unwrap();
        match (files.get(path), how) {
            (Some(_), Open::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (None, Open::Read | Open::Write) => Err(io::ErrorKind::NotFound.into()),
            (Some(file), Open::Read | Open::Write) => Ok(file.clone()),
            (_, Open::CreateNew | Open::Truncate) => {
                let file = Arc::new(MemoryFile { bytes: Mutex::default(), fail_sync: self.fail_sync.clone() });
                files.insert(path.to_owned(), file.clone());
                Ok(file)
            }
        }
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let files = self.files.lock().unwrap();
        let here = files.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(here
            .map(|(path, file)| Entry {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                len: file.bytes.lock().unwrap().len() as u64,
                is_dir: false,
            })
            .collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn rename_new(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!("dead letters are not renamed")
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().unwrap().remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.dir_syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space { free: self.free.load(Ordering::Relaxed), total: 1 << 40 })
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Send + Sync>> {
        unreachable!("the channel holds the lock")
    }
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let bytes = self.bytes.lock().unwrap();
        let rest = bytes.get(at as usize..).unwrap_or_default();
        // Short reads, as a real file may give.
        let read = rest.len().min(buf.len()).min(1_000);
        buf[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        let mut bytes = self.bytes.lock().unwrap();
        bytes.resize(at as usize, 0);
        bufs.iter().for_each(|buf| bytes.extend_from_slice(buf));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.fail_sync.swap(false, Ordering::Relaxed) {
            return Err(io::Error::other("the test fails this sync"));
        }
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        unreachable!("dead letters grow as they come")
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }
}
