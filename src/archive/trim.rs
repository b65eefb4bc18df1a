//! The built-in archive's bound: oldest objects go first, and are counted.
//!
//! Order is by position. Objects of another channel come before those of ours: a data directory has
//! one channel at a time, so they are from a log that was there earlier. Files that no archive named
//! are neither counted nor touched, and the newest object always stays.

use super::store::Listed;
use super::store::StoreError;
use super::store::local::Local;

/// What an object takes on disk beyond its length, at worst: half a block on average, and an inode.
const BLOCK_BYTES: u64 = 4096;

/// A listing of the directory is held in memory while it is trimmed: about 40 MB for this many. At
/// one object every ten seconds they are a month.
const OBJECTS_MAX: u64 = 250_000;

/// Trimming goes below the bound by this part of it, so that a directory of many small objects is
/// not listed for each new one.
const SLACK: u64 = 64;

/// What a trimming removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trimmed {
    pub objects: u64,
    pub bytes: u64,
}

/// Keeps a directory of our own within its bound.
#[derive(Debug, Clone)]
pub struct Keeper {
    keep_bytes: u64,
    channel: String,
    /// What stands there, in whole blocks; `None` until counted.
    held: Option<Held>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    objects: u64,
    bytes: u64,
}

impl Keeper {
    pub fn new(keep_bytes: u64, channel: &str) -> Self {
        Keeper { keep_bytes, channel: channel.to_owned(), held: None }
    }

    /// Notes an object that was published.
    pub fn add(&mut self, bytes: u64) {
        if let Some(held) = &mut self.held {
            held.objects += 1;
            held.bytes += blocks(bytes);
        }
    }

    /// Removes the oldest objects if there is more than the bound. Blocks. After an error nothing
    /// is known of what stands there, and the next call lists it again.
    pub fn trim(&mut self, store: &Local) -> Result<Trimmed, StoreError> {
        if self.held.is_some_and(|held| held.bytes <= self.keep_bytes && held.objects <= OBJECTS_MAX) {
            return Ok(Trimmed::default());
        }
        self.held = None;
        let mut listed = store.list()?;
        let victims = self.victims(&mut listed);
        let mut trimmed = Trimmed::default();
        for victim in &listed[..victims] {
            store.remove(&victim.name)?;
            trimmed.objects += 1;
            trimmed.bytes += victim.bytes;
        }
        if victims > 0 {
            store.sync()?;
        }
        self.held = Some(held(&listed[victims..]));
        Ok(trimmed)
    }

    /// Puts the oldest first and says how many of them go.
    fn victims(&self, listed: &mut [Listed]) -> usize {
        listed.sort_by(|a, b| {
            let rank = |x: &Listed| x.parsed.channel == self.channel;
            rank(a).cmp(&rank(b)).then_with(|| a.parsed.cmp(&b.parsed))
        });
        let mut left = held(listed);
        if left.bytes <= self.keep_bytes && left.objects <= OBJECTS_MAX {
            return 0;
        }
        let (bytes, objects) = (self.keep_bytes - self.keep_bytes / SLACK, OBJECTS_MAX - OBJECTS_MAX / SLACK);
        let over = listed.iter().take(listed.len().saturating_sub(1)).take_while(|oldest| {
            let go = left.bytes > bytes || left.objects > objects;
            left.bytes -= blocks(oldest.bytes);
            left.objects -= 1;
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
