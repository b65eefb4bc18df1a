//! A frame's bytes: drafts to bytes, bytes to heads. Pure: no file, no position of its own.
//!
//! Producers [build](Built::new) a frame (lengths, items, body CRC); the owner
//! [places](Built::place) it (positions, marks, head CRC). [`peek`] and [`parse`] read it back
//! and say no to anything whose lengths do not add up or whose CRC does not fit.

use std::sync::Arc;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};

use super::{Draft, FrameAt, Head, Item, Kind, Origin};
use crate::planted::{self, Planted};

/// Bytes before the origin.
pub const FIXED: usize = 72;
pub const MAGIC: u32 = 0x4D52_4653;
const ITEM: usize = 16;
const FLAG_ADDRESSED: u8 = 1;

/// A frame of more than one item: large enough that heads cost nothing, small enough that a
/// batch of 4 MiB is made of several.
pub const FRAME_BYTES_MAX: usize = 512 * 1024;
/// One item: ten times what Zipkin's own reporters send, a tenth of what its collector takes.
pub const ITEM_BYTES_MAX: usize = 1024 * 1024;
/// Listener, peer, category and a few hops.
pub const ORIGIN_BYTES_MAX: usize = 1024;
/// Service names of one message; a frame with more is split.
pub const LABELS_BYTES_MAX: usize = 65_535;
/// The longest frame there can be; a longer one is damage.
pub const TOTAL_MAX: usize = FIXED + ORIGIN_BYTES_MAX + LABELS_BYTES_MAX + ITEM + ITEM_BYTES_MAX;
/// `Item::label` of an item without one.
pub const NO_LABEL: u16 = 0xFFFF;

/// Where frames begin.
pub const fn padded(len: u64) -> u64 {
    len.next_multiple_of(8)
}

pub fn crc(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    digest.finalize() as u32
}

/// The id of a drain in frames and segment heads: FNV-1a of its name, never 0.
pub fn drain_id(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    hash.max(1)
}

/// A frame that has no position yet.
pub struct Built {
    /// Fixed part, origin, labels, items.
    raw: Vec<u8>,
    body: Bytes,
    addressee: u64,
    kind: Kind,
    received_us: u64,
    origin: Arc<Origin>,
    labels: Vec<String>,
    items: Vec<Item>,
}

/// What only the owner knows of a frame.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    pub first: u64,
    /// Everything below was durable when the frame was written.
    pub synced: u64,
    /// Spans for all drains before this frame.
    pub common: u64,
}

/// A frame with its place in a segment.
pub struct Placed {
    pub raw: Vec<u8>,
    pub body: Bytes,
    pub addressee: u64,
    pub head: Arc<Head>,
}

impl Built {
    /// Lays out a draft that [`Draft::split`] made fit.
    pub fn new(draft: Draft) -> Built {
        let Draft { kind, addressee, received_us, origin, labels, items, body } = draft;
        let addressee = addressee.as_deref().map_or(0, drain_id);
        let mut raw = vec![0; FIXED];
        let whole = put_origin(&mut raw, &origin);
        let origin_len = raw.len() - FIXED;
        // Memory and disk give the same head.
        let origin = if whole { origin } else { Arc::new(get_origin(&raw[FIXED..]).expect("it was just written")) };
        for label in &labels {
            raw.push(u8::try_from(label.len()).expect("split cut it to 255 bytes"));
            raw.extend_from_slice(label.as_bytes());
        }
        let labels_len = raw.len() - FIXED - origin_len;
        for item in &items {
            put_item(&mut raw, item);
        }
        let total = raw.len() + body.len();
        raw[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        raw[4] = kind as u8;
        raw[5] = if addressee == 0 { 0 } else { FLAG_ADDRESSED };
        raw[6..8].copy_from_slice(&(origin_len as u16).to_le_bytes());
        put32(&mut raw, 8, total as u32);
        put32(&mut raw, 12, items.len() as u32);
        put64(&mut raw, 24, received_us);
        put32(&mut raw, 40, labels_len as u32);
        put32(&mut raw, 44, body.len() as u32);
        put64(&mut raw, 48, addressee);
        put32(&mut raw, 56, crc(&[&body]));
        Built { raw, body, addressee, kind, received_us, origin, labels, items }
    }

    /// Bytes in the log, padding included.
    pub fn padded_len(&self) -> u64 {
        padded((self.raw.len() + self.body.len()) as u64)
    }

    pub fn items(&self) -> u64 {
        self.items.len() as u64
    }

    pub fn addressee(&self) -> u64 {
        self.addressee
    }

    /// Gives the frame its place in the segment `segment` at `offset`.
    pub fn place(mut self, segment: u64, offset: u64, marks: Marks, salt: u64) -> Placed {
        seal(&mut self.raw, marks, salt);
        let at = FrameAt {
            segment,
            offset: u32::try_from(offset).expect("a segment is under 4 GiB"),
            first: marks.first,
            items: self.items.len() as u32,
        };
        let head = Head {
            at,
            kind: self.kind,
            received_us: self.received_us,
            origin: self.origin,
            labels: self.labels,
            items: self.items,
            body_len: self.body.len() as u32,
        };
        Placed { raw: self.raw, body: self.body, addressee: self.addressee, head: Arc::new(head) }
    }
}

impl Placed {
    pub fn len(&self) -> u64 {
        (self.raw.len() + self.body.len()) as u64
    }

