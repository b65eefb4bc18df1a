//! A message as frames for the channel: pure.
//!
//! Spans go to all drains, entries set aside to `dead-letters` alone, in the same append. The
//! channel's `Draft::split` then cuts at items where a frame would be too large.

use std::sync::Arc;

use super::{Asides, Group, Message};
use crate::channel::{Draft, Item, Kind, Origin};
use crate::span::Batch;

/// The drain that writes dead letters.
const DEAD_LETTERS: &str = "dead-letters";

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

fn entries(aside: Asides, origin: &Arc<Origin>, received_us: u64) -> Draft {
    let (items, labels, body) = aside.into_parts();
    let (addressee, origin) = (Some(DEAD_LETTERS.to_owned()), origin.clone());
    Draft { kind: Kind::Entries, addressee, received_us, origin, labels, items, body }
}
