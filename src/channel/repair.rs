//! What is done about a channel on which a gateway refuses to start (DURABILITY.md, "Repair").
//!
//! [`Plan::of`] says what; [`Plan::carry_out`] does it. Nothing is deleted: what is replaced is copied to
//! `damaged/` first, what is not the channel's is moved there. A cursor that is lost begins at the
//! oldest position in the log: its drain repeats, it never loses. Where the log ended is certain only while every
//! slot vouches for it or nothing torn is at its end; otherwise the channel takes another
//! identity, and no position is used twice. Cut off anywhere, the same repair goes on.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use super::aside::{self, free_name};
use super::cursor::{self, Cursor, SLOT_BYTES};
use super::identity::{self, Id, Identity, successor};
use super::log::fill_random;
use super::segment::{HEAD_BYTES, Point, head_of};
use super::slots::{FILE_BYTES, Slots};
use super::survey::{Drain, RowState, SegmentFile, Standing, Survey};
use super::{OpenError, Takes, check_name};
use crate::disk::{Disk, Open, read_full};

const ROW_BYTES: usize = 2 * SLOT_BYTES;
const ROWS: usize = FILE_BYTES / ROW_BYTES;
/// Bytes copied at a time.
const COPY_BYTES: usize = 1024 * 1024;

/// A repair, said and not yet done.
#[derive(Default)]
pub struct Plan {
    dir: PathBuf,
    /// What it does, and what that means, a sentence each.
    pub steps: Vec<String>,
    /// Files that are copied to `damaged/`, whole, before they are replaced.
    copied: Vec<PathBuf>,
    moved: Vec<PathBuf>,
    /// Segments' heads, with the channel's new identity: those that they are written over are copied first, too.
    heads: Vec<(PathBuf, Vec<u8>)>,
    cursors: Option<Vec<u8>>,
    id: Option<Id>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Impossible {
    #[error(
        "{0} was written by another version of spangate; that version can read it, and this one must not change it"
    )]
    Version(PathBuf),
    #[error(
        "where {0} drains stood is lost, and nothing tells their names: name them with --drain, or the gateway's \
         configuration with --config"
    )]
    Nameless(usize),
    #[error(transparent)]
    Name(#[from] OpenError),
    #[error("the channel would have more than {ROWS} drains")]
    TooMany,
}

