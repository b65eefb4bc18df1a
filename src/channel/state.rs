//! What the handles share: the table of segments, the durable point, the cursors, the queue.
//!
//! One mutex for all that a snapshot shows, so that it shows one moment. It is held for map
//! look-ups and copies of heads, never for a file call. A panic while it is held is our own
//! bug: those who come next panic too.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use super::cache::Cache;
use super::cursor::Cursor;
use super::frame::Built;
use super::identity;
use super::locks::{Condvar, Mutex, MutexGuard, mpsc};
use super::segment::{Bound, Point, Segment};
use super::timeline::Timeline;
use super::{AppendError, Intake, Settings};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::planted::{self, Planted};
use crate::tasks;

pub struct Shared {
    pub settings: Settings,
    pub disk: Arc<dyn Disk>,
    pub clock: Clock,
    pub id: [u8; 16],
    pub id_text: String,
    state: Mutex<State>,
    queue: Mutex<Queue>,
    pub bell: Bell,
}

pub struct State {
    /// By first position; never empty. The last one is written to.
    pub segments: BTreeMap<u64, Entry>,
    /// What has been synced, and so what drains may see.
    pub durable: Point,
    /// What has been answered yes, with a delayed sync ahead of `durable`; never behind it.
    pub answered: Point,
    pub cache: Cache,
    pub timeline: Timeline,
    pub rows: Vec<DrainRow>,
    pub intake: Intake,
    pub disk_free: u64,
    pub stopped: bool,
}

/// A segment in the table.
pub struct Entry {
    pub bound: Bound,
    /// Bytes that count against the capacity.
    pub used: u64,
    pub open: Weak<Segment>,
}

/// A row of the cursors file.
pub struct DrainRow {
    pub generation: u64,
    pub cursor: Option<Cursor>,
    /// The lows in the two slots: a segment goes when both are beyond it, so that a slot that
    /// rots costs repeats and no loss.
    pub saved_lows: [u64; 2],
    /// Since when the slot is behind the cursor.
    pub dirty: Option<Instant>,
    /// Slots that may still name a drain whose beginning failed: they are written over, and hold the log until then.
    pub ghosts: u8,
    /// Who waits for the next slot: refused if it cannot be written.
    pub waiters: Vec<oneshot::Sender<Result<(), AppendError>>>,
    /// Wakes the drain's tap.
    pub notify: Arc<Notify>,
    /// Its attached drain gives up what is asked of it when the channel is full.
    pub skips: bool,
    /// Below this it is to give up what it has not settled.
    pub skip_to: watch::Sender<u64>,
}

/// What the owner is asked to do.
#[derive(Default)]
pub struct Queue {
    messages: VecDeque<Message>,
    /// Of the messages.
    bytes: u64,
    /// Bytes at which it is looked through for withdrawn messages.
    purge_at: u64,
    pub jobs: Vec<Job>,
    /// Something changed that the owner should look at.
    pub poke: bool,
    pub stop: bool,
    /// The owner is gone.
    pub ended: bool,
    /// Why nothing is taken any more.
    pub closed: Option<AppendError>,
}

/// Messages that wait for the owner: a bound beside the byte permits of the intake, which
/// small messages would hardly feel. As many as connections, a few times over.
const QUEUE_MESSAGES_MAX: usize = 65_536;
/// Withdrawn messages hold bytes that nobody pays for any more, and the owner may hang in a
/// sync: the queue is looked through whenever it is twice as long as what is still wanted.
const PURGE_BYTES_MIN: u64 = 8 * 1024 * 1024;

impl Queue {
    /// Adds a message; false if there are too many.
    pub fn push(&mut self, message: Message) -> bool {
        self.bytes += message.bytes;
        self.messages.push_back(message);
        if self.bytes > self.purge_at.max(PURGE_BYTES_MIN) || self.messages.len() > QUEUE_MESSAGES_MAX {
            self.purge();
            self.purge_at = self.bytes * 2;
        }
        if self.messages.len() <= QUEUE_MESSAGES_MAX {
            return true;
        }
        self.bytes -= self.messages.pop_back().map_or(0, |m| m.bytes);
        false
    }

