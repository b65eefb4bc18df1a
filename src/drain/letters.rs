//! Dead letters sent again: back into the channel, for the drain that refused them and for no other.
//!
//! The spans of a file of letters are durable in the channel before the letters go. A crash in
//! between leaves both, and the next replay sends them again: it repeats, it never loses. One
//! replay or purge at a time; letters that are written meanwhile are not looked at.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::{AppendError, Channel, Draft, Item, Kind, Origin};
use crate::clock::Clock;
use crate::deadletter::{Chosen, Class, Filed, Filter, Store};
use crate::span::{self, canonical};
use crate::tasks;

/// Bytes of spans given to the channel at once.
const APPENDED_BYTES: usize = 1 << 20;
/// Of a channel that is bounded in spans, what is given to it at once: one over this. More than all of it would never
/// go.
const APPENDED_PART: u64 = 8;
/// What a replayed letter's origin says of it.
const REPLAYED: (&str, &str) = ("replay", "dead-letters");
/// Longest wait for room in the channel: whoever asked can ask again.
const ROOM_WAIT: Duration = Duration::from_secs(30);

/// What became of the letters that were meant.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// By drain.
    pub sent: BTreeMap<String, u64>,
    /// What could not be decoded can go to no drain.
    pub undecodable: u64,
    /// Of drains that the channel does not have, by name.
    pub orphans: BTreeMap<String, u64>,
}

