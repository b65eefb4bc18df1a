//! What an object's bytes are. A format has a name and a version of its encoder; both stand in
//! the plan, so that a plan made by one binary is not carried out differently by another.

pub mod jsonl;

use std::fmt;
use std::str::FromStr;

/// A format and the version of its encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// gzip JSON lines ([`jsonl`]); encoder 1.
    JsonLines1,
}

impl Format {
    /// JSON lines as this version writes them.
    pub const JSON_LINES: Format = Format::JsonLines1;

    pub fn extension(self) -> &'static str {
        match self {
            Format::JsonLines1 => jsonl::EXTENSION,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Format::JsonLines1 => f.write_str("jsonl.gz/1"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("format {found:?}; this version of spangate writes \"jsonl.gz/1\"")]
pub struct UnknownFormat {
    pub found: String,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "jsonl.gz/1" => Ok(Format::JsonLines1),
            other => Err(UnknownFormat { found: other.to_owned() }),
        }
    }
}
