//! The plan: what an object will hold and be called, made durable before its first byte goes out.
//!
//! It lives in the [`note`](super::note) of the drain's cursor slot. Whatever the settings say after a restart, a
//! plan found there is carried out as it stands, in the [`Place`] and by the [`Recipe`] that it
//! records; so the same object comes to be, and in one place.

use std::fmt;
use std::path::{Path, PathBuf};

use super::format::Format;
use super::lane::{Lane, Rule};
use super::note::Note;
use super::object::Object;
use super::path;
use super::target::{Remote, Target};

pub use super::note::{NOTE_BYTES_MAX, NoteError as PlanError};

/// Longest directory that a plan records: the note holds it beside all else, where a remote place and its upload fit.
pub const DIR_BYTES_MAX: usize = 1280;

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

    /// Reads what [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Place> {
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
    /// Which of the drain's spans are taken, and how they are told apart by lane.
    pub rule: Rule,
    /// The spans of this one alone; `None`: all.
    pub lane: Option<Lane>,
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

impl Plan {
    /// The plan of an object in `dir`, which is empty or ends in a slash ([`Template::lane`](path::Template::lane)).
    pub fn new(recipe: Recipe, place: Place, dir: &str, object: Object) -> Plan {
        let dir = path::at(dir, object.first, object.last);
        let name = format!("{dir}{}", object.name(recipe.format.extension()));
        Plan { name, recipe, place, object, upload: None }
    }

    /// The plan in a note; `None`: nothing was planned.
    pub fn from_note(note: &[u8]) -> Result<Option<Plan>, PlanError> {
        Ok(Note::parse(note)?.plan)
    }
}

#[cfg(test)]
mod tests;
