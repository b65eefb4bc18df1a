//! The tail of the log in memory: the very buffers that were written, for drains that keep up.
//!
//! Bounded by bytes, oldest frame first out. Holds only what is durable.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Head;
use super::frame::Placed;
use super::segment::Place;

/// A frame in memory.
#[derive(Clone)]
pub struct Cached {
    pub head: Arc<Head>,
    pub addressee: u64,
    pub body: Bytes,
    /// Where the frame behind it is looked for.
    pub next: Place,
    charge: usize,
}

pub struct Cache {
    frames: VecDeque<Cached>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub fn new(bytes_max: usize) -> Cache {
        Cache { frames: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds a frame behind the last one. `common` is the running total behind it.
    pub fn push(&mut self, frame: &Placed, common: u64) {
        let len = frame.len();
        let offset = u64::from(frame.head.at.offset) + super::frame::padded(len);
        // The head once more, decoded: items are as long as their bytes, the rest is small.
        let charge = len as usize + frame.raw.len() + std::mem::size_of::<Cached>();
        let next = Place { offset, position: frame.end(), common };
        let (head, body) = (frame.head.clone(), frame.body.clone());
        self.frames.push_back(Cached { head, addressee: frame.addressee, body, next, charge });
        self.bytes += charge;
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.frames.pop_front()
        {
            self.bytes -= oldest.charge;
        }
    }

    /// The frame that holds `position`, and those behind it; empty if it is not here.
    pub fn from(&self, position: u64) -> impl Iterator<Item = &Cached> {
        let at = self.frames.partition_point(|f| f.next.position <= position);
        let here = self.frames.get(at).is_some_and(|f| f.head.at.first <= position);
        self.frames.range(if here { at } else { self.frames.len() }..)
    }
}
