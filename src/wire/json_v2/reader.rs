//! A pull reader of JSON over a text: what gson's `JsonReader` takes when it is not lenient.
//!
//! That is RFC 8259 and a little more: literals in any case, raw control characters in texts,
//! `\'` and an escaped line break. Texts without escapes are borrowed. Every error names the
//! byte; the depth is bounded, so skipping what nobody asked for may recurse.

use std::borrow::Cow;

use super::number;
use crate::wire::fault::Fault;

pub(in crate::wire) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    depth_max: usize,
}

/// Longest part of a client's own text that an error repeats, in characters.
const QUOTED_CHARS_MAX: usize = 64;

/// The beginning of a client's text, for an error.
pub(in crate::wire) fn quoted(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
    }
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str, depth_max: usize) -> Reader<'a> {
        // gson passes over a byte order mark.
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        Reader { text, at, depth: 0, depth_max }
    }

    /// Bytes read.
    pub fn offset(&self) -> usize {
        self.at
    }

    pub fn malformed(&self, expected: &'static str) -> Fault {
        Fault::malformed("", self.at, expected)
    }

    /// The first byte of the next value: what it begins with tells its type.
    pub fn first(&mut self) -> Result<u8, Fault> {
        self.peek_some()
    }

    /// The next byte that is not white space; `None` at the end.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// The same where something must follow.
    #[inline]
    fn peek_some(&mut self) -> Result<u8, Fault> {
        self.peek().ok_or_else(|| Fault::new("", self.at, "End of input"))
    }

    #[inline]
    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Fault> {
        if self.peek_some()? != byte {
            return Err(self.malformed(expected));
        }
        self.at += 1;
        Ok(())
    }

    fn open(&mut self, bracket: u8, expected: &'static str) -> Result<(), Fault> {
        self.expect(bracket, expected)?;
        self.depth += 1;
        if self.depth > self.depth_max {
            return Err(Fault::new("", self.at - 1, format!("Nesting limit {} reached", self.depth_max)));
        }
        Ok(())
    }

    /// After an element or before the first: whether another follows. Takes the comma or the closing bracket.
    #[inline]
    fn another(&mut self, first: bool, close: u8, expected: &'static str) -> Result<bool, Fault> {
        match self.peek_some()? {
            byte if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ if first => Ok(true),
            b',' => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.malformed(expected)),
        }
    }

    /// Reads an array; `element` must read one value each time it is called.
    pub fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        self.open(b'[', "an array")?;
        let mut first = true;
        while self.another(first, b']', "',' or ']'")? {
            element(self)?;
            first = false;
        }
        Ok(())
    }

    /// Reads an object; `field` gets each name and must read its value.
    pub fn object(&mut self, mut field: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), Fault>) -> Result<(), Fault> {
        self.open(b'{', "an object")?;
        let mut first = true;
        while self.another(first, b'}', "',' or '}'")? {
            if self.peek_some()? != b'"' {
                return Err(self.malformed("a name in double quotes"));
            }
            let name = self.quoted()?;
            self.expect(b':', "':'")?;
            field(self, name)?;
            first = false;
        }
        Ok(())
    }

    /// Takes `null` if it is next.
    pub fn null(&mut self) -> Result<bool, Fault> {
        match self.peek_some()? {
            b'n' | b'N' => self.word("null").map(|()| true),
            _ => Ok(false),
        }
    }

    /// Takes a literal, in any case as gson does.
    fn word(&mut self, word: &'static str) -> Result<(), Fault> {
        let end = self.at + word.len();
        let found = self.text.as_bytes().get(self.at..end);
        let whole = found.is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes())) && self.ends_at(end);
        if !whole {
            return Err(self.malformed("a value"));
        }
        self.at = end;
        Ok(())
    }

    /// Whether a number or literal may end there.
    fn ends_at(&self, at: usize) -> bool {
        let next = self.text.as_bytes().get(at);
        next.is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b']' | b'}' | b'[' | b'{'))
    }

    /// A text, or a number as it is written.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        match self.peek_some()? {
            b'"' => self.quoted(),
            b'-' | b'0'..=b'9' => self.number().map(Cow::Borrowed),
            other => Err(self.unexpected(other, "a string")),
        }
    }

    /// A whole number of microseconds, or a text that is one; `1.4E15` is one, too.
    pub fn long(&mut self) -> Result<i64, Fault> {
        self.whole("a long")
    }

    /// The same within 32 bits.
    pub fn int(&mut self) -> Result<i32, Fault> {
        let number = self.whole("an int")?;
        let cause = || Fault::new("", self.at, format!("Expected an int but was {number}"));
        i32::try_from(number).map_err(|_| cause())
    }

    fn whole(&mut self, wanted: &'static str) -> Result<i64, Fault> {
        let first = self.peek_some()?;
        let offset = self.at;
        if let Some((number, len)) = number::plain(&self.text.as_bytes()[offset..])
            && let Some(b',' | b'}') = self.text.as_bytes().get(offset + len)
        {
            self.at += len;
            return Ok(number);
        }
        let text = match first {
            b'"' => self.quoted()?,
            b'-' | b'0'..=b'9' => Cow::Borrowed(self.number()?),
            other => return Err(self.unexpected(other, wanted)),
        };
        number::whole(&text, wanted).map_err(|cause| Fault::new("", offset, cause))
    }

    pub fn boolean(&mut self) -> Result<bool, Fault> {
        match self.peek_some()? {
            b't' | b'T' => self.word("true").map(|()| true),
            b'f' | b'F' => self.word("false").map(|()| false),
            other => Err(self.unexpected(other, "a boolean")),
        }
    }

    /// gson's words for a value of another type; for what is no value at all, `Malformed`.
    fn unexpected(&mut self, first: u8, wanted: &str) -> Fault {
        let offset = self.at;
        let found = match first {
            b'[' => "BEGIN_ARRAY",
            b'{' => "BEGIN_OBJECT",
            b'"' => "STRING",
            b'n' | b'N' if self.word("null").is_ok() => "NULL",
            b't' | b'T' if self.word("true").is_ok() => "BOOLEAN",
            b'f' | b'F' if self.word("false").is_ok() => "BOOLEAN",
            b'-' | b'0'..=b'9' if self.number().is_ok() => "NUMBER",
            _ => return self.malformed("a value"),
        };
        Fault::new("", offset, format!("Expected {wanted} but was {found}"))
    }

    /// A number's text, by the grammar of RFC 8259, section 6.
    fn number(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        match number::len(&self.text.as_bytes()[start..]) {
            Some(len) if self.ends_at(start + len) => {
                self.at += len;
                Ok(&self.text[start..self.at])
            }
            _ => Err(self.malformed("a number")),
        }
    }

    /// A text; the opening quote is next.
    fn quoted(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.at += 1;
        let plain = self.plain()?;
        if self.text.as_bytes()[self.at] == b'"' {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        while self.text.as_bytes()[self.at] == b'\\' {
            text.push(self.escape()?);
            text.push_str(self.plain()?);
        }
        self.at += 1;
        Ok(Cow::Owned(text))
    }

    /// What stands before the next quote or escape; one of the two is next when it returns.
    fn plain(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        let len =
            plain_len(&self.text.as_bytes()[start..]).ok_or_else(|| self.malformed("'\"' at the end of a text"))?;
        self.at += len;
        Ok(&self.text[start..self.at])
    }

    /// The character that an escape stands for; the backslash is next.
    fn escape(&mut self) -> Result<char, Fault> {
        let escaped = self.text.as_bytes().get(self.at + 1).copied();
        let character = match escaped {
            Some(b'u') => return self.unicode(),
            Some(byte @ (b'"' | b'\\' | b'/' | b'\'' | b'\n')) => char::from(byte),
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            _ => return Err(self.malformed("an escape")),
        };
        self.at += 2;
        Ok(character)
    }

    /// `\uXXXX`, or two of them for a surrogate pair. Half a pair becomes `?`, as when Java writes UTF-8.
    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.unit(self.at).ok_or_else(|| self.malformed("\\u and four hexadecimal digits"))?;
        self.at += 6;
        let second = if (0xD800..0xDC00).contains(&first) { self.unit(self.at) } else { None };
        if let Some(second @ 0xDC00..0xE000) = second {
            self.at += 6;
            let character = 0x10000 + ((u32::from(first) - 0xD800) << 10) + (u32::from(second) - 0xDC00);
            return Ok(char::from_u32(character).expect("a surrogate pair is a character"));
        }
        Ok(char::from_u32(u32::from(first)).unwrap_or('?'))
    }

    /// The UTF-16 unit of an escape `\uXXXX` at `at`, if there is one.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.as_bytes().get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
    }

    /// Passes over a value, checking that it is one.
    pub fn skip(&mut self) -> Result<(), Fault> {
        match self.peek_some()? {
            b'{' => self.object(|reader, _| reader.skip()),
            b'[' => self.array(Self::skip),
            b'"' => self.quoted().map(drop),
            b't' | b'T' | b'f' | b'F' => self.boolean().map(drop),
            b'n' | b'N' => self.null().map(drop),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            _ => Err(self.malformed("a value")),
        }
    }
}

/// Bytes before the first `"` or `\`; `None` where neither is. Eight at a time: most of a body is inside texts.
fn plain_len(bytes: &[u8]) -> Option<usize> {
    let (chunks, _) = bytes.as_chunks::<8>();
    for (i, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let hits = bytes_equal(word, b'"') | bytes_equal(word, b'\\');
        if hits != 0 {
            return Some(i * 8 + hits.trailing_zeros() as usize / 8);
        }
    }
    let rest = chunks.len() * 8;
    bytes[rest..].iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|at| rest + at)
}

/// The high bit of each byte of `word` that is `byte`; those above the lowest hit may be wrong.
fn bytes_equal(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let zero_where_equal = word ^ (ONES * byte as u64);
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & HIGHS
}
