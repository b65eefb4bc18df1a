//! `spangate channel forget NAME`: gives up a drain that the configuration no longer names.
//!
//! Works on a stopped gateway alone: it takes the data directory's lock. Without `--yes` nothing
//! is changed. Spans that other drains wait for, too, stay for them.

use std::io;
use std::path::Path;

use crate::channel::{Account, Channel, OpenError};
use crate::clock::Clock;
use crate::config::Settings;
use crate::disk;
use crate::metrics::{Registry, TABLE};

use super::{Exit, answer, complain};

/// The gateway's own drain.
const DEAD_LETTERS: &str = "dead-letters";

/// Forgets a drain, or says what that would give up.
pub fn forget(drain: &str, yes: bool, settings: Settings) -> Exit {
    if drain == DEAD_LETTERS {
        let what = "dead-letters is the gateway's own drain: what waits for it is written when the gateway runs";
        return complain(what, Exit::Configuration);
    }
    let disk = disk::real();
    // Opening would make a channel; a mistyped directory should not.
    if let Err(error) = disk.list(&settings.channel.dir) {
        let what =
            format!("no channel at {}: {error}; name the data directory with --data", settings.channel.dir.display());
        return complain(&what, Exit::Configuration);
    }
    let _lock = match disk.lock(&settings.data.join("lock")) {
        Ok(lock) => lock,
        Err(error) => return not_locked(&settings.data, &error),
    };
    match Channel::open(settings.channel, disk, Clock::system(), &Registry::new(TABLE)) {
        Ok((channel, _)) => {
            let exit = carry_out(drain, yes, &channel).unwrap_or_else(|error| failed(&error));
            channel.stop();
            exit
        }
        Err(error) => failed(&error),
    }
}

fn carry_out(drain: &str, yes: bool, channel: &Channel) -> Result<Exit, OpenError> {
    let accounts = channel.snapshot().accounts;
    let Some(account) = accounts.iter().find(|account| account.drain == drain) else {
        return Ok(complain(&unknown(drain, &accounts), Exit::Configuration));
    };
    if !yes {
        let waiting = account.waiting;
        return Ok(answer(&format!("{drain}: {waiting} spans wait for it and would be given up; --yes does it\n")));
    }
    let waited = channel.forget(drain)?;
    Ok(answer(&format!("{drain}: forgotten, with {waited} spans that waited for it\n")))
}

fn unknown(drain: &str, accounts: &[Account]) -> String {
    let names: Vec<&str> = accounts.iter().map(|a| a.drain.as_str()).filter(|name| *name != DEAD_LETTERS).collect();
    match names.is_empty() {
        true => format!("no drain {drain}; the channel has none"),
        false => format!("no drain {drain}; the channel has {}", names.join(", ")),
    }
}

fn not_locked(data: &Path, error: &io::Error) -> Exit {
    let data = data.display();
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            complain(&format!("{data} is in use by another spangate; stop it first"), Exit::InUse)
        }
        _ => complain(&format!("{data}: {error}"), Exit::Fault),
    }
}

pub(super) fn failed(error: &OpenError) -> Exit {
    let exit = match error {
        OpenError::InUse { .. } => Exit::InUse,
        OpenError::Version { .. } | OpenError::Damaged { .. } => Exit::Damaged,
        OpenError::Drain { .. } => Exit::Configuration,
        OpenError::Io { .. } => Exit::Fault,
    };
    complain(&error.to_string(), exit)
}
