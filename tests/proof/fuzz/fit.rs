//! Lengths and checksums made to fit after a change, so that what lies behind them is reached, too.

use std::io::Read;
use std::ops::Range;

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

/// Where a format says how long something is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// Nowhere, or it is all in the target's hands.
    Plain,
    /// Before each string, in four bytes.
    Thrift,
    /// Before each message and string, as a varint.
    Proto,
    /// A message of protobuf behind its length in four bytes.
    Grpc,
    /// Behind what is compressed, with its checksum.
    Gzip,
}

const GRPC_PREFIX: usize = 5;
const GZIP_HEAD: usize = 10;
/// A bomb's checksum fits nobody.
const INFLATED_MAX: u64 = 1 << 20;

/// Puts `bytes` in the place of `range`, and grows or shrinks what holds it.
pub fn splice(form: Form, input: &mut Vec<u8>, range: Range<usize>, bytes: &[u8]) {
    match form {
        Form::Thrift => thrift(input, range, bytes),
        Form::Proto => *input = message(input, range, bytes),
        Form::Grpc if range.start >= GRPC_PREFIX => {
            let (from, to) = (range.start - GRPC_PREFIX, range.end - GRPC_PREFIX);
            let message = message(&input[GRPC_PREFIX..], from..to, bytes);
            input.truncate(GRPC_PREFIX);
            input.extend_from_slice(&message);
        }
        _ => drop(input.splice(range, bytes.iter().copied())),
    }
}

/// Makes what a format says of its whole fit.
pub fn seal(form: Form, input: &mut [u8]) {
    match form {
        Form::Grpc if input.len() >= GRPC_PREFIX => {
            let len = (input.len() - GRPC_PREFIX) as u32;
            input[1..GRPC_PREFIX].copy_from_slice(&len.to_be_bytes());
        }
        Form::Gzip if input.len() > GZIP_HEAD => drop(gzip(input)),
        _ => {}
    }
}

/// What looks like the length of a string around the place is taken for one.
fn thrift(input: &mut Vec<u8>, range: Range<usize>, bytes: &[u8]) {
    for at in 0..range.start.saturating_sub(3) {
        let field = input[at..].first_chunk::<4>().expect("it lies before the place");
        let (from, len) = (at + 4, u32::from_be_bytes(*field) as usize);
        if len > 0 && from + len >= range.end && from + len <= input.len() {
            let len = len + bytes.len() - range.len();
            input[at..from].copy_from_slice(&(len as u32).to_be_bytes());
        }
    }
    input.splice(range, bytes.iter().copied());
}

/// The message with another content; the same within whichever of its fields holds the place.
fn message(raw: &[u8], range: Range<usize>, bytes: &[u8]) -> Vec<u8> {
    let mut at = 0;
    while at < range.start {
        let Some((key, content)) = field(raw, at) else { break };
        if at + key < content.start && content.start <= range.start && range.end <= content.end {
            let (from, to) = (range.start - content.start, range.end - content.start);
            let inner = message(&raw[content.clone()], from..to, bytes);
            return [&raw[..at + key], &varint(inner.len() as u64), &inner, &raw[content.end..]].concat();
        }
        at = content.end;
    }
    [&raw[..range.start], bytes, &raw[range.end..]].concat()
}

/// The length of a field's key, and where its content is; a length stands between the two.
fn field(raw: &[u8], at: usize) -> Option<(usize, Range<usize>)> {
    let (tag, key) = read_varint(&raw[at..])?;
    let from = at + key;
    let content = match tag & 7 {
        0 => from..from + read_varint(&raw[from..])?.1,
        1 => from..from + 8,
        2 => {
            let (len, width) = read_varint(&raw[from..])?;
            from + width..from.checked_add(width)?.checked_add(usize::try_from(len).ok()?)?
        }
        5 => from..from + 4,
        _ => return None,
    };
    (content.end <= raw.len()).then_some((key, content))
}

/// Number and content of each field of a message; `None` where it is none, or has a group.
pub fn fields(raw: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let (mut fields, mut at) = (Vec::new(), 0);
    while at < raw.len() {
        let (_, content) = field(raw, at)?;
        fields.push((read_varint(&raw[at..])?.0 >> 3, &raw[content.clone()]));
        at = content.end;
    }
    Some(fields)
}

/// A number, and the bytes it takes.
fn read_varint(raw: &[u8]) -> Option<(u64, usize)> {
    let last = raw.iter().take(10).position(|byte| *byte < 0x80)?;
    let number = raw[..=last].iter().rev().fold(0_u64, |number, byte| number << 7 | u64::from(byte & 0x7F));
    Some((number, last + 1))
}

/// A number as protobuf writes it.
pub fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7F {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// The trailer of a first member with a plain head.
fn gzip(input: &mut [u8]) -> Option<()> {
    let mut inflater = DeflateDecoder::new(&input[GZIP_HEAD..]);
    let mut content = Vec::new();
    inflater.by_ref().take(INFLATED_MAX).read_to_end(&mut content).ok()?;
    let end = GZIP_HEAD + inflater.total_in() as usize;
    let mut crc = Crc::new();
    crc.update(&content);
    let trailer = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
    input.get_mut(end..end + trailer.len())?.copy_from_slice(&trailer);
    Some(())
}
