//! Rows of a row group, gathered column by column, and written in the schema's order.
//!
//! A column of texts is one buffer and the ends in it. Values are handed on some thousands at a time, so that a row
//! group is in memory once.

use std::io::Write;
use std::mem;

use bytes::Bytes;
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::Result;
use parquet::file::writer::SerializedRowGroupWriter;

use crate::channel::Head;
use crate::span::{Endpoint, Span};
use crate::wire::json_v2::{hex, write_ipv6};

/// Values handed on at once.
const WRITE: usize = 4096;

/// A column's values, and for each entry whether there is one (definition) and whether it goes on with the row before
/// (repetition). A flat column that always has a value uses neither.
#[derive(Default)]
struct Column<V> {
    values: V,
    defined: Vec<i16>,
    repeated: Vec<i16>,
}

#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }
}

/// The columns that an endpoint becomes.
#[derive(Default)]
struct EndpointColumns {
    service_name: Column<Texts>,
    ipv4: Column<Texts>,
    ipv6: Column<Texts>,
    port: Column<Vec<i32>>,
}

#[derive(Default)]
struct Pairs {
    keys: Column<Texts>,
    values: Column<Texts>,
}

/// The rows of a row group.
#[derive(Default)]
pub struct Columns {
    rows: usize,
    trace_id: Column<Texts>,
    parent_id: Column<Texts>,
    id: Column<Texts>,
    kind: Column<Texts>,
    name: Column<Texts>,
    timestamp: Column<Vec<i64>>,
    duration: Column<Vec<i64>>,
    local: EndpointColumns,
    remote: EndpointColumns,
    annotation_timestamps: Column<Vec<i64>>,
    annotation_values: Column<Texts>,
    tags: Pairs,
    debug: Column<Vec<bool>>,
    shared: Column<Vec<bool>>,
    received: Column<Vec<i64>>,
    origin: Pairs,
    scratch: Vec<u8>,
}

impl Columns {
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn push(&mut self, span: &Span<'_>, head: &Head) {
        self.rows += 1;
        self.ids(span);
        self.kind.optional(span.kind.map(|kind| kind.name().as_bytes()));
        self.name.optional(span.name.as_ref().map(|name| name.as_bytes()));
        self.timestamp.optional(present(span.timestamp_us));
        self.duration.optional(present(span.duration_us));
        self.local.push(span.local.as_ref(), &mut self.scratch);
        self.remote.push(span.remote.as_ref(), &mut self.scratch);
        self.annotation_timestamps.list(span.annotations.iter().map(|a| a.timestamp_us as i64));
        self.annotation_values.list(span.annotations.iter().map(|a| a.value.as_bytes()));
        self.tags.push(span.tags.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())));
        self.debug.values.push(span.debug);
        self.shared.values.push(span.shared);
        self.received.values.push(head.received_us as i64);
        self.origin(head);
    }

    fn ids(&mut self, span: &Span<'_>) {
        let text = &mut self.scratch;
        text.clear();
        if span.trace_id.high != 0 {
            hex(span.trace_id.high, text);
        }
        hex(span.trace_id.low, text);
        self.trace_id.values.push(text);
        text.clear();
        hex(span.parent_id, text);
        self.parent_id.optional((span.parent_id != 0).then_some(text.as_slice()));
        text.clear();
        hex(span.id, text);
        self.id.values.push(text);
    }

    /// A key that stands several times (`via`) would be a broken map: its values become one, joined by commas.
    fn origin(&mut self, head: &Head) {
        let pairs = &head.origin.0;
        if pairs.iter().enumerate().all(|(n, (key, _))| pairs[..n].iter().all(|(earlier, _)| earlier != key)) {
            return self.origin.push(pairs.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())));
        }
        let mut joined: Vec<(&str, String)> = Vec::new();
        for (key, value) in pairs {
            match joined.iter_mut().find(|(known, _)| known == key) {
                Some((_, all)) => {
                    all.push(',');
                    all.push_str(value);
                }
                None => joined.push((key, value.clone())),
            }
        }
        self.origin.push(joined.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())));
    }

    /// Writes each column, in the schema's order.
    pub fn write<W: Write + Send>(self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        let mut out = Out(group);
        out.texts(self.trace_id)?;
        out.texts(self.parent_id)?;
        out.texts(self.id)?;
        out.texts(self.kind)?;
        out.texts(self.name)?;
        out.numbers::<Int64Type>(self.timestamp)?;
        out.numbers::<Int64Type>(self.duration)?;
        for endpoint in [self.local, self.remote] {
            out.texts(endpoint.service_name)?;
            out.texts(endpoint.ipv4)?;
            out.texts(endpoint.ipv6)?;
            out.numbers::<Int32Type>(endpoint.port)?;
        }
        out.numbers::<Int64Type>(self.annotation_timestamps)?;
        out.texts(self.annotation_values)?;
        out.texts(self.tags.keys)?;
        out.texts(self.tags.values)?;
        out.numbers::<BoolType>(self.debug)?;
        out.numbers::<BoolType>(self.shared)?;
        out.numbers::<Int64Type>(self.received)?;
        out.texts(self.origin.keys)?;
        out.texts(self.origin.values)
    }
}

