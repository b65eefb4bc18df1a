//! The durable log: one writer, many cursors (DURABILITY.md has the bytes and the promises).
//!
//! [`Channel::append`] takes a message's frames and resolves its [`Receipt`] when they are
//! durable. Each drain reads through its own [`Tap`]. One plain thread owns the files that are
//! written. The channel knows items; it knows no span and no socket.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::metrics::Registry;

/// When a receipt resolves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After the frames' fdatasync.
    Always,
    /// After the write; an fdatasync follows at most this much later.
    Every(Duration),
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// `<data>/channel`.
    pub dir: PathBuf,
    /// Bytes of frames kept; intake stops there. Default 10 GiB.
    pub capacity_bytes: u64,
    /// Spans kept, if bounded.
    pub capacity_spans: Option<u64>,
    pub sync: Sync,
    /// Free bytes on the file system under which intake stops; `None`: 1 GiB or 5 %, whichever is more.
    pub free_min_bytes: Option<u64>,
    /// Bytes of written frames kept in memory for drains that keep up. Default 16 MiB.
    pub cache_bytes: usize,
}

/// What the frames of a draft are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Spans: the body is a `ListOfSpans`.
    Spans = 1,
    /// Entries set aside: the body is their bytes, the label of an item its reason.
    Entries = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    pub key: u64,
    pub len: u32,
    pub label: u16,
    pub flags: u8,
}

/// Where a frame came from: (key, value) pairs, at most 1 KiB in all; longer values are cut.
/// Keys in use: `listener`, `peer`, `category`, `via` (repeated).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin(pub Vec<(String, String)>);

/// A frame before it has a position.
#[derive(Debug)]
pub struct Draft {
    pub kind: Kind,
    /// The drain it is for; `None`: all.
    pub addressee: Option<String>,
    pub received_us: u64,
    pub origin: Arc<Origin>,
    pub labels: Vec<String>,
    pub items: Vec<Item>,
    pub body: Bytes,
}

impl Draft {
    /// Cuts at items so that each frame holds at most 512 KiB (one longer item stands alone).
    pub fn split(self) -> Vec<Draft> {
        todo!("channel helper")
    }
}

/// Where a frame stands: enough to read it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameAt {
    /// First position of the segment, which names its file.
    pub segment: u64,
    pub offset: u32,
    /// First position of the frame.
    pub first: u64,
    pub items: u32,
}

/// A frame's head.
#[derive(Debug)]
pub struct Head {
    pub at: FrameAt,
    pub kind: Kind,
    pub received_us: u64,
    pub origin: Arc<Origin>,
    pub labels: Vec<String>,
    pub items: Vec<Item>,
    pub body_len: u32,
}

/// A frame given to a drain.
#[derive(Debug, Clone)]
pub struct Taken {
    pub head: Arc<Head>,
    /// The items (indexes into `head.items`) that this drain has not settled; never empty.
    pub open: Vec<Range<u32>>,
}

/// What became of an item, for one drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Delivered,
    Filtered,
    SampledOut,
    DeadLettered,
    Expired,
    Skipped,
    Damaged,
}

/// Why an append was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the channel is full")]
    Full,
    #[error("the disk has too little room left")]
    DiskLow,
    #[error("the disk failed: {0}")]
    Failed(String),
    #[error("stopping")]
    Stopping,
}

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("positions {first} to {end} are damaged")]
    Damaged { first: u64, end: u64 },
    #[error("read failed: {0}")]
    Failed(#[from] std::io::Error),
}

/// Why a channel could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path} is in use by another spangate process")]
    InUse { path: PathBuf },
    #[error("{path} has format {major}.{minor}; this version reads 1.x")]
    Version { path: PathBuf, major: u16, minor: u16 },
    /// Needs a person (exit code 4).
    #[error("{path}: {what}")]
    Damaged { path: PathBuf, what: String },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

/// What opening found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Frames' bytes and items in the log.
    pub bytes: u64,
    pub items: u64,
    /// Items un-synced by the last process that were kept.
    pub rescued_items: u64,
    /// Bytes of a torn tail that were cut.
    pub torn_bytes: u64,
    /// Items lost to damage, with the file that keeps the bytes.
    pub damaged_items: u64,
    pub damaged_path: Option<PathBuf>,
}

/// Where a drain that has no cursor yet begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the end: what comes from now on.
    End,
    /// At the oldest position still there.
    Oldest,
}

/// What a drain reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Frames for all and frames addressed to it.
    Common,
    /// Frames addressed to it alone (the drain `dead-letters`).
    Addressed,
}

/// Whether the channel takes frames now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intake {
    Open,
    Full,
    DiskLow,
    /// A write or sync failed; `for_good`: until a restart.
    Failed {
        reason: String,
        for_good: bool,
    },
    Stopping,
}

