//! An object's bytes, by ranges, for readers that block.
//!
//! A read that a store refuses is repeated a few times; then whoever reads hears of it.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;

use super::Trouble;
use crate::archive::store::{Answer, Listed, Look, Store};
use crate::drain::backoff::Backoff;

/// Tries of one read. The client of an object store repeats a request by itself, too.
const TRIES_MAX: u32 = 4;
const REST_MIN: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(5);
/// Read ahead of a stream: few requests, and little memory.
const AHEAD_BYTES: u64 = 4 << 20;

/// One object.
#[derive(Clone)]
pub(super) struct Source {
    store: Arc<dyn Store>,
    runtime: Handle,
    name: String,
    len: u64,
}

impl Source {
    pub fn new(store: Arc<dyn Store>, runtime: Handle, object: &Listed) -> Source {
        Source { store, runtime, name: object.name.clone(), len: object.bytes }
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn damaged(&self, what: impl ToString) -> Trouble {
        Trouble::Damaged { name: self.name.clone(), what: what.to_string() }
    }

    pub fn look(&self) -> Result<Look, Trouble> {
        self.tried(|| self.store.look(&self.name))
    }

    /// All of that part; one that the object does not have is damage.
    pub fn read(&self, at: u64, len: u64) -> Result<Bytes, Trouble> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(self.damaged(format!(
                "it ends at byte {}, where {at} to {} are asked for",
                self.len,
                at + len
            )));
        }
        let bytes = self.tried(|| self.store.fetch(&self.name, at, len))?;
        match bytes.len() as u64 == len {
            true => Ok(bytes),
            false => Err(self.damaged(format!("{len} bytes from byte {at} on are {} now", bytes.len()))),
        }
    }

    fn tried<'a, T>(&'a self, ask: impl Fn() -> Answer<'a, T>) -> Result<T, Trouble> {
        self.runtime.block_on(async {
            let mut backoff = Backoff::new(REST_MIN, REST_MAX);
            loop {
                let error = match ask().await {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                };
                if matches!(self.store.look(&self.name).await, Ok(Look::Absent)) {
                    return Err(Trouble::Gone { name: self.name.clone() });
                }
                let rest = backoff.fail();
                if backoff.failures() >= TRIES_MAX {
                    return Err(error.into());
                }
                tokio::time::sleep(rest).await;
            }
        })
    }

    /// An error of a reader over a [`Stream`]: the stream's own as it was, any other is damage.
    pub fn trouble(&self, error: io::Error) -> Trouble {
        error.downcast::<Trouble>().unwrap_or_else(|error| self.damaged(error))
    }
}

/// An object from its first byte to its last.
pub(super) struct Stream {
    source: Source,
    at: u64,
    ahead: Bytes,
}

impl Stream {
    pub fn new(source: Source) -> Stream {
        Stream { source, at: 0, ahead: Bytes::new() }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.ahead.is_empty() {
            let len = AHEAD_BYTES.min(self.source.len() - self.at);
            self.ahead = self.source.read(self.at, len).map_err(io::Error::other)?;
            self.at += len;
        }
        let len = buf.len().min(self.ahead.len());
        self.ahead.split_to(len).copy_to_slice(&mut buf[..len]);
        Ok(len)
    }
}
