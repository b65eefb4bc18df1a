use std::io::Read;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::RowAccessor;
use flate2::read::MultiGzDecoder;

use super::*;
use crate::archive::object::tests::object;
use crate::channel::{FrameAt, Kind, Origin};
use crate::span::{Batch, Span, TraceId};

/// A frame of `spans`, whose positions begin at `first`.
pub(super) fn frame(first: u64, spans: Vec<Span<'_>>) -> Part {
    let mut batch = Batch::default();
    let count = spans.len() as u32;
    for mut span in spans {
        batch.push(&mut span);
    }
    let items: Vec<Item> =
        batch.items.iter().map(|i| Item { key: i.key, len: i.len, label: i.label, flags: i.flags }).collect();
    let head = Head {
        at: FrameAt { segment: 0, offset: 4096, first, items: count },
        kind: Kind::Spans,
        received_us: 1,
        origin: Arc::new(Origin::default()),
        labels: vec![],
        items,
        body_len: batch.body.len() as u32,
    };
    Part { head: Arc::new(head), items: 0..count, body: batch.body.into() }
}

/// A frame of spans with ids from `first` + 1 on.
pub(super) fn part(first: u64, spans: u32) -> Part {
    let span = |id| Span { trace_id: TraceId { high: 0, low: id }, id, name: Some("get".into()), ..Span::default() };
    frame(first, (first + 1..=first + u64::from(spans)).map(span).collect())
}

/// The object, what went into it, and the positions that did not.
pub(super) fn encode(format: Format, parts: &[Part]) -> (Vec<u8>, Tally, Vec<u64>) {
    let mut encoder = Encoder::new(format, &object(), Vec::new()).unwrap();
    for part in parts {
        encoder.add(part).unwrap();
    }
    let (tally, unreadable) = (encoder.tally(), encoder.unreadable().iter().cloned().flatten().collect());
    (encoder.finish().unwrap(), tally, unreadable)
}

fn ids(format: Format, object: Vec<u8>) -> Vec<u64> {
    let mut text = String::new();
    match format {
        Format::JsonLinesGzip1 => MultiGzDecoder::new(&object[..]).read_to_string(&mut text).unwrap(),
        Format::JsonLinesZstd1 => zstd::Decoder::new(&object[..]).unwrap().read_to_string(&mut text).unwrap(),
        Format::Parquet1 => {
            let file = SerializedFileReader::new(Bytes::from(object)).unwrap();
            let rows = file.get_row_iter(None).unwrap();
            return rows.map(|row| u64::from_str_radix(row.unwrap().get_string(2).unwrap(), 16).unwrap()).collect();
        }
    };
    let span = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    text.lines().map(|line| u64::from_str_radix(span(line)["id"].as_str().unwrap(), 16).unwrap()).collect()
}

fn facts(format: Format, file: &[u8]) -> Result<Object, FactsError> {
    let part = |at: u64, len| file[at as usize..].iter().copied().take(len).collect();
    format.facts(file.len() as u64, &mut |at, len| Ok(part(at, len))).unwrap()
}

#[test]
fn each_span_is_there_in_order() {
    for format in Format::ALL {
        let (bytes, tally, unreadable) = encode(format, &[part(0, 3), part(3, 2)]);
        assert_eq!(ids(format, bytes), [1, 2, 3, 4, 5], "{format}");
        assert_eq!(tally, Tally { spans: 5, bytes: part(0, 3).bytes() + part(3, 2).bytes() });
        assert_eq!(unreadable, Vec::<u64>::new());
    }
}

#[test]
fn only_the_items_of_the_stretch_are_written() {
    for format in Format::ALL {
        let mut part = part(10, 5);
        part.items = 1..3;
        assert_eq!(ids(format, encode(format, &[part]).0), [12, 13], "{format}");
    }
}

#[test]
fn the_same_spans_give_the_same_bytes_however_they_come() {
    for format in Format::ALL {
        let (bytes, ..) = encode(format, &[part(0, 100)]);
        assert_eq!(bytes, encode(format, &[part(0, 100)]).0, "{format}");
    }
    let (gzip, ..) = encode(Format::JsonLinesGzip1, &[part(0, 100)]);
    assert_eq!(gzip[4..8], [0; 4], "no modification time");
    assert_eq!(gzip[9], 255, "no operating system");
}

