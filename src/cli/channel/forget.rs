//! `spangate channel forget NAME [DIR]`: gives up a drain that the configuration no longer names.
//!
//! Works on a stopped gateway alone: it takes the data directory's lock. Without `--yes` it looks, as `inspect` does,
//! and nothing is changed. Spans that other drains wait for, too, stay for them.

use std::sync::Arc;

use super::verify::line;
use super::{failed, lock, survey};
use crate::channel::survey::Depth;
use crate::channel::{Account, Channel, OpenError};
use crate::cli::{Exit, answer, complain};
use crate::clock::Clock;
use crate::config::Settings;
use crate::disk::Disk;
use crate::drain::aside::NAME as DEAD_LETTERS;
use crate::metrics::{Registry, TABLE};

/// Forgets a drain, or says what that would give up.
pub fn forget(disk: &Arc<dyn Disk>, settings: Settings, drain: &str, yes: bool) -> Exit {
    if drain == DEAD_LETTERS {
        let what = "dead-letters is the gateway's own drain: what waits for it is written when the gateway runs";
        return complain(what, Exit::Configuration);
    }
    if !yes {
        return ask(disk, &settings, drain).unwrap_or_else(|exit| exit);
    }
    let _lock = match lock(&**disk, &settings) {
        Ok(lock) => lock,
        Err(exit) => return exit,
    };
    match Channel::open(settings.channel, disk.clone(), Clock::system(), &Registry::new(TABLE)) {
        Ok((channel, _)) => {
            let exit = carry_out(drain, &channel).unwrap_or_else(|error| failed(&error));
            channel.stop();
            exit
        }
        Err(error) => failed(&error),
    }
}

/// Says what would be given up.
fn ask(disk: &Arc<dyn Disk>, settings: &Settings, drain: &str) -> Result<Exit, Exit> {
    let survey = survey(disk, settings, Depth::Heads)?;
    if let Some(finding) = survey.findings.iter().find(|finding| finding.refuses) {
        return Err(complain(line(finding).trim_end(), Exit::Damaged));
    }
    let accounts: Vec<Account> = survey.drains.into_iter().filter_map(|drain| drain.account).collect();
    let waiting = waiting(drain, &accounts)?;
    Ok(answer(&format!("{drain}: {waiting} spans wait for it and would be given up; --yes does it\n")))
}

fn carry_out(drain: &str, channel: &Channel) -> Result<Exit, OpenError> {
    if let Err(exit) = waiting(drain, &channel.snapshot().accounts) {
        return Ok(exit);
    }
    let waited = channel.forget(drain)?;
    Ok(answer(&format!("{drain}: forgotten, with {waited} spans that waited for it\n")))
}

/// How many spans wait for a drain that there is.
fn waiting(drain: &str, accounts: &[Account]) -> Result<u64, Exit> {
    let account = accounts.iter().find(|account| account.drain == drain);
    account.map(|account| account.waiting).ok_or_else(|| complain(&unknown(drain, accounts), Exit::Configuration))
}

fn unknown(drain: &str, accounts: &[Account]) -> String {
    let names: Vec<&str> = accounts.iter().map(|a| a.drain.as_str()).filter(|name| *name != DEAD_LETTERS).collect();
    match names.is_empty() {
        true => format!("no drain {drain}; the channel has none"),
        false => format!("no drain {drain}; the channel has {}", names.join(", ")),
    }
}
