//! Configuration: from what was typed to what is meant.
//!
//! [`resolve`] tells the story: layers of flags, variables and a TOML file (`raw`, `file`)
//! are matched with one table of settings (`table`, `rows`), understood (`value`),
//! laid over each other (`layers`, `drains`), built into [`Settings`] and checked against
//! each other (`checks`). Nothing is guessed: whatever is not understood in full is a problem,
//! and all problems of a configuration are one [`Report`].

mod build;
mod change;
mod checks;
pub mod collector;
mod drains;
pub mod file;
mod layers;
mod problem;
mod raw;
mod resolved;
mod rows;
pub mod table;
pub mod value;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use change::{Change, Changes, LIVE};
pub use problem::{Origin, Problem, Report};
pub use raw::{CONFIG_VARIABLE, is_switch};
pub use resolved::{Entry, Resolved};

/// Everything that is meant, resolved and checked. What was typed is `Raw`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Absolute.
    pub data: PathBuf,
    pub scribe: crate::listener::scribe::Settings,
    pub http: crate::listener::http::Settings,
    pub intake: crate::listener::intake::Settings,
    pub admin: crate::admin::Settings,
    pub channel_kind: ChannelKind,
    pub channel: crate::channel::Settings,
    pub dead_letters: crate::deadletter::Settings,
    pub drains: Vec<Drain>,
    pub archives: Vec<crate::archive::Settings>,
    /// Drains that may be forgotten although spans wait for them (`retired = true`).
    pub retired: Vec<String>,
    /// Longest time from SIGTERM to exit. Default 20 s.
    pub stop_timeout: Duration,
    pub log: Log,
}

/// Where spans wait for the drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    /// In files of the data directory.
    File,
    /// In the process's memory: what waits is lost when the process ends.
    Memory,
}

/// A drain that feeds a sink group.
#[derive(Debug, Clone)]
pub struct Drain {
    pub drain: crate::drain::Settings,
    pub start: crate::channel::Start,
    pub sinks: Vec<crate::sink::Settings>,
}

#[derive(Debug, Clone)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing` filter, default `info`.
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// All that was typed, before anything is understood.
#[derive(Debug, Default)]
pub struct Typed {
    /// Rows of `table` that have a flag, with the texts of each.
    pub flags: Vec<(&'static table::Setting, Vec<String>)>,
    /// The environment; others than ours are passed over.
    pub variables: Vec<(OsString, OsString)>,
    pub file: Option<file::Source>,
    /// Relative paths start here. Absolute.
    pub working_dir: PathBuf,
}

/// A configuration that is understood in full.
#[derive(Debug, Clone)]
pub struct Understood {
    pub settings: Settings,
    pub resolved: Resolved,
}

/// Resolves and checks a configuration.
pub fn resolve(typed: Typed) -> Result<Understood, Report> {
    let mut problems = Vec::new();
    let mut raw = typed.file.map(|source| file::read(source, &mut problems)).unwrap_or_default();
    raw.given.extend(raw::variables(&typed.variables, &mut problems));
    raw.given.extend(raw::flags(typed.flags));
    let mut values = layers::Values::gather(table::Scope::Gateway, "", &raw.given, &mut problems);
    values.make_absolute("data", &typed.working_dir);
    values.make_absolute("admin.token_file", &typed.working_dir);
    layers::memory_defaults(&mut values);
    let drains = drains::read(&mut raw, &mut problems);
    checks::all(&values, &drains, &mut problems);
    match Report::of(problems) {
        Some(report) => Err(report),
        None => {
            Ok(Understood { settings: build::settings(&values, &drains), resolved: Resolved::new(&values, &drains) })
        }
    }
}

/// What an empty configuration in `working_dir` means.
pub fn defaults(working_dir: PathBuf) -> Settings {
    let typed = Typed { working_dir, ..Typed::default() };
    resolve(typed).expect("the defaults are a configuration").settings
}
