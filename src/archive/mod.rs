//! Bulk files: every span exactly once, in objects that are planned before they are written.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Settings {
    /// The drain's name: `archive`.
    pub name: String,
    pub store: Store,
    /// An object is closed at about this size. Default 64 MiB.
    pub roll_bytes: u64,
    /// Or when its first span is this old. Default 60 s.
    pub roll_age: Duration,
    /// Or after this long without a span. Default 5 s.
    pub roll_idle: Duration,
    /// Free bytes on the disk under which nothing is written (half of the channel's reserve); `None`: 512 MiB or 2.5 %.
    pub free_min_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// `<data>/archive`, bounded: oldest objects are removed beyond `keep_bytes` (default 10 GiB).
    BuiltIn { dir: PathBuf, keep_bytes: u64 },
    /// `file:///dir`: the user's, never trimmed.
    Local { dir: PathBuf },
}
