//! What an object is called and what it says of itself.
//!
//! The name orders objects by position: `{channel}-{partition}-{first}-{last}.{extension}`, numbers
//! in 20 decimal digits, `last` inclusive. The object carries the same facts, with its spans and
//! bytes, inside ([`Object`] as text), so that a copy under another name still says what it is,
//! and so that "this name exists" can be told from "this object exists".

use std::fmt;
use std::str::FromStr;

/// The facts of an object. The range may hold positions that are not its drain's (entries set
/// aside, damage): `spans` and `bytes` count what is in the object alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// 32 lower-hex characters.
    pub channel: String,
    /// 0 for a channel that is a log of our own.
    pub partition: u32,
    /// Position of the first span.
    pub first: u64,
    /// Position of the last span, inclusive.
    pub last: u64,
    pub spans: u64,
    /// Canonical (proto3) bytes of the spans: known before the first byte is encoded.
    pub bytes: u64,
}

impl Object {
    /// The file name, without a directory.
    pub fn name(&self, extension: &str) -> String {
        format!("{}-{}-{:020}-{:020}.{extension}", self.channel, self.partition, self.first, self.last)
    }

    /// All the facts as a file name, for a form whose only place for facts is one: the name with spans and bytes.
    pub fn long_name(&self, extension: &str) -> String {
        let Object { channel, partition, first, last, spans, bytes } = self;
        format!("{channel}-{partition}-{first:020}-{last:020}-{spans}-{bytes}.{extension}")
    }

    /// `None` where [`long_name`](Self::long_name) did not write it.
    pub fn from_long_name(name: &str, extension: &str) -> Option<Object> {
        let stem = name.strip_suffix(extension)?.strip_suffix('.')?;
        let (rest, bytes) = stem.rsplit_once('-')?;
        let (name, spans) = rest.rsplit_once('-')?;
        let ObjectName { channel, partition, first, last } =
            ObjectName::parse(&format!("{name}.{extension}"), extension)?;
        let object = Object { channel, partition, first, last, spans: shortest(spans)?, bytes: shortest(bytes)? };
        (first <= last && last < u64::MAX).then_some(object)
    }
}

/// One line of printable ASCII, versioned; [`Object::from_str`] reads it.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Object { channel, partition, first, last, spans, bytes } = self;
        write!(f, "spangate/1 channel={channel} partition={partition} ")?;
        write!(f, "first={first} last={last} spans={spans} bytes={bytes}")
    }
}

/// Why a text is not an object's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    #[error("starts with {found:?}, expected \"spangate/1\"")]
    Version { found: String },
    #[error("field {field} is {found:?}, expected {expected}")]
    Field { field: &'static str, found: String, expected: &'static str },
}

impl FromStr for Object {
    type Err = ObjectError;

    fn from_str(text: &str) -> Result<Self, ObjectError> {
        let mut words = text.split(' ');
        let version = words.next().unwrap_or_default();
        if version != "spangate/1" {
            return Err(ObjectError::Version { found: version.to_owned() });
        }
        let channel = value(words.next(), "channel")?;
        if !is_channel(channel) {
            return Err(field_error("channel", channel, "32 lower-hex characters"));
        }
        let object = Object {
            channel: channel.to_owned(),
            partition: number(words.next(), "partition")?,
            first: number(words.next(), "first")?,
            last: number(words.next(), "last")?,
            spans: number(words.next(), "spans")?,
            bytes: number(words.next(), "bytes")?,
        };
        if object.first > object.last || object.last == u64::MAX {
            return Err(field_error("last", &object.last.to_string(), "a position from first on"));
        }
        match words.next() {
            Some(more) => Err(field_error("bytes", more, "the end of the text after it")),
            None => Ok(object),
        }
    }
}

/// `key=value`, the key being the one that stands there in every version-1 text.
fn value<'a>(word: Option<&'a str>, key: &'static str) -> Result<&'a str, ObjectError> {
    let word = word.unwrap_or_default();
    match word.split_once('=') {
        Some((k, v)) if k == key => Ok(v),
        _ => Err(field_error(key, word, "key=value in the order of version 1")),
    }
}

fn number<T: FromStr>(word: Option<&str>, key: &'static str) -> Result<T, ObjectError> {
    let found = value(word, key)?;
    shortest(found).ok_or_else(|| field_error(key, found, "a decimal number"))
}

/// A number as it is written where it may be of any length: with zeros before it, an object would have many names.
fn shortest<T: FromStr>(text: &str) -> Option<T> {
    decimal(text).filter(|_| text == "0" || !text.starts_with('0'))
}

/// Digits alone: `parse` would take a sign, too.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn field_error(field: &'static str, found: &str, expected: &'static str) -> ObjectError {
    ObjectError::Field { field, found: found.to_owned(), expected }
}

fn is_channel(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The parts of a name, in the order in which objects are sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    pub channel: String,
    pub partition: u32,
    pub first: u64,
    pub last: u64,
}

impl ObjectName {
    /// `None` for a file that no archive named: such files are never touched.
    pub fn parse(name: &str, extension: &str) -> Option<ObjectName> {
        let stem = name.strip_suffix(extension)?.strip_suffix('.')?;
        let mut parts = stem.split('-');
        let channel = parts.next().filter(|c| is_channel(c))?;
        let partition = parts.next().and_then(shortest)?;
        let mut position = || parts.next().filter(|p| p.len() == 20).and_then(decimal);
        let parsed = ObjectName { channel: channel.to_owned(), partition, first: position()?, last: position()? };
        (parts.next().is_none() && parsed.first <= parsed.last).then_some(parsed)
    }
}

#[cfg(test)]
pub(super) mod tests;
