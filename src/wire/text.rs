//! Bytes that should be UTF-8, as text: one rule for every format.
//!
//! Java's decoder is the model, as it is what Zipkin's readers use: the same broken name must be
//! the same bytes whichever way it came.

use std::borrow::Cow;

/// `bytes` as text, with U+FFFD for what is none, as Java decodes UTF-8.
#[inline]
pub fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(mended(bytes)),
    }
}

/// As `String::from_utf8_lossy`, but that an encoded surrogate is one U+FFFD and not three.
fn mended(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(chunk) = rest.utf8_chunks().next() {
        text.push_str(chunk.valid());
        rest = &rest[chunk.valid().len() + chunk.invalid().len()..];
        if chunk.invalid().is_empty() {
            break;
        }
        text.push('\u{fffd}');
        if chunk.invalid() == [0xed] {
            rest = match rest {
                [0xa0..=0xbf, 0x80..=0xbf, rest @ ..] | [0xa0..=0xbf, rest @ ..] => rest,
                rest => rest,
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_utf8_is_replaced_as_java_does() {
        let cases: [(&[u8], &str); 8] = [
            (b"a\xff\xfeb", "a\u{fffd}\u{fffd}b"),
            (b"\xe2\x82", "\u{fffd}"),
            (b"\xf0\x9f\x98x", "\u{fffd}x"),
            (b"\xc0\x80", "\u{fffd}\u{fffd}"),
            (b"a\xed\xa0\x80b", "a\u{fffd}b"),
            (b"\xed\xa0\xbd\xed\xb8\x80", "\u{fffd}\u{fffd}"),
            (b"\xed\xbfx", "\u{fffd}x"),
            (b"\xedx", "\u{fffd}x"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(utf8(bytes), expected, "{bytes:x?}");
        }
    }
}
