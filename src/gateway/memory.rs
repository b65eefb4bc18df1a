//! What a channel in memory asks of the gateway: its start, its stop, and a look at the disk.
//!
//! It ends with the process. So a start refuses to leave spans behind in an earlier channel of
//! files, a stop lets the drains go on while there is time, and what is lost then is said.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::channel::{Channel, Snapshot};
use crate::clock::Clock;
use crate::config::Settings;
use crate::disk::Disk;
use crate::gateway::Error;
use crate::metrics::{Registry, TABLE};
use crate::tasks;

/// How often a stop looks whether anything is left.
const LOOK: Duration = Duration::from_millis(20);

/// Refuses while spans wait in a channel of files that was here before: nobody would deliver them.
pub async fn leaves_nothing_in_files(settings: &Settings, disk: &Arc<dyn Disk>, clock: &Clock) -> Result<(), Error> {
    let (files, disk, clock) = (settings.channel.clone(), disk.clone(), clock.clone());
    let dir = files.dir.clone();
    let snapshot = tasks::blocking(move || match disk.list(&files.dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Other(format!("{}: {error}", files.dir.display()))),
        Ok(_) => {
            let (channel, _) = Channel::open(files, disk, clock, &Registry::new(TABLE))?;
            channel.stop();
            Ok(Some(channel.snapshot()))
        }
    })
    .await?;
    let Some(mut snapshot) = snapshot else { return Ok(()) };
    snapshot.accounts.retain(|account| !settings.retired.contains(&account.drain));
    match waiting(&snapshot) {
        None => Ok(()),
        Some(waiting) => Err(Error::Config(format!(
            "spans wait in the channel of files at {dir} ({waiting}), and nobody would deliver them with channel.kind = \
             \"memory\": start with --channel-kind file until they are delivered, or move {dir} away to give them up",
            dir = dir.display()
        ))),
    }
}

/// Waits until nothing waits for any drain but `others`, at most until `end`.
pub async fn emptied(channel: &Channel, others: &[String], end: Instant) {
    let left = |snapshot: Snapshot| snapshot.accounts.iter().any(|a| a.waiting > 0 && !others.contains(&a.drain));
    while left(channel.snapshot()) && Instant::now() < end {
        tokio::time::sleep(LOOK).await;
    }
}

/// What waits, and for whom, as in `7 for archive, 1234 for zipkin`; `None`: nothing.
pub fn waiting(snapshot: &Snapshot) -> Option<String> {
    let waiting = snapshot.accounts.iter().filter(|account| account.waiting > 0);
    let each: Vec<String> = waiting.map(|account| format!("{} for {}", account.waiting, account.drain)).collect();
    (!each.is_empty()).then(|| each.join(", "))
}

/// The free space of the data directory, which dead letters and archive need also where the channel needs none.
pub struct DiskFree {
    disk: Arc<dyn Disk>,
    data: PathBuf,
    last: AtomicU64,
}

impl DiskFree {
    pub fn new(disk: Arc<dyn Disk>, data: PathBuf) -> Self {
        DiskFree { disk, data, last: AtomicU64::new(0) }
    }

    /// Bytes; where the disk does not answer, what it said last.
    pub fn bytes(&self) -> u64 {
        match self.disk.space(&self.data) {
            Ok(space) => self.last.store(space.free, Ordering::Relaxed),
            Err(error) => tracing::debug!(%error, "could not ask for free disk space; the last answer stands"),
        }
        self.last.load(Ordering::Relaxed)
    }
}
