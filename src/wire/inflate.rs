//! Compressed bodies inflated within bounds: a kilobyte may stand for gigabytes.
//!
//! What is inflated is written to a buffer of the bound's size, and is refused at the first byte
//! beyond it. Anything that does not inflate to its end, whole and alone, is corrupt.

use std::io::Read;

use super::{gzip, zstd};

/// Bytes below which the ratio is not looked at: a body of a thousand like spans is honest at 200 to 1, and this
/// much of a dishonest one does no harm.
pub const RATIO_FLOOR_BYTES: usize = 1 << 20;

/// Decoded bytes per wire byte: what JSON of spans usually inflates by.
const USUAL_RATIO: usize = 8;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Zstd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    #[error("the body inflates to more than {max} bytes")]
    TooLarge { max: usize },
    #[error("the body inflates to more than {max} times its size of {wire} bytes")]
    RatioTooHigh { max: usize, wire: usize },
    #[error("the body is cut, damaged or otherwise compressed")]
    Corrupt,
}

impl Coding {
    /// The coding of that name, in any case, as `content-encoding` and `grpc-encoding` have it.
    pub fn of_name(name: &[u8]) -> Option<Coding> {
        match name.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Some(Coding::Gzip),
            b"zstd" => Some(Coding::Zstd),
            _ => None,
        }
    }

    /// How much a body says that it inflates to, which may be a lie; where it does not say, what is usual.
    pub fn claimed(self, body: &[u8]) -> usize {
        let claimed = match self {
            Coding::Gzip => gzip::claimed(body),
            Coding::Zstd => zstd::claimed(body),
        };
        claimed.unwrap_or(body.len().saturating_mul(USUAL_RATIO))
    }

    /// Inflates `body`: to at most `decoded_max` bytes, and beyond 1 MiB to at most `ratio_max` times its own size.
    ///
    /// # Errors
    /// See [`InflateError`]; an empty body is corrupt.
    pub fn decode(self, body: &[u8], decoded_max: usize, ratio_max: usize) -> Result<Vec<u8>, InflateError> {
        match self {
            Coding::Gzip => gzip::decode(body, decoded_max, ratio_max),
            Coding::Zstd => zstd::decode(body, decoded_max, ratio_max),
        }
    }
}

/// What a body of `wire` bytes may inflate to.
pub fn most(wire: usize, decoded_max: usize, ratio_max: usize) -> usize {
    wire.saturating_mul(ratio_max).max(RATIO_FLOOR_BYTES).min(decoded_max)
}

/// Reads what a decoder makes of `wire` bytes, within the bounds of [`Coding::decode`].
pub(super) fn bounded(
    decoder: impl Read,
    wire: usize,
    decoded_max: usize,
    ratio_max: usize,
) -> Result<Vec<u8>, InflateError> {
    let max = most(wire, decoded_max, ratio_max);
    // One byte beyond the bound tells a body that is too large from one that just fits. All at once: a buffer that
    // grows is there twice while it does, and what is not written to takes no memory.
    let mut out = Vec::with_capacity(max.saturating_add(1));
    decoder.take(max as u64 + 1).read_to_end(&mut out).map_err(|_| InflateError::Corrupt)?;
    match out.len() {
        len if len <= max => Ok(out),
        _ if decoded_max == max => Err(InflateError::TooLarge { max: decoded_max }),
        _ => Err(InflateError::RatioTooHigh { max: ratio_max, wire }),
    }
}
