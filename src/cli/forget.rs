//! `spangate channel forget NAME`: gives up a drain that the configuration no longer names.
//!
//! Works on a stopped gateway alone: the channel is opened under its lock. Without `--yes`
//! nothing is changed. What other drains wait for, too, stays.

use crate::channel::{Channel, OpenError, Settings as ChannelSettings};
use crate::clock::Clock;
use crate::config::Settings;
use crate::disk;
use crate::metrics::{Registry, TABLE};

use super::{Exit, answer, complain};

/// Forgets a drain, or says what that would give up.
pub fn forget(drain: &str, yes: bool, settings: Settings) -> Exit {
    if drain == "dead-letters" {
        let what = "dead-letters is the gateway's own drain: it goes when its entries are written";
        return complain(what, Exit::Configuration);
    }
    match open_and_forget(drain, yes, settings.channel) {
        Ok(exit) => exit,
        Err(error) => complain(&error.to_string(), exit_of(&error)),
    }
}

fn open_and_forget(drain: &str, yes: bool, settings: ChannelSettings) -> Result<Exit, OpenError> {
    let dir = settings.dir.clone();
    let disk = disk::real();
    // Opening would make a channel; a mistyped directory should not.
    disk.list(&dir).map_err(|source| OpenError::Io { path: dir.clone(), source })?;
    let (channel, _) = Channel::open(settings, disk, Clock::system(), &Registry::new(TABLE))?;
    let accounts = channel.snapshot().accounts;
    let exit = match accounts.iter().find(|account| account.drain == drain) {
        None => {
            let names: Vec<&str> = accounts.iter().map(|account| account.drain.as_str()).collect();
            let what = format!("{}: no drain {drain}; there are {}", dir.display(), names.join(", "));
            Ok(complain(&what, Exit::Configuration))
        }
        Some(account) if yes => channel.forget(drain).map(|spans| {
            let began = account.accepted - account.waiting;
            answer(&format!("forgot {drain}: {spans} spans waited for it, {began} were settled\n"))
        }),
        Some(account) => Ok(answer(&format!(
            "{drain}: {} spans wait for it and would be given up; say --yes to do it\n",
            account.waiting
        ))),
    };
    channel.stop();
    exit
}

fn exit_of(error: &OpenError) -> Exit {
    match error {
        OpenError::InUse { .. } => Exit::InUse,
        OpenError::Version { .. } | OpenError::Damaged { .. } => Exit::Damaged,
        OpenError::Drain { .. } => Exit::Configuration,
        OpenError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::Configuration,
        OpenError::Io { .. } => Exit::Fault,
    }
}
