//! The files of a channel's directory: segments by their heads, what was set aside, what a crash left.

use std::io;
use std::path::{Path, PathBuf};

use super::{Finding, Survey};
use crate::channel::aside;
use crate::channel::identity::{Id, successor};
use crate::channel::segment::{HeadError, Opening};
use crate::channel::state::segment_path;
use crate::disk::{Disk, Entry, Open};

/// A segment's file.
pub struct SegmentFile {
    /// As its name says.
    pub first: u64,
    pub path: PathBuf,
    pub bytes: u64,
    pub standing: Standing,
    /// Behind its last position: where the next one begins, or the log ends.
    pub end: u64,
    /// Spans and entries in whole frames, and those frames.
    pub items: u64,
    pub frames: u64,
    /// Receive times of the earliest and the latest frame, microseconds since the epoch.
    pub received_us: Option<(u64, u64)>,
    /// Positions that cannot be read.
    pub damaged: u64,
    pub(in crate::channel) opening: Option<Opening>,
}

/// Whether a segment can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Readable,
    /// The start sets it aside.
    HeadUnreadable,
    /// A start did: what stood in it is missing from the log.
    SetAside,
    /// Of another channel.
    Foreign(Id),
    Version {
        major: u16,
        minor: u16,
    },
}

impl SegmentFile {
    fn new(first: u64, path: PathBuf, bytes: u64, standing: Standing, opening: Option<Opening>) -> SegmentFile {
        let (end, items, frames, received_us, damaged) = (first, 0, 0, None, 0);
        SegmentFile { first, path, bytes, standing, end, items, frames, received_us, damaged, opening }
    }

    /// Once it is known which channel the directory is of: whether the file is of the one that a repair makes of it.
    pub(super) fn adopt(&mut self, id: &Id) -> bool {
        let Some(opening) = &self.opening else { return false };
        let is_next = opening.channel == successor(id);
        if opening.channel != *id && !is_next {
            self.standing = Standing::Foreign(opening.channel);
        }
        is_next
    }
}

/// The segments by first position. One that was removed since the directory was listed is none.
pub(super) fn open(disk: &dyn Disk, dir: &Path, entries: &[Entry]) -> io::Result<Vec<SegmentFile>> {
    let mut segments = Vec::new();
    for entry in entries {
        let Some(first) = aside::first_of(&entry.name) else { continue };
        let path = segment_path(dir, first);
        let read = disk.open(&path, Open::Read).map_err(HeadError::Io).and_then(|file| Opening::read(&*file));
        let (standing, opening) = match read {
            Ok(opening) if opening.start.position == first => (Standing::Readable, Some(opening)),
            // Its name is another's: as the start does, it is not believed.
            Ok(_) | Err(HeadError::Unreadable | HeadError::Foreign) => (Standing::HeadUnreadable, None),
            Err(HeadError::Version { major, minor }) => (Standing::Version { major, minor }, None),
            Err(HeadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(HeadError::Io(error)) => return Err(error),
        };
        segments.push(SegmentFile::new(first, path, entry.len, standing, opening));
    }
    segments.sort_unstable_by_key(|segment| segment.first);
    Ok(segments)
}

/// Adds those that were set aside and leave a hole in the log, or behind it.
pub(super) fn add_gone(segments: &mut Vec<SegmentFile>, disk: &dyn Disk, dir: &Path, id: &Id) -> io::Result<()> {
    let begins = segments.first().map(|oldest| oldest.first);
    for gone in aside::segments(disk, dir, id)? {
        let replaced = segments.iter().any(|s| s.first == gone.first && s.standing != Standing::SetAside);
        if !replaced && begins.is_none_or(|begins| gone.first > begins) {
            segments.push(SegmentFile::new(gone.first, gone.path, gone.bytes, Standing::SetAside, None));
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(())
}

/// What is in `damaged/`.
pub(super) fn set_aside(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<Entry>> {
    match disk.list(&aside::dir(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => {
            let mut entries = other?;
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        }
    }
}

/// Files that a crash left in the middle of a step.
pub(super) fn look_at_leftovers(survey: &mut Survey, entries: &[Entry]) {
    for entry in entries.iter().filter(|entry| entry.name.ends_with(".tmp")) {
        let path = survey.dir.join(&entry.name);
        let finding = Finding::note(&path, "was left by a step that a crash cut off");
        survey.findings.push(finding.means("nothing was read from it; the next start removes it"));
    }
}
