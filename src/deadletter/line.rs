//! A letter as a line of JSON, written by hand: the fields are few, and `serde_json` would build
//! a value first.
//!
//! ```json
//! {"time":"2026-11-21T03:12:36.000000Z","received":"...","class":"refused","reason":"...","drain":"zipkin",
//!  "channel":"<id>","position":7,"origin":{"listener":"scribe","via":["a","b"]},"bytes":"<base64>"}
//! ```
//! A key that an origin has several times becomes a list.

use std::fmt::Write;

use super::Letter;
use crate::clock;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// An upper bound of the line's length: base64 and the worst escapes.
pub(super) fn len_max(letter: &Letter) -> u64 {
    let origin: usize = letter.origin.iter().map(|(k, v)| k.len() + v.len() + 6).sum();
    // 6: the longest escape of a byte, `\u0000`. 256: the names of the fields, times, numbers.
    (letter.bytes.len() * 4 / 3 + 6 * (letter.reason.len() + letter.drain.len() + origin) + 256) as u64
}

/// Appends `letter` as one line that ends with a newline and holds no other.
pub(super) fn write(out: &mut Vec<u8>, letter: &Letter, channel_id: &str, written_us: u64) {
    let mut line = String::with_capacity(letter.bytes.len() * 4 / 3 + 512);
    line.push_str("{\"time\":\"");
    line.push_str(&clock::rfc3339(written_us));
    line.push_str("\",\"received\":\"");
    line.push_str(&clock::rfc3339(letter.received_us));
    line.push_str("\",\"class\":");
    string(&mut line, letter.class.name());
    line.push_str(",\"reason\":");
    string(&mut line, &letter.reason);
    line.push_str(",\"drain\":");
    string(&mut line, &letter.drain);
    line.push_str(",\"channel\":");
    string(&mut line, channel_id);
    write!(line, ",\"position\":{}", letter.position).expect("a string takes all");
    line.push_str(",\"origin\":");
    origin(&mut line, &letter.origin);
    line.push_str(",\"bytes\":\"");
    base64(&mut line, &letter.bytes);
    line.push_str("\"}\n");
    out.extend_from_slice(line.as_bytes());
}

fn origin(line: &mut String, pairs: &[(String, String)]) {
    line.push('{');
    for (index, (key, value)) in pairs.iter().enumerate() {
        if pairs[..index].iter().any(|(k, _)| k == key) {
            continue;
        }
        if !line.ends_with('{') {
            line.push(',');
        }
        string(line, key);
        line.push(':');
        let others: Vec<&str> = pairs[index + 1..].iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect();
        if others.is_empty() {
            string(line, value);
            continue;
        }
        line.push('[');
        string(line, value);
        for other in others {
            line.push(',');
            string(line, other);
        }
        line.push(']');
    }
    line.push('}');
}

/// RFC 8259, section 7: what must be escaped is.
fn string(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            c if c < ' ' => write!(line, "\\u{:04x}", u32::from(c)).expect("a string takes all"),
            c => line.push(c),
        }
    }
    line.push('"');
}

/// RFC 4648, section 4, with padding.
fn base64(line: &mut String, bytes: &[u8]) {
    for group in bytes.chunks(3) {
        let of = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = of(0) << 16 | of(1) << 8 | of(2);
        for n in 0..4 {
            let sextet = (bits >> (18 - 6 * n)) & 63;
            line.push(if n <= group.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
}

/// The reverse of [`base64`]; `None` for anything that it does not write.
pub(super) fn unbase64(text: &str) -> Option<Vec<u8>> {
    let sextet = |c: u8| ALPHABET.iter().position(|letter| *letter == c).map(|n| n as u32);
    let (units, []) = text.as_bytes().as_chunks::<4>() else { return None };
    let mut out = Vec::with_capacity(units.len() * 3);
    for (n, unit) in units.iter().enumerate() {
        let padding = unit.iter().rev().take_while(|c| **c == b'=').count();
        if padding > 2 || (padding > 0 && n + 1 < units.len()) {
            return None;
        }
        let bits = unit[..4 - padding].iter().try_fold(0, |bits, c| Some(bits << 6 | sextet(*c)?))? << (6 * padding);
        out.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::deadletter::Class;

    fn letter() -> Letter {
        Letter {
            class: Class::Refused,
            received_us: 1_700_000_000_000_001,
            reason: "http://c: 400: \"no\"\n\\ \u{1}é".to_owned(),
            drain: "zipkin".to_owned(),
            position: 1 << 40,
            origin: [("via", "a"), ("listener", "scribe"), ("via", "b")].map(|(k, v)| (k.into(), v.into())).to_vec(),
            bytes: vec![0, 255, 10, 13].into(),
        }
    }

    #[test]
    fn a_letter_is_one_line_of_json_with_all_it_held() {
        let (letter, mut out) = (letter(), Vec::new());
        write(&mut out, &letter, "c0ffee", 1_800_000_000_000_000);
        assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
        assert!(out.len() as u64 <= len_max(&letter));
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "time": "2027-01-15T08:00:00.000000Z", "received": "2023-11-14T22:13:20.000001Z",
                "class": "refused", "reason": letter.reason, "drain": "zipkin", "channel": "c0ffee",
                "position": 1u64 << 40, "origin": {"via": ["a", "b"], "listener": "scribe"},
                "bytes": STANDARD.encode(&letter.bytes),
            })
        );
    }

    #[test]
    fn base64_is_as_the_crate_writes_it() {
        for len in 0..50u8 {
            let bytes: Vec<u8> = (0..len).map(|n| n.wrapping_mul(83)).collect();
            let mut line = String::new();
            base64(&mut line, &bytes);
            assert_eq!(line, STANDARD.encode(&bytes));
            assert_eq!(unbase64(&line), Some(bytes));
            assert_eq!(unbase64(&format!("{line}A")), None);
        }
    }
}
