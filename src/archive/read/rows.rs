//! Parquet read back: a row group at a time, and only those that may hold what is asked for.
//!
//! What is read of a group: its Bloom filter where a whole trace id is asked for, its trace ids where half of one is;
//! then, if any of its rows may be meant, all of it. A group of ours takes some megabytes; one that takes far more is
//! no group of ours.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::bloom_filter::Sbbf;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result as Parsed};
use parquet::file::metadata::page_index::RowGroupPageIndex;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{ChunkReader, Length, RowGroupReader};
use parquet::file::serialized_reader::SerializedRowGroupReader;
use parquet::file::statistics::Statistics;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

use super::row::Cells;
use super::source::Source;
use super::{About, Rows, Selection, Trace, Trouble};
use crate::archive::format::parquet as ours;
use crate::archive::object::Object;
use crate::channel::Origin;

/// Bytes of a group that are fetched at once; a group of ours has a quarter of this at most.
const GROUP_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a Bloom filter; one for 50,000 trace ids has 128 KiB.
const FILTER_BYTES_MAX: u64 = 4 << 20;

pub(super) struct Groups {
    source: Source,
    facts: Object,
    metadata: ParquetMetaData,
    /// Of the groups.
    next: usize,
    /// The first row of the next group.
    row: u64,
}

impl Groups {
    pub fn open(source: Source, facts: Object) -> Result<Groups, Trouble> {
        let footer = ours::footer(source.len(), &mut |at, len| source.read(at, len as u64))?;
        let metadata = footer.ok_or_else(|| source.damaged("it has no footer"))?;
        let rows = metadata.file_metadata().num_rows();
        if u64::try_from(rows) != Ok(facts.spans) {
            return Err(source.damaged(format!("it has {rows} rows, not {}", facts.spans)));
        }
        Ok(Groups { source, facts, metadata, next: 0, row: 0 })
    }

    /// What is meant of the next group that may hold something; nothing at the end.
    pub fn next(&mut self, selection: &Selection) -> Result<Option<Rows>, Trouble> {
        while self.next < self.metadata.num_row_groups() {
            let group = self.metadata.row_group(self.next);
            let first = self.row;
            self.next += 1;
            self.row +=
                u64::try_from(group.num_rows()).map_err(|_| self.source.damaged("a group has less than no rows"))?;
            if self.may_hold(group, selection)? {
                return self.read(group, first, selection).map(Some);
            }
        }
        Ok(None)
    }

    /// The dear questions come last.
    fn may_hold(&self, group: &RowGroupMetaData, selection: &Selection) -> Result<bool, Trouble> {
        let received = match column(group, "received").and_then(ColumnChunkMetaData::statistics) {
            Some(Statistics::Int64(of)) => of.min_opt().zip(of.max_opt()),
            _ => None,
        };
        let time = |us: &i64| u64::try_from(*us).unwrap_or(0);
        let services = column(group, "local_service_name").and_then(ColumnChunkMetaData::statistics);
        let services = services.and_then(|of| of.min_bytes_opt().zip(of.max_bytes_opt()));
        Ok(received.is_none_or(|(min, max)| selection.may_hold_received(time(min), time(max)))
            && services.is_none_or(|(min, max)| selection.may_hold_service(min, max))
            && match selection.trace {
                None => true,
                Some(trace @ Trace::Whole(id)) => self.filter_has(group, &id.to_string())? && self.has(group, trace)?,
                Some(trace) => self.has(group, trace)?,
            })
    }

    /// By the Bloom filter; true where there is none.
    fn filter_has(&self, group: &RowGroupMetaData, id: &str) -> Result<bool, Trouble> {
        let place = |column: &ColumnChunkMetaData| column.bloom_filter_offset().zip(column.bloom_filter_length());
        let Some((at, len)) = column(group, "trace_id").and_then(place) else { return Ok(true) };
        let (at, len) = (u64::try_from(at).unwrap_or(u64::MAX), u64::try_from(len).unwrap_or(u64::MAX));
        if len > FILTER_BYTES_MAX {
            return Err(self.source.damaged(format!("a Bloom filter of {len} bytes is none of ours")));
        }
        let bytes = self.source.read(at, len)?;
        self.parsed(|| Ok(Sbbf::from_bytes(&bytes)?.check(&ByteArray::from(id.as_bytes().to_vec()))))
    }

