//! The `cursors` file: two slots a drain, written alternately, never grown.
//!
//! Zero-filled with written blocks at creation, so that saving a cursor needs no free space.
//! A slot that fails its check is passed over for its twin; both bad is for a person.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cursor::{self, Cursor, SLOT_BYTES, Slot};
use super::segment::is_zero;
use super::{OpenError, frame};
use crate::disk::{Disk, File, Open, read_full};

/// Drains a channel can have; each costs 16 KiB of the cursors file.
pub const DRAINS_MAX: usize = 64;
pub const FILE_BYTES: usize = DRAINS_MAX * 2 * SLOT_BYTES;
const NAME: &str = "cursors";

pub struct Slots {
    file: Arc<dyn File>,
}

/// A row of the file as it was found.
pub struct Row {
    /// The greatest generation written, so that the next one wins.
    pub generation: u64,
    pub cursor: Option<Cursor>,
    /// The low of the older twin, up to which the log may be read again if the newer one rots.
    pub older_low: u64,
    /// What was durable when the newest slot was written: position, common, addressed to it.
    pub durable: (u64, u64, u64),
}

impl Slots {
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(NAME)
    }

    /// Opens the file, or makes it.
    pub fn open(disk: &dyn Disk, dir: &Path) -> Result<Slots, OpenError> {
        let path = Slots::path(dir);
        let io = |source| OpenError::Io { path: path.clone(), source };
        match disk.open(&path, Open::Write) {
            Ok(file) => Ok(Slots { file }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Slots::create(disk, dir).map_err(io),
            Err(error) => Err(io(error)),
        }
    }

    fn create(disk: &dyn Disk, dir: &Path) -> io::Result<Slots> {
        let aside = dir.join("cursors.tmp");
        let file = disk.open(&aside, Open::Truncate)?;
        file.write_at(&[IoSlice::new(&vec![0; FILE_BYTES])], 0)?;
        file.sync_all()?;
        disk.rename(&aside, &Slots::path(dir))?;
        disk.sync_dir(dir)?;
        Ok(Slots { file })
    }

    /// Reads all rows. What it found may be in the page cache alone, left by a process that was killed: each row's
    /// slots are written again over themselves and synced, so that what is built on them does not stand on nothing.
    pub fn recover(&self, dir: &Path, channel: &[u8; 16]) -> Result<Vec<Row>, OpenError> {
        let path = Slots::path(dir);
        let mut raw = vec![0; FILE_BYTES];
        let got = read_full(&*self.file, &mut raw, 0).map_err(|source| OpenError::Io { path: path.clone(), source })?;
        if got < FILE_BYTES {
            return Err(OpenError::Damaged { path, what: format!("{got} bytes long, expected {FILE_BYTES}") });
        }
        let twins = raw.as_chunks::<{ 2 * SLOT_BYTES }>().0;
        let rows = twins.iter().enumerate().map(|(n, twins)| read_row(n, twins, channel, &path));
        let rows = rows.collect::<Result<Vec<Row>, OpenError>>()?;
        self.write_again(twins).map_err(|source| OpenError::Io { path, source })?;
        Ok(rows)
    }

    /// The same bytes in the same place, so that the disk has what was judged, also of a twin that is unreadable: what
    /// a failed sync had lost of it may read otherwise on disk. A torn one of them is whole again at the next start, or
    /// was never durable, and then its twin was.
    fn write_again(&self, twins: &[[u8; 2 * SLOT_BYTES]]) -> io::Result<()> {
        let used = |twins: &[u8; 2 * SLOT_BYTES]| !is_zero(twins);
        for (n, twins) in twins.iter().enumerate().filter(|(_, twins)| used(twins)) {
            self.file.write_at(&[IoSlice::new(twins)], (n * 2 * SLOT_BYTES) as u64)?;
        }
        if twins.iter().any(used) { self.sync() } else { Ok(()) }
    }

    /// Writes a slot; it is durable after [`sync`](Self::sync).
    pub fn write(&self, row: usize, generation: u64, slot: &[u8]) -> io::Result<()> {
        let at = (row * 2 + (generation % 2) as usize) * SLOT_BYTES;
        self.file.write_at(&[IoSlice::new(slot)], at as u64)
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn read_row(n: usize, twins: &[u8], channel: &[u8; 16], path: &Path) -> Result<Row, OpenError> {
    let damaged = |what: String| OpenError::Damaged { path: path.to_owned(), what };
    judge(twins, channel).map_err(|fault| match fault {
        Fault::Version { major, minor } => OpenError::Version { path: path.to_owned(), major, minor },
        Fault::Foreign => damaged(format!("row {n} is of another channel")),
        Fault::Unreadable => {
            let name = name_in(&twins[..SLOT_BYTES]);
            damaged(format!("both slots of row {n} (drain \"{name}\") are unreadable; its position cannot be guessed"))
        }
    })
}

/// Why a row's twins are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Version { major: u16, minor: u16 },
    Foreign,
    Unreadable,
}

/// What the two slots of a row say together.
pub fn judge(twins: &[u8], channel: &[u8; 16]) -> Result<Row, Fault> {
    let (a, b) = twins.split_at(SLOT_BYTES);
    let mut slots = [cursor::decode(a, channel), cursor::decode(b, channel)];
    for slot in &slots {
        match slot {
            Slot::Version { major, minor } => return Err(Fault::Version { major: *major, minor: *minor }),
            Slot::Foreign => return Err(Fault::Foreign),
            _ => {}
        }
    }
    slots.sort_by_key(Slot::generation);
    let [older, newer] = slots;
    let nobody = |generation| Row { generation, cursor: None, older_low: 0, durable: (0, 0, 0) };
    match (older, newer) {
        (older, Slot::Live { cursor, durable }) => {
            let older_low = match older {
                Slot::Live { cursor, .. } => cursor.low,
                _ => cursor.low,
            };
            Ok(Row { generation: cursor.generation, cursor: Some(*cursor), older_low, durable })
        }
        (_, Slot::Forgotten { generation }) => Ok(nobody(generation)),
        // A first slot torn while its twin was never written: the drain was never begun.
        (Slot::Blank, _) | (_, Slot::Blank) => Ok(nobody(0)),
        _ => Err(Fault::Unreadable),
    }
}

/// The name in an unreadable slot, as far as it can be told.
pub fn name_in(raw: &[u8]) -> String {
    let len = usize::from(raw[128]).min(cursor::NAME_BYTES_MAX);
    frame::cut(&String::from_utf8_lossy(&raw[136..136 + len]), 63).to_owned()
}
