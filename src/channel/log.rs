//! The segment that is written to, and how it is followed by the next. Owner's thread only.
//!
//! [`Log::write`] places frames and writes them with one vectored call; [`Log::sync`] makes
//! them durable and publishes them. After a failure the segment is [sealed](Log::seal) at its
//! last synced position and never touched again; [`Log::open_fresh`] goes on in a new file
//! that begins there, and carries over what was answered before its sync.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::Instant;

use super::frame::{Built, Marks, Placed, padded};
use super::segment::{Bound, HEAD_BYTES, Point, SECTOR, Segment};
use super::state::{Entry, Shared, segment_path};
use crate::disk::{Disk, File, Open};
use crate::planted::{self, Planted};

/// A segment's full size, unless the channel is small: the unit in which room comes back.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Below it heads and sector gaps would outweigh the frames.
const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
const PAD: [u8; SECTOR as usize] = [0; SECTOR as usize];

/// The full size of a segment in a channel of `capacity` bytes.
pub fn segment_bytes(capacity: u64) -> u64 {
    (capacity / 8 / 4096 * 4096).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
}

pub struct Log {
    shared: Arc<Shared>,
    /// `None` after a failure, until a fresh one is open.
    active: Option<Active>,
    spare: Option<Spare>,
    /// Written, not synced.
    pending: Vec<Placed>,
    pending_bytes: u64,
    /// The end of what was written.
    tail: Point,
}

struct Active {
    segment: Arc<Segment>,
    /// Where the last frame ended.
    offset: u64,
    len: u64,
}

struct Spare {
    file: Arc<dyn File>,
    len: u64,
}

fn spare_path(dir: &Path) -> PathBuf {
    dir.join("spare")
}

/// Makes a file of `len` bytes under the name `spare`, synced.
fn make_spare(disk: &dyn Disk, dir: &Path, len: u64) -> io::Result<Spare> {
    let path = spare_path(dir);
    let file = disk.open(&path, Open::Truncate)?;
    let made = file.allocate(len).and_then(|()| file.sync_all());
    if let Err(error) = made {
        // Give back what a full disk needs most; that it is in the way next time is no harm.
        if let Err(error) = disk.remove(&path) {
            tracing::warn!(path = %path.display(), %error, "could not remove a segment that could not be made");
        }
        return Err(error);
    }
    Ok(Spare { file, len })
}

impl Log {
    /// A log without a segment to write to; [`open_fresh`](Self::open_fresh) gives it one.
    pub fn new(shared: Arc<Shared>) -> Log {
        let tail = shared.state().durable.clone();
        Log { shared, active: None, spare: None, pending: Vec::new(), pending_bytes: 0, tail }
    }

    /// Goes on in a segment that recovery made, from `offset`.
    pub fn adopt(&mut self, segment: Arc<Segment>, offset: u64, len: u64) {
        self.active = Some(Active { segment, offset, len });
    }

    pub fn is_open(&self) -> bool {
        self.active.is_some()
    }

    /// Bytes and items written and not yet synced.
    pub fn pending(&self) -> (u64, u64) {
        (self.pending_bytes, self.pending.first().map_or(0, |f| self.tail.position - f.head.at.first))
    }

    pub fn tail(&self) -> &Point {
        &self.tail
    }

    /// Bytes that still fit into the segment.
    pub fn room(&self) -> u64 {
        self.active.as_ref().map_or(0, |a| a.len.saturating_sub(a.offset.next_multiple_of(SECTOR)))
    }

    /// A segment's full size.
    pub fn segment_bytes(&self) -> u64 {
        segment_bytes(self.shared.settings.capacity_bytes)
    }

    /// Free bytes that the next segment for `need` bytes takes from the disk.
    pub fn segment_cost(&self, need: u64) -> u64 {
        let len = self.len_for(need);
        if self.spare.as_ref().is_some_and(|s| s.len >= len) { 0 } else { len }
    }

