//! Numbers as gson and Java read them.

use super::reader::quoted;

/// Bytes of the JSON number at the start of `bytes` (RFC 8259, section 6), if there is one.
pub(super) fn len(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    at += match digits(at) {
        0 => return None,
        count if count > 1 && bytes[at] == b'0' => return None,
        count => count,
    };
    if bytes.get(at) == Some(&b'.') {
        at += 1 + Some(digits(at + 1)).filter(|count| *count > 0)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at += 1 + sign + Some(digits(at + 1 + sign)).filter(|count| *count > 0)?;
    }
    Some(at)
}

/// Digits that surely fit an `i64`.
const PLAIN_DIGITS_MAX: usize = 18;

/// The number at the start of `bytes` and its length, where it is nothing but some digits, as nearly all are.
pub(super) fn plain(bytes: &[u8]) -> Option<(i64, usize)> {
    let len = bytes.iter().take(PLAIN_DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
    let leading_zero = len > 1 && bytes[0] == b'0';
    if leading_zero || !(1..=PLAIN_DIGITS_MAX).contains(&len) {
        return None;
    }
    Some((bytes[..len].iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')), len))
}

/// gson's `nextLong` and `nextInt`: a decimal number, or any floating point number that is whole and in range.
/// `wanted` is "a long" or "an int", for the error.
pub(super) fn whole(text: &str, wanted: &str) -> Result<i64, String> {
    if let Ok(long) = text.parse() {
        return Ok(long);
    }
    // Java's Double.parseDouble trims; Rust's parse takes "inf" and "nan", which are no whole numbers below.
    let trimmed = text.trim();
    let Ok(double) = trimmed.parse::<f64>() else {
        let empty = if trimmed.is_empty() { Some("empty String".to_owned()) } else { None };
        return Err(empty.unwrap_or_else(|| format!("For input string: \"{}\"", quoted(text))));
    };
    let long = double as i64;
    if long as f64 == double { Ok(long) } else { Err(format!("Expected {wanted} but was {}", quoted(text))) }
}