    /// By all trace ids of the group.
    fn has(&self, group: &RowGroupMetaData, trace: Trace) -> Result<bool, Trouble> {
        let root = self.metadata.file_metadata().schema_descr().root_schema();
        let field = root.get_fields().iter().find(|field| field.name() == "trace_id");
        let (Some(field), Some(column)) = (field, column(group, "trace_id")) else { return Ok(true) };
        let projection = Type::group_type_builder(root.name()).with_fields(vec![field.clone()]).build();
        let fetched = self.fetch([column].into_iter())?;
        self.parsed(|| {
            let reader = reader(fetched, group)?;
            for row in RowIter::from_row_group(Some(projection?), &reader)? {
                if trace.is(Cells::read(row?)?.span.trace_id) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn read(&self, group: &RowGroupMetaData, first: u64, selection: &Selection) -> Result<Rows, Trouble> {
        let fetched = self.fetch(group.columns().iter())?;
        self.parsed(|| {
            let mut rows = Rows { end: self.row, ..Rows::default() };
            let mut known: Option<Arc<Origin>> = None;
            let reader = reader(fetched, group)?;
            for (row, found) in (first..).zip(RowIter::from_row_group(None, &reader)?) {
                let Cells { mut span, received_us, origin } = Cells::read(found?)?;
                if span.zero_id().is_some() {
                    return Err(ParquetError::General(format!("row {row} has no id")));
                }
                if !selection.takes(&self.facts, row, &span, received_us, origin.as_ref()) {
                    continue;
                }
                // The spans of a message have one.
                if known.as_deref() != origin.as_ref() {
                    known = origin.map(Arc::new);
                }
                rows.spans.push(&mut span);
                rows.about.push(About { row, received_us, origin: known.clone() });
            }
            Ok(rows)
        })
    }

    /// From the first byte of these columns to the last.
    fn fetch<'a>(&self, columns: impl Iterator<Item = &'a ColumnChunkMetaData>) -> Result<Fetched, Trouble> {
        let (mut start, mut end) = (u64::MAX, 0);
        for column in columns {
            // What is negative would be a panic of `byte_range`.
            let (at, len) = catch_unwind(AssertUnwindSafe(|| column.byte_range())).unwrap_or((u64::MAX, 0));
            (start, end) = (start.min(at), end.max(at.saturating_add(len)));
        }
        let len = end.checked_sub(start).filter(|len| *len <= GROUP_BYTES_MAX);
        let len =
            len.ok_or_else(|| self.source.damaged(format!("a row group from {start} to {end} is none of ours")))?;
        Ok(Fetched { start, bytes: self.source.read(start, len)? })
    }

    /// Runs the format's library over bytes that may be damaged: it errs, or panics on what its authors did not expect.
    fn parsed<T>(&self, parse: impl FnOnce() -> Parsed<T>) -> Result<T, Trouble> {
        match catch_unwind(AssertUnwindSafe(parse)) {
            Ok(parsed) => parsed.map_err(|error| self.source.damaged(error)),
            Err(_) => Err(self.source.damaged("the reader of Parquet gave up on it")),
        }
    }
}

fn column<'a>(group: &'a RowGroupMetaData, name: &str) -> Option<&'a ColumnChunkMetaData> {
    group.columns().iter().find(|column| column.column_path().parts() == [name])
}

fn reader(fetched: Fetched, group: &RowGroupMetaData) -> Parsed<impl RowGroupReader + use<'_>> {
    let properties = Arc::new(ReaderProperties::builder().build());
    SerializedRowGroupReader::new(Arc::new(fetched), group, RowGroupPageIndex::new(0, None), properties)
}

/// A part of a file, read by the offsets of the whole.
struct Fetched {
    start: u64,
    bytes: Bytes,
}

impl Fetched {
    fn from(&self, at: u64) -> Parsed<Bytes> {
        let skip = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let skip = skip.filter(|skip| *skip <= self.bytes.len());
        skip.map(|skip| self.bytes.slice(skip..)).ok_or_else(|| ParquetError::EOF(format!("byte {at} is not in it")))
    }
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Fetched {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Parsed<Self::T> {
        self.from(start).map(Buf::reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Parsed<Bytes> {
        let rest = self.from(start)?;
        let short = || ParquetError::EOF(format!("{length} bytes from {start} on are not in it"));
        if length <= rest.len() { Ok(rest.slice(..length)) } else { Err(short()) }
    }
}
