//! The drains: those of the file, and the two that flags make.
//!
//! `--collector` makes the drain `zipkin` or replaces its sinks; the drain `archive` is there
//! unless it is switched off. A drain has either sinks or an archive; one that is retired has
//! nothing but its name.

use super::collector::host_port;
use super::file::Walk;
use super::layers::{self, Values};
use super::problem::{Origin, Problem};
use super::raw::{Data, Given, Key, Node, Raw, RawDrain};
use super::table::{Scope, row};
use super::value::{Value, sink_name};

/// The drain that `--collector` makes.
pub const ZIPKIN: &str = "zipkin";
/// The drain that `--archive` makes.
pub const ARCHIVE: &str = "archive";
/// The drain of the dead letters: not free for others.
const RESERVED: &str = "dead-letters";
/// Cursors that a channel has (DURABILITY.md), one of which the dead letters take.
const DRAINS_MAX: usize = 63;
/// More collectors of one group are balanced by something else.
const SINKS_MAX: usize = 256;

/// A drain, understood.
#[derive(Debug)]
pub struct Drain {
    pub name: String,
    pub at: Origin,
    pub kind: Kind,
}

#[derive(Debug)]
pub enum Kind {
    Group { values: Values, sinks: Vec<Values>, sinks_at: Origin },
    Archive { values: Values },
    Retired,
}

/// What is known of a drain before its tables are read.
struct Outline {
    name: Key,
    entries: Vec<(Key, Node)>,
    /// From `--collector`, for `zipkin` alone.
    collectors: Option<Node>,
    /// From `--archive`, for `archive` alone.
    archive: Vec<Given>,
}

/// Reads all drains.
pub fn read(raw: &mut Raw, problems: &mut Vec<Problem>) -> Vec<Drain> {
    let collectors = collectors(&raw.given, problems);
    let archive: Vec<Given> = raw.given.iter().filter(|g| is_shorthand(g, "archive")).cloned().collect();
    let mut named = std::mem::take(&mut raw.drains);
    add_missing(&mut named, ZIPKIN, collectors.as_ref().map(|node| node.at.clone()));
    let archive_at = archive.iter().map(|g| g.node.at.clone()).max().unwrap_or(Origin::Default);
    add_missing(&mut named, ARCHIVE, Some(archive_at));
    let archive = as_archive_row(&archive);
    // The file's order is not known, so it is theirs: the same settings are always in the same order.
    named.sort_by(|a, b| a.name.text.cmp(&b.name.text));
    let mut drains = Vec::new();
    for RawDrain { name, node } in named {
        let key = format!("drain.{}", name.text);
        let Data::Table(entries) = node.data else {
            problems.push(Problem::unexpected(&node.at, &key, &node.found(), &format!("a table [{key}]")));
            continue;
        };
        problems.extend(wrong_name(&name));
        let collectors = collectors.clone().filter(|_| name.text == ZIPKIN);
        let archive = if name.text == ARCHIVE { archive.clone() } else { Vec::new() };
        drains.extend(Outline { name, entries, collectors, archive }.read(problems));
    }
    if let Some(one_too_many) = drains.get(DRAINS_MAX) {
        problems.push(Problem::new(&one_too_many.at, "drain", format!("more than {DRAINS_MAX} drains")));
    }
    drains
}

fn is_shorthand(given: &Given, key: &str) -> bool {
    given.setting.scope == Scope::Shorthand && given.setting.key == key
}

/// A drain that flags, variables or defaults make although the file does not have it.
fn add_missing(named: &mut Vec<RawDrain>, name: &str, at: Option<Origin>) {
    if let Some(at) = at
        && !named.iter().any(|drain| drain.name.text == name)
    {
        let node = Node { at: at.clone(), data: Data::Table(Vec::new()) };
        named.push(RawDrain { name: Key { at, text: name.into() }, node });
    }
}

