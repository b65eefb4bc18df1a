//! The facts that stand in an object's own bytes, for stores that keep none beside them.
//!
//! A format asks for parts of a file as if it lay here. What it asks for first is not here yet: it is
//! fetched, and the format asked again, which ends as a format asks for a few parts and then knows.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, ErrorKind};

use bytes::Bytes;

use super::{Look, StoreError};
use crate::archive::format::{FactsError, Format};

/// What an object of `len` bytes under `name` says of itself; `fetch(at, len)` gives that part of it.
pub async fn look<F>(name: &str, len: u64, fetch: impl Fn(u64, u64) -> F) -> Result<Look, StoreError>
where
    F: Future<Output = Result<Bytes, StoreError>>,
{
    let Some(format) = Format::of_name(name) else { return Ok(Look::Stranger(FactsError::Name.to_string())) };
    let mut here: BTreeMap<(u64, usize), Bytes> = BTreeMap::new();
    loop {
        let mut wanted = None;
        let told = format.facts(len, &mut |at, part| match here.get(&(at, part)) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => {
                wanted = Some((at, part));
                Err(io::Error::from(ErrorKind::WouldBlock))
            }
        });
        match (told, wanted) {
            (_, Some((at, part))) => {
                let there = (part as u64).min(len.saturating_sub(at));
                let bytes = if there == 0 { Bytes::new() } else { fetch(at, there).await? };
                here.insert((at, part), bytes);
            }
            (Ok(Ok(object)), None) => return Ok(Look::Object(object)),
            (Ok(Err(error)), None) => return Ok(Look::Stranger(error.to_string())),
            (Err(error), None) => return Ok(Look::Stranger(error.to_string())),
        }
    }
}
