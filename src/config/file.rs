//! The layer of the file: TOML with the position of every key and value.
//!
//! All syntax errors are reported, and beside them what is wrong on the lines that could be
//! read. A key that no row of the table has is a problem that names the nearest one.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem, nearest};
use super::raw::{Data, Given, Key, Node, Raw, RawDrain};
use super::table::{Scope, Setting, rows};

/// A file that was asked for, and what reading it gave.
#[derive(Debug)]
pub struct Source {
    pub path: PathBuf,
    /// Who asked for it: flag or variable.
    pub asked: Origin,
    pub text: Result<String, String>,
}

/// Reads the layer.
pub fn read(source: Source, problems: &mut Vec<Problem>) -> Raw {
    let text = match source.text {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::new(&source.asked, "", format!("{}: {error}", source.path.display())));
            return Raw::default();
        }
    };
    let lines = Lines { path: Arc::new(source.path), text: &text };
    let (document, errors) = DeTable::parse_recoverable(&text);
    let syntax: Vec<Problem> = errors.iter().map(|error| syntax(&lines, error)).collect();
    let mut raw = Raw::default();
    let mut found = Vec::new();
    if let Data::Table(entries) = lines.table(document.get_ref()) {
        top(entries, &mut raw, &mut found);
    }
    // What the parser made of a broken line is not what was typed.
    let broken = |at: &Origin| syntax.iter().any(|s| line(&s.at) == line(at));
    found.retain(|problem| !broken(&problem.at));
    for given in raw.given.iter_mut().filter(|given| broken(&given.node.at)) {
        given.node.data = Data::Broken;
    }
    problems.extend(found.into_iter().chain(syntax));
    raw
}

fn line(at: &Origin) -> Option<usize> {
    match at {
        Origin::File { line, .. } => Some(*line),
        _ => None,
    }
}

/// What a value without quotes most often was meant to be.
const UNQUOTED: &str = "; sizes, times, addresses and words stand in quotes";

fn syntax(lines: &Lines, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let at = lines.at(&span);
    let row = line(&at).and_then(|n| lines.text.lines().nth(n - 1)).unwrap_or("");
    let bare = row.split_once('=').is_some_and(|(_, value)| value.trim().starts_with(|c: char| c.is_alphanumeric()));
    let hint = if bare && !error.message().contains("duplicate") { UNQUOTED } else { "" };
    Problem::new(&at, "", format!("not TOML: {}{hint}", error.message()))
}

/// A file's text, to find positions in.
struct Lines<'a> {
    path: Arc<PathBuf>,
    text: &'a str,
}

impl Lines<'_> {
    fn at(&self, span: &Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        Origin::File {
            path: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let data = match value.get_ref() {
            DeValue::String(text) => Data::Text(text.to_string()),
            DeValue::Integer(n) => Data::Bare(
                i128::from_str_radix(n.as_str(), n.radix()).map_or_else(|_| n.to_string(), |n| n.to_string()),
            ),
            DeValue::Float(x) => Data::Bare(x.to_string()),
            DeValue::Boolean(yes) => Data::Bare(yes.to_string()),
            DeValue::Datetime(date) => Data::Other(format!("the date {date}")),
            DeValue::Array(list) => Data::List(list.iter().map(|element| self.node(element)).collect()),
            DeValue::Table(table) => self.table(table),
        };
        Node { at: self.at(&value.span()), data }
    }

    fn table(&self, table: &DeTable<'_>) -> Data {
        let entry = |(key, value): (&Spanned<_>, _)| {
            let text: &std::borrow::Cow<'_, str> = key.get_ref();
            (Key { at: self.at(&key.span()), text: text.to_string() }, self.node(value))
        };
        Data::Table(table.iter().map(entry).collect())
    }
}

