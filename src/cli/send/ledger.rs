//! The ledger: a line for each span that was acknowledged, `TRACE_ID ID KIND`.
//!
//! Lines are written after the yes and before the end, a few times a second: a sender that is
//! killed leaves a ledger that lacks some, never one that has too many. It is not synced.

use std::fmt::Write;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::message::Name;
use crate::disk::{self, File, Open};

/// Lines of this many bytes are written at once.
const BUFFER_BYTES: usize = 64 << 10;

pub struct Ledger {
    file: Arc<dyn File>,
    at: u64,
    lines: String,
}

impl Ledger {
    /// Begins a ledger; what was in the file is gone.
    pub fn begin(path: &Path) -> io::Result<Ledger> {
        let file = disk::real().open(path, Open::Truncate)?;
        Ok(Ledger { file, at: 0, lines: String::new() })
    }

    pub fn enter(&mut self, names: &[Name]) -> io::Result<()> {
        for Name { trace_id, id, kind } in names {
            let kind = kind.map_or("-", |kind| kind.name());
            writeln!(self.lines, "{trace_id} {id:016x} {kind}").expect("a String takes everything");
        }
        if self.lines.len() < BUFFER_BYTES { Ok(()) } else { self.write() }
    }

    /// Writes what was entered.
    pub fn write(&mut self) -> io::Result<()> {
        if !self.lines.is_empty() {
            self.file.write_at(&[IoSlice::new(self.lines.as_bytes())], self.at)?;
            self.at += self.lines.len() as u64;
            self.lines.clear();
        }
        Ok(())
    }
}
