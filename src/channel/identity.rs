//! The channel's identity: 16 random bytes in the file `id`, in each segment's head and in each cursor slot.
//!
//! Objects and dead letters are named by it and by positions, so a position may be given again only under another
//! identity. A repair takes the [`successor`] of the one that is left.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use super::frame::{self, put32};
use super::log::fill_random;
use super::segment::{MAJOR, MINOR};
use crate::disk::{Disk, Open, read_full};

const MAGIC: &[u8; 8] = b"SPGCHAN\0";
pub const NAME: &str = "id";
const BYTES: usize = 32;

pub type Id = [u8; 16];

/// What the file `id` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    Known(Id),
    Missing,
    /// Short, or its CRC does not fit.
    Unreadable,
    Version {
        major: u16,
        minor: u16,
    },
}

pub fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// As people read it: 32 lower-hex characters.
pub fn text(id: &Id) -> String {
    id.iter().map(|b| format!("{b:02x}")).collect()
}

pub fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Identity> {
    let file = match disk.open(&path(dir), Open::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Identity::Missing),
        other => other?,
    };
    let mut raw = [0; BYTES];
    let got = read_full(&*file, &mut raw, 0)?;
    if got < BYTES || raw[0..8] != MAGIC[..] || frame::get32(&raw, 28) != frame::crc(&[&raw[..28]]) {
        return Ok(Identity::Unreadable);
    }
    let (major, minor) = (u16::from_le_bytes([raw[8], raw[9]]), u16::from_le_bytes([raw[10], raw[11]]));
    if major != MAJOR {
        return Ok(Identity::Version { major, minor });
    }
    Ok(Identity::Known(raw[12..28].try_into().expect("sixteen bytes")))
}

/// Makes one.
pub fn make(disk: &dyn Disk, dir: &Path) -> io::Result<Id> {
    let mut id = [0; 16];
    fill_random(&mut id)?;
    write(disk, dir, &id)?;
    Ok(id)
}

/// Written aside, synced, renamed, directory synced.
pub fn write(disk: &dyn Disk, dir: &Path, id: &Id) -> io::Result<()> {
    let mut raw = [0; BYTES];
    raw[0..8].copy_from_slice(MAGIC);
    raw[8..10].copy_from_slice(&MAJOR.to_le_bytes());
    raw[10..12].copy_from_slice(&MINOR.to_le_bytes());
    raw[12..28].copy_from_slice(id);
    let sum = frame::crc(&[&raw[..28]]);
    put32(&mut raw, 28, sum);
    let aside = dir.join("id.tmp");
    let file = disk.open(&aside, Open::Truncate)?;
    file.write_at(&[IoSlice::new(&raw)], 0)?;
    file.sync_all()?;
    disk.rename(&aside, &path(dir))?;
    disk.sync_dir(dir)
}

/// The identity that a repair gives a channel of this one. Told from it, so that a repair that was cut off goes on
/// where it stopped: files of the one and of the other are both the channel's.
pub fn successor(id: &Id) -> Id {
    let half = |salt: u8| {
        let bytes = id.iter().copied().chain([salt]);
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)).to_le_bytes()
    };
    [half(1), half(2)].concat().try_into().expect("sixteen bytes")
}
