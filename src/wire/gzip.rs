//! gzip bodies, within the bounds of [`inflate`].
//!
//! Members that follow one another are one body (RFC 1952, 2.2). Anything that does not inflate
//! to its end with the right checksum is corrupt.

use flate2::bufread::MultiGzDecoder;

use super::inflate::{self, InflateError};

/// See [`Coding::decode`](inflate::Coding::decode).
pub fn decode(body: &[u8], decoded_max: usize, ratio_max: usize) -> Result<Vec<u8>, InflateError> {
    inflate::bounded(MultiGzDecoder::new(body), body.len(), decoded_max, ratio_max)
}

/// What the last member says that it holds: its length modulo 2^32 (RFC 1952, 2.3.1).
pub(super) fn claimed(body: &[u8]) -> Option<usize> {
    body.last_chunk().map(|length| u32::from_le_bytes(*length) as usize)
}

#[cfg(test)]
mod tests;
