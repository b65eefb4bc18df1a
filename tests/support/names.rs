//! Spans by the names that the ledger of `spangate send` gives them: `TRACE_ID ID KIND`.
//!
//! Read from a collector's requests, an archive's objects and dead letters, with readers that are not the product's.
//! Whoever finds something unreadable panics: it is the product's fault.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use serde_json::Value;

use super::collector::field;

/// A line of the ledger.
pub type Name = String;

/// The kinds of `zipkin.proto3.Span`, by number.
const KINDS: [&str; 5] = ["-", "CLIENT", "SERVER", "PRODUCER", "CONSUMER"];

/// Of the elements of a `zipkin.proto3.ListOfSpans`; `None` where it is none.
pub fn of_proto3(mut list: &[u8]) -> Option<Vec<Name>> {
    let mut names = Vec::new();
    while !list.is_empty() {
        let (number, span) = field(&mut list)?;
        names.push(of_span(span.bytes().filter(|_| number == 1)?)?);
    }
    Some(names)
}

fn of_span(mut span: &[u8]) -> Option<Name> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (mut trace_id, mut id, mut kind) = (None, None, KINDS[0]);
    while !span.is_empty() {
        match field(&mut span)? {
            (1, value) => trace_id = Some(hex(value.bytes()?)),
            (3, value) => id = Some(hex(value.bytes()?)),
            (4, value) => kind = KINDS.get(usize::try_from(value.number()?).ok()?)?,
            _ => {}
        }
    }
    Some(format!("{} {} {kind}", trace_id?, id?))
}

/// Of a span in JSON v2.
fn of_json(span: &Value) -> Name {
    let text = |key: &str| span[key].as_str().unwrap_or_else(|| panic!("a span without {key}: {span}"));
    format!("{} {} {}", text("traceId"), text("id"), span["kind"].as_str().unwrap_or("-"))
}

/// Of an archive's object, told by the end of its name.
pub fn of_object(name: &str, bytes: &Bytes) -> Vec<Name> {
    let mut text = String::new();
    match name.split_once(".jsonl").map(|(_, coding)| coding) {
        Some(".gz") => drop(MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("the object is whole")),
        Some(".zst") => text = String::from_utf8(zstd::decode_all(&bytes[..]).expect("the object is whole")).unwrap(),
        None if name.ends_with(".parquet") => return of_parquet(bytes.clone()),
        _ => panic!("no object of an archive: {name}"),
    }
    text.lines().map(|line| of_json(&serde_json::from_str(line).expect("a line is JSON"))).collect()
}

fn of_parquet(bytes: Bytes) -> Vec<Name> {
    let file = SerializedFileReader::new(bytes).expect("the object is whole");
    let rows = file.get_row_iter(None).unwrap().map(Result::unwrap);
    rows.map(|row| {
        let text = |column: usize| row.get_string(column).cloned();
        format!("{} {} {}", text(0).unwrap(), text(2).unwrap(), text(3).unwrap_or_else(|_| "-".to_owned()))
    })
    .collect()
}

/// Of a dead letter that is a span.
pub fn of_letter(line: &str) -> Name {
    let letter: Value = serde_json::from_str(line).expect("a letter is JSON");
    let bytes = STANDARD.decode(letter["bytes"].as_str().expect("a letter has bytes")).expect("in base64");
    let names = of_proto3(&bytes).expect("a span's list element");
    names.into_iter().next().expect("a span")
}