    fn len_for(&self, need: u64) -> u64 {
        segment_bytes(self.shared.settings.capacity_bytes).max(HEAD_BYTES + need.next_multiple_of(SECTOR))
    }

    /// Whether it is time to make the next segment ahead.
    pub fn wants_spare(&self) -> bool {
        self.spare.is_none() && self.active.as_ref().is_some_and(|a| a.offset > a.len / 2)
    }

    pub fn make_spare(&mut self) -> io::Result<()> {
        let len = self.len_for(0);
        self.spare = Some(make_spare(&*self.shared.disk, &self.shared.settings.dir, len)?);
        Ok(())
    }

    /// Opens a segment that begins at the durable end and has room for `need` bytes; what was
    /// written and not synced goes into it first.
    pub fn open_fresh(&mut self, need: u64) -> io::Result<()> {
        let opened = self.begin_fresh(need);
        if opened.is_err() {
            self.seal();
        }
        opened
    }

    fn begin_fresh(&mut self, need: u64) -> io::Result<()> {
        let shared = self.shared.clone();
        let start = shared.state().durable.clone();
        let len = self.len_for(need + self.pending_bytes);
        let spare = match self.spare.take() {
            Some(spare) if spare.len >= len => spare,
            _ => make_spare(&*shared.disk, &shared.settings.dir, len)?,
        };
        let (first, salt) = (start.position, random_u64()?);
        let segment = Segment::begin(spare.file, start, &shared.id, shared.clock.now_us(), salt)?;
        let segment = Arc::new(segment);
        let open = Arc::downgrade(&segment);
        self.active = Some(Active { segment, offset: HEAD_BYTES, len: spare.len });
        // Before it has its name: that ends the segment before it, where a process that is killed leaves what was
        // answered and not synced.
        self.carry_over()?;
        name_segment(&shared, first)?;
        let bound = Bound::new(first, HEAD_BYTES);
        shared.state().segments.insert(first, Entry { bound, used: HEAD_BYTES, open });
        if !self.pending.is_empty() {
            self.publish();
        }
        Ok(())
    }

    /// Leaves a full segment for a fresh one. What was not synced is synced first.
    pub fn roll(&mut self, need: u64) -> io::Result<()> {
        self.sync()?;
        if let Some(old) = self.active.take()
            && let Err(error) = old.segment.file.set_len(old.offset)
        {
            // It only keeps its unused blocks.
            tracing::warn!(first = old.segment.first(), %error, "could not cut a full segment to its length");
        }
        self.open_fresh(need)
    }

    /// Gives up the segment as it is: sealed where it was last synced.
    pub fn seal(&mut self) {
        self.active = None;
    }

    /// Forgets what was written and not synced from the position `from` on: it was refused.
    pub fn refuse_from(&mut self, from: &Point) {
        self.pending.retain(|f| f.head.at.first < from.position);
        self.pending_bytes = self.pending.iter().map(|f| padded(f.len())).sum();
        self.tail = from.clone();
    }

    /// Places frames behind the tail and writes them, on a fresh sector, with one call.
    pub fn write(&mut self, frames: Vec<Built>) -> io::Result<()> {
        let synced = self.shared.state().durable.position;
        let active = self.active.as_ref().expect("a group is written to an open segment only");
        let (salt, segment) = (active.segment.salt, active.segment.first());
        let mut offset = active.offset.next_multiple_of(SECTOR);
        let mut placed = Vec::with_capacity(frames.len());
        for frame in frames {
            let marks = Marks { first: self.tail.position, synced, common: self.tail.common };
            let (len, items, addressee) = (frame.padded_len(), frame.items(), frame.addressee());
            placed.push(frame.place(segment, offset, marks, salt));
            self.tail.pass(addressee, items);
            offset += len;
        }
        let start = self.pending.len();
        self.pending_bytes += placed.iter().map(|f| padded(f.len())).sum::<u64>();
        self.pending.append(&mut placed);
        self.write_pending(start)?;
        if planted::has(Planted::PastTheTail) {
            self.publish();
        }
        Ok(())
    }

