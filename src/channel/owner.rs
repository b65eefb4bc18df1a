//! The owner: the one thread that writes the log's files.
//!
//! Group commit: while one group is synced the next gathers in the queue. Between groups it
//! saves cursors (at most 100 ms after a change), removes segments that every drain has
//! passed, makes the next segment ahead and watches the disk's free space. It never retries
//! a write or a sync on the same bytes: it seals, refuses and goes on in a fresh segment.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::log::Log;
use super::relief::{Shortage, relieve};
use super::segment::HEAD_BYTES;
use super::slots::Slots;
use super::state::{Job, Message, Queue, Shared, segment_path};
use super::{AppendError, Intake, Sync, cursor, free_min};
use crate::disk::is_no_space;
use crate::metrics::{Counter, Histogram, Registry};

/// Bytes of one group: some 10 ms of a slow disk. A longer one would only make the first wait longer.
const GROUP_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// With `Sync::Every`, written bytes kept for a fresh segment should the sync fail.
const PENDING_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// A changed cursor is saved after this; leaves a slow disk 20 ms of the promised 100.
const SLOT_DELAY: Duration = Duration::from_millis(80);
/// How often free space is looked at, and a spare that could not be made is tried again.
const SPACE_POLL: Duration = Duration::from_secs(1);
/// How often a queue without room is looked through for withdrawn messages.
const WITHDRAWN_POLL: Duration = Duration::from_millis(50);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Failures in a row, "no space" apart, after which intake stays closed.
const STRIKES_MAX: u32 = 2;

pub struct Owner {
    shared: Arc<Shared>,
    log: Log,
    slots: Slots,
    meters: Meters,
    /// When un-synced frames are to be synced (`Sync::Every`).
    sync_due: Option<Instant>,
    /// After a failure: when to try again, how long after that, and how often in a row.
    retry: Option<Instant>,
    backoff: Duration,
    strikes: u32,
    /// What intake shows until a fresh segment is open.
    closed: Option<Intake>,
    slots_retry: Option<Instant>,
    space_due: Instant,
    spare_due: Instant,
    /// After a removal that failed: when to try again.
    remove_due: Instant,
    free_min: u64,
    /// What the message at the head of the queue lacked room for.
    blocked: Option<u64>,
    /// Bytes and items of the last message that there was no room for, until there is, or
    /// another is taken: who asks after it was withdrawn still hears "full".
    lacking: Option<(u64, u64)>,
    /// Last, so that who hears of the end finds the files closed.
    _guard: Guard,
}

struct Meters {
    seconds: Histogram,
    spans: Histogram,
    no_space: Counter,
    write: Counter,
    sync: Counter,
}

impl Meters {
    fn new(registry: &Registry) -> Meters {
        const FAILURES: &str = "spangate_channel_failures_total";
        Meters {
            seconds: registry.histogram("spangate_channel_sync_seconds", &[]),
            spans: registry.histogram("spangate_channel_sync_spans", &[]),
            no_space: registry.counter(FAILURES, &[("kind", "no_space")]),
            write: registry.counter(FAILURES, &[("kind", "write")]),
            sync: registry.counter(FAILURES, &[("kind", "sync")]),
        }
    }
}

/// Which call failed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    Write,
    Sync,
}

impl Owner {
    /// An owner whose log is open.
    pub fn new(shared: Arc<Shared>, log: Log, slots: Slots, registry: &Registry) -> Owner {
        let guard = Guard(shared.clone());
        let mut owner = Owner {
            shared,
            log,
            slots,
            meters: Meters::new(registry),
            sync_due: None,
            retry: None,
            backoff: BACKOFF_MIN,
            strikes: 0,
            closed: None,
            slots_retry: None,
            space_due: Instant::now(),
            spare_due: Instant::now(),
            remove_due: Instant::now(),
            free_min: 0,
            blocked: None,
            lacking: None,
            _guard: guard,
        };
        owner.poll_space();
        if !owner.log.is_open() {
            owner.closed = Some(Intake::NoSpace { reason: "there was no room to append to the log".to_owned() });
            owner.retry = Some(Instant::now() + BACKOFF_MIN);
        }
        owner.show_intake();
        owner
    }

