//! A piece of an object, cut into batches of spans.

use std::ops::Range;

use bytes::Bytes;

use crate::archive::read::Piece;
use crate::sink::Load;

/// Bytes of a request, as proto3; a single span may be as long. A collector answers 413 above ten times this.
const BYTES_MAX: usize = 1 << 20;

/// Spans that follow each other in an object.
#[derive(Debug, Clone)]
pub struct Batch {
    body: Bytes,
    /// Where each span ends in it.
    ends: Vec<usize>,
    /// The row behind the last one.
    pub end: u64,
}

impl Batch {
    pub fn spans(&self) -> usize {
        self.ends.len()
    }

    /// Some of them, marked as archived before.
    pub fn load(&self, spans: &Range<usize>) -> Load {
        let start = spans.start.checked_sub(1).map_or(0, |before| self.ends[before]);
        let body = self.body.slice(start..self.ends[spans.end - 1]);
        let (count, bytes) = (spans.len() as u32, body.len());
        Load { pieces: vec![body], spans: count, bytes, via: Vec::new(), replayed: true }
    }
}

/// The batches of a piece.
pub struct Cut {
    body: Bytes,
    /// Length and row of each span that is left.
    left: std::vec::IntoIter<(usize, u64)>,
    spans_max: usize,
}

impl Cut {
    /// Of the rows from `from` on.
    pub fn new(piece: Piece, from: u64, spans_max: usize) -> Cut {
        let rows = piece.spans.items.iter().zip(&piece.about).map(|(item, about)| (item.len as usize, about.row));
        let rows: Vec<(usize, u64)> = rows.collect();
        let behind = rows.partition_point(|(_, row)| *row < from);
        let passed = rows[..behind].iter().map(|(len, _)| len).sum();
        let body = Bytes::from(piece.spans.body).split_off(passed);
        let left: Vec<(usize, u64)> = rows[behind..].to_vec();
        Cut { body, left: left.into_iter(), spans_max }
    }
}

impl Iterator for Cut {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let (mut ends, mut end, mut bytes) = (Vec::new(), 0, 0);
        while let Some((len, row)) = self.left.as_slice().first().copied() {
            if ends.len() == self.spans_max || (bytes > 0 && bytes + len > BYTES_MAX) {
                break;
            }
            self.left.next();
            bytes += len;
            ends.push(bytes);
            end = row + 1;
        }
        (!ends.is_empty()).then(|| Batch { body: self.body.split_to(bytes), ends, end })
    }
}