fn wrong_name(name: &Key) -> Option<Problem> {
    let text = &name.text;
    let valid = (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
    let expected = match valid {
        true if text != RESERVED => return None,
        true => "another name: this drain is the gateway's own",
        false => "a name of 1 to 63 of a-z, 0-9, _ and -",
    };
    Some(Problem::unexpected(&name.at, &format!("drain.{text}"), &format!("{text:?}"), expected))
}

/// The collectors in force, of flag and variable, as sinks: `None` if neither names any.
fn collectors(given: &[Given], problems: &mut Vec<Problem>) -> Option<Node> {
    let shorthand = row(Scope::Shorthand, "collector");
    let given: Vec<Given> = given.iter().filter(|g| is_shorthand(g, shorthand.key)).cloned().collect();
    let values = Values::gather(Scope::Shorthand, "", &given, problems);
    if !values.intact(&["collector"]) {
        // Something was meant: an empty drain rather than none keeps the report to what is wrong.
        let at = given.iter().map(|g| g.node.at.clone()).max()?;
        return Some(Node { at, data: Data::List(Vec::new()) });
    }
    let at = values.at(shorthand.key).clone();
    let Some(Value::Words(urls)) = values.get(shorthand.key) else { return None };
    let sink = |url: &String| {
        let key = Key { at: at.clone(), text: "url".into() };
        Node { at: at.clone(), data: Data::Table(vec![(key, Node::text(at.clone(), url))]) }
    };
    let sinks = urls.iter().map(sink).collect();
    Some(Node { at: at.clone(), data: Data::List(sinks) })
}

/// `--archive` is the drain's own key by another name.
fn as_archive_row(shorthand: &[Given]) -> Vec<Given> {
    let setting = row(Scope::Archive, "archive");
    shorthand.iter().map(|g| Given { setting, node: g.node.clone() }).collect()
}

impl Outline {
    fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(k, _)| k.text == key)
    }

    fn is_retired(&self) -> bool {
        let yes = |node: &Node| matches!(&node.data, Data::Bare(text) if text == "true");
        self.entries.iter().any(|(key, node)| key.text == "retired" && yes(node))
    }

    fn read(self, problems: &mut Vec<Problem>) -> Option<Drain> {
        let name = self.name.text.clone();
        let at = self.name.at.clone();
        let has_sinks = self.has("sinks") || self.collectors.is_some();
        let has_archive = self.has("archive") || (name == ARCHIVE && !has_sinks) || !self.archive.is_empty();
        let retired = self.is_retired();
        if has_sinks && has_archive {
            let what = "has both sinks and an archive; give each its own drain";
            problems.push(Problem::new(&at, format!("drain.{name}"), what));
        } else if !has_sinks && !has_archive && !retired {
            problems.push(Problem::new(&at, format!("drain.{name}"), nothing_to_feed(&name)));
        }
        let kind = match has_archive && !has_sinks {
            true => self.archive(problems),
            false => self.group(problems),
        };
        let kind = if retired { Some(Kind::Retired) } else { kind };
        kind.map(|kind| Drain { name, at, kind })
    }

    /// `None`: switched off.
    fn archive(self, problems: &mut Vec<Problem>) -> Option<Kind> {
        let base = format!("drain.{}.", self.name.text);
        let mut given = self.archive;
        Walk { scope: Scope::Archive, base: &base, also: &[] }.table(self.entries, "", &mut given, problems);
        let mut values = Values::gather(Scope::Archive, &self.name.text, &given, problems);
        layers::named_store_defaults(&mut values);
        (values.text("archive") != "none").then_some(Kind::Archive { values })
    }

    /// `None`: its sinks were taken away by `--collector none`.
    fn group(self, problems: &mut Vec<Problem>) -> Option<Kind> {
        let name = &self.name.text;
        let base = format!("drain.{name}.");
        let (file_sinks, mut entries): (Vec<_>, Vec<_>) =
            self.entries.into_iter().partition(|(key, _)| key.text == "sinks");
        // Beside sinks it was reported above.
        entries.retain(|(key, _)| key.text != "archive");
        let mut given = Vec::new();
        Walk { scope: Scope::Group, base: &base, also: &["sinks"] }.table(entries, "", &mut given, problems);
        let values = Values::gather(Scope::Group, name, &given, problems);
        let from_file = file_sinks.into_iter().map(|(_, node)| (node.at.clone(), sinks(name, node, problems))).next();
        let (sinks_at, sinks) = match self.collectors {
            Some(node) if matches!(&node.data, Data::List(list) if list.is_empty()) => return None,
            Some(node) => (node.at.clone(), sinks(name, node, problems)),
            None => from_file?,
        };
        Some(Kind::Group { values, sinks, sinks_at })
    }
}

fn nothing_to_feed(name: &str) -> String {
    let collector = if name == ZIPKIN { ", or --collector http://HOST:9411" } else { "" };
    format!(
        "has neither sinks nor an archive: add sinks = [{{ url = \"http://HOST:9411\" }}]{collector}, \
         or archive = \"file:///DIR\", or retired = true"
    )
}

/// Reads the list of a drain's sinks.
fn sinks(drain: &str, node: Node, problems: &mut Vec<Problem>) -> Vec<Values> {
    let key = format!("drain.{drain}.sinks");
    let expected = "a list such as [{ url = \"http://zipkin:9411\" }]";
    let found = node.found();
    let list = match node.data {
        Data::List(list) if !list.is_empty() && list.len() <= SINKS_MAX => list,
        Data::List(list) => {
            let what = format!("found {} sinks, expected 1 to {SINKS_MAX}", list.len());
            problems.push(Problem::new(&node.at, key, what));
            return Vec::new();
        }
        _ => {
            problems.push(Problem::unexpected(&node.at, &key, &found, expected));
            return Vec::new();
        }
    };
    let mut sinks: Vec<Values> = Vec::new();
    for element in list {
        let Some(sink) = sink(drain, &key, element, problems) else { continue };
        if let Some(what) = twice(&sinks, &sink) {
            problems.push(Problem::new(sink.at("url"), key.clone(), what));
        }
        sinks.push(sink);
    }
    sinks
}

fn sink(drain: &str, key: &str, node: Node, problems: &mut Vec<Problem>) -> Option<Values> {
    let found = node.found();
    let Data::Table(entries) = node.data else {
        problems.push(Problem::unexpected(&node.at, key, &found, "a table such as { url = \"http://zipkin:9411\" }"));
        return None;
    };
    let base = format!("{key}.");
    let mut given = Vec::new();
    Walk { scope: Scope::Sink, base: &base, also: &[] }.table(entries, "", &mut given, problems);
    let mut values = Values::gather(Scope::Sink, drain, &given, problems);
    let Some(Value::Text(url)) = values.get("url") else {
        if values.intact(&["url"]) {
            problems.push(Problem::new(&node.at, format!("{base}url"), "missing: which collector is it?"));
        }
        return None;
    };
    if values.get("name").is_none() {
        let name = sink_name(host_port(url));
        values.settle("name", Value::Text(name));
    }
    Some(values)
}

/// One collector twice would get two shares; one name twice would be one line in the metrics.
fn twice(sinks: &[Values], sink: &Values) -> Option<String> {
    let same = |key: &str| sinks.iter().any(|other| other.text(key) == sink.text(key));
    match () {
        () if same("url") => Some(format!("the collector {} is there twice", sink.text("url"))),
        () if same("name") => Some(format!("two sinks are called {}; give one a name", sink.text("name"))),
        () => None,
    }
}
