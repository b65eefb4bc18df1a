//! `spangate channel inspect | verify | repair | send | forget`: the channel on disk, for when a disk has lied.
//!
//! Looking takes no lock and changes nothing, so it is done beside a gateway that runs. What changes something takes
//! the data directory's lock. `repair` and `forget` change nothing without `--yes`; `send` has none: it delivers, and
//! gives nothing up.

mod forget;
mod inspect;
mod repair;
pub mod send;
mod verify;

use std::io;
use std::sync::Arc;

use super::{Exit, complain};
use crate::channel::OpenError;
use crate::channel::survey::{Depth, Survey};
use crate::config::Settings;
use crate::disk::{self, Disk};

/// What is to be done with the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    Inspect { json: bool },
    Verify { json: bool },
    Repair { drains: Vec<String>, yes: bool },
    Send(send::Order),
    Forget { drain: String, yes: bool },
}

/// Does it.
pub fn run(verb: Verb, settings: Settings) -> Exit {
    let disk = disk::real();
    // A mistyped directory is not made into a channel, and not said to be a clean one.
    if let Err(error) = disk.list(&settings.channel.dir) {
        let dir = settings.channel.dir.display();
        return complain(
            &format!("no channel at {dir}: {error}; name the data directory with --data"),
            Exit::Configuration,
        );
    }
    match verb {
        Verb::Inspect { json } => inspect::inspect(&disk, &settings, json),
        Verb::Verify { json } => verify::verify(&disk, &settings, json),
        Verb::Repair { drains, yes } => repair::repair(&disk, &settings, &drains, yes),
        Verb::Send(order) => send::send(&disk, &settings, &order),
        Verb::Forget { drain, yes } => forget::forget(&disk, settings, &drain, yes),
    }
}

/// Looks at the channel's directory.
fn survey(disk: &Arc<dyn Disk>, settings: &Settings, depth: Depth) -> Result<Survey, Exit> {
    let dir = &settings.channel.dir;
    Survey::of(disk, dir, depth).map_err(|error| complain(&format!("{}: {error}", dir.display()), Exit::Fault))
}

/// Takes the data directory, as a gateway does.
fn lock(disk: &dyn Disk, settings: &Settings) -> Result<Box<dyn Send + Sync>, Exit> {
    let data = settings.data.display();
    disk.lock(&settings.data.join("lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            complain(&format!("{data} is in use by another spangate; stop it first"), Exit::InUse)
        }
        _ => complain(&format!("{data}: {error}"), Exit::Fault),
    })
}

/// Says why a channel could not be opened.
pub(super) fn failed(error: &OpenError) -> Exit {
    let exit = match error {
        OpenError::InUse { .. } => Exit::InUse,
        OpenError::Version { .. } | OpenError::Damaged { .. } => Exit::Damaged,
        OpenError::Drain { .. } => Exit::Configuration,
        OpenError::Io { .. } => Exit::Fault,
    };
    complain(&error.to_string(), exit)
}
