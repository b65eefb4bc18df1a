//! The file of what was refused for good: one JSON object a line, with the reason and the span.

use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::disk::{self, Open};
use crate::span::canonical;
use crate::wire::json_v2;

/// Made with the first span.
pub struct Refused {
    path: PathBuf,
}

impl Refused {
    /// `STATE.refused.jsonl`.
    pub fn beside(state: &Path) -> Refused {
        let mut path = state.as_os_str().to_owned();
        path.push(".refused.jsonl");
        Refused { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one, behind what an earlier run wrote.
    pub fn write(&self, element: &[u8], reason: &str) -> io::Result<()> {
        let mut text = Vec::new();
        let span = canonical::span_bytes(element).and_then(|span| json_v2::encode_span(span, &mut text));
        span.map_err(io::Error::other)?;
        let span: Value = serde_json::from_slice(&text).map_err(io::Error::other)?;
        let line = json!({ "reason": reason, "span": span }).to_string() + "\n";
        let disk = disk::real();
        let file = match disk.open(&self.path, Open::Write) {
            Err(error) if error.kind() == ErrorKind::NotFound => disk.open(&self.path, Open::CreateNew)?,
            other => other?,
        };
        file.write_at(&[IoSlice::new(line.as_bytes())], file.len()?)?;
        file.sync_data()
    }
}
