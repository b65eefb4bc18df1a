//! Opening: what the last process left becomes a log that can be read and appended to.
//!
//! The steps of DURABILITY.md, "Recovery", in its order. The last segment is walked twice:
//! once for the greatest position known durable (S), once to tell the end from damage and to
//! copy what may live in the page cache only into a new segment. No frame is trusted by
//! syncing it again where it lies. Start is refused where guessing would repeat or lose.

mod rescue;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use tokio::time::Instant;

use super::aside::{self, Gone};
use super::cache::Cache;
use super::identity::{self, Id, Identity};
use super::log::Log;
use super::reader::keep_damaged;
use super::segment::{Bound, HEAD_BYTES, HeadError, Place, Point, Segment, Step, Walker, is_zero};
use super::slots::{Row, Slots};
use super::state::{DrainRow, Entry, Shared, State, segment_path};
use super::timeline::Timeline;
use super::{Found, Intake, OpenError, Settings};
use crate::clock::Clock;
use crate::disk::{self, Disk, Open, is_no_space};
use crate::planted::{self, Planted};
use rescue::{COPY_NAME, Rescue};

/// Bytes looked through at a time behind the last frame.
const PIECE: usize = 1024 * 1024;

/// An opened log.
pub struct Opened {
    pub shared: Arc<Shared>,
    pub log: Log,
    pub slots: Slots,
    pub found: Found,
}

pub fn open(settings: Settings, disk: Arc<dyn Disk>, clock: Clock) -> Result<Opened, OpenError> {
    let dir = settings.dir.clone();
    let io = |source| OpenError::Io { path: dir.clone(), source };
    disk.create_dir_all(&dir).map_err(io)?;
    refuse_half_a_log(&*disk, &dir)?;
    let id = open_id(&*disk, &dir)?;
    let slots = Slots::open(&*disk, &dir)?;
    // A process that was killed may have left them in the page cache alone; what is built on them would outlive them.
    sync_names(&*disk, &dir).map_err(io)?;
    let rows = slots.recover(&dir, &id)?;
    let floor = Floor::of(&rows);
    let mut recovery =
        Recovery { disk, dir, id, clock, settings, floor, gone: Vec::new(), taken: 0, found: Found::default() };
    let names = recovery.names()?;
    let segments = recovery.open_heads(names)?;
    recovery.finish(segments, rows, slots)
}

/// Makes the names in the log's directory durable, and its own.
fn sync_names(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.sync_dir(dir)?;
    disk::sync_name(disk, dir)
}

/// The id and the cursors are made before the first segment: where one is missing beside a
/// segment, a new one would lose what every drain had settled, or give positions twice.
fn refuse_half_a_log(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    let entries = disk.list(dir).map_err(|source| OpenError::Io { path: dir.to_owned(), source })?;
    if !entries.iter().any(|e| e.name.ends_with(".seg")) {
        return Ok(());
    }
    for path in [identity::path(dir), Slots::path(dir)] {
        if !entries.iter().any(|e| path.ends_with(&e.name)) {
            return Err(OpenError::Damaged { path, what: "is missing, though there are segments beside it".into() });
        }
    }
    Ok(())
}

/// Reads the channel's id, or makes one.
fn open_id(disk: &dyn Disk, dir: &Path) -> Result<Id, OpenError> {
    let path = identity::path(dir);
    let io = |source| OpenError::Io { path: path.clone(), source };
    match identity::read(disk, dir).map_err(io)? {
        Identity::Known(id) => Ok(id),
        Identity::Missing => identity::make(disk, dir).map_err(io),
        Identity::Unreadable => Err(OpenError::Damaged { path, what: "the channel's id is unreadable".into() }),
        Identity::Version { major, minor } => Err(OpenError::Version { path, major, minor }),
    }
}

/// What the cursors' slots say was durable: a lower bound of the log's end.
#[derive(Default)]
pub struct Floor {
    pub position: u64,
    pub common: u64,
    pub addressed: Vec<(u64, u64)>,
}

impl Floor {
    fn of(rows: &[Row]) -> Floor {
        Floor::told_by(rows.iter().filter_map(|row| Some((row.cursor.as_ref()?.id, row.durable))))
    }

    /// Of drains' ids, each with what its slot tells.
    pub fn told_by(rows: impl Iterator<Item = (u64, (u64, u64, u64))>) -> Floor {
        let mut floor = Floor::default();
        for (id, (position, common, addressed)) in rows {
            (floor.position, floor.common) = (floor.position, floor.common).max((position, common));
            floor.addressed.push((id, addressed));
        }
        floor
    }

