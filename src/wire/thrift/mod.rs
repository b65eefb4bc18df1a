//! Thrift's binary protocol, read from a slice.
//!
//! [`Cursor`] checks every read against what is left; it copies nothing and allocates nothing.
//! A list may claim only as many elements as the bytes behind it can hold, and what is skipped
//! may nest only as deep as the caller says. [`span`] reads a Zipkin v1 span with it; `write` writes one.
//!
//! Lenient as Zipkin's reader (`V1ThriftSpanReader`, `ThriftCodec.skip`): unknown fields and
//! types are passed over, a negative count is an empty list. Every [`Error`] has its offset.

pub mod span;
pub(super) mod write;

/// Type numbers of the binary protocol.
pub mod kind {
    pub const STOP: u8 = 0;
    pub const BOOL: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const DOUBLE: u8 = 4;
    pub const I16: u8 = 6;
    pub const I32: u8 = 8;
    pub const I64: u8 = 10;
    pub const STRING: u8 = 11;
    pub const STRUCT: u8 = 12;
    pub const MAP: u8 = 13;
    pub const SET: u8 = 14;
    pub const LIST: u8 = 15;
}

/// Why bytes are not the Thrift that was expected, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {offset}")]
pub struct Error {
    /// Offset in the slice that the cursor was made of.
    pub offset: usize,
    pub fault: Fault,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("Truncated: length {wanted} > bytes available {available}")]
    Truncated { wanted: usize, available: usize },
    #[error("negative length {0}")]
    NegativeLength(i32),
    #[error("{count} elements, at most {limit} are read")]
    TooMany { count: usize, limit: usize },
    #[error("nested deeper than {limit} levels")]
    TooDeep { limit: usize },
    #[error("list of type {found}, expected type {expected}")]
    ElementType { found: u8, expected: u8 },
    #[error("protocol version {0:#010x}, expected 0x8001____ or a method name")]
    Version(u32),
    #[error("message type {0}, expected 1 to 4")]
    MessageType(u8),
    #[error("method name of {length} bytes, expected at most {limit}")]
    MethodName { length: usize, limit: usize },
}

pub type Result<T> = std::result::Result<T, Error>;

/// The head of a field; `kind` is [`kind::STOP`] at the end of a struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub kind: u8,
    pub id: i16,
}

/// A place in a slice.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes, total: bytes.len() }
    }

    /// Offset of the next byte.
    pub fn offset(&self) -> usize {
        self.total - self.rest.len()
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn error(&self, fault: Fault) -> Error {
        Error { offset: self.offset(), fault }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((array, rest)) => {
                self.rest = rest;
                Ok(*array)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[cold]
    fn truncated(&self, wanted: usize) -> Error {
        self.error(Fault::Truncated { wanted, available: self.rest.len() })
    }

    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    #[inline]
    pub fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    #[inline]
    pub fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// `length` bytes as they are.
    #[inline]
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(length) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.truncated(length)),
        }
    }

    /// The bytes not yet read.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Passes over `bytes` if they come next.
    #[inline]
    pub fn pass(&mut self, bytes: &[u8]) -> bool {
        match self.rest.strip_prefix(bytes) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A length and so many bytes: Thrift's `string` and `binary`.
    #[inline]
    pub fn string(&mut self) -> Result<&'a [u8]> {
        let length = self.i32()?;
        match usize::try_from(length) {
            Ok(length) => self.bytes(length),
            Err(_) => Err(self.error(Fault::NegativeLength(length))),
        }
    }

    /// The head of the next field. A stop has no id; it reads as 0.
    #[inline]
    pub fn field(&mut self) -> Result<Field> {
        let kind = self.u8()?;
        let id = if kind == kind::STOP { 0 } else { self.i16()? };
        Ok(Field { kind, id })
    }

    /// The head of a list or set: element type and count. A negative count is an empty list, as
    /// in Zipkin's reader; one that the bytes left cannot hold is refused before anything is
    /// reserved for it.
    #[inline]
    pub fn list(&mut self) -> Result<(u8, usize)> {
        let kind = self.u8()?;
        let count = self.i32()?.max(0) as usize;
        self.pay(count, size_min(kind))?;
        Ok((kind, count))
    }

    /// The head of a list that is taken for one of structs, whatever type it says its elements
    /// have: Zipkin's reader does not look.
    #[inline]
    pub fn structs(&mut self) -> Result<usize> {
        self.u8()?;
        let count = self.i32()?.max(0) as usize;
        self.pay(count, size_min(kind::STRUCT))?;
        Ok(count)
    }

    /// That `count` elements of at least `size` bytes can be there at all.
    fn pay(&self, count: usize, size: usize) -> Result<()> {
        match count.checked_mul(size) {
            Some(wanted) if wanted <= self.rest.len() => Ok(()),
            _ => Err(self.truncated(count)),
        }
    }

    /// Passes over a value of type `kind`, whose structs and containers nest at most `depth`
    /// deep. A type that does not exist has no bytes, as in Zipkin's reader. Takes time in
    /// proportion to the bytes passed over.
    pub fn skip(&mut self, kind: u8, depth: usize) -> Result<()> {
        self.skip_nested(kind, depth, depth)
    }

    fn skip_nested(&mut self, kind: u8, depth: usize, limit: usize) -> Result<()> {
        match kind {
            kind::STRING => return self.string().map(drop),
            kind::STRUCT | kind::MAP | kind::SET | kind::LIST => {}
            fixed => return self.bytes(size_min(fixed)).map(drop),
        }
        let Some(depth) = depth.checked_sub(1) else { return Err(self.error(Fault::TooDeep { limit })) };
        match kind {
            kind::STRUCT => loop {
                let field = self.field()?;
                if field.kind == kind::STOP {
                    return Ok(());
                }
                self.skip_nested(field.kind, depth, limit)?;
            },
            kind::MAP => {
                let (key, value) = (self.u8()?, self.u8()?);
                let count = self.i32()?.max(0) as usize;
                let pair = size_min(key) + size_min(value);
                self.pay(count, pair)?;
                // Pairs without bytes are not counted out: there may be two thousand million.
                for _ in 0..if pair == 0 { 0 } else { count } {
                    self.skip_nested(key, depth, limit)?;
                    self.skip_nested(value, depth, limit)?;
                }
                Ok(())
            }
            _ => {
                let (element, count) = self.list()?;
                for _ in 0..if size_min(element) == 0 { 0 } else { count } {
                    self.skip_nested(element, depth, limit)?;
                }
                Ok(())
            }
        }
    }
}

/// The fewest bytes a value of this type can have; 0 for a type that does not exist.
fn size_min(kind: u8) -> usize {
    match kind {
        kind::BOOL | kind::BYTE | kind::STRUCT => 1,
        kind::I16 => 2,
        kind::I32 | kind::STRING => 4,
        kind::SET | kind::LIST => 5,
        kind::MAP => 6,
        kind::I64 | kind::DOUBLE => 8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