    /// Serves the queue until a stop.
    pub fn run(mut self) {
        while let Some(due) = self.turn() {
            self.wait(due);
        }
    }

    /// Does what there is to do; when it is to be called again, if it is not woken before. `None` after a stop.
    pub fn turn(&mut self) -> Option<Instant> {
        let (jobs, stop) = {
            let mut queue = self.shared.queue();
            queue.poke = false;
            (std::mem::take(&mut queue.jobs), queue.stop)
        };
        for job in jobs {
            self.do_job(job);
        }
        if stop {
            self.finish();
            return None;
        }
        self.append();
        self.sync_if_due();
        self.relieve();
        self.leave_settled();
        self.save_if_due();
        self.remove_passed();
        self.make_spare();
        self.show_intake();
        self.poll_space();
        self.reopen_if_due();
        Some(if self.is_asked(&self.shared.queue()) { Instant::now() } else { self.deadline() })
    }

    /// Sleeps until there is something to do.
    fn wait(&self, due: Instant) {
        let mut queue = self.shared.queue();
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_asked(&queue) {
                return;
            }
            queue = self.shared.bell.wait(queue, left);
        }
    }

    fn is_asked(&self, queue: &Queue) -> bool {
        let can_take = self.log.is_open() && self.blocked.is_none();
        queue.stop || queue.poke || !queue.jobs.is_empty() || (can_take && queue.first().is_some())
    }

    fn deadline(&self) -> Instant {
        let slots = self.shared.state().rows.iter().filter_map(|r| r.dirty).min().map(|since| since + SLOT_DELAY);
        let slots = slots.map(|due| self.slots_retry.map_or(due, |retry| retry.max(due)));
        let withdrawn = self.blocked.map(|_| Instant::now() + WITHDRAWN_POLL);
        let due = [self.sync_due, self.retry, slots, withdrawn];
        due.into_iter().flatten().fold(self.space_due, Instant::min)
    }

    fn append(&mut self) {
        if !self.log.is_open() {
            self.purge();
            return;
        }
        let group = self.take_group();
        if group.is_empty() {
            return;
        }
        let before = self.log.tail().clone();
        let items: u64 = group.iter().map(|m| m.items).sum();
        let (mut frames, mut waiting) = (Vec::new(), Vec::new());
        let mut first = before.position;
        for message in group {
            waiting.push((first..first + message.items, message.reply));
            first += message.items;
            frames.extend(message.frames);
        }
        let always = self.shared.settings.sync == Sync::Always;
        let started = Instant::now();
        let done = self.log.write(frames).map_err(|e| (Call::Write, e));
        let done = if always { done.and_then(|()| self.log.sync().map_err(|e| (Call::Sync, e))) } else { done };
        match done {
            Ok(()) => {
                if always {
                    self.meters.seconds.record(started.elapsed().as_secs_f64());
                    self.meters.spans.record(items as f64);
                    self.recovered();
                } else if let Sync::Every(most) = self.shared.settings.sync {
                    self.sync_due = self.sync_due.or(Some(Instant::now() + most));
                    self.shared.state().answered = self.log.tail().clone();
                }
                // Who hears yes and then looks sees an open intake.
                self.show_intake();
                // A receipt that was dropped meanwhile needs no answer.
                waiting.into_iter().for_each(|(positions, reply)| _ = reply.send(Ok(positions)));
            }
            Err((call, error)) => {
                self.log.refuse_from(&before);
                let refusal = self.fail(call, &error);
                waiting.into_iter().for_each(|(_, reply)| _ = reply.send(Err(refusal.clone())));
            }
        }
    }

    /// Messages for one write: in order, none withdrawn, as many as there is room for.
    fn take_group(&mut self) -> Vec<Message> {
        let (used, waiting, free) = self.load();
        let shared = self.shared.clone();
        let mut queue = shared.queue();
        let (mut group, mut bytes, mut items) = (Vec::new(), 0, 0);
        self.blocked = None;
        self.lacking = self.lacking.filter(|&(bytes, items)| !self.fits(bytes, items, used, waiting, free));
        while let Some(message) = queue.first() {
            if message.reply.is_closed() {
                queue.pop();
                continue;
            }
            if !group.is_empty() && (bytes + message.bytes > GROUP_BYTES_MAX.min(self.log.room())) {
                break;
            }
            if !self.fits(message.bytes, message.items, used + bytes, waiting + items, free) {
                if group.is_empty() {
                    self.blocked = Some(message.bytes);
                    self.lacking = Some((message.bytes, message.items));
                }
                break;
            }
            if group.is_empty() && message.bytes > self.log.room() {
                let need = message.bytes;
                drop(queue);
                if let Err(error) = self.log.roll(need) {
                    self.fail(Call::Write, &error);
                    return group;
                }
                queue = shared.queue();
                // Frames are taken in the next turn: the queue may have changed.
                queue.poke = true;
                return group;
            }
            let message = queue.pop().expect("it was just looked at");
            self.lacking = None;
            bytes += message.bytes;
            items += message.items;
            group.push(message);
        }
        if self.blocked.is_some() {
            queue.purge();
        }
        group
    }

    /// Bytes used, items waiting, free bytes on the disk; un-synced frames included.
    fn load(&self) -> (u64, u64, u64) {
        let (bytes, items) = self.log.pending();
        let state = self.shared.state();
        (state.used() + bytes, state.waiting() + items, state.disk_free)
    }

    fn fits(&self, bytes: u64, items: u64, used: u64, waiting: u64, free: u64) -> bool {
        let settings = &self.shared.settings;
        let (extra, cost) = match bytes > self.log.room() {
            true => (HEAD_BYTES, self.log.segment_cost(bytes)),
            false => (0, 0),
        };
        used + bytes + extra <= settings.capacity_bytes
            && settings.capacity_spans.is_none_or(|most| waiting + items <= most)
            && free >= self.free_min.saturating_add(cost)
    }

    /// Drops withdrawn messages while nothing can be taken.
    fn purge(&mut self) {
        self.shared.queue().purge();
    }

    fn sync_if_due(&mut self) {
        let full = self.log.pending().0 >= PENDING_BYTES_MAX;
        if !self.log.is_open() || !(full || self.sync_due.is_some_and(|due| due <= Instant::now())) {
            return;
        }
        self.sync_due = None;
        let (_, items) = self.log.pending();
        if items == 0 {
            return;
        }
        let started = Instant::now();
        match self.log.sync() {
            Ok(()) => {
                self.meters.seconds.record(started.elapsed().as_secs_f64());
                self.meters.spans.record(items as f64);
                self.recovered();
            }
            Err(error) => _ = self.fail(Call::Sync, &error),
        }
    }

    fn recovered(&mut self) {
        self.strikes = 0;
        self.backoff = BACKOFF_MIN;
    }

    /// Seals the segment, refuses all who wait, and says when to try again.
    fn fail(&mut self, call: Call, error: &io::Error) -> AppendError {
        let no_space = is_no_space(error);
        match (no_space, call) {
            (true, _) => self.meters.no_space.increment(1),
            (_, Call::Write) => self.meters.write.increment(1),
            (_, Call::Sync) => self.meters.sync.increment(1),
        }
        self.strikes += u32::from(!no_space);
        let for_good = self.strikes >= STRIKES_MAX;
        let position = self.shared.state().durable.position;
        tracing::error!(?call, %error, position, for_good, "the log could not be written; its segment is sealed");
        self.log.seal();
        // The fresh segment begins with what was not synced, and a sync of it.
        self.sync_due = None;
        let refusal = if no_space { AppendError::DiskLow } else { AppendError::Failed(error.to_string()) };
        let reason = error.to_string();
        self.closed = Some(match no_space && !for_good {
            true => Intake::NoSpace { reason },
            false => Intake::Failed { reason, for_good },
        });
        self.retry = (!for_good).then(|| Instant::now() + self.backoff);
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        let mut queue = self.shared.queue();
        if for_good {
            queue.closed = Some(refusal.clone());
        }
        let refused = queue.take_all();
        drop(queue);
        // Who hears no and then looks sees why.
        self.show_intake();
        refused.into_iter().for_each(|m| _ = m.reply.send(Err(refusal.clone())));
        refusal
    }

    fn reopen_if_due(&mut self) {
        if self.log.is_open() || self.retry.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.retry = None;
        match self.log.open_fresh(0) {
            Ok(()) => {
                tracing::info!(first = self.log.tail().position, "the log goes on in a fresh segment");
                self.closed = None;
            }
            Err(error) => _ = self.fail(Call::Write, &error),
        }
    }

    fn poll_space(&mut self) {
        if self.space_due > Instant::now() {
            return;
        }
        self.space_due = Instant::now() + SPACE_POLL;
        match self.shared.disk.space(&self.shared.settings.dir) {
            Ok(space) => {
                self.free_min = free_min(self.shared.settings.free_min_bytes, space.total);
                self.shared.state().disk_free = space.free;
                if self.blocked.is_some() {
                    self.shared.queue().poke = true;
                }
            }
            Err(error) => tracing::warn!(%error, "could not ask for free disk space; the last answer stands"),
        }
    }

    /// Asks drains that may skip for room, while there is room for one more segment: so intake need not stop for it.
    fn relieve(&self) {
        let settings = &self.shared.settings;
        let (bytes, items) = self.log.pending();
        let state = self.shared.state();
        let full = state.used() + bytes + self.log.segment_bytes() > settings.capacity_bytes;
        let lacking = self.lacking.filter(|_| state.intake != Intake::DiskLow);
        let over = |most: u64| lacking.map(|(_, wanted)| (state.waiting() + items + wanted).saturating_sub(most));
        let shortage = Shortage {
            bytes: full || lacking.is_some_and(|(wanted, _)| state.used() + bytes + wanted > settings.capacity_bytes),
            items: settings.capacity_spans.and_then(over).filter(|over| *over > 0),
        };
        if relieve(&state, shortage) {
            tracing::debug!(?shortage, "a drain is asked to skip");
        }
    }

    /// Where a message lacks room though all is settled, the segment that is written to has taken it: a fresh one lets
    /// it go.
    fn leave_settled(&mut self) {
        if self.lacking.is_none() || !self.log.is_open() || self.log.pending() != (0, 0) {
            return;
        }
        let state = self.shared.state();
        let end = state.durable.position;
        let settled = state.cursors().next().is_some() && state.cursors().all(|c| c.low >= end);
        let taken = state.segments.last_key_value().is_some_and(|(_, last)| last.used > HEAD_BYTES);
        let room = state.disk_free >= self.free_min.saturating_add(self.log.segment_cost(0));
        drop(state);
        if settled
            && taken
            && room
            && let Err(error) = self.log.roll(0)
        {
            self.fail(Call::Write, &error);
        }
    }

    fn show_intake(&mut self) {
        let room = self.log.room();
        let (bytes, _) = self.log.pending();
        let mut state = self.shared.state();
        let intake = if let Some(closed) = &self.closed {
            closed.clone()
        } else if state.disk_free < self.free_min {
            Intake::DiskLow
        } else if let Some((wanted, _)) = self.lacking {
            let cost = if wanted > room { self.log.segment_cost(wanted) } else { 0 };
            let full = state.used() + bytes + wanted > self.shared.settings.capacity_bytes;
            if !full && state.disk_free < self.free_min + cost { Intake::DiskLow } else { Intake::Full }
        } else {
            Intake::Open
        };
        if intake != state.intake {
            // It comes and goes with each segment; the gateway says what a person should know.
            tracing::debug!(?intake, "intake changed");
            state.intake = intake;
        }
    }

    fn make_spare(&mut self) {
        if !self.log.wants_spare() || self.spare_due > Instant::now() {
            return;
        }
        let free = self.shared.state().disk_free;
        if free < self.free_min.saturating_add(self.log.segment_cost(0)) {
            return;
        }
        if let Err(error) = self.log.make_spare() {
            // It is made when it is needed; if that fails too, that is an error.
            self.spare_due = Instant::now() + SPACE_POLL;
            tracing::warn!(%error, "could not make the next segment ahead");
        }
    }

    fn save_if_due(&mut self) {
        let now = Instant::now();
        let (due, forced) = {
            let state = self.shared.state();
            let due = state.rows.iter().any(|r| r.dirty.is_some_and(|since| since + SLOT_DELAY <= now));
            (due, state.rows.iter().any(|r| !r.waiters.is_empty()))
        };
        if forced || (due && self.slots_retry.is_none_or(|retry| retry <= now)) {
            self.save();
        }
    }

    /// Writes the slots of all changed cursors with one sync.
    fn save(&mut self) {
        let mut saves = Vec::new();
        let mut state = self.shared.state();
        let durable = state.durable.clone();
        for (row, entry) in state.rows.iter_mut().enumerate() {
            if entry.dirty.take().is_none() {
                continue;
            }
            let generation = entry.generation + 1;
            let (slot, low) = match &entry.cursor {
                Some(cursor) => (cursor.encode(&self.shared.id, generation, &durable), cursor.low),
                None => (cursor::encode_forgotten(&self.shared.id, generation), 0),
            };
            saves.push(Save { row, generation, low, slot, waiters: std::mem::take(&mut entry.waiters) });
        }
        drop(state);
        if saves.is_empty() {
            return;
        }
        let written = saves.iter().try_for_each(|s| self.slots.write(s.row, s.generation, &s.slot));
        let saved = written.and_then(|()| self.slots.sync());
        if let Err(error) = &saved {
            tracing::error!(%error, "the cursors could not be saved; after a crash drains repeat more");
            self.slots_retry = Some(Instant::now() + BACKOFF_MIN * 10);
        } else {
            self.slots_retry = None;
        }
        self.saved(saves, saved);
    }

    fn saved(&self, saves: Vec<Save>, saved: io::Result<()>) {
        let mut state = self.shared.state();
        for save in saves {
            let row = &mut state.rows[save.row];
            match &saved {
                Ok(()) => {
                    row.generation = save.generation;
                    row.saved_lows[(save.generation % 2) as usize] = save.low;
                    row.saved();
                }
                // The same generation again: its twin is the one that is known good.
                Err(_) => row.dirty = row.dirty.or(Some(Instant::now())),
            }
            for waiter in save.waiters {
                // A commit that was given up needs no answer.
                _ = waiter.send(saved.as_ref().copied().map_err(|e| AppendError::Failed(e.to_string())));
            }
        }
    }

    /// Removes segments below every drain's saved cursor.
    fn remove_passed(&mut self) {
        if self.remove_due > Instant::now() {
            return;
        }
        let mut state = self.shared.state();
        let settled = state.settled_for_good();
        let last = state.segments.last_key_value().map(|(&first, _)| first);
        let passed = |limit: u64| move |(first, bound): &(u64, u64)| Some(*first) != last && *bound <= limit;
        let ends: Vec<_> = state.segments.iter().map(|(&first, s)| (first, s.bound.position)).collect();
        let gone: Vec<_> = ends.iter().copied().filter(passed(settled)).collect();
        // A segment that the newer slots alone are beyond goes once the older ones are too.
        let newest = state.rows.iter().filter(|r| r.cursor.is_some()).map(|r| r.saved_lows[0].max(r.saved_lows[1]));
        let newest = newest.min().unwrap_or(0);
        if ends.iter().filter(|e| passed(newest)(e)).count() > gone.len() {
            let now = Instant::now();
            for row in state.rows.iter_mut().filter(|r| r.cursor.is_some() && r.saved_lows[0] != r.saved_lows[1]) {
                row.dirty = row.dirty.or(Some(now));
            }
        }
        // First out of the table, so that no new drain begins in one.
        let gone: Vec<_> = gone.into_iter().filter_map(|(first, _)| state.segments.remove_entry(&first)).collect();
        drop(state);
        let mut removed = false;
        let mut gone = gone.into_iter();
        while let Some((first, entry)) = gone.next() {
            let path = segment_path(&self.shared.settings.dir, first);
            match self.shared.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "could not remove a segment that is done with");
                    self.remove_due = Instant::now() + SPACE_POLL;
                    self.shared.state().segments.extend(std::iter::once((first, entry)).chain(gone));
                    break;
                }
                _ => removed = true,
            }
        }
        if removed {
            if let Err(error) = self.shared.disk.sync_dir(&self.shared.settings.dir) {
                tracing::warn!(%error, "could not sync the log's directory; removed segments may come back and go again");
            }
            self.space_due = Instant::now();
            self.shared.queue().poke = true;
        }
    }

    fn do_job(&mut self, job: Job) {
        let (row, done, forget) = match job {
            Job::Begin { row, done } => (row, done, false),
            Job::Forget { row, done } => (row, done, true),
        };
        // Both slots, one after the other, so that one that rots never hides or revives a drain.
        let result = self.write_row(row, forget).and_then(|()| self.write_row(row, forget));
        self.shared.state().rows[row].after_job(forget, result.is_ok());
        // The caller waits for it; one that is gone has panicked.
        _ = done.send(result);
    }

    fn write_row(&mut self, row: usize, forget: bool) -> io::Result<()> {
        let mut state = self.shared.state();
        let generation = state.rows[row].generation + 1;
        let durable = state.durable.clone();
        let cursor = state.cursor(row);
        let low = cursor.low;
        let slot = match forget {
            true => cursor::encode_forgotten(&self.shared.id, generation),
            false => cursor.encode(&self.shared.id, generation, &durable),
        };
        drop(state);
        self.slots.write(row, generation, &slot)?;
        self.slots.sync()?;
        let mut state = self.shared.state();
        state.rows[row].generation = generation;
        state.rows[row].saved_lows[(generation % 2) as usize] = low;
        Ok(())
    }

    /// Syncs what was answered, saves every cursor with the durable end.
    fn finish(&mut self) {
        if let Err(error) = self.log.sync() {
            tracing::error!(%error, "the last sync failed");
        }
        let now = Instant::now();
        for row in self.shared.state().rows.iter_mut().filter(|r| r.cursor.is_some()) {
            row.dirty = row.dirty.or(Some(now));
        }
        self.save();
    }
}

struct Save {
    row: usize,
    generation: u64,
    low: u64,
    slot: Vec<u8>,
    waiters: Vec<tokio::sync::oneshot::Sender<Result<(), AppendError>>>,
}

/// Answers everybody when the thread ends, also by a panic.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        let refusal = match std::thread::panicking() {
            true => AppendError::Failed("the log's owner panicked".into()),
            false => AppendError::Stopping,
        };
        let mut queue = self.0.queue_at_the_end();
        queue.closed = Some(refusal.clone());
        queue.take_all().into_iter().for_each(|m| _ = m.reply.send(Err(refusal.clone())));
        queue.jobs.clear();
        queue.ended = true;
        drop(queue);
        let mut state = self.0.state_at_the_end();
        state.stopped = true;
        state.intake = match refusal {
            AppendError::Stopping => Intake::Stopping,
            _ => Intake::Failed { reason: refusal.to_string(), for_good: true },
        };
        state.rows.iter_mut().for_each(|r| r.waiters.clear());
        state.wake_all();
    }
}
