//! (to be written)

use std::path::PathBuf;
use std::time::Duration;

/// Everything that is meant, resolved and checked. What was typed is `Raw`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Absolute.
    pub data: PathBuf,
    pub scribe: crate::listener::scribe::Settings,
    pub http: crate::listener::http::Settings,
    pub intake: crate::listener::intake::Settings,
    pub admin: crate::admin::Settings,
    pub channel: crate::channel::Settings,
    pub dead_letters: crate::deadletter::Settings,
    pub drains: Vec<Drain>,
    pub archives: Vec<crate::archive::Settings>,
    /// Drains that may be forgotten although spans wait for them (`retired = true`).
    pub retired: Vec<String>,
    /// Longest time from SIGTERM to exit. Default 20 s.
    pub stop_timeout: Duration,
    pub log: Log,
}

/// A drain that feeds a sink group.
#[derive(Debug, Clone)]
pub struct Drain {
    pub drain: crate::drain::Settings,
    pub start: crate::channel::Start,
    pub sinks: Vec<crate::sink::zipkin::Settings>,
}

#[derive(Debug, Clone)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing` filter, default `info`.
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}
