//! What was typed: values with their positions, from each layer, not yet understood.
//!
//! [`variables`] and [`flags`] make layers of the environment and the command line; `file`
//! makes one of a TOML text. Precedence is not decided here: every layer is read in full, so
//! that a mistake in the file is reported although a flag would hide it.

use std::ffi::{OsStr, OsString};

use super::problem::{Origin, Problem, nearest};
use super::table::{Scope, Setting, VARIABLES, rows};
use super::value::{Kind, Value, labels, quoted};

/// A value where it was typed.
#[derive(Debug, Clone)]
pub struct Node {
    pub at: Origin,
    pub data: Data,
}

#[derive(Debug, Clone)]
pub enum Data {
    Text(String),
    /// A number or a truth value, as in TOML without quotes.
    Bare(String),
    List(Vec<Node>),
    Table(Vec<(Key, Node)>),
    /// What no setting takes: a date.
    Other(String),
    /// What the parser left of a line that is not TOML; reported as that.
    Broken,
}

#[derive(Debug, Clone)]
pub struct Key {
    pub at: Origin,
    pub text: String,
}

/// A value for a row of the table.
#[derive(Debug, Clone)]
pub struct Given {
    pub setting: &'static Setting,
    pub node: Node,
}

/// A `[drain.NAME]` of the file.
#[derive(Debug, Clone)]
pub struct RawDrain {
    pub name: Key,
    pub node: Node,
}

/// All that was typed.
#[derive(Debug, Default)]
pub struct Raw {
    pub given: Vec<Given>,
    pub drains: Vec<RawDrain>,
}

/// More of a wrong value is not repeated in the report.
const FOUND_MAX: usize = 80;

impl Node {
    pub fn text(at: Origin, text: impl Into<String>) -> Self {
        Node { at, data: Data::Text(text.into()) }
    }

    /// What it is, for the report.
    pub fn found(&self) -> String {
        let cut = |text: &str| match text.char_indices().nth(FOUND_MAX) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text.to_owned(),
        };
        match &self.data {
            Data::Text(text) => quoted(&cut(text)),
            Data::Bare(text) | Data::Other(text) => cut(text),
            Data::List(_) => "a list".into(),
            Data::Table(_) => "a table".into(),
            Data::Broken => "no TOML".into(),
        }
    }
}

impl Given {
    /// Understands it; `key` is the full key.
    pub fn read(&self, key: &str) -> Result<Value, Vec<Problem>> {
        let kind = self.setting.kind;
        let problem = |node: &Node, expected: &str| Problem::unexpected(&node.at, key, &node.found(), expected);
        match &self.node.data {
            Data::Broken => Err(Vec::new()),
            Data::Table(entries) if kind == Kind::Labels => self.read_labels(entries, key),
            _ if kind.is_list() => self.read_list(key),
            Data::Text(text) => kind.parse(text).map_err(|expected| vec![problem(&self.node, &expected)]),
            Data::Bare(text) if kind.is_bare() => {
                kind.parse(text).map_err(|expected| vec![problem(&self.node, &expected)])
            }
            _ => Err(vec![problem(&self.node, &kind.expected())]),
        }
    }

    fn read_labels(&self, entries: &[(Key, Node)], key: &str) -> Result<Value, Vec<Problem>> {
        let mut pairs = Vec::new();
        for (name, node) in entries {
            let Data::Text(text) = &node.data else {
                let key = format!("{key}.{}", name.text);
                return Err(vec![Problem::unexpected(&node.at, &key, &node.found(), "a text in quotes")]);
            };
            pairs.push((name.text.clone(), text.clone()));
        }
        labels(pairs).map_err(|expected| vec![Problem::new(&self.node.at, key, format!("expected {expected}"))])
    }

