//! The durable log: one writer, many cursors (DURABILITY.md has the bytes and the promises).
//!
//! [`Channel::append`] takes a message's frames and resolves its [`Receipt`] when they are
//! durable. Each drain reads through its own [`Tap`]. One plain thread owns the files that are
//! written. The channel knows items; it knows no span and no socket.

mod aside;
mod cache;
mod cursor;
mod draft;
mod frame;
mod identity;
mod locks;
mod log;
mod owner;
#[doc(hidden)]
pub mod raw;
mod reader;
mod recovery;
mod relief;
pub mod repair;
mod scan;
mod segment;
mod slots;
mod state;
pub mod survey;
mod tap;
#[cfg(test)]
mod tests;
mod timeline;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::metrics::Registry;
use crate::tasks;
use locks::{JoinHandle, Mutex, mpsc};

pub use cursor::NOTE_BYTES_MAX;
pub use frame::{FRAME_BYTES_MAX, ITEM_BYTES_MAX, NO_LABEL};
pub use identity::Identity;
pub use scan::Scan;
pub use tap::{Ledger, Tap};

/// When a receipt resolves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After the frames' fdatasync.
    Always,
    /// After the write; an fdatasync follows at most this much later.
    Every(Duration),
}

/// The default of [`Settings::free_min_bytes`].
const FREE_MIN_BYTES: u64 = 1 << 30;
const FREE_MIN_PART: u64 = 20;

/// Free bytes under which intake stops on a file system of `total` bytes; `set` is [`Settings::free_min_bytes`].
pub fn free_min(set: Option<u64>, total: u64) -> u64 {
    set.unwrap_or(FREE_MIN_BYTES.max(total / FREE_MIN_PART))
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

/// Keys of an [`Origin`] that listeners and replays of dead letters (`replay`) give a meaning; a label has another.
pub const ORIGIN_KEYS: [&str; 6] = ["listener", "peer", "category", "via", REPLAYED, "replay"];

/// Where a frame came from: (key, value) pairs, at most 1 KiB in all; longer values are cut.
/// Keys in use: [`ORIGIN_KEYS`], `via` repeatedly, and the labels of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin(pub Vec<(String, String)>);

/// The key in the origin of what an archive had before; whatever its value is.
const REPLAYED: &str = "replayed";

impl Origin {
    /// The same, of what an archive had before.
    pub fn replayed(&self) -> Origin {
        let mark = (REPLAYED.to_owned(), "yes".to_owned());
        Origin(self.0.iter().cloned().chain([mark]).collect())
    }

    pub fn is_replayed(&self) -> bool {
        self.0.iter().any(|(key, _)| key == REPLAYED)
    }
}

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
#[derive(Debug, Clone)]
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
    /// Nor would an empty channel take it.
    #[error("it is larger than the whole channel")]
    TooLarge,
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
    /// A drain that cannot be attached, begun or forgotten.
    #[error("drain \"{drain}\": {what}")]
    Drain { drain: String, what: String },
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Less is free than [`Settings::free_min_bytes`], or than a segment takes.
    DiskLow,
    /// A write found no room (ENOSPC, EDQUOT, EROFS): tried again, as drains and others make some.
    NoSpace {
        reason: String,
    },
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
    /// Whether it gives up its oldest spans when the channel is full.
    pub skips: bool,
}

/// The channel at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub intake: Intake,
    pub tail: u64,
    pub bytes: u64,
    pub capacity_bytes: u64,
    /// That the slowest drain has not settled.
    pub items: u64,
    /// Items at which intake stops, if they are bounded.
    pub capacity_spans: Option<u64>,
    pub accounts: Vec<Account>,
    pub disk_free_bytes: u64,
}

/// The log. Cheap to clone; the owner thread ends with [`Channel::stop`].
#[derive(Clone)]
pub struct Channel(Arc<Handle>);

struct Handle {
    shared: Arc<state::Shared>,
    owner: Mutex<Option<Worker>>,
}

/// Who works for the log.
enum Worker {
    Thread(JoinHandle<()>),
    /// In a [simulation](tasks::simulate): a task, and whoever waits for it without awaiting.
    Task(Arc<Mutex<Option<owner::Owner>>>),
}

