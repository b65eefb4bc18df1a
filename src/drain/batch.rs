//! Batches: stretches of frames that go to a sink in one request.
//!
//! A batch holds frame heads and item ranges, no bytes: those are read when it is sent, so that
//! a backlog that waits for a collector costs no memory. `cut` makes batches of what the tap gives.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::BatchSettings;
use super::group::SinkId;
use super::letters::is_replayed;
use crate::channel::{Head, Ledger, ReadError};
use crate::sink::Load;

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

    /// The items' part of the frame's body. Less than half of it is copied: a slice would keep the whole body, and the
    /// few spans that sampling or a lane leaves of each frame would keep a thousand of them, 512 KiB each.
    pub fn slice(&self, body: &Bytes) -> Bytes {
        let start = self.body_bytes(0..self.items.start);
        let part = start..start + self.bytes();
        if part.len() < body.len() / 2 { Bytes::copy_from_slice(&body[part]) } else { body.slice(part) }
    }

    fn body_bytes(&self, items: Range<u32>) -> usize {
        self.head.items[items.start as usize..items.end as usize].iter().map(|i| i.len as usize).sum()
    }

    /// How many of its first items a batch with room for `spans` and `bytes` takes, and their bytes. An empty batch
    /// takes one whatever its size.
    pub fn fitting(&self, spans: u32, bytes: usize, empty: bool) -> (u32, usize) {
        let (mut count, mut sum) = (0, 0);
        for item in &self.head.items[self.items.start as usize..self.items.end as usize] {
            let len = item.len as usize;
            let fits = sum + len <= bytes || (empty && count == 0);
            if count == spans || !fits {
                break;
            }
            count += 1;
            sum += len;
        }
        (count, sum)
    }

    /// Its first `count` items, and those behind, if any.
    pub fn split(self, count: u32) -> (Stretch, Option<Stretch>) {
        let at = self.items.start + count.min(self.len());
        let rest = (at < self.items.end).then(|| self.part(at..self.items.end));
        (self.part(self.items.start..at), rest)
    }

    /// Whether the item is that of the same frame behind its last.
    pub fn goes_on_in(&self, head: &Arc<Head>, index: u32) -> bool {
        Arc::ptr_eq(&self.head, head) && self.items.end == index
    }

    /// Index and key (the low 64 bits of the trace id) of each item.
    pub fn keys(&self) -> impl Iterator<Item = (u32, u64)> {
        self.items.clone().map(|index| (index, self.head.items[index as usize].key))
    }

    pub fn part(&self, items: Range<u32>) -> Stretch {
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
    /// The sink that it is for, under `by_trace`; none before that is decided.
    pub lane: Option<SinkId>,
    /// Of its last try; later tries have higher numbers.
    pub number: u64,
    /// When its last try began, the sink had taken something else since the refusal of what this was cut from.
    pub witness: bool,
    /// The same since the first refusal of all that this was cut from.
    pub old_witness: bool,
    pub history: History,
}

/// What befell a batch, and what it was cut from. Marks are numbers of tries: those that begin later are higher.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// The mark of the first verdict against it; halves inherit it.
    pub since: Option<u64>,
    /// The mark of the last refusal in company, or of the first; halves inherit it. What a sink took before that tells
    /// nothing: it may refuse everything since.
    pub refused: Option<u64>,
    /// The mark of the first refusal; halves inherit it.
    pub refused_first: Option<u64>,
    /// The mark of its last failure.
    pub last: u64,
    /// The mark at which it was halved off.
    pub born: u64,
    /// Failures since then, whether or not they speak against it.
    pub failures: u32,
    /// The sinks of failures that speak against it, one for each.
    pub broke: Vec<SinkId>,
    /// The sinks that it failed at while it stood alone and apart, whatever that says; one for each time.
    pub met: Vec<SinkId>,
    /// When a failure last spoke against it while it stood alone and apart.
    pub spoken: Option<Instant>,
    /// The sinks that refused it while it stood alone, one for each time.
    pub refused_by: Vec<SinkId>,
    /// One of those had taken something else since that refusal.
    pub proven: bool,
    /// It breaks sinks: it left the flow, and what it breaks does not rest.
    pub suspect: bool,
}

impl History {
    /// Of a half that is cut at `mark`. What was held against the whole is; what befell it alone is not.
    fn of_half(&self, mark: u64) -> History {
        let broke = if self.suspect { Vec::new() } else { self.broke.clone() };
        let History { since, refused, refused_first, last, suspect, .. } = *self;
        History { since, refused, refused_first, last, born: mark, broke, suspect, ..History::default() }
    }

