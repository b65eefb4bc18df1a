//! gzip bodies inflated within bounds: a kilobyte may stand for gigabytes.
//!
//! What is inflated is written to a buffer that grows with it, and is refused at the first byte
//! beyond a bound. Members that follow one another are one body (RFC 1952, 2.2). Anything that
//! does not inflate to its end with the right checksum is corrupt.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

/// Bytes below which the ratio is not looked at: a body of a thousand like spans is honest at 200 to 1, and this
/// much of a dishonest one does no harm.
pub const RATIO_FLOOR_BYTES: usize = 1 << 20;

/// The first room made, in decoded bytes per wire byte: what JSON of spans usually inflates by.
const USUAL_RATIO: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GzipError {
    #[error("the body inflates to more than {max} bytes")]
    TooLarge { max: usize },
    #[error("the body inflates to more than {max} times its size of {wire} bytes")]
    RatioTooHigh { max: usize, wire: usize },
    /// Zipkin's text for a body that is no gzip.
    #[error("Cannot gunzip spans")]
    Corrupt,
}

/// What a body of `wire` bytes may inflate to.
pub fn most(wire: usize, decoded_max: usize, ratio_max: usize) -> usize {
    wire.saturating_mul(ratio_max).max(RATIO_FLOOR_BYTES).min(decoded_max)
}

/// Inflates `body`: to at most `decoded_max` bytes, and beyond 1 MiB to at most `ratio_max` times its own size.
///
/// # Errors
/// See [`GzipError`]; an empty body is corrupt.
pub fn decode(body: &[u8], decoded_max: usize, ratio_max: usize) -> Result<Vec<u8>, GzipError> {
    let max = most(body.len(), decoded_max, ratio_max);
    let mut out = Vec::with_capacity(body.len().saturating_mul(USUAL_RATIO).min(max));
    // One byte beyond the bound tells a body that is too large from one that just fits.
    let mut inflated = MultiGzDecoder::new(body).take(max as u64 + 1);
    inflated.read_to_end(&mut out).map_err(|_| GzipError::Corrupt)?;
    match out.len() {
        len if len <= max => Ok(out),
        _ if decoded_max == max => Err(GzipError::TooLarge { max: decoded_max }),
        _ => Err(GzipError::RatioTooHigh { max: ratio_max, wire: body.len() }),
    }
}

#[cfg(test)]
mod tests;
