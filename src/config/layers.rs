//! One value for each row: flag before variable before file before default.
//!
//! [`Values`] holds the rows of one scope (the gateway, a drain, a sink), each understood, with
//! where it came from. A row whose text was not understood holds its default, so that building
//! goes on and finds the other problems; [`Values::intact`] tells cross checks to leave it alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::{Origin, Problem};
use super::raw::Given;
use super::table::{Scope, Setting, row, rows};
use super::value::Value;

/// The rows of a scope, understood.
#[derive(Debug)]
pub struct Values {
    scope: Scope,
    drain: String,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    setting: &'static Setting,
    value: Option<Value>,
    at: Origin,
    broken: bool,
}

impl Values {
    /// Reads every layer of every row, and keeps the strongest. `drain` is empty for the gateway's.
    pub fn gather(scope: Scope, drain: &str, given: &[Given], problems: &mut Vec<Problem>) -> Values {
        let rows = rows(scope).map(|setting| Row::gather(setting, drain, given, problems)).collect();
        Values { scope, drain: drain.into(), rows }
    }

    fn row(&self, key: &str) -> &Row {
        let row = self.rows.iter().find(|r| r.setting.key == key);
        row.expect("code asks for rows of the table alone")
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.row(key).value.as_ref()
    }

    /// Where the value in force was given.
    pub fn at(&self, key: &str) -> &Origin {
        &self.row(key).at
    }

    /// Whether what was typed for all of these was understood.
    pub fn intact(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| !self.row(key).broken)
    }

    pub fn full_key(&self, key: &str) -> String {
        row(self.scope, key).full_key(&self.drain)
    }

    /// Replaces a value by one that follows from it or from others (an absolute path, a name).
    pub fn settle(&mut self, key: &str, value: Value) {
        let row = self.rows.iter_mut().find(|r| r.setting.key == key);
        row.expect("code asks for rows of the table alone").value = Some(value);
    }

    /// A path as seen from `dir`. `..` stays as it is: through a symbolic link it is not what it looks like.
    pub fn make_absolute(&mut self, key: &str, dir: &Path) {
        if let Some(Value::Text(path)) = self.get(key) {
            let path: PathBuf = dir.join(path).components().collect();
            self.settle(key, Value::Text(path.to_string_lossy().into_owned()));
        }
    }

    /// Key within the scope, value, and where it came from, in the table's order.
    pub fn shown(&self) -> impl Iterator<Item = (&'static Setting, &Value, &Origin)> {
        self.rows.iter().filter_map(|r| Some((r.setting, r.value.as_ref()?, &r.at)))
    }

    pub fn text(&self, key: &str) -> String {
        match self.get(key) {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Word(word)) => (*word).into(),
            other => wrong_kind(key, other),
        }
    }

    /// Bytes or a count; `None` where a word stands instead.
    pub fn number_or(&self, key: &str) -> Option<u64> {
        match self.get(key) {
            Some(Value::Bytes(n) | Value::Count(n)) => Some(*n),
            Some(Value::Word(_)) => None,
            other => wrong_kind(key, other),
        }
    }

    pub fn number(&self, key: &str) -> u64 {
        self.number_or(key).unwrap_or_else(|| wrong_kind(key, self.get(key)))
    }

    /// A number as a size in memory; one that this machine cannot address is as good as the largest.
    pub fn size(&self, key: &str) -> usize {
        usize::try_from(self.number(key)).unwrap_or(usize::MAX)
    }

    /// A time; `None` where a word stands instead.
    pub fn time_or(&self, key: &str) -> Option<Duration> {
        match self.get(key) {
            Some(Value::Time(time)) => Some(*time),
            Some(Value::Word(_)) => None,
            other => wrong_kind(key, other),
        }
    }

    pub fn time(&self, key: &str) -> Duration {
        self.time_or(key).unwrap_or_else(|| wrong_kind(key, self.get(key)))
    }

    pub fn yes(&self, key: &str) -> bool {
        match self.get(key) {
            Some(Value::Bool(yes)) => *yes,
            other => wrong_kind(key, other),
        }
    }

    pub fn addresses(&self, key: &str) -> Vec<SocketAddr> {
        match self.get(key) {
            Some(Value::Addresses(list)) => list.clone(),
            other => wrong_kind(key, other),
        }
    }

    pub fn share(&self, key: &str) -> f32 {
        match self.get(key) {
            Some(Value::Share(share)) => *share,
            other => wrong_kind(key, other),
        }
    }

    pub fn labels(&self, key: &str) -> BTreeMap<String, String> {
        match self.get(key) {
            Some(Value::Labels(labels)) => labels.clone(),
            other => wrong_kind(key, other),
        }
    }

    pub fn words(&self, key: &str) -> Vec<String> {
        match self.get(key) {
            Some(Value::Words(list)) => list.clone(),
            other => wrong_kind(key, other),
        }
    }
}

/// What a memory channel holds unless it is set: half a minute of 15,000 spans a second. With the
/// bytes in flight and the cache it stays well below the 512 MiB of a small container.
const MEMORY_CAPACITY: u64 = 256 << 20;

/// The defaults that another kind of channel has.
pub fn memory_defaults(values: &mut Values) {
    if values.text("channel.kind") == "memory" && *values.at("channel.capacity") == Origin::Default {
        values.settle("channel.capacity", Value::Bytes(MEMORY_CAPACITY));
    }
}

/// The defaults of an archive whose store the user named: it is there to be queried, not to be looked at.
pub fn named_store_defaults(values: &mut Values) {
    if values.text("archive") == "builtin" {
        return;
    }
    let defaults = [
        ("format", Value::Text("parquet".into())),
        ("roll_size", Value::Bytes(128 << 20)),
        ("roll_age", Value::Time(Duration::from_secs(600))),
        ("roll_idle", Value::Time(Duration::from_secs(60))),
    ];
    for (key, value) in defaults {
        if *values.at(key) == Origin::Default {
            values.settle(key, value);
        }
    }
}

/// The table and the code that reads it disagree: our own bug, found by every test that resolves the defaults.
fn wrong_kind(key: &str, value: Option<&Value>) -> ! {
    unreachable!("the table gives {key} another kind than is read: {value:?}")
}

impl Row {
    fn gather(setting: &'static Setting, drain: &str, given: &[Given], problems: &mut Vec<Problem>) -> Row {
        let mut row =
            Row { setting, value: setting.default.map(default_of(setting)), at: Origin::Default, broken: false };
        for given in given.iter().filter(|g| g.setting == setting) {
            match given.read(&setting.full_key(drain)) {
                Ok(value) if given.node.at > row.at => (row.value, row.at) = (Some(value), given.node.at.clone()),
                Ok(_) => {}
                Err(mut wrong) => {
                    row.broken = true;
                    problems.append(&mut wrong);
                }
            }
        }
        row
    }
}

fn default_of(setting: &Setting) -> impl Fn(&str) -> Value {
    let kind = setting.kind;
    move |text| kind.parse(text).expect("a default is within its own bounds")
}
