//! Every setting in force and where it came from, as `check --resolved` prints it.
//!
//! What is printed is TOML: given to `-c` it gives the same settings again.

use std::fmt;

use super::drains::{Drain, Kind};
use super::layers::Values;
use super::problem::Origin;

/// One line each.
#[derive(Debug, Clone, Default)]
pub struct Resolved(Vec<Entry>);

#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    /// As TOML.
    pub value: String,
    pub at: Origin,
}

/// Comments start here where the line leaves room.
const COMMENT_COLUMN: usize = 48;

impl Resolved {
    pub fn new(values: &Values, drains: &[Drain]) -> Resolved {
        let mut all = Resolved::default();
        all.add("", values);
        for drain in drains {
            let prefix = format!("drain.{}.", drain.name);
            match &drain.kind {
                Kind::Group { values, sinks, sinks_at } => {
                    all.add(&prefix, values);
                    let value = format!("[{}]", sinks.iter().map(inline).collect::<Vec<_>>().join(", "));
                    all.0.push(Entry { key: format!("{prefix}sinks"), value, at: sinks_at.clone() });
                }
                Kind::Archive { values } => all.add(&prefix, values),
                Kind::Retired => {
                    all.0.push(Entry { key: format!("{prefix}retired"), value: "true".into(), at: drain.at.clone() });
                }
            }
        }
        if !drains.iter().any(|drain| drain.name == super::drains::ARCHIVE) {
            let (key, value) = ("drain.archive.archive".into(), "\"none\"".into());
            all.0.push(Entry { key, value, at: Origin::Default });
        }
        all
    }

    fn add(&mut self, prefix: &str, values: &Values) {
        for (setting, value, at) in values.shown() {
            // An archive of the user's own has no such bound, a memory channel nothing to sync.
            let unused = match setting.key {
                "keep" => values.text("archive") != "builtin",
                "channel.sync" => values.text("channel.kind") == "memory",
                _ => false,
            };
            if !unused {
                let key = format!("{prefix}{}", setting.key);
                self.0.push(Entry { key, value: value.to_string(), at: at.clone() });
            }
        }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.0
    }
}

/// A sink as an inline table.
fn inline(sink: &Values) -> String {
    let pairs: Vec<String> = sink.shown().map(|(setting, value, _)| format!("{} = {value}", setting.key)).collect();
    format!("{{ {} }}", pairs.join(", "))
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { key, value, at } in &self.0 {
            let pair = format!("{key} = {value}");
            writeln!(f, "{pair:COMMENT_COLUMN$} # {at}")?;
        }
        Ok(())
    }
}