impl Plan {
    /// What is to be done about a directory. `known`: the drains that the gateway is to have.
    pub fn of(survey: &Survey, known: &[(String, Takes)]) -> Result<Plan, Impossible> {
        if let Some(path) = of_another_version(survey) {
            return Err(Impossible::Version(path));
        }
        known.iter().try_for_each(|(name, _)| check_name(name))?;
        let mut plan = Plan { dir: survey.dir.clone(), ..Plan::default() };
        if !survey.refuses() {
            return Ok(plan);
        }
        plan.leave_foreign(&survey.segments);
        let lost = Lost::of(survey);
        let id = plan.identity(survey, lost.rows > 0);
        let mut cursors = survey.cursors.clone().unwrap_or_default();
        cursors.resize(FILE_BYTES, 0);
        for slot in cursors.chunks_mut(SLOT_BYTES).filter(|slot| cursor::channel_of(slot).is_some()) {
            slot.copy_from_slice(&cursor::of_channel(slot, &id));
        }
        if lost.rows > 0 {
            plan.begin_again(survey, &lost, known, (&id, &mut cursors))?;
        }
        let before = survey.channel.unwrap_or(id);
        if lost.rows > 0 || before != id || survey.changing {
            plan.copied.extend(survey.cursors.is_some().then(|| Slots::path(&plan.dir)));
            plan.cursors = Some(cursors);
        }
        Ok(plan)
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    fn leave_foreign(&mut self, segments: &[SegmentFile]) {
        for segment in segments {
            if let Standing::Foreign(id) = segment.standing {
                let (name, id) = (file_name(&segment.path), identity::text(&id));
                self.steps.push(format!("{name} is of the channel {id}: moved to damaged/"));
                self.moved.push(segment.path.clone());
            }
        }
    }

    /// Which identity the channel has from now on.
    fn identity(&mut self, survey: &Survey, rows_lost: bool) -> Id {
        let readable = survey.segments.iter().any(|s| s.standing == Standing::Readable);
        let uncertain = rows_lost && (survey.torn || !readable);
        let path = identity::path(&self.dir);
        let Some(told) = survey.channel else {
            let id = fresh();
            self.steps.push(format!("nothing tells the channel's identity: it begins anew as {}", identity::text(&id)));
            self.id = Some(id);
            self.copied.extend((survey.identity != Identity::Missing).then_some(path));
            return id;
        };
        let id = if uncertain || survey.changing { successor(&told) } else { told };
        if id != told {
            self.steps.push(format!(
                "where the log ended is not certain, as no cursor vouches for it: the channel takes the identity {} in the \
                 place of {}, so that no position is used twice; objects of an archive are named by it from now on",
                identity::text(&id),
                identity::text(&told)
            ));
            let ours = survey.segments.iter().filter(|s| s.standing == Standing::Readable);
            let heads = ours.filter_map(|s| Some((s.path.clone(), head_of(s.opening.as_ref()?, &id))));
            self.heads = heads.collect();
        } else if survey.identity != Identity::Known(id) {
            let segments = survey.segments.iter().filter(|s| s.standing == Standing::Readable).count();
            let drains = survey.drains.iter().filter(|d| d.state == RowState::Live).count();
            self.steps.push(format!(
                "the id is written again: {}, as the heads of its segments ({segments}) and its cursors ({drains}) say",
                identity::text(&id)
            ));
        }
        if survey.identity != Identity::Known(id) {
            self.id = Some(id);
            self.copied.extend((survey.identity != Identity::Missing).then_some(path));
        }
        id
    }

    /// Drains whose cursor is lost begin at the oldest position.
    fn begin_again(
        &mut self,
        survey: &Survey,
        lost: &Lost,
        known: &[(String, Takes)],
        (id, cursors): (&Id, &mut [u8]),
    ) -> Result<(), Impossible> {
        let oldest = survey.oldest.clone().unwrap_or_default();
        lost.blank.iter().for_each(|&row| cursors[row * ROW_BYTES..][..ROW_BYTES].fill(0));
        let names = lost.names(survey, known);
        if names.is_empty() && lost.nameless > 0 {
            self.steps.push(format!(
                "{} rows whose names cannot be read are of no drain that is named: emptied",
                lost.nameless
            ));
        }
        if names.iter().all(|(_, takes)| *takes == Takes::Addressed)
            && lost.nameless > 0
            && !lost.all_known(survey, known)
        {
            return Err(Impossible::Nameless(lost.nameless));
        }
        for (name, takes) in &names {
            let row = cursors.chunks(ROW_BYTES).position(|row| row.iter().all(|byte| *byte == 0));
            let row = row.ok_or(Impossible::TooMany)?;
            let cursor = Cursor::begin(name, *takes, &oldest);
            for generation in [1, 2] {
                let at = (row * 2 + generation % 2) * SLOT_BYTES;
                cursors[at..at + SLOT_BYTES].copy_from_slice(&cursor.encode(id, generation as u64, &oldest));
            }
            self.steps.push(said(&cursor, &oldest, &survey.end));
        }
        self.steps.push(
            "a drain that is not named here begins where its configuration says, which is the log's end unless it is told \
             otherwise: what waits in the log is lost for it. --drain NAME names one more"
                .to_owned(),
        );
        Ok(())
    }

    /// Does it. Blocks. Cut off anywhere, another plan of the same directory goes on.
    pub fn carry_out(&self, disk: &dyn Disk) -> io::Result<()> {
        let damaged = aside::dir(&self.dir);
        disk.create_dir_all(&damaged)?;
        for path in &self.copied {
            copy(disk, path, &free_name(disk, &damaged, &file_name(path))?, u64::MAX)?;
        }
        for (path, _) in &self.heads {
            let to = free_name(disk, &damaged, &format!("{}.head", file_name(path)))?;
            copy(disk, path, &to, HEAD_BYTES)?;
        }
        for path in &self.moved {
            disk.rename_new(path, &free_name(disk, &damaged, &file_name(path))?)?;
        }
        disk.sync_dir(&damaged)?;
        disk.sync_dir(&self.dir)?;
        for (path, head) in &self.heads {
            let file = disk.open(path, Open::Write)?;
            file.write_at(&[IoSlice::new(head)], 0)?;
            file.sync_data()?;
        }
        if let Some(cursors) = &self.cursors {
            let aside = self.dir.join("cursors.tmp");
            let file = disk.open(&aside, Open::Truncate)?;
            file.write_at(&[IoSlice::new(cursors)], 0)?;
            file.sync_all()?;
            disk.rename(&aside, &Slots::path(&self.dir))?;
            disk.sync_dir(&self.dir)?;
        }
        // Last: until then the start refuses, and a repair goes on.
        self.id.map_or(Ok(()), |id| identity::write(disk, &self.dir, &id))
    }
}

/// Cursors that cannot be had back.
struct Lost {
    /// How many rows are lost.
    rows: usize,
    /// Those that stand in the file.
    blank: Vec<usize>,
    /// As their slots tell them.
    named: Vec<String>,
    nameless: usize,
}

impl Lost {
    fn of(survey: &Survey) -> Lost {
        let there = survey.cursors.as_ref().map_or(0, Vec::len) / ROW_BYTES;
        let beyond = if survey.cursors.is_none() && !survey.begun { 0 } else { ROWS - there };
        let is_lost = |drain: &&Drain| matches!(drain.state, RowState::Unreadable | RowState::Foreign);
        let lost: Vec<&Drain> = survey.drains.iter().filter(is_lost).collect();
        let named = lost.iter().filter(|d| !d.name.is_empty() && !lives(survey, &d.name));
        let named: Vec<String> = named.map(|d| d.name.clone()).collect();
        let nameless = lost.iter().filter(|d| d.name.is_empty()).count() + beyond;
        Lost { rows: lost.len() + beyond, blank: lost.iter().map(|d| d.row).collect(), named, nameless }
    }

