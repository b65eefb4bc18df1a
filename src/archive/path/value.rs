//! What fills a placeholder: a peer's word made fit for a path.
//!
//! A word of letters, digits, `.`, `_` and `-` stands as it is; any other byte, and a `.` or `_` at the front, as
//! `%XX`, which Hive, Spark and DuckDB read back. What is longer than [`VALUE_BYTES_MAX`] then is cut and ends in `~`
//! and a checksum of all of it. So two words share a form only where eight digits of a checksum do, and none is empty,
//! hidden, `..`, or holds a slash.

use std::fmt::Write;

use crate::channel::Origin;

/// Longest form: names of services are shorter, and a path may have three beside its time.
pub const VALUE_BYTES_MAX: usize = 64;

/// What an empty or absent word becomes.
pub const NONE: &str = "none";

/// `~` and eight hex digits.
const CUT_BYTES: usize = 9;

/// Where a span's word comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The span's local service.
    Service,
    /// Scribe's.
    Category,
    /// The address of whoever sent it.
    Peer,
    Listener,
    /// One that the configuration gave.
    Label(String),
}

impl Source {
    /// The word of a span of `service` that came from there; the first, where an origin has several.
    pub fn of<'a>(&self, origin: &'a Origin, service: Option<&'a str>) -> Option<&'a str> {
        let key = match self {
            Source::Service => return service,
            Source::Category => "category",
            Source::Peer => "peer",
            Source::Listener => "listener",
            Source::Label(label) => label,
        };
        origin.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// The form of a word in a path: 1 to [`VALUE_BYTES_MAX`] of letters, digits and `. _ - % ~`.
pub fn sanitised(word: &str) -> String {
    if word.is_empty() {
        return NONE.to_owned();
    }
    let mut form = String::new();
    // Behind it nothing is cut through the middle of an escape.
    let mut whole = 0;
    for (at, byte) in word.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || byte == b'-' || (at > 0 && (byte == b'.' || byte == b'_'));
        match plain {
            true => form.push(char::from(byte)),
            false => write!(form, "%{byte:02X}").expect("a String takes everything"),
        }
        if form.len() <= VALUE_BYTES_MAX - CUT_BYTES {
            whole = form.len();
        }
        if form.len() > VALUE_BYTES_MAX {
            form.truncate(whole);
            write!(form, "~{:08x}", fingerprint(word)).expect("a String takes everything");
            return form;
        }
    }
    form
}

/// Whether [`sanitised`] may have written it.
pub fn is_form(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-%~".contains(&b);
    (1..=VALUE_BYTES_MAX).contains(&text.len()) && text.bytes().all(good) && !text.starts_with(['.', '_'])
}

/// FNV-1a, folded to 32 bits. Two texts of one fingerprint cost an object more, never a span.
pub fn fingerprint(text: &str) -> u32 {
    let sum = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (sum ^ (sum >> 32)) as u32
}

#[cfg(test)]
mod tests;
