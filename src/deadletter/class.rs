//! The files of one directory of letters: `<seq:016x>.jsonl`, the last one growing, oldest first to go.
//!
//! Letters are appended in one write and synced. After a failed write or sync the file is given
//! up where it was last synced and the next append begins another: its page cache may hold what
//! the disk does not (DURABILITY.md, "What is assumed of the disk").

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{self, Disk, File, Open};
use crate::metrics::{Counter, Gauge, Registry};

use super::Class;

/// A file is closed at this size, or at a quarter of the class's bound: the bound removes whole files.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Bytes read at once.
const READ: usize = 64 * 1024;
const SUFFIX: &str = ".jsonl";
/// What is being written to replace a file; after a crash the next one is written over it.
const ASIDE: &str = "aside";

pub(super) struct Files {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    bytes_max: u64,
    /// Sequence number and length of each file, oldest first.
    files: VecDeque<(u64, u64)>,
    /// The last of `files`, while it may be appended to.
    last: Option<Arc<dyn File>>,
    written: Vec<(Class, Counter)>,
    removed: Counter,
    bytes: Gauge,
}

impl Files {
    /// The files of `classes` in a directory of `dir`.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        classes: &[Class],
        bytes_max: u64,
        registry: &Registry,
    ) -> io::Result<Files> {
        let name = classes.first().map_or("", |class| class.name());
        let dir = dir.join(name);
        disk.create_dir_all(&dir)?;
        // Whoever made them may not have got so far.
        for dir in dir.ancestors().take(2) {
            disk::sync_name(&*disk, dir)?;
        }
        let found = sequences(&*disk, &dir)?;
        let labels = [("class", name)];
        let written =
            |class: &Class| (*class, registry.counter("spangate_dead_letters_total", &[("class", class.name())]));
        let mut files = Files {
            disk,
            dir,
            bytes_max,
            files: found.into(),
            last: None,
            written: classes.iter().map(written).collect(),
            removed: registry.counter("spangate_dead_letters_removed_total", &labels),
            bytes: registry.gauge("spangate_dead_letters_bytes", &labels),
        };
        files.reopen_last()?;
        files.show();
        Ok(files)
    }

    /// The files as they are; letters to come go into others.
    pub fn close(&mut self) -> Vec<u64> {
        self.last = None;
        self.files.iter().map(|(sequence, _)| *sequence).collect()
    }

    /// What a file holds.
    pub fn read(&self, sequence: u64) -> io::Result<Vec<u8>> {
        read_file(&*self.disk, &self.dir, sequence)
    }

    /// Replaces what a closed file holds, durably: a crash leaves what it held or what it is to hold. One that would
    /// be empty goes.
    pub fn replace(&mut self, sequence: u64, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(sequence);
        if bytes.is_empty() {
            self.disk.remove(&path)?;
            self.files.retain(|(found, _)| *found != sequence);
        } else {
            let aside = path.with_extension(ASIDE);
            let file = self.disk.open(&aside, Open::Truncate)?;
            file.write_at(&[IoSlice::new(bytes)], 0)?;
            file.sync_all()?;
            self.disk.rename(&aside, &path)?;
        }
        self.disk.sync_dir(&self.dir)?;
        for (found, len) in &mut self.files {
            if *found == sequence {
                *len = bytes.len() as u64;
            }
        }
        self.show();
        Ok(())
    }

    /// Appends `lines`, which are letters of `classes`, and syncs.
    pub fn append(&mut self, lines: &[u8], classes: &[Class]) -> io::Result<()> {
        self.make_room(lines.len() as u64)?;
        let file = self.file_for(lines.len() as u64)?;
        let at = self.files.back().map_or(0, |(_, len)| *len);
        if let Err(error) = file.write_at(&[IoSlice::new(lines)], at).and_then(|()| file.sync_data()) {
            self.last = None;
            // What was written of it is no letter.
            if let Err(error) = file.set_len(at) {
                tracing::warn!(dir = %self.dir.display(), %error, "a half-written letter cannot be cut: the next start cuts it");
            }
            return Err(error);
        }
        if let Some((_, len)) = self.files.back_mut() {
            *len += lines.len() as u64;
        }
        for (class, written) in &self.written {
            written.increment(classes.iter().filter(|of| *of == class).count() as u64);
        }
        self.show();
        Ok(())
    }

    /// The last file, or a new one where that is full, closed or missing.
    fn file_for(&mut self, len: u64) -> io::Result<Arc<dyn File>> {
        let file_max = FILE_BYTES_MAX.min(self.bytes_max / 4);
        let fits = self.files.back().is_some_and(|(_, now)| *now == 0 || now + len <= file_max);
        if let (Some(last), true) = (&self.last, fits) {
            return Ok(last.clone());
        }
        let sequence = self.files.back().map_or(0, |(sequence, _)| sequence.saturating_add(1));
        let file = self.disk.open(&self.path(sequence), Open::CreateNew)?;
        self.files.push_back((sequence, 0));
        self.disk.sync_dir(&self.dir)?;
        self.last = Some(file.clone());
        Ok(file)
    }

    /// Removes the oldest files until `len` more bytes are within the bound. A single write that is beyond it alone
    /// goes through: nothing is older.
    fn make_room(&mut self, len: u64) -> io::Result<()> {
        while self.total() + len > self.bytes_max && !self.files.is_empty() {
            self.remove_oldest("their bound is reached")?;
        }
        Ok(())
    }

    /// Removes the oldest file but for the last one; its bytes.
    pub fn give_way(&mut self) -> io::Result<Option<u64>> {
        if self.files.len() < 2 {
            return Ok(None);
        }
        let freed = self.remove_oldest("the disk is nearly full, and intake would stop")?;
        self.show();
        Ok(Some(freed))
    }

    fn remove_oldest(&mut self, why: &str) -> io::Result<u64> {
        let Some((sequence, len)) = self.files.front().copied() else { return Ok(0) };
        let path = self.path(sequence);
        let letters = self.disk.open(&path, Open::Read).and_then(|file| count_lines(&*file)).unwrap_or_else(|error| {
            // It goes all the same, or a bad sector would hold up every letter to come.
            tracing::error!(path = %path.display(), %error, "cannot be read: its letters go uncounted");
            0
        });
        self.disk.remove(&path)?;
        self.files.pop_front();
        if self.files.is_empty() {
            self.last = None;
        }
        self.removed.increment(letters);
        tracing::warn!(path = %path.display(), letters, why, "dead letters removed");
        Ok(len)
    }

    /// Cuts what a crash left unfinished at the end of the last file, and goes on writing there.
    fn reopen_last(&mut self) -> io::Result<()> {
        let Some((sequence, len)) = self.files.back().copied() else { return Ok(()) };
        let path = self.path(sequence);
        let file = self.disk.open(&path, Open::Write)?;
        let whole = whole_lines_end(&*file, len)?;
        if whole < len {
            file.set_len(whole)?;
            file.sync_all()?;
            let cut = len - whole;
            tracing::warn!(path = %path.display(), cut, "an unfinished end of the dead letters was cut");
        }
        if let Some(back) = self.files.back_mut() {
            back.1 = whole;
        }
        self.last = Some(file);
        Ok(())
    }

    fn total(&self) -> u64 {
        self.files.iter().map(|(_, len)| len).sum()
    }

    fn path(&self, sequence: u64) -> PathBuf {
        self.dir.join(format!("{sequence:016x}{SUFFIX}"))
    }

    fn show(&self) {
        self.bytes.set(self.total() as f64);
    }
}