    /// Drops what was withdrawn.
    pub fn purge(&mut self) {
        self.messages.retain(|m| !m.reply.is_closed());
        self.bytes = self.messages.iter().map(|m| m.bytes).sum();
    }

    pub fn first(&self) -> Option<&Message> {
        self.messages.front()
    }

    pub fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.bytes;
        Some(message)
    }

    pub fn take_all(&mut self) -> VecDeque<Message> {
        self.bytes = 0;
        std::mem::take(&mut self.messages)
    }

    #[cfg(test)]
    pub fn held_bytes(&self) -> u64 {
        self.bytes
    }
}

/// A message's frames, and who waits for them.
pub struct Message {
    pub frames: Vec<Built>,
    pub bytes: u64,
    pub items: u64,
    pub reply: oneshot::Sender<Result<std::ops::Range<u64>, AppendError>>,
}

/// Work on rows that must be durable before the caller goes on.
pub enum Job {
    /// Writes both slots of a new drain.
    Begin { row: usize, done: mpsc::SyncSender<io::Result<()>> },
    /// Gives a drain up.
    Forget { row: usize, done: mpsc::SyncSender<io::Result<()>> },
}

/// Wakes the owner, which is a thread, or a task of a [simulation](tasks::simulate).
pub enum Bell {
    Thread(Condvar),
    Task(Notify),
}

impl Bell {
    fn new() -> Bell {
        if tasks::simulated() { Bell::Task(Notify::new()) } else { Bell::Thread(Condvar::new()) }
    }

    pub fn ring(&self) {
        match self {
            Bell::Thread(bell) => bell.notify_one(),
            Bell::Task(bell) => bell.notify_one(),
        }
    }

    /// Sleeps until it rings, for `most` at most. Returns at once where the owner is a task.
    pub fn wait<'a>(&self, queue: MutexGuard<'a, Queue>, most: Duration) -> MutexGuard<'a, Queue> {
        match self {
            Bell::Thread(bell) => bell.wait_timeout(queue, most).expect("nobody panicked while holding the queue").0,
            Bell::Task(_) => queue,
        }
    }

    /// Resolves when it rings or is to, at `due`.
    pub async fn heard(&self, due: Instant) {
        let Bell::Task(bell) = self else { return };
        tokio::select! {
            biased;
            () = bell.notified() => {}
            () = tokio::time::sleep_until(due) => {}
        }
    }
}

impl Shared {
    pub fn new(settings: Settings, disk: Arc<dyn Disk>, clock: Clock, id: [u8; 16], state: State) -> Shared {
        let id_text = identity::text(&id);
        let (state, queue) = (Mutex::new(state), Mutex::new(Queue::default()));
        Shared { settings, disk, clock, id, id_text, state, queue, bell: Bell::new() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked while holding the state")
    }

    /// The state for the last answers of a process that is ending, whoever panicked.
    pub fn state_at_the_end(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`state_at_the_end`](Self::state_at_the_end).
    pub fn queue_at_the_end(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nobody panicked while holding the queue")
    }

    /// Wakes the owner to look at what changed.
    pub fn poke(&self) {
        self.queue().poke = true;
        self.bell.ring();
    }

    /// The open segment that begins at `first`, opened if need be. Blocks.
    pub fn segment(&self, first: u64) -> io::Result<Arc<Segment>> {
        if let Some(open) = self.state().segments.get(&first).and_then(|s| s.open.upgrade()) {
            return Ok(open);
        }
        let path = segment_path(&self.settings.dir, first);
        let segment = Segment::open(&*self.disk, &path, &self.id).map_err(|e| e.into_io(&path))?;
        let segment = Arc::new(segment);
        if let Some(entry) = self.state().segments.get_mut(&first) {
            entry.open = Arc::downgrade(&segment);
        }
        Ok(segment)
    }
}

impl State {
    /// The segment that holds `position`, and the first position of the one behind it.
    pub fn segment_of(&self, position: u64) -> (u64, &Entry) {
        let before = self.segments.range(..=position).next_back();
        let (&first, entry) = before.or_else(|| self.segments.first_key_value()).expect("there is always a segment");
        (first, entry)
    }

