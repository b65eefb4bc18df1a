//! Carrying out a plan: look, read the stretch again, encode, publish if absent.
//!
//! Every step may be repeated after a failure or a crash. An object that stands under its name is
//! never touched: it is the planned one (then all is done) or it is [`Trouble::Unequal`]. Damage met
//! on the way is reported before anything is published, so that what is published is what was
//! planned. Files and compression run on blocking threads, a piece at a time.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::format::{Encoder, Part, Tally};
use super::note::Note;
use super::plan::{Plan, Recipe};
use super::store::{Look, Publish, Staged, Store, StoreError};
use crate::channel::{AppendError, Head, Kind, Ledger, Outcome, ReadError, Scan, Taken};
use crate::planted::{self, Planted};
use crate::tasks;

/// Bytes of frames that are read before they are encoded, whatever a sieve takes of them: large enough that the change
/// of threads costs nothing beside the compression, small beside the gateway's memory.
const PIECE_BYTES: u64 = 1 << 20;

/// How a try ended that did not fail.
#[derive(Debug)]
pub enum Carried {
    /// The object stands, durably; `bytes` are its own, where this try wrote it.
    Stands { bytes: Option<u64> },
    /// Nothing was published: the stretch no longer holds what was planned.
    Changed { tally: Tally, damaged: Vec<Range<u64>> },
}

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("cannot write {name}: {source}")]
    Write { name: String, source: io::Error },
    #[error("cannot read the channel: {0}")]
    Read(#[from] io::Error),
    #[error("cannot save the plan in the channel: {0}")]
    Channel(#[from] AppendError),
    #[error("positions {first} to {end} of the channel are damaged")]
    Damaged { first: u64, end: u64 },
    #[error("{name} came and went while it was published")]
    Vanished { name: String },
    /// Trying again would not help.
    #[error("{name} exists and is another object: planned was {planned}; there is {found}")]
    Unequal { name: String, planned: String, found: String },
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged { first, end } => Trouble::Damaged { first, end },
            ReadError::Failed(source) => Trouble::Read(source),
        }
    }
}

impl Trouble {
    /// A short name of the kind: one log line is written a kind, not a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Trouble::Store(StoreError::Reserve { .. }) => "reserve",
            Trouble::Store(StoreError::Io { .. } | StoreError::Remote { .. }) | Trouble::Write { .. } => "store",
            Trouble::Read(_) | Trouble::Damaged { .. } => "read",
            Trouble::Channel(_) => "channel",
            Trouble::Vanished { .. } | Trouble::Unequal { .. } => "name",
        }
    }
}

/// Carries one plan out, as often as need be. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    pub store: Arc<dyn Store>,
    ledger: Ledger,
    /// With the plan, as it is in the channel.
    note: Arc<Note>,
    /// An upload of an earlier try or run, to be undone. Known before it is durable, so that a failed save loses none.
    upload: Arc<Mutex<Option<String>>>,
}

impl Publisher {
    /// Of the plan in a note.
    pub fn new(store: Arc<dyn Store>, ledger: Ledger, note: Note) -> Publisher {
        let upload = note.plan.as_ref().and_then(|plan| plan.upload.clone());
        Publisher { store, ledger, note: Arc::new(note), upload: Arc::new(Mutex::new(upload)) }
    }

