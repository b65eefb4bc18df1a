//! What an object's bytes are. A format has a name and a version of its encoder; both stand in
//! the plan, so that a plan made by one binary is not carried out differently by another.
//!
//! Every format carries the object's facts inside, and is written from front to end in one pass, piece by piece.

pub mod jsonl;
pub mod parquet;

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use super::object::{Object, ObjectError};
use crate::channel::{Head, Item};

/// A format and the version of its encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// gzip JSON lines ([`jsonl`]); encoder 1.
    JsonLinesGzip1,
    /// zstd JSON lines ([`jsonl`]); encoder 1.
    JsonLinesZstd1,
    /// zstd Parquet ([`mod@parquet`]); encoder 1.
    Parquet1,
}

impl Format {
    /// All that this version writes.
    pub const ALL: [Format; 3] = [Format::JsonLinesGzip1, Format::JsonLinesZstd1, Format::Parquet1];

    pub fn extension(self) -> &'static str {
        match self {
            Format::JsonLinesGzip1 => "jsonl.gz",
            Format::JsonLinesZstd1 => "jsonl.zst",
            Format::Parquet1 => "parquet",
        }
    }

    /// As a plan records it.
    pub fn name(self) -> &'static str {
        match self {
            Format::JsonLinesGzip1 => "jsonl.gz/1",
            Format::JsonLinesZstd1 => "jsonl.zst/1",
            Format::Parquet1 => "parquet/1",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Format::JsonLinesGzip1 => "gzip JSON lines",
            Format::JsonLinesZstd1 => "zstd JSON lines",
            Format::Parquet1 => "Parquet",
        }
    }

    /// The format of a file, by the end of its name.
    pub fn of_name(name: &str) -> Option<Format> {
        let ends = |format: &Format| name.strip_suffix(format.extension()).is_some_and(|stem| stem.ends_with('.'));
        Format::ALL.into_iter().find(ends)
    }

    /// Part of the canonical bytes that plain client and server spans take; a guess until one is measured.
    pub fn ratio_at_start(self) -> f64 {
        match self {
            Format::JsonLinesGzip1 | Format::JsonLinesZstd1 => 0.35,
            Format::Parquet1 => 0.25,
        }
    }

    /// The facts that a file of `len` bytes carries. `read(at, len)` gives at most that many of its bytes, fewer at
    /// its end.
    ///
    /// # Errors
    /// The outer one is the reader's; the inner one says why it is no object of ours.
    pub fn facts(
        self,
        len: u64,
        read: &mut dyn FnMut(u64, usize) -> io::Result<Vec<u8>>,
    ) -> io::Result<Result<Object, FactsError>> {
        match self {
            Format::JsonLinesGzip1 => Ok(jsonl::gzip_facts(&read(0, jsonl::START_BYTES_MAX)?)),
            Format::JsonLinesZstd1 => Ok(jsonl::zstd_facts(&read(0, jsonl::START_BYTES_MAX)?)),
            Format::Parquet1 => parquet::facts(len, read),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("format {found:?}; this version of spangate writes \"jsonl.gz/1\", \"jsonl.zst/1\" and \"parquet/1\"")]
pub struct UnknownFormat {
    pub found: String,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let found = Format::ALL.into_iter().find(|format| format.name() == text);
        found.ok_or_else(|| UnknownFormat { found: text.to_owned() })
    }
}

/// Why a file is not one of our objects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    #[error("its name has the end of no format")]
    Name,
    #[error("it does not start or end as {format} with our facts does")]
    None { format: Format },
    #[error("its facts are not ours: {0}")]
    Facts(#[from] ObjectError),
}

/// Some spans of a frame.
#[derive(Debug, Clone)]
pub struct Part {
    pub head: Arc<Head>,
    /// Indexes into the head's items.
    pub items: Range<u32>,
    /// The frame's body.
    pub body: Bytes,
}

impl Part {
    /// Bytes of these spans.
    pub fn bytes(&self) -> u64 {
        self.items().iter().map(|item| u64::from(item.len)).sum()
    }

    fn items(&self) -> &[Item] {
        &self.head.items[self.items.start as usize..self.items.end as usize]
    }

    /// Position and element of each span; no element where the head asks for more bytes than the body has.
    fn elements(&self) -> impl Iterator<Item = (u64, Option<&[u8]>)> {
        let mut at: usize = self.head.items[..self.items.start as usize].iter().map(|item| item.len as usize).sum();
        let first = self.head.at.first + u64::from(self.items.start);
        self.items().iter().zip(first..).map(move |(item, position)| {
            let end = at + item.len as usize;
            let element = self.body.get(at..end);
            at = end;
            (position, element)
        })
    }
}

/// What went into an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub spans: u64,
    /// Canonical bytes.
    pub bytes: u64,
}

impl Tally {
    fn count(&mut self, element: &[u8]) {
        self.spans += 1;
        self.bytes += element.len() as u64;
    }
}

/// Writes one object into `W`.
pub struct Encoder<W: Write + Send> {
    into: Into<W>,
    tally: Tally,
    unreadable: Vec<Range<u64>>,
}

enum Into<W: Write + Send> {
    JsonLines(Box<jsonl::Lines<W>>),
    Parquet(Box<parquet::Rows<W>>),
}

impl<W: Write + Send> Encoder<W> {
    pub fn new(format: Format, object: &Object, out: W) -> io::Result<Self> {
        let into = match format {
            Format::JsonLinesGzip1 => Into::JsonLines(Box::new(jsonl::Lines::gzip(object, out))),
            Format::JsonLinesZstd1 => Into::JsonLines(Box::new(jsonl::Lines::zstd(object, out)?)),
            Format::Parquet1 => Into::Parquet(Box::new(parquet::Rows::new(object, out)?)),
        };
        Ok(Encoder { into, tally: Tally::default(), unreadable: Vec::new() })
    }

    /// Adds the spans of a part. One whose bytes are not a span is left out and noted in
    /// [`unreadable`](Self::unreadable). After an error the encoder is of no further use.
    pub fn add(&mut self, part: &Part) -> io::Result<()> {
        for (position, element) in part.elements() {
            let added = match (&mut self.into, element) {
                (_, None) => None,
                (Into::JsonLines(lines), Some(element)) => lines.add(element),
                (Into::Parquet(rows), Some(element)) => rows.add(element, &part.head)?,
            };
            match (added, element) {
                (Some(()), Some(element)) => self.tally.count(element),
                _ => self.unreadable.push(position..position + 1),
            }
        }
        match &mut self.into {
            Into::JsonLines(lines) => lines.flush(),
            Into::Parquet(_) => Ok(()),
        }
    }

    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Positions whose bytes passed their checksum and are yet no span.
    pub fn unreadable(&self) -> &[Range<u64>] {
        &self.unreadable
    }

    /// Ends the object and gives the writer back.
    pub fn finish(self) -> io::Result<W> {
        match self.into {
            Into::JsonLines(lines) => lines.finish(),
            Into::Parquet(rows) => rows.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
