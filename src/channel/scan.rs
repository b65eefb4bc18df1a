//! A second reading of a stretch: an archive carrying out its plan, or starting after a crash.
//!
//! Frames come whether settled or not; those of other drains are passed over. Damage met is
//! settled as such and told once. Memory does not grow with the stretch.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use super::reader::{At, Event, Reader};
use super::tap::{Attachment, admit, lose};
use super::{Head, ReadError};
use crate::tasks;

type Job = Pin<Box<dyn Future<Output = (Reader, std::io::Result<(Vec<Event>, Option<At>)>)> + Send + Sync>>;

/// A second reading of a stretch.
pub struct Scan {
    ours: Arc<Attachment>,
    positions: Range<u64>,
    ready: VecDeque<Result<Arc<Head>, ReadError>>,
    position: u64,
    at: Option<At>,
    reader: Option<Reader>,
    job: Option<Job>,
}

impl Scan {
    pub(super) fn new(ours: Arc<Attachment>, positions: Range<u64>) -> Scan {
        let reader = Some(Reader::new(ours.shared.clone(), ours.bodies.clone()));
        let position = positions.start;
        Scan { ours, positions, ready: VecDeque::new(), position, at: None, reader, job: None }
    }

    /// The next frame and those of its items that lie in the stretch. `None`: the stretch, or
    /// what of it is durable, is read. `Damaged` is told once; the next call goes on behind it.
    pub async fn next(&mut self) -> Result<Option<(Arc<Head>, Range<u32>)>, ReadError> {
        loop {
            if let Some(job) = &mut self.job {
                let (reader, found) = job.await;
                (self.job, self.reader) = (None, Some(reader));
                let (events, at) = found?;
                if events.is_empty() {
                    return Ok(None);
                }
                self.take_in(events, at);
            }
            while let Some(found) = self.ready.pop_front() {
                let head = found?;
                let (first, end) = (head.at.first, head.at.first + u64::from(head.at.items));
                let inside = first.max(self.positions.start)..end.min(self.positions.end);
                if !inside.is_empty() {
                    return Ok(Some((head, (inside.start - first) as u32..(inside.end - first) as u32)));
                }
            }
            if self.position >= self.positions.end {
                return Ok(None);
            }
            let mut reader = self.reader.take().expect("one job at a time");
            let (position, at) = (self.position, self.at);
            self.job = Some(Box::pin(tasks::blocking(move || {
                let found = reader.read(position, at);
                (reader, found)
            })));
        }
    }

    fn take_in(&mut self, events: Vec<Event>, at: Option<At>) {
        let ours = self.ours.clone();
        let mut state = ours.shared.state();
        let cursor = state.cursor(ours.row);
        for event in events {
            if self.position >= self.positions.end {
                break;
            }
            match event {
                Event::Frame { head, addressee } => {
                    self.position = head.at.first + u64::from(head.at.items);
                    self.ready.extend(admit(cursor, head, addressee).map(Ok));
                }
                Event::Lost { positions, common } => {
                    self.position = positions.end;
                    let (first, end) = (positions.start, positions.end);
                    lose(cursor, positions, common);
                    self.ready.push_back(Err(ReadError::Damaged { first, end }));
                }
                Event::Begins { segment } => {
                    let (first, end) = (self.position, segment.first());
                    self.position = end;
                    cursor.lose_before(&segment.start);
                    self.ready.push_back(Err(ReadError::Damaged { first, end }));
                }
            }
        }
        self.at = at.filter(|at| at.place.position == self.position);
        ours.touched(state);
    }
}