impl EndpointColumns {
    fn push(&mut self, endpoint: Option<&Endpoint<'_>>, text: &mut Vec<u8>) {
        self.service_name.optional(endpoint.and_then(|e| e.service_name.as_ref()).map(|name| name.as_bytes()));
        text.clear();
        if let Some([a, b, c, d]) = endpoint.and_then(|e| e.ipv4) {
            text.extend_from_slice(format!("{a}.{b}.{c}.{d}").as_bytes());
        }
        self.ipv4.optional((!text.is_empty()).then_some(text.as_slice()));
        text.clear();
        if let Some(ipv6) = endpoint.and_then(|e| e.ipv6) {
            write_ipv6(ipv6, text);
        }
        self.ipv6.optional((!text.is_empty()).then_some(text.as_slice()));
        self.port.optional(endpoint.map(|e| i32::from(e.port)).filter(|port| *port != 0));
    }
}

impl Pairs {
    fn push<'a>(&mut self, pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) {
        self.keys.list(pairs.clone().map(|(key, _)| key));
        self.values.list(pairs.map(|(_, value)| value));
    }
}

/// Something that values of type `T` can be added to.
trait Push<T> {
    fn add(&mut self, value: T);
}

impl Push<&[u8]> for Texts {
    fn add(&mut self, value: &[u8]) {
        self.push(value);
    }
}

impl<T> Push<T> for Vec<T> {
    fn add(&mut self, value: T) {
        self.push(value);
    }
}

impl<V> Column<V> {
    fn optional<T>(&mut self, value: Option<T>)
    where
        V: Push<T>,
    {
        self.defined.push(i16::from(value.is_some()));
        if let Some(value) = value {
            self.values.add(value);
        }
    }

    /// The elements of one row.
    fn list<T>(&mut self, values: impl Iterator<Item = T>)
    where
        V: Push<T>,
    {
        let before = self.defined.len();
        for value in values {
            self.repeated.push(i16::from(self.defined.len() > before));
            self.defined.push(1);
            self.values.add(value);
        }
        if self.defined.len() == before {
            self.repeated.push(0);
            self.defined.push(0);
        }
    }
}

fn present(number: u64) -> Option<i64> {
    (number != 0).then_some(number as i64)
}

/// A row group that is asked for its columns one by one.
struct Out<'a, 'b, W: Write>(&'a mut SerializedRowGroupWriter<'b, W>);

impl<W: Write + Send> Out<'_, '_, W> {
    fn texts(&mut self, column: Column<Texts>) -> Result<()> {
        let Texts { bytes, ends } = column.values;
        let bytes = Bytes::from(bytes);
        let mut start = 0;
        let values = ends.into_iter().map(|end| ByteArray::from(bytes.slice(mem::replace(&mut start, end)..end)));
        self.column::<ByteArrayType>(values, &column.defined, &column.repeated)
    }

    fn numbers<D: DataType>(&mut self, column: Column<Vec<D::T>>) -> Result<()> {
        self.column::<D>(column.values.into_iter(), &column.defined, &column.repeated)
    }

    fn column<D: DataType>(
        &mut self,
        mut values: impl Iterator<Item = D::T>,
        defined: &[i16],
        repeated: &[i16],
    ) -> Result<()> {
        let mut column = self.0.next_column()?.expect("as many columns as the schema has");
        let writer: &mut ColumnWriterImpl<'_, D> = column.typed::<D>();
        let mut batch = Vec::with_capacity(WRITE);
        let mut at = 0;
        loop {
            batch.clear();
            let levels = if defined.is_empty() {
                batch.extend(values.by_ref().take(WRITE));
                None
            } else {
                let end = row_end(repeated, (at + WRITE).min(defined.len()), defined.len());
                let levels = &defined[at..end];
                batch.extend(values.by_ref().take(levels.iter().filter(|d| **d == 1).count()));
                Some((levels, (!repeated.is_empty()).then(|| &repeated[at..end])))
            };
            match levels {
                None if batch.is_empty() => break,
                None => drop(writer.write_batch(&batch, None, None)?),
                Some(([], _)) => break,
                Some((levels, repeated)) => {
                    writer.write_batch(&batch, Some(levels), repeated)?;
                    at += levels.len();
                }
            }
        }
        column.close()
    }
}

/// The first entry from `at` on that begins a row: a list is not cut.
fn row_end(repeated: &[i16], at: usize, end: usize) -> usize {
    if repeated.is_empty() {
        return at;
    }
    repeated[at..].iter().position(|r| *r == 0).map_or(end, |n| at + n)
}
