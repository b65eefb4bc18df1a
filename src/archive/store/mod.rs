//! Where objects go. A store stages (out of readers' sight), publishes if absent, looks, lists and
//! cleans; whoever asks decides what an answer means. Its errors name the path and what was tried.

pub mod local;

use std::io;
use std::path::PathBuf;

use super::format::FactsError;
use super::object::{Object, ObjectName};

/// What stands under a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    Absent,
    Object(Object),
    /// Something that no archive wrote.
    Stranger(FactsError),
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
    pub name: String,
    pub parsed: ObjectName,
    pub bytes: u64,
}

/// Why a store did not do what was asked. All of it may pass: the caller tries again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {what} {}: {source}", .path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} has {free} bytes free, {reserve} are kept in reserve", .path.display())]
    Reserve { path: PathBuf, free: u64, reserve: u64 },
}
