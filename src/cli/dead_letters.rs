//! `spangate dead-letters list | show | replay | purge`: what nobody took, looked at, sent again, removed.
//!
//! Looking reads files alone, beside a gateway that runs or not. What changes something is asked of
//! the gateway that runs, over its admin port; where none has the data directory it is done here,
//! under the directory's lock.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Exit, answer, channel, complain};
use crate::channel::Channel;
use crate::clock::Clock;
use crate::config::{ChannelKind, Settings};
use crate::deadletter::{self, Class, Filed, Filter, Store};
use crate::disk::{self, Disk};
use crate::drain::letters::{self, Error};
use crate::metrics::{Registry, TABLE};
use crate::sink;
use crate::span::canonical;
use crate::wire::{base64, json_v2};

/// What is to be done with the letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    List,
    Show,
    Replay,
    Purge { yes: bool },
}

/// Does it.
pub fn run(verb: Verb, filter: &Filter, settings: Settings) -> Exit {
    let disk = disk::real();
    let dir = settings.dead_letters.dir.clone();
    if let Err(error) = disk.list(&dir) {
        let what = format!("no dead letters at {}: {error}; name the data directory with --data", dir.display());
        return complain(&what, Exit::Configuration);
    }
    match verb {
        Verb::List => look(&*disk, &dir, filter, line),
        Verb::Show => look(&*disk, &dir, filter, whole),
        Verb::Purge { yes: false } => match count(&*disk, &dir, filter) {
            Ok(count) => answer(&format!("{count} letters would be removed; --yes does it\n")),
            Err(error) => complain(&format!("{}: {error}", dir.display()), Exit::Fault),
        },
        Verb::Replay | Verb::Purge { .. } => change(verb, filter, settings, disk),
    }
}

fn count(disk: &dyn Disk, dir: &Path, filter: &Filter) -> io::Result<u64> {
    let mut count = 0;
    deadletter::read(disk, dir, filter, |_| count += 1)?;
    Ok(count)
}

/// Prints each letter.
fn look(disk: &dyn Disk, dir: &Path, filter: &Filter, text: fn(&Filed) -> String) -> Exit {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut printed = Ok(());
    let mut found = 0;
    let read = deadletter::read(disk, dir, filter, |letter| {
        found += 1;
        if printed.is_ok() {
            printed = out.write_all(text(&letter).as_bytes());
        }
    });
    let printed = printed.and_then(|()| out.flush());
    drop(out);
    match (read, printed) {
        (Err(error), _) => complain(&format!("{}: {error}", dir.display()), Exit::Fault),
        // A reader that has seen enough (`| head`) is content.
        (_, Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("stdout: {error}"), Exit::Fault)
        }
        _ if found == 0 && filter.id.is_some() => complain("there is no such letter", Exit::Configuration),
        _ => Exit::Done,
    }
}

/// Id, time, class, drain and reason between tabs.
fn line(letter: &Filed) -> String {
    let reason = letter.reason.replace(['\t', '\n'], " ");
    format!("{}\t{}\t{}\t{}\t{reason}\n", letter.id(), letter.time, letter.class.name(), letter.drain)
}

/// The letter as JSON; what it holds as Zipkin writes it where that is a span, else in base64.
fn whole(letter: &Filed) -> String {
    let mut value = json!({
        "id": letter.id(),
        "time": letter.time,
        "received": letter.received,
        "class": letter.class.name(),
        "reason": letter.reason,
        "drain": letter.drain,
        "channel": letter.channel,
        "position": letter.position,
        "origin": letter.origin,
    });
    match span(letter) {
        Some(span) => value["span"] = span,
        None => {
            let mut text = Vec::new();
            base64::encode(&letter.bytes, &mut text);
            value["bytes"] = String::from_utf8_lossy(&text).into();
        }
    }
    format!("{value:#}\n")
}

