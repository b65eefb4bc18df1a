//! What stands in a channel's directory: read without a lock, and without changing a byte of it.
//!
//! [`Survey::of`] reads what the start reads and finds what the start finds, with one difference:
//! nothing stops it. Each [`Finding`] names a file, an offset, positions, and what they mean: whose
//! spans are lost, and how many. In the directory of a gateway that runs, files come and go
//! meanwhile and the log's end is in motion; what is gone when it is opened is passed over.

mod drains;
mod files;
mod finding;
mod walk;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::identity::{self, Id, Identity, text};
use super::segment::{Opening, Point};
use crate::disk::{Disk, Entry};

pub use drains::{Drain, RowState};
pub use files::{SegmentFile, Standing};
pub use finding::{Finding, Grade};

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Heads: of segments and of frames.
    Heads,
    /// Every byte.
    Whole,
}

pub struct Survey {
    pub dir: PathBuf,
    /// What the file `id` says.
    pub identity: Identity,
    /// The channel that most of what can be read is of; the file's, if anything agrees with it.
    pub channel: Option<Id>,
    /// By first position, with those that are gone from between them.
    pub segments: Vec<SegmentFile>,
    /// Whether the directory holds a segment: then the start asks for the id and the cursors, too.
    pub(super) begun: bool,
    /// Of the cursors file, those rows that hold something.
    pub drains: Vec<Drain>,
    /// Positions of the log that are damaged.
    pub damaged: u64,
    /// What was set aside before.
    pub set_aside: Vec<Entry>,
    pub findings: Vec<Finding>,
    /// The cursors file as it was read, all of one channel; none where it is missing.
    pub(super) cursors: Option<Vec<u8>>,
    /// Where the log ends, with the totals there.
    pub(super) end: Point,
    /// Where the first readable segment begins, with the totals there.
    pub(super) oldest: Option<Point>,
    /// Bytes behind the last whole frame that nothing vouches for, or a last segment that cannot be read.
    pub(super) torn: bool,
    /// A repair that gives the channel another identity was cut off.
    pub(super) changing: bool,
}

impl Survey {
    /// Reads the directory. Blocks. An error is a file that could not be read at all.
    pub fn of(disk: &Arc<dyn Disk>, dir: &Path, depth: Depth) -> io::Result<Survey> {
        let identity = identity::read(&**disk, dir)?;
        // Cursors first: what is removed meanwhile they had passed.
        let mut cursors = drains::read(&**disk, dir)?;
        let entries = disk.list(dir)?;
        let mut segments = files::open(&**disk, dir, &entries)?;
        let channel = channel(&identity, &segments, cursors.as_deref().unwrap_or_default());
        let id = channel.unwrap_or_default();
        let mut changing = drains::adopt(cursors.as_deref_mut().unwrap_or_default(), &id);
        segments.iter_mut().for_each(|segment| changing |= segment.adopt(&id));
        let begun = !segments.is_empty();
        files::add_gone(&mut segments, &**disk, dir, &id)?;
        let mut survey = Survey {
            dir: dir.to_owned(),
            identity,
            channel,
            segments,
            begun,
            drains: drains::rows(cursors.as_deref().unwrap_or_default(), &id),
            damaged: 0,
            set_aside: files::set_aside(&**disk, dir)?,
            findings: Vec::new(),
            cursors,
            end: Point::default(),
            oldest: None,
            torn: false,
            changing,
        };
        survey.look_at_identity();
        survey.look_at_cursors();
        walk::walk(&mut survey, disk, depth)?;
        survey.settle_accounts();
        files::look_at_leftovers(&mut survey, &entries);
        Ok(survey)
    }

    /// The channel's identity, as far as anything tells it.
    pub fn channel_id(&self) -> Option<String> {
        self.channel.as_ref().map(text)
    }

    /// The position behind the last whole frame.
    pub fn end(&self) -> u64 {
        self.end.position
    }

    /// Whether anything is wrong.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.grade == Grade::Damage)
    }

    /// Whether a gateway refuses to start on it.
    pub fn refuses(&self) -> bool {
        self.findings.iter().any(|finding| finding.refuses)
    }

    /// Spans and entries in whole frames.
    pub fn items(&self) -> u64 {
        self.segments.iter().map(|segment| segment.items).sum()
    }

    fn look_at_identity(&mut self) {
        let path = identity::path(&self.dir);
        if self.changing {
            let finding = Finding::damage(&self.dir, "a repair that gives the channel another identity was cut off");
            self.findings.push(finding.means("the start refuses; the same repair goes on where it stopped").refusing());
        }
        let told = self.channel.map_or_else(|| "nothing tells it".into(), |id| format!("all else says {}", text(&id)));
        let means = format!("the start refuses; {told}");
        let finding = match self.identity {
            Identity::Known(id) if self.channel.is_some_and(|told| told != id) => {
                Finding::damage(&path, "the id is of another channel").means(means)
            }
            Identity::Known(_) => return,
            Identity::Missing if !self.begun => return,
            Identity::Missing => Finding::damage(&path, "is missing").means(means),
            Identity::Unreadable => Finding::damage(&path, "the id is unreadable").means(means),
            Identity::Version { major, minor } => Finding::version(&path, major, minor),
        };
        self.findings.push(finding.refusing());
    }
}

/// The channel that a directory is of: what its id says, unless all that can be read says otherwise.
fn channel(identity: &Identity, segments: &[SegmentFile], cursors: &[u8]) -> Option<Id> {
    let heads = segments.iter().filter_map(|segment| segment.opening.as_ref());
    let mut told: Vec<Id> = heads.map(|Opening { channel, .. }| *channel).chain(drains::channels(cursors)).collect();
    if let Identity::Known(id) = identity
        && (told.is_empty() || told.contains(id) || told.contains(&identity::successor(id)))
    {
        return Some(*id);
    }
    told.sort_unstable();
    // Of one that a repair was changing, the one that it came from.
    let votes = |id: &Id| {
        let next = identity::successor(id);
        told.iter().filter(|other| *other == id || **other == next).count()
    };
    told.iter().max_by_key(|id| votes(id)).copied()
}