    /// Notes when the durable end was where it is.
    pub fn mark(&mut self, now: Instant) {
        let low = self.cursors().map(|c| c.low).min().unwrap_or(0);
        self.timeline.mark(now, self.durable.position, low);
    }

    pub fn used(&self) -> u64 {
        self.segments.values().map(|s| s.used).sum()
    }

    /// Bytes of log from a position on: whole segments, and its own one's by proportion.
    pub fn bytes_from(&self, position: u64) -> u64 {
        let (first, entry) = self.segment_of(position);
        let items = entry.bound.position.saturating_sub(first).max(1);
        let left = entry.bound.position.saturating_sub(position);
        let own = u128::from(entry.used) * u128::from(left.min(items)) / u128::from(items);
        own as u64 + self.segments.range(first + 1..).map(|(_, s)| s.used).sum::<u64>()
    }

    pub fn cursors(&self) -> impl Iterator<Item = &Cursor> {
        self.rows.iter().filter_map(|r| r.cursor.as_ref())
    }

    /// What the slowest drain waits for.
    pub fn waiting(&self) -> u64 {
        self.cursors().map(|c| c.waiting(&self.durable)).max().unwrap_or(0)
    }

    /// Everything below is settled by every drain, durably in both its slots. Without a drain
    /// nothing is: the first one may want it.
    pub fn settled_for_good(&self) -> u64 {
        if planted::has(Planted::UnlinkBeforeCursor) {
            return self.cursors().map(|c| c.low).min().unwrap_or(0);
        }
        let holding = self.rows.iter().filter(|r| r.cursor.is_some() || r.ghosts > 0);
        holding.map(|r| r.saved_lows[0].min(r.saved_lows[1])).min().unwrap_or(0)
    }

    pub fn row_of(&self, name: &str) -> Option<usize> {
        self.rows.iter().position(|r| r.cursor.as_ref().is_some_and(|c| c.name == name))
    }

    /// The cursor of an attached drain.
    pub fn cursor(&mut self, row: usize) -> &mut Cursor {
        self.rows[row].cursor.as_mut().expect("an attached drain is not forgotten")
    }

    pub fn wake_all(&self) {
        for row in &self.rows {
            row.notify.notify_one();
        }
    }
}

impl DrainRow {
    pub fn blank() -> DrainRow {
        DrainRow {
            generation: 0,
            cursor: None,
            saved_lows: [0; 2],
            dirty: None,
            ghosts: 0,
            waiters: Vec::new(),
            notify: Arc::new(Notify::new()),
            skips: false,
            skip_to: watch::Sender::new(0),
        }
    }

    /// Its drain was begun or forgotten, in both slots, or that failed in one of them.
    pub fn after_job(&mut self, forget: bool, done: bool) {
        let now = Instant::now();
        (self.ghosts, self.dirty) = match (forget, done) {
            (false, true) => (0, self.dirty),
            (false, false) => (2, Some(now)),
            // Nothing of it is left to save: a row that stays due would keep the owner awake.
            (true, true) => (0, None),
            // It may be forgotten in one of them: the next save names it again.
            (true, false) => (0, self.dirty.or(Some(now))),
        };
        if forget == done {
            self.saved_lows = [0; 2];
            self.cursor = None;
            self.waiters.clear();
        }
    }

    /// The older of its slots was written over.
    pub fn saved(&mut self) {
        if self.cursor.is_none() && self.ghosts > 0 {
            self.ghosts -= 1;
            self.dirty = (self.ghosts > 0).then(Instant::now);
        }
    }
}

pub fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:016x}.seg"))
}
