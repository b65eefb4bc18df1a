//! The table of settings: each once, with its key, kind, bounds, default, meaning and reason.
//!
//! Flags, variables, file keys, help, `check --resolved` and the test of the reference file
//! all come from here. `Settings` is built from it in `build`: a row without a reader there, or
//! of another kind, is our own bug and found by the first test that resolves the defaults.

use super::rows::SETTINGS;
use super::value::Kind;

/// A row. `key` is relative to its scope.
#[derive(Debug)]
pub struct Setting {
    pub scope: Scope,
    pub key: &'static str,
    pub kind: Kind,
    /// As typed; `None` where it has to be given, or depends on others.
    pub default: Option<&'static str>,
    pub doc: &'static str,
    /// Why the default, or the bound, is what it is.
    pub reason: &'static str,
}

/// A row is its scope and key. Not its address: a constant may have several, as the optimiser pleases.
impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        (self.scope, self.key) == (other.scope, other.key)
    }
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The file's own tables; also flags and variables.
    Gateway,
    /// A flag and a variable that stand for a part of a drain.
    Shorthand,
    /// `[drain.NAME]` with sinks.
    Group,
    /// `[drain.NAME]` with an archive.
    Archive,
    /// An element of a drain's `sinks`.
    Sink,
}

impl Setting {
    /// Long flag without dashes: `channel-sync`.
    pub fn flag(&self) -> Option<String> {
        matches!(self.scope, Scope::Gateway | Scope::Shorthand).then(|| self.key.replace(['.', '_'], "-"))
    }

    /// `SPANGATE_CHANNEL_SYNC`. The list of collectors is plural here, as it is one value.
    pub fn variable(&self) -> Option<String> {
        let plural = if self.kind == Kind::Collectors { "S" } else { "" };
        matches!(self.scope, Scope::Gateway | Scope::Shorthand)
            .then(|| format!("{VARIABLES}{}{plural}", self.key.replace('.', "_").to_uppercase()))
    }

    /// The full key of a gateway's row, or of a drain's with its name.
    pub fn full_key(&self, drain: &str) -> String {
        match self.scope {
            Scope::Gateway | Scope::Shorthand => self.key.into(),
            Scope::Group | Scope::Archive => format!("drain.{drain}.{}", self.key),
            Scope::Sink => format!("drain.{drain}.sinks.{}", self.key),
        }
    }
}

/// What our variables begin with.
pub const VARIABLES: &str = "SPANGATE_";

/// The rows of a scope, in the order of the reference file.
pub fn rows(scope: Scope) -> impl Iterator<Item = &'static Setting> + Clone {
    SETTINGS.iter().filter(move |s| s.scope == scope)
}

/// A row that is known to be there.
pub fn row(scope: Scope, key: &str) -> &'static Setting {
    rows(scope).find(|s| s.key == key).expect("code asks for rows of the table alone")
}
