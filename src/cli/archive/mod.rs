//! `spangate archive list | cat | replay`: what an archive holds, printed or sent again.
//!
//! Which archive is said by the configuration, as the gateway has it, or by a URL alone, on any machine that reaches
//! the store. Looking changes nothing, asks no gateway and needs none; beside one that runs, the built-in archive may
//! lose its oldest objects meanwhile, which is said.

mod cat;
mod list;
pub mod options;
pub mod replay;

use std::ffi::OsString;
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::{Exit, complain};
use crate::archive::read::{Trouble, Walk};
use crate::archive::store::{self, Store};
use crate::archive::target::Target;
use crate::archive::{self, plan::Place};
use crate::config::Settings;
use crate::disk;
use crate::sink;
use crate::tasks;
use options::{Options, Verb};

/// Does what is asked of the archive that is meant.
pub(super) fn run(options: Options, settings: Settings) -> Exit {
    let store = match place(&options, settings).and_then(|archive| open(&archive)) {
        Ok(store) => store,
        Err(what) => return complain(&what, Exit::Configuration),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("no runtime: {error}"), Exit::Fault),
    };
    let exit = carry_out(options, store, &runtime);
    // What still blocks a thread was given up.
    runtime.shutdown_background();
    exit
}

fn carry_out(options: Options, store: Arc<dyn Store>, runtime: &Runtime) -> Exit {
    let objects = match runtime.block_on(store.list()) {
        Ok(objects) => objects,
        Err(error) => return complain(&error.to_string(), Exit::Fault),
    };
    let mut objects = objects;
    objects.sort_by(|a, b| (&a.parsed, &a.name).cmp(&(&b.parsed, &b.name)));
    match options.verb {
        Verb::Replay(replay) => replay::replay(&replay, options.selection, objects, store, runtime),
        Verb::List { json } => runtime.block_on(list::list(&*store, &options.selection, objects, json)),
        Verb::Cat { origin } => {
            let walk = Walk::new(store, runtime.handle().clone(), options.selection, objects);
            runtime.block_on(tasks::blocking(move || cat::cat(walk, origin)))
        }
    }
}

/// The command line that a replay began with, where `options` only say that it is to go on.
pub(super) fn began(options: &Options) -> Option<Result<Vec<OsString>, String>> {
    let Verb::Replay(replay) = &options.verb else { return None };
    let line = |arguments: Vec<String>| {
        let state = format!("--state={}", replay.state.display());
        let command = ["spangate", "archive", "replay"].map(str::to_owned);
        command.into_iter().chain(arguments).chain([state]).map(OsString::from).collect()
    };
    replay.resumes.then(|| replay::arguments(replay).map(line))
}

/// The settings of the archive that is meant; an error says which there are.
fn place(options: &Options, settings: Settings) -> Result<archive::Settings, String> {
    let names: Vec<String> = settings.archives.iter().map(|archive| archive.name.clone()).collect();
    let meant = |archive: &archive::Settings| options.drain.as_ref().is_none_or(|drain| *drain == archive.name);
    let mut found: Vec<archive::Settings> = settings.archives.into_iter().filter(meant).collect();
    match (found.pop(), found.len(), &options.drain) {
        (Some(archive), 0, _) => at(archive, options),
        (Some(_), ..) => Err(format!("there are several archives: --drain takes one of {}", names.join(", "))),
        (None, _, Some(drain)) if !names.is_empty() => {
            Err(format!("no archive {drain}; there is {}", names.join(", ")))
        }
        (None, ..) => Err("no archive is configured; --url URL names one".to_owned()),
    }
}

/// With what stands beside `--url`.
fn at(mut archive: archive::Settings, options: &Options) -> Result<archive::Settings, String> {
    if options.region.is_some() {
        archive.connect.region.clone_from(&options.region);
    }
    let Some(endpoint) = &options.endpoint else { return Ok(archive) };
    archive.target = match archive.target {
        Target::Remote(remote) => {
            let expected = "--endpoint: expected http://HOST[:PORT] or https://HOST[:PORT]";
            Target::Remote(remote.at(endpoint).ok_or(expected)?)
        }
        _ => return Err("--endpoint: the archive is on this machine".to_owned()),
    };
    Ok(archive)
}

fn open(archive: &archive::Settings) -> Result<Arc<dyn Store>, String> {
    let disk = disk::real();
    if let Some(dir) = archive.target.dir() {
        disk.list(dir).map_err(|error| {
            format!("no archive at {}: {error}; --data, --drain or --url names another", dir.display())
        })?;
    }
    sink::install_tls();
    let place = Place::of(&archive.target).map_err(|error| error.to_string())?;
    store::make(&place, archive, &disk).map_err(|error| error.to_string())
}

/// What a walk met beside spans.
#[derive(Default)]
struct Losses {
    damaged: u64,
    gone: u64,
}

impl Losses {
    /// Says what happened to an object; an error is the store's, and ends the walk.
    fn count(&mut self, trouble: Trouble) -> Result<(), String> {
        match trouble {
            Trouble::Store(error) => return Err(error.to_string()),
            Trouble::Damaged { .. } => self.damaged += 1,
            Trouble::Gone { .. } => self.gone += 1,
        }
        complain(&trouble.to_string(), Exit::Done);
        Ok(())
    }

    /// The end of a walk that came to its end.
    fn exit(&self, walk: &Walk, exit: Exit) -> Exit {
        if let [first, rest @ ..] = walk.mute() {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            let what = "keep neither category nor labels: nothing was taken from";
            complain(&format!("JSON lines {what} {first}{more}"), Exit::Done);
        }
        if self.gone > 0 {
            complain(&format!("{} objects went away while they were read", self.gone), Exit::Done);
        }
        match (self.damaged, exit) {
            (0, exit) => exit,
            (damaged, _) => complain(&format!("{damaged} objects are damaged; see above"), Exit::Damaged),
        }
    }
}