    /// Who begins again: who stood there, and of those that the gateway is to have whoever has no row.
    fn names(&self, survey: &Survey, known: &[(String, Takes)]) -> Vec<(String, Takes)> {
        let takes = |name: &str| known.iter().find(|(k, _)| k == name).map_or(Takes::Common, |(_, takes)| *takes);
        let mut names: Vec<(String, Takes)> = self.named.iter().map(|name| (name.clone(), takes(name))).collect();
        if self.nameless > 0 {
            let without = known.iter().filter(|(name, _)| !lives(survey, name));
            names.extend(without.cloned());
        }
        names.sort();
        names.dedup_by(|a, b| a.0 == b.0);
        names
    }

    /// Every drain that the gateway is to have stands in a row: what is lost was of none of them.
    fn all_known(&self, survey: &Survey, known: &[(String, Takes)]) -> bool {
        let mut common = known.iter().filter(|(_, takes)| *takes == Takes::Common).peekable();
        common.peek().is_some() && common.all(|(name, _)| lives(survey, name) || self.named.contains(name))
    }
}

fn lives(survey: &Survey, name: &str) -> bool {
    survey.drains.iter().any(|drain| drain.state == RowState::Live && drain.name == name)
}

fn said(cursor: &Cursor, oldest: &Point, end: &Point) -> String {
    let (name, at, again) = (&cursor.name, oldest.position, cursor.waiting(end));
    let what = match cursor.takes {
        Takes::Common => "spans of the log are sent to it again",
        Takes::Addressed => "entries of the log are written to the dead letters again",
    };
    format!(
        "drain {name} begins at position {at}, the oldest there is: nothing is lost by that, and at most {again} {what}, those that it \
         had settled; its ledger begins at nothing"
    )
}

fn of_another_version(survey: &Survey) -> Option<PathBuf> {
    let segment = survey.segments.iter().find(|s| matches!(s.standing, Standing::Version { .. }));
    let row = survey.drains.iter().any(|d| matches!(d.state, RowState::Version { .. }));
    match survey.identity {
        Identity::Version { .. } => Some(identity::path(&survey.dir)),
        _ if row => Some(Slots::path(&survey.dir)),
        _ => segment.map(|s| s.path.clone()),
    }
}

fn fresh() -> Id {
    let mut id = [0; 16];
    fill_random(&mut id).expect("the system has randomness");
    id
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Copies a file of the channel, or the first `most` bytes of it, and syncs the copy.
fn copy(disk: &dyn Disk, path: &Path, to: &Path, most: u64) -> io::Result<()> {
    let file = disk.open(path, Open::Read)?;
    let copy = disk.open(to, Open::CreateNew)?;
    let (mut raw, mut at) = (vec![0; COPY_BYTES], 0);
    while at < most {
        let piece = usize::try_from(most - at).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
        let got = read_full(&*file, &mut raw[..piece], at)?;
        if got == 0 {
            break;
        }
        copy.write_at(&[IoSlice::new(&raw[..got])], at)?;
        at += got as u64;
    }
    copy.sync_all()
}
