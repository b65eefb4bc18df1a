//! The facts that stand in an object's own bytes, for stores that keep none beside them.

use std::future::Future;

use bytes::Bytes;

use super::{Look, StoreError};
use crate::archive::format::jsonl;

/// What an object of `len` bytes says of itself; `fetch(at, len)` gives that part of it.
pub async fn look<F>(len: u64, fetch: impl Fn(u64, u64) -> F) -> Result<Look, StoreError>
where
    F: Future<Output = Result<Bytes, StoreError>>,
{
    let start = match len {
        0 => Bytes::new(),
        _ => fetch(0, len.min(jsonl::HEADER_BYTES_MAX as u64)).await?,
    };
    Ok(jsonl::read_header(&start).map_or_else(|error| Look::Stranger(error.to_string()), Look::Object))
}
