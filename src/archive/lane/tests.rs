use std::sync::Arc;

use super::*;
use crate::channel::{FrameAt, Item, Kind, Origin};
use crate::span::{Batch, Span, TraceId};

const HOUR_US: u64 = 3_600_000_000;
const DAY_US: u64 = 24 * HOUR_US;
/// Noon of the 11th of January 1970.
const RECEIVED_US: u64 = 10 * DAY_US + 12 * HOUR_US;

/// A frame of spans with these times, and its body.
fn frame(times: &[u64]) -> (Head, Vec<u8>) {
    let mut batch = Batch::default();
    for (&timestamp_us, id) in times.iter().zip(1..) {
        let name = Some(if id % 2 == 0 { "get".into() } else { "a longer name".into() });
        batch.push(&mut Span { trace_id: TraceId { high: 0, low: id }, id, timestamp_us, name, ..Span::default() });
    }
    let items: Vec<Item> =
        batch.items.iter().map(|i| Item { key: i.key, len: i.len, label: i.label, flags: i.flags }).collect();
    let head = Head {
        at: FrameAt { segment: 0, offset: 4096, first: 0, items: items.len() as u32 },
        kind: Kind::Spans,
        received_us: RECEIVED_US,
        origin: Arc::new(Origin::default()),
        labels: vec![],
        items,
        body_len: batch.body.len() as u32,
    };
    (head, batch.body)
}

fn by_span_time(path: &str) -> Rule {
    Rule { path: Template::parse(path).unwrap().by_span_time(true), ..Rule::default() }
}

/// The directory of each of the items.
fn dirs(rule: &Rule, head: &Head, kept: &[Range<u32>], body: Option<&[u8]>) -> Vec<String> {
    let lanes = rule.lanes(head, kept, "c", body);
    lanes.iter().flat_map(|(run, lane)| run.clone().map(|_| lane.dir.to_string())).collect()
}

#[test]
fn a_span_goes_by_its_own_time_where_that_is_believed() {
    let (early, late) = (RECEIVED_US - 7 * DAY_US, RECEIVED_US + DAY_US);
    let times = [early, early - 1, RECEIVED_US - HOUR_US, 0, late, late + 1, u64::MAX];
    let (head, body) = frame(&times);
    let (rule, all) = (by_span_time("%d-%H"), std::slice::from_ref(&(0..7)));
    let expected = ["04-12/", "11-12/", "11-11/", "11-12/", "12-12/", "11-12/", "11-12/"];
    assert_eq!(dirs(&rule, &head, all, Some(&body)), expected);
    assert_eq!(dirs(&rule, &head, &[2..3, 4..5], Some(&body)), ["11-11/", "12-12/"]);
    assert_eq!(dirs(&rule, &head, all, None), ["11-12/"; 7]);
}

#[test]
fn what_is_no_span_goes_by_the_time_at_which_it_came_in() {
    let (head, mut body) = frame(&[RECEIVED_US - HOUR_US; 3]);
    let rule = by_span_time("%H");
    let at = head.items[0].len as usize;
    body[at] ^= 0xff;
    let all = std::slice::from_ref(&(0..3));
    assert_eq!(dirs(&rule, &head, all, Some(&body)), ["11/", "12/", "11/"]);
    assert_eq!(dirs(&rule, &head, all, Some(&body[..at])), ["11/", "12/", "12/"]);
}

#[test]
fn marks_come_back_from_their_text() {
    let mut marks = Marks::default();
    assert_eq!(marks.to_string().parse(), Ok(marks.clone()));
    for (lane, last) in [(7, 1 << 40), (u32::MAX, (1 << 40) + APART_MAX), (0, (1 << 40) + 3)] {
        marks.set(lane, last);
        assert_eq!(marks.to_string().parse(), Ok(marks.clone()));
    }
    assert_eq!(marks.to_string(), " 1099511627776 00000000000000030000000700000000ffffffffffffffff");
    assert_eq!(marks.end(), (1 << 40) + APART_MAX + 1);
}

#[test]
fn a_text_of_no_marks_is_refused() {
    for text in [
        " ",
        "1 0000000000000000",
        " 1 ",
        " x 0000000000000000",
        " 1 000000000000000",
        " 1 00000000000000000",
        " 1 000000000000000G",
        " 1 00000000000000AA",
        " 1 +000000000000000",
        " 1 0000000000000001",
        " 18446744073709551615 0000000000000000000000010000000f",
        " 1 00000001000000000000000000000000",
        " 01 0000000000000000",
        " 1 éééééééé",
    ] {
        assert_eq!(text.parse::<Marks>(), Err(NoMarks), "{text:?}");
    }
}

#[test]
fn marks_below_the_low_end_are_dropped() {
    let mut marks = Marks::default();
    marks.set(1, 10);
    marks.set(2, 11);
    marks.settle(11);
    assert_eq!((marks.of(1), marks.of(2)), (None, Some(11)));
}
