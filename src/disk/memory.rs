//! A file system in memory, for a channel that does not outlive its process.
//!
//! Bytes are held once, in chunks that are made when they are written: room that was only
//! reserved costs nothing. Removing or replacing a file gives its memory back at once, also
//! while it is open: reads through the old handle then fail with `NotFound`. Syncs have
//! nothing to do. It sets no bound of its own: whoever writes keeps to one, as the channel
//! does to its capacity. Directories are not told apart from names: any path can be made.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Disk, Entry, File, Open, Space};

/// The unit of memory: large enough that a segment has few, small enough that the unused end of
/// the last one, at most this for each segment, is little beside the smallest capacity (16 MiB).
const CHUNK: usize = 64 * 1024;

/// A file system that ends with its last handle. Cheap to clone.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Names>>);

#[derive(Default)]
struct Names {
    files: BTreeMap<PathBuf, Arc<MemoryFile>>,
    locked: BTreeSet<PathBuf>,
}

/// `None` once it was removed.
struct MemoryFile(RwLock<Option<Content>>);

#[derive(Default)]
struct Content {
    len: u64,
    /// By number; a chunk holds the bytes up to the last one written in it, what is behind them
    /// or in no chunk reads as zeros.
    chunks: BTreeMap<u64, Vec<u8>>,
}

impl MemoryDisk {
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// Bytes of memory that the files' chunks take.
    pub fn held_bytes(&self) -> u64 {
        let files: Vec<_> = self.names().files.values().cloned().collect();
        files.iter().map(|file| file.read().as_ref().map_or(0, |c| c.chunks.len() as u64 * CHUNK as u64)).sum()
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.lock().expect("nobody panicked while holding the names")
    }
}

impl Names {
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.files.remove(from).ok_or(ErrorKind::NotFound)?;
        if let Some(replaced) = self.files.insert(to.to_owned(), file) {
            replaced.free();
        }
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut names = self.names();
        let file = match (how, names.files.get(path)) {
            (Open::CreateNew, Some(_)) => return Err(ErrorKind::AlreadyExists.into()),
            (Open::Read | Open::Write, None) => return Err(ErrorKind::NotFound.into()),
            (Open::Read | Open::Write, Some(file)) => file.clone(),
            (Open::Truncate, Some(file)) => {
                file.set_len(0)?;
                file.clone()
            }
            (Open::CreateNew | Open::Truncate, None) => {
                let file = Arc::new(MemoryFile(RwLock::new(Some(Content::default()))));
                names.files.insert(path.to_owned(), file.clone());
                file
            }
        };
        Ok(file)
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let names = self.names();
        let files = names.files.iter().filter(|(path, _)| path.parent() == Some(dir));
        files
            .map(|(path, file)| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Ok(Entry { name, len: file.len()?, is_dir: false })
            })
            .collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.names().rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names();
        match names.files.contains_key(to) {
            true => Err(ErrorKind::AlreadyExists.into()),
            false => names.rename(from, to),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let file = self.names().files.remove(path).ok_or(ErrorKind::NotFound)?;
        file.free();
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Never low: memory that is short shows in no number that could be asked for.
    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space { free: u64::MAX, total: u64::MAX })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        match self.names().locked.insert(path.to_owned()) {
            true => Ok(Box::new(Lock(self.clone(), path.to_owned()))),
            false => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

struct Lock(MemoryDisk, PathBuf);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.names().locked.remove(&self.1);
    }
}

impl MemoryFile {
    fn read(&self) -> RwLockReadGuard<'_, Option<Content>> {
        self.0.read().expect("nobody panicked while holding a file")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Content>> {
        self.0.write().expect("nobody panicked while holding a file")
    }

    fn free(&self) {
        *self.write() = None;
    }
}

fn there<T>(content: Option<T>) -> io::Result<T> {
    content.ok_or_else(|| ErrorKind::NotFound.into())
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let content = self.read();
        Ok(there(content.as_ref())?.read(buf, at))
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], mut at: u64) -> io::Result<()> {
        let mut content = self.write();
        let content = there(content.as_mut())?;
        for buf in bufs {
            content.write(buf, at);
            at += buf.len() as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut content = self.write();
        let content = there(content.as_mut())?;
        content.len = content.len.max(len);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        there(self.write().as_mut())?.set_len(len);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(there(self.read().as_ref())?.len)
    }
}

impl Content {
    fn read(&self, buf: &mut [u8], at: u64) -> usize {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        for (piece, (number, from)) in pieces(&mut buf[..len], at) {
            let chunk = self.chunks.get(&number).map_or(&[][..], Vec::as_slice);
            let here = chunk.get(from..).unwrap_or_default();
            let n = here.len().min(piece.len());
            piece[..n].copy_from_slice(&here[..n]);
            piece[n..].fill(0);
        }
        len
    }

    fn write(&mut self, mut buf: &[u8], mut at: u64) {
        while !buf.is_empty() {
            let (number, from) = place(at);
            let (piece, rest) = buf.split_at(buf.len().min(CHUNK - from));
            let chunk = self.chunks.entry(number).or_insert_with(|| Vec::with_capacity(CHUNK));
            if chunk.len() < from {
                chunk.resize(from, 0);
            }
            // What is written behind the end is not filled with zeros first.
            let (over, behind) = piece.split_at(piece.len().min(chunk.len() - from));
            chunk[from..from + over.len()].copy_from_slice(over);
            chunk.extend_from_slice(behind);
            at += piece.len() as u64;
            buf = rest;
        }
        self.len = self.len.max(at);
    }

    fn set_len(&mut self, len: u64) {
        let (last, end) = place(len);
        // `end` bytes of the last chunk stay; none, if the length is a multiple of a chunk's.
        drop(self.chunks.split_off(&(last + u64::from(end > 0))));
        if let Some(chunk) = self.chunks.get_mut(&last) {
            chunk.truncate(end);
        }
        self.len = len;
    }
}

/// The number of the chunk that holds `at`, and the offset in it.
fn place(at: u64) -> (u64, usize) {
    (at / CHUNK as u64, (at % CHUNK as u64) as usize)
}

/// A buffer for the bytes at `at`, cut where chunks are.
fn pieces(buf: &mut [u8], mut at: u64) -> impl Iterator<Item = (&mut [u8], (u64, usize))> {
    let first = (CHUNK - place(at).1).min(buf.len());
    let (head, tail) = buf.split_at_mut(first);
    std::iter::once(head).chain(tail.chunks_mut(CHUNK)).map(move |piece| {
        let here = place(at);
        at += piece.len() as u64;
        (piece, here)
    })
}

#[cfg(test)]
mod tests;
