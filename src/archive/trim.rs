//! The built-in archive's bound: oldest objects go first, and are counted.
//!
//! Order is by position. Objects of another channel come before those of ours: a data directory has
//! one channel at a time, so they are from a log that was there earlier. Files that no archive named
//! are neither counted nor touched, and the newest object always stays. Whatever the bound, objects
//! give way before intake would stop for want of room on the disk.

use std::time::Duration;

use tokio::time::Instant;

use super::store::local::Local;
use super::store::{Listed, Room, StoreError};

/// What an object takes on disk beyond its length, at worst: half a block on average, and an inode.
const BLOCK_BYTES: u64 = 4096;

/// A listing of the directory is held in memory while it is trimmed: about 40 MB for this many. At
/// one object every ten seconds they are a month.
const OBJECTS_MAX: u64 = 250_000;

/// Trimming goes below the bound by this part of it, so that a directory of many small objects is
/// not listed for each new one.
const SLACK: u64 = 64;

/// Objects go where less than this is free above the floor at which intake stops, until twice as much is: a new segment
/// of the log (64 MiB) must find room, and a second of fast intake.
const MARGIN_BYTES: u64 = 128 << 20;

/// What was removed and does not show as free yet (Btrfs and XFS free later; a reader may hold a file open) is waited
/// for this long before more is removed in its stead.
const FREED_LATE: Duration = Duration::from_secs(30);

/// What a trimming removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trimmed {
    pub objects: u64,
    pub bytes: u64,
    /// The room there was, where too little of it was the reason.
    pub short: Option<Room>,
}

/// Keeps a directory of our own within its bound.
#[derive(Debug, Clone)]
pub struct Keeper {
    keep_bytes: u64,
    channel: String,
    /// What stands there, in whole blocks; `None` until counted.
    held: Option<Held>,
    /// Bytes removed that did not show as free, and until when they are waited for.
    late: Option<(u64, Instant)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    objects: u64,
    bytes: u64,
}

impl Keeper {
    pub fn new(keep_bytes: u64, channel: &str) -> Self {
        Keeper { keep_bytes, channel: channel.to_owned(), held: None, late: None }
    }

    /// Notes an object that was published.
    pub fn add(&mut self, bytes: u64) {
        if let Some(held) = &mut self.held {
            held.objects += 1;
            held.bytes += blocks(bytes);
        }
    }

    /// Removes the oldest objects if there is more than the bound, or too little room. Blocks. After an error nothing
    /// is known of what stands there, and the next call lists it again.
    pub fn trim(&mut self, store: &Local) -> Result<Trimmed, StoreError> {
        let room = store.room()?;
        let wanted = self.wanted(room, Instant::now());
        if self.held.is_some_and(|held| !self.exceeds(held) && (wanted == 0 || held.objects <= 1)) {
            return Ok(Trimmed::default());
        }
        self.held = None;
        let mut listed = store.objects()?;
        let victims = self.victims(&mut listed, wanted);
        let mut trimmed = Trimmed { short: (wanted > 0).then_some(room), ..Trimmed::default() };
        for victim in &listed[..victims] {
            store.remove(&victim.name)?;
            trimmed.objects += 1;
            trimmed.bytes += victim.bytes;
        }
        if victims > 0 {
            store.sync()?;
            let freed = held(&listed[..victims]).bytes;
            let shown = store.room()?.free.saturating_sub(room.free);
            self.late = Some((freed.saturating_sub(shown), Instant::now() + FREED_LATE));
        }
        self.held = Some(held(&listed[victims..]));
        Ok(trimmed)
    }

    /// Bytes to be freed for the disk's sake.
    fn wanted(&self, room: Room, now: Instant) -> u64 {
        let late = self.late.map_or(0, |(bytes, until)| if now < until { bytes } else { 0 });
        let free = room.free.saturating_add(late);
        let least = room.floor.saturating_add(MARGIN_BYTES);
        if free >= least { 0 } else { least.saturating_add(MARGIN_BYTES) - free }
    }

    fn exceeds(&self, held: Held) -> bool {
        held.bytes > self.keep_bytes || held.objects > OBJECTS_MAX
    }

    /// Puts the oldest first and says how many of them go: down to the bound, and `wanted` bytes at least.
    fn victims(&self, listed: &mut [Listed], wanted: u64) -> usize {
        listed.sort_by(|a, b| {
            let rank = |x: &Listed| x.parsed.channel == self.channel;
            rank(a).cmp(&rank(b)).then_with(|| a.parsed.cmp(&b.parsed))
        });
        let mut left = held(listed);
        let slack = if self.exceeds(left) { SLACK } else { u64::MAX };
        let (bytes, objects) = (self.keep_bytes - self.keep_bytes / slack, OBJECTS_MAX - OBJECTS_MAX / slack);
        let mut wanted = wanted;
        let over = listed.iter().take(listed.len().saturating_sub(1)).take_while(|oldest| {
            let go = left.bytes > bytes || left.objects > objects || wanted > 0;
            left.bytes -= blocks(oldest.bytes);
            left.objects -= 1;
            wanted = wanted.saturating_sub(blocks(oldest.bytes));
            go
        });
        over.count()
    }
}

fn held(listed: &[Listed]) -> Held {
    Held { objects: listed.len() as u64, bytes: listed.iter().map(|object| blocks(object.bytes)).sum() }
}

fn blocks(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES)
}

#[cfg(test)]
mod tests;
