//! An archive before it runs: its store is made, nothing is touched.

use std::sync::Arc;

use super::{Archive, Meters};
use crate::archive::lane::Rule;
use crate::archive::patience::Patience;
use crate::archive::plan::Place;
use crate::archive::status::Status;
use crate::archive::store::local::Local;
use crate::archive::store::{self, MakeError, Store};
use crate::archive::stretch::{Planner, Rolls};
use crate::archive::trim::Keeper;
use crate::archive::trimmer::Trimmer;
use crate::archive::{Settings, Target, path};
use crate::channel::{Channel, Tap};
use crate::disk::Disk;
use crate::metrics::Registry;

/// Part of the channel's capacity that open stretches may keep waiting.
const PINNED_SHARE: u64 = 4;

/// An archive that lacks nothing but its place in the channel.
pub struct Prepared {
    settings: Settings,
    store: Arc<dyn Store>,
    disk: Arc<dyn Disk>,
}

impl Archive {
    /// Makes the store. Touches no file and asks nobody: what is wrong with the place itself shows in [`Status`].
    ///
    /// # Errors
    /// Where no store can be made of the target.
    pub fn prepare(mut settings: Settings, disk: Arc<dyn Disk>) -> Result<Prepared, MakeError> {
        let store = store::make(&Place::of(&settings.target)?, &settings, &disk)?;
        settings.path = settings.path.on_host(&path::host_name());
        Ok(Archive::over(settings, disk, store))
    }

    /// As [`prepare`](Self::prepare), with a store that somebody else made of the target.
    pub fn over(settings: Settings, disk: Arc<dyn Disk>, store: Arc<dyn Store>) -> Prepared {
        Prepared { settings, store, disk }
    }
}

impl Prepared {
    /// An archive of what `tap` gives, which is a tap of `channel`.
    pub fn archive(self, channel: &Channel, tap: Tap, registry: &Registry) -> Archive {
        let Prepared { settings, store, disk } = self;
        let trimmer = match &settings.target {
            Target::BuiltIn { dir, keep_bytes } => {
                let store = Local::new(disk.clone(), dir.clone(), settings.free_min_bytes);
                let keeper = Keeper::new(*keep_bytes, channel.id());
                Some(Trimmer::new(&settings.name, keeper, store, registry))
            }
            Target::Local { .. } | Target::Remote(_) => None,
        };
        let bounds = channel.snapshot();
        let rolls = Rolls {
            bytes: settings.roll_bytes,
            pinned_bytes: bounds.capacity_bytes / PINNED_SHARE,
            pinned_spans: bounds.capacity_spans.map_or(u64::MAX, |most| (most / PINNED_SHARE).max(1)),
            age: settings.roll_age,
            idle: settings.roll_idle,
        };
        let status = Status::new();
        let failures = registry.counter("spangate_archive_failures_total", &[("drain", &settings.name)]);
        let rule = Rule { sieve: settings.sieve.clone(), path: settings.path.clone() };
        Archive {
            patience: Patience::new(&settings.name, status.clone(), failures),
            meters: Meters::new(registry, &settings.name),
            channel: channel.id().to_owned(),
            store,
            ledger: tap.ledger(),
            tap,
            planner: Planner::new(rolls, rule, channel.id(), settings.format.ratio_at_start()),
            later: None,
            frame: None,
            settled: 0,
            settings,
            disk,
            to_the_end: false,
            trimmer,
            status,
        }
    }
}
