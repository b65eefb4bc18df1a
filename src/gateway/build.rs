//! The parts of a gateway, made one by one, each with the error that its failure means.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::admin;
use crate::archive::{self, Archive};
use crate::channel::{Channel, Found, OpenError, Start, Takes, Tap};
use crate::clock::Clock;
use crate::config::{self, ChannelKind, Settings};
use crate::deadletter;
use crate::disk::{Disk, MemoryDisk};
use crate::drain::{self, Drain};
use crate::gateway::Error;
use crate::gateway::memory;
use crate::gateway::promise::Promise;
use crate::gateway::report::Statuses;
use crate::gateway::started::{ArchiveAt, Started};
use crate::listener;
use crate::metrics::Registry;
use crate::sink::{self, Sink};
use crate::tasks;

/// Takes the data directory for this process.
pub fn lock(data: &Path, disk: &dyn Disk) -> Result<Box<dyn Send + Sync>, Error> {
    let failed = |error: io::Error| Error::Other(format!("data directory {}: {error}", data.display()));
    disk.create_dir_all(data).map_err(failed)?;
    disk.lock(&data.join("lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::InUse(format!(
            "data directory {} is in use by another spangate; --data takes another",
            data.display()
        )),
        _ => failed(error),
    })
}

/// Every socket, bound and not served yet.
pub struct Sockets {
    pub scribe: listener::scribe::Bound,
    pub http: listener::http::Bound,
    pub admin: admin::Bound,
}

impl Sockets {
    pub async fn bind(settings: &Settings) -> Result<Sockets, Error> {
        let in_use = |error: io::Error| Error::InUse(error.to_string());
        let mut scribe = listener::scribe::bind(settings.scribe.clone()).map_err(in_use)?;
        let http = listener::http::bind(settings.http.clone()).map_err(in_use)?;
        if let Some(address) = http.addresses().map_err(in_use)?.first() {
            scribe = scribe.with_http_port(address.port());
        }
        Ok(Sockets { scribe, http, admin: admin::bind(&settings.admin).await.map_err(Error::InUse)? })
    }
}

/// Who may change something by the admin port.
pub fn token(settings: &admin::Settings, disk: &dyn Disk) -> Result<Option<admin::Token>, Error> {
    let read = |path: &PathBuf| {
        let unread = |error| Error::Config(format!("admin.token_file {}: {error}", path.display()));
        admin::Token::read(disk, path).map_err(unread)
    };
    settings.token_file.as_ref().map(read).transpose()
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::InUse { .. } => Error::InUse(error.to_string()),
            OpenError::Damaged { .. } | OpenError::Version { .. } => Error::Damaged(error.to_string()),
            OpenError::Drain { .. } => Error::Config(error.to_string()),
            OpenError::Io { .. } => Error::Other(error.to_string()),
        }
    }
}

/// Recovers the log, or begins one in memory.
pub async fn channel(
    settings: &Settings,
    disk: &Arc<dyn Disk>,
    clock: &Clock,
    registry: &Registry,
) -> Result<(Channel, Found), Error> {
    let disk = match settings.channel_kind {
        ChannelKind::File => disk.clone(),
        ChannelKind::Memory => {
            memory::leaves_nothing_in_files(settings, disk, clock).await?;
            Arc::new(MemoryDisk::new())
        }
    };
    let (settings, clock, registry) = (settings.channel.clone(), clock.clone(), registry.clone());
    Ok(tasks::blocking(move || Channel::open(settings, disk, clock, &registry)).await?)
}

/// What reads the channel.
pub struct Stages {
    pub drains: Vec<(String, Drain)>,
    pub archives: Vec<(String, Archive)>,
    /// The drain of what listeners set aside.
    pub aside: (Tap, deadletter::Store),
}

impl Stages {
    pub fn statuses(&self) -> Statuses {
        Statuses {
            drains: self.drains.iter().map(|(name, drain)| (name.clone(), drain.status())).collect(),
            archives: self.archives.iter().map(|(name, archive)| (name.clone(), archive.status())).collect(),
        }
    }
}

