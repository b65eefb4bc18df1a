//! A walk over every segment: frames counted for each drain, damage as it is met.
//!
//! The last segment is judged as recovery judges it: below what frames and slots vouch for, what is
//! no frame is damage; above, it is the end.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::files::Standing;
use super::{Depth, Drain, Finding, RowState, SegmentFile, Survey};
use crate::channel::aside::{self, Gone};
use crate::channel::frame::Fixed;
use crate::channel::identity;
use crate::channel::recovery::{Floor, greatest_mark, torn_bytes};
use crate::channel::segment::{Bound, Place, Point, Segment, Step, Walker};
use crate::channel::slots::FILE_BYTES;
use crate::channel::{Head, Takes};
use crate::disk::{Disk, Open};

/// Walks all segments.
pub(super) fn walk(survey: &mut Survey, disk: &Arc<dyn Disk>, depth: Depth) -> io::Result<()> {
    let mut segments = std::mem::take(&mut survey.segments);
    // By first position, those that are the channel's; each with the point at which it begins, if that can be read.
    let chain: Vec<(u64, Option<Point>)> =
        segments.iter().filter(|s| is_ours(s)).map(|s| (s.first, readable(s).map(|o| o.start.clone()))).collect();
    survey.oldest = chain.iter().find_map(|(_, start)| start.clone());
    let floor = Floor::told_by(survey.drains.iter().filter_map(|d| Some((d.cursor.as_ref()?.id, d.durable))));
    let mut end = survey.oldest.clone().unwrap_or_default();
    for segment in &mut segments {
        if let Some(finding) = not_ours(segment) {
            survey.findings.push(finding);
            continue;
        }
        let behind = chain.iter().find(|(first, _)| *first > segment.first);
        let (next, next_start) = (behind.map(|(first, _)| *first), behind.and_then(|(_, start)| start.clone()));
        if readable(segment).is_none() {
            pass_over(survey, &**disk, segment, (next, next_start.as_ref()), (&floor, &mut end))?;
            continue;
        }
        let file = match disk.open(&segment.path, Open::Read) {
            // Removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let opening = readable(segment).expect("it was just looked at");
        let opened = Arc::new(Segment { start: opening.start.clone(), salt: opening.salt, file });
        let bound = Bound::new(next.unwrap_or(u64::MAX), segment.bytes);
        let synced = match next {
            Some(_) => u64::MAX,
            None => floor.position.max(greatest_mark(&opened, &bound)?),
        };
        let walker = Walker::from_start(opened.clone());
        let mut walk = Walk {
            survey,
            floor: &floor,
            depth,
            walker,
            bound,
            synced,
            point: opened.start.clone(),
            sound: true,
            gapped: false,
            segment,
        };
        walk.run(next_start.as_ref())?;
        end = walk.point;
    }
    survey.segments = segments;
    if floor.position > end.position {
        let lost = survey.lost(end.position..floor.position, None, None);
        let finding = Finding::damage(&survey.dir, "the cursors know of positions behind the log's end");
        survey.damaged += floor.position - end.position;
        survey.findings.push(finding.positions(end.position..floor.position).losing(lost, survey.cursors_lost()));
        floor.raise(&mut end);
    }
    survey.end = end;
    Ok(())
}

fn readable(segment: &SegmentFile) -> Option<&crate::channel::segment::Opening> {
    segment.opening.as_ref().filter(|_| segment.standing == Standing::Readable)
}

fn is_ours(segment: &SegmentFile) -> bool {
    matches!(segment.standing, Standing::Readable | Standing::HeadUnreadable | Standing::SetAside)
}

/// What a file that is not the channel's is, if it is none.
fn not_ours(segment: &SegmentFile) -> Option<Finding> {
    let finding = match segment.standing {
        Standing::Version { major, minor } => Finding::version(&segment.path, major, minor),
        Standing::Foreign(id) => {
            let what = format!("is of the channel {}", identity::text(&id));
            Finding::damage(&segment.path, what).means("the start refuses; its spans are not this channel's")
        }
        Standing::Readable | Standing::HeadUnreadable | Standing::SetAside => return None,
    };
    Some(finding.refusing())
}

/// A segment that cannot be read: its positions are missing.
fn pass_over(
    survey: &mut Survey,
    disk: &dyn Disk,
    segment: &mut SegmentFile,
    (next, next_start): (Option<u64>, Option<&Point>),
    (floor, end): (&Floor, &mut Point),
) -> io::Result<()> {
    segment.end = match next {
        Some(next) => next,
        None => {
            let (first, path, bytes) = (segment.first, segment.path.clone(), segment.bytes);
            aside::plausible_end(disk, &Gone { first, path, bytes })?
        }
    };
    let before = end.clone();
    match next_start {
        Some(start) => *end = start.clone(),
        None => {
            survey.torn = true;
            floor.raise(end);
            end.pass_damage(segment.end, u64::MAX);
        }
    }
    let finding = Finding::damage(&segment.path, "the segment's head is unreadable").at(0);
    let means = match segment.standing {
        Standing::SetAside => "it was set aside",
        _ => "the next start moves it to damaged/",
    };
    if end.position <= before.position {
        // The log begins behind it: whoever waits for something of it is told of that.
        survey.findings.push(finding.positions(segment.first..segment.end).means(means));
        return Ok(());
    }
    let positions = before.position..end.position;
    let lost = survey.lost(positions.clone(), Some(end.common.saturating_sub(before.common)), None);
    segment.damaged = positions.end - positions.start;
    survey.damaged += segment.damaged;
    survey.findings.push(finding.positions(positions).means(means).losing(lost, survey.cursors_lost()));
    Ok(())
}

impl Survey {
    /// Whether some drain's place is not known.
    fn cursors_lost(&self) -> bool {
        let lost = |drain: &Drain| matches!(drain.state, RowState::Unreadable | RowState::Foreign);
        self.cursors.as_ref().is_none_or(|raw| raw.len() < FILE_BYTES) || self.drains.iter().any(lost)
    }

    /// What each drain waits for in vain of positions that cannot be read. Of a stretch, `common` were for all; of a
    /// frame, its addressee is known.
    fn lost(&self, positions: Range<u64>, common: Option<u64>, addressee: Option<u64>) -> Vec<(String, u64)> {
        let len = positions.end.saturating_sub(positions.start);
        let lost = |drain: &Drain| {
            let cursor = drain.cursor.as_ref()?;
            let open: u64 = cursor.open(positions.clone()).iter().map(|range| range.end - range.start).sum();
            let spans = match (addressee, common, cursor.takes) {
                (Some(0), _, Takes::Common) => open,
                (Some(id), _, _) if id == cursor.id => open,
                (Some(_), _, _) => 0,
                (None, common, Takes::Common) => open.min(common.unwrap_or(u64::MAX)),
                (None, common, Takes::Addressed) => open.min(len.saturating_sub(common.unwrap_or(len))),
            };
            (spans > 0).then(|| (drain.name.clone(), spans))
        };
        self.drains.iter().filter_map(lost).collect()
    }

    /// Counts a whole frame for each drain that has something of it open.
    fn count(&mut self, head: &Head, fixed: &Fixed) {
        for drain in &mut self.drains {
            let Some(cursor) = &drain.cursor else { continue };
            if fixed.addressee != cursor.id && !(fixed.addressee == 0 && cursor.takes == Takes::Common) {
                continue;
            }
            let open: u64 = cursor.open(fixed.first..fixed.end()).iter().map(|range| range.end - range.start).sum();
            drain.open += open;
            if open > 0 {
                drain.oldest_us = drain.oldest_us.or(Some(head.received_us));
            }
        }
    }
}

/// The walk over one segment.
struct Walk<'a> {
    survey: &'a mut Survey,
    floor: &'a Floor,
    segment: &'a mut SegmentFile,
    depth: Depth,
    walker: Walker,
    bound: Bound,
    /// What is no frame below it is damage.
    synced: u64,
    point: Point,
    /// The totals go on as they should, so far.
    sound: bool,
    /// A stretch of it is no frame.
    gapped: bool,
}

