//! What an archive keeps in the note of its cursor slot, as lines of text: a person who inspects a channel can read
//! them.
//!
//! A [`Plan`] that is under way, and where spans of one moment are for several directories, the [`Rule`] by which they
//! are told apart and the [`Marks`] of what is published. A note of another version, format or encoder is refused by
//! name, never guessed at. DURABILITY.md has the lines; the greatest note fits whatever is configured.

use std::str::Split;

use super::format::{Format, UnknownFormat};
use super::lane::{LANES_MAX, Lane, MARK_BYTES, Marks, Rule};
use super::object::{Object, ObjectError};
use super::path::{self, Template};
use super::plan::{Place, Plan, Recipe};
use crate::drain::sieve::{Sieve, TextError};

/// The note's limit (DURABILITY.md, cursor slot).
pub const NOTE_BYTES_MAX: usize = 3072;

/// What the lines of a plan take at most beside filter, path and marks: the longest place with its upload is 1397 of
/// it, a directory 262.
const PLAN_BYTES_MAX: usize = 1936;

const FLAT: &str = "spangate plan 1";
const LANES: &str = "spangate plan 2";

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Note {
    /// By which lanes are told apart. Recorded with marks, and with a plan of a lane.
    pub rule: Rule,
    pub marks: Marks,
    pub plan: Option<Plan>,
}

/// Why a note holds nothing that this version can carry out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("the archive's plan has version {found:?}; this version of spangate reads \"{FLAT}\" and \"{LANES}\"")]
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

impl Note {
    /// Lanes that may be open or marked at a time under a rule, so that a note holds them beside any plan.
    pub fn lanes_max(rule: &Rule) -> usize {
        let texts = rule.sieve.to_string().len() + rule.path.to_string().len();
        (NOTE_BYTES_MAX - PLAN_BYTES_MAX).saturating_sub(texts).div_euclid(MARK_BYTES).min(LANES_MAX)
    }

    /// Empty where there is nothing to be kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let lane = self.plan.as_ref().and_then(|plan| plan.recipe.lane.as_ref());
        let note = match &self.plan {
            None if self.marks.is_empty() => String::new(),
            Some(plan) if lane.is_none() => {
                let Plan { recipe, place, name, object, .. } = plan;
                let Recipe { format, rule, .. } = recipe;
                let lines = format!("{FLAT}\nformat {format}\nfilter {}\nplace {place}\n", rule.sieve);
                format!("{lines}name {name}\nobject {object}\n{}", upload(plan))
            }
            plan => {
                let Rule { sieve, path } = &self.rule;
                let rule = format!("{LANES}\nfilter {sieve}\npath {path}\npublished{}\n", self.marks);
                rule + &plan.as_ref().map(of_lane).unwrap_or_default()
            }
        };
        assert!(note.len() <= NOTE_BYTES_MAX, "all that is in it is bounded: {} bytes", note.len());
        note.into_bytes()
    }

    pub fn parse(note: &[u8]) -> Result<Note, NoteError> {
        if note.is_empty() {
            return Ok(Note::default());
        }
        let text = String::from_utf8_lossy(note);
        let mut rest = text.split('\n');
        let mut lines = Lines { next: rest.next(), rest, at: 0 };
        match lines.go_on().unwrap_or_default() {
            FLAT => flat(&mut lines),
            LANES => lanes(&mut lines),
            // A note of another kind may be binary and long: enough of it to recognise.
            other => Err(NoteError::Version { found: other.chars().take(40).collect() }),
        }
    }
}

fn upload(plan: &Plan) -> String {
    plan.upload.as_ref().map(|upload| format!("upload {upload}\n")).unwrap_or_default()
}

/// The lines of a plan of a lane: its name follows from them.
fn of_lane(plan: &Plan) -> String {
    let Plan { recipe, place, object, .. } = plan;
    let dir = recipe.lane.as_ref().map_or("", |lane| &lane.dir);
    format!("format {}\nplace {place}\nlane {dir}\nobject {object}\n{}", recipe.format, upload(plan))
}

