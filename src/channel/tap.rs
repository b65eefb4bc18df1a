//! A drain's handles: [`Tap`] takes frames, [`Ledger`] settles them.
//!
//! A drain that keeps up is served from the tail cache without a blocking call; else a
//! [`Reader`] reads ahead on a blocking thread. The read under way is kept in the tap, so that
//! a cancelled `next` loses nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::cursor::{Cursor, NOTE_BYTES_MAX};
use super::locks::MutexGuard;
use super::reader::{At, Bodies, Event, Reader};
use super::scan::Scan;
use super::state::{Shared, State};
use super::{AppendError, Head, Intake, Outcome, ReadError, Taken, Takes};
use crate::tasks;

/// Heads taken from the cache at a time.
const BURST: usize = 64;

type Job = Pin<Box<dyn Future<Output = (Reader, std::io::Result<(Vec<Event>, Option<At>)>)> + Send + Sync>>;

/// A drain's handle on the channel.
pub struct Tap {
    ledger: Ledger,
    /// Heads that were read and not yet given.
    ready: VecDeque<Arc<Head>>,
    position: u64,
    at: Option<At>,
    reader: Option<Reader>,
    job: Option<Job>,
    /// Frames were passed over since the owner was told that the cursor changed.
    passed: bool,
}

/// What a tap can do now.
enum Turn {
    Given(Taken),
    Wait,
    Read,
    Stopped,
}

impl Tap {
    pub(super) fn new(shared: Arc<Shared>, row: usize, drain: &str, position: u64) -> Tap {
        let attachment = Arc::new(Attachment { shared, row, drain: drain.to_owned(), bodies: Arc::default() });
        let reader = Reader::new(attachment.shared.clone(), attachment.bodies.clone());
        let ledger = Ledger(attachment);
        Tap { ledger, ready: VecDeque::new(), position, at: None, reader: Some(reader), job: None, passed: false }
    }

    /// Has the cursor saved though nothing was settled: of a drain that could not be forgotten one slot may say that it
    /// was.
    pub(super) fn save(&self) {
        let ours = &self.ledger.0;
        ours.changed(ours.shared.state());
    }

    pub fn drain(&self) -> &str {
        &self.ledger.0.drain
    }

    /// The channel's identity, as [`Channel::id`](super::Channel::id) gives it.
    pub fn channel_id(&self) -> &str {
        &self.ledger.0.shared.id_text
    }

    /// The next durable frame with something open for this drain; waits for one, and while its
    /// window is full. Damage is settled as such, logged once, and passed. `None`: stopping.
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Taken>, ReadError> {
        let notify = {
            let ours = &self.ledger.0;
            ours.shared.state().rows[ours.row].notify.clone()
        };
        loop {
            if let Some(job) = &mut self.job {
                let (reader, found) = job.await;
                (self.job, self.reader) = (None, Some(reader));
                let (events, at) = found?;
                self.take_in(events, at);
            }
            let turn = self.turn();
            if std::mem::take(&mut self.passed) {
                let ours = &self.ledger.0;
                ours.changed(ours.shared.state());
            }
            match turn {
                Turn::Given(taken) => return Ok(Some(taken)),
                Turn::Stopped => return Ok(None),
                Turn::Wait => notify.notified().await,
                Turn::Read => self.start_job(),
            }
        }
    }

    fn start_job(&mut self) {
        let mut reader = self.reader.take().expect("one job at a time");
        let (position, at) = (self.position, self.at);
        self.job = Some(Box::pin(tasks::blocking(move || {
            let found = reader.read(position, at);
            (reader, found)
        })));
    }

    fn turn(&mut self) -> Turn {
        let ours = self.ledger.0.clone();
        let mut state = ours.shared.state();
        loop {
            if state.stopped {
                return Turn::Stopped;
            }
            let cursor = state.cursor(ours.row);
            if cursor.is_released()
                || !cursor.has_window(self.ready.front().map_or(self.position, |head| head.at.first))
            {
                return Turn::Wait;
            }
            while let Some(head) = self.ready.pop_front() {
                if let Some(taken) = give(cursor, head) {
                    return Turn::Given(taken);
                }
            }
            if self.position >= state.durable.position {
                return Turn::Wait;
            }
            if !self.take_cached(&mut state) {
                return Turn::Read;
            }
        }
    }

    /// Takes what the cache has behind the position; false if it has it no more.
    fn take_cached(&mut self, state: &mut State) -> bool {
        let frames: Vec<_> = state.cache.from(self.position).take(BURST).cloned().collect();
        let Some(last) = frames.last() else { return false };
        self.position = last.next.position;
        self.at = Some(At { segment: last.head.at.segment, place: last.next });
        self.reader.as_mut().expect("no job is under way in a turn").leave();
        let cursor = state.cursor(self.ledger.0.row);
        let before = self.ready.len();
        let taken = frames.len();
        for frame in frames {
            self.ready.extend(admit(cursor, frame.head, frame.addressee));
        }
        // What was passed over moved the cursor: its slot must follow, or segments stay for ever.
        self.passed |= self.ready.len() - before < taken;
        true
    }

