//! The cursors file as it stands: which drains there are, and whether their slots can be read.

use std::io;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use super::{Finding, Standing, Survey};
use crate::channel::cursor::{self, Cursor, SLOT_BYTES, Slot};
use crate::channel::identity::{Id, successor};
use crate::channel::slots::{self, DRAINS_MAX, Fault, Slots};
use crate::channel::{Account, Takes};
use crate::disk::{Disk, Open, read_full};

/// A gateway that runs may be writing a slot while it is read.
const TRIES: usize = 5;
const ROW_BYTES: usize = 2 * SLOT_BYTES;

/// A row of the cursors file that holds something.
pub struct Drain {
    pub row: usize,
    /// As it can be told; empty where it cannot.
    pub name: String,
    pub state: RowState,
    /// Slots that cannot be read, by their offsets.
    pub unreadable: Vec<u64>,
    /// What the ledger says at the log's end, of a live one.
    pub account: Option<Account>,
    /// Spans and entries of whole frames that it has not settled, and when the first of them was received.
    pub open: u64,
    pub oldest_us: Option<u64>,
    /// What is settled above its low.
    pub settled: Vec<Range<u64>>,
    /// Its own: an archive's plan.
    pub note: Bytes,
    pub(in crate::channel) cursor: Option<Cursor>,
    pub(super) durable: (u64, u64, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    Live,
    /// Given up; or never begun, as its second slot was never written.
    Empty,
    /// Both slots are unreadable.
    Unreadable,
    Foreign,
    Version {
        major: u16,
        minor: u16,
    },
}

/// The file's bytes; none where it is missing. Read again while a slot of it is half written.
pub(super) fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut raw = Vec::new();
    for _ in 0..TRIES {
        let file = match disk.open(&Slots::path(dir), Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        raw = vec![0; slots::FILE_BYTES];
        let got = read_full(&*file, &mut raw, 0)?;
        raw.truncate(got);
        let half = raw.chunks(SLOT_BYTES).any(|slot| matches!(cursor::decode(slot, &[0; 16]), Slot::Invalid));
        if !half {
            break;
        }
    }
    Ok(Some(raw))
}

/// Makes slots of the channel that a repair makes of this one slots of this one; whether there are any.
pub(super) fn adopt(raw: &mut [u8], channel: &Id) -> bool {
    let next = successor(channel);
    let mut any = false;
    for slot in raw.chunks_mut(SLOT_BYTES).filter(|slot| cursor::channel_of(slot) == Some(next)) {
        slot.copy_from_slice(&cursor::of_channel(slot, channel));
        any = true;
    }
    any
}

/// The channels that the slots are of.
pub(super) fn channels(raw: &[u8]) -> impl Iterator<Item = Id> {
    raw.chunks(SLOT_BYTES).filter_map(cursor::channel_of)
}

/// What the rows hold, as far as the file goes.
pub(super) fn rows(raw: &[u8], channel: &Id) -> Vec<Drain> {
    let whole = raw.as_chunks::<ROW_BYTES>().0.iter().enumerate();
    let drains = whole.map(|(row, twins)| drain(row, twins, channel));
    drains.filter(|drain| drain.state != RowState::Empty || !drain.unreadable.is_empty()).collect()
}

fn drain(row: usize, twins: &[u8; ROW_BYTES], channel: &Id) -> Drain {
    let slots = twins.chunks(SLOT_BYTES).enumerate();
    let unreadable = slots.filter(|(_, slot)| matches!(cursor::decode(slot, channel), Slot::Invalid));
    let unreadable = unreadable.map(|(n, _)| ((row * 2 + n) * SLOT_BYTES) as u64).collect();
    let judged = slots::judge(twins, channel);
    let (state, found) = match judged {
        Ok(found) if found.cursor.is_some() => (RowState::Live, Some(found)),
        Ok(_) => (RowState::Empty, None),
        Err(Fault::Unreadable) => (RowState::Unreadable, None),
        Err(Fault::Foreign) => (RowState::Foreign, None),
        Err(Fault::Version { major, minor }) => (RowState::Version { major, minor }, None),
    };
    let durable = found.as_ref().map_or((0, 0, 0), |row| row.durable);
    let cursor = found.and_then(|row| row.cursor);
    let name = cursor.as_ref().map_or_else(|| guess(twins), |cursor| cursor.name.clone());
    let (settled, note) = cursor.as_ref().map_or_else(Default::default, |c| (c.settled().collect(), c.note.clone()));
    Drain { row, name, state, unreadable, account: None, open: 0, oldest_us: None, settled, note, cursor, durable }
}

/// The name in slots that cannot be read, if it is one.
fn guess(twins: &[u8]) -> String {
    let names = twins.chunks(SLOT_BYTES).map(slots::name_in);
    names.into_iter().find(|name| crate::channel::check_name(name).is_ok()).unwrap_or_default()
}

impl Drain {
    pub fn takes(&self) -> Option<Takes> {
        self.cursor.as_ref().map(|cursor| cursor.takes)
    }