    /// Settles what the recipe leaves out of a stretch that an earlier process planned: what it had settled above its
    /// low is forgotten (DURABILITY.md, cursor slot).
    pub async fn leave_out(&self, plan: &Plan) -> Result<(), Trouble> {
        let sieve = &plan.recipe.rule.sieve;
        if sieve.takes_all() {
            return Ok(());
        }
        let mut scan = self.ledger.scan(plan.object.first..plan.object.last + 1);
        loop {
            match scan.next().await {
                Ok(None) => return Ok(()),
                Ok(Some((head, _))) if head.kind != Kind::Spans => {}
                Ok(Some((head, items))) => drop(sieve.take(Taken { head, open: vec![items] }, &self.ledger)),
                // The scan has settled it.
                Err(ReadError::Damaged { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// One try. The caller settles and clears the note when the object stands.
    pub async fn carry_out(&self, plan: &Plan) -> Result<Carried, Trouble> {
        // Before the look: what was abandoned can no longer come to stand after it.
        self.abandon(plan).await?;
        if self.stands(plan).await? {
            // An earlier try succeeded and did not hear of it.
            let (staging, name) = (self.store.staging().clone(), plan.name.clone());
            tasks::blocking(move || staging.discard(&name)).await?;
            return Ok(Carried::Stands { bytes: None });
        }
        let (encoder, damaged) = self.encode(plan).await?;
        let (tally, planned) = (encoder.tally(), Tally { spans: plan.object.spans, bytes: plan.object.bytes });
        if tally != planned {
            return Ok(Carried::Changed { tally, damaged });
        }
        let finished = tasks::blocking(move || encoder.finish()).await;
        let staged = finished.map_err(|source| Trouble::Write { name: plan.name.clone(), source })?;
        let bytes = staged.bytes();
        let upload = self.begin(plan, bytes).await?;
        match self.store.publish(&plan.name, &plan.object, staged, upload.as_deref()).await? {
            Publish::Done => Ok(Carried::Stands { bytes: Some(bytes) }),
            Publish::Exists if self.stands(plan).await? => Ok(Carried::Stands { bytes: None }),
            Publish::Exists => Err(Trouble::Vanished { name: plan.name.clone() }),
        }
    }

    async fn abandon(&self, plan: &Plan) -> Result<(), Trouble> {
        let begun = self.upload().clone();
        if let Some(upload) = begun {
            self.store.abandon(&plan.name, &upload).await?;
            *self.upload() = None;
        }
        Ok(())
    }

    /// Begins an upload and makes its name durable: whatever happens from here on, the next try finds it.
    async fn begin(&self, plan: &Plan, bytes: u64) -> Result<Option<String>, Trouble> {
        let Some(upload) = self.store.begin(&plan.name, &plan.object, bytes).await? else { return Ok(None) };
        *self.upload() = Some(upload.clone());
        let plan = Plan { upload: Some(upload.clone()), ..plan.clone() };
        let note = Note { plan: Some(plan), ..(*self.note).clone() };
        self.ledger.commit(0..0, Outcome::Delivered, Bytes::from(note.to_bytes())).await?;
        Ok(Some(upload))
    }

    /// Replaced whole, so a panic elsewhere leaves it good.
    fn upload(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.upload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the planned object stands under its name; something else there is an error.
    async fn stands(&self, plan: &Plan) -> Result<bool, Trouble> {
        let found = match self.store.look(&plan.name).await? {
            Look::Absent => return Ok(false),
            _ if planted::has(Planted::TakenUnseen) => return Ok(true),
            Look::Object(object) if object == plan.object => return Ok(true),
            Look::Object(object) => object.to_string(),
            Look::Stranger(why) => format!("a file of another kind ({why})"),
        };
        Err(Trouble::Unequal { name: plan.name.clone(), planned: plan.object.to_string(), found })
    }

    /// Encodes the stretch into the staging directory. Gives the positions that could not be read, too.
    async fn encode(&self, plan: &Plan) -> Result<(Encoder<Staged>, Vec<Range<u64>>), Trouble> {
        let (staging, name, object) = (self.store.staging().clone(), plan.name.clone(), plan.object.clone());
        let format = plan.recipe.format;
        let mut encoder = tasks::blocking(move || {
            let staged = staging.stage(&name)?;
            Encoder::new(format, &object, staged).map_err(|source| Trouble::Write { name, source })
        })
        .await?;
        let mut reading = Reading::new(&self.ledger, plan);
        loop {
            let parts = reading.piece().await?;
            if parts.is_empty() {
                break;
            }
            let (staging, name) = (self.store.staging().clone(), plan.name.clone());
            encoder = tasks::blocking(move || {
                staging.check_room()?;
                for part in &parts {
                    encoder.add(part).map_err(|source| Trouble::Write { name: name.clone(), source })?;
                }
                Ok::<_, Trouble>(encoder)
            })
            .await?;
        }
        let mut damaged = reading.damaged;
        damaged.extend_from_slice(encoder.unreadable());
        Ok((encoder, damaged))
    }
}

/// A stretch read again.
struct Reading<'a> {
    ledger: &'a Ledger,
    plan: &'a Plan,
    scan: Scan,
    range: Range<u64>,
    damaged: Vec<Range<u64>>,
}

impl<'a> Reading<'a> {
    fn new(ledger: &'a Ledger, plan: &'a Plan) -> Self {
        let range = plan.object.first..plan.object.last + 1;
        Reading { ledger, plan, scan: ledger.scan(range.clone()), range, damaged: Vec::new() }
    }

    /// The next megabyte or so; nothing at the end. Damage is noted and passed.
    async fn piece(&mut self) -> Result<Vec<Part>, Trouble> {
        let (mut parts, mut bytes) = (Vec::new(), 0);
        while bytes < PIECE_BYTES {
            let (head, items) = match self.scan.next().await {
                Ok(None) => break,
                Ok(Some((head, _))) if head.kind != Kind::Spans => continue,
                Ok(Some(frame)) => frame,
                Err(ReadError::Damaged { first, end }) => {
                    self.damaged.push(first.max(self.range.start)..end.min(self.range.end));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let sieved = self.plan.recipe.rule.sieve.part(&head, &[items]).kept;
            let by_span_time = self.plan.recipe.rule.path.is_by_span_time();
            let kept = if by_span_time { sieved } else { self.in_lane(&head, sieved, None) };
            if kept.is_empty() {
                continue;
            }
            match self.ledger.body(&head).await {
                Ok(body) => {
                    let kept = if by_span_time { self.in_lane(&head, kept, Some(&body)) } else { kept };
                    if kept.is_empty() {
                        continue;
                    }
                    let part = |items| Part { head: head.clone(), items, body: body.clone() };
                    parts.extend(kept.into_iter().map(part));
                    bytes += body.len() as u64;
                }
                Err(ReadError::Damaged { .. }) => {
                    let position = |item| head.at.first + u64::from(item);
                    self.damaged.extend(kept.iter().map(|items| position(items.start)..position(items.end)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(parts)
    }

    /// What of a frame's items is planned.
    fn in_lane(&self, head: &Head, kept: Vec<Range<u32>>, body: Option<&[u8]>) -> Vec<Range<u32>> {
        let Recipe { rule, lane, .. } = &self.plan.recipe;
        let Some(lane) = lane else { return kept };
        let lanes = rule.lanes(head, &kept, &self.plan.object.channel, body);
        lanes.into_iter().filter(|(_, of)| of == lane).map(|(items, _)| items).collect()
    }
}

#[cfg(test)]
mod tests;
