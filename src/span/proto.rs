//! Reading protobuf from a slice: a bounds-checked cursor, for canonical bytes and for strangers'.
//!
//! Nothing is copied or allocated. Every error names the byte at which it was found, counted
//! from the start of the outermost slice. (protobuf.dev, "Encoding".)

/// Wire types; 3 and 4 are the groups that proto3 has not.
pub const VARINT: u32 = 0;
pub const FIXED64: u32 = 1;
pub const LENGTH_DELIMITED: u32 = 2;
pub const FIXED32: u32 = 5;

/// Bytes of the longest varint: 64 bits, 7 a byte.
const VARINT_BYTES_MAX: usize = 10;

/// The key of a field: its number and its wire type.
pub const fn tag(field: u32, wire_type: u32) -> u32 {
    field << 3 | wire_type
}

/// Bytes that `number` takes as a varint.
pub const fn varint_len(number: u64) -> usize {
    (70 - (number | 1).leading_zeros() as usize) / 7
}

/// What is wrong with the bytes, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub struct Malformed {
    pub offset: usize,
    pub problem: Problem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("Truncated: length {length} > bytes available {available}")]
    Truncated { length: u32, available: u32 },
    #[error("Greater than {bits}-bit varint")]
    Varint { bits: u32 },
    #[error("Malformed: fieldNumber was zero")]
    FieldNumber,
    #[error("Malformed: invalid wireType")]
    WireType,
    #[error("Malformed: not UTF-8")]
    Text,
    #[error("Malformed: not a canonical span")]
    Span,
}

/// A place in a slice.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    /// Where `rest` begins in the outermost slice.
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes, offset: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn offset(&self) -> usize {
        self.offset
    }

    #[cold]
    pub fn error(&self, problem: Problem) -> Malformed {
        Malformed { offset: self.offset, problem }
    }

    /// Lengths beyond 4 GiB are told as 4 GiB: errors stay small, for every read returns room for one.
    #[cold]
    fn truncated(&self, length: usize) -> Malformed {
        let told = |length| u32::try_from(length).unwrap_or(u32::MAX);
        self.error(Problem::Truncated { length: told(length), available: told(self.rest.len()) })
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.truncated(length));
        };
        self.rest = rest;
        self.offset += length;
        Ok(taken)
    }

    /// A varint of up to 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            self.offset += 1;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for (i, byte) in self.rest.iter().take(VARINT_BYTES_MAX).enumerate() {
            number |= u64::from(byte & 0x7F) << (7 * i);
            // The tenth byte has the 64th bit.
            if *byte < 0x80 && (i + 1 < VARINT_BYTES_MAX || *byte < 2) {
                self.take(i + 1)?;
                return Ok(number);
            }
        }
        match self.rest.len() {
            available @ ..VARINT_BYTES_MAX => Err(self.truncated(available + 1)),
            _ => Err(self.error(Problem::Varint { bits: 64 })),
        }
    }

    /// The key of the next field.
    #[inline]
    pub fn key(&mut self) -> Result<u32, Malformed> {
        let start = *self;
        let key = u32::try_from(self.varint()?).map_err(|_| start.error(Problem::Varint { bits: 32 }))?;
        match key >> 3 {
            0 => Err(start.error(Problem::FieldNumber)),
            _ => Ok(key),
        }
    }

    #[inline]
    pub fn fixed64(&mut self) -> Result<u64, Malformed> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("eight were taken")))
    }

    /// A length and as many bytes.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let start = *self;
        // A length beyond the address space is beyond the slice as well.
        let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        self.take(len).map_err(|malformed| start.error(malformed.problem))
    }

    /// A length and as many bytes, to be read by a cursor of their own.
    #[inline]
    pub fn message(&mut self) -> Result<Cursor<'a>, Malformed> {
        let rest = self.bytes()?;
        Ok(Cursor { rest, offset: self.offset - rest.len() })
    }

    /// Passes over the value of a field that nobody asked for. Does not recurse.
    pub fn skip(&mut self, key: u32) -> Result<(), Malformed> {
        match key & 7 {
            VARINT => self.varint().map(drop),
            FIXED64 => self.take(8).map(drop),
            LENGTH_DELIMITED => self.bytes().map(drop),
            FIXED32 => self.take(4).map(drop),
            _ => Err(self.error(Problem::WireType)),
        }
    }
}
