//! A directory as a store, over the disk seam, with file and directory syncs.
//!
//! `<dir>/<name>` are objects; `<dir>/_spangate/` holds unfinished ones, out of readers' sight (Spark,
//! Trino and Hive pass over names that start with `_`; `*.gz` does not match them). A name is published
//! by a rename that replaces nothing. Directories in a name are made, and synced in the one above.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::staging::{self, failed};
use super::{Answer, Listed, Look, Publish, Room, Staged, Staging, Store, StoreError};
use crate::archive::format::{FactsError, Format};
use crate::archive::object::{Object, ObjectName};
use crate::disk::{self, Disk, File, Open};
use crate::tasks;

pub(super) const STAGING: &str = "_spangate";

/// Directories in each other that a listing goes into: a template's bound, with room to spare.
pub(super) const DEPTH_MAX: usize = 32;

/// Cheap to clone. Its own calls block; those of [`Store`] do so on a blocking thread.
#[derive(Clone)]
pub struct Local {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    staging: Staging,
}

impl Store for Local {
    fn open(&self) -> Answer<'_, ()> {
        self.blocking(Local::make)
    }

    fn staging(&self) -> &Staging {
        &self.staging
    }

    /// What is staged is found by listing.
    fn begin<'a>(&'a self, _: &'a str, _: &'a Object, _: u64) -> Answer<'a, Option<String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn abandon<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn publish<'a>(&'a self, name: &'a str, _: &'a Object, staged: Staged, _: Option<&'a str>) -> Answer<'a, Publish> {
        let name = name.to_owned();
        self.blocking(move |local| local.name_it(&name, &staged))
    }

    fn look<'a>(&'a self, name: &'a str) -> Answer<'a, Look> {
        let name = name.to_owned();
        self.blocking(move |local| local.look_at(&name))
    }

    fn list(&self) -> Answer<'_, Vec<Listed>> {
        self.blocking(Local::dated)
    }

    fn fetch<'a>(&'a self, name: &'a str, at: u64, len: u64) -> Answer<'a, Bytes> {
        let name = name.to_owned();
        self.blocking(move |local| local.part_of(&name, at, len))
    }

    fn clean<'a>(&'a self, channel: Option<&'a str>) -> Answer<'a, ()> {
        let channel = channel.map(str::to_owned);
        self.blocking(move |local| local.staging.clean(channel.as_deref()))
    }
}

impl Local {
    /// Touches nothing; [`open`](Store::open) does.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf, free_min_bytes: Option<u64>) -> Self {
        let staging = Staging::new(disk.clone(), dir.clone(), STAGING, free_min_bytes);
        Local { disk, dir, staging }
    }

    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Local) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        let local = self.clone();
        Box::pin(tasks::blocking(move || work(&local)))
    }

    /// Makes the directory if it is not there, and its name durable: whoever made it may not have got so far.
    fn make(&self) -> Result<(), StoreError> {
        let made = self.disk.create_dir_all(&self.dir).and_then(|()| disk::sync_name(&*self.disk, &self.dir));
        made.map_err(failed("make the directory", &self.dir))
    }

    pub fn room(&self) -> Result<Room, StoreError> {
        self.staging.room()
    }

    fn name_it(&self, name: &str, staged: &Staged) -> Result<Publish, StoreError> {
        staged.sync()?;
        let to = self.dir.join(name);
        let dir = parent(&to);
        if dir != self.dir {
            self.disk.create_dir_all(dir).map_err(failed("make the directory", dir))?;
        }
        match self.disk.rename_new(staged.path(), &to) {
            Ok(()) => self.sync_up(dir).map(|()| Publish::Done),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => staged.remove().map(|()| Publish::Exists),
            Err(error) => Err(failed("rename to", &to)(error)),
        }
    }

    /// An object's content was synced before it got its name, and the directory is synced before this returns.
    fn look_at(&self, name: &str) -> Result<Look, StoreError> {
        let path = self.dir.join(name);
        let file = match self.disk.open(&path, Open::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Look::Absent),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let Some(format) = Format::of_name(name) else { return Ok(Look::Stranger(FactsError::Name.to_string())) };
        let facts = file.len().and_then(|len| format.facts(len, &mut |at, len| read_part(&*file, at, len)));
        match facts.map_err(failed("read", &path))? {
            Ok(object) => self.sync_up(parent(&path)).map(|()| Look::Object(object)),
            Err(error) => Ok(Look::Stranger(error.to_string())),
        }
    }

    /// See [`Store::list`].
    pub fn objects(&self) -> Result<Vec<Listed>, StoreError> {
        let mut objects = Vec::new();
        self.gather("", DEPTH_MAX, &mut objects)?;
        objects.sort_by(|a, b| a.parsed.cmp(&b.parsed));
        Ok(objects)
    }

    /// The same, with the times at which they were written.
    fn dated(&self) -> Result<Vec<Listed>, StoreError> {
        let mut objects = self.objects()?;
        for object in &mut objects {
            let path = self.dir.join(&object.name);
            object.written_us = match self.disk.written_us(&path) {
                // It was removed since the directory was read: whoever reads it will see.
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                other => other.map_err(failed("look at", &path))?,
            };
        }
        Ok(objects)
    }

    fn part_of(&self, name: &str, at: u64, len: u64) -> Result<Bytes, StoreError> {
        let path = self.dir.join(name);
        let file = self.disk.open(&path, Open::Read).map_err(failed("open", &path))?;
        let len = usize::try_from(len).expect("a part fits in memory");
        read_part(&*file, at, len).map(Bytes::from).map_err(failed("read", &path))
    }

    /// Adds the objects under `prefix`, which is empty or ends in `/`.
    fn gather(&self, prefix: &str, depth: usize, objects: &mut Vec<Listed>) -> Result<(), StoreError> {
        let dir = self.dir.join(prefix);
        for entry in self.disk.list(&dir).map_err(failed("list", &dir))? {
            let name = format!("{prefix}{}", entry.name);
            if entry.is_dir && depth > 0 && !entry.name.starts_with(['_', '.']) {
                self.gather(&format!("{name}/"), depth - 1, objects)?;
            } else if let Some(parsed) = parsed_name(&entry.name).filter(|_| !entry.is_dir) {
                objects.push(Listed { name, parsed, bytes: entry.len, written_us: None });
            }
        }
        Ok(())
    }

    /// Removes an object; one that is gone is as good as removed. Durable after [`sync`](Self::sync).
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        staging::remove(&*self.disk, &self.dir.join(name))
    }

    /// Makes removals durable, of names without directories.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.sync_dir(&self.dir)
    }

    /// Syncs a directory, and those between it and ours: another process, or one that was killed before it synced it,
    /// may have made it.
    fn sync_up(&self, dir: &Path) -> Result<(), StoreError> {
        dir.ancestors().take_while(|above| above.starts_with(&self.dir)).try_for_each(|dir| self.sync_dir(dir))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), StoreError> {
        self.disk.sync_dir(dir).map_err(failed("sync", dir))
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("a name in a directory has one above it")
}

/// `None` for a file that no archive named.
pub(super) fn parsed_name(file: &str) -> Option<ObjectName> {
    ObjectName::parse(file, Format::of_name(file)?.extension())
}

/// At most `len` bytes from `at` on; fewer at the end of the file.
fn read_part(file: &dyn File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut part = vec![0; len];
    let have = disk::read_full(file, &mut part, at)?;
    part.truncate(have);
    Ok(part)
}

#[cfg(test)]
mod tests;
