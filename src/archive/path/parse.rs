//! A template's text taken apart. What is not understood is refused with its place.

use super::time::{ESCAPES, Escape, find};
use super::value::Source;
use super::{DEPTH_MAX, LANE_BYTES_MAX, Part, TEXT_BYTES_MAX};

/// Why a text is no template. `at` counts characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("at character {at}, {found} is none of {}", known())]
    Escape { at: usize, found: String },
    #[error("at character {at}, {found} is none of {}, nor a label", placeholders())]
    Placeholder { at: usize, found: String },
    #[error("at character {at}, {found:?} is none of letters, digits and . _ - = + , @ ~ /")]
    Character { at: usize, found: char },
    #[error("at character {at}, a directory has no name: paths are relative")]
    Empty { at: usize },
    #[error("at character {at}, a directory begins with {found}: readers pass over those")]
    Hidden { at: usize, found: char },
    #[error("it may get longer than {LANE_BYTES_MAX} bytes, or its text is longer than {TEXT_BYTES_MAX}")]
    Long,
    #[error("it has more than {DEPTH_MAX} directories in each other")]
    Deep,
}

fn known() -> String {
    let letters: String = ESCAPES.iter().flat_map(|escape| ['%', escape.letter, ' ']).collect();
    letters + "%D and %%"
}

/// Placeholders that are no labels.
const KNOWN: [(&str, Part); 8] = [
    ("service", Part::Of(Source::Service)),
    ("category", Part::Of(Source::Category)),
    ("peer", Part::Of(Source::Peer)),
    ("listener", Part::Of(Source::Listener)),
    ("host", Part::Host),
    ("channel", Part::Channel),
    ("first", Part::First),
    ("last", Part::Last),
];

/// Their names, as they are written.
pub fn placeholders() -> String {
    KNOWN.map(|(name, _)| format!("{{{name}}}")).join(" ")
}

/// The parts of a text, with a slash at the end.
pub fn parts(text: &str) -> Result<Vec<Part>, PathError> {
    let mut parser = Parser { rest: text, at: 1, parts: Vec::new(), begins: true };
    while let Some(c) = parser.rest.chars().next() {
        parser.part(c)?;
    }
    if !parser.begins {
        parser.push('/');
    }
    let parts = parser.parts;
    match () {
        () if text.len() > TEXT_BYTES_MAX => Err(PathError::Long),
        () if parts.iter().map(Part::width).sum::<usize>() > LANE_BYTES_MAX => Err(PathError::Long),
        () if parts.iter().map(Part::directories).sum::<usize>() > DEPTH_MAX => Err(PathError::Deep),
        () => Ok(parts),
    }
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

    /// `{x}` and `%{x}` are the same: to Flume, `%{x}` is a header.
    fn placeholder(&mut self) -> Result<(), PathError> {
        let end = self.rest.find(['}', ']', '/']).map_or(self.rest.len(), |end| end + 1);
        let (at, found) = (self.at, self.rest[..end].to_owned());
        let braced = found.trim_start_matches('%').strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        let Some(name) = braced.filter(|name| is_label(name)) else { return Err(PathError::Placeholder { at, found }) };
        let known = KNOWN.into_iter().find(|(known, _)| *known == name);
        self.parts.push(known.map_or_else(|| Part::Of(Source::Label(name.to_owned())), |(_, part)| part));
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

/// A label as one can be typed in a path: others are not found there. `via` is a list.
fn is_label(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    !name.is_empty() && name != "via" && name.bytes().all(good)
}
