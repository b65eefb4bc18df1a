//! The kinds of values and how each is written: sizes, times, addresses, words.
//!
//! Pure: text in, a [`Value`] or what was expected out. A [`Value`] prints as the TOML that
//! reads back as itself, so `check --resolved` prints a configuration file.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::collector;
use super::problem::nearest;
use crate::archive::path::{Template, Zone};
use crate::archive::target::{self, Remote};
use crate::channel::ORIGIN_KEYS;
use crate::listener::LISTENERS;

/// What a setting takes. `or` is a word that may stand instead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Path,
    /// A path, or `none`.
    File,
    /// A list; `none` or an empty one switches off.
    Addresses,
    /// A list of words without commas; `none` or an empty one is nothing.
    Words,
    Bytes {
        min: u64,
        max: u64,
        or: Option<&'static str>,
    },
    Count {
        min: u64,
        max: u64,
        or: Option<&'static str>,
    },
    Time {
        min: Duration,
        max: Duration,
        or: Option<&'static str>,
    },
    Choice(&'static [&'static str]),
    Bool,
    /// Levels of the log, per module if need be.
    Filter,
    /// A collector's URL.
    Collector,
    /// A list of them (`--collector`).
    Collectors,
    /// `builtin`, `file:///DIR`, the URL of a store, or `none`.
    Archive,
    /// Directories of an archive's objects, with escapes of time.
    Template,
    /// `UTC`, or an offset from it.
    Zone,
    /// `http(s)://HOST[:PORT]`, or `none`.
    Endpoint,
    /// 1 to 63 of `[A-Za-z0-9._:-]`; a sink's.
    Name,
    /// A part of the whole, 0.0 to 1.0.
    Share,
    /// A list of listeners by their names in an origin.
    Listeners,
    /// A list of service names in lower case; `*` at the end of one stands for any rest.
    Services,
    /// A table of texts, or a list of `KEY=VALUE`; what an origin holds beside the listener's own keys.
    Labels,
}

/// A value, understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    /// The word that stands instead of a number.
    Word(&'static str),
    Bytes(u64),
    Count(u64),
    Time(Duration),
    Bool(bool),
    Addresses(Vec<SocketAddr>),
    Words(Vec<String>),
    Share(f32),
    Labels(BTreeMap<String, String>),
}

impl Kind {
    pub fn is_list(self) -> bool {
        matches!(
            self,
            Kind::Addresses | Kind::Words | Kind::Collectors | Kind::Listeners | Kind::Services | Kind::Labels
        )
    }

    /// Whether its text is written as a number or a truth value in TOML, without quotes.
    pub fn is_bare(self) -> bool {
        matches!(self, Kind::Bytes { .. } | Kind::Count { .. } | Kind::Bool | Kind::Share)
    }

