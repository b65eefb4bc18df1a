//! A load as the body of a request.
//!
//! proto3 needs no encoding: a `ListOfSpans` is a concatenation of its elements. JSON and gzip
//! run on a blocking thread, so that a large batch holds up nobody.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body, Frame, SizeHint};

use super::{Encoding, Settings};
use crate::sink::Load;
use crate::tasks;
use crate::wire::json_v2;

/// Pieces below this are copied together: one write costs less than a piece of a gathered one.
const SMALL: usize = 4 * 1024;
/// Such copies end at this size.
const COPIED_MAX: usize = 64 * 1024;

pub(super) struct Encoded {
    pub body: reqwest::Body,
    pub content_type: &'static str,
}

/// The body of `load`; an error says why its bytes could not be encoded.
pub(super) async fn encode(settings: &Settings, load: &Load) -> Result<Encoded, String> {
    let (encoding, gzip) = (settings.encoding, settings.gzip);
    let pieces = load.pieces.clone();
    let pieces = match (encoding, gzip) {
        (Encoding::Proto3, false) => coalesce(pieces),
        _ => {
            tasks::blocking(move || -> Result<Vec<Bytes>, String> {
                let plain = if encoding == Encoding::JsonV2 { vec![json(&pieces)?] } else { pieces };
                if gzip { Ok(vec![compress(&plain).map_err(|e| e.to_string())?]) } else { Ok(plain) }
            })
            .await?
        }
    };
    let content_type = match encoding {
        Encoding::Proto3 => "application/x-protobuf",
        Encoding::JsonV2 => "application/json",
    };
    Ok(Encoded { body: reqwest::Body::wrap(Pieces::new(pieces)), content_type })
}

fn json(pieces: &[Bytes]) -> Result<Bytes, String> {
    let mut out = Vec::new();
    json_v2::encode_list(pieces.iter().map(|p| &p[..]), &mut out).map_err(|e| e.to_string())?;
    Ok(out.into())
}

fn compress(pieces: &[Bytes]) -> io::Result<Bytes> {
    // Fast: collectors are a network hop away, and spans repeat themselves enough for any level.
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    for piece in pieces {
        gzip.write_all(piece)?;
    }
    Ok(gzip.finish()?.into())
}

/// Copies runs of small pieces together; larger ones stay as they are.
fn coalesce(pieces: Vec<Bytes>) -> Vec<Bytes> {
    if pieces.len() < 2 || pieces.iter().all(|p| p.len() >= SMALL) {
        return pieces;
    }
    let mut out = Vec::new();
    let mut run = BytesMut::new();
    for piece in pieces {
        if piece.len() >= SMALL || run.len() + piece.len() > COPIED_MAX {
            if !run.is_empty() {
                out.push(run.split().freeze());
            }
            if piece.len() >= SMALL {
                out.push(piece);
                continue;
            }
        }
        run.extend_from_slice(&piece);
    }
    if !run.is_empty() {
        out.push(run.freeze());
    }
    out
}

/// A body of known length in several pieces, so that Content-Length is sent and nothing is copied.
struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl Pieces {
    fn new(pieces: Vec<Bytes>) -> Self {
        Pieces { left: pieces.iter().map(|p| p.len() as u64).sum(), pieces: pieces.into() }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |p| p.len() as u64);
        Poll::Ready(piece.map(|p| Ok(Frame::data(p))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize, value: u8) -> Bytes {
        vec![value; len].into()
    }

    #[test]
    fn small_pieces_are_copied_together_and_large_ones_are_not() {
        let pieces = vec![bytes(10, 1), bytes(20, 2), bytes(SMALL, 3), bytes(30, 4), bytes(SMALL + 1, 5)];
        let whole: Vec<u8> = pieces.concat();
        let large = pieces[2].as_ptr();
        let out = coalesce(pieces);
        assert_eq!(out.iter().map(Bytes::len).collect::<Vec<_>>(), [30, SMALL, 30, SMALL + 1]);
        assert_eq!(out[1].as_ptr(), large, "a large piece was copied");
        assert_eq!(out.concat(), whole);
    }

    #[test]
    fn copies_end_at_their_bound() {
        let out = coalesce((0..100).map(|n| bytes(SMALL - 1, n)).collect());
        assert!(out.iter().all(|p| p.len() <= COPIED_MAX));
        assert_eq!(out.iter().map(Bytes::len).sum::<usize>(), 100 * (SMALL - 1));
    }

    #[test]
    fn a_body_knows_its_length() {
        let body = Pieces::new(vec![bytes(3, 1), bytes(4, 2)]);
        assert_eq!(body.size_hint().exact(), Some(7));
        assert!(!body.is_end_stream());
        assert!(Pieces::new(Vec::new()).is_end_stream());
    }
}