    fn take_in(&mut self, events: Vec<Event>, at: Option<At>) {
        let ours = self.ledger.0.clone();
        let mut state = ours.shared.state();
        let cursor = state.cursor(ours.row);
        for event in events {
            match event {
                Event::Frame { head, addressee } => {
                    self.position = head.at.first + u64::from(head.at.items);
                    self.ready.extend(admit(cursor, head, addressee));
                }
                Event::Lost { positions, common } => {
                    self.position = positions.end;
                    lose(cursor, positions, common);
                }
                Event::Begins { segment } => {
                    self.position = segment.first();
                    cursor.lose_before(&segment.start);
                }
            }
        }
        self.at = at.filter(|at| at.place.position == self.position);
        ours.touched(state);
    }

    /// The body of a frame, from memory or from disk; for a retry, again.
    pub async fn body(&self, head: &Head) -> Result<Bytes, ReadError> {
        self.ledger.body(head).await
    }

    /// Lets the drain settle here and there rather than from the front: it is given more frames meanwhile, and may
    /// repeat more of them after a crash.
    pub fn scatter(&self) {
        let ours = &self.ledger.0;
        ours.shared.state().cursor(ours.row).scatter();
    }

    /// A handle that can settle and read bodies from other tasks.
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// Lets this drain be asked to give up its oldest positions when the channel is full. What it is asked is the
    /// position below which it is to settle everything as skipped, as soon as none of it is on its way.
    pub fn may_skip(&self) -> watch::Receiver<u64> {
        let ours = &self.ledger.0;
        let mut state = ours.shared.state();
        let row = &mut state.rows[ours.row];
        row.skips = true;
        row.skip_to.send_replace(0);
        row.skip_to.subscribe()
    }

    /// The note as it was last committed; one whose commit failed may be there and not be durable.
    pub fn note(&self) -> Bytes {
        let ours = &self.ledger.0;
        ours.shared.state().cursor(ours.row).note.clone()
    }
}

/// The frame's head if it is for this drain; else it is passed over.
pub(super) fn admit(cursor: &mut Cursor, head: Arc<Head>, addressee: u64) -> Option<Arc<Head>> {
    let end = head.at.first + u64::from(head.at.items);
    cursor.seen = cursor.seen.max(end);
    if addressee == cursor.id || (addressee == 0 && cursor.takes == Takes::Common) {
        return Some(head);
    }
    cursor.pass(head.at.first..end);
    None
}

/// Settles a damaged stretch; what of it was addressed is charged to the drain that takes nothing else.
pub(super) fn lose(cursor: &mut Cursor, positions: Range<u64>, common: u64) {
    let items = match cursor.takes {
        Takes::Common => common,
        Takes::Addressed => (positions.end - positions.start).saturating_sub(common),
    };
    cursor.seen = cursor.seen.max(positions.end);
    cursor.lose(positions, items);
}

/// What of a frame is open, if anything.
fn give(cursor: &mut Cursor, head: Arc<Head>) -> Option<Taken> {
    let first = head.at.first;
    let open = cursor.open(first..first + u64::from(head.at.items));
    let open: Vec<_> = open.into_iter().map(|r| (r.start - first) as u32..(r.end - first) as u32).collect();
    if open.is_empty() {
        return None;
    }
    cursor.given(first, head.received_us);
    Some(Taken { head, open })
}

/// A drain's hold on its row; the drain is detached when the last handle goes.
pub(super) struct Attachment {
    pub shared: Arc<Shared>,
    pub row: usize,
    pub drain: String,
    pub bodies: Arc<Bodies>,
}

impl Attachment {
    /// Says that the cursor changed, also to the tap: there may be a window again.
    pub fn touched(&self, state: MutexGuard<'_, State>) {
        state.rows[self.row].notify.notify_one();
        self.changed(state);
    }

    /// Says that the cursor changed; its slot follows within 100 ms.
    fn changed(&self, mut state: MutexGuard<'_, State>) {
        let row = &mut state.rows[self.row];
        let first = row.dirty.is_none();
        row.dirty = row.dirty.or(Some(Instant::now()));
        drop(state);
        if first {
            self.shared.poke();
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let mut state = self.shared.state_at_the_end();
        state.rows[self.row].skips = false;
        state.cursor(self.row).attached = false;
    }
}

/// Settles for a drain. Cheap to clone.
#[derive(Clone)]
pub struct Ledger(pub(super) Arc<Attachment>);

impl Ledger {
    /// Settles positions that were taken; those settled before, and those of other drains'
    /// frames between them, are left alone. Durable within 100 ms.
    pub fn settle(&self, positions: Range<u64>, outcome: Outcome) {
        let mut state = self.0.shared.state();
        let cursor = state.cursor(self.0.row);
        let taken = positions.is_empty() || positions.end <= cursor.seen;
        cursor.settle(positions, outcome);
        self.0.touched(state);
        debug_assert!(taken, "settled before it was taken");
    }