    /// Moves a point up to the floor: what lies between was durable and is gone.
    pub fn raise(&self, point: &mut Point) {
        if point.position >= self.position {
            return;
        }
        let mut lost = self.position - point.position;
        let common = self.common.saturating_sub(point.common).min(lost);
        lost -= common;
        point.common += common;
        point.position += common;
        self.charge(point, lost);
        // What no slot told of goes where addressed items go.
        point.pass_damage(self.position, 0);
    }

    /// Moves a point over as many of `lost` addressed items as the slots tell the drains of.
    fn charge(&self, point: &mut Point, mut lost: u64) {
        for &(id, total) in &self.addressed {
            let more = total.saturating_sub(point.addressed_to(id)).min(lost);
            if more > 0 {
                point.pass(id, more);
                lost -= more;
            }
        }
    }
}

struct Recovery {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    id: Id,
    clock: Clock,
    settings: Settings,
    floor: Floor,
    /// Segments that were set aside, now or before.
    gone: Vec<Gone>,
    /// Positions below it may have been given out by one of them.
    taken: u64,
    found: Found,
}

/// A segment whose head was read, with its file's length.
struct Headed {
    segment: Segment,
    len: u64,
}

/// What the walk of the last segment found.
struct Tail {
    /// At S.
    durable: Point,
    /// Where the frames below S end.
    offset: u64,
    /// Whether the file stays as it is: bytes below S are damaged, or another segment stood behind it.
    kept: bool,
    /// The new segment with what was rescued, written aside: its point and length.
    rescued: Option<(Point, u64)>,
}

impl Recovery {
    fn io(&self, source: io::Error) -> OpenError {
        OpenError::Io { path: self.dir.clone(), source }
    }

