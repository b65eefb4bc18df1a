//! The framer by itself, for proofs that feed it any bytes in any pieces (tests/proof/fuzz). Nothing else has a use for
//! it: frames of connections are read by their own tasks.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

pub use super::frames::Arrival;
use super::frames::{Inbox, Source};
use crate::listener::intake::Permit;
use crate::listener::pace::Pace;

/// A stream that is always worth a read.
struct Any<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Any<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + Unpin> Source for Any<S> {
    async fn readable(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The frames of a stream.
pub struct Frames<S>(Inbox<Any<S>>);

impl<S: AsyncRead + Unpin> Frames<S> {
    pub fn new(stream: S) -> Frames<S> {
        Frames(Inbox::new(Any(stream)))
    }

    /// What comes next, as a connection reads it: of at most `bytes_max` bytes, and `rate_min` bytes a second. `None`
    /// where the stream ends.
    pub async fn next(&mut self, bytes_max: usize, rate_min: u64, permit: &mut Permit) -> io::Result<Option<Arrival>> {
        match self.0.begin().await? {
            true => self.0.frame(bytes_max, permit, &mut Pace::begin(rate_min)).await,
            false => Ok(None),
        }
    }

    /// As what speaks another protocol is read to its end.
    pub async fn discard_rest(&mut self) -> io::Result<()> {
        self.0.discard_rest().await
    }
}