    /// Settles several ranges as [`settle`](Self::settle) does, with one look at the channel.
    pub fn settle_all(&self, settled: impl IntoIterator<Item = (Range<u64>, Outcome)>) {
        let mut state = self.0.shared.state();
        let cursor = state.cursor(self.0.row);
        for (positions, outcome) in settled {
            debug_assert!(positions.is_empty() || positions.end <= cursor.seen, "settled before it was taken");
            cursor.settle(positions, outcome);
        }
        self.0.touched(state);
    }

    /// Settles (an empty range settles nothing) and replaces the note (at most 3072 bytes) in one
    /// slot; durable when it returns, but for what is filtered or sampled out above what is open: that is left out
    /// again when it is read again. After an error it may or may not come to be.
    pub async fn commit(&self, positions: Range<u64>, outcome: Outcome, note: Bytes) -> Result<(), AppendError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(AppendError::Failed(format!("a note of {} bytes, at most {NOTE_BYTES_MAX}", note.len())));
        }
        self.classify(positions.clone()).await.map_err(|e| AppendError::Failed(e.to_string()))?;
        let saved = {
            let mut state = self.0.shared.state();
            if state.stopped {
                return Err(AppendError::Stopping);
            }
            let cursor = state.cursor(self.0.row);
            cursor.settle(positions, outcome);
            cursor.note = note;
            let (done, saved) = oneshot::channel();
            state.rows[self.0.row].waiters.push(done);
            self.0.touched(state);
            saved
        };
        self.0.shared.poke();
        saved.await.unwrap_or(Err(AppendError::Stopping))
    }

    /// The position below which everything has been in the channel for `age`, by a clock that does not jump: the time
    /// since its sync, or since this process started where that is less.
    pub fn older_than(&self, age: Duration) -> u64 {
        let (mut state, now) = (self.0.shared.state(), Instant::now());
        state.mark(now);
        state.timeline.older_than(now, age)
    }

    /// Whether intake stands still for want of room, and no drain is further behind than this one.
    pub fn keeps_intake_waiting(&self) -> bool {
        let mut state = self.0.shared.state();
        let low = state.cursor(self.0.row).low;
        state.intake == Intake::Full && state.cursors().all(|cursor| cursor.low >= low)
    }

    /// Items that this drain has not settled.
    pub fn waiting(&self) -> u64 {
        let mut state = self.0.shared.state();
        let durable = state.durable.clone();
        state.cursor(self.0.row).waiting(&durable)
    }

    /// Looks at frames that the tap has not met yet (a plan carried out after a restart), so
    /// that those of other drains are not counted for this one.
    async fn classify(&self, positions: Range<u64>) -> Result<(), ReadError> {
        let seen = {
            let mut state = self.0.shared.state();
            state.cursor(self.0.row).seen
        };
        if positions.is_empty() || positions.end <= seen {
            return Ok(());
        }
        let mut scan = self.scan(positions);
        loop {
            match scan.next().await {
                Ok(None) => return Ok(()),
                // Damage is settled by the scan.
                Ok(Some(_)) | Err(ReadError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The body of a frame, from memory or from disk. A damaged one is for the caller to settle.
    pub async fn body(&self, head: &Head) -> Result<Bytes, ReadError> {
        let ours = &self.0;
        let cached = {
            let state = ours.shared.state();
            let frame = state.cache.from(head.at.first).next().filter(|f| f.head.at.first == head.at.first);
            frame.map(|f| f.body.clone())
        };
        if let Some(body) = cached {
            return Ok(body);
        }
        if let Some(Ok(body)) = ours.bodies.get(head) {
            return Ok(body);
        }
        let (bodies, shared, head) = (ours.bodies.clone(), ours.shared.clone(), head.clone());
        tasks::blocking(move || bodies.read(&shared, &head)).await
    }

    /// Reads a stretch again, head by head, from memory or disk: the frames that this drain takes
    /// and that hold something of `positions`, settled or not, in order.
    pub fn scan(&self, positions: Range<u64>) -> Scan {
        Scan::new(self.0.clone(), positions)
    }
}

/// Handles move between tasks, and are shared by them; this does not compile otherwise.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Tap>();
    shared::<Ledger>();
    shared::<Scan>();
};
