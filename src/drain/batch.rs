//! Batches: stretches of frames that go to a sink in one request.
//!
//! A batch holds frame heads and item ranges, no bytes: those are read when it is sent, so that
//! a backlog that waits for a collector costs no memory. [`Builder`] cuts what the tap gives.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::BatchSettings;
use crate::channel::{Head, Ledger, ReadError, Taken};
use crate::sink::Load;

/// Closed batches that wait for a sink with room. Two hide the time it takes to cut the next.
const READY_MAX: usize = 2;
/// Stretches of a batch. Each keeps a frame's head, a kilobyte or so: tracers that send span by span would make every
/// batch that waits hold megabytes, and a group of many collectors has many that wait.
const STRETCHES_MAX: usize = 1024;
/// Gateways named by a load. A longer way is a loop that its members will find.
const VIA_MAX: usize = 8;

/// Consecutive items of one frame.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub head: Arc<Head>,
    /// Indexes into the head's items; never empty.
    pub items: Range<u32>,
}

impl Stretch {
    pub fn len(&self) -> u32 {
        self.items.end - self.items.start
    }

    pub fn positions(&self) -> Range<u64> {
        let first = self.head.at.first;
        first + u64::from(self.items.start)..first + u64::from(self.items.end)
    }

    /// Bytes of the items in the frame's body.
    pub fn bytes(&self) -> usize {
        self.body_bytes(self.items.clone())
    }

    /// The items' part of the frame's body.
    pub fn slice(&self, body: &Bytes) -> Bytes {
        let start = self.body_bytes(0..self.items.start);
        body.slice(start..start + self.bytes())
    }

    fn body_bytes(&self, items: Range<u32>) -> usize {
        self.head.items[items.start as usize..items.end as usize].iter().map(|i| i.len as usize).sum()
    }

    fn part(&self, items: Range<u32>) -> Stretch {
        Stretch { head: self.head.clone(), items }
    }
}

/// What goes to a sink in one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    pub stretches: Vec<Stretch>,
    pub spans: u32,
    pub bytes: usize,
    /// An earlier try may have been taken: the next one may repeat these spans.
    pub maybe_taken: bool,
    /// The last try ended with a kept connection closing; twice in a row is a failure.
    pub again: bool,
}

impl Batch {
    pub fn of(stretches: Vec<Stretch>) -> Batch {
        let spans = stretches.iter().map(Stretch::len).sum();
        let bytes = stretches.iter().map(Stretch::bytes).sum();
        Batch { stretches, spans, bytes, maybe_taken: false, again: false }
    }

    /// The first position: older batches go first.
    pub fn first(&self) -> u64 {
        self.stretches.first().map_or(u64::MAX, |s| s.positions().start)
    }

    /// The positions in ascending ranges, as few as there can be.
    pub fn positions(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for positions in self.stretches.iter().map(Stretch::positions) {
            match ranges.last_mut() {
                Some(last) if last.end == positions.start => last.end = positions.end,
                _ => ranges.push(positions),
            }
        }
        ranges
    }

    /// Two batches of half the spans each, in order; `None` for a single span.
    pub fn halves(&self) -> Option<(Batch, Batch)> {
        if self.spans < 2 {
            return None;
        }
        let mut left = self.spans / 2;
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for stretch in &self.stretches {
            let cut = stretch.items.start + left.min(stretch.len());
            left -= cut - stretch.items.start;
            if cut > stretch.items.start {
                first.push(stretch.part(stretch.items.start..cut));
            }
            if cut < stretch.items.end {
                second.push(stretch.part(cut..stretch.items.end));
            }
        }
        let half = |stretches| Batch { maybe_taken: self.maybe_taken, ..Batch::of(stretches) };
        Some((half(first), half(second)))
    }

    /// Takes out what lies before a position.
    pub fn take_before(&mut self, position: u64) -> Vec<Stretch> {
        if self.first() >= position {
            return Vec::new();
        }
        let (mut before, mut rest) = (Vec::new(), Vec::new());
        for stretch in std::mem::take(&mut self.stretches) {
            let Range { start, end } = stretch.positions();
            let cut = stretch.items.start + (position.clamp(start, end) - start) as u32;
            let (first, second) = (stretch.items.start..cut, cut..stretch.items.end);
            before.extend((!first.is_empty()).then(|| stretch.part(first)));
            rest.extend((!second.is_empty()).then(|| stretch.part(second)));
        }
        let Batch { stretches, spans, bytes, .. } = Batch::of(rest);
        (self.stretches, self.spans, self.bytes) = (stretches, spans, bytes);
        before
    }

    fn push(&mut self, stretch: Stretch, bytes: usize) {
        self.spans += stretch.len();
        self.bytes += bytes;
        self.stretches.push(stretch);
    }

