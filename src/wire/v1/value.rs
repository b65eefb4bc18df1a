//! Binary annotations that are no strings, as strings.
//!
//! The rules are those of Zipkin's releases between August 2017 (pull request 1689) and July
//! 2018: BOOL `true` or `false`, I16, I32 and I64 decimal, DOUBLE as Java's `Double.toString`,
//! BYTES url-safe base64 with padding. Two additions lose nothing where those threw: a number
//! of the wrong size, and a type that zipkinCore.thrift does not have, are written as BYTES.

use std::borrow::Cow;

use crate::wire::text::utf8;

/// `AnnotationType` of zipkinCore.thrift.
pub mod kind {
    pub const BOOL: i32 = 0;
    pub const BYTES: i32 = 1;
    pub const I16: i32 = 2;
    pub const I32: i32 = 3;
    pub const I64: i32 = 4;
    pub const DOUBLE: i32 = 5;
    pub const STRING: i32 = 6;
}

/// The string for a value of this `AnnotationType`.
pub fn text(kind: i32, value: &[u8]) -> Cow<'_, str> {
    let text = match kind {
        kind::STRING => return utf8(value),
        kind::BOOL => boolean(value),
        kind::I16 => value.try_into().ok().map(|bytes| i16::from_be_bytes(bytes).to_string()),
        kind::I32 => value.try_into().ok().map(|bytes| i32::from_be_bytes(bytes).to_string()),
        kind::I64 => value.try_into().ok().map(|bytes| i64::from_be_bytes(bytes).to_string()),
        kind::DOUBLE => value.try_into().ok().map(|bytes| java_double(f64::from_be_bytes(bytes))),
        _ => None,
    };
    Cow::Owned(text.unwrap_or_else(|| base64_url(value)))
}

fn boolean(value: &[u8]) -> Option<String> {
    match value {
        [1] => Some("true".into()),
        [_] => Some("false".into()),
        _ => None,
    }
}

/// `Double.toString` of Java 19 and later: the shortest decimal that reads back as the same
/// double, of at least two digits; plain from 10^-3 to 10^7, else with an exponent. Earlier
/// releases sometimes wrote more digits than they had to.
pub fn java_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    let magnitude = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let shortest = format!("{value:e}");
    let two_digits = format!("{value:.1e}");
    // Of two digits the nearest: 4.9E-324, where one digit would be the shorter 5E-324.
    let one_digit = !shortest.contains('.');
    let text = if one_digit && two_digits.parse() == Ok(value) { two_digits } else { shortest };
    let (digits, exponent) = text.split_once('e').expect("`{:e}` writes an exponent");
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}

fn base64_url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let unit = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
        let bits = u32::from_be_bytes([0, unit[0], unit[1], unit[2]]);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { letter as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests;
