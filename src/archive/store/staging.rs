//! Unfinished objects, as files over the disk seam.
//!
//! A directory of one archive's own: of the data directory where the store is remote, else
//! `<dir>/_spangate` beside the objects, so that a rename publishes. A file is called as its object,
//! without directories: names are made of positions and do not meet. All calls block.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::StoreError;
use crate::channel;
use crate::disk::{self, Disk, File, Open};

/// Of the free space under which intake stops: what is left to objects under way then.
const RESERVE_SHARE: u64 = 2;

/// Bytes on the file system that holds a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub free: u64,
    /// Under this intake stops.
    pub floor: u64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Staging {
    pub(super) disk: Arc<dyn Disk>,
    /// Has to be there; that one goes away is an error.
    root: PathBuf,
    /// Made in it when it is needed.
    dir: PathBuf,
    free_min_bytes: Option<u64>,
}

impl Staging {
    /// The directory `name` in `root`. Touches nothing.
    pub fn new(disk: Arc<dyn Disk>, root: PathBuf, name: &str, free_min_bytes: Option<u64>) -> Self {
        Staging { disk, dir: root.join(name), root, free_min_bytes }
    }

    /// Starts an unfinished object, cutting what an earlier try left under this name. A root that has gone since it
    /// was opened is an error: it may be a mount that will come back.
    pub fn stage(&self, name: &str) -> Result<Staged, StoreError> {
        self.check_room()?;
        self.disk.create_dir_all(&self.dir).map_err(failed("make the directory", &self.dir))?;
        let path = self.path(name);
        let file = self.disk.open(&path, Open::Truncate).map_err(failed("create", &path))?;
        Ok(Staged { disk: self.disk.clone(), file, path, at: 0 })
    }

    /// Removes what is staged of an object, if anything is.
    pub fn discard(&self, name: &str) -> Result<(), StoreError> {
        remove(&*self.disk, &self.path(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        let base = name.rsplit('/').next().unwrap_or(name);
        self.dir.join(format!("{base}.tmp"))
    }

    /// Whether there is more room than the reserve.
    pub fn check_room(&self) -> Result<(), StoreError> {
        let Room { free, floor } = self.room()?;
        let reserve = floor / RESERVE_SHARE;
        if free < reserve {
            return Err(StoreError::Reserve { path: self.root.clone(), free, reserve });
        }
        Ok(())
    }

    pub fn room(&self) -> Result<Room, StoreError> {
        let space = self.disk.space(&self.root).map_err(failed("look at", &self.root))?;
        Ok(Room { free: space.free, floor: channel::free_min(self.free_min_bytes, space.total) })
    }

    /// Removes what earlier tries left: all of it, or what `channel` left.
    pub fn clean(&self, channel: Option<&str>) -> Result<(), StoreError> {
        let entries = match self.disk.list(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("list", &self.dir)(error)),
        };
        let ours = |name: &str| channel.is_none_or(|channel| name.starts_with(channel));
        for entry in entries.iter().filter(|entry| !entry.is_dir && ours(&entry.name)) {
            remove(&*self.disk, &self.dir.join(&entry.name))?;
        }
        Ok(())
    }
}

/// An unfinished object. One that is dropped stays until the next try cuts it or the next start removes it.
pub struct Staged {
    disk: Arc<dyn Disk>,
    file: Arc<dyn File>,
    path: PathBuf,
    at: u64,
}

impl Staged {
    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.at
    }

    /// Makes what was written durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(failed("sync", &self.path))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn remove(&self) -> Result<(), StoreError> {
        remove(&*self.disk, &self.path)
    }

    /// What was written from `at` on, at most `len` bytes, in buffers of at most `piece` bytes.
    pub fn read(&self, at: u64, len: u64, piece: u64) -> Result<Vec<Bytes>, StoreError> {
        let end = self.at.min(at + len);
        let starts = (at..end).step_by(usize::try_from(piece).expect("a piece fits in memory"));
        starts.map(|start| self.read_one(start, piece.min(end - start))).collect()
    }

    fn read_one(&self, at: u64, len: u64) -> Result<Bytes, StoreError> {
        let mut bytes = vec![0; usize::try_from(len).expect("a piece fits in memory")];
        let got = disk::read_full(&*self.file, &mut bytes, at).map_err(failed("read", &self.path))?;
        if got < bytes.len() {
            // Somebody cut the file: what is left of it is not the object.
            return Err(failed("read all of", &self.path)(ErrorKind::UnexpectedEof.into()));
        }
        Ok(Bytes::from(bytes))
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(&[IoSlice::new(bytes)], self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    /// Nothing is held back here; durability is [`sync`](Self::sync)'s.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes a file; one that is gone is as good as removed.
pub(super) fn remove(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    match disk.remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { what, path: path.to_owned(), source }
}