/// The file's top: settings, and the table of drains.
fn top(entries: Vec<(Key, Node)>, raw: &mut Raw, problems: &mut Vec<Problem>) {
    let (drains, rest): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key.text == "drain");
    Walk { scope: Scope::Gateway, base: "", also: &["drain"] }.table(rest, "", &mut raw.given, problems);
    for (_, node) in drains {
        let Data::Table(named) = node.data else {
            problems.push(Problem::unexpected(&node.at, "drain", &node.found(), "tables such as [drain.zipkin]"));
            continue;
        };
        raw.drains.extend(named.into_iter().map(|(name, node)| RawDrain { name, node }));
    }
}

/// Matches tables with the rows of a scope.
pub struct Walk<'a> {
    pub scope: Scope,
    /// Stands before the keys in reports: empty, or `drain.NAME.`.
    pub base: &'a str,
    /// Keys that are read elsewhere, for suggestions.
    pub also: &'a [&'a str],
}

impl Walk<'_> {
    /// Matches a table under `prefix` (empty, or with a dot at its end).
    pub fn table(&self, entries: Vec<(Key, Node)>, prefix: &str, out: &mut Vec<Given>, problems: &mut Vec<Problem>) {
        for (key, node) in entries {
            let path = format!("{prefix}{}", key.text);
            let inner = format!("{path}.");
            if let Some(setting) = rows(self.scope).find(|s| s.key == path) {
                out.push(Given { setting, node });
            } else if rows(self.scope).any(|s| s.key.starts_with(&inner)) {
                match node.data {
                    Data::Table(entries) => self.table(entries, &inner, out, problems),
                    _ => problems.push(self.not_a_table(&node, &path)),
                }
            } else {
                problems.push(self.unknown(&key, prefix, &path));
            }
        }
    }

    fn not_a_table(&self, node: &Node, path: &str) -> Problem {
        let expected = format!("a table of {}", self.keys_under(&format!("{path}.")).join(", "));
        Problem::unexpected(&node.at, &format!("{}{path}", self.base), &node.found(), &expected)
    }

    fn unknown(&self, key: &Key, prefix: &str, path: &str) -> Problem {
        let full = format!("{}{path}", self.base);
        let what = match (self.meant(key, prefix), self.elsewhere(path)) {
            (Some(meant), _) => format!("unknown key; did you mean {}{meant}?", self.base),
            (None, Some(owner)) => format!("this key is for drains with {owner}"),
            (None, None) => format!("unknown key; expected one of {}", self.keys_under(prefix).join(", ")),
        };
        Problem::new(&key.at, full, what)
    }

    /// The key that was meant: a neighbour that reads alike, or one of this name in another table.
    fn meant(&self, key: &Key, prefix: &str) -> Option<String> {
        let neighbour = nearest(&key.text, self.keys_under(prefix).into_iter()).map(|near| format!("{prefix}{near}"));
        let same_name = |path: &&str| path.rsplit('.').next() == Some(&key.text);
        neighbour.or_else(|| rows(self.scope).map(|s| s.key).find(same_name).map(str::to_owned))
    }

    /// Whose key it is, if it is that of the other kind of drain.
    fn elsewhere(&self, path: &str) -> Option<&'static str> {
        let has = |scope: Scope| rows(scope).any(|s: &Setting| s.key.split('.').next() == path.split('.').next());
        match self.scope {
            Scope::Archive if has(Scope::Group) || path == "sinks" => Some("sinks"),
            Scope::Group if has(Scope::Archive) => Some("an archive"),
            _ => None,
        }
    }

    /// The keys and tables directly under a prefix.
    fn keys_under(&self, prefix: &str) -> Vec<&str> {
        let under = rows(self.scope).filter_map(|s| s.key.strip_prefix(prefix));
        let also = self.also.iter().copied().filter(|_| prefix.is_empty());
        let mut keys: Vec<&str> = under.map(|k| k.split('.').next().unwrap_or(k)).chain(also).collect();
        keys.dedup();
        keys
    }
}
