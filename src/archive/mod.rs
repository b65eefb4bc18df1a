//! Bulk files: every span exactly once, in objects that are planned before they are written.
//!
//! Heads are taken from the channel and added up to a [`stretch`]; its [`plan`] is made durable in
//! the drain's note; then the stretch is read again, encoded aside ([`mod@format`]) and [`publish`]ed
//! under a name made of channel and positions ([`object`]), in a directory of its time ([`path`]); last,
//! the stretch is settled and the note cleared in one durable slot. A crash anywhere in between ends in
//! the same object.
//!
//! A store that fails costs this archive only: tries are repeated with back-off and spans wait in
//! the channel. A name that holds another object stops the archive with an error that names both.

pub mod format;
pub mod lane;
pub mod note;
pub mod object;
pub mod path;
mod patience;
pub mod plan;
pub mod publish;
pub mod read;
mod run;
pub mod status;
pub mod store;
pub mod stretch;
pub mod target;
pub mod trim;
mod trimmer;

use std::path::PathBuf;
use std::time::Duration;

use crate::drain::Sieve;

pub use format::Format;
pub use path::Template;
pub use run::{Archive, Prepared};
pub use status::{State, Status};
pub use target::Target;

#[derive(Debug, Clone)]
pub struct Settings {
    /// The drain's name: `archive`.
    pub name: String,
    /// Which spans it takes. Default: all.
    pub sieve: Sieve,
    pub target: Target,
    /// `<data>/archive`, whatever the store: a plan of the built-in archive is carried out there after a change, too.
    pub built_in: PathBuf,
    /// The data directory: objects on their way to a remote store are staged in its `staging/NAME`.
    pub data: PathBuf,
    pub connect: target::Connect,
    /// What objects are from the next plan on. Default gzip JSON lines; Parquet for a store that the user names.
    pub format: Format,
    /// Directories of objects, from the next plan on. Default none; by day and hour in a store that the user names.
    pub path: Template,
    /// An object is closed at about this size. Default 64 MiB; 128 MiB for a store that the user names.
    pub roll_bytes: u64,
    /// Or when its first span is this old. Default 60 s; 10 min for a store that the user names.
    pub roll_age: Duration,
    /// Or after this long without a span. Default 5 s; 60 s for a store that the user names.
    pub roll_idle: Duration,
    /// Free bytes on the disk under which intake stops ([`free_min`](crate::channel::free_min)). Nothing is written
    /// under half of it; the built-in archive gives way before it is reached.
    pub free_min_bytes: Option<u64>,
}
