//! What nobody took: spans that collectors refused and entries that could not be decoded.
//!
//! Files of JSON lines under `<data>/dead-letters/{refused,undecodable}/`, bounded apart,
//! oldest file removed first and counted. [`Store::write`] returns after the sync: only then
//! may the channel's positions be settled. A crash between the two writes a letter twice, with
//! one position. Lines that a crash left unfinished were never reported as written: those at
//! the end of the last file are cut at the next start, so that nothing is glued to them.

mod class;
mod filed;
mod line;
mod shelf;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::clock::Clock;
use crate::disk::{Disk, Space};
use crate::metrics::Registry;
use class::Files;

pub use filed::{Filed, Filter};
pub use shelf::{Chosen, Part, read};

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
    /// A span as an element of a `ListOfSpans`: tag, length, canonical proto3 bytes.
    Refused,
    /// The same; it was never refused, but broke the collectors that it was sent to. Kept with the refused ones.
    Suspect,
    /// A Scribe entry's message as it came.
    Undecodable,
}

impl Class {
    /// The class of this name.
    pub fn named(name: &str) -> Option<Class> {
        [Class::Refused, Class::Suspect, Class::Undecodable].into_iter().find(|class| class.name() == name)
    }

    /// Its name in letters and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Class::Refused => "refused",
            Class::Suspect => "suspect",
            Class::Undecodable => "undecodable",
        }
    }
}

/// The classes that share a directory, a file and a bound; the first gives its name.
const SPANS: &[Class] = &[Class::Refused, Class::Suspect];
const ENTRIES: &[Class] = &[Class::Undecodable];

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
pub struct Store(Arc<Inner>);

struct Inner {
    settings: Settings,
    disk: Arc<dyn Disk>,
    clock: Clock,
    channel_id: String,
    refused: Mutex<Files>,
    undecodable: Mutex<Files>,
    /// Letters are being taken out.
    tended: AtomicBool,
}

/// Letters go where less than this is free above the floor at which intake stops, until twice as much is. Half of what
/// the built-in archive leaves, which gives way first: a letter is nowhere else.
const MARGIN_BYTES: u64 = 64 << 20;

/// The right to take letters out; ends when it is dropped.
pub struct Tending(Arc<Inner>);

impl Drop for Tending {
    fn drop(&mut self) {
        self.0.tended.store(false, Ordering::Release);
    }
}

impl Store {
    /// Opens the directory, making it if need be, and counts what is there. Blocks.
    pub fn open(
        settings: Settings,
        disk: Arc<dyn Disk>,
        clock: Clock,
        channel_id: &str,
        registry: &Registry,
    ) -> io::Result<Store> {
        let open =
            |classes, bytes_max| Files::open(disk.clone(), &settings.dir, classes, bytes_max, registry).map(Mutex::new);
        let refused = open(SPANS, settings.refused_bytes_max)?;
        let undecodable = open(ENTRIES, settings.undecodable_bytes_max)?;
        let channel_id = channel_id.to_owned();
        let tended = AtomicBool::new(false);
        Ok(Store(Arc::new(Inner { settings, disk, clock, channel_id, refused, undecodable, tended })))
    }

    /// Appends and syncs: when it returns Ok all letters are durable, when it fails none is reported and each may be
    /// written again. Blocks; call through `tasks::blocking`.
    pub fn write(&self, letters: &[Letter]) -> io::Result<()> {
        self.check_space(letters)?;
        let written_us = self.0.clock.now_us();
        for classes in [SPANS, ENTRIES] {
            let mut lines = Vec::new();
            let mut written = Vec::new();
            for letter in letters.iter().filter(|l| classes.contains(&l.class)) {
                line::write(&mut lines, letter, &self.0.channel_id, written_us);
                written.push(letter.class);
            }
            if !written.is_empty() {
                self.files(classes[0]).append(&lines, &written)?;
            }
        }
        Ok(())
    }

    /// For one at a time: lines are known by their number.
    pub fn tend(&self) -> Option<Tending> {
        let free = !self.0.tended.swap(true, Ordering::Acquire);
        free.then(|| Tending(self.0.clone()))
    }

    /// The files of a class.
    fn files(&self, class: Class) -> MutexGuard<'_, Files> {
        let files = if class == Class::Undecodable { &self.0.undecodable } else { &self.0.refused };
        // A panic while the lock was held left counts that the next write corrects or fails on.
        files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the oldest letters, entries first, while the disk has hardly more room than intake needs; says whether
    /// any went. Blocks.
    pub fn give_way(&self) -> io::Result<bool> {
        let Space { free, total } = self.0.disk.space(&self.0.settings.dir)?;
        let floor = 2 * self.least(total);
        let mut wanted = (floor + 2 * MARGIN_BYTES).saturating_sub(free);
        let mut gave = false;
        if free >= floor + MARGIN_BYTES {
            return Ok(false);
        }
        for class in [Class::Undecodable, Class::Refused] {
            while wanted > 0
                && let Some(freed) = self.files(class).give_way()?
            {
                (wanted, gave) = (wanted.saturating_sub(freed), true);
            }
        }
        Ok(gave)
    }

    /// Half of what the channel leaves free (1 GiB or 5 %), so that intake stops first.
    fn least(&self, total: u64) -> u64 {
        self.0.settings.free_min_bytes.unwrap_or((512 << 20).max(total / 40))
    }

    fn check_space(&self, letters: &[Letter]) -> io::Result<()> {
        let Space { free, total } = self.0.disk.space(&self.0.settings.dir)?;
        let least = self.least(total);
        let wanted: u64 = letters.iter().map(line::len_max).sum();
        if free.saturating_sub(wanted) < least {
            let text =
                format!("{}: {free} bytes free, {wanted} wanted, {least} kept free", self.0.settings.dir.display());
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
