//! A row of Parquet as a span, with what it says beside it.
//!
//! Columns are found by their names, whatever their order; one that nobody knows is passed over, and what a row
//! lacks its span lacks.

use std::borrow::Cow;

use parquet::errors::{ParquetError, Result as Parsed};
use parquet::record::{Field, Row};

use crate::channel::Origin;
use crate::span::{Annotation, Endpoint, Kind, Span, TraceId};

/// What a row says.
#[derive(Default)]
pub(super) struct Cells {
    pub span: Span<'static>,
    pub received_us: Option<u64>,
    pub origin: Option<Origin>,
}

impl Cells {
    pub fn read(row: Row) -> Parsed<Cells> {
        let mut cells = Cells::default();
        let (mut local, mut remote) = (Endpoint::default(), Endpoint::default());
        for (name, field) in row.into_columns() {
            if let Field::Null = field {
                continue;
            }
            let read = match (name.strip_prefix("local_"), name.strip_prefix("remote_")) {
                (Some(part), _) => endpoint(part, field, &mut local),
                (_, Some(part)) => endpoint(part, field, &mut remote),
                _ => cells.cell(&name, field),
            };
            read.ok_or_else(|| ParquetError::General(format!("column {name} holds what no span has there")))?;
        }
        let present = |endpoint: Endpoint<'static>| (endpoint != Endpoint::default()).then_some(endpoint);
        (cells.span.local, cells.span.remote) = (present(local), present(remote));
        Ok(cells)
    }

    /// `None`: of another kind than the schema's.
    fn cell(&mut self, name: &str, field: Field) -> Option<()> {
        let span = &mut self.span;
        match name {
            "trace_id" => span.trace_id = trace_id(&text(field)?)?,
            "parent_id" => span.parent_id = hex(&text(field)?)?,
            "id" => span.id = hex(&text(field)?)?,
            "kind" => span.kind = Some(kind(&text(field)?)?),
            "name" => span.name = Some(text(field)?.into()),
            "timestamp" => span.timestamp_us = number(&field)?.cast_unsigned(),
            "duration" => span.duration_us = number(&field)?.cast_unsigned(),
            "annotations" => span.annotations = annotations(&field)?,
            "tags" => {
                span.tags = pairs(&field)?.map(|pair| pair.map(|(k, v)| (k.into(), v.into()))).collect::<Option<_>>()?
            }
            "debug" => span.debug = yes(&field)?,
            "shared" => span.shared = yes(&field)?,
            "received" => self.received_us = u64::try_from(number(&field)?).ok(),
            "origin" => self.origin = Some(Origin(pairs(&field)?.collect::<Option<_>>()?)),
            _ => {}
        }
        Some(())
    }
}

fn endpoint(part: &str, field: Field, endpoint: &mut Endpoint<'static>) -> Option<()> {
    match part {
        "service_name" => endpoint.service_name = Some(text(field)?.into()),
        "ipv4" => endpoint.ipv4 = Some(text(field)?.parse::<std::net::Ipv4Addr>().ok()?.octets()),
        "ipv6" => endpoint.ipv6 = Some(text(field)?.parse::<std::net::Ipv6Addr>().ok()?.octets()),
        "port" => endpoint.port = u16::try_from(number(&field)?).ok()?,
        _ => {}
    }
    Some(())
}

fn text(field: Field) -> Option<String> {
    if let Field::Str(text) = field { Some(text) } else { None }
}

fn number(field: &Field) -> Option<i64> {
    match field {
        Field::Long(number) | Field::TimestampMicros(number) => Some(*number),
        Field::Int(number) => Some(i64::from(*number)),
        _ => None,
    }
}

fn yes(field: &Field) -> Option<bool> {
    if let Field::Bool(yes) = field { Some(*yes) } else { None }
}

fn trace_id(digits: &str) -> Option<TraceId> {
    let (high, low) = digits.split_at_checked(digits.len().checked_sub(16)?)?;
    Some(TraceId { high: if high.is_empty() { 0 } else { hex(high)? }, low: hex(low)? })
}

fn hex(digits: &str) -> Option<u64> {
    let good = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(digits, 16).ok().filter(|_| good)
}

fn kind(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name)
}

fn annotations(field: &Field) -> Option<Vec<Annotation<'static>>> {
    let Field::ListInternal(list) = field else { return None };
    list.elements().iter().map(annotation).collect()
}

fn annotation(field: &Field) -> Option<Annotation<'static>> {
    let Field::Group(row) = field else { return None };
    let mut annotation = Annotation { timestamp_us: 0, value: Cow::Borrowed("") };
    for (name, field) in row.get_column_iter() {
        match name.as_str() {
            "timestamp" => annotation.timestamp_us = number(field)?.cast_unsigned(),
            "value" => annotation.value = text(field.clone())?.into(),
            _ => {}
        }
    }
    Some(annotation)
}

/// A map's entries.
fn pairs(field: &Field) -> Option<impl Iterator<Item = Option<(String, String)>>> {
    let Field::MapInternal(map) = field else { return None };
    Some(map.entries().iter().map(|(key, value)| Some((text(key.clone())?, text(value.clone())?))))
}