impl Walk<'_> {
    fn run(&mut self, next: Option<&Point>) -> io::Result<()> {
        let bound = self.bound;
        loop {
            let before = self.walker.place;
            match self.walker.step(&bound)? {
                Step::Frame { head, fixed } => {
                    if !self.frame(before, &head, &fixed)? {
                        break;
                    }
                }
                Step::Gap { from, to, next: more } => {
                    if from.position >= self.synced {
                        self.walker.place = before;
                        break;
                    }
                    let to_end = if more { to.position } else { bound.position };
                    self.gap(from, to, to_end.min(self.synced), more, next);
                    if !more || to.position > self.synced {
                        break;
                    }
                }
                Step::End => break,
            }
        }
        self.segment.end = self.point.position;
        match next {
            Some(next) if self.sound && *next != self.point => {
                self.totals(self.walker.place.offset, self.point.position)
            }
            None if bound.position == u64::MAX => self.tail()?,
            _ => {}
        }
        Ok(())
    }

    /// Whether the frame belongs to the log.
    fn frame(&mut self, before: Place, head: &Head, fixed: &Fixed) -> io::Result<bool> {
        let (offset, bound) = (u64::from(head.at.offset), self.bound);
        let unvouched = fixed.first >= self.synced;
        let whole = match unvouched || self.depth == Depth::Whole {
            true => self.walker.body_fits(offset, fixed, &bound)?,
            false => true,
        };
        if unvouched && !whole {
            self.walker.place = before;
            return Ok(false);
        }
        if self.sound && before.common != fixed.common {
            self.totals(offset, fixed.first);
        }
        self.point.pass(fixed.addressee, u64::from(fixed.items));
        if !whole {
            self.body(offset, fixed, "the CRC of the frame's body does not fit");
            return Ok(true);
        }
        let lengths: u64 = head.items.iter().map(|item| u64::from(item.len)).sum();
        if lengths != fixed.body_len as u64 {
            self.body(offset, fixed, "the items of the frame do not add up to its body");
            return Ok(true);
        }
        self.segment.frames += 1;
        self.segment.items += u64::from(fixed.items);
        let us = head.received_us;
        self.segment.received_us = Some(self.segment.received_us.map_or((us, us), |(a, b)| (a.min(us), b.max(us))));
        self.survey.count(head, fixed);
        Ok(true)
    }

    fn body(&mut self, offset: u64, fixed: &Fixed, what: &str) {
        let positions = fixed.first..fixed.end();
        let lost = self.survey.lost(positions.clone(), None, Some(fixed.addressee));
        self.broken(positions, offset, what, lost);
    }

    /// As recovery counts it: what a frame or a segment behind the stretch tells, else what the cursors do.
    fn gap(&mut self, from: Place, to: Place, end: u64, more: bool, next: Option<&Point>) {
        let (positions, before) = (from.position..end, self.point.common);
        match (more && to.position <= self.synced, next) {
            (true, _) => self.point.pass_damage(end, to.common.saturating_sub(from.common)),
            (false, Some(next)) => self.point.pass_damage(end, next.common.saturating_sub(from.common)),
            (false, None) if end == self.floor.position => self.floor.raise(&mut self.point),
            (false, None) => self.point.pass_damage(end, end - from.position),
        }
        let common = self.point.common - before;
        let lost = self.survey.lost(positions.clone(), Some(common), None);
        let what = match more {
            true => format!("{} bytes are no frame", to.offset - from.offset),
            false => "there is no frame where the segment has more positions".to_owned(),
        };
        self.broken(positions, from.offset, &what, lost);
        (self.sound, self.gapped) = (false, true);
    }

    fn broken(&mut self, positions: Range<u64>, offset: u64, what: &str, lost: Vec<(String, u64)>) {
        self.segment.damaged += positions.end - positions.start;
        self.survey.damaged += positions.end - positions.start;
        let finding = Finding::damage(&self.segment.path, what)
            .at(offset)
            .positions(positions)
            .losing(lost, self.survey.cursors_lost());
        self.survey.findings.push(finding);
    }

    fn totals(&mut self, offset: u64, position: u64) {
        let finding = Finding::damage(&self.segment.path, "the running totals do not go on as they ended").at(offset);
        let means = "no span is lost by it; the ledgers may be wrong by the difference";
        self.survey.findings.push(finding.positions(position..position).means(means));
        self.sound = false;
    }

    /// What lies behind the last frame of the log.
    fn tail(&mut self) -> io::Result<()> {
        let (offset, bound) = (self.walker.place.offset, self.bound);
        if self.gapped {
            self.survey.torn = true;
            return Ok(());
        }
        let torn = torn_bytes(&mut self.walker, &bound)?;
        if torn > 0 {
            self.survey.torn = true;
            let what = format!("{torn} bytes behind the last frame are no frame");
            let finding =
                Finding::note(&self.segment.path, what).at(offset).positions(self.point.position..self.point.position);
            let means = "a message that was never answered, or that is being written; the next start cuts it";
            self.survey.findings.push(finding.means(means));
        }
        Ok(())
    }
}