/// Attaches every drain that the configuration names; refuses if one is left over with spans.
pub async fn stages(
    settings: &Settings,
    disk: &Arc<dyn Disk>,
    clock: &Clock,
    channel: &Channel,
    registry: &Registry,
) -> Result<Stages, Error> {
    give_up_retired(settings, channel).await?;
    sink::install_tls();
    let letters =
        deadletter::Store::open(settings.dead_letters.clone(), disk.clone(), clock.clone(), channel.id(), registry)
            .map_err(|error| Error::Other(format!("dead letters {}: {error}", settings.dead_letters.dir.display())))?;
    let mut stages = Stages {
        drains: Vec::new(),
        archives: Vec::new(),
        aside: (tap(channel, drain::aside::NAME, Start::Oldest, Takes::Addressed).await?, letters.clone()),
    };
    for config::Drain { drain, start, sinks } in &settings.drains {
        let tap = tap(channel, &drain.name, *start, Takes::Common).await?;
        let sinks = collectors(sinks, channel)?;
        let (letters, kept_in) = (letters.clone(), kept_in(settings));
        let parts = drain::Parts { settings: drain.clone(), tap, sinks, letters, kept_in };
        stages.drains.push((drain.name.clone(), Drain::new(parts, registry)));
    }
    for archive in &settings.archives {
        let tap = tap(channel, &archive.name, Start::End, Takes::Common).await?;
        let made = Archive::new(archive.clone(), channel, tap, disk.clone(), registry)
            .map_err(|error| Error::Config(error.to_string()))?;
        let made = made.to_the_end(settings.channel_kind == ChannelKind::Memory);
        stages.archives.push((archive.name.clone(), made));
    }
    Ok(stages)
}

async fn tap(channel: &Channel, name: &str, start: Start, takes: Takes) -> Result<Tap, Error> {
    let (channel, name) = (channel.clone(), name.to_owned());
    Ok(tasks::blocking(move || channel.tap(&name, start, takes)).await?)
}

/// Where archives keep everything, if any does.
fn kept_in(settings: &Settings) -> Option<String> {
    let whole = settings.archives.iter().filter(|archive| archive.sieve.takes_all());
    let places: Vec<String> = whole.map(|archive| archive.target.to_string()).collect();
    (!places.is_empty()).then(|| places.join(" and "))
}

fn collectors(settings: &[sink::Settings], channel: &Channel) -> Result<Vec<Arc<dyn Sink>>, Error> {
    let make = |settings: &sink::Settings| {
        sink::build(settings, channel.id())
            .map_err(|error| Error::Config(format!("collector {}: {error}", settings.name())))
    };
    settings.iter().map(make).collect()
}

/// A drain that the configuration no longer names holds the log for ever. One with nothing
/// waiting, or that is said to be retired, is given up; any other makes the start refuse.
async fn give_up_retired(settings: &Settings, channel: &Channel) -> Result<(), Error> {
    let named: BTreeSet<&str> = settings
        .drains
        .iter()
        .map(|d| d.drain.name.as_str())
        .chain(settings.archives.iter().map(|a| a.name.as_str()))
        .chain([drain::aside::NAME])
        .collect();
    for account in channel.snapshot().accounts {
        if named.contains(account.drain.as_str()) {
            continue;
        }
        if account.waiting > 0 && !settings.retired.contains(&account.drain) {
            return Err(Error::Config(format!(
                "drain {name} is not configured any more, and {waiting} spans wait for it: configure it again, or give \
                 them up with `retired = true` in [drain.{name}] or with `spangate channel forget {name}`",
                name = account.drain,
                waiting = account.waiting
            )));
        }
        let (channel, name) = (channel.clone(), account.drain.clone());
        let given_up = tasks::blocking(move || channel.forget(&name)).await?;
        tracing::info!(drain = account.drain, spans = given_up, "gave up a drain that is not configured any more");
    }
    Ok(())
}

/// What is told to whoever started it.
pub fn started(settings: &Settings, sockets: &Sockets, found: Found, channel: &Channel) -> Result<Started, Error> {
    let unbound = |error: io::Error| Error::Other(format!("a listening socket has no address: {error}"));
    let waiting = channel.snapshot().accounts.into_iter().filter(|account| account.waiting > 0);
    let archive_at = |archive: &archive::Settings| ArchiveAt {
        drain: archive.name.clone(),
        at: archive.target.to_string(),
        dir: archive.target.dir().map(Path::to_owned),
        format: archive.format,
        keep_bytes: match archive.target {
            archive::Target::BuiltIn { keep_bytes, .. } => Some(keep_bytes),
            archive::Target::Local { .. } | archive::Target::Remote(_) => None,
        },
    };
    Ok(Started {
        scribe: sockets.scribe.addresses().map_err(unbound)?,
        categories: settings.scribe.categories.clone(),
        http: sockets.http.addresses().map_err(unbound)?,
        admin: sockets.admin.addresses().to_vec(),
        data: settings.data.clone(),
        promise: Promise::of(settings),
        found,
        waiting: waiting.map(|account| (account.drain, account.waiting)).collect(),
        archives: settings.archives.iter().map(archive_at).collect(),
        collectors: settings.drains.iter().flat_map(|drain| &drain.sinks).map(|sink| sink.name().to_owned()).collect(),
    })
}
