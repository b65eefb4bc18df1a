//! The parts of a gateway, made one by one, each with the error that its failure means.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::admin;
use crate::archive;
use crate::channel::{Account, Channel, Found, OpenError, Snapshot, Start, Takes, Tap};
use crate::clock::Clock;
use crate::config::{ChannelKind, Settings};
use crate::deadletter;
use crate::disk::{self, Disk, MemoryDisk};
use crate::drain;
use crate::gateway::Error;
use crate::gateway::crew::Ready;
use crate::gateway::memory;
use crate::gateway::promise::Promise;
use crate::gateway::started::{ArchiveAt, Started};
use crate::listener;
use crate::metrics::Registry;
use crate::sink;
use crate::tasks;

/// Takes the data directory for this process.
pub fn lock(data: &Path, disk: &dyn Disk) -> Result<Box<dyn Send + Sync>, Error> {
    let failed = |error: io::Error| Error::Other(format!("data directory {}: {error}", data.display()));
    disk.create_dir_all(data).map_err(failed)?;
    disk::sync_name(disk, data).map_err(failed)?;
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
    /// With their places in it.
    pub drains: Vec<(Ready, Tap)>,
    pub letters: deadletter::Store,
    /// The drain of what listeners set aside.
    pub aside: Tap,
}

/// Attaches every drain that the configuration names; refuses if one is left over with spans.
pub async fn stages(
    settings: &Settings,
    disk: &Arc<dyn Disk>,
    clock: &Clock,
    channel: &Channel,
    registry: &Registry,
) -> Result<Stages, Error> {
    for drain in left_over(settings, &channel.snapshot()).map_err(LeftOver::at_start)? {
        let (channel, name) = (channel.clone(), drain.clone());
        let spans = tasks::blocking(move || channel.forget(&name)).await?;
        tracing::info!(drain, spans, "gave up a drain that is not configured any more");
    }
    sink::install_tls();
    let letters =
        deadletter::Store::open(settings.dead_letters.clone(), disk.clone(), clock.clone(), channel.id(), registry)
            .map_err(|error| Error::Other(format!("dead letters {}: {error}", settings.dead_letters.dir.display())))?;
    let aside = tap(channel, drain::aside::NAME, Start::Oldest, Takes::Addressed).await?;
    let mut drains = Vec::new();
    for ready in Ready::all(settings, channel.id(), disk, |_| true)? {
        let tap = tap(channel, &ready.name, ready.start, Takes::Common).await?;
        drains.push((ready, tap));
    }
    Ok(Stages { drains, letters, aside })
}

/// A drain's place in the channel.
pub async fn tap(channel: &Channel, name: &str, start: Start, takes: Takes) -> Result<Tap, Error> {
    let (channel, name) = (channel.clone(), name.to_owned());
    Ok(tasks::blocking(move || channel.tap(&name, start, takes)).await?)
}

/// The drains that the channel has and the configuration does not: each would hold the log for ever. One with nothing
/// waiting, or that is said to be retired, may be given up; any other is a reason to refuse.
pub fn left_over(settings: &Settings, snapshot: &Snapshot) -> Result<Vec<String>, LeftOver> {
    let named = |drain: &str| {
        drain == drain::aside::NAME
            || settings.drains.iter().any(|d| d.drain.name == drain)
            || settings.archives.iter().any(|archive| archive.name == drain)
    };
    let mut found = Vec::new();
    for Account { drain, waiting, .. } in snapshot.accounts.iter().filter(|account| !named(&account.drain)) {
        if *waiting > 0 && !settings.retired.contains(drain) {
            return Err(LeftOver { drain: drain.clone(), waiting: *waiting });
        }
        found.push(drain.clone());
    }
    Ok(found)
}

/// A drain that is not configured any more, and spans wait for it.
pub struct LeftOver {
    pub drain: String,
    pub waiting: u64,
}

impl LeftOver {
    pub fn at_start(self) -> Error {
        let forget = format!(" or with `spangate channel forget {}`", self.drain);
        self.refused("configure it again", &forget)
    }

    /// To forget a drain takes a gateway that is stopped.
    pub fn at_reload(self) -> Error {
        self.refused("leave it in until none waits for it", ", and reload; it needs no mention after that")
    }

    fn refused(self, keep: &str, more: &str) -> Error {
        let LeftOver { drain, waiting } = self;
        Error::Config(format!(
            "drain {drain} is not configured any more, and {waiting} spans wait for it: {keep}, or give them up with \
             `retired = true` in [drain.{drain}]{more}",
        ))
    }
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
