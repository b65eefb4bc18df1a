//! Frames and cursor slots by themselves, for proofs that feed them any bytes (tests/proof/fuzz). Nothing else has a
//! use for it: a channel's files are read by [`survey`](super::survey), and written by the owner.

use std::ops::Range;

use super::cursor::{self, Slot};
use super::frame::{self, Marks};
use super::segment::Point;
use super::{Head, Outcome};

/// The head of a frame, if these bytes are one. `reseal`: with a CRC that fits, whatever they say.
pub fn frame(raw: &mut [u8], salt: u64, reseal: bool) -> Option<Head> {
    let fixed = frame::peek(raw)?;
    let head = raw.get_mut(..fixed.head_len())?;
    if reseal {
        frame::seal(head, Marks { first: fixed.first, synced: fixed.synced, common: fixed.common }, salt);
    }
    frame::verify(head, salt).then(|| frame::parse(head, &fixed, 0, 0))?
}

/// What a slot of this channel says: its low, what is settled above it, and its slot written anew.
pub type Said = (u64, Vec<Range<u64>>, Vec<u8>);

/// Reads a slot of 8192 bytes, and uses what it says. `reseal`: with a CRC that fits, whatever it says.
pub fn slot(raw: &[u8], channel: &[u8; 16], reseal: bool) -> Option<Said> {
    let raw = if reseal { cursor::of_channel(raw, channel) } else { raw.to_vec() };
    let Slot::Live { mut cursor, durable: (position, common, _) } = cursor::decode(&raw, channel) else { return None };
    let durable = Point { position, common, ..Point::default() };
    let said = (cursor.low, cursor.settled().collect(), cursor.encode(channel, cursor.generation, &durable));
    let open = cursor.open(cursor.low..cursor.low.saturating_add(1000));
    open.into_iter().for_each(|range| _ = cursor.settle(range, Outcome::Delivered));
    cursor.account(&durable, 0);
    Some(said)
}