    fn read_list(&self, key: &str) -> Result<Value, Vec<Problem>> {
        let kind = self.setting.kind;
        let mut elements = Vec::new();
        leaves(&self.node, 0, &mut elements);
        let mut problems = Vec::new();
        let mut words = Vec::new();
        for (node, text) in &elements {
            match text.map(|text| kind.parse_list(std::iter::once(text))) {
                Some(Ok(_)) => words.extend(*text),
                wrong => {
                    let expected = wrong.and_then(Result::err).unwrap_or_else(|| kind.expected());
                    let found = text.map_or_else(|| node.found(), quoted);
                    problems.push(Problem::unexpected(&node.at, key, &found, &expected));
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        kind.parse_list(words.into_iter())
            .map_err(|expected| vec![Problem::unexpected(&self.node.at, key, &self.node.found(), &expected)])
    }
}

/// The texts of a list: its elements, each cut at commas. One list in another is no text.
fn leaves<'a>(node: &'a Node, depth: usize, out: &mut Vec<(&'a Node, Option<&'a str>)>) {
    match &node.data {
        Data::Text(text) if text.is_empty() => {}
        Data::Text(text) => out.extend(text.split(',').map(|part| (node, Some(part.trim())))),
        Data::List(list) if depth == 0 => list.iter().for_each(|inner| leaves(inner, 1, out)),
        _ => out.push((node, None)),
    }
}

/// The layer of the command line: repeated flags are one list.
pub fn flags(typed: Vec<(&'static Setting, Vec<String>)>) -> Vec<Given> {
    let given = |(setting, mut texts): (&'static Setting, Vec<String>)| {
        let at = Origin::Flag(format!(
            "--{}",
            setting.flag().expect("only rows that have a flag come from the command line")
        ));
        let node = match texts.len() {
            1 => Node::text(at, texts.remove(0)),
            _ => Node {
                at: at.clone(),
                data: Data::List(texts.into_iter().map(|t| Node::text(at.clone(), t)).collect()),
            },
        };
        Given { setting, node }
    };
    typed.into_iter().map(given).collect()
}

/// Names the configuration file; not a setting, as it cannot stand in that file.
pub const CONFIG_VARIABLE: &str = "SPANGATE_CONFIG";

/// The layer of the environment. An empty variable is one that is not set, as compose files
/// that pass variables through make it; `none` is how a list is emptied.
pub fn variables(environment: &[(OsString, OsString)], problems: &mut Vec<Problem>) -> Vec<Given> {
    let mut given = Vec::new();
    let ours = |(name, value): &(OsString, OsString)| {
        let name = name.to_string_lossy().into_owned();
        (name.starts_with(VARIABLES) && name != CONFIG_VARIABLE && !is_kubernetes(&name) && !value.is_empty())
            .then(|| (name, value.clone()))
    };
    for (name, value) in environment.iter().filter_map(ours) {
        let at = Origin::Variable(name.clone());
        match known(&name) {
            None => problems.push(unknown(&at, &name)),
            Some(setting) => match value.to_str() {
                Some(text) => given.push(Given { setting, node: Node::text(at, text) }),
                None => problems.push(not_utf8(&at, setting, &value)),
            },
        }
    }
    given
}

fn known(variable: &str) -> Option<&'static Setting> {
    named().find(|(name, _)| name == variable).map(|(_, setting)| setting)
}

/// Every variable and its row.
fn named() -> impl Iterator<Item = (String, &'static Setting)> {
    rows(Scope::Shorthand).chain(rows(Scope::Gateway)).filter_map(|s| Some((s.variable()?, s)))
}

/// What Kubernetes sets in every pod beside a service called `spangate`.
fn is_kubernetes(name: &str) -> bool {
    name.starts_with("SPANGATE_SERVICE_") || name == "SPANGATE_PORT" || name.starts_with("SPANGATE_PORT_")
}

fn unknown(at: &Origin, name: &str) -> Problem {
    let names: Vec<String> = named().map(|(name, _)| name).chain([CONFIG_VARIABLE.to_owned()]).collect();
    match nearest(name, names.iter().map(String::as_str)) {
        Some(meant) => Problem::new(at, "", format!("unknown variable; did you mean {meant}?")),
        None => Problem::new(at, "", "unknown variable; `spangate --help` lists the settings"),
    }
}

fn not_utf8(at: &Origin, setting: &Setting, value: &OsStr) -> Problem {
    Problem::unexpected(at, setting.key, &format!("{value:?}"), &format!("{} in UTF-8", setting.kind.expected()))
}

/// Whether a flag may stand without a value (`--scribe-allow-shutdown`).
pub fn is_switch(setting: &Setting) -> bool {
    setting.kind == Kind::Bool
}
