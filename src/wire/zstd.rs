//! Zstandard bodies, within the bounds of [`inflate`].
//!
//! Frames that follow one another are one body (RFC 8878, 3). The window, which the decoder
//! holds beside what it inflates, is bounded as RFC 9659 bounds it for HTTP.

use zstd::stream::read::Decoder;
use zstd::zstd_safe;

use super::inflate::{self, InflateError};

/// The largest window, as a power of 2: 8 MiB, which every sender for HTTP keeps to (RFC 9659, 3).
const WINDOW_LOG_MAX: u32 = 23;

/// See [`Coding::decode`](inflate::Coding::decode).
pub fn decode(body: &[u8], decoded_max: usize, ratio_max: usize) -> Result<Vec<u8>, InflateError> {
    if body.is_empty() {
        return Err(InflateError::Corrupt);
    }
    let mut decoder = Decoder::with_buffer(body).map_err(|_| InflateError::Corrupt)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(|_| InflateError::Corrupt)?;
    inflate::bounded(decoder, body.len(), decoded_max, ratio_max)
}

/// What the first frame says that it holds, if it says so.
pub(super) fn claimed(body: &[u8]) -> Option<usize> {
    let claimed = zstd_safe::get_frame_content_size(body).ok().flatten()?;
    Some(usize::try_from(claimed).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