impl Worker {
    fn begin(owner: owner::Owner, shared: &Arc<state::Shared>) -> std::io::Result<Worker> {
        if !tasks::simulated() {
            return tasks::thread("channel", move || owner.run()).map(Worker::Thread);
        }
        let owner = Arc::new(Mutex::new(Some(owner)));
        let (ours, shared) = (owner.clone(), shared.clone());
        tasks::in_place_of_a_thread(async move {
            while let Some(due) = turn(&ours) {
                shared.bell.heard(due).await;
                tasks::take_time().await;
            }
        });
        Ok(Worker::Task(owner))
    }
}

/// A turn of the owner; `None` when it has ended.
fn turn(owner: &Mutex<Option<owner::Owner>>) -> Option<tokio::time::Instant> {
    let mut owner = owner.lock().expect("nobody panicked while turning the owner");
    let due = owner.as_mut()?.turn();
    if due.is_none() {
        *owner = None;
    }
    due
}

impl Handle {
    fn stop(&self) {
        let worker = self.owner.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.shared.queue_at_the_end().stop = true;
        self.shared.bell.ring();
        if let Some(Worker::Task(owner)) = &worker {
            turn(owner);
        }
        // The owner's panic was told to all who waited (`owner::Guard`), and on stderr.
        if let Some(Worker::Thread(thread)) = worker
            && thread.join().is_err()
        {
            tracing::error!("the log's owner had panicked");
        }
    }