    /// Writes the pending frames from `start` on, which lie one behind the other.
    fn write_pending(&mut self, start: usize) -> io::Result<()> {
        let active = self.active.as_mut().expect("a group is written to an open segment only");
        let frames = &self.pending[start..];
        let Some(first) = frames.first() else { return Ok(()) };
        let at = u64::from(first.head.at.offset);
        let mut bufs = Vec::with_capacity(frames.len() * 3);
        let mut bytes = 0;
        for frame in frames {
            let pad = (padded(frame.len()) - frame.len()) as usize;
            bufs.extend([IoSlice::new(&frame.raw), IoSlice::new(&frame.body), IoSlice::new(&PAD[..pad])]);
            bytes += padded(frame.len());
        }
        // Stretches of the last sector that were never written stay zero: the file was made so.
        active.segment.file.write_at(&bufs, at)?;
        active.offset = at + bytes;
        Ok(())
    }

    /// Writes what a failed sync left un-synced though it was answered into the fresh segment, and syncs it.
    fn carry_over(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let active = self.active.as_ref().expect("it was just opened");
        let (segment, salt) = (active.segment.first(), active.segment.salt);
        let mut offset = HEAD_BYTES;
        for frame in &mut self.pending {
            frame.replace(segment, offset, segment, salt);
            offset += padded(frame.len());
        }
        let file = active.segment.file.clone();
        self.write_pending(0)?;
        file.sync_data()
    }

    /// Makes what was written durable, shows it to the drains and wakes them.
    pub fn sync(&mut self) -> io::Result<()> {
        let Some(active) = &self.active else { return Ok(()) };
        if self.pending.is_empty() {
            return Ok(());
        }
        active.segment.file.sync_data()?;
        if planted::has(Planted::WakeBeforePublish) {
            let waiters: Vec<_> = self.shared.state().rows.iter().map(|row| row.notify.clone()).collect();
            waiters.iter().for_each(|waiter| waiter.notify_one());
        }
        self.publish();
        Ok(())
    }

    /// Shows the drains what was written, and wakes them.
    fn publish(&mut self) {
        let active = self.active.as_ref().expect("what was written is in an open segment");
        let bound = Bound::new(self.tail.position, active.offset);
        let mut state = self.shared.state();
        let entry = state.segments.get_mut(&active.segment.first()).expect("the active segment is in the table");
        entry.bound = bound;
        entry.used = bound.offset;
        let mut at = std::mem::replace(&mut state.durable, self.tail.clone());
        state.answered = self.tail.clone();
        for frame in self.pending.drain(..) {
            at.pass(frame.addressee, u64::from(frame.head.at.items));
            state.cache.push(&frame, at.common);
        }
        self.pending_bytes = 0;
        state.mark(Instant::now());
        // While the state is held: who looks before this sees nothing and waits, who looks after it sees all.
        if !planted::has(Planted::WakeBeforePublish) {
            state.wake_all();
        }
    }
}

/// Makes the spare, which was begun, the segment with this first position.
fn name_segment(shared: &Shared, first: u64) -> io::Result<()> {
    let dir = &shared.settings.dir;
    // Replaces only a segment in which nothing was ever synced, by the same first position.
    shared.disk.rename(&spare_path(dir), &segment_path(dir, first))?;
    shared.disk.sync_dir(dir)
}

pub fn random_u64() -> io::Result<u64> {
    let mut raw = [0; 8];
    fill_random(&mut raw)?;
    Ok(u64::from_le_bytes(raw))
}

pub fn fill_random(buf: &mut [u8]) -> io::Result<()> {
    let mut got = 0;
    while got < buf.len() {
        got += rustix::rand::getrandom(&mut buf[got..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(())
}
