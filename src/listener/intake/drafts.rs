//! A message as frames for the channel: pure.
//!
//! Spans go to all drains, entries set aside to `dead-letters` alone, in the same append. The
//! channel's `Draft::split` then cuts at items where a frame would be too large.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;

use super::{Aside, Group, Message};
use crate::channel::{Draft, Item, Kind, Origin};
use crate::span::{Batch, NO_LABEL};

/// The drain that writes dead letters.
const DEAD_LETTERS: &str = "dead-letters";

/// A label's length is a byte.
const LABEL_BYTES_MAX: usize = 255;

/// Of an entry that could not be decoded this much is kept: half of what the channel takes as
/// one item, and more than any one span that a tracer sends.
pub const ENTRY_BYTES_MAX: usize = 512 * 1024;

/// The frames of a message: one append.
pub(super) fn of(message: Message, received_us: u64) -> Vec<Draft> {
    let mut drafts = Vec::with_capacity(message.groups.len());
    for Group { origin, batch, aside } in message.groups {
        drafts.extend(spans(batch, &origin, received_us).split());
        drafts.extend(entries(aside, &origin, received_us).split());
    }
    drafts
}

fn spans(batch: Batch, origin: &Arc<Origin>, received_us: u64) -> Draft {
    let Batch { body, items, labels, .. } = batch;
    let items = items.iter().map(|i| Item { key: i.key, len: i.len, label: i.label, flags: i.flags }).collect();
    let (origin, body) = (origin.clone(), body.into());
    Draft { kind: Kind::Spans, addressee: None, received_us, origin, labels, items, body }
}

fn entries(aside: Vec<Aside>, origin: &Arc<Origin>, received_us: u64) -> Draft {
    let (mut items, mut labels) = (Vec::with_capacity(aside.len()), Vec::new());
    let mut body = BytesMut::new();
    let mut known: HashMap<String, u16> = HashMap::new();
    for Aside { reason, bytes } in aside {
        let bytes = &bytes[..bytes.len().min(ENTRY_BYTES_MAX)];
        let reason = cut(&reason, LABEL_BYTES_MAX);
        let label = *known.entry(reason.to_owned()).or_insert_with(|| {
            // One index means "no label": past it, reasons go without theirs.
            let next = u16::try_from(labels.len()).unwrap_or(NO_LABEL);
            if next != NO_LABEL {
                labels.push(reason.to_owned());
            }
            next
        });
        items.push(Item { key: 0, len: bytes.len() as u32, label, flags: 0 });
        body.extend_from_slice(bytes);
    }
    let (addressee, origin) = (Some(DEAD_LETTERS.to_owned()), origin.clone());
    Draft { kind: Kind::Entries, addressee, received_us, origin, labels, items, body: body.freeze() }
}

/// The longest start of `text` of at most `bytes_max` bytes that ends at a character.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_set_aside_are_bounded_and_share_their_reasons() {
        let long = "é".repeat(200);
        let aside = |reason: &str, len: usize| Aside { reason: reason.into(), bytes: vec![b'x'; len].into() };
        let aside = vec![aside("bad", 3), aside(&long, 2), aside("bad", ENTRY_BYTES_MAX + 9)];
        let draft = entries(aside, &Arc::default(), 5);
        assert_eq!((draft.kind, draft.addressee.as_deref()), (Kind::Entries, Some("dead-letters")));
        assert_eq!(draft.labels, ["bad".to_owned(), "é".repeat(127)]);
        let items: Vec<_> = draft.items.iter().map(|i| (i.label, i.len as usize)).collect();
        assert_eq!(items, [(0, 3), (1, 2), (0, ENTRY_BYTES_MAX)]);
        assert_eq!(draft.body.len(), 5 + ENTRY_BYTES_MAX);
    }
}
