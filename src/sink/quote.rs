//! A stranger's text for logs, dead letters and verdicts.

/// Bytes of an answer that a verdict quotes.
pub(super) const QUOTED_MAX: usize = 200;

/// Text for a log line: control characters become spaces, what is no UTF-8 is replaced. The caller bounds it.
pub(super) fn quote(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_holds_no_control_characters() {
        assert_eq!(quote(b"Cannot\r\n\x1b[31mread\x00 spans\n"), "Cannot   [31mread  spans");
        assert_eq!(quote(&[0xff, b'a']), "\u{fffd}a");
    }
}