    pub fn end(&self) -> u64 {
        self.head.at.first + u64::from(self.head.at.items)
    }

    /// Moves the frame to a fresh segment; its positions stay.
    pub fn replace(&mut self, segment: u64, offset: u64, synced: u64, salt: u64) {
        let marks = Marks { first: get64(&self.raw, 16), synced, common: get64(&self.raw, 64) };
        seal(&mut self.raw, marks, salt);
        let old = &self.head;
        let at = FrameAt { segment, offset: u32::try_from(offset).expect("a segment is under 4 GiB"), ..old.at };
        self.head = Arc::new(Head {
            at,
            kind: old.kind,
            received_us: old.received_us,
            origin: old.origin.clone(),
            labels: old.labels.clone(),
            items: old.items.clone(),
            body_len: old.body_len,
        });
    }
}

/// Writes the owner's marks and the head CRC into a frame's head bytes.
pub fn seal(raw: &mut [u8], marks: Marks, salt: u64) {
    put64(raw, 16, marks.first);
    put64(raw, 32, marks.synced);
    put64(raw, 64, marks.common);
    let sum = head_crc(raw, salt);
    put32(raw, 60, sum);
}

fn head_crc(raw: &[u8], salt: u64) -> u32 {
    crc(&[&salt.to_le_bytes(), &raw[..60], &raw[64..]])
}

/// The fixed part of a head whose lengths add up; its CRC is still to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    pub kind: Kind,
    pub origin_len: usize,
    pub labels_len: usize,
    pub items: u32,
    pub first: u64,
    pub synced: u64,
    pub common: u64,
    pub addressee: u64,
    pub body_len: usize,
    pub body_crc: u32,
}

impl Fixed {
    /// Bytes before the body.
    pub fn head_len(&self) -> usize {
        FIXED + self.origin_len + self.labels_len + self.items as usize * ITEM
    }

    /// Bytes of head and body, without padding.
    pub fn total_len(&self) -> usize {
        self.head_len() + self.body_len
    }

    pub fn end(&self) -> u64 {
        self.first + u64::from(self.items)
    }
}

/// Reads the fixed part; `None` if it cannot be one.
pub fn peek(bytes: &[u8]) -> Option<Fixed> {
    let bytes: &[u8; FIXED] = bytes.first_chunk()?;
    if get32(bytes, 0) != MAGIC {
        return None;
    }
    let fixed = Fixed {
        kind: match bytes[4] {
            1 => Kind::Spans,
            2 => Kind::Entries,
            _ => return None,
        },
        origin_len: usize::from(u16::from_le_bytes([bytes[6], bytes[7]])),
        labels_len: get32(bytes, 40) as usize,
        items: get32(bytes, 12),
        first: get64(bytes, 16),
        synced: get64(bytes, 32),
        common: get64(bytes, 64),
        addressee: get64(bytes, 48),
        body_len: get32(bytes, 44) as usize,
        body_crc: get32(bytes, 56),
    };
    let bounded = fixed.origin_len <= ORIGIN_BYTES_MAX
        && fixed.labels_len <= LABELS_BYTES_MAX
        && (1..=(TOTAL_MAX / ITEM) as u32).contains(&fixed.items)
        && fixed.body_len <= TOTAL_MAX
        && fixed.first.checked_add(u64::from(fixed.items)).is_some()
        && fixed.total_len() <= TOTAL_MAX;
    (bounded && fixed.total_len() == get32(bytes, 8) as usize).then_some(fixed)
}

