//! Entries of one origin that could not be decoded: bytes, and a reason that like ones share.
//!
//! A hostile call is nothing but such entries, hundreds of thousands of a few bytes each, so an
//! entry costs its bytes and one item, and a message has at most [`REASONS_MAX`] reasons.

use std::collections::HashMap;

use bytes::Bytes;

use crate::channel::Item;

/// Of an entry that could not be decoded this much is kept: half of what the channel takes as
/// one item, and more than any one span that a tracer sends.
const ENTRY_BYTES_MAX: usize = 512 * 1024;

/// A label's length is a byte.
const REASON_BYTES_MAX: usize = 255;

/// Reasons told apart, as they name positions; a client that is broken in one way has a few.
const REASONS_MAX: usize = 256;

/// The reason of what comes after them.
const OTHER_REASONS: &str = "cannot be decoded: one of more than 256 reasons in one message";

/// They go to the dead letters, their neighbours go on.
#[derive(Debug, Default)]
pub struct Asides {
    bytes: Vec<u8>,
    items: Vec<Item>,
    reasons: Vec<String>,
    known: HashMap<String, u16>,
}

impl Asides {
    /// Keeps an entry as it came, cut at 512 KiB; its reason is cut at 255 bytes.
    pub fn push(&mut self, reason: &str, entry: &[u8]) {
        let entry = &entry[..entry.len().min(ENTRY_BYTES_MAX)];
        let label = self.label(&reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]);
        self.items.push(Item { key: 0, len: entry.len() as u32, label, flags: 0 });
        self.bytes.extend_from_slice(entry);
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Items, labels and body of a frame.
    pub(super) fn into_parts(self) -> (Vec<Item>, Vec<String>, Bytes) {
        (self.items, self.reasons, self.bytes.into())
    }

    fn label(&mut self, reason: &str) -> u16 {
        if let Some(known) = self.known.get(reason) {
            return *known;
        }
        let label = self.reasons.len().min(REASONS_MAX);
        if label == self.reasons.len() {
            let reason = if label < REASONS_MAX { reason } else { OTHER_REASONS };
            self.reasons.push(reason.to_owned());
            self.known.insert(reason.to_owned(), label as u16);
        }
        label as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_set_aside_are_bounded_and_share_their_reasons() {
        let mut asides = Asides::default();
        for (reason, len) in [("bad", 3), (&*"é".repeat(200), 2), ("bad", ENTRY_BYTES_MAX + 9)] {
            asides.push(reason, &vec![b'x'; len]);
        }
        let (items, reasons, bytes) = asides.into_parts();
        assert_eq!(reasons, ["bad".to_owned(), "é".repeat(127)]);
        let items: Vec<_> = items.iter().map(|i| (i.label, i.len as usize)).collect();
        assert_eq!(items, [(0, 3), (1, 2), (0, ENTRY_BYTES_MAX)]);
        assert_eq!(bytes.len(), 5 + ENTRY_BYTES_MAX);
    }

    #[test]
    fn reasons_beyond_the_bound_are_one() {
        let mut asides = Asides::default();
        for at in 0..1000 {
            asides.push(&format!("bad at byte {at}"), b"x");
        }
        asides.push("bad at byte 7", b"x");
        let (items, reasons, _) = asides.into_parts();
        assert_eq!((reasons.len(), &*reasons[255], &*reasons[256]), (257, "bad at byte 255", OTHER_REASONS));
        assert_eq!([items[255].label, items[256].label, items[999].label, items[1000].label], [255, 256, 256, 7]);
    }
}
