//! Who may change something: a person or a program on this machine, or whoever has the token.
//!
//! Without a token, loopback peers alone; with one, whoever sends it, loopback or not. A web page
//! never: it cannot send [`HEADER`] elsewhere unasked, and what its browser sends names an
//! `Origin`, also where a name was bent to this machine. The token stands in a file, so that no
//! list of processes, variables or settings shows it.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::{HeaderMap, Method, StatusCode, header};

use crate::disk::{self, Disk, Open};

/// What a changing request carries: `spangate-admin: 1`.
pub const HEADER: &str = "spangate-admin";
/// Shorter ones are guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// Longer than any that is made to be sent in a header.
const TOKEN_BYTES_MAX: usize = 512;

/// A secret that is compared and never shown.
#[derive(PartialEq)]
pub struct Token(Vec<u8>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// The one in a file, without the white space around it.
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Token, String> {
        // Room for a line's end and little more; a longer file is another one.
        let mut bytes = [0; TOKEN_BYTES_MAX + 8];
        let file = disk.open(path, Open::Read);
        let len = file.and_then(|file| disk::read_full(&*file, &mut bytes, 0)).map_err(|error| error.to_string())?;
        let token = bytes[..len].trim_ascii();
        if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len()) || !token.iter().all(u8::is_ascii_graphic) {
            return Err(format!(
                "expected {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} letters, digits and signs, and no more than one line"
            ));
        }
        Ok(Token(token.to_vec()))
    }

    /// Looks at every byte, so that the time taken tells nothing but the length.
    fn is(&self, given: &[u8]) -> bool {
        let differences = self.0.iter().zip(given).fold(0, |found, (ours, theirs)| found | (ours ^ theirs));
        self.0.len() == given.len() && std::hint::black_box(differences) == 0
    }
}

/// The rule in force; a reload changes it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Door(Arc<RwLock<Option<Token>>>);

/// Why a request may not change anything.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub why: &'static str,
}

impl Door {
    pub fn new(token: Option<Token>) -> Door {
        Door(Arc::new(RwLock::new(token)))
    }

    /// Takes another token, or none; whether that is a change.
    pub fn set(&self, token: Option<Token>) -> bool {
        let mut ours = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changed = *ours != token;
        *ours = token;
        changed
    }

    pub(super) fn admit(&self, method: &Method, headers: &HeaderMap, peer: SocketAddr) -> Result<(), Refusal> {
        let refused = |status, why| Err(Refusal { status, why });
        if method != Method::POST {
            return refused(StatusCode::METHOD_NOT_ALLOWED, "this changes something: POST it");
        }
        if headers.contains_key(header::ORIGIN) {
            return refused(StatusCode::FORBIDDEN, "a web page may change nothing here");
        }
        if headers.get(HEADER).is_none_or(|value| value != "1") {
            return refused(StatusCode::FORBIDDEN, "this changes something: send the header `spangate-admin: 1`");
        }
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Some(token) if bearer(headers).is_some_and(|given| token.is(given)) => Ok(()),
            Some(_) => refused(
                StatusCode::UNAUTHORIZED,
                "send the token of admin.token_file as the header `Authorization: Bearer TOKEN`",
            ),
            None if peer.ip().to_canonical().is_loopback() => Ok(()),
            None => refused(
                StatusCode::FORBIDDEN,
                "only this machine itself may change something, until admin.token_file names a token",
            ),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests;