    /// Segments by first position, with their lengths. What was written aside is removed.
    fn names(&self) -> Result<Vec<(u64, u64)>, OpenError> {
        let mut names = Vec::new();
        for entry in self.disk.list(&self.dir).map_err(|e| self.io(e))? {
            if entry.name.ends_with(".tmp") {
                self.disk.remove(&self.dir.join(&entry.name)).map_err(|e| self.io(e))?;
            }
            names.extend(aside::first_of(&entry.name).map(|first| (first, entry.len)));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Reads the heads; a segment without a readable one moves to `damaged/`.
    fn open_heads(&mut self, names: Vec<(u64, u64)>) -> Result<Vec<Headed>, OpenError> {
        let mut segments: Vec<Headed> = Vec::new();
        for (first, len) in names {
            let path = segment_path(&self.dir, first);
            match Segment::open(&*self.disk, &path, &self.id) {
                Ok(segment) if segment.first() == first => segments.push(Headed { segment, len }),
                Ok(_) | Err(HeadError::Unreadable) => self.set_aside(first, &path).map_err(|e| self.io(e))?,
                Err(error) => return Err(error.into_open(&path)),
            }
        }
        let last = segments.last().map(|last| last.segment.first());
        self.remember_gone(last).map_err(|e| self.io(e))?;
        Ok(segments)
    }

    /// What is set aside, also by a start before: where it ended behind the last one that can be read, positions were
    /// given out.
    fn remember_gone(&mut self, last: Option<u64>) -> io::Result<()> {
        self.gone = aside::segments(&*self.disk, &self.dir, &self.id)?;
        let Some(end) = self.gone.last().map(|gone| gone.first).filter(|end| last.is_none_or(|last| *end > last))
        else {
            return Ok(());
        };
        for gone in self.gone.iter().filter(|gone| gone.first == end) {
            self.taken = self.taken.max(aside::plausible_end(&*self.disk, gone)?);
        }
        Ok(())
    }

    /// Where positions end to be of the segment that begins at `first`: where another one begins, or did.
    fn own_end(&self, first: u64, next: u64) -> u64 {
        let gone = self.gone.iter().map(|gone| gone.first);
        gone.filter(|gone| *gone > first).min().map_or(next, |gone| gone.min(next))
    }

    fn set_aside(&mut self, first: u64, path: &Path) -> io::Result<()> {
        let damaged = aside::dir(&self.dir);
        self.disk.create_dir_all(&damaged)?;
        let to = aside::free_name(&*self.disk, &damaged, &format!("{first:016x}.seg"))?;
        self.disk.rename_new(path, &to)?;
        self.disk.sync_dir(&damaged)?;
        self.disk.sync_dir(&self.dir)?;
        tracing::error!(segment = first, kept = %to.display(), "a segment's head is unreadable; it is set aside");
        self.found.damaged_path = Some(to);
        Ok(())
    }

    fn finish(mut self, mut segments: Vec<Headed>, rows: Vec<Row>, slots: Slots) -> Result<Opened, OpenError> {
        let last = segments.pop();
        let mut table: BTreeMap<u64, Entry> = BTreeMap::new();
        let ends = segments.iter().skip(1).chain(&last).map(|s| s.segment.first());
        for (headed, end) in segments.iter().zip(ends) {
            let first = headed.segment.first();
            let bound = Bound { position: end, own: self.own_end(first, end), offset: headed.len };
            table.insert(first, Entry { bound, used: headed.len, open: Weak::new() });
        }
        let oldest = segments.first().or(last.as_ref()).map(|h| h.segment.start.clone());
        let mut durable = Point::default();
        let mut adopted = None;
        if let Some(last) = last {
            let (segment, len) = (Arc::new(last.segment), last.len);
            let tail = self.walk(&segment, len).map_err(|e| self.io(e))?;
            adopted = self.replace_tail(&tail, &segment, len, &mut table).map_err(|e| self.io(e))?;
            durable = tail.rescued.as_ref().map_or(tail.durable, |(point, _)| point.clone());
        }
        let end = durable.position;
        self.floor.raise(&mut durable);
        durable.pass_damage(self.taken, u64::MAX);
        self.found.damaged_items += durable.position - end;
        if durable.position > end {
            // What is missing is passed with the segment before it; appending goes on behind it.
            adopted = None;
            if let Some(mut last) = table.last_entry() {
                last.get_mut().bound.position = durable.position;
            }
        }
        let settled = |row: &Row| row.cursor.as_ref().is_none_or(|cursor| cursor.low >= durable.position);
        if planted::has(Planted::PositionReused) && rows.iter().all(settled) {
            (durable, adopted) = (oldest.clone().unwrap_or_default(), None);
        }
        self.found.items = durable.position - oldest.map_or(durable.position, |o| o.position);
        let rows = rows.into_iter().map(row_state).collect();
        let state = State {
            segments: table,
            timeline: Timeline::new(Instant::now(), durable.position),
            answered: durable.clone(),
            durable,
            cache: Cache::new(self.settings.cache_bytes),
            rows,
            intake: Intake::Open,
            disk_free: 0,
            stopped: false,
        };
        self.found.bytes = state.used();
        let has_segments = !state.segments.is_empty();
        let shared = Arc::new(Shared::new(self.settings, self.disk, self.clock, self.id, state));
        let mut log = Log::new(shared.clone());
        match adopted {
            Some((segment, offset, len)) => log.adopt(segment, offset, len),
            None => match log.open_fresh(0) {
                // The owner tries again; meanwhile the drains make room.
                Err(error) if is_no_space(&error) && has_segments => {
                    tracing::warn!(%error, "there is no room to append to the log");
                }
                other => other.map_err(|source| OpenError::Io { path: self.dir, source })?,
            },
        }
        Ok(Opened { shared, log, slots, found: self.found })
    }

    /// The two walks over the last segment. Without room to copy what may live in the page cache only, it is written
    /// again where it stands: its blocks are there.
    fn walk(&mut self, segment: &Arc<Segment>, len: u64) -> io::Result<Tail> {
        let found = self.found.clone();
        let error = match self.walk_and_rescue(segment, len, Rescue::Copied(None)) {
            Err(error) if is_no_space(&error) => error,
            other => return other,
        };
        tracing::warn!(%error, "there is no room to copy what the last process had not synced: it is written again");
        match self.disk.remove(&self.dir.join(COPY_NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.found = Found { damaged_path: self.found.damaged_path.take(), ..found };
        let file = self.disk.open(&segment_path(&self.dir, segment.first()), Open::Write)?;
        self.walk_and_rescue(segment, len, Rescue::Again(file))
    }

    fn walk_and_rescue(&mut self, segment: &Arc<Segment>, len: u64, mut rescue: Rescue) -> io::Result<Tail> {
        let bound = Bound::new(self.own_end(segment.first(), u64::MAX), len);
        // What stood behind it began where all was durable.
        let followed = bound.position < u64::MAX;
        let synced = if followed { u64::MAX } else { self.floor.position.max(greatest_mark(segment, &bound)?) };
        let mut point = segment.start.clone();
        let mut tail = Tail { durable: point.clone(), offset: HEAD_BYTES, kept: followed, rescued: None };
        let mut walker = Walker::from_start(segment.clone());
        loop {
            let before = walker.place;
            match walker.step(&bound)? {
                Step::Frame { head, fixed } => {
                    let offset = u64::from(head.at.offset);
                    if fixed.first >= synced {
                        if !walker.body_fits(offset, &fixed, &bound)? {
                            walker.place = before;
                            break;
                        }
                        let raw = walker.frame_bytes(offset, &fixed, &bound)?;
                        rescue.take(self, (&point, len), raw, offset, &fixed)?;
                        self.found.rescued_items += u64::from(fixed.items);
                    }
                    if fixed.first < synced || rescue.is_in_place() {
                        point.pass(fixed.addressee, u64::from(fixed.items));
                        tail.offset = walker.place.offset;
                    }
                }
                Step::Gap { from, to, next } => {
                    if from.position >= synced {
                        walker.place = before;
                        break;
                    }
                    let end = to.position.min(synced);
                    self.damage(segment, &mut point, (from, to), end, next && to.position <= synced);
                    tail.kept = true;
                    if !next || to.position > synced {
                        break;
                    }
                }
                Step::End => break,
            }
        }
        if !tail.kept {
            self.found.torn_bytes = torn_bytes(&mut walker, &bound)?;
        }
        tail.durable = point;
        tail.rescued = rescue.finish(self)?;
        Ok(tail)
    }

    /// Counts a damaged stretch that ends at `end`, and keeps its bytes.
    fn damage(&mut self, segment: &Segment, point: &mut Point, (from, to): (Place, Place), end: u64, marked: bool) {
        let first = point.position;
        self.found.damaged_items += end - first;
        if marked {
            let common = to.common.saturating_sub(from.common);
            self.floor.charge(point, (end - first).saturating_sub(common));
            point.pass_damage(end, common);
        } else if end == self.floor.position {
            self.floor.raise(point);
        } else {
            point.pass_damage(end, end - first);
        }
        let bytes = from.offset..to.offset;
        match keep_damaged(&*self.disk, &self.dir, &*segment.file, bytes, &(first..end)) {
            Ok(None) => {}
            Ok(Some(path)) => {
                tracing::error!(first, end, kept = %path.display(), "positions at the log's end are damaged");
                self.found.damaged_path = Some(path);
            }
            // The segment's file stays as it is: a full disk is no reason not to start.
            Err(error) => tracing::error!(first, end, %error, "positions at the log's end are damaged, and not copied"),
        }
    }

    /// Puts what was rescued in the place of the last segment's end, and seals what is below.
    fn replace_tail(
        &mut self,
        tail: &Tail,
        segment: &Arc<Segment>,
        len: u64,
        table: &mut BTreeMap<u64, Entry>,
    ) -> io::Result<Option<(Arc<Segment>, u64, u64)>> {
        let (first, end) = (segment.first(), tail.durable.position);
        let mut adopted = None;
        if let Some((point, written)) = &tail.rescued {
            let path = segment_path(&self.dir, end);
            self.disk.rename(&self.dir.join(COPY_NAME), &path)?;
            self.disk.sync_dir(&self.dir)?;
            let fresh = Segment::open(&*self.disk, &path, &self.id).map_err(|e| e.into_io(&path))?;
            let file = self.disk.open(&path, Open::Write)?;
            let fresh = Arc::new(Segment { file, ..fresh });
            let bound = Bound::new(point.position, *written);
            table.insert(end, Entry { bound, used: *written, open: Arc::downgrade(&fresh) });
            let len = fresh.file.len()?;
            adopted = Some((fresh, *written, len));
        }
        if end > first {
            let mut used = len;
            if !tail.kept {
                // Gives back the blocks that were never used; below S nothing changes.
                self.disk.open(&segment_path(&self.dir, first), Open::Write)?.set_len(tail.offset)?;
                used = tail.offset;
            }
            let bound = Bound::new(end, used);
            table.insert(first, Entry { bound, used, open: Weak::new() });
        }
        Ok(adopted)
    }
}

fn row_state(row: Row) -> DrainRow {
    let low = row.cursor.as_ref().map_or(0, |c| c.low);
    let mut saved_lows = [row.older_low; 2];
    saved_lows[(row.generation % 2) as usize] = low;
    DrainRow { generation: row.generation, cursor: row.cursor, saved_lows, ..DrainRow::blank() }
}

/// The greatest synced position that a valid frame carries.
pub fn greatest_mark(segment: &Arc<Segment>, bound: &Bound) -> io::Result<u64> {
    let mut walker = Walker::from_start(segment.clone());
    let mut synced = segment.first();
    loop {
        match walker.step(bound)? {
            Step::Frame { fixed, .. } => synced = synced.max(fixed.synced),
            Step::Gap { next: true, .. } => {}
            Step::Gap { .. } | Step::End => return Ok(synced),
        }
    }
}

/// Bytes behind the last frame that are not zero, up to the last such one.
pub fn torn_bytes(walker: &mut Walker, bound: &Bound) -> io::Result<u64> {
    let start = walker.place.offset;
    let (mut at, mut end) = (start, start);
    while at < bound.offset {
        let chunk = walker.bytes(at, PIECE, bound)?;
        if chunk.is_empty() {
            break;
        }
        if !is_zero(chunk)
            && let Some(last) = chunk.iter().rposition(|&b| b != 0)
        {
            end = at + last as u64 + 1;
        }
        at += chunk.len() as u64;
    }
    Ok(end - start)
}