/// Sequence number and length of each file in a directory, oldest first.
pub(super) fn sequences(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<(u64, u64)>> {
    let sequence = |name: &str| name.strip_suffix(SUFFIX).and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let listed = disk.list(dir)?;
    let mut found: Vec<_> =
        listed.iter().filter(|e| !e.is_dir).filter_map(|e| Some((sequence(&e.name)?, e.len))).collect();
    found.sort_unstable();
    Ok(found)
}

/// What a file holds.
pub(super) fn read_file(disk: &dyn Disk, dir: &Path, sequence: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(&dir.join(format!("{sequence:016x}{SUFFIX}")), Open::Read)?;
    let len = file.len()?;
    read_all(&*file, len)
}

fn count_lines(file: &dyn File) -> io::Result<u64> {
    let mut lines = 0;
    let mut at = 0;
    let mut buf = vec![0; READ];
    loop {
        match file.read_at(&mut buf, at)? {
            0 => return Ok(lines),
            read => {
                lines += buf[..read].iter().filter(|b| **b == b'\n').count() as u64;
                at += read as u64;
            }
        }
    }
}

/// Where the last whole line ends: one that is closed as a letter is and holds no zero byte, which is what a block
/// that never reached the disk reads as. Lines before it are left alone, whatever they hold.
fn whole_lines_end(file: &dyn File, len: u64) -> io::Result<u64> {
    let bytes = read_all(file, len)?;
    let mut end = bytes.len();
    while end > 0 {
        let start = bytes[..end - 1].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        let line = &bytes[start..end];
        if line.starts_with(b"{") && line.ends_with(b"}\n") && !line.contains(&0) {
            break;
        }
        end = start;
    }
    Ok(end as u64)
}

/// A file is at most [`FILE_BYTES_MAX`] and one write long, so it is read whole.
fn read_all(file: &dyn File, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    let mut at = 0;
    while at < bytes.len() {
        match file.read_at(&mut bytes[at..], at as u64)? {
            0 => break,
            read => at += read,
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}
