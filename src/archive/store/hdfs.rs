//! HDFS as a store: an object is written aside whole, synced, closed, and renamed where nothing has its name.
//!
//! `<prefix>/<name>` are objects; `<prefix>/_spangate/<file>.<attempt>` is a try at one, out of readers'
//! sight (Spark, Trino and Hive pass over names that start with `_`). No two tries share a name, so one
//! whose answer was lost meets no other; what is left of a try is removed by the next one at that object
//! or at the next start, also where it is still open for writing. An object's facts are those in its bytes.
//!
//! [`Files`] is the file system: the real one in [`hadoop`], one that fails as it is told in the tests.

mod hadoop;

use std::sync::Arc;

use bytes::Bytes;

use super::local::{DEPTH_MAX, STAGING, parsed_name};
use super::{Answer, Listed, Look, Publish, Staged, Staging, Store, inside};
use crate::archive::object::Object;
use crate::archive::target::{Connect, Remote};
use crate::tasks;

/// A file system in which a rename replaces nothing. Paths are absolute; each call is one try in bounded time.
trait Files: Send + Sync + 'static {
    fn stat<'a>(&'a self, path: &'a str) -> Answer<'a, Option<Stat>>;
    /// These bytes of a file, all of them.
    fn read<'a>(&'a self, path: &'a str, at: u64, len: u64) -> Answer<'a, Bytes>;
    /// Writes a new file, and makes it durable and complete.
    fn write<'a>(&'a self, path: &'a str, staged: Arc<Staged>) -> Answer<'a, ()>;
    /// Makes a directory and those above it, where they are not there.
    fn make_dir<'a>(&'a self, path: &'a str) -> Answer<'a, ()>;
    /// After an error it may have been done, or be done yet.
    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Answer<'a, Publish>;
    /// Removes a file; one that is gone is as good as removed.
    fn remove<'a>(&'a self, path: &'a str) -> Answer<'a, ()>;
    /// What is in a directory; nothing is in one that is not there.
    fn list<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<Entry>>;
}

struct Stat {
    bytes: u64,
    is_dir: bool,
    /// When it was closed, microseconds since the epoch.
    written_us: Option<u64>,
}

struct Entry {
    /// Without its directory.
    name: String,
    stat: Stat,
}

/// The store of a remote place, or why there can be none. Asks nobody.
pub fn connect(remote: &Remote, connect: &Connect, staging: Staging) -> Result<Arc<dyn Store>, String> {
    let files = hadoop::Hadoop::new(&remote.bucket, connect.timeout)?;
    Ok(Arc::new(Hdfs { files, prefix: remote.prefix.clone(), staging }))
}

struct Hdfs<F> {
    files: F,
    /// Without slashes at its ends; may be empty.
    prefix: String,
    staging: Staging,
}

impl<F: Files> Store for Hdfs<F> {
    /// The NameNode shows itself with the first look.
    fn open(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn staging(&self) -> &Staging {
        &self.staging
    }

    /// What is left of a try is found by listing.
    fn begin<'a>(&'a self, _: &'a str, _: &'a Object, _: u64) -> Answer<'a, Option<String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn abandon<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn publish<'a>(&'a self, name: &'a str, _: &'a Object, staged: Staged, _: Option<&'a str>) -> Answer<'a, Publish> {
        Box::pin(async move {
            let (staged, file) = (Arc::new(staged), name.rsplit('/').next().unwrap_or(name));
            self.sweep(&format!("{file}.")).await?;
            let (attempt, object) = (self.attempt(file), self.path(name));
            self.files.make_dir(&self.path(STAGING)).await?;
            self.files.write(&attempt, staged.clone()).await?;
            if let Some((dir, _)) = name.rsplit_once('/') {
                self.files.make_dir(&self.path(dir)).await?;
            }
            let published = self.files.rename(&attempt, &object).await?;
            if published == Publish::Exists {
                self.files.remove(&attempt).await?;
            }
            tasks::blocking(move || staged.remove()).await?;
            Ok(published)
        })
    }

    /// An object was durable and complete before it got its name, and a NameNode's answer is in its journal.
    fn look<'a>(&'a self, name: &'a str) -> Answer<'a, Look> {
        Box::pin(async move {
            let path = self.path(name);
            match self.files.stat(&path).await? {
                None => Ok(Look::Absent),
                Some(Stat { is_dir: true, .. }) => Ok(Look::Stranger("a directory".to_owned())),
                Some(Stat { bytes, .. }) => inside::look(name, bytes, |at, len| self.files.read(&path, at, len)).await,
            }
        })
    }

    fn list(&self) -> Answer<'_, Vec<Listed>> {
        Box::pin(async move {
            let (mut objects, mut dirs) = (Vec::new(), vec![(String::new(), DEPTH_MAX)]);
            while let Some((dir, depth)) = dirs.pop() {
                for entry in self.files.list(&self.path(&dir)).await? {
                    let name = if dir.is_empty() { entry.name.clone() } else { format!("{dir}/{}", entry.name) };
                    if entry.stat.is_dir && depth > 0 && !entry.name.starts_with(['_', '.']) {
                        dirs.push((name, depth - 1));
                    } else if let Some(parsed) = parsed_name(&entry.name).filter(|_| !entry.stat.is_dir) {
                        let Stat { bytes, written_us, .. } = entry.stat;
                        objects.push(Listed { name, parsed, bytes, written_us });
                    }
                }
            }
            objects.sort_by(|a, b| a.parsed.cmp(&b.parsed));
            Ok(objects)
        })
    }

    fn fetch<'a>(&'a self, name: &'a str, at: u64, len: u64) -> Answer<'a, Bytes> {
        Box::pin(async move {
            let path = self.path(name);
            let end = self.files.stat(&path).await?.map_or(0, |stat| stat.bytes);
            let at = at.min(end);
            self.files.read(&path, at, len.min(end - at)).await
        })
    }

    /// Staging on this machine is one archive's own; in HDFS, names begin with their channel.
    fn clean<'a>(&'a self, channel: Option<&'a str>) -> Answer<'a, ()> {
        Box::pin(async move {
            let staging = self.staging.clone();
            tasks::blocking(move || staging.clean(None)).await?;
            self.sweep(channel.unwrap_or_default()).await
        })
    }
}

impl<F: Files> Hdfs<F> {
    /// The path of a name; of the prefix itself, where that is empty.
    fn path(&self, name: &str) -> String {
        let parts = [self.prefix.as_str(), name].into_iter().filter(|part| !part.is_empty());
        format!("/{}", parts.collect::<Vec<_>>().join("/"))
    }

    /// A name for a try that none had before: 64 bits at random.
    fn attempt(&self, file: &str) -> String {
        self.path(&format!("{STAGING}/{file}.{:016x}", fastrand::u64(..)))
    }

    /// Removes the tries whose names start so. An open one loses its lease with its name.
    async fn sweep(&self, start: &str) -> Result<(), super::StoreError> {
        let dir = self.path(STAGING);
        for entry in self.files.list(&dir).await? {
            if !entry.stat.is_dir && entry.name.starts_with(start) {
                self.files.remove(&format!("{dir}/{}", entry.name)).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
