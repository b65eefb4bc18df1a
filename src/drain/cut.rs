//! What was taken and waits to be cut into batches.
//!
//! A batch is cut when a sink takes it, to that sink's measure: what waits while no sink has room
//! makes larger batches, a probe a small one. Under `by_trace` each sink has a lane of its own;
//! else all share one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use tokio::time::Instant;

use super::BatchSettings;
use super::batch::{Batch, Stretch};
use super::group::SinkId;
use crate::channel::{Head, Taken};

/// Batches that wait for a sink with room. Two hide the time it takes to cut the next.
const READY_MAX: u32 = 2;
/// Frames that a batch is cut from. Each keeps its head, a kilobyte or so: tracers that send span by span would make
/// every batch that waits hold megabytes, and a group of many collectors has many that wait.
const HEADS_MAX: usize = 1024;
/// Frame heads that wait to be cut, however many lanes there are.
const HEADS_WAITING_MAX: usize = 16 * HEADS_MAX;

/// Of which sink the spans are; `None` for any.
pub(super) type Lane = Option<SinkId>;

/// What waits to be cut.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    lanes: BTreeMap<Lane, Queue>,
}

/// Spans in the order in which they came.
#[derive(Debug, Default)]
struct Queue {
    pending: VecDeque<Pending>,
    spans: u32,
    bytes: usize,
    /// Frames, counted once each time that they come.
    heads: usize,
}

#[derive(Debug)]
struct Pending {
    stretch: Stretch,
    since: Instant,
}

impl Cutter {
    /// Whether another frame may be pushed: beside two batches of the `largest` measure for each of `lanes`.
    pub fn has_room(&self, largest: &BatchSettings, lanes: usize) -> bool {
        let lanes_u32 = u32::try_from(lanes).unwrap_or(u32::MAX).max(1);
        let sum = |of: fn(&Queue) -> usize| self.lanes.values().map(of).sum::<usize>();
        let spans_max = largest.spans.saturating_mul(READY_MAX).saturating_mul(lanes_u32);
        let bytes_max = largest.bytes.saturating_mul((READY_MAX * lanes_u32) as usize);
        let heads_max = (HEADS_MAX * READY_MAX as usize).saturating_mul(lanes.max(1)).min(HEADS_WAITING_MAX);
        sum(|q| q.spans as usize) < spans_max as usize && sum(|q| q.bytes) < bytes_max && sum(|q| q.heads) < heads_max
    }

    /// Takes in what of a frame is open, for any sink.
    pub fn push(&mut self, taken: &Taken, now: Instant) {
        let queue = self.lanes.entry(None).or_default();
        for range in &taken.open {
            queue.push(&taken.head, range.clone(), now);
        }
    }

    /// Takes in what of a frame is open, each trace for the sink that `route` gives. It is told how many spans wait
    /// for a sink.
    pub fn push_routed(
        &mut self,
        taken: &Taken,
        now: Instant,
        route: impl Fn(u64, &dyn Fn(SinkId) -> u32) -> Option<SinkId>,
    ) {
        for range in &taken.open {
            self.route(&Stretch { head: taken.head.clone(), items: range.clone() }, now, &route);
        }
    }

    /// Gives what waits for sinks that `keeps` denies to those that `route` gives.
    pub fn reroute(
        &mut self,
        keeps: impl Fn(SinkId) -> bool,
        route: impl Fn(u64, &dyn Fn(SinkId) -> u32) -> Option<SinkId>,
    ) {
        let shut: Vec<Lane> = self.lanes.keys().copied().filter(|lane| !lane.is_some_and(&keeps)).collect();
        let queues: Vec<Queue> = shut.into_iter().filter_map(|lane| self.lanes.remove(&lane)).collect();
        for Pending { stretch, since } in queues.into_iter().flat_map(|queue| queue.pending) {
            self.route(&stretch, since, &route);
        }
    }

    fn route(
        &mut self,
        stretch: &Stretch,
        since: Instant,
        route: &impl Fn(u64, &dyn Fn(SinkId) -> u32) -> Option<SinkId>,
    ) {
        for (index, trace) in stretch.keys() {
            let lane = route(trace, &|sink| self.lanes.get(&Some(sink)).map_or(0, |queue| queue.spans));
            self.lanes.entry(lane).or_default().push(&stretch.head, index..index + 1, since);
        }
    }