fn span(letter: &Filed) -> Option<Value> {
    if letter.class == Class::Undecodable {
        return None;
    }
    let mut text = Vec::new();
    json_v2::encode_span(canonical::span_bytes(&letter.bytes).ok()?, &mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Replays or purges: here where nobody has the data directory, else through who has it.
fn change(verb: Verb, filter: &Filter, settings: Settings, disk: Arc<dyn Disk>) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("no threads to run on: {error}"), Exit::Fault),
    };
    match disk.lock(&settings.data.join("lock")) {
        Ok(_lock) => runtime.block_on(here(verb, filter, settings, disk)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            runtime.block_on(through_the_gateway(verb, filter, &settings, &*disk))
        }
        Err(error) => complain(&format!("{}: {error}", settings.data.display()), Exit::Fault),
    }
}

async fn here(verb: Verb, filter: &Filter, settings: Settings, disk: Arc<dyn Disk>) -> Exit {
    let (clock, registry) = (Clock::system(), Registry::new(TABLE));
    let opened =
        |channel: &str| Store::open(settings.dead_letters.clone(), disk.clone(), clock.clone(), channel, &registry);
    if verb != Verb::Replay {
        return match opened("") {
            Ok(store) => said(letters::purge(&store, filter).await.map(letters::purged)),
            Err(error) => complain(&format!("the dead letters: {error}"), Exit::Fault),
        };
    }
    if settings.channel_kind == ChannelKind::Memory {
        return complain("the channel is in memory: letters are replayed while the gateway runs", Exit::Configuration);
    }
    let channel = match Channel::open(settings.channel, disk.clone(), clock.clone(), &registry) {
        Ok((channel, _)) => channel,
        Err(error) => return channel::failed(&error),
    };
    let exit = match opened(channel.id()) {
        Ok(store) => said(letters::replay(&channel, &store, &clock, filter).await.map(|done| done.to_string())),
        Err(error) => complain(&format!("the dead letters: {error}"), Exit::Fault),
    };
    channel.stop();
    exit
}

fn said(result: Result<String, Error>) -> Exit {
    match result {
        Ok(text) => answer(&text),
        Err(error) => complain(&format!("stopped: {error}"), Exit::Fault),
    }
}

async fn through_the_gateway(verb: Verb, filter: &Filter, settings: &Settings, disk: &dyn Disk) -> Exit {
    let Some(address) = settings.admin.addresses.first() else {
        let what = "the gateway runs without an admin port: stop it first, or give it one";
        return complain(what, Exit::Configuration);
    };
    let mut address = *address;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let path = if verb == Verb::Replay { "replay" } else { "purge" };
    let url = format!("http://{address}/dead-letters/{path}");
    match post(&url, filter, settings, disk).await {
        Ok((200, text)) => answer(&text),
        Ok((_, text)) => complain(&format!("{url}: {text}"), Exit::Fault),
        Err(error) => complain(&format!("{url}: {error}; is the admin port another? --admin-address"), Exit::Fault),
    }
}

async fn post(url: &str, filter: &Filter, settings: &Settings, disk: &dyn Disk) -> Result<(u16, String), String> {
    sink::install_tls();
    let said = |error: reqwest::Error| error.to_string();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().map_err(said)?;
    let mut request = client.post(url).header("spangate-admin", "1").body(filter.to_json().to_string());
    if let Some(path) = &settings.admin.token_file {
        let token = disk.open(path, disk::Open::Read).and_then(|file| {
            let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
            let read = disk::read_full(&*file, &mut bytes, 0)?;
            bytes.truncate(read);
            String::from_utf8(bytes).map_err(io::Error::other)
        });
        let token = token.map_err(|error| format!("{}: {error}", path.display()))?;
        request = request.bearer_auth(token.trim());
    }
    let response = request.send().await.map_err(said)?;
    let status = response.status().as_u16();
    Ok((status, response.text().await.map_err(said)?))
}
