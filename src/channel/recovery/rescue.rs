//! Frames that the last process wrote and that nothing vouches for: on disk, or in the page cache alone.
//!
//! Whichever it is, they are made durable before anything is read from them, and never by syncing again what is clean:
//! they are copied into a new segment, or, on a disk that has no room for one, written again over themselves.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::Recovery;
use crate::channel::frame::{self, Fixed, Marks};
use crate::channel::log::{random_u64, segment_bytes};
use crate::channel::segment::{HEAD_BYTES, Point, Segment};
use crate::disk::{File, Open, is_no_space};

/// Frames copied into the new segment at a time.
const COPY_BYTES: usize = 1024 * 1024;
pub(super) const COPY_NAME: &str = "recovered.tmp";

/// What becomes of frames that may live in the page cache only.
pub(super) enum Rescue {
    /// They go into a new segment, written aside: what is durable is never written over.
    Copied(Option<Copier>),
    /// They are written over themselves, in this file.
    Again(Arc<dyn File>),
}

impl Rescue {
    pub(super) fn is_in_place(&self) -> bool {
        matches!(self, Rescue::Again(_))
    }

    /// A frame at `offset`, whole. What is copied begins at `start`, in a file of `len` bytes if there is room.
    pub(super) fn take(
        &mut self,
        recovery: &Recovery,
        (start, len): (&Point, u64),
        raw: &[u8],
        offset: u64,
        fixed: &Fixed,
    ) -> io::Result<()> {
        match self {
            Rescue::Again(file) => file.write_at(&[IoSlice::new(raw)], offset),
            Rescue::Copied(Some(copier)) => copier.add(raw, fixed),
            Rescue::Copied(none) => none.insert(Copier::begin(recovery, start.clone(), len)?).add(raw, fixed),
        }
    }

    /// Makes them durable. Of a copy, its end and length.
    pub(super) fn finish(self, recovery: &Recovery) -> io::Result<Option<(Point, u64)>> {
        match self {
            Rescue::Again(file) => file.sync_data().map(|()| None),
            Rescue::Copied(copier) => copier.map(|copier| copier.finish(recovery)).transpose(),
        }
    }
}

/// Writes frames into a new segment, aside.
pub(super) struct Copier {
    segment: Segment,
    point: Point,
    offset: u64,
    buf: Vec<u8>,
}

impl Copier {
    fn begin(recovery: &Recovery, start: Point, len: u64) -> io::Result<Copier> {
        let file = recovery.disk.open(&recovery.dir.join(COPY_NAME), Open::Truncate)?;
        match file.allocate(len.max(segment_bytes(recovery.settings.capacity_bytes))) {
            // The frames alone may still fit.
            Err(error) if is_no_space(&error) => {}
            other => other?,
        }
        let salt = random_u64()?;
        let segment = Segment::begin(file, start.clone(), &recovery.id, recovery.clock.now_us(), salt)?;
        Ok(Copier { segment, point: start, offset: HEAD_BYTES, buf: Vec::new() })
    }

    fn add(&mut self, raw: &[u8], fixed: &Fixed) -> io::Result<()> {
        let start = self.buf.len();
        self.buf.extend_from_slice(raw);
        let head = &mut self.buf[start..start + fixed.head_len()];
        let marks = Marks { first: fixed.first, synced: self.segment.first(), common: self.point.common };
        frame::seal(head, marks, self.segment.salt);
        self.buf.resize(frame::padded(self.buf.len() as u64) as usize, 0);
        self.point.pass(fixed.addressee, u64::from(fixed.items));
        if self.buf.len() >= COPY_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.segment.file.write_at(&[IoSlice::new(&self.buf)], self.offset)?;
        self.offset += self.buf.len() as u64;
        self.buf.clear();
        Ok(())
    }

    /// Syncs the copy; its end and length.
    fn finish(mut self, recovery: &Recovery) -> io::Result<(Point, u64)> {
        self.flush()?;
        self.segment.file.sync_all()?;
        tracing::info!(
            first = self.segment.first(),
            items = recovery.found.rescued_items,
            "frames that the last process had not synced are kept"
        );
        Ok((self.point, self.offset))
    }
}