    /// Lets the owner do what it was asked, where it has no thread for it.
    fn work(&self) {
        if let Some(Worker::Task(owner)) = &*self.owner.lock().unwrap_or_else(PoisonError::into_inner) {
            turn(owner);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Resolves to the positions of a message when its frames are durable. Dropping it before the
/// frames were written withdraws them.
pub struct Receipt(Answer);

enum Answer {
    Known(Result<Range<u64>, AppendError>),
    Awaited(oneshot::Receiver<Result<Range<u64>, AppendError>>),
}

impl Receipt {
    pub async fn wait(self) -> Result<Range<u64>, AppendError> {
        match self.0 {
            Answer::Awaited(answer) => answer.await.unwrap_or(Err(AppendError::Stopping)),
            Answer::Known(known) => known,
        }
    }
}

impl Channel {
    /// Recovers and opens the log and starts its owner thread. Blocks.
    pub fn open(
        settings: Settings,
        disk: Arc<dyn Disk>,
        clock: Clock,
        registry: &Registry,
    ) -> Result<(Channel, Found), OpenError> {
        let path = settings.dir.clone();
        let recovery::Opened { shared, log, slots, found } = recovery::open(settings, disk, clock)?;
        let owner = owner::Owner::new(shared.clone(), log, slots, registry);
        let worker = Worker::begin(owner, &shared).map_err(|source| OpenError::Io { path, source })?;
        Ok((Channel(Arc::new(Handle { shared, owner: Mutex::new(Some(worker)) })), found))
    }

    /// 16 random bytes as 32 lower-hex characters.
    pub fn id(&self) -> &str {
        &self.0.shared.id_text
    }

    /// Appends a message's frames: all or none. While there is no room they wait for it as long
    /// as the receipt is held. Drafts are split where they are too long; the items of one must
    /// add up to its body and be at most [`ITEM_BYTES_MAX`] long each, else it is refused.
    pub fn append(&self, drafts: Vec<Draft>) -> Receipt {
        let frames = match build(drafts) {
            Ok(frames) => frames,
            Err(what) => return Receipt(Answer::Known(Err(AppendError::Failed(what)))),
        };
        let (bytes, items) = frames.iter().fold((0, 0), |(b, i), f| (b + f.padded_len(), i + f.items()));
        if items == 0 {
            let at = self.0.shared.state().durable.position;
            return Receipt(Answer::Known(Ok(at..at)));
        }
        // Room for the two heads that a lone message may need.
        let Settings { capacity_bytes, capacity_spans, .. } = self.0.shared.settings;
        if bytes + 2 * segment::HEAD_BYTES > capacity_bytes || capacity_spans.is_some_and(|most| items > most) {
            return Receipt(Answer::Known(Err(AppendError::TooLarge)));
        }
        let (reply, answer) = oneshot::channel();
        let mut queue = self.0.shared.queue();
        if let Some(refusal) = &queue.closed {
            return Receipt(Answer::Known(Err(refusal.clone())));
        }
        if !queue.push(state::Message { frames, bytes, items, reply }) {
            return Receipt(Answer::Known(Err(AppendError::Full)));
        }
        drop(queue);
        self.0.shared.bell.ring();
        Receipt(Answer::Awaited(answer))
    }

    /// Attaches a drain: its cursor, or a new one, durable when this returns. Names are of
    /// `[a-z0-9_-]`, 1 to 63 bytes; 64 drains at most; attached once at a time. Blocks.
    pub fn tap(&self, drain: &str, start: Start, takes: Takes) -> Result<Tap, OpenError> {
        check_name(drain)?;
        if let Some(tap) = self.attach(drain, takes)? {
            return Ok(tap);
        }
        let shared = &self.0.shared;
        let oldest = match start {
            Start::Oldest => Some(self.oldest()?),
            Start::End => None,
        };
        let mut state = shared.state();
        // A drain may have passed it while its head was read: it would begin where nothing is. Or another
        // caller has begun this one.
        let first = *state.segments.first_key_value().expect("there is always a segment").0;
        let passed = oldest.as_ref().is_some_and(|oldest| oldest.position < first);
        if passed || state.row_of(drain).is_some() {
            drop(state);
            return self.tap(drain, start, takes);
        }
        let row = state.rows.iter().position(|r| r.cursor.is_none());
        let row = row.ok_or_else(|| refused(drain, "there are 64 drains already; forget one first"))?;
        let start = oldest.unwrap_or_else(|| state.durable.clone());
        let mut cursor = cursor::Cursor::begin(drain, takes, &start);
        cursor.attached = true;
        let low = cursor.low;
        // Until it has begun nothing is removed for its sake: its beginning may fail.
        state.rows[row].saved_lows = [0; 2];
        state.rows[row].cursor = Some(cursor);
        drop(state);
        self.job(|done| state::Job::Begin { row, done })?;
        Ok(Tap::new(shared.clone(), row, drain, low))
    }

    /// Attaches a drain that has a cursor: nothing is read for it.
    fn attach(&self, drain: &str, takes: Takes) -> Result<Option<Tap>, OpenError> {
        let shared = &self.0.shared;
        let mut state = shared.state();
        let Some(row) = state.row_of(drain) else { return Ok(None) };
        let cursor = state.cursor(row);
        if cursor.attached {
            return Err(refused(drain, "is attached already"));
        }
        if cursor.takes != takes {
            return Err(refused(drain, "took other frames before (common or addressed only); forget it first"));
        }
        cursor.attached = true;
        let (resumed, low) = (cursor.resume(), cursor.low);
        drop(state);
        let tap = Tap::new(shared.clone(), row, drain, low);
        if resumed {
            tap.save();
        }
        Ok(Some(tap))
    }

    /// Lets drains for which nothing waits have no more: what is appended from now on is not theirs, and nothing of it
    /// is given to them. All of them, or none and the first for which something waits, with the count; what was answered
    /// yes and is not synced yet waits, too. They are to be [forgotten](Self::forget) then; after a crash before that,
    /// or attached again, they are as they were.
    pub fn release(&self, drains: &[String]) -> Result<(), (String, u64)> {
        let mut state = self.0.shared.state();
        let answered = state.answered.clone();
        let rows: Vec<usize> = drains.iter().filter_map(|drain| state.row_of(drain)).collect();
        for row in &rows {
            let cursor = state.cursor(*row);
            match cursor.waiting(&answered) {
                0 => {}
                waiting => return Err((cursor.name.clone(), waiting)),
            }
        }
        rows.iter().for_each(|row| state.cursor(*row).release(&answered));
        Ok(())
    }

    /// Gives up a drain that is not attached: its cursor goes, what only it waited for is removed.
    /// Returns how many items waited. Durable when it returns. Blocks.
    pub fn forget(&self, drain: &str) -> Result<u64, OpenError> {
        let (row, waiting) = {
            let mut state = self.0.shared.state();
            let row = state.row_of(drain).ok_or_else(|| refused(drain, "is not known"))?;
            let answered = state.answered.clone();
            let cursor = state.cursor(row);
            if cursor.attached {
                return Err(refused(drain, "is attached"));
            }
            // Nobody attaches it from here on.
            cursor.attached = true;
            (row, cursor.waiting(&answered))
        };
        let done = self.job(|done| state::Job::Forget { row, done });
        if done.is_err() {
            self.0.shared.state().cursor(row).attached = false;
        }
        done.map(|()| waiting)
    }

    pub fn snapshot(&self) -> Snapshot {
        let shared = &self.0.shared;
        let state = shared.state();
        let account = |row: &state::DrainRow| {
            let account = |c: &cursor::Cursor| c.account(&state.durable, state.bytes_from(c.low));
            row.cursor.as_ref().map(|c| Account { skips: row.skips, ..account(c) })
        };
        Snapshot {
            intake: state.intake.clone(),
            tail: state.durable.position,
            bytes: state.used(),
            capacity_bytes: shared.settings.capacity_bytes,
            items: state.waiting(),
            capacity_spans: self.0.shared.settings.capacity_spans,
            accounts: state.rows.iter().filter_map(account).collect(),
            disk_free_bytes: state.disk_free,
        }
    }

    /// Saves the cursors, ends the owner thread. Receipts not yet written are refused. Blocks.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// The point at which the log begins.
    fn oldest(&self) -> Result<segment::Point, OpenError> {
        let shared = &self.0.shared;
        let first = || *shared.state().segments.first_key_value().expect("there is always a segment").0;
        loop {
            let oldest = first();
            match shared.segment(oldest) {
                // Every drain has passed it since.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && first() != oldest => {}
                Ok(segment) => return Ok(segment.start.clone()),
                Err(source) => {
                    let path = state::segment_path(&shared.settings.dir, oldest);
                    return Err(OpenError::Io { path, source });
                }
            }
        }
    }

    /// Has the owner do something, and waits.
    fn job(&self, job: impl FnOnce(mpsc::SyncSender<std::io::Result<()>>) -> state::Job) -> Result<(), OpenError> {
        let (done, answer) = mpsc::sync_channel(1);
        let shared = &self.0.shared;
        let mut queue = shared.queue();
        if !queue.ended {
            queue.jobs.push(job(done));
        }
        drop(queue);
        shared.bell.ring();
        self.0.work();
        let path = slots::Slots::path(&shared.settings.dir);
        let stopping = || Err(std::io::Error::other("the channel has stopped"));
        answer.recv().unwrap_or_else(|_| stopping()).map_err(|source| OpenError::Io { path, source })
    }
}

/// Lays out frames, on the caller's thread.
fn build(drafts: Vec<Draft>) -> Result<Vec<frame::Built>, String> {
    let mut frames = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let sum: u64 = draft.items.iter().map(|i| u64::from(i.len)).sum();
        if sum != draft.body.len() as u64 {
            return Err(format!("the items of a frame are {sum} bytes long, its body is {}", draft.body.len()));
        }
        if let Some(long) = draft.items.iter().find(|i| i.len as usize > ITEM_BYTES_MAX) {
            return Err(format!("an item is {} bytes long, at most {ITEM_BYTES_MAX}", long.len));
        }
        frames.extend(draft.split().into_iter().map(frame::Built::new));
    }
    Ok(frames)
}

fn check_name(drain: &str) -> Result<(), OpenError> {
    let fits = (1..=cursor::NAME_BYTES_MAX).contains(&drain.len());
    if fits && drain.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')) {
        return Ok(());
    }
    Err(refused(drain, "a name is 1 to 63 of the characters a-z, 0-9, _ and -"))
}

fn refused(drain: &str, what: &str) -> OpenError {
    OpenError::Drain { drain: drain.to_owned(), what: what.to_owned() }
}