    /// For people.
    pub(super) fn called(&self) -> String {
        match self.name.is_empty() {
            true => "a drain whose name cannot be read".to_owned(),
            false => format!("drain {}", self.name),
        }
    }
}

impl Survey {
    pub(super) fn look_at_cursors(&mut self) {
        let path = Slots::path(&self.dir);
        let short = match self.cursors.as_ref().map(Vec::len) {
            None => self.begun.then(|| (0, "is missing".to_owned())),
            Some(len) => {
                (len < slots::FILE_BYTES).then(|| (len, format!("is {len} bytes long, of {}", slots::FILE_BYTES)))
            }
        };
        if let Some((len, what)) = short {
            let rows = len / ROW_BYTES;
            let means = format!("the start refuses; where {} of {DRAINS_MAX} drains stood is lost", DRAINS_MAX - rows);
            self.findings.push(Finding::damage(&path, what).means(means).refusing());
        }
        for drain in &self.drains {
            let at = drain.row as u64 * ROW_BYTES as u64;
            let called = drain.called();
            self.findings.extend(match drain.state {
                RowState::Unreadable => {
                    let means = format!("the start refuses; where {called} stood is lost");
                    let what = format!("both slots of row {} are unreadable", drain.row);
                    Some(Finding::damage(&path, what).at(at).means(means).refusing())
                }
                RowState::Foreign => {
                    let means = format!("the start refuses; where {called} stood is not told");
                    let what = format!("row {} is of another channel", drain.row);
                    Some(Finding::damage(&path, what).at(at).means(means).refusing())
                }
                RowState::Version { major, minor } => Some(Finding::version(&path, major, minor).at(at).refusing()),
                RowState::Live => drain.unreadable.first().map(|&slot| {
                    let means = format!("{called} goes on where the other says; what it settled since, it repeats");
                    Finding::damage(&path, format!("one of the two slots of row {} is unreadable", drain.row))
                        .at(slot)
                        .means(means)
                }),
                RowState::Empty => drain.unreadable.first().map(|&slot| {
                    let what = format!("a slot of row {} is unreadable, and its twin holds no drain", drain.row);
                    Finding::note(&path, what).at(slot).means("nobody began there; the next drain takes the row")
                }),
            });
        }
    }

    /// What the ledgers say at the log's end, and whether the log agrees.
    pub(super) fn settle_accounts(&mut self) {
        let (path, end) = (Slots::path(&self.dir), self.end.clone());
        let begins = self.oldest.clone();
        for drain in &mut self.drains {
            let Some(cursor) = &drain.cursor else { continue };
            let there = self.segments.iter().filter(|segment| segment.standing != Standing::SetAside);
            let bytes = there.filter(|segment| segment.end > cursor.low).map(|segment| segment.bytes);
            let mut account = cursor.account(&end, bytes.sum());
            account.oldest_us = drain.oldest_us;
            let (waiting, row) = (account.waiting, (drain.row * ROW_BYTES) as u64);
            let finding = |what: String| Finding::note(&path, what).at(row);
            let begins = begins.as_ref().filter(|start| start.position > cursor.low);
            if let Some((start, lost)) =
                begins.map(|start| (start, cursor.open_before(start))).filter(|(_, lost)| *lost > 0)
            {
                let gone =
                    Finding::damage(&path, format!("drain {} waits for positions that are not in the log", drain.name));
                let gone = gone.at(row).positions(cursor.low..start.position);
                self.damaged += start.position - cursor.low;
                self.findings.push(gone.losing(vec![(drain.name.clone(), lost)], false));
            } else if waiting != drain.open && self.damaged == 0 {
                let what = format!("drain {}: its ledger lets {waiting} wait, the log {}", drain.name, drain.open);
                self.findings
                    .push(finding(what).means("an earlier loss was shared out by a guess; no span is concerned"));
            }
            drain.account = Some(account);
        }
    }
}
