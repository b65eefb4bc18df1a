//! The letters that lie on disk: read by anyone, taken out by whoever owns the store.
//!
//! [`read`] looks at the files alone, beside a gateway that runs or not: a file that goes meanwhile
//! is passed over. Taking out goes file by file: what is left of one is written aside, synced and
//! renamed over it, so that a crash leaves a file as it was or as it is to be.

use std::io;
use std::path::Path;

use super::class::{read_file, sequences};
use super::{Class, ENTRIES, Filed, Filter, SPANS, Store};
use crate::disk::Disk;

/// Calls `each` with the letters that `filter` takes, refused ones first, each directory's oldest first. Blocks.
///
/// # Errors
/// Where a directory or file that is there cannot be read.
pub fn read(disk: &dyn Disk, dir: &Path, filter: &Filter, mut each: impl FnMut(Filed)) -> io::Result<()> {
    let mut left = filter.limit.unwrap_or(u64::MAX);
    for classes in [SPANS, ENTRIES] {
        let dir = dir.join(classes[0].name());
        for (sequence, _) in or_none(sequences(disk, &dir))?.unwrap_or_default() {
            let Some(bytes) = or_none(read_file(disk, &dir, sequence))? else { continue };
            let letters = bytes.split(|b| *b == b'\n').filter_map(Filed::read).filter(|letter| filter.takes(letter));
            for letter in letters {
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                each(letter);
            }
        }
    }
    Ok(())
}

/// `None` for what is not there, or not any more.
fn or_none<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file to which no letter is added any more.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    class: Class,
    sequence: u64,
}

/// Letters of a part, each with its line.
pub type Chosen = Vec<(usize, Filed)>;

impl Store {
    /// The files as they are; letters to come go into others. Oldest first. Blocks.
    pub fn parts(&self) -> Vec<Part> {
        let part = |class| move |sequence| Part { class, sequence };
        let mut parts: Vec<Part> = self.files(Class::Refused).close().into_iter().map(part(Class::Refused)).collect();
        parts.extend(self.files(Class::Undecodable).close().into_iter().map(part(Class::Undecodable)));
        parts
    }

    /// The letters of a part that `filter` takes, at most `most`; none where it is gone. Blocks.
    pub fn choose(&self, part: Part, filter: &Filter, most: u64) -> io::Result<Chosen> {
        let Some(bytes) = or_none(self.files(part.class).read(part.sequence))? else { return Ok(Vec::new()) };
        let lines = bytes.split(|b| *b == b'\n').enumerate();
        let letters = lines.filter_map(|(line, bytes)| Some((line, Filed::read(bytes)?)));
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(letters.filter(|(_, letter)| filter.takes(letter)).take(most).collect())
    }

    /// Takes lines out of a part, durably; whatever else it holds stays. Blocks.
    pub fn take_out(&self, part: Part, lines: &[usize]) -> io::Result<()> {
        let mut files = self.files(part.class);
        let Some(bytes) = or_none(files.read(part.sequence))? else { return Ok(()) };
        let kept = bytes.split_inclusive(|b| *b == b'\n').enumerate();
        let kept: Vec<u8> = kept.filter(|(line, _)| !lines.contains(line)).flat_map(|(_, l)| l).copied().collect();
        files.replace(part.sequence, &kept)
    }
}
