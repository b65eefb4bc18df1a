//! What nobody took: spans that collectors refused and entries that could not be decoded.
//!
//! Files of JSON lines under `<data>/dead-letters/{refused,undecodable}/`, bounded apart,
//! oldest file removed first and counted. [`Store::write`] returns after the sync: only then
//! may the channel's positions be settled.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::metrics::Registry;

#[derive(Debug, Clone)]
pub struct Settings {
    /// `<data>/dead-letters`.
    pub dir: PathBuf,
    /// Default 1 GiB.
    pub refused_bytes_max: u64,
    /// Default 64 MiB.
    pub undecodable_bytes_max: u64,
    /// Free bytes on the disk under which nothing is written (half of the channel's reserve); `None`: 512 MiB or 2.5 %.
    pub free_min_bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A span in canonical proto3 bytes.
    Refused,
    /// A Scribe entry's message as it came.
    Undecodable,
}

#[derive(Debug, Clone)]
pub struct Letter {
    pub class: Class,
    /// When the gateway received it, microseconds since the epoch.
    pub received_us: u64,
    /// Who refused it and why.
    pub reason: String,
    /// The drain that gave it up.
    pub drain: String,
    /// Position in the channel: two letters with one position are one span, written twice around a crash.
    pub position: u64,
    pub origin: Vec<(String, String)>,
    pub bytes: Bytes,
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<()>);

impl Store {
    /// Opens the directory, making it if need be, and counts what is there.
    pub fn open(_: Settings, _: Arc<dyn Disk>, _: Clock, _channel_id: &str, _: &Registry) -> std::io::Result<Store> {
        todo!("drain helper")
    }
    /// Appends and syncs. Blocks; call through `tasks::blocking`.
    pub fn write(&self, _letters: &[Letter]) -> std::io::Result<()> {
        todo!("drain helper")
    }
}
