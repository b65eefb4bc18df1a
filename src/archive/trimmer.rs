//! When the built-in archive is trimmed: after each object, and once a second for the disk's sake.
//!
//! The second one goes on while the archive waits, tries again or has stopped: it is intake that needs
//! the room. A failure is said and tried again: it costs room, no span.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::store::StoreError;
use super::store::local::Local;
use super::trim::{Keeper, Trimmed};
use crate::metrics::{Counter, Registry};
use crate::tasks;

/// As often as the channel looks at the disk.
const LOOK: Duration = Duration::from_secs(1);

/// Trims one directory. Cheap to clone.
#[derive(Clone)]
pub struct Trimmer(Arc<Inner>);

struct Inner {
    drain: String,
    /// What it knows, and whether the last try failed; locked while the directory is trimmed.
    keeper: Mutex<(Keeper, bool)>,
    store: Local,
    objects: Counter,
    bytes: Counter,
}

impl Trimmer {
    pub fn new(drain: &str, keeper: Keeper, store: Local, registry: &Registry) -> Trimmer {
        let counter = |name| registry.counter(name, &[("drain", drain)]);
        Trimmer(Arc::new(Inner {
            drain: drain.to_owned(),
            keeper: Mutex::new((keeper, false)),
            store,
            objects: counter("spangate_archive_trimmed_objects_total"),
            bytes: counter("spangate_archive_trimmed_bytes_total"),
        }))
    }

    /// Looks once a second; never ends.
    pub async fn run(&self) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        look.tick().await;
        loop {
            look.tick().await;
            self.trim().await;
        }
    }

    /// Notes an object that was published.
    pub fn add(&self, bytes: u64) {
        self.0.keeper().0.add(bytes);
    }

    /// Trims if need be.
    pub async fn trim(&self) {
        let inner = self.0.clone();
        tasks::blocking(move || inner.trim()).await;
    }
}

impl Inner {
    fn trim(&self) {
        let mut guard = self.keeper();
        let (keeper, failing) = &mut *guard;
        match keeper.trim(&self.store) {
            Ok(trimmed) => {
                *failing = false;
                self.count(&trimmed);
            }
            Err(error) => self.failed(&error, std::mem::replace(failing, true)),
        }
    }

    fn count(&self, trimmed: &Trimmed) {
        let Trimmed { objects, bytes, short } = *trimmed;
        if objects == 0 {
            return;
        }
        self.objects.increment(objects);
        self.bytes.increment(bytes);
        let drain = self.drain.as_str();
        match short {
            None => tracing::info!(drain, objects, bytes, "oldest objects removed to stay within the bound"),
            Some(room) => {
                let (free, free_min) = (room.free, room.floor);
                tracing::warn!(
                    drain,
                    objects,
                    bytes,
                    free,
                    free_min,
                    "oldest objects removed: the disk is nearly full, and intake would stop before the archive gives way"
                );
            }
        }
    }

    fn failed(&self, error: &StoreError, again: bool) {
        if !again {
            tracing::warn!(drain = self.drain, %error, "the archive cannot be trimmed; trying again");
        }
    }

    /// After a panic it lists the directory again, at worst.
    fn keeper(&self) -> std::sync::MutexGuard<'_, (Keeper, bool)> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
