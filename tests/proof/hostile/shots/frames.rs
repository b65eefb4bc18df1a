//! At the Scribe port: frames and calls that are none, and calls with good entries beside bad ones.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Answer, Door, GOOD, Labels, Load, Shot, Way, closed, http};
use crate::support::scribe::{CALL, entry, frame, log_arguments, message};

const BROKEN: Labels = &["listener=\"scribe\"", "reason=\"broken\""];
const INVALID: Labels = &["listener=\"scribe\"", "reason=\"invalid\""];

/// The reply to call 1: field 0 of the result, an `i32`, is `ResultCode.OK`.
const OK: Answer = &["Log\0\0\0\u{1}\u{8}\0\0\0\0\0\0\0"];

/// Bad entries of one call.
const BAD: usize = 500;

fn refused(reason: Labels, what: &'static str, answer: Answer, bytes: Vec<u8>) -> Shot {
    Shot { door: Door::Scribe, ..http(reason, what, answer, bytes) }
}

/// Answered yes; its good entries must arrive.
fn around(trace: i64, reason: Labels, what: &'static str, call: fn(&[String; GOOD]) -> Vec<u8>) -> Shot {
    Shot { load: Load::Around(trace, call), ..refused(reason, what, OK, Vec::new()) }
}

fn call(entries: &[(&str, &str)]) -> Vec<u8> {
    frame(&message(true, CALL, "Log", 1, &log_arguments(entries)))
}

/// Who sends them closes their own side behind each, and waits for the answer.
pub fn harmless() -> Shot {
    let good = |good: &[String; GOOD]| call(&good.each_ref().map(|entry| ("zipkin", &**entry)));
    let labels: Labels = &["listener=\"scribe\""];
    // Good clients keep theirs.
    let counter = ("spangate_connections_total", labels);
    Shot { counter, ..around(0xa11, labels, "good calls of others, for comparison", good) }
}

pub fn bad_calls() -> Vec<Shot> {
    let arguments = |arguments: &[u8]| frame(&message(true, CALL, "Log", 1, arguments));
    // Field 1, a list of structs, 2^31 - 1 of them.
    let claims_2_31 = arguments(&[15, 0, 1, 12, 0x7f, 0xff, 0xff, 0xff]);
    let length: Labels = &["listener=\"scribe\"", "reason=\"frame_length\""];
    let protocol: Labels = &["listener=\"scribe\"", "reason=\"protocol\""];
    let claims = vec![0x7f, 0xff, 0xff, 0xff, 0x80];
    let whole = call(&[("zipkin", &entry(1, 2, &"n".repeat(5_000)))]);
    let half = whole[..whole.len() / 2].to_vec();
    vec![
        closed(Door::Scribe, length, "frames that claim 2 GiB", "frame of 2147483647 bytes", claims),
        closed(Door::Scribe, protocol, "frames of nothing", "a frame that holds no Thrift message", frame(&[0; 100])),
        refused(INVALID, "a call that claims 2^31 entries", &["Log", "2147483647"], claims_2_31),
        refused(INVALID, "a call 100,000 deep", &["Log", "nested deeper than"], arguments(&deep())),
        Shot { log: "ended early", ..refused(BROKEN, "half a call and a half-closed socket", &[], half) },
    ]
}

/// Field 99 holds a struct that holds a struct ...
fn deep() -> Vec<u8> {
    [12, 0, 99].repeat(100_000)
}

pub fn beside_good_ones() -> Vec<Shot> {
    let aside: Labels = &["listener=\"scribe\"", "reason=\"undecodable\""];
    let counter = ("spangate_spans_set_aside_total", aside);
    let ignored = ("spangate_entries_ignored_total", &["category=\"zip?kin\""] as Labels);
    let bad = "500 bad entries beside good ones";
    let half = "a good call, half of one more, a half-closed socket";
    vec![
        Shot {
            way: Way::AtOnce,
            letters: &["base64: ", "Truncated: ", "2147483647", "traceId == 0", "empty message"],
            counter,
            counts: BAD as u64,
            ..around(0xbad, aside, bad, among_bad_ones)
        },
        Shot {
            way: Way::AtOnce,
            letters: &["nested deeper than"],
            counter,
            ..around(0xdee, aside, "an entry 100,000 deep beside good ones", beside_a_deep_one)
        },
        Shot { counter: ignored, ..around(0xff, &[], "invalid UTF-8 in category and service", of_invalid_utf8) },
        Shot { log: "ended early", ..around(0x4a1f, BROKEN, half, and_half_of_the_next) },
    ]
}

/// The first good one stands in the middle, the other at the end.
fn among_bad_ones([middle, last]: &[String; GOOD]) -> Vec<u8> {
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
    let whole = STANDARD.decode(middle).expect("an entry is base64");
    // Annotations: 2^31 - 1 of them.
    let claims = [15, 0, 6, 12, 0x7f, 0xff, 0xff, 0xff];
    let kinds = [
        "not base64".to_owned(),
        base64(&whole[..whole.len() / 2]),
        base64(&claims),
        entry(0, 5, "no trace"),
        String::new(),
    ];
    let mut entries: Vec<&str> = kinds.iter().map(String::as_str).cycle().take(BAD).collect();
    entries.insert(BAD / 2, middle);
    entries.push(last);
    call(&entries.iter().map(|entry| ("zipkin", *entry)).collect::<Vec<_>>())
}

fn beside_a_deep_one([first, last]: &[String; GOOD]) -> Vec<u8> {
    let deep = STANDARD.encode(deep());
    call(&[("zipkin", first), ("zipkin", &deep), ("zipkin", last)])
}

/// The category is another than ours; in a name such bytes become U+FFFD, as in Zipkin.
fn of_invalid_utf8([one, other]: &[String; GOOD]) -> Vec<u8> {
    let mut span = STANDARD.decode(one).expect("an entry is base64");
    let service = span.windows(4).position(|bytes| bytes == b"shop").expect("its service is shop");
    span[service..service + 4].copy_from_slice(b"\xff\xc0\xed\xa0");
    let mut call = call(&[("zip#kin", "x"), ("zipkin", &STANDARD.encode(span)), ("zipkin", other)]);
    let category = call.iter().position(|byte| *byte == b'#').expect("it is in there");
    call[category] = 0xff;
    call
}

fn and_half_of_the_next(good: &[String; GOOD]) -> Vec<u8> {
    let whole = call(&good.each_ref().map(|entry| ("zipkin", &**entry)));
    [&whole, &whole[..whole.len() / 2]].concat()
}

pub fn slow() -> Shot {
    let labels: Labels = &["listener=\"scribe\"", "reason=\"slow_frame\""];
    // A call that begins as it should.
    let call = [&[0, 1, 0, 0][..], &message(true, CALL, "Log", 1, &[])].concat();
    closed(Door::Scribe, labels, "frames byte by byte", "frame not complete in", call).byte_by_byte()
}
