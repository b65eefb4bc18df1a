//! Where objects go. A store publishes an object if its name is free, looks, lists and cleans; whoever
//! asks decides what an answer means. Its errors name the place and what was tried.
//!
//! Every object is first written whole into a [`Staging`] directory of this machine, out of readers'
//! sight: so the encoder never waits for a network, an upload that broke begins again from the file, and
//! memory does not grow with an object. Names may have directories (`dt=2026-11-21/hour=06/NAME`).

mod bucket;
mod connect;
mod hdfs;
mod inside;
pub mod local;
mod staging;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

pub use staging::{Room, Staged, Staging};

use super::Settings;
use super::object::{Object, ObjectName};
use super::plan::{Place, PlaceError};
use crate::disk::Disk;

/// The future that a store's calls return. Dropping it gives the try up; what it began may yet take effect.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A place for objects. Each call is one try, within the store's own time limits, and may be repeated.
pub trait Store: Send + Sync + 'static {
    /// Makes ready before anything else is asked.
    fn open(&self) -> Answer<'_, ()>;
    /// Where objects are written before they are published.
    fn staging(&self) -> &Staging;
    /// Begins an upload of `bytes`, where such leave traces that have to be undone by name: the caller makes that name
    /// durable before it publishes. `None`: nothing was begun, and there would be nothing to undo.
    fn begin<'a>(&'a self, name: &'a str, object: &'a Object, bytes: u64) -> Answer<'a, Option<String>>;
    /// Undoes what is left of an upload; one that is gone, or has become an object, is none.
    fn abandon<'a>(&'a self, name: &'a str, upload: &'a str) -> Answer<'a, ()>;
    /// Makes a finished object durable under a name, if nothing has that, with `object` as what it says of itself: in
    /// the store's own metadata, where it has some. `upload` is what [`begin`](Self::begin) gave for it. After an error
    /// the object may stand, or come to stand, all the same. The staged file is gone when the name stands.
    fn publish<'a>(
        &'a self,
        name: &'a str,
        object: &'a Object,
        staged: Staged,
        upload: Option<&'a str>,
    ) -> Answer<'a, Publish>;
    /// What stands under a name; durably so, where it is an object of ours.
    fn look<'a>(&'a self, name: &'a str) -> Answer<'a, Look>;
    /// The objects in all directories, in order of (channel, partition, position). Other files are passed over.
    fn list(&self) -> Answer<'_, Vec<Listed>>;
    /// A part of an object: `len` bytes from `at` on, fewer where it ends before.
    fn fetch<'a>(&'a self, name: &'a str, at: u64, len: u64) -> Answer<'a, Bytes>;
    /// Removes what earlier runs left unfinished, here and in staging: all of it, or what `channel` left. A place that
    /// gateways share holds unfinished objects of others, which may be at work.
    fn clean<'a>(&'a self, channel: Option<&'a str>) -> Answer<'a, ()>;
}

/// What stands under a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    Absent,
    Object(Object),
    /// Something that no archive wrote, and how that shows.
    Stranger(String),
}

/// What publishing did.
#[derive(Debug, PartialEq, Eq)]
pub enum Publish {
    Done,
    /// The name was taken: nothing was changed.
    Exists,
}

/// An object that stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// With its directories.
    pub name: String,
    pub parsed: ObjectName,
    pub bytes: u64,
    /// When it came to stand, microseconds since the epoch by the store's clock, where that is known.
    pub written_us: Option<u64>,
}

/// Why a store did not do what was asked. All of it may pass: the caller tries again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {what} {}: {source}", .path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot {what} {place}: {reason}")]
    Remote { what: &'static str, place: String, reason: String },
    #[error("{} has {free} bytes free, {reserve} are kept in reserve", .path.display())]
    Reserve { path: PathBuf, free: u64, reserve: u64 },
}

/// A place that cannot be made a store of: the configuration is wrong, here or in the ecosystem's own.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    #[error("{0}")]
    Place(#[from] PlaceError),
    #[error("archive {place}: {reason}")]
    Connect { place: String, reason: String },
}

/// The store of a place. Touches nothing.
pub fn make(place: &Place, settings: &Settings, disk: &Arc<dyn Disk>) -> Result<Arc<dyn Store>, MakeError> {
    let dir = match place {
        Place::BuiltIn => &settings.built_in,
        Place::Dir(dir) => dir,
        Place::Remote(remote) => {
            let dir = format!("staging/{}", settings.name);
            let staging = Staging::new(disk.clone(), settings.data.clone(), &dir, settings.free_min_bytes);
            let made = connect::connect(remote, &settings.connect, staging);
            return made.map_err(|reason| MakeError::Connect { place: remote.to_string(), reason });
        }
    };
    Ok(Arc::new(local::Local::new(disk.clone(), dir.clone(), settings.free_min_bytes)))
}
