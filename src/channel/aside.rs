//! `damaged/`: what was set aside, and what the names of segments in there still tell.
//!
//! A segment whose head cannot be read has a name that can: its first position. The one before it ends there, whatever
//! lies behind that place in its file (what a failed write left, and was refused). And positions of it were given out.

use std::io;
use std::path::{Path, PathBuf};

use super::frame;
use super::identity::Id;
use super::segment::{HEAD_BYTES, HeadError, Opening};
use crate::disk::{Disk, Open, read_full};

/// Bytes looked through at a time.
const PIECE: usize = 1024 * 1024;

/// A segment that was set aside.
pub struct Gone {
    /// As its name says.
    pub first: u64,
    pub path: PathBuf,
    pub bytes: u64,
}

/// Where things are set aside.
pub fn dir(channel: &Path) -> PathBuf {
    channel.join("damaged")
}

/// The first position that a segment's file name tells.
pub fn first_of(name: &str) -> Option<u64> {
    let hex = name.strip_suffix(".seg").filter(|hex| hex.len() == 16)?;
    u64::from_str_radix(hex, 16).ok()
}

/// The segments of this channel that were set aside, by first position.
pub fn segments(disk: &dyn Disk, channel: &Path, id: &Id) -> io::Result<Vec<Gone>> {
    let dir = dir(channel);
    let entries = match disk.list(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut gone = Vec::new();
    for entry in entries {
        let Some(first) = first_of_gone(&entry.name) else { continue };
        let path = dir.join(&entry.name);
        match Opening::read(&*disk.open(&path, Open::Read)?) {
            // A repair moved it here: its name tells nothing of this one.
            Ok(opening) if opening.channel != *id => {}
            Err(HeadError::Io(error)) => return Err(error),
            _ => gone.push(Gone { first, path, bytes: entry.len }),
        }
    }
    gone.sort_unstable_by(|a, b| (a.first, &a.path).cmp(&(b.first, &b.path)));
    Ok(gone)
}

/// As [`first_of`]; a second file of a name has a number behind it. A head that was copied is no segment.
fn first_of_gone(name: &str) -> Option<u64> {
    let (name, behind) = name.split_at(name.find(".seg")? + ".seg".len());
    let numbered = |behind: &str| behind.strip_prefix('.').is_some_and(|n| n.parse::<u64>().is_ok());
    first_of(name).filter(|_| behind.is_empty() || numbered(behind))
}

/// A name in `dir` that nothing has: `name`, or with a number behind it.
pub fn free_name(disk: &dyn Disk, dir: &Path, name: &str) -> io::Result<PathBuf> {
    let taken: Vec<String> = disk.list(dir)?.into_iter().map(|entry| entry.name).collect();
    let numbered = (2..).map(|n: u64| format!("{name}.{n}"));
    let free = std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken.contains(name));
    Ok(dir.join(free.expect("numbers do not end")))
}

/// Where the positions of a segment that cannot be checked end, as far as frames in it look like
/// frames: they were given out and are never used again.
pub fn plausible_end(disk: &dyn Disk, gone: &Gone) -> io::Result<u64> {
    let (first, len) = (gone.first, gone.bytes);
    let file = disk.open(&gone.path, Open::Read)?;
    let (mut end, mut at, mut buf) = (first, HEAD_BYTES, vec![0; PIECE]);
    // No frame has more items than the file has room for.
    let most = first.saturating_add(len / 16);
    while at < len {
        let got = read_full(&*file, &mut buf, at)?;
        let frames = (0..got).step_by(8).filter_map(|n| frame::peek(&buf[n..got]));
        let ends = frames.filter(|f| f.first >= first && f.end() <= most).map(|f| f.end());
        end = ends.max().unwrap_or(first).max(end);
        if got < buf.len() {
            break;
        }
        // The next piece begins where a fixed part could still be cut by the end of this one.
        at += (got - frame::FIXED) as u64;
    }
    Ok(end)
}