    /// The span that a lane's next batch begins with.
    pub fn first(&self, lane: Lane) -> Option<&Stretch> {
        self.lanes.get(&lane)?.pending.front().map(|pending| &pending.stretch)
    }

    /// From when on a batch can be cut from a lane: at once where there is a whole one, else when its first span has
    /// lingered. `None` while it is empty.
    pub fn ready(&self, lane: Lane, limits: &BatchSettings) -> Option<Instant> {
        let queue = self.lanes.get(&lane)?;
        let since = queue.pending.front()?.since;
        let whole = queue.spans >= limits.spans || queue.bytes >= limits.bytes || queue.heads >= HEADS_MAX;
        Some(if whole { since } else { since + limits.linger })
    }

    /// The lanes there are, empty or not.
    pub fn lanes(&self) -> impl Iterator<Item = Lane> {
        self.lanes.keys().copied()
    }

    /// A batch of the first spans of a lane, within the limits; a single span may be larger.
    pub fn cut(&mut self, lane: Lane, limits: &BatchSettings) -> Batch {
        let batch = self.lanes.get_mut(&lane).map_or_else(Batch::default, |queue| queue.cut(limits));
        Batch { lane, ..batch }
    }

    /// Takes out of all that was pushed and not cut what lies before a position.
    pub fn take_before(&mut self, position: u64) -> Vec<Stretch> {
        self.lanes.values_mut().flat_map(|queue| queue.take_before(position)).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.lanes.values().all(|queue| queue.pending.is_empty())
    }

    /// Frames in all that was pushed and not cut.
    #[cfg(test)]
    pub fn heads(&self) -> usize {
        self.lanes.values().map(|queue| queue.heads).sum()
    }
}

impl Queue {
    fn push(&mut self, head: &Arc<Head>, items: Range<u32>, since: Instant) {
        let stretch = Stretch { head: head.clone(), items };
        self.spans += stretch.len();
        self.bytes += stretch.bytes();
        match self.pending.back_mut() {
            Some(last) if last.stretch.goes_on_in(head, stretch.items.start) => {
                last.stretch.items.end = stretch.items.end
            }
            last => {
                self.heads += usize::from(!last.is_some_and(|last| Arc::ptr_eq(&last.stretch.head, head)));
                self.pending.push_back(Pending { stretch, since });
            }
        }
    }

    fn cut(&mut self, limits: &BatchSettings) -> Batch {
        let mut batch = Batch::default();
        let heads = self.heads;
        while let Some(front) = self.pending.front_mut() {
            let room = (limits.spans - batch.spans, limits.bytes.saturating_sub(batch.bytes));
            let (count, bytes) = front.stretch.fitting(room.0, room.1, batch.spans == 0);
            if count == 0 || heads - self.heads >= HEADS_MAX {
                break;
            }
            let (taken, left) = front.stretch.clone().split(count);
            batch.push(taken, bytes);
            match left {
                Some(left) => front.stretch = left,
                None => self.pop_front(),
            }
        }
        self.spans -= batch.spans;
        self.bytes -= batch.bytes;
        batch
    }

    /// What was shared out anew stands in no order, so all is looked at.
    fn take_before(&mut self, position: u64) -> Vec<Stretch> {
        if !self.pending.iter().any(|pending| pending.stretch.positions().start < position) {
            return Vec::new();
        }
        let mut before = Vec::new();
        for Pending { stretch, since } in std::mem::take(self).pending {
            let Range { start, end } = stretch.positions();
            let cut = stretch.items.start + (position.clamp(start, end) - start) as u32;
            let (first, second) = (stretch.items.start..cut, cut..stretch.items.end);
            before.extend((!first.is_empty()).then(|| stretch.part(first)));
            if !second.is_empty() {
                self.push(&stretch.head, second, since);
            }
        }
        before
    }

    fn pop_front(&mut self) {
        let Some(gone) = self.pending.pop_front() else { return };
        let goes_on = self.pending.front().is_some_and(|next| Arc::ptr_eq(&next.stretch.head, &gone.stretch.head));
        self.heads -= usize::from(!goes_on);
    }
}

#[cfg(test)]
mod tests;
