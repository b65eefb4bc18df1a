//! `damaged/`: what was set aside, and what the names of segments in there still tell.
//!
//! A segment whose head cannot be read has a name that can: its first position. The one before it ends there, whatever
//! lies behind that place in its file (what a failed write left, and was refused). And positions of it were given out.

use std::io;
use std::path::{Path, PathBuf};

use super::frame;
use super::identity::Id;
use super::segment::{HEAD_BYTES, Opening};
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
    let gone = entries.into_iter().filter_map(|entry| {
        // A second one of a name has a number behind it; a head that was copied is no segment.
        let end = entry.name.find(".seg")? + ".seg".len();
        let (name, behind) = entry.name.split_at(end);
        let is_number = |rest: &str| rest.parse::<u64>().is_ok();
        let first = first_of(name).filter(|_| behind.is_empty() || behind.strip_prefix('.').is_some_and(is_number))?;
        Some(Gone { first, path: dir.join(&entry.name), bytes: entry.len })
    });
    let mut gone: Vec<Gone> = gone.filter(|gone| !is_foreign(disk, &gone.path, id)).collect();
    gone.sort_unstable_by(|a, b| (a.first, &a.path).cmp(&(b.first, &b.path)));
    Ok(gone)
}

/// Whether a file's head says that it is another channel's: its name tells nothing of this one.
fn is_foreign(disk: &dyn Disk, path: &Path, id: &Id) -> bool {
    let opening = disk.open(path, Open::Read).ok().and_then(|file| Opening::read(&*file).ok());
    opening.is_some_and(|opening| opening.channel != *id)
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
