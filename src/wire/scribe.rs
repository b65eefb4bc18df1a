//! The Scribe protocol within a frame: headers, `Log` calls, replies.
//!
//! A frame's payload is a Thrift message: a header in one of two forms ([`Form`]), then the
//! arguments as a struct. [`Header::parse_prefix`] needs only the payload's first
//! [`HEADER_BYTES_MAX`] bytes, so that a frame which is not read whole can still be answered.
//! [`log_arguments`] gives the entries as bytes: what is in one costs none of its neighbours.
//!
//! Replies are whole frames, appended to a buffer, in the caller's form and with its name and
//! sequence number, as clients check both. An answer to a `ONEWAY` message is nobody's job here.
//! [`call`] is the other side: calls written, and their replies read.

pub mod call;

pub use super::r#gen::scribe::ResultCode;
pub use ::thrift::ApplicationErrorKind as ExceptionKind;

use super::Limits;
use super::thrift::{Cursor, Error, Fault, Field, Result, kind};

/// Longest method name read. The longest that exists is Finagle's probe with 27 bytes.
pub const METHOD_NAME_MAX: usize = 256;

/// So many bytes of a payload always decide its header: either form has three words and a name.
pub const HEADER_BYTES_MAX: usize = 12 + METHOD_NAME_MAX;

/// Most entries read in one call: a frame of Flume's greatest size (16,384,000 bytes) holds as
/// many that say anything.
pub const ENTRIES_MAX: usize = 1_000_000;

/// The method of scribe.thrift; all others are fb303's.
pub const LOG: &[u8] = b"Log";

const VERSION_1: u32 = 0x8001_0000;
const VERSION_MASK: u32 = 0xffff_0000;

/// The two forms of a message header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// With a version, as TBinaryProtocol has written since 2008.
    Strict,
    /// Without: the name comes first. scribed, its Python clients and Flume write it.
    Unversioned,
}

/// What a message is (Thrift's `TMessageType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    Call = 1,
    Reply = 2,
    Exception = 3,
    Oneway = 4,
}

/// The header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The method, as bytes: a stranger's name need not be UTF-8 to be answered.
    pub name: &'a [u8],
    pub seqid: i32,
    pub form: Form,
    pub kind: MessageKind,
    /// Bytes of the header; the arguments begin there.
    pub len: usize,
}

impl<'a> Header<'a> {
    /// The header of a whole payload.
    pub fn parse(payload: &'a [u8]) -> Result<Header<'a>> {
        let mut cursor = Cursor::new(payload);
        let word = cursor.i32()?;
        let (form, name, kind) = if word < 0 {
            let kind = strict_kind(word as u32, &cursor)?;
            let length = cursor.i32()?;
            (Form::Strict, method_name(length, &mut cursor)?, kind)
        } else {
            let name = method_name(word, &mut cursor)?;
            let code = cursor.u8()?;
            (Form::Unversioned, name, message_kind(code, &cursor)?)
        };
        let seqid = cursor.i32()?;
        Ok(Header { name, seqid, form, kind, len: cursor.offset() })
    }

    /// The header of a payload of which only the beginning is there; `None` if more is needed.
    /// Never `None` for [`HEADER_BYTES_MAX`] bytes.
    pub fn parse_prefix(prefix: &'a [u8]) -> Result<Option<Header<'a>>> {
        match Header::parse(prefix) {
            Ok(header) => Ok(Some(header)),
            Err(Error { fault: Fault::Truncated { .. }, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The method's name for a log line.
    pub fn method(&self) -> String {
        String::from_utf8_lossy(self.name).into_owned()
    }
}

fn strict_kind(word: u32, cursor: &Cursor<'_>) -> Result<MessageKind> {
    if word & VERSION_MASK != VERSION_1 {
        return Err(cursor.error(Fault::Version(word)));
    }
    message_kind(word as u8, cursor)
}

fn message_kind(code: u8, cursor: &Cursor<'_>) -> Result<MessageKind> {
    match code {
        1 => Ok(MessageKind::Call),
        2 => Ok(MessageKind::Reply),
        3 => Ok(MessageKind::Exception),
        4 => Ok(MessageKind::Oneway),
        _ => Err(cursor.error(Fault::MessageType(code))),
    }
}

fn method_name<'a>(length: i32, cursor: &mut Cursor<'a>) -> Result<&'a [u8]> {
    match usize::try_from(length) {
        Ok(length) if length <= METHOD_NAME_MAX => cursor.bytes(length),
        Ok(length) => Err(cursor.error(Fault::MethodName { length, limit: METHOD_NAME_MAX })),
        Err(_) => Err(cursor.error(Fault::NegativeLength(length))),
    }
}

/// One entry of a `Log` call. A field that is missing reads as empty: scribed and Zipkin treat
/// a blank category and an empty message as they treat none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry<'a> {
    pub category: &'a [u8],
    pub message: &'a [u8],
}

/// The entries of a `Log` call from its `arguments`, the payload behind the header. `None` if
/// the list is not there at all, which is how a null list is written. Unknown fields are passed
/// over; at most [`ENTRIES_MAX`] entries are read. Bytes after the struct are ignored.
pub fn log_arguments<'a>(arguments: &'a [u8], limits: &Limits) -> Result<Option<Entries<'a>>> {
    let mut cursor = Cursor::new(arguments);
    let mut entries = None;
    loop {
        match cursor.field()? {
            Field { kind: kind::STOP, .. } => return Ok(entries),
            Field { kind: kind::LIST, id: 1 } => entries = Some(log_entries(&mut cursor, limits.depth)?),
            other => cursor.skip(other.kind, limits.depth)?,
        }
    }
}

/// Entries that were found whole once, and are read again one by one: a list of them would take
/// up to 32 times what it was made of.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    cursor: Cursor<'a>,
    left: usize,
    depth: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.left = self.left.checked_sub(1)?;
        Some(log_entry(&mut self.cursor, self.depth).expect("`log_entries` has read it before"))
    }
}