fn flat(lines: &mut Lines) -> Result<Note, NoteError> {
    let format = lines.format()?;
    let rule = Rule { sieve: lines.sieve()?, path: Template::default() };
    let place = lines.place()?;
    let name = lines.text("name ", "name PATH")?.to_owned();
    if !path::is_clean(&name) {
        return Err(lines.wrong(&name, "the relative path of a file in the archive"));
    }
    let object = lines.text("object ", "object FACTS")?.parse::<Object>()?;
    let upload = lines.upload();
    lines.end()?;
    let plan = Plan { recipe: Recipe { format, rule, lane: None }, place, name, object, upload };
    Ok(Note { plan: Some(plan), ..Note::default() })
}

fn lanes(lines: &mut Lines) -> Result<Note, NoteError> {
    let sieve = lines.sieve()?;
    let path = lines.text("path ", "path RULE")?;
    let path = Template::from_line(path).ok_or_else(|| lines.wrong(path, "received ZONE ROUND HOST TEMPLATE"))?;
    let marks = lines.text("published", "published MARKS")?;
    let marks = marks.parse().map_err(|_| lines.wrong(marks, "a position, and 16 hex digits a lane"))?;
    let mut note = Note { rule: Rule { sieve, path }, marks, plan: None };
    if lines.peek("format ") {
        let (format, place) = (lines.format()?, lines.place()?);
        let dir = lines.text("lane ", "lane DIRECTORY")?;
        if !path::is_clean(&format!("{dir}x")) {
            return Err(lines.wrong(dir, "a relative directory"));
        }
        let recipe = Recipe { format, rule: note.rule.clone(), lane: Some(Lane::new(dir)) };
        let object = lines.text("object ", "object FACTS")?.parse::<Object>()?;
        note.plan = Some(Plan { upload: lines.upload(), ..Plan::new(recipe, place, dir, object) });
    }
    lines.end()?;
    Ok(note)
}

/// The lines of a note that are still to be read.
struct Lines<'a> {
    rest: Split<'a, char>,
    next: Option<&'a str>,
    /// Of the line that was read last, from 1.
    at: usize,
}

impl<'a> Lines<'a> {
    /// The line that comes; the one behind it is the next.
    fn go_on(&mut self) -> Option<&'a str> {
        self.at += 1;
        std::mem::replace(&mut self.next, self.rest.next())
    }

    fn text(&mut self, start: &str, expected: &'static str) -> Result<&'a str, NoteError> {
        let line = self.go_on().unwrap_or_default();
        line.strip_prefix(start).ok_or_else(|| self.wrong(line, expected))
    }

    fn peek(&self, start: &str) -> bool {
        self.next.is_some_and(|line| line.starts_with(start))
    }

    fn wrong(&self, found: &str, expected: &'static str) -> NoteError {
        NoteError::Line { line: self.at, found: found.to_owned(), expected }
    }

    fn format(&mut self) -> Result<Format, NoteError> {
        Ok(self.text("format ", "format NAME/ENCODER")?.parse::<Format>()?)
    }

    fn sieve(&mut self) -> Result<Sieve, NoteError> {
        let found = self.text("filter ", "filter TEXT")?;
        found.parse::<Sieve>().map_err(|error| NoteError::Filter { found: found.to_owned(), error })
    }

    fn place(&mut self) -> Result<Place, NoteError> {
        let place = self.text("place ", "place STORE")?;
        Place::parse(place).ok_or_else(|| self.wrong(place, "\"builtin\", \"file:///DIR\" or a store's URL"))
    }

    fn upload(&mut self) -> Option<String> {
        let upload = self.next?.strip_prefix("upload ")?;
        self.go_on();
        Some(upload.to_owned())
    }

    /// One line end, and nothing after it.
    fn end(&mut self) -> Result<(), NoteError> {
        match (self.go_on(), self.next) {
            (Some(""), None) => Ok(()),
            (line, _) => Err(self.wrong(line.unwrap_or_default(), "one line end, and nothing after it")),
        }
    }
}

#[cfg(test)]
mod tests;
