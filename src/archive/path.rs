//! Where in its store an archive's objects stand: a directory of the time at which their spans came in.
//!
//! A [`Template`] has Flume's escapes of time (`%Y`, `%m`, ..), rounded where that is asked for, and
//! `{channel}`. Whatever the time, it gives a clean relative path: no directory is empty, begins with `.`
//! or `_` (`..`, our staging, what readers pass over), or holds a character that was not typed. Nothing
//! that a peer chose gets into it.

mod time;

use std::time::Duration;

use time::{ESCAPES, Escape, Moment, find};

pub use time::{NoZone, Zone};

/// Directories in each other. A listing of ours goes twice as deep; nobody looks for a span further down.
const DEPTH_MAX: usize = 16;

/// Longest path that a template gives: a plan's note holds it beside the longest store and filter.
const BYTES_MAX: usize = 128;

/// Shortest time that a directory should last: each has an object of its own at least.
pub const LASTS_MIN: Duration = Duration::from_secs(60);

/// What paths of Flume's or ours may hold some day: known, and refused.
const LATER: [&str; 6] = ["service", "host", "peer", "category", "first", "last"];

/// Why a text is no template. `at` counts characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("at character {at}, {found} is none of {}", known())]
    Escape { at: usize, found: String },
    #[error("at character {at}, {found} is not in this version, whose paths are made of time and {{channel}} alone")]
    Later { at: usize, found: String },
    #[error("at character {at}, {found} is not known; {{channel}} is")]
    Placeholder { at: usize, found: String },
    #[error("at character {at}, {found:?} is none of letters, digits and . _ - = + , @ ~ /")]
    Character { at: usize, found: char },
    #[error("at character {at}, a directory has no name: paths are relative")]
    Empty { at: usize },
    #[error("at character {at}, a directory begins with {found}: readers pass over those")]
    Hidden { at: usize, found: char },
    #[error("it may get longer than {BYTES_MAX} bytes")]
    Long,
    #[error("it has more than {DEPTH_MAX} directories in each other")]
    Deep,
}

fn known() -> String {
    let letters: String = ESCAPES.iter().flat_map(|escape| ['%', escape.letter, ' ']).collect();
    letters + "%D and %%"
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Time(&'static Escape),
    Channel,
}

impl Part {
    /// The greatest length.
    fn width(&self) -> usize {
        match self {
            Part::Text(text) => text.len(),
            Part::Time(escape) => escape.width,
            Part::Channel => 32,
        }
    }

    fn directories(&self) -> usize {
        if let Part::Text(text) = self { text.matches('/').count() } else { 0 }
    }
}

/// A path with the time left open. The default is no directory at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    zone: Zone,
    round: Option<Duration>,
}

impl Template {
    /// In UTC, and not rounded. A slash at the end may be left out.
    pub fn parse(text: &str) -> Result<Template, PathError> {
        let mut parser = Parser { rest: text, at: 1, parts: Vec::new(), begins: true };
        while let Some(c) = parser.rest.chars().next() {
            parser.part(c)?;
        }
        if !parser.begins {
            parser.push('/');
        }
        let parts = parser.parts;
        match () {
            () if parts.iter().map(Part::width).sum::<usize>() > BYTES_MAX => Err(PathError::Long),
            () if parts.iter().map(Part::directories).sum::<usize>() > DEPTH_MAX => Err(PathError::Deep),
            () => Ok(Template { parts, ..Template::default() }),
        }
    }

    pub fn in_zone(self, zone: Zone) -> Template {
        Template { zone, ..self }
    }

    /// Times are rounded down to a multiple of `round` since midnight; it divides a day.
    pub fn rounded(self, round: Option<Duration>) -> Template {
        Template { round, ..self }
    }

    /// How long a directory lasts at least; `None`: for ever.
    pub fn lasts(&self) -> Option<Duration> {
        let lasts = |part: &Part| if let Part::Time(escape) = part { Some(escape.lasts) } else { None };
        let seconds = self.parts.iter().filter_map(lasts).min().filter(|seconds| *seconds < u64::MAX)?;
        Some(Duration::from_secs(seconds).max(self.round.unwrap_or_default()))
    }

    /// The directory of what came in then, microseconds since the epoch: empty, or with a slash at its end.
    pub fn dir(&self, received_us: u64, channel: &str) -> String {
        let moment = Moment::new(received_us, self.zone, self.round);
        let mut dir = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => dir.push_str(text),
                Part::Channel => dir.push_str(channel),
                Part::Time(escape) => (escape.write)(&moment, &mut dir).expect("a String takes everything"),
            }
        }
        dir
    }
}

/// Whether a file's path is one that a template may have given.
pub fn is_clean(path: &str) -> bool {
    let good = |name: &str| !name.is_empty() && !name.starts_with(['.', '_']) && !name.contains(char::is_control);
    path.split('/').all(good)
}

struct Parser<'a> {
    rest: &'a str,
    /// Of the next character.
    at: usize,
    parts: Vec<Part>,
    /// A directory begins here.
    begins: bool,
}

impl Parser<'_> {
    fn part(&mut self, first: char) -> Result<(), PathError> {
        let at = self.at;
        match (first, self.rest.chars().nth(1)) {
            ('%', Some('{' | '[')) | ('{', _) => return self.placeholder(),
            ('%', letter) => return self.escape(letter),
            ('/', _) if self.begins => return Err(PathError::Empty { at }),
            (found @ ('.' | '_'), _) if self.begins => return Err(PathError::Hidden { at, found }),
            (c, _) if c.is_ascii_alphanumeric() || "._-=+,@~/".contains(c) => self.push(c),
            (found, _) => return Err(PathError::Character { at, found }),
        }
        self.pass(1);
        Ok(())
    }

    fn escape(&mut self, letter: Option<char>) -> Result<(), PathError> {
        match (letter, letter.and_then(find)) {
            (_, Some(escape)) => self.time(escape),
            (Some('%'), _) => self.push('%'),
            (Some('D'), _) => {
                for c in ['m', '/', 'd', '/', 'y'] {
                    match find(c) {
                        Some(escape) => self.time(escape),
                        None => self.push(c),
                    }
                }
            }
            _ => return Err(PathError::Escape { at: self.at, found: self.rest.chars().take(2).collect() }),
        }
        self.pass(2);
        Ok(())
    }

    /// `{x}` and `%{x}` are the same to us, a header to Flume, to which `%[x]` is the host.
    fn placeholder(&mut self) -> Result<(), PathError> {
        let end = self.rest.find(['}', ']', '/']).map_or(self.rest.len(), |end| end + 1);
        let (at, found) = (self.at, self.rest[..end].to_owned());
        let name = found.trim_start_matches('%').strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        let later = found.starts_with("%[") || name.is_some_and(|name| found.starts_with('%') || LATER.contains(&name));
        match name {
            Some("channel") => self.parts.push(Part::Channel),
            _ if later => return Err(PathError::Later { at, found }),
            _ => return Err(PathError::Placeholder { at, found }),
        }
        self.begins = false;
        self.pass(found.len());
        Ok(())
    }

    fn time(&mut self, escape: &'static Escape) {
        self.parts.push(Part::Time(escape));
        self.begins = false;
    }

    fn push(&mut self, c: char) {
        match self.parts.last_mut() {
            Some(Part::Text(text)) => text.push(c),
            _ => self.parts.push(Part::Text(c.into())),
        }
        self.begins = c == '/';
    }

    /// Characters that were understood, all of them ASCII.
    fn pass(&mut self, characters: usize) {
        self.rest = &self.rest[characters..];
        self.at += characters;
    }
}

#[cfg(test)]
mod tests;
