//! The spans of one message: canonical bytes, and an item for each.
//!
//! A decoder takes a [`Mark`] before it begins and rolls back to it when it fails: a message is
//! all in or all out. Several decoded entries are merged with [`Batch::append`].

use std::collections::HashMap;

use super::{ALWAYS_KEEP, Item, NO_LABEL, Span, encode, normalise};

/// Longest label in bytes: the frame's labels carry a length of one byte (DURABILITY.md, "Frame").
pub const LABEL_BYTES_MAX: usize = 255;

/// Labels up to which a look through all is as quick as a hash; most messages have one.
const LABELS_SCANNED: usize = 8;

/// Spans of one message: a `ListOfSpans` and an item for each of its elements.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub body: Vec<u8>,
    pub items: Vec<Item>,
    /// Distinct local service names, at most 255 bytes each (longer ones are cut at a character).
    pub labels: Vec<String>,
    /// Where each label stands, once there are more than [`LABELS_SCANNED`]: a message of as many services as
    /// spans must not cost the square of them. Behind by as many labels as it is shorter.
    index: HashMap<String, u16>,
}

/// How much a batch held: what [`Batch::roll_back`] returns to.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    body: usize,
    items: usize,
    labels: usize,
}

impl Batch {
    /// Normalises `span` and appends it. The ids must not be zero (the decoders refuse that).
    pub fn push(&mut self, span: &mut Span<'_>) {
        debug_assert_eq!(span.zero_id(), None, "decoders refuse ids of zero");
        normalise::normalise(span);
        let start = self.body.len();
        encode::element(span, &mut self.body);
        let service = span.local.as_ref().and_then(|local| local.service_name.as_deref());
        let label = service.map_or(NO_LABEL, |name| self.label(name));
        let len = u32::try_from(self.body.len() - start).expect("a message, and so a span, is under 4 GiB");
        let flags = if span.debug { ALWAYS_KEEP } else { 0 };
        self.items.push(Item { key: span.trace_id.low, len, label, flags });
    }

    /// Appends the spans of another batch, with their labels.
    pub fn append(&mut self, other: &Batch) {
        let labels: Vec<u16> = other.labels.iter().map(|label| self.label(label)).collect();
        self.body.extend_from_slice(&other.body);
        // An item without a label stays without: its index is beyond every list of labels.
        let renamed = |item: &Item| labels.get(usize::from(item.label)).copied().unwrap_or(NO_LABEL);
        self.items.extend(other.items.iter().map(|item| Item { label: renamed(item), ..*item }));
    }

    /// Bytes of the element pushed last; 0 for an empty batch.
    pub fn last_len(&self) -> usize {
        self.items.last().map_or(0, |item| item.len as usize)
    }

    pub fn mark(&self) -> Mark {
        Mark { body: self.body.len(), items: self.items.len(), labels: self.labels.len() }
    }

    /// Forgets what was pushed since `mark` was taken from this batch.
    pub fn roll_back(&mut self, mark: Mark) {
        self.body.truncate(mark.body);
        self.items.truncate(mark.items);
        if self.labels.len() > mark.labels {
            self.labels.truncate(mark.labels);
            self.index.clear();
        }
    }

    /// Empties the batch and keeps its room.
    pub fn clear(&mut self) {
        self.roll_back(Mark { body: 0, items: 0, labels: 0 });
    }

    /// The index of `name` among the labels. Beyond 65,535 names the rest have none: the frame counts them in 16 bits.
    fn label(&mut self, name: &str) -> u16 {
        let name = &name[..name.floor_char_boundary(LABEL_BYTES_MAX)];
        if let Some(found) = self.find(name) {
            return found;
        }
        let at = self.labels.len();
        if at >= usize::from(NO_LABEL) {
            return NO_LABEL;
        }
        self.labels.push(name.to_owned());
        at as u16
    }

    fn find(&mut self, name: &str) -> Option<u16> {
        if self.labels.len() <= LABELS_SCANNED {
            return self.labels.iter().position(|label| label == name).map(|at| at as u16);
        }
        for at in self.index.len()..self.labels.len() {
            self.index.insert(self.labels[at].clone(), at as u16);
        }
        self.index.get(name).copied()
    }
}

/// Two batches are equal when they say the same; how they find a label is their own affair.
impl PartialEq for Batch {
    fn eq(&self, other: &Batch) -> bool {
        self.body == other.body && self.items == other.items && self.labels == other.labels
    }
}

impl Eq for Batch {}