    /// The batch as a sink is given it.
    pub fn load(&self, pieces: Vec<Bytes>) -> Load {
        let mut via: Vec<String> = Vec::new();
        let named = self.stretches.iter().flat_map(|s| &s.head.origin.0).filter(|(key, _)| key == "via");
        for (_, gateway) in named {
            if via.len() < VIA_MAX && !via.contains(gateway) {
                via.push(gateway.clone());
            }
        }
        Load { pieces, spans: self.spans, bytes: self.bytes, via }
    }
}

/// Reads the bytes of `stretches`, each frame once where its stretches follow each other. An error comes with the
/// index of the stretch that could not be read.
pub(super) async fn read(ledger: &Ledger, stretches: &[Stretch]) -> Result<Vec<Bytes>, (usize, ReadError)> {
    let mut pieces = Vec::with_capacity(stretches.len());
    let mut last: Option<(u64, Bytes)> = None;
    for (index, stretch) in stretches.iter().enumerate() {
        let frame = stretch.head.at.first;
        let body = match last.take() {
            Some((first, body)) if first == frame => body,
            _ => ledger.body(&stretch.head).await.map_err(|e| (index, e))?,
        };
        pieces.push(stretch.slice(&body));
        last = Some((frame, body));
    }
    Ok(pieces)
}

/// Cuts taken frames into batches.
#[derive(Debug)]
pub(super) struct Builder {
    settings: BatchSettings,
    open: Batch,
    /// When the first span of the open batch came.
    since: Option<Instant>,
    ready: VecDeque<Batch>,
}

impl Builder {
    pub fn new(settings: BatchSettings) -> Self {
        Builder { settings, open: Batch::default(), since: None, ready: VecDeque::new() }
    }

    /// Whether another frame may be pushed. A frame makes at most as many batches as it has spans.
    pub fn has_room(&self) -> bool {
        self.ready.len() < READY_MAX
    }

    pub fn push(&mut self, taken: &Taken, now: Instant) {
        for range in &taken.open {
            self.push_stretch(&taken.head, range.clone(), now);
        }
    }

    /// Whether [`pop`](Self::pop) would give one.
    pub fn has_batch(&self, now: Instant) -> bool {
        !self.ready.is_empty() || self.due().is_some_and(|due| due <= now)
    }

    /// The oldest closed batch; the open one where its linger is over.
    pub fn pop(&mut self, now: Instant) -> Option<Batch> {
        if self.ready.is_empty() && self.has_batch(now) {
            self.close();
        }
        self.ready.pop_front()
    }

    /// Takes out of all that was pushed and not popped what lies before a position.
    pub fn take_before(&mut self, position: u64) -> Vec<Stretch> {
        let batches = self.ready.iter_mut().chain([&mut self.open]);
        let before = batches.flat_map(|batch| batch.take_before(position)).collect();
        self.ready.retain(|batch| batch.spans > 0);
        if self.open.spans == 0 {
            self.since = None;
        }
        before
    }

    /// When the open batch will close by its linger.
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + self.settings.linger)
    }

    /// Stretches in all that was pushed and not popped.
    #[cfg(test)]
    pub fn stretches(&self) -> usize {
        self.ready.iter().chain([&self.open]).map(|batch| batch.stretches.len()).sum()
    }

    fn push_stretch(&mut self, head: &Arc<Head>, range: Range<u32>, now: Instant) {
        let mut start = range.start;
        let mut bytes = 0;
        for index in range.clone() {
            let len = head.items[index as usize].len as usize;
            let spans = self.open.spans + (index - start);
            let too_long = spans > 0 && self.open.bytes + bytes + len > self.settings.bytes;
            if too_long || spans >= self.settings.spans {
                self.take(head, start..index, bytes, now);
                self.close();
                (start, bytes) = (index, 0);
            }
            bytes += len;
        }
        self.take(head, start..range.end, bytes, now);
        let Batch { stretches, spans, bytes, .. } = &self.open;
        if *spans >= self.settings.spans || *bytes >= self.settings.bytes || stretches.len() >= STRETCHES_MAX {
            self.close();
        }
    }

    fn take(&mut self, head: &Arc<Head>, items: Range<u32>, bytes: usize, now: Instant) {
        if !items.is_empty() {
            self.since.get_or_insert(now);
            self.open.push(Stretch { head: head.clone(), items }, bytes);
        }
    }

    fn close(&mut self) {
        self.since = None;
        let batch = std::mem::take(&mut self.open);
        if batch.spans > 0 {
            self.ready.push_back(batch);
        }
    }
}

#[cfg(test)]
mod tests;
