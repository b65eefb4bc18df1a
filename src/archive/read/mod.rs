//! Objects read back: those that may hold what is asked for, and their spans, a piece at a time.
//!
//! A [`Selection`] passes over objects by their names and times, row groups of Parquet by statistics and
//! Bloom filter, and then asks each row. A [`Walk`] goes through the objects that are left in order of
//! channel and position; what it gives are canonical spans, the same whichever format they came from.
//! Memory is bounded by a piece of JSON lines, or by a row group. An object that is damaged, or that went
//! away meanwhile (the built-in archive removes its oldest), costs itself: the walk goes on behind it.
//!
//! All of it blocks: callers are on a blocking thread of a runtime that they name.

mod lines;
mod row;
mod rows;
mod selection;
mod source;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::format::Format;
use super::store::{Listed, Look, Store, StoreError};
use crate::channel::Origin;
use crate::span::Batch;
use lines::Lines;
use rows::Groups;
use source::Source;

pub use selection::{Positions, Selection, Trace};

/// Why an object's spans do not come.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The store does not give it now; asking again later may help.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// What was read of it before stands.
    #[error("{name} is damaged: {what}")]
    Damaged { name: String, what: String },
    #[error("{name} went away while it was read")]
    Gone { name: String },
}

/// What a row says beside its span.
#[derive(Debug, Clone)]
pub struct About {
    /// Of its object, counted from 0.
    pub row: u64,
    /// Microseconds since the epoch. JSON lines keep none.
    pub received_us: Option<u64>,
    pub origin: Option<Arc<Origin>>,
}

/// Spans of an object, in its order.
pub struct Piece {
    pub object: Arc<Listed>,
    /// Those that are meant; perhaps none.
    pub spans: Batch,
    /// Of each span.
    pub about: Vec<About>,
    /// The first row behind what was read.
    pub end: u64,
    /// Whether the object has no more.
    pub last: bool,
}

/// Rows of an object, read.
#[derive(Default)]
struct Rows {
    spans: Batch,
    about: Vec<About>,
    end: u64,
}

/// Objects on their way through a selection.
pub struct Walk {
    store: Arc<dyn Store>,
    runtime: Handle,
    selection: Arc<Selection>,
    left: VecDeque<Arc<Listed>>,
    open: Option<Open>,
    /// Objects whose rows do not say what the selection asks for.
    mute: Vec<String>,
}

struct Open {
    object: Arc<Listed>,
    reader: Reader,
}

enum Reader {
    Lines(Box<Lines>),
    Groups(Box<Groups>),
}

impl Walk {
    /// Through those of `objects`, as a store lists them, that may hold something of `selection`.
    pub fn new(store: Arc<dyn Store>, runtime: Handle, selection: Selection, objects: Vec<Listed>) -> Walk {
        let left = objects.into_iter().filter(|object| selection.may_hold(object)).map(Arc::new).collect();
        Walk { store, runtime, selection: Arc::new(selection), left, open: None, mute: Vec::new() }
    }

    /// The objects that are to be opened yet.
    pub fn left(&self) -> impl ExactSizeIterator<Item = &Arc<Listed>> {
        self.left.iter()
    }

    /// Objects of JSON lines that were passed over because a category or a label is asked for, which they do not keep.
    pub fn mute(&self) -> &[String] {
        &self.mute
    }

    /// The next piece of the object that is open.
    fn piece(&mut self) -> Option<Result<Piece, Trouble>> {
        let Open { object, reader } = self.open.as_mut()?;
        let (object, rows) = (object.clone(), reader.next(&self.selection));
        if !matches!(rows, Ok(Some(_))) {
            self.open = None;
        }
        let piece = |rows: Option<Rows>| {
            let last = rows.is_none();
            let Rows { spans, about, end } = rows.unwrap_or_default();
            Piece { object, spans, about, end, last }
        };
        Some(rows.map(piece))
    }

    /// `None` where its rows cannot be asked.
    fn open(&self, object: &Arc<Listed>) -> Result<Option<Reader>, Trouble> {
        let source = Source::new(self.store.clone(), self.runtime.clone(), object);
        let format =
            Format::of_name(&object.name).ok_or_else(|| source.damaged("its name has the end of no format"))?;
        if format != Format::Parquet1 && self.selection.asks_origin() {
            return Ok(None);
        }
        let facts = match source.look()? {
            Look::Object(facts) => facts,
            Look::Absent => return Err(Trouble::Gone { name: object.name.clone() }),
            Look::Stranger(why) => return Err(source.damaged(why)),
        };
        Ok(Some(match format {
            Format::Parquet1 => Reader::Groups(Box::new(Groups::open(source, facts)?)),
            Format::JsonLinesGzip1 | Format::JsonLinesZstd1 => {
                Reader::Lines(Box::new(Lines::open(format, source, facts)?))
            }
        }))
    }
}

/// Pieces until the end. After an error the next piece is another object's.
impl Iterator for Walk {
    type Item = Result<Piece, Trouble>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.open.is_none() {
            let object = self.left.pop_front()?;
            match self.open(&object) {
                Ok(Some(reader)) => self.open = Some(Open { object, reader }),
                Ok(None) => self.mute.push(object.name.clone()),
                Err(trouble) => return Some(Err(trouble)),
            }
        }
        self.piece()
    }
}

impl Reader {
    fn next(&mut self, selection: &Selection) -> Result<Option<Rows>, Trouble> {
        match self {
            Reader::Lines(lines) => lines.next(selection),
            Reader::Groups(groups) => groups.next(selection),
        }
    }
}

#[cfg(test)]
mod tests;
