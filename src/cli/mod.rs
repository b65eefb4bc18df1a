//! The command line: what is asked, which settings are meant, and what the exit code says.
//!
//! [`main`] tells the story. Exit codes: 0 stopped or answered, 1 our own fault or the
//! machine's, 2 configuration, 3 a port or the data directory in use, 4 damage that needs a
//! person. Answers go to stdout, everything that is wrong to stderr.

pub mod archive;
mod args;
mod banner;
mod channel;
mod dead_letters;
mod logs;
pub mod send;
mod source;

use std::ffi::OsString;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::table::{Scope, row};
use crate::config::{self, Report, Typed, Understood};
use crate::gateway;

use args::{Asked, Command, Line};

/// What the process's end says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Stopped as asked, or answered.
    Done = 0,
    /// Our own fault, or the machine's.
    Fault = 1,
    Configuration = 2,
    InUse = 3,
    Damaged = 4,
}

/// Runs a command line.
pub fn main(
    args: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let exit = match args::parse(args) {
        // A panic is our own fault, too; its hook has said where.
        Ok(line) => catch_unwind(AssertUnwindSafe(|| match line {
            Line::Send(options) => send::send(options),
            Line::Asked(asked) => carry_out(asked, environment.into_iter().collect()),
        }))
        .unwrap_or(Exit::Fault),
        Err(error) => {
            // Help and version are "errors" to clap that exit with 0. A closed terminal is nobody's to tell.
            let _ = error.print();
            if error.use_stderr() { Exit::Configuration } else { Exit::Done }
        }
    };
    ExitCode::from(exit as u8)
}

/// The settings that a command line gives as flags, for proofs that type any words (tests/proof/fuzz).
///
/// # Errors
/// What a person is told who typed something else.
#[doc(hidden)]
pub fn flags(args: impl IntoIterator<Item = OsString>) -> Result<args::Flags, String> {
    match args::parse(args) {
        Ok(Line::Asked(asked)) => Ok(asked.flags),
        Err(error) if error.use_stderr() => Err(error.to_string()),
        // `spangate send` has flags of its own; help and version have none.
        Ok(Line::Send(_)) | Err(_) => Ok(Vec::new()),
    }
}

fn carry_out(asked: Asked, environment: Vec<(OsString, OsString)>) -> Exit {
    let asked = match began(asked) {
        Ok(asked) => asked,
        Err(what) => return complain(&what, Exit::Configuration),
    };
    let working_dir = source::working_dir();
    let layers = match asked.url() {
        Some(url) => {
            // It is the archive of a configuration that says nothing else.
            let flags = vec![(row(Scope::Shorthand, "archive"), vec![url.to_owned()])];
            Layers { config: None, flags, environment: Vec::new(), working_dir }
        }
        None => Layers { config: asked.config, flags: asked.flags, environment, working_dir },
    };
    let understood = match layers.understand() {
        Ok(understood) => understood,
        Err(report) => return complain(&report.to_string(), Exit::Configuration),
    };
    match asked.command {
        Command::Run => run(understood, layers),
        Command::Check { resolved: true } => answer(&understood.resolved.to_string()),
        Command::Check { resolved: false } => answer("the configuration is understood in full\n"),
        Command::DeadLetters { verb, filter } => dead_letters::run(verb, &filter, understood.settings),
        Command::Archive(options) => archive::run(*options, understood.settings),
        Command::Channel(verb) => channel::run(verb, understood.settings),
    }
}

/// As a replay that goes on was asked for when it began; anything else as it is.
fn began(asked: Asked) -> Result<Asked, String> {
    let Command::Archive(options) = &asked.command else { return Ok(asked) };
    let Some(line) = archive::began(options) else { return Ok(asked) };
    match args::parse(line?).map_err(|error| error.to_string())? {
        Line::Asked(Asked { command: Command::Archive(mut options), flags, config }) => {
            options.goes_on();
            Ok(Asked { command: Command::Archive(options), flags, config })
        }
        _ => Err("--resume: that is no replay".to_owned()),
    }
}

/// Where settings come from: the same at the start and at every reload.
struct Layers {
    config: Option<OsString>,
    flags: args::Flags,
    environment: Vec<(OsString, OsString)>,
    working_dir: PathBuf,
}

impl Layers {
    /// Reads the file, and resolves all layers.
    fn understand(&self) -> Result<Understood, Report> {
        let file = source::find(self.config.clone(), &self.environment).map(source::read);
        let (flags, variables) = (self.flags.clone(), self.environment.clone());
        config::resolve(Typed { flags, variables, file, working_dir: self.working_dir.clone() })
    }
}

fn run(understood: Understood, layers: Layers) -> Exit {
    let set_log_level = logs::start(&understood.settings.log);
    let starter = gateway::Starter { reread: Box::new(move || layers.understand()), set_log_level };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("no threads to run on: {error}"), Exit::Fault),
    };
    let ended = runtime.block_on(gateway::run(understood, starter, banner::announce));
    // What still blocks a thread (a look-up of a name, a disk that hangs) was given its time.
    runtime.shutdown_background();
    match ended {
        Ok(()) => Exit::Done,
        Err(error) => {
            tracing::error!("{error}");
            exit_of(&error)
        }
    }
}

fn exit_of(error: &gateway::Error) -> Exit {
    match error {
        gateway::Error::InUse(_) => Exit::InUse,
        gateway::Error::Damaged(_) => Exit::Damaged,
        gateway::Error::Config(_) => Exit::Configuration,
        gateway::Error::Other(_) => Exit::Fault,
    }
}

/// Answers on stdout. A reader that has seen enough (`| head`) is content.
fn answer(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => complain(&format!("stdout: {error}"), Exit::Fault),
        _ => Exit::Done,
    }
}

/// Says on stderr what is wrong.
fn complain(text: &str, exit: Exit) -> Exit {
    // Where stderr is closed, the exit code has to say it alone.
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
    exit
}
