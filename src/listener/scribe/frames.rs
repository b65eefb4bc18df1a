//! Reading frames from a connection: length, prefix, permits, body.
//!
//! Until permits are there, only [`PREFIX_BYTES`] of a frame are read; a frame whose permits do
//! not come in time is read to its end in small pieces and thrown away, so that the connection
//! can go on and the call be answered by its name. An idle connection holds no buffer.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout_at;

use crate::listener::intake::{Permit, Refusal};
use crate::listener::pace::Pace;
use crate::wire::scribe::{Foreign, HEADER_BYTES_MAX, Header, LOG};

/// Read without a permit: enough for any header, and for all calls but `Log`.
const PREFIX_BYTES: usize = 1024;
const _: () = assert!(PREFIX_BYTES >= HEADER_BYTES_MAX);

/// Least room made for a read; one read often brings several small frames.
const READ_BYTES: usize = 4096;

const LENGTH_BYTES: usize = 4;

/// What a connection brought.
#[derive(Debug)]
pub enum Arrival {
    /// A whole payload.
    Frame(Bytes),
    /// A payload that was thrown away; its first bytes, and its length.
    Refused {
        prefix: Bytes,
        bytes: usize,
        refusal: Refusal,
    },
    /// A payload of this length that the stream ended within, or that a reset cut.
    Cut {
        bytes: usize,
        error: Option<io::Error>,
    },
    Foreign(Foreign),
    /// A payload that holds permits and comes too slowly.
    Slow,
    /// A length that is not positive or above the limit.
    BadLength(i32),
}

/// Where an inbox's bytes come from.
pub(super) trait Source: AsyncRead + Unpin {
    /// Waits until there may be something to read, without a buffer for it. Cancel safe.
    async fn readable(&self) -> io::Result<()>;
}

impl Source for OwnedReadHalf {
    async fn readable(&self) -> io::Result<()> {
        OwnedReadHalf::readable(self).await
    }
}

/// A connection's incoming bytes.
pub(super) struct Inbox<S = OwnedReadHalf> {
    stream: S,
    buf: BytesMut,
}

impl<S: Source> Inbox<S> {
    pub fn new(stream: S) -> Self {
        Inbox { stream, buf: BytesMut::new() }
    }

    /// Whether a frame has begun to arrive.
    pub fn begun(&self) -> bool {
        !self.buf.is_empty()
    }

    /// Waits for the first byte of a frame, for ever; false at the end of the stream. Cancel safe.
    pub async fn begin(&mut self) -> io::Result<bool> {
        if self.begun() {
            return Ok(true);
        }
        // What is idle holds no memory.
        self.buf = BytesMut::new();
        self.stream.readable().await?;
        self.fill(1).await
    }

    /// Reads the frame that has begun; `None` where the stream ends within its length.
    pub async fn frame(
        &mut self,
        bytes_max: usize,
        permit: &mut Permit,
        pace: &mut Pace,
    ) -> io::Result<Option<Arrival>> {
        if !self.fill(LENGTH_BYTES).await? {
            return Ok(None);
        }
        let first: [u8; LENGTH_BYTES] = self.buf[..LENGTH_BYTES].try_into().expect("filled to four");
        if let Some(foreign) = Foreign::recognise(first) {
            return Ok(Some(Arrival::Foreign(foreign)));
        }
        let length = i32::from_be_bytes(first);
        let Some(bytes) = usize::try_from(length).ok().filter(|bytes| (1..=bytes_max).contains(bytes)) else {
            return Ok(Some(Arrival::BadLength(length)));
        };
        let arrival = self.payload(bytes, permit, pace).await;
        Ok(Some(match arrival {
            Ok(Some(arrival)) => arrival,
            Ok(None) => Arrival::Cut { bytes, error: None },
            Err(error) => Arrival::Cut { bytes, error: Some(error) },
        }))
    }

    /// Reads what comes behind the length; `None` where the stream ends within it.
    async fn payload(&mut self, bytes: usize, permit: &mut Permit, pace: &mut Pace) -> io::Result<Option<Arrival>> {
        if !self.fill(LENGTH_BYTES + bytes.min(PREFIX_BYTES)).await? {
            return Ok(None);
        }
        if bytes <= PREFIX_BYTES && !is_log(&self.buf[LENGTH_BYTES..LENGTH_BYTES + bytes]) {
            return Ok(Some(Arrival::Frame(self.take(bytes))));
        }
        self.body(bytes, permit, pace).await
    }

    async fn body(&mut self, bytes: usize, permit: &mut Permit, pace: &mut Pace) -> io::Result<Option<Arrival>> {
        loop {
            let have = self.buf.len().saturating_sub(LENGTH_BYTES).min(bytes);
            let wait_left = permit.wait_left();
            let allowed = match permit.step(have, bytes).await {
                Ok(allowed) => allowed.min(bytes),
                Err(refusal) => {
                    permit.release();
                    return self.discard(bytes, refusal).await;
                }
            };
            if have == bytes {
                return Ok(Some(Arrival::Frame(self.take(bytes))));
            }
            pace.pause(wait_left - permit.wait_left());
            match self.fill_apace(LENGTH_BYTES + allowed, pace).await? {
                Some(true) => {}
                Some(false) => return Ok(None),
                None => return Ok(Some(Arrival::Slow)),
            }
        }
    }

    /// As [`fill`](Self::fill); `None` where the bytes come too slowly.
    async fn fill_apace(&mut self, bytes: usize, pace: &Pace) -> io::Result<Option<bool>> {
        loop {
            let deadline = pace.deadline(self.buf.len());
            match timeout_at(deadline, self.fill(bytes)).await {
                Ok(filled) => return filled.map(Some),
                // Some came meanwhile.
                Err(_late) if pace.deadline(self.buf.len()) > deadline => {}
                Err(_late) => return Ok(None),
            }
        }
    }

    /// Throws away a frame of which at most a part has been read.
    async fn discard(&mut self, bytes: usize, refusal: Refusal) -> io::Result<Option<Arrival>> {
        let prefix = Bytes::copy_from_slice(&self.buf[LENGTH_BYTES..][..bytes.min(PREFIX_BYTES)]);
        let mut left = LENGTH_BYTES + bytes;
        loop {
            let gone = self.buf.len().min(left);
            let _ = self.buf.split_to(gone);
            left -= gone;
            if left == 0 {
                return Ok(Some(Arrival::Refused { prefix, bytes, refusal }));
            }
            self.buf = BytesMut::new();
            if !self.fill(1).await? {
                return Ok(None);
            }
        }
    }

    fn take(&mut self, bytes: usize) -> Bytes {
        self.buf.split_to(LENGTH_BYTES + bytes).freeze().slice(LENGTH_BYTES..)
    }

    /// Reads until `bytes` are buffered; false where the stream ends before. Cancel safe.
    async fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        while self.buf.len() < bytes {
            self.buf.reserve((bytes - self.buf.len()).max(READ_BYTES));
            if self.stream.read_buf(&mut self.buf).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Throws away what still comes, until the stream ends.
    pub async fn discard_rest(&mut self) -> io::Result<()> {
        loop {
            self.buf = BytesMut::new();
            if !self.fill(1).await? {
                return Ok(());
            }
        }
    }
}

fn is_log(payload: &[u8]) -> bool {
    Header::parse(payload).is_ok_and(|header| header.name == LOG)
}
