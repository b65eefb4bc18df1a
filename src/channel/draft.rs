//! Cutting a message's draft into frames of bounded size.
//!
//! Cuts fall between items; each frame carries only the labels that its items use. Pure.

use super::frame::{self, FIXED, FRAME_BYTES_MAX, LABELS_BYTES_MAX, NO_LABEL, ORIGIN_BYTES_MAX};
use super::{Draft, Item};

const ITEM: usize = 16;
/// What is left of a frame for labels, items and body, whatever its origin.
const ROOM: usize = FRAME_BYTES_MAX - FIXED - ORIGIN_BYTES_MAX;
/// A label's length is one byte.
const LABEL_BYTES_MAX: usize = 255;

impl Draft {
    /// Cuts at items so that each frame holds at most 512 KiB (one longer item stands alone).
    /// Items without a label in `labels` lose theirs; a draft without items gives none.
    pub fn split(mut self) -> Vec<Draft> {
        for label in &mut self.labels {
            if label.len() > LABEL_BYTES_MAX {
                label.truncate(label.floor_char_boundary(LABEL_BYTES_MAX));
            }
        }
        let labels_len: usize = self.labels.iter().map(|l| l.len() + 1).sum();
        if self.items.is_empty() {
            return Vec::new();
        }
        let fits = labels_len + self.items.len() * ITEM + self.body.len() <= ROOM;
        if fits && labels_len <= LABELS_BYTES_MAX && self.labels.len() < usize::from(NO_LABEL) {
            return vec![self];
        }
        Cutter::new(&self).run()
    }
}

/// A frame under construction, over the draft that is cut.
struct Cutter<'a> {
    draft: &'a Draft,
    done: Vec<Draft>,
    items: Vec<Item>,
    labels: Vec<String>,
    /// The draft's label to the frame's.
    renamed: std::collections::HashMap<u16, u16>,
    labels_len: usize,
    body: std::ops::Range<usize>,
}

impl<'a> Cutter<'a> {
    fn new(draft: &'a Draft) -> Self {
        Cutter {
            draft,
            done: Vec::new(),
            items: Vec::new(),
            labels: Vec::new(),
            renamed: std::collections::HashMap::new(),
            labels_len: 0,
            body: 0..0,
        }
    }

    fn run(mut self) -> Vec<Draft> {
        for item in &self.draft.items {
            let label = self.draft.labels.get(usize::from(item.label)).map_or("", |l| l.as_str());
            let size = label.len() + 1 + ITEM + item.len as usize;
            let held = self.labels_len + self.items.len() * ITEM + self.body.len();
            let full = held + size > ROOM || self.labels_len + label.len() + 1 > LABELS_BYTES_MAX;
            if full && !self.items.is_empty() {
                self.close();
            }
            let label = self.rename(item.label);
            self.items.push(Item { label, ..*item });
            self.body.end += item.len as usize;
        }
        self.close();
        self.done
    }

    fn rename(&mut self, label: u16) -> u16 {
        let Some(text) = self.draft.labels.get(usize::from(label)) else { return NO_LABEL };
        if let Some(&renamed) = self.renamed.get(&label) {
            return renamed;
        }
        let renamed = self.labels.len() as u16;
        self.labels_len += text.len() + 1;
        self.labels.push(frame::cut(text, LABEL_BYTES_MAX).to_owned());
        self.renamed.insert(label, renamed);
        renamed
    }

    fn close(&mut self) {
        let end = self.body.end;
        self.done.push(Draft {
            kind: self.draft.kind,
            addressee: self.draft.addressee.clone(),
            received_us: self.draft.received_us,
            origin: self.draft.origin.clone(),
            labels: std::mem::take(&mut self.labels),
            items: std::mem::take(&mut self.items),
            body: self.draft.body.slice(std::mem::replace(&mut self.body, end..end)),
        });
        self.renamed.clear();
        self.labels_len = 0;
    }
}