#[test]
fn an_object_says_what_it_holds() {
    for format in Format::ALL {
        for parts in [vec![], vec![part(0, 100)]] {
            assert_eq!(facts(format, &encode(format, &parts).0), Ok(object()), "{format}");
        }
    }
}

#[test]
fn what_is_cut_within_its_facts_is_no_object() {
    for format in Format::ALL {
        let (bytes, ..) = encode(format, &[]);
        // Parquet ends with its facts, the others begin with them.
        let end = match format {
            Format::JsonLinesGzip1 => bytes.iter().skip(10).position(|&b| b == 0).unwrap() + 10,
            Format::JsonLinesZstd1 => 7 + object().to_string().len(),
            Format::Parquet1 => bytes.len() - 1,
        };
        for cut in 0..=end {
            assert!(facts(format, &bytes[..cut]).is_err(), "{format} cut at {cut}");
        }
    }
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_parquet_footer_is_an_error_or_other_facts_but_never_a_panic() {
    let (bytes, ..) = encode(Format::Parquet1, &[part(0, 3)]);
    let footer = u32::from_le_bytes(*bytes[bytes.len() - 8..].first_chunk().unwrap()) as usize + 8;
    for byte in 0..footer {
        let mut flipped = bytes.clone();
        flipped[bytes.len() - footer + byte] ^= 1 << (byte % 8);
        let _ = facts(Format::Parquet1, &flipped);
    }
}

#[test]
fn a_file_of_another_kind_is_told_from_an_object() {
    let mut others = vec![vec![], b"PAR1 and more".to_vec(), b"\x00\x00\x00\x00PAR1".to_vec(), vec![0xff; 5000]];
    others.push([&0x184D_2A50u32.to_le_bytes()[..], &u32::MAX.to_le_bytes(), b"spangate/1"].concat());
    others.push([&u32::MAX.to_le_bytes()[..], b"PAR1"].concat());
    for format in Format::ALL {
        others.push(encode(format, &[]).0);
        for other in &others[..others.len() - 1] {
            assert_eq!(facts(format, other), Err(FactsError::None { format }), "{other:?}");
        }
        others.pop();
    }
    let named = flate2::GzBuilder::new().filename("june-0-1-2-3-4.jsonl");
    let other = named.write(Vec::new(), flate2::Compression::fast()).finish().unwrap();
    assert_eq!(facts(Format::JsonLinesGzip1, &other), Err(FactsError::None { format: Format::JsonLinesGzip1 }));
    let skipped = [&0x184D_2A50u32.to_le_bytes()[..], &4u32.to_le_bytes(), b"june"].concat();
    assert!(matches!(facts(Format::JsonLinesZstd1, &skipped), Err(FactsError::Facts(_))));
}

#[test]
fn bytes_that_are_no_span_are_left_out_and_named() {
    for format in Format::ALL {
        let mut broken = part(50, 3);
        let len = broken.head.items[0].len as usize;
        let mut body = broken.body.to_vec();
        body[len] = 0xff; // the tag of the second element
        broken.body = body.into();
        let (bytes, tally, unreadable) = encode(format, &[broken]);
        assert_eq!(ids(format, bytes), [51, 53], "{format}");
        assert_eq!(tally.spans, 2);
        assert_eq!(unreadable, [51]);
    }
}

#[test]
fn a_body_shorter_than_its_items_costs_only_what_is_missing() {
    for format in Format::ALL {
        let mut short = part(7, 3);
        short.body = short.body.slice(..short.body.len() - 1);
        let (bytes, _, unreadable) = encode(format, &[short]);
        assert_eq!(ids(format, bytes), [8, 9], "{format}");
        assert_eq!(unreadable, [9]);
    }
}

#[test]
fn a_format_is_told_by_its_name_and_by_the_end_of_a_files() {
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
        assert_eq!(Format::of_name(&format!("a.{}", format.extension())), Some(format));
    }
    for name in ["", "parquet", ".gz", "a.jsonl", "aparquet", "a.parquet.tmp"] {
        assert_eq!(Format::of_name(name), None, "{name}");
    }
    assert!("parquet/2".parse::<Format>().unwrap_err().to_string().contains("\"parquet/2\""));
}
