//! A directory as a store, over the disk seam, with file and directory syncs.
//!
//! `<dir>/<name>` are objects; `<dir>/_spangate/<name>.tmp` are unfinished ones, out of readers'
//! sight (Spark, Trino and Hive pass over names that start with `_`; `*.gz` does not match them).
//! A name is published by a rename that replaces nothing. All calls block.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Listed, Look, Publish, StoreError};
use crate::archive::format::{FactsError, Format};
use crate::archive::object::ObjectName;
use crate::channel;
use crate::disk::{Disk, File, Open};

const STAGING: &str = "_spangate";

/// Of the free space under which intake stops: what is left to objects under way then.
const RESERVE_SHARE: u64 = 2;

/// Bytes on the file system that holds a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub free: u64,
    /// Under this intake stops.
    pub floor: u64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Local {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    free_min_bytes: Option<u64>,
}

impl Local {
    /// Touches nothing; [`open`](Self::open) does.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf, free_min_bytes: Option<u64>) -> Self {
        Local { disk, dir, free_min_bytes }
    }

    /// Makes the directory if it is not there.
    pub fn open(&self) -> Result<(), StoreError> {
        self.disk.create_dir_all(&self.dir).map_err(failed("make the directory", &self.dir))
    }

    /// Starts an unfinished object, cutting what an earlier try left under this name. A directory
    /// that has gone since it was opened is an error: it may be a mount that will come back.
    pub fn stage(&self, name: &str) -> Result<Staged, StoreError> {
        self.check_room()?;
        let staging = self.dir.join(STAGING);
        self.disk.create_dir_all(&staging).map_err(failed("make the directory", &staging))?;
        let path = self.staged(name);
        let file = self.disk.open(&path, Open::Truncate).map_err(failed("create", &path))?;
        Ok(Staged { file, path, at: 0 })
    }

    /// Whether there is more room than the reserve.
    pub fn check_room(&self) -> Result<(), StoreError> {
        let Room { free, floor } = self.room()?;
        let reserve = floor / RESERVE_SHARE;
        if free < reserve {
            return Err(StoreError::Reserve { path: self.dir.clone(), free, reserve });
        }
        Ok(())
    }

    pub fn room(&self) -> Result<Room, StoreError> {
        let space = self.disk.space(&self.dir).map_err(failed("look at", &self.dir))?;
        Ok(Room { free: space.free, floor: channel::free_min(self.free_min_bytes, space.total) })
    }

    /// Makes a finished object durable and gives it its name, if nothing has that.
    pub fn publish(&self, name: &str, staged: Staged) -> Result<Publish, StoreError> {
        staged.file.sync_data().map_err(failed("sync", &staged.path))?;
        let to = self.dir.join(name);
        match self.disk.rename_new(&staged.path, &to) {
            Ok(()) => self.sync().map(|()| Publish::Done),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.remove_path(&staged.path)?;
                Ok(Publish::Exists)
            }
            Err(error) => Err(failed("rename to", &to)(error)),
        }
    }

    /// What stands under a name; durably so, where it is an object of ours: its content was synced
    /// before it got the name, and the directory is synced before this returns.
    pub fn look(&self, name: &str) -> Result<Look, StoreError> {
        let path = self.dir.join(name);
        let file = match self.disk.open(&path, Open::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Look::Absent),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let Some(format) = Format::of_name(name) else { return Ok(Look::Stranger(FactsError::Name)) };
        let facts = file.len().and_then(|len| format.facts(len, &mut |at, len| read_part(&*file, at, len)));
        match facts.map_err(failed("read", &path))? {
            Ok(object) => self.sync().map(|()| Look::Object(object)),
            Err(error) => Ok(Look::Stranger(error)),
        }
    }

    /// Bytes of a published object.
    pub fn size(&self, name: &str) -> Result<u64, StoreError> {
        let path = self.dir.join(name);
        let file = self.disk.open(&path, Open::Read).map_err(failed("open", &path))?;
        file.len().map_err(failed("look at", &path))
    }

    /// The objects, in order of (channel, partition, position). Other files are passed over.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let entries = self.disk.list(&self.dir).map_err(failed("list", &self.dir))?;
        let mut objects: Vec<Listed> = entries
            .into_iter()
            .filter(|entry| !entry.is_dir)
            .filter_map(|entry| {
                let format = Format::of_name(&entry.name)?;
                let parsed = ObjectName::parse(&entry.name, format.extension())?;
                Some(Listed { name: entry.name, parsed, bytes: entry.len })
            })
            .collect();
        objects.sort_by(|a, b| a.parsed.cmp(&b.parsed));
        Ok(objects)
    }

    /// Removes an object; one that is gone is as good as removed. Durable after [`sync`](Self::sync).
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.remove_path(&self.dir.join(name))
    }

    pub fn sync(&self) -> Result<(), StoreError> {
        self.disk.sync_dir(&self.dir).map_err(failed("sync", &self.dir))
    }

    /// Removes what earlier runs left unfinished: all of it, or what `channel` left. A directory
    /// that gateways share holds unfinished objects of others, which may be at work.
    pub fn clean(&self, channel: Option<&str>) -> Result<(), StoreError> {
        let staging = self.dir.join(STAGING);
        let entries = match self.disk.list(&staging) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("list", &staging)(error)),
        };
        let ours = |name: &str| channel.is_none_or(|channel| name.starts_with(channel));
        for entry in entries.iter().filter(|entry| !entry.is_dir && ours(&entry.name)) {
            self.remove_path(&staging.join(&entry.name))?;
        }
        Ok(())
    }

    fn staged(&self, name: &str) -> PathBuf {
        self.dir.join(STAGING).join(format!("{name}.tmp"))
    }

    fn remove_path(&self, path: &Path) -> Result<(), StoreError> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path)(error)),
            _ => Ok(()),
        }
    }
}

/// An unfinished object. One that is dropped stays in the staging directory until the next try
/// cuts it or the next start removes it.
pub struct Staged {
    file: Arc<dyn File>,
    path: PathBuf,
    at: u64,
}

impl Staged {
    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.at
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(&[IoSlice::new(bytes)], self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    /// Nothing is held back here; durability is [`Local::publish`]'s.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// At most `len` bytes from `at` on; fewer at the end of the file.
fn read_part(file: &dyn File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut part = vec![0; len];
    let mut have = 0;
    while have < len {
        match file.read_at(&mut part[have..], at + have as u64)? {
            0 => break,
            n => have += n,
        }
    }
    part.truncate(have);
    Ok(part)
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
