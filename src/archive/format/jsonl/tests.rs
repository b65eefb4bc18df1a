use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::*;
use crate::archive::object::tests::object;
use crate::channel::{FrameAt, Kind, Origin};
use crate::span::{Batch, Span, TraceId};

/// A frame of spans with ids from `first` on.
fn part(first: u64, spans: u32) -> Part {
    let mut batch = Batch::default();
    for id in first..first + u64::from(spans) {
        let name = Some("get".into());
        batch.push(&mut Span { trace_id: TraceId { high: 0, low: id + 1 }, id: id + 1, name, ..Span::default() });
    }
    let items: Vec<Item> =
        batch.items.iter().map(|i| Item { key: i.key, len: i.len, label: i.label, flags: i.flags }).collect();
    let head = Head {
        at: FrameAt { segment: 0, offset: 4096, first, items: spans },
        kind: Kind::Spans,
        received_us: 1,
        origin: Arc::new(Origin::default()),
        labels: vec![],
        items,
        body_len: batch.body.len() as u32,
    };
    Part { head: Arc::new(head), items: 0..spans, body: batch.body.into() }
}

/// The object, what went into it, and the positions that did not.
fn encode(parts: &[Part]) -> (Vec<u8>, Tally, Vec<u64>) {
    let mut encoder = Encoder::new(&object(), Vec::new());
    for part in parts {
        encoder.add(part).unwrap();
    }
    let (tally, unreadable) = (encoder.tally(), encoder.unreadable().iter().cloned().flatten().collect());
    (encoder.finish().unwrap(), tally, unreadable)
}

fn ids(object: &[u8]) -> Vec<u64> {
    let mut text = String::new();
    MultiGzDecoder::new(object).read_to_string(&mut text).unwrap();
    let span = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    text.lines().map(|line| u64::from_str_radix(span(line)["id"].as_str().unwrap(), 16).unwrap()).collect()
}

#[test]
fn each_span_is_a_line_in_order() {
    let (bytes, tally, unreadable) = encode(&[part(0, 3), part(3, 2)]);
    assert_eq!(ids(&bytes), [1, 2, 3, 4, 5]);
    assert_eq!(tally, Tally { spans: 5, bytes: part(0, 3).bytes() + part(3, 2).bytes() });
    assert_eq!(unreadable, Vec::<u64>::new());
}

#[test]
fn only_the_items_of_the_stretch_are_written() {
    let mut part = part(10, 5);
    part.items = 1..3;
    assert_eq!(ids(&encode(&[part]).0), [12, 13]);
}

#[test]
fn the_same_spans_give_the_same_bytes_without_a_time_or_a_host() {
    let (bytes, ..) = encode(&[part(0, 100)]);
    assert_eq!(bytes, encode(&[part(0, 100)]).0);
    assert_eq!(bytes[4..8], [0; 4], "no modification time");
    assert_eq!(bytes[9], 255, "no operating system");
}

#[test]
fn the_header_says_what_the_object_holds() {
    let (bytes, ..) = encode(&[part(0, 100)]);
    assert_eq!(read_header(&bytes), Ok(object()));
    assert_eq!(read_header(&bytes[..bytes.len().min(HEADER_BYTES_MAX)]), Ok(object()));
}

#[test]
fn a_header_cut_at_any_byte_is_not_an_object() {
    let (bytes, ..) = encode(&[]);
    let end = bytes.iter().skip(10).position(|&b| b == 0).unwrap() + 10;
    for cut in 0..=end {
        assert!(read_header(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_file_of_another_kind_is_told_from_an_object() {
    assert_eq!(read_header(b""), Err(HeaderError::NoComment));
    assert_eq!(read_header(b"PAR1 and more"), Err(HeaderError::NoComment));
    let plain = GzEncoder::new(Vec::new(), Compression::fast()).finish().unwrap();
    assert_eq!(read_header(&plain), Err(HeaderError::NoComment));
    let comment = flate2::GzBuilder::new().comment("backup of june");
    let other = comment.write(Vec::new(), Compression::fast()).finish().unwrap();
    assert!(matches!(read_header(&other), Err(HeaderError::Comment(_))));
}

#[test]
fn bytes_that_are_no_span_are_left_out_and_named() {
    let mut broken = part(50, 3);
    let len = broken.head.items[0].len as usize;
    let mut body = broken.body.to_vec();
    body[len] = 0xff; // the tag of the second element
    broken.body = body.into();
    let (bytes, tally, unreadable) = encode(&[broken]);
    assert_eq!(ids(&bytes), [51, 53]);
    assert_eq!(tally.spans, 2);
    assert_eq!(unreadable, [51]);
}

#[test]
fn a_body_shorter_than_its_items_costs_only_what_is_missing() {
    let mut short = part(7, 3);
    short.body = short.body.slice(..short.body.len() - 1);
    let (bytes, _, unreadable) = encode(&[short]);
    assert_eq!(ids(&bytes), [8, 9]);
    assert_eq!(unreadable, [9]);
}