    /// Reads a single value; the error is what was expected.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        let read = match self {
            Kind::Bytes { or: Some(word), .. }
            | Kind::Count { or: Some(word), .. }
            | Kind::Time { or: Some(word), .. }
                if text == word =>
            {
                return Ok(Value::Word(word));
            }
            Kind::File if text == "none" => Some(Value::Word("none")),
            Kind::Path | Kind::File => path(text),
            Kind::Bytes { min, max, .. } => bytes(text).filter(|n| (min..=max).contains(n)).map(Value::Bytes),
            Kind::Count { min, max, .. } => number(text).filter(|n| (min..=max).contains(n)).map(Value::Count),
            Kind::Time { min, max, .. } => duration(text).filter(|d| (min..=max).contains(d)).map(Value::Time),
            Kind::Choice(words) => words.iter().find(|w| **w == text).map(|w| Value::Word(w)),
            Kind::Bool => text.parse().ok().map(Value::Bool),
            Kind::Filter => is_filter(text).then(|| Value::Text(text.into())),
            Kind::Archive => archive(text),
            Kind::Template => {
                let read = Template::parse(text).map(|_| Value::Text(text.into()));
                return read.map_err(|error| format!("{}; {error}", self.expected()));
            }
            Kind::Zone => text.parse::<Zone>().ok().map(|_| Value::Text(text.into())),
            Kind::Endpoint if text == "none" => Some(Value::Word("none")),
            Kind::Endpoint => target::endpoint_form(text).map(Value::Text),
            Kind::Name => is_sink_name(text).then(|| Value::Text(text.into())),
            // As Zipkin reads its own: 32 bits wide.
            Kind::Share => text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).map(Value::Share),
            Kind::Collector => return collector::normalise(text).map(Value::Text),
            Kind::Addresses | Kind::Words | Kind::Collectors | Kind::Listeners | Kind::Services | Kind::Labels => {
                return self.parse_list(std::iter::once(text));
            }
        };
        read.ok_or_else(|| self.expected())
    }

    /// Reads a list, given as elements; the error is what was expected.
    pub fn parse_list<'a>(self, elements: impl Iterator<Item = &'a str>) -> Result<Value, String> {
        let elements: Vec<&str> = elements.map(str::trim).collect();
        let elements = if elements == ["none"] { Vec::new() } else { elements };
        if elements.len() > LIST_MAX {
            return Err(format!("at most {LIST_MAX} elements"));
        }
        match self {
            Kind::Addresses => {
                let read: Option<_> = elements.iter().map(|e| e.parse().ok()).collect();
                read.map(Value::Addresses).ok_or_else(|| self.expected())
            }
            Kind::Collectors => {
                let read: Result<_, _> = elements.iter().map(|e| collector::normalise(e)).collect();
                read.map(Value::Words)
            }
            _ if elements.iter().any(|e| e.is_empty()) => Err(self.expected()),
            Kind::Listeners => {
                let read: Result<_, _> = elements.iter().map(|e| self.listener(e)).collect();
                read.map(Value::Words)
            }
            Kind::Services if elements.iter().any(|e| e.strip_suffix('*').unwrap_or(e).contains('*')) => {
                Err(self.expected())
            }
            Kind::Services => Ok(Value::Words(elements.into_iter().map(str::to_lowercase).collect())),
            Kind::Labels => {
                let pair =
                    |e: &str| e.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
                let pairs: Option<Vec<_>> = elements.into_iter().map(pair).collect();
                labels(pairs.ok_or_else(|| self.expected())?)
            }
            _ => Ok(Value::Words(elements.into_iter().map(str::to_owned).collect())),
        }
    }

    /// What it takes, for a person, with its bounds.
    pub fn expected(self) -> String {
        match self {
            Kind::Path => "a path (`~` is the shell's, and not known here)".into(),
            Kind::File => "a path (`~` is the shell's, and not known here), or \"none\"".into(),
            Kind::Addresses => {
                "IP:PORT such as \"0.0.0.0:1463\" or \"[::]:1463\", a list of them, or \"none\" to switch it off".into()
            }
            Kind::Words => "words, or \"none\"".into(),
            Kind::Bytes { min, max, or } => or_word(
                or,
                format!(
                    "a size from {} to {}, such as \"4MiB\" or a number of bytes",
                    show_bytes(min),
                    show_bytes(max)
                ),
            ),
            Kind::Count { min, max, or } => or_word(or, format!("a number from {min} to {max}")),
            Kind::Time { min, max, or } => or_word(
                or,
                format!("a time from {} to {}, such as \"20ms\", \"5s\", \"1m\"", show_time(min), show_time(max)),
            ),
            Kind::Choice(words) => words.iter().map(|w| format!("{w:?}")).collect::<Vec<_>>().join(" or "),
            Kind::Bool => "true or false".into(),
            Kind::Filter => "off, error, warn, info, debug or trace, or such for a module, as in \
                \"info,spangate::drain=debug\""
                .into(),
            Kind::Collector | Kind::Collectors => collector::FORMS.into(),
            Kind::Archive => target::FORMS.into(),
            Kind::Endpoint => "http://HOST[:PORT] or https://HOST[:PORT], or \"none\"".into(),
            Kind::Template => "a path such as \"dt=%Y-%m-%d/hour=%H/\", or an empty one".into(),
            Kind::Zone => {
                "\"UTC\" or an offset from -14:00 to +14:00 such as \"+02:00\": named zones change theirs".into()
            }
            Kind::Name => "1 to 63 letters, digits, or any of . _ : - [ ]".into(),
            Kind::Share => "a part of the whole from 0.0 to 1.0".into(),
            Kind::Listeners => format!("one of {}", LISTENERS.join(", ")),
            Kind::Services => "names of services, or their beginnings with * at the end".into(),
            Kind::Labels => "labels such as { zone = \"a\" }, or KEY=VALUE where there are no tables".into(),
        }
    }
}