fn log_entries<'a>(cursor: &mut Cursor<'a>, depth: usize) -> Result<Entries<'a>> {
    let (element, count) = cursor.list()?;
    if count > ENTRIES_MAX {
        return Err(cursor.error(Fault::TooMany { count, limit: ENTRIES_MAX }));
    }
    if count > 0 && element != kind::STRUCT {
        return Err(cursor.error(Fault::ElementType { found: element, expected: kind::STRUCT }));
    }
    let entries = Entries { cursor: cursor.clone(), left: count, depth };
    for _ in 0..count {
        log_entry(cursor, depth)?;
    }
    Ok(entries)
}

fn log_entry<'a>(cursor: &mut Cursor<'a>, depth: usize) -> Result<Entry<'a>> {
    let mut entry = Entry::default();
    loop {
        match cursor.field()? {
            Field { kind: kind::STOP, .. } => return Ok(entry),
            Field { kind: kind::STRING, id: 1 } => entry.category = cursor.string()?,
            Field { kind: kind::STRING, id: 2 } => entry.message = cursor.string()?,
            other => cursor.skip(other.kind, depth)?,
        }
    }
}

/// Who else speaks to this port, told by a connection's first four bytes. Read as the length
/// of a frame, all of these are far above any limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// A request or response of HTTP: meant for 9411.
    Http,
    /// A ClientHello.
    Tls,
}

impl Foreign {
    pub fn recognise(first: [u8; 4]) -> Option<Foreign> {
        match &first {
            b"GET " | b"POST" | b"PUT " | b"HEAD" | b"DELE" | b"OPTI" | b"PATC" | b"CONN" | b"TRAC" | b"HTTP"
            | b"PRI " => Some(Foreign::Http),
            [0x16, 3, 0..=4, _] => Some(Foreign::Tls),
            _ => None,
        }
    }
}

/// Appends the reply to a `Log` call.
pub fn reply_log(header: &Header<'_>, code: ResultCode, out: &mut Vec<u8>) {
    reply(header, MessageKind::Reply, out, |out| {
        put_field(kind::I32, 0, out);
        out.extend_from_slice(&code.0.to_be_bytes());
        out.push(kind::STOP);
    });
}

/// Appends a `TApplicationException`.
pub fn reply_exception(header: &Header<'_>, exception: ExceptionKind, message: &str, out: &mut Vec<u8>) {
    reply(header, MessageKind::Exception, out, |out| {
        put_field(kind::STRING, 1, out);
        put_string(message.as_bytes(), out);
        put_field(kind::I32, 2, out);
        out.extend_from_slice(&(exception as i32).to_be_bytes());
        out.push(kind::STOP);
    });
}

fn reply(header: &Header<'_>, kind: MessageKind, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    framed(out, |out| {
        match header.form {
            Form::Strict => {
                out.extend_from_slice(&(VERSION_1 | kind as u32).to_be_bytes());
                put_string(header.name, out);
            }
            Form::Unversioned => {
                put_string(header.name, out);
                out.push(kind as u8);
            }
        }
        out.extend_from_slice(&header.seqid.to_be_bytes());
        body(out);
    });
}

/// Appends a frame: its length, then what `payload` appends.
pub(super) fn framed<T>(out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let result = payload(out);
    let length = u32::try_from(out.len() - start - 4).expect("a reply is small");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    result
}

fn put_field(kind: u8, id: i16, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&id.to_be_bytes());
}

fn put_string(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len()).expect("names and messages are short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
