//! What a gateway found and bound when it started; the banner and the log tell it to people.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::promise::Promise;
use crate::archive;
use crate::channel::Found;

/// A gateway that serves. Addresses are as bound: never port 0.
#[derive(Debug, Clone)]
pub struct Started {
    /// Empty: no Scribe.
    pub scribe: Vec<SocketAddr>,
    /// Scribe categories taken; `*` is all.
    pub categories: Vec<String>,
    /// Empty: no HTTP.
    pub http: Vec<SocketAddr>,
    /// Empty: no admin port.
    pub admin: Vec<SocketAddr>,
    /// The data directory, absolute.
    pub data: PathBuf,
    pub promise: Promise,
    /// What opening the channel found.
    pub found: Found,
    /// Drains for which spans wait, and how many.
    pub waiting: Vec<(String, u64)>,
    /// Empty: none.
    pub archives: Vec<ArchiveAt>,
    /// The names of all sinks, `HOST:PORT` unless the configuration names them. Empty: none.
    pub collectors: Vec<String>,
}

/// An archive and where its objects appear.
#[derive(Debug, Clone)]
pub struct ArchiveAt {
    pub drain: String,
    /// For people: a directory or a URL, without secrets.
    pub at: String,
    pub format: archive::Format,
    /// Of one on this machine.
    pub dir: Option<PathBuf>,
    /// Oldest objects go beyond this; `None`: never.
    pub keep_bytes: Option<u64>,
}