/// Whether the head's CRC fits. `raw` is the head alone ([`Fixed::head_len`] bytes).
pub fn verify(raw: &[u8], salt: u64) -> bool {
    get32(raw, 60) == head_crc(raw, salt) || planted::has(Planted::CrcUnchecked)
}

/// Decodes a verified head; `None` if its parts do not add up, which a CRC that fits excludes
/// but for a writer's bug.
pub fn parse(raw: &[u8], fixed: &Fixed, segment: u64, offset: u64) -> Option<Head> {
    let (origin, rest) = raw.get(FIXED..)?.split_at_checked(fixed.origin_len)?;
    let (labels, items) = rest.split_at_checked(fixed.labels_len)?;
    let at = FrameAt { segment, offset: u32::try_from(offset).ok()?, first: fixed.first, items: fixed.items };
    Some(Head {
        at,
        kind: fixed.kind,
        received_us: get64(raw, 24),
        origin: Arc::new(get_origin(origin)?),
        labels: get_labels(labels)?,
        items: items.as_chunks::<ITEM>().0.iter().map(get_item).collect(),
        body_len: fixed.body_len as u32,
    })
}

fn put_item(raw: &mut Vec<u8>, item: &Item) {
    raw.extend_from_slice(&item.key.to_le_bytes());
    raw.extend_from_slice(&item.len.to_le_bytes());
    raw.extend_from_slice(&item.label.to_le_bytes());
    raw.extend_from_slice(&[item.flags, 0]);
}

fn get_item(raw: &[u8; ITEM]) -> Item {
    Item { key: get64(raw, 0), len: get32(raw, 8), label: u16::from_le_bytes([raw[12], raw[13]]), flags: raw[14] }
}

/// Longer keys and values are cut at 255 bytes, and pairs beyond the bound are left out: then false.
fn put_origin(raw: &mut Vec<u8>, origin: &Origin) -> bool {
    let mut whole = true;
    for (long_key, long_value) in &origin.0 {
        let (key, value) = (cut(long_key, 255), cut(long_value, 255));
        if raw.len() - FIXED + 2 + key.len() + value.len() > ORIGIN_BYTES_MAX {
            return false;
        }
        whole &= key.len() == long_key.len() && value.len() == long_value.len();
        for part in [key, value] {
            raw.push(part.len() as u8);
            raw.extend_from_slice(part.as_bytes());
        }
    }
    whole
}

/// The longest beginning of `text` of at most `max` bytes that ends between characters.
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

fn get_origin(mut raw: &[u8]) -> Option<Origin> {
    let mut pairs = Vec::new();
    while !raw.is_empty() {
        pairs.push((get_short(&mut raw)?, get_short(&mut raw)?));
    }
    Some(Origin(pairs))
}

fn get_labels(mut raw: &[u8]) -> Option<Vec<String>> {
    let mut labels = Vec::new();
    while !raw.is_empty() {
        labels.push(get_short(&mut raw)?);
    }
    Some(labels)
}

fn get_short(raw: &mut &[u8]) -> Option<String> {
    let (&len, rest) = raw.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(len))?;
    *raw = rest;
    String::from_utf8(text.to_vec()).ok()
}

pub fn put32(raw: &mut [u8], at: usize, value: u32) {
    raw[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub fn put64(raw: &mut [u8], at: usize, value: u64) {
    raw[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Panics beyond the end, as indexing does: callers check lengths first.
pub fn get32(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(raw[at..at + 4].try_into().expect("four bytes"))
}

/// As [`get32`].
pub fn get64(raw: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(raw[at..at + 8].try_into().expect("eight bytes"))
}