impl Kind {
    fn listener(self, name: &str) -> Result<String, String> {
        if LISTENERS.contains(&name) {
            return Ok(name.to_owned());
        }
        let meant = nearest(name, LISTENERS.into_iter()).map(|meant| format!("; did you mean {meant}?"));
        Err(self.expected() + &meant.unwrap_or_default())
    }
}

/// All labels of a listener, with the two bytes that each takes beside its own: with the listener's keys they fit the
/// 1 KiB of an origin, and leave room for the gateways that a span passed.
const LABELS_BYTES_MAX: usize = 512;
const LABEL_KEY_BYTES_MAX: usize = 63;
/// A length in an origin is one byte.
const LABEL_VALUE_BYTES_MAX: usize = 255;

/// Checks labels; the error is what was expected.
pub fn labels(pairs: Vec<(String, String)>) -> Result<Value, String> {
    let mut labels = BTreeMap::new();
    for (key, value) in pairs {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if key.is_empty() || key.len() > LABEL_KEY_BYTES_MAX || !key.bytes().all(good) {
            return Err(format!("keys of 1 to {LABEL_KEY_BYTES_MAX} letters, digits, or any of . _ -"));
        }
        if ORIGIN_KEYS.contains(&&*key) {
            return Err(format!("another key than {key}, which the listeners set themselves"));
        }
        if !(1..=LABEL_VALUE_BYTES_MAX).contains(&value.len()) || value.chars().any(char::is_control) {
            return Err(format!(
                "a value of 1 to {LABEL_VALUE_BYTES_MAX} bytes for {key}, none of them a control character"
            ));
        }
        if labels.insert(key.clone(), value).is_some() {
            return Err(format!("{key} once"));
        }
    }
    let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
    if bytes > LABELS_BYTES_MAX {
        return Err(format!("at most {LABELS_BYTES_MAX} bytes of labels"));
    }
    Ok(Value::Labels(labels))
}

/// Elements of a list; nobody listens on more addresses.
const LIST_MAX: usize = 64;

fn or_word(or: Option<&str>, rest: String) -> String {
    or.map_or(rest.clone(), |word| format!("{word:?} or {rest}"))
}

fn path(text: &str) -> Option<Value> {
    let ours = !text.is_empty() && text != "~" && !text.starts_with("~/") && !text.contains('\0');
    ours.then(|| Value::Text(text.into()))
}

fn archive(text: &str) -> Option<Value> {
    match text {
        "builtin" => Some(Value::Word("builtin")),
        "none" => Some(Value::Word("none")),
        _ => {
            let Some(dir) = text.strip_prefix("file://") else {
                return Remote::parse(text).map(|remote| Value::Text(remote.url()));
            };
            // Percent signs and the like would make two names for a directory; they mean themselves here.
            (dir.starts_with('/') && dir.len() > 1 && !dir.contains('\0')).then(|| Value::Text(text.into()))
        }
    }
}

fn is_sink_name(text: &str) -> bool {
    (1..=SINK_NAME_MAX).contains(&text.len()) && text.chars().all(is_in_sink_name)
}