/// A drain's account, from one moment. `accepted` = sum of outcomes + `waiting`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub drain: String,
    pub accepted: u64,
    pub outcomes: BTreeMap<Outcome, u64>,
    pub waiting: u64,
    /// Bytes of log from the drain's low to the tail (an estimate by segments).
    pub waiting_bytes: u64,
    /// Receive time of the oldest waiting frame, where one waits and was read.
    pub oldest_us: Option<u64>,
    pub low: u64,
    /// Whether anything reads it now; false for one that the configuration no longer names.
    pub attached: bool,
}

/// The channel at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub intake: Intake,
    pub tail: u64,
    pub bytes: u64,
    pub capacity_bytes: u64,
    pub items: u64,
    pub accounts: Vec<Account>,
    pub disk_free_bytes: u64,
}

/// The log. Cheap to clone; the owner thread ends with [`Channel::stop`].
#[derive(Clone)]
pub struct Channel(Arc<()>);

/// Resolves to the positions of a message when its frames are durable. Dropping it before the
/// frames were written withdraws them.
pub struct Receipt(());

impl Receipt {
    pub async fn wait(self) -> Result<Range<u64>, AppendError> {
        todo!("channel helper")
    }
}

impl Channel {
    /// Recovers and opens the log and starts its owner thread.
    pub fn open(_: Settings, _: Arc<dyn Disk>, _: Clock, _: &Registry) -> Result<(Channel, Found), OpenError> {
        todo!("channel helper")
    }
    /// 16 random bytes as 32 lower-hex characters.
    pub fn id(&self) -> &str {
        todo!("channel helper")
    }
    /// Appends a message's frames: all or none. While there is no room they wait for it as long
    /// as the receipt is held.
    pub fn append(&self, _drafts: Vec<Draft>) -> Receipt {
        todo!("channel helper")
    }
    /// Attaches a drain: its cursor, or a new one. At most 63 bytes of `[a-z0-9_-]`; once a name.
    pub fn tap(&self, _drain: &str, _start: Start, _takes: Takes) -> Result<Tap, OpenError> {
        todo!("channel helper")
    }
    /// Gives up a drain that is not attached: its cursor goes, what only it waited for is removed.
    /// Returns how many items waited. Durable when it returns.
    pub fn forget(&self, _drain: &str) -> Result<u64, OpenError> {
        todo!("channel helper")
    }
    pub fn snapshot(&self) -> Snapshot {
        todo!("channel helper")
    }
    /// Saves the cursors, ends the owner thread. Receipts not yet written are refused.
    pub fn stop(&self) {
        todo!("channel helper")
    }
}

/// A drain's handle on the channel.
pub struct Tap(());

impl Tap {
    pub fn drain(&self) -> &str {
        todo!("channel helper")
    }
    /// The next durable frame with something open for this drain; waits for one, and while its
    /// window is full. Damage is settled as such, logged once, and passed. `None`: stopping.
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Taken>, ReadError> {
        todo!("channel helper")
    }
    /// The body of a frame, from memory or from disk; for a retry, again.
    pub async fn body(&self, _head: &Head) -> Result<Bytes, ReadError> {
        todo!("channel helper")
    }
    /// A handle that can settle and read bodies from other tasks.
    pub fn ledger(&self) -> Ledger {
        todo!("channel helper")
    }
    /// The note as last saved.
    pub fn note(&self) -> Bytes {
        todo!("channel helper")
    }
}

/// Settles for a drain. Cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<()>);

impl Ledger {
    /// Settles positions; those settled before are left alone (and counted as repeats of a bug: panics in tests).
    /// Durable within 100 ms.
    pub fn settle(&self, _positions: Range<u64>, _outcome: Outcome) {
        todo!("channel helper")
    }
    /// Settles (an empty range settles nothing) and replaces the note (at most 3072 bytes) in one
    /// slot; durable when it returns.
    pub async fn commit(&self, _positions: Range<u64>, _outcome: Outcome, _note: Bytes) -> Result<(), AppendError> {
        todo!("channel helper")
    }
    pub async fn body(&self, _head: &Head) -> Result<Bytes, ReadError> {
        todo!("channel helper")
    }
    /// Reads a stretch again, head by head, from memory or disk: the frames that this drain takes
    /// and that hold something of `positions`, settled or not, in order.
    pub fn scan(&self, _positions: Range<u64>) -> Scan {
        todo!("channel helper")
    }
}

/// A second reading of a stretch (an archive carrying out its plan). Memory does not grow with it.
pub struct Scan(());

impl Scan {
    /// The next frame and those of its items that lie in the stretch. `None`: the stretch is read.
    pub async fn next(&mut self) -> Result<Option<(Arc<Head>, Range<u32>)>, ReadError> {
        todo!("channel helper")
    }
}
