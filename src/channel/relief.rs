//! Room from drains that may skip: who is asked, and to where.
//!
//! It is the drain furthest behind that fills a channel, and only its own `overflow` decides: where
//! it may not skip nobody is asked, as room would not come of it. The channel settles nothing here.
//! The drain does, when it holds no batch of those positions any more; then slots, then the segment
//! goes, in the order that all settling has.

use super::state::State;

/// How far a channel is from its bounds.
#[derive(Debug, Clone, Copy)]
pub struct Shortage {
    /// The next segment would be the last that fits, or no message does.
    pub bytes: bool,
    /// Items for which there is no room under the bound on spans.
    pub items: Option<u64>,
}

/// Asks drains to give up their oldest positions; whether one was asked that had not been.
pub fn relieve(state: &State, shortage: Shortage) -> bool {
    let by_bytes = if shortage.bytes { oldest_segment_end(state) } else { None };
    let mut asked = by_bytes.is_some_and(|end| ask_all_before(state, end));
    if let Some(items) = shortage.items {
        asked |= ask_the_fullest(state, items);
    }
    asked
}

/// The end of the oldest segment, unless it is the one that is written to.
fn oldest_segment_end(state: &State) -> Option<u64> {
    let mut firsts = state.segments.keys();
    firsts.next()?;
    firsts.next().copied()
}

/// Asks every drain that keeps the log before `end`, if each of them may skip.
fn ask_all_before(state: &State, end: u64) -> bool {
    let holders = || state.rows.iter().filter(|row| row.cursor.as_ref().is_some_and(|c| c.low < end));
    if !holders().all(|row| row.skips) {
        return false;
    }
    holders().fold(false, |asked, row| ask(row, end) | asked)
}

/// Asks the drain that most items wait for, if it may skip, for `items` of them and an eighth of what waits beyond:
/// a drain that is asked for each message would be asked all the time.
fn ask_the_fullest(state: &State, items: u64) -> bool {
    let waiting = |row: &&super::state::DrainRow| row.cursor.as_ref().map_or(0, |c| c.waiting(&state.durable));
    let Some(row) = state.rows.iter().max_by_key(waiting).filter(|row| row.skips) else { return false };
    let low = row.cursor.as_ref().map_or(0, |c| c.low);
    ask(row, (low + items + waiting(&row) / 8).min(state.durable.position))
}

fn ask(row: &super::state::DrainRow, end: u64) -> bool {
    row.skip_to.send_if_modified(|known| {
        let further = *known < end;
        *known = end.max(*known);
        further
    })
}
