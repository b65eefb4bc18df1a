//! The plan: what an object will hold and be called, made durable before its first byte goes out.
//!
//! It lives in the note of the drain's cursor slot. Whatever the settings say after a restart, a
//! plan found there is carried out as it stands, by the [`Recipe`] that it records; so the same
//! object comes to be. A plan of another version, format or encoder is refused by name, never
//! guessed at.

use super::format::{Format, UnknownFormat};
use super::object::{Object, ObjectError};

/// The note's limit (DURABILITY.md, cursor slot).
pub const NOTE_BYTES_MAX: usize = 3072;

/// How an object is made of its spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// With the version of its encoder.
    pub format: Format,
    /// Which of the drain's spans are taken; "" is all of them, the only one so far.
    pub filter: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub recipe: Recipe,
    /// The object's path under the archive's directory.
    pub name: String,
    pub object: Object,
}

/// Why a note holds no plan that this version can carry out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("the archive's plan has version {found:?}; this version of spangate reads \"spangate plan 1\"")]
    Version { found: String },
    #[error("the archive's plan names {0}")]
    Format(#[from] UnknownFormat),
    #[error("the archive's plan has filter {found:?}; this version of spangate knows none")]
    Filter { found: String },
    #[error("the archive's plan, object: {0}")]
    Object(#[from] ObjectError),
    #[error("the archive's plan, line {line}: found {found:?}, expected {expected}")]
    Line { line: usize, found: String, expected: &'static str },
}

impl Plan {
    /// The plan of an object by today's recipe.
    pub fn new(format: Format, object: Object) -> Plan {
        Plan { recipe: Recipe { format, filter: String::new() }, name: object.name(format.extension()), object }
    }

    /// Five lines of text: a person who inspects a channel can read them.
    pub fn to_note(&self) -> Vec<u8> {
        let Plan { recipe: Recipe { format, filter }, name, object } = self;
        let note = format!("spangate plan 1\nformat {format}\nfilter {filter}\nname {name}\nobject {object}\n");
        assert!(note.len() <= NOTE_BYTES_MAX, "a name is bounded and all else is short");
        note.into_bytes()
    }

    /// `None` for an empty note: nothing was planned.
    pub fn from_note(note: &[u8]) -> Result<Option<Plan>, PlanError> {
        if note.is_empty() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(note);
        let mut lines = text.split('\n');
        let version = lines.next().unwrap_or_default();
        if version != "spangate plan 1" {
            // A note of another kind may be binary and long: enough of it to recognise.
            return Err(PlanError::Version { found: version.chars().take(40).collect() });
        }
        let format = line(lines.next(), 2, "format ", "format NAME/ENCODER")?.parse::<Format>()?;
        let filter = line(lines.next(), 3, "filter ", "filter TEXT")?.to_owned();
        if !filter.is_empty() {
            return Err(PlanError::Filter { found: filter });
        }
        let name = line(lines.next(), 4, "name ", "name PATH")?.to_owned();
        if name.is_empty() || name.contains('/') {
            return Err(PlanError::Line { line: 4, found: name, expected: "the name of a file in the archive" });
        }
        let object = line(lines.next(), 5, "object ", "object FACTS")?.parse::<Object>()?;
        match (lines.next(), lines.next()) {
            (Some(""), None) => Ok(Some(Plan { recipe: Recipe { format, filter }, name, object })),
            (more, _) => {
                let found = more.unwrap_or_default().to_owned();
                Err(PlanError::Line { line: 6, found, expected: "one line end, and nothing after it" })
            }
        }
    }
}

fn line<'a>(found: Option<&'a str>, line: usize, start: &str, expected: &'static str) -> Result<&'a str, PlanError> {
    let found = found.unwrap_or_default();
    found.strip_prefix(start).ok_or_else(|| PlanError::Line { line, found: found.to_owned(), expected })
}

#[cfg(test)]
mod tests;
