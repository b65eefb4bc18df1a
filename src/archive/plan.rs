//! The plan: what an object will hold and be called, made durable before its first byte goes out.
//!
//! It lives in the note of the drain's cursor slot. Whatever the settings say after a restart, a
//! plan found there is carried out as it stands, in the [`Place`] and by the [`Recipe`] that it
//! records; so the same object comes to be, and in one place. A plan of another version, format or encoder is refused by name, never
//! guessed at.

use std::fmt;
use std::path::{Path, PathBuf};

use super::format::{Format, UnknownFormat};
use super::object::{Object, ObjectError};
use super::path;
use super::target::{Remote, Target};
use crate::drain::sieve::{Sieve, TextError};

/// The note's limit (DURABILITY.md, cursor slot).
pub const NOTE_BYTES_MAX: usize = 3072;

/// Longest directory that a plan records: the note holds it beside all else. A remote place is shorter.
const DIR_BYTES_MAX: usize = 2048;

/// Longest name of an upload. S3 gives about 130 characters.
pub const UPLOAD_BYTES_MAX: usize = 400;

/// Where an object was planned to stand. The built-in archive moves with the data directory; a directory of the
/// user's is the one that was named then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    BuiltIn,
    Dir(PathBuf),
    Remote(Remote),
}

impl Place {
    /// An error says why a plan could not record the target.
    pub fn of(target: &Target) -> Result<Place, PlaceError> {
        let dir = match target {
            Target::BuiltIn { .. } => return Ok(Place::BuiltIn),
            Target::Remote(remote) => return Ok(Place::Remote(remote.clone())),
            Target::Local { dir } => dir,
        };
        let fits = |dir: &&str| dir.len() <= DIR_BYTES_MAX && !dir.contains(char::is_control);
        match dir.to_str().filter(fits) {
            Some(_) => Ok(Place::Dir(dir.clone())),
            None => Err(PlaceError { dir: dir.clone() }),
        }
    }

    fn parse(text: &str) -> Option<Place> {
        if let Some(dir) = text.strip_prefix("file://") {
            return Path::new(dir).is_absolute().then(|| Place::Dir(dir.into()));
        }
        match text.split_once(' ') {
            _ if text == "builtin" => Some(Place::BuiltIn),
            Some((url, endpoint)) => Remote::parse(url)?.at(endpoint).map(Place::Remote),
            None => Remote::parse(text).map(Place::Remote),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::BuiltIn => f.write_str("builtin"),
            Place::Dir(dir) => write!(f, "file://{}", dir.display()),
            Place::Remote(remote) => remote.fmt(f),
        }
    }
}

/// A directory that no plan can record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: an archive's directory is UTF-8 without control characters, at most {DIR_BYTES_MAX} bytes long", .dir.display())]
pub struct PlaceError {
    dir: PathBuf,
}

/// How an object is made of its spans.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// With the version of its encoder.
    pub format: Format,
    /// Which of the drain's spans are taken.
    pub sieve: Sieve,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub recipe: Recipe,
    pub place: Place,
    /// The object's path in its place, with the directory that its template gave when it was planned.
    pub name: String,
    pub object: Object,
    /// What the store calls an upload that was begun for it, to be undone before another is.
    pub upload: Option<String>,
}

/// Why a note holds no plan that this version can carry out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("the archive's plan has version {found:?}; this version of spangate reads \"spangate plan 1\"")]
    Version { found: String },
    #[error("the archive's plan names {0}")]
    Format(#[from] UnknownFormat),
    #[error("the archive's plan has filter {found:?}, which this version of spangate does not know: {error}")]
    Filter { found: String, error: TextError },
    #[error("the archive's plan, object: {0}")]
    Object(#[from] ObjectError),
    #[error("the archive's plan, line {line}: found {found:?}, expected {expected}")]
    Line { line: usize, found: String, expected: &'static str },
}

impl Plan {
    /// The plan of an object in `dir`, which is empty or ends in a slash ([`Template::dir`](path::Template::dir)). The
    /// sieve's text is at most [`TEXT_BYTES_MAX`](crate::drain::sieve::TEXT_BYTES_MAX) long.
    pub fn new(recipe: Recipe, place: Place, dir: &str, object: Object) -> Plan {
        let name = format!("{dir}{}", object.name(recipe.format.extension()));
        Plan { name, recipe, place, object, upload: None }
    }

    /// Six or seven lines of text: a person who inspects a channel can read them.
    pub fn to_note(&self) -> Vec<u8> {
        let Plan { recipe: Recipe { format, sieve }, place, name, object, upload } = self;
        let recipe = format!("spangate plan 1\nformat {format}\nfilter {sieve}\n");
        let upload = upload.as_ref().map(|upload| format!("upload {upload}\n")).unwrap_or_default();
        let note = format!("{recipe}place {place}\nname {name}\nobject {object}\n{upload}");
        assert!(note.len() <= NOTE_BYTES_MAX, "place, sieve, path and upload are bounded and all else is short");
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
        let filter = line(lines.next(), 3, "filter ", "filter TEXT")?;
        let sieve = filter.parse::<Sieve>();
        let sieve = sieve.map_err(|error| PlanError::Filter { found: filter.to_owned(), error })?;
        let place = line(lines.next(), 4, "place ", "place STORE")?;
        let place =
            Place::parse(place).ok_or_else(|| wrong(4, place, "\"builtin\", \"file:///DIR\" or a store's URL"))?;
        let name = line(lines.next(), 5, "name ", "name PATH")?.to_owned();
        if !path::is_clean(&name) {
            return Err(wrong(5, &name, "the relative path of a file in the archive"));
        }
        let object = line(lines.next(), 6, "object ", "object FACTS")?.parse::<Object>()?;
        let mut more = lines.next();
        let upload = more.and_then(|line| line.strip_prefix("upload ")).map(str::to_owned);
        if upload.is_some() {
            more = lines.next();
        }
        match (more, lines.next()) {
            (Some(""), None) => Ok(Some(Plan { recipe: Recipe { format, sieve }, place, name, object, upload })),
            (more, _) => {
                let at = 7 + usize::from(upload.is_some());
                Err(wrong(at, more.unwrap_or_default(), "one line end, and nothing after it"))
            }
        }
    }
}

fn wrong(line: usize, found: &str, expected: &'static str) -> PlanError {
    PlanError::Line { line, found: found.to_owned(), expected }
}

fn line<'a>(found: Option<&'a str>, line: usize, start: &str, expected: &'static str) -> Result<&'a str, PlanError> {
    let found = found.unwrap_or_default();
    found.strip_prefix(start).ok_or_else(|| wrong(line, found, expected))
}

#[cfg(test)]
mod tests;
