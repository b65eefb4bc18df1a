//! Parquet, zstd: one row a span, columns that people query by (`schema`).
//!
//! Rows are gathered column by column (`columns`) and written as a row group when they are many or large: that bounds
//! the memory, whatever the object's size. The object's facts stand in the file's own metadata under `spangate`, in the
//! footer. Neither a time nor a version of any library goes in, so that the same plan gives the same bytes.

mod columns;
mod schema;

use std::io::{self, Write};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::{FooterTail, KeyValue, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::writer::SerializedFileWriter;

use self::columns::Columns;
use super::{FactsError, Format};
use crate::archive::object::Object;
use crate::channel::Head;
use crate::span::{Span, canonical};

/// Rows of a row group. Readers split their work by row groups and skip by their statistics: fewer, larger ones pack
/// better, and skip worse. Part of encoder 1.
const GROUP_ROWS: usize = 50_000;
/// Bytes of a row group, as [`weight`] counts them: bounds the memory, which is four times that at most. Part of
/// encoder 1.
const GROUP_BYTES: usize = 16 << 20;
/// What a tag or an annotation weighs beside its bytes: its ends and levels take more memory than a short one has
/// bytes.
const ENTRY_BYTES: usize = 8;

const FACTS_KEY: &str = "spangate";
/// Length of the footer and "PAR1".
const TAIL_BYTES: usize = 8;
/// Footers of our objects take a few kilobytes a row group; a longer one is a stranger's.
const FOOTER_BYTES_MAX: usize = 64 << 20;

/// Rows on their way into a file.
pub(super) struct Rows<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Columns,
    /// What the rows in `columns` weigh.
    bytes: usize,
}

impl<W: Write + Send> Rows<W> {
    pub fn new(object: &Object, out: W) -> io::Result<Self> {
        let facts = KeyValue::new(FACTS_KEY.to_owned(), object.to_string());
        let rows = object.spans.min(GROUP_ROWS as u64);
        let properties = Arc::new(schema::properties(rows, facts));
        let writer = SerializedFileWriter::new(out, schema::schema(), properties).map_err(as_io)?;
        Ok(Rows { writer, columns: Columns::default(), bytes: 0 })
    }

    /// Adds a span; `None` where its bytes are not one. An error is the writer's.
    pub fn add(&mut self, element: &[u8], head: &Head) -> io::Result<Option<()>> {
        let Ok(span) = canonical::span_bytes(element).and_then(canonical::read) else { return Ok(None) };
        self.columns.push(&span, head);
        self.bytes += weight(element, &span, head);
        if self.columns.rows() >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.write_group()?;
        }
        Ok(Some(()))
    }

    fn write_group(&mut self) -> io::Result<()> {
        let columns = std::mem::take(&mut self.columns);
        self.bytes = 0;
        let mut group = self.writer.next_row_group().map_err(as_io)?;
        columns.write(&mut group).map_err(as_io)?;
        group.close().map(drop).map_err(as_io)
    }

    pub fn finish(mut self) -> io::Result<W> {
        if self.columns.rows() > 0 {
            self.write_group()?;
        }
        self.writer.into_inner().map_err(as_io)
    }
}

/// What a row takes of a row group: the origin stands in each, whatever its frame holds.
fn weight(element: &[u8], span: &Span<'_>, head: &Head) -> usize {
    let origin: usize = head.origin.0.iter().map(|(key, value)| key.len() + value.len()).sum();
    element.len() + origin + ENTRY_BYTES * (span.tags.len() + span.annotations.len())
}

/// The writer's own errors come back as they were.
fn as_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

/// The metadata at the end of a file; `None` where there is none that may be ours. `read(at, len)` gives at most that
/// many of its bytes.
pub(in crate::archive) fn footer<B: AsRef<[u8]>, E>(
    len: u64,
    read: &mut dyn FnMut(u64, usize) -> Result<B, E>,
) -> Result<Option<ParquetMetaData>, E> {
    let Some(tail_at) = len.checked_sub(TAIL_BYTES as u64) else { return Ok(None) };
    let tail = read(tail_at, TAIL_BYTES)?;
    let tail = tail.as_ref().first_chunk().and_then(|tail| FooterTail::try_new(tail).ok());
    let footer_len = tail.map_or(usize::MAX, |tail| tail.metadata_length());
    let at = tail_at.checked_sub(footer_len as u64).filter(|_| footer_len <= FOOTER_BYTES_MAX);
    let Some(at) = at else { return Ok(None) };
    Ok(ParquetMetaDataReader::decode_metadata(read(at, footer_len)?.as_ref()).ok())
}

/// An object's facts, from the end of its file.
pub(super) fn facts(
    len: u64,
    read: &mut dyn FnMut(u64, usize) -> io::Result<Vec<u8>>,
) -> io::Result<Result<Object, FactsError>> {
    let none = FactsError::None { format: Format::Parquet1 };
    let Some(footer) = footer(len, read)? else { return Ok(Err(none)) };
    let ours = footer.file_metadata().key_value_metadata().into_iter().flatten().find(|pair| pair.key == FACTS_KEY);
    match ours.and_then(|pair| pair.value.as_ref()) {
        Some(facts) => Ok(facts.parse::<Object>().map_err(FactsError::Facts)),
        None => Ok(Err(none)),
    }
}

#[cfg(test)]
mod tests;
