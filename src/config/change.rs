//! What differs between two configurations, and what of it can change while the gateway runs.
//!
//! Compared is what `check --resolved` prints, so every setting takes part. Drains come, go and
//! change; of the gateway's own settings those in [`LIVE`] do, and all others need a restart.

use std::collections::BTreeMap;
use std::fmt;

use super::problem::Origin;
use super::resolved::Resolved;

/// What listeners, the admin port and the log take over while they run. The rest is sockets, the log's files, and
/// limits that are counted from the start.
pub const LIVE: [&str; 19] = [
    "scribe.categories",
    "scribe.frame_max",
    "scribe.frame_timeout",
    "scribe.frame_rate_min",
    "scribe.binary_annotations",
    "scribe.allow_shutdown",
    "scribe.replay_mark",
    "http.body_max",
    "http.decoded_max",
    "http.decoded_ratio_max",
    "http.header_timeout",
    "http.body_timeout",
    "http.body_rate_min",
    "http.idle_timeout",
    "http.binary_annotations",
    "http.allowed_origins",
    "http.replay_mark",
    "admin.token_file",
    "log.level",
];

/// More of a value is not repeated in the log.
const VALUE_CHARS_MAX: usize = 200;

/// A key whose value differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    /// As TOML; `None`: it was not there.
    pub old: Option<String>,
    pub new: Option<String>,
    /// Where the new value came from.
    pub at: Origin,
}

/// What differs, in the order of the keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(Vec<Change>);

impl Changes {
    pub fn between(old: &Resolved, new: &Resolved) -> Changes {
        let before: BTreeMap<&str, &str> = old.entries().iter().map(|e| (&*e.key, &*e.value)).collect();
        let after: BTreeMap<&str, &str> = new.entries().iter().map(|e| (&*e.key, &*e.value)).collect();
        let changed = |key: &str| {
            let (old, new) = (before.get(key), after.get(key));
            (old != new).then(|| (key.to_owned(), old.map(ToString::to_string), new.map(ToString::to_string)))
        };
        let at = |key: &str| new.entries().iter().find(|e| e.key == key).map_or(Origin::Default, |e| e.at.clone());
        let gone = before.keys().filter(|key| !after.contains_key(*key));
        let mut keys: Vec<&str> = after.keys().chain(gone).copied().collect();
        keys.sort_unstable();
        let changes = keys.into_iter().filter_map(changed);
        Changes(changes.map(|(key, old, new)| Change { at: at(&key), key, old, new }).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that only a restart brings into force.
    pub fn needs_restart(&self) -> impl Iterator<Item = &Change> {
        self.0.iter().filter(|change| change.drain().is_none() && !LIVE.contains(&&*change.key))
    }

    /// Those of a drain.
    pub fn of_drain(&self, name: &str) -> impl Iterator<Item = &Change> {
        self.0.iter().filter(move |change| change.drain() == Some(name))
    }

    /// Those of the gateway's own settings.
    pub fn of_gateway(&self) -> impl Iterator<Item = &Change> {
        self.0.iter().filter(|change| change.drain().is_none())
    }
}

impl Change {
    /// Whose setting it is, if it is a drain's.
    fn drain(&self) -> Option<&str> {
        // A drain's name has no dot.
        self.key.strip_prefix("drain.")?.split('.').next()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| match value {
            None => "nothing".to_owned(),
            Some(value) => match value.char_indices().nth(VALUE_CHARS_MAX) {
                Some((end, _)) => format!("{}...", &value[..end]),
                None => value.clone(),
            },
        };
        write!(f, "{} {} -> {}", self.key, value(&self.old), value(&self.new))
    }
}