/// Why a replay or a purge stopped; what was done before it stands.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("another replay or purge is under way")]
    Busy,
    #[error("the dead letters: {0}")]
    Letters(#[from] std::io::Error),
    #[error("the channel: {0}")]
    Channel(#[from] AppendError),
    #[error("the channel had no room for {} seconds", ROOM_WAIT.as_secs())]
    Full,
}

/// Sends the letters that `filter` takes to the drains that refused them, and takes them out.
pub async fn replay(channel: &Channel, store: &Store, clock: &Clock, filter: &Filter) -> Result<Replayed, Error> {
    let _tended = store.tend().ok_or(Error::Busy)?;
    let drains: Vec<String> = channel.snapshot().accounts.into_iter().map(|account| account.drain).collect();
    let mut done = Replayed::default();
    let mut left = filter.limit.unwrap_or(u64::MAX);
    for part in blocking(store, Store::parts).await {
        if left == 0 {
            break;
        }
        let wanted = filter.clone();
        // The limit is one of letters that go: those of no drain are in nobody's way.
        let chosen = blocking(store, move |store| store.choose(part, &wanted, u64::MAX)).await?;
        let mut chosen = done.sort_out(chosen, &drains);
        chosen.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= chosen.len() as u64;
        send(channel, clock, &chosen).await?;
        let lines: Vec<usize> = chosen.iter().map(|(line, _)| *line).collect();
        if !lines.is_empty() {
            blocking(store, move |store| store.take_out(part, &lines)).await?;
        }
        for (_, letter) in chosen {
            *done.sent.entry(letter.drain).or_default() += 1;
        }
    }
    Ok(done)
}

/// Takes out the letters that `filter` takes; how many they were.
pub async fn purge(store: &Store, filter: &Filter) -> Result<u64, Error> {
    let _tended = store.tend().ok_or(Error::Busy)?;
    let mut gone = 0;
    for part in blocking(store, Store::parts).await {
        let (wanted, most) = (filter.clone(), filter.limit.map_or(u64::MAX, |limit| limit - gone));
        let taken = blocking(store, move |store| {
            let lines: Vec<usize> = store.choose(part, &wanted, most)?.iter().map(|(line, _)| *line).collect();
            if !lines.is_empty() {
                store.take_out(part, &lines)?;
            }
            std::io::Result::Ok(lines.len() as u64)
        });
        gone += taken.await?;
    }
    Ok(gone)
}

impl Replayed {
    /// Those that can go to a drain.
    fn sort_out(&mut self, chosen: Chosen, drains: &[String]) -> Chosen {
        let (spans, entries): (Chosen, Chosen) = chosen.into_iter().partition(|(_, letter)| is_span(letter));
        self.undecodable += entries.len() as u64;
        let (spans, orphans): (Chosen, Chosen) =
            spans.into_iter().partition(|(_, letter)| drains.contains(&letter.drain));
        for (_, letter) in orphans {
            *self.orphans.entry(letter.drain).or_default() += 1;
        }
        spans
    }
}

fn is_span(letter: &Filed) -> bool {
    letter.class != Class::Undecodable && item(letter).is_some()
}

async fn send(channel: &Channel, clock: &Clock, chosen: &Chosen) -> Result<(), Error> {
    let spans_max = channel.snapshot().capacity_spans.map_or(u64::MAX, |spans| (spans / APPENDED_PART).max(1));
    let spans_max = usize::try_from(spans_max).unwrap_or(usize::MAX);
    let mut rest = chosen.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(spans_max).take_while(|(_, letter)| {
            bytes += letter.bytes.len();
            bytes <= APPENDED_BYTES
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        // Received now: what was mended took its time, and is not to expire for it.
        let drafts = now.iter().filter_map(|(_, letter)| draft(letter, clock.now_us())).collect();
        tokio::time::timeout(ROOM_WAIT, channel.append(drafts).wait()).await.map_err(|_| Error::Full)??;
        rest = later;
    }
    Ok(())
}

/// A letter as a frame for its drain alone.
fn draft(letter: &Filed, received_us: u64) -> Option<Draft> {
    let (item, label) = item(letter)?;
    Some(Draft {
        kind: Kind::Spans,
        addressee: Some(letter.drain.clone()),
        received_us,
        origin: Arc::new(replayed(&letter.origin)),
        labels: label.into_iter().collect(),
        items: vec![item],
        body: letter.bytes.clone(),
    })
}

/// A letter's origin with the mark of a replay, once.
fn replayed(origin: &[(String, String)]) -> Origin {
    let (key, value) = REPLAYED;
    let others = origin.iter().filter(|(other, _)| other != key).cloned();
    Origin(others.chain([(key.to_owned(), value.to_owned())]).collect())
}

/// Whether a frame is a letter that was sent again: what it holds was refused before.
pub(super) fn is_replayed(origin: &Origin) -> bool {
    origin.0.iter().any(|(key, value)| (key.as_str(), value.as_str()) == REPLAYED)
}

/// What the channel is to know of a letter's span; `None` for what is none.
fn item(letter: &Filed) -> Option<(Item, Option<String>)> {
    let span = canonical::read(canonical::span_bytes(&letter.bytes).ok()?).ok()?;
    let service = span.local.as_ref().and_then(|local| local.service_name.as_deref());
    // The channel cuts one that is too long.
    let label = service.map(str::to_owned);
    let item = Item {
        key: span.trace_id.low,
        len: u32::try_from(letter.bytes.len()).ok()?,
        label: if label.is_some() { 0 } else { span::NO_LABEL },
        flags: if span.debug { span::ALWAYS_KEEP } else { 0 },
    };
    Some((item, label))
}

/// For a person.
impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self == &Replayed::default() {
            return writeln!(f, "no letters");
        }
        for (drain, count) in &self.sent {
            writeln!(f, "{drain}: {count} replayed")?;
        }
        for (drain, count) in &self.orphans {
            writeln!(f, "{drain}: {count} kept: there is no such drain any more")?;
        }
        match self.undecodable {
            0 => Ok(()),
            count => {
                writeln!(f, "{count} could not be decoded and go to no drain; show prints them, purge removes them")
            }
        }
    }
}

/// What a purge did, for a person.
pub fn purged(letters: u64) -> String {
    format!("{letters} letters removed\n")
}

async fn blocking<T: Send + 'static>(store: &Store, work: impl FnOnce(&Store) -> T + Send + 'static) -> T {
    let store = store.clone();
    tasks::blocking(move || work(&store)).await
}