    /// Whether this sink has spoken against the span.
    pub fn knows(&self, sink: SinkId) -> bool {
        [&self.refused_by, &self.broke, &self.met].into_iter().any(|sinks| sinks.contains(&sink))
    }

    /// Whether it waits apart from the flow.
    pub fn is_apart(&self) -> bool {
        self.suspect || !self.refused_by.is_empty()
    }
}

impl Batch {
    pub fn of(stretches: Vec<Stretch>) -> Batch {
        let spans = stretches.iter().map(Stretch::len).sum();
        let bytes = stretches.iter().map(Stretch::bytes).sum();
        Batch { stretches, spans, bytes, ..Batch::default() }
    }

    /// Whether it has not failed as it is.
    pub fn is_well(&self) -> bool {
        self.history.failures == 0
    }

    /// Whether it is of dead letters that were sent again.
    pub fn is_replayed(&self) -> bool {
        self.stretches.iter().all(|stretch| is_replayed(&stretch.head.origin))
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

    /// A batch of other spans of this one, with its history.
    pub fn like(&self, stretches: Vec<Stretch>) -> Batch {
        let history = self.history.clone();
        Batch { maybe_taken: self.maybe_taken, lane: self.lane, history, ..Batch::of(stretches) }
    }

    /// Two batches of half the spans each, in order, cut at `mark`; `None` for a single span.
    pub fn halves(&self, mark: u64) -> Option<(Batch, Batch)> {
        if self.spans < 2 {
            return None;
        }
        let half = BatchSettings { spans: self.spans / 2, bytes: usize::MAX, linger: Default::default() };
        let (first, second) = self.clone().within(&half);
        let of_half = |batch| Batch { history: self.history.of_half(mark), again: false, ..batch };
        second.map(|second| (of_half(first), of_half(second)))
    }

    /// Its first spans, as many as the limits let a batch have, and the others.
    pub fn within(self, limits: &BatchSettings) -> (Batch, Option<Batch>) {
        if self.spans <= limits.spans && self.bytes <= limits.bytes {
            return (self, None);
        }
        let (mut first, mut rest) = (Batch::default(), Vec::new());
        for stretch in &self.stretches {
            let room = (limits.spans - first.spans, limits.bytes.saturating_sub(first.bytes));
            let (count, bytes) = match rest.is_empty() {
                true => stretch.fitting(room.0, room.1, first.spans == 0),
                false => (0, 0),
            };
            let (taken, left) = stretch.clone().split(count);
            if count > 0 {
                first.push(taken, bytes);
            }
            rest.extend(left);
        }
        let rest = (!rest.is_empty()).then(|| self.like(rest));
        (Batch { again: self.again, ..self.like(first.stretches) }, rest)
    }

    /// Its spans by the sink that `route` gives for each trace.
    pub fn by_lane(&self, mut route: impl FnMut(u64) -> Option<SinkId>) -> Vec<Batch> {
        let mut parts: Vec<(Option<SinkId>, Vec<Stretch>)> = Vec::new();
        for stretch in &self.stretches {
            for (index, trace) in stretch.keys() {
                let lane = route(trace);
                let part = match parts.iter().position(|(of, _)| *of == lane) {
                    Some(part) => part,
                    None => {
                        parts.push((lane, Vec::new()));
                        parts.len() - 1
                    }
                };
                match parts[part].1.last_mut() {
                    Some(last) if last.goes_on_in(&stretch.head, index) => last.items.end += 1,
                    _ => parts[part].1.push(stretch.part(index..index + 1)),
                }
            }
        }
        parts.into_iter().map(|(lane, stretches)| Batch { lane, ..self.like(stretches) }).collect()
    }

    /// Takes the spans of another batch in, where both are for one sink and have one history, within the limits; else
    /// gives it back.
    pub fn join(&mut self, other: Batch, limits: &BatchSettings) -> Option<Batch> {
        let new = |batch: &Batch| batch.history.since.is_none() && !batch.again;
        let alike = self.lane == other.lane && self.maybe_taken == other.maybe_taken && new(self) && new(&other);
        if !alike || self.spans + other.spans > limits.spans || self.bytes + other.bytes > limits.bytes {
            return Some(other);
        }
        self.spans += other.spans;
        self.bytes += other.bytes;
        self.stretches.extend(other.stretches);
        None
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

    pub fn push(&mut self, stretch: Stretch, bytes: usize) {
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
        // The mark of a replay ends here: a batch may hold spans without it, which are to be archived behind us.
        Load { pieces, spans: self.spans, bytes: self.bytes, via, replayed: false }
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

#[cfg(test)]
mod tests;