/// A name is a label of metrics and bounded; a host may be longer.
const SINK_NAME_MAX: usize = 63;

/// Brackets are for addresses of IPv6.
fn is_in_sink_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._:-[]".contains(c)
}

/// The name of a sink that was given none: its host and port, as far as they are a name.
pub fn sink_name(host_port: &str) -> String {
    let fit = host_port.chars().map(|c| if is_in_sink_name(c) { c } else { '_' });
    fit.take(SINK_NAME_MAX).collect()
}

/// `info`, or `info,module=debug`. Stricter than `tracing`'s own reader, to which a misspelt
/// level is the name of a module.
fn is_filter(text: &str) -> bool {
    let level = |word: &str| matches!(word, "off" | "error" | "warn" | "info" | "debug" | "trace");
    let module = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b));
    text.split(',').map(str::trim).all(|part| match part.split_once('=') {
        Some((target, at)) => module(target) && level(at),
        None => level(part),
    })
}

/// Digits, grouped by underscores as in TOML.
fn number(text: &str) -> Option<u64> {
    let grouped = text.starts_with(|c: char| c.is_ascii_digit()) && !text.ends_with('_') && !text.contains("__");
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    (grouped && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// Splits `10 GiB` into its number and its unit.
fn quantity(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    Some((number(&text[..end])?, text[end..].trim_start()))
}

/// Largest first, so that printing takes the first that divides.
const BYTE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

fn bytes(text: &str) -> Option<u64> {
    let (n, unit) = quantity(text)?;
    let unit = if unit.is_empty() { "B" } else { unit };
    let (_, factor) = BYTE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    n.checked_mul(*factor)
}

const TIME_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// `2h`: a number and its unit.
pub fn duration(text: &str) -> Option<Duration> {
    let (n, unit) = quantity(text)?;
    let (_, factor) = TIME_UNITS.iter().find(|(name, _)| *name == unit)?;
    n.checked_mul(*factor).map(Duration::from_nanos)
}

/// `10GiB`: in the largest unit of 1024 that divides it and leaves at most four digits, else in bytes.
pub fn show_bytes(n: u64) -> String {
    let binary = BYTE_UNITS.iter().filter(|(name, _)| name.ends_with("iB"));
    binary
        .clone()
        .find(|(_, f)| n > 0 && n.is_multiple_of(*f) && n / f < 10_000)
        .map_or(n.to_string(), |(unit, f)| format!("{}{unit}", n / f))
}

/// `1500ms`: in the largest unit that divides it.
pub fn show_time(time: Duration) -> String {
    let n = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let unit = TIME_UNITS.iter().find(|(_, f)| n > 0 && n.is_multiple_of(*f));
    unit.map_or("0s".into(), |(unit, f)| format!("{}{unit}", n / f))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(&quoted(text)),
            Value::Word(word) => write!(f, "\"{word}\""),
            Value::Bytes(n) if show_bytes(*n) == n.to_string() => write!(f, "{n}"),
            Value::Bytes(n) => write!(f, "\"{}\"", show_bytes(*n)),
            Value::Count(n) => write!(f, "{n}"),
            Value::Time(time) => write!(f, "\"{}\"", show_time(*time)),
            Value::Bool(yes) => write!(f, "{yes}"),
            Value::Addresses(list) => write!(f, "[{}]", joined(list.iter().map(|a| format!("\"{a}\"")))),
            Value::Words(list) => write!(f, "[{}]", joined(list.iter().map(|w| quoted(w)))),
            // With a point, as TOML's floats have.
            Value::Share(share) => write!(f, "{share:?}"),
            Value::Labels(labels) if labels.is_empty() => f.write_str("{}"),
            Value::Labels(labels) => {
                let pair = |(key, value): (&String, &String)| format!("{} = {}", quoted(key), quoted(value));
                write!(f, "{{ {} }}", joined(labels.iter().map(pair)))
            }
        }
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// A TOML basic string.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out + "\""
}
