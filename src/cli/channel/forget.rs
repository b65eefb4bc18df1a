//! `spangate channel forget NAME`: gives up a drain that the configuration no longer names.
//!
//! Works on a stopped gateway alone: it takes the data directory's lock. Without `--yes` nothing
//! is changed. Spans that other drains wait for, too, stay for them.

use crate::channel::{Account, Channel, OpenError};
use crate::clock::Clock;
use crate::config::Settings;
use crate::disk;
use crate::drain::aside::NAME as DEAD_LETTERS;
use crate::metrics::{Registry, TABLE};

use super::{failed, lock};
use crate::cli::{Exit, answer, complain};

/// Forgets a drain, or says what that would give up.
pub fn forget(drain: &str, yes: bool, settings: Settings) -> Exit {
    if drain == DEAD_LETTERS {
        let what = "dead-letters is the gateway's own drain: what waits for it is written when the gateway runs";
        return complain(what, Exit::Configuration);
    }
    let disk = disk::real();
    let _lock = match lock(&*disk, &settings) {
        Ok(lock) => lock,
        Err(exit) => return exit,
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
