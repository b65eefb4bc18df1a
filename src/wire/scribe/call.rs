//! The client's side: `Log` calls written, and what is answered to them.
//!
//! Calls are strict messages, framed, as every client of Scribe's writes them. A reply may have either header.

use super::{ExceptionKind, Header, LOG, MessageKind, ResultCode};
use crate::wire::base64;
use crate::wire::thrift::{Cursor, Field, kind};

/// The head of a strict `Log` call; its sequence number and the list of entries follow.
const CALL: &[u8] = b"\x80\x01\x00\x01\x00\x00\x00\x03Log";
/// The list's field and the type of its elements; their count follows.
const ENTRIES: &[u8] = &[kind::LIST, 0, 1, kind::STRUCT];
/// Where the count of entries stands in a frame.
const COUNT_AT: usize = 4 + CALL.len() + 4 + ENTRIES.len();
/// Structs that a reply of no use to us may nest.
const DEPTH: usize = 8;

/// A frame with a `Log` call in the making.
#[derive(Debug)]
pub struct LogCall {
    start: usize,
    entries: u32,
}

impl LogCall {
    /// Begins a frame at the end of `out`.
    pub fn begin(seqid: i32, out: &mut Vec<u8>) -> LogCall {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(CALL);
        out.extend_from_slice(&seqid.to_be_bytes());
        out.extend_from_slice(ENTRIES);
        out.extend_from_slice(&[0; 4]);
        LogCall { start, entries: 0 }
    }

    /// Appends an entry whose message is `bytes` in base64, one line, padded.
    pub fn entry(&mut self, category: &str, bytes: &[u8], out: &mut Vec<u8>) {
        self.entries += 1;
        super::put_field(kind::STRING, 1, out);
        super::put_string(category.as_bytes(), out);
        super::put_field(kind::STRING, 2, out);
        let length = u32::try_from(bytes.len().div_ceil(3) * 4).expect("a span is far under 4 GiB");
        out.extend_from_slice(&length.to_be_bytes());
        base64::encode(bytes, out);
        out.push(kind::STOP);
    }

    /// Closes the frame: its count and length are known now.
    pub fn end(self, out: &mut Vec<u8>) {
        out.push(kind::STOP);
        let frame = &mut out[self.start..];
        let length = u32::try_from(frame.len() - 4).expect("a call is bounded far below 4 GiB");
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame[COUNT_AT..COUNT_AT + 4].copy_from_slice(&self.entries.to_be_bytes());
    }
}

/// What is answered to a `Log` call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Code(ResultCode),
    /// A `TApplicationException`: its type and text.
    Exception(ExceptionKind, String),
}

/// The answer in a reply's payload; `None` if it is none to the `Log` call of this number.
pub fn log_answer(payload: &[u8], seqid: i32) -> Option<Answer> {
    let header = Header::parse(payload).ok()?;
    if header.name != LOG || header.seqid != seqid {
        return None;
    }
    let mut cursor = Cursor::new(&payload[header.len..]);
    match header.kind {
        MessageKind::Reply => code(&mut cursor),
        MessageKind::Exception => exception(&mut cursor),
        MessageKind::Call | MessageKind::Oneway => None,
    }
}

fn code(cursor: &mut Cursor<'_>) -> Option<Answer> {
    loop {
        match cursor.field().ok()? {
            Field { kind: kind::I32, id: 0 } => return Some(Answer::Code(ResultCode(cursor.i32().ok()?))),
            Field { kind: kind::STOP, .. } => return None,
            other => cursor.skip(other.kind, DEPTH).ok()?,
        }
    }
}

/// Both fields may be missing: the text is then empty, and the type unknown.
fn exception(cursor: &mut Cursor<'_>) -> Option<Answer> {
    let (mut code, mut text) = (0, String::new());
    loop {
        match cursor.field().ok()? {
            Field { kind: kind::STRING, id: 1 } => text = String::from_utf8_lossy(cursor.string().ok()?).into_owned(),
            Field { kind: kind::I32, id: 2 } => code = cursor.i32().ok()?,
            Field { kind: kind::STOP, .. } => break,
            other => cursor.skip(other.kind, DEPTH).ok()?,
        }
    }
    let kind = ExceptionKind::try_from(code).unwrap_or(ExceptionKind::Unknown);
    Some(Answer::Exception(kind, text))
}

#[cfg(test)]
#[path = "call/tests.rs"]
mod tests;
