//! What people say of a configuration beside its file: variables and flags.
//!
//! An input's lines are `NAME=VALUE` of the environment, or flags, which begin with two dashes. Whatever is wrong
//! names who said it. What each row is told in the end gives the same settings, or the same complaints, by a variable,
//! a flag and a file, in all forms that these have, and by all of them at once.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use spangate::config::file::Source;
use spangate::config::table::{Scope, Setting, VARIABLES, rows};
use spangate::config::value::{Kind, quoted};
use spangate::config::{self, CONFIG_VARIABLE, Origin, Typed};

type Flags = Vec<(&'static Setting, Vec<String>)>;
type Variables = Vec<(OsString, OsString)>;
/// The settings, or every complaint with its key.
type Outcome = Result<String, Vec<(String, String)>>;

/// A list of collectors may be longer in a file.
const LIST_MAX: usize = 64;

pub fn layers(input: &[u8]) {
    let (mut words, mut variables) = (Vec::new(), BTreeMap::new());
    for line in input.split(|byte| *byte == b'\n') {
        if line.starts_with(b"--") {
            words.push(String::from_utf8_lossy(line).into_owned());
        } else if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
            variables.insert(text(&line[..equals]), text(&line[equals + 1..]));
        }
    }
    let (variables, flags) = (Variables::from_iter(variables), flags(&words));
    names_who_said_it(&variables, &flags);
    let strongest = strongest(&variables, &flags);
    let told = said_alike(&strongest);
    // By a flag an empty list can be said, and by a variable nothing.
    let is_plain = flags.iter().all(|(_, texts)| texts.iter().all(|text| !text.is_empty()));
    if let (Ok(all), true) = (resolve(variables, flags, None), is_plain) {
        assert_eq!(Ok(all), told, "what is said by the strongest alone is another");
    }
}

/// What the words of a command line give. Where they are refused one of them is named; then those that are known are
/// left.
fn flags(words: &[String]) -> Flags {
    read(words).unwrap_or_else(|error| {
        // What a terminal would obey is left out of the message.
        let is_told = |name: &str| error.contains(name) || name.contains(char::is_control);
        assert!(words.iter().any(|word| is_told(name(word))), "{words:?}: {error}");
        let mut seen = Vec::new();
        let known = words.iter().filter(|word| {
            let row = settings().find(|row| row.flag().is_some_and(|flag| name(word) == format!("--{flag}")));
            let has_value = |row: &Setting| word.contains('=') || config::is_switch(row);
            let is_good = row.is_some_and(|row| has_value(row) && (row.kind.is_list() || !seen.contains(&row.key)));
            seen.extend(row.map(|row| row.key));
            is_good
        });
        read(&known.cloned().collect::<Vec<_>>()).unwrap_or_else(|error| panic!("known flags are refused: {error}"))
    })
}

fn read(words: &[String]) -> Result<Flags, String> {
    spangate::cli::flags(["spangate"].into_iter().chain(words.iter().map(String::as_str)).map(OsString::from))
}

fn name(word: &str) -> &str {
    word.split('=').next().unwrap_or(word)
}

fn resolve(variables: Variables, flags: Flags, file: Option<String>) -> Outcome {
    let asked = Origin::Flag("--config".into());
    let file = file.map(|text| Source { path: "/etc/spangate.toml".into(), asked, text: Ok(text) });
    let typed = Typed { flags, variables, file, working_dir: "/work".into() };
    match config::resolve(typed) {
        Ok(understood) => Ok(format!("{:?}", understood.settings)),
        Err(report) => {
            let mut all: Vec<_> = report.problems().iter().map(|p| (p.key.clone(), p.what.clone())).collect();
            all.sort();
            Err(all)
        }
    }
}

fn settings() -> impl Iterator<Item = &'static Setting> {
    rows(Scope::Shorthand).chain(rows(Scope::Gateway))
}

fn names_who_said_it(variables: &Variables, flags: &Flags) {
    let typed = Typed { flags: flags.clone(), variables: variables.clone(), file: None, working_dir: "/work".into() };
    let report = config::resolve(typed).err();
    let problems = report.as_ref().map_or(&[][..], |report| report.problems());
    for problem in problems {
        let is_theirs = match &problem.at {
            Origin::Variable(name) => variables.iter().any(|(theirs, _)| theirs.to_string_lossy() == *name),
            Origin::Flag(name) => {
                flags.iter().any(|(row, _)| row.flag().is_some_and(|flag| *name == format!("--{flag}")))
            }
            // That there is no drain at all nobody said.
            Origin::Default => problem.key == "drain",
            Origin::File { .. } => false,
        };
        let name = problem.at.to_string();
        assert!(is_theirs && (problem.at == Origin::Default || problem.to_string().contains(&name)), "{problem}");
    }
    for (name, value) in variables {
        let at = Origin::Variable(name.to_string_lossy().into_owned());
        let is_named = problems.iter().any(|problem| problem.at == at);
        assert!(is_named || !is_strange(&name.to_string_lossy(), value), "{name:?} is passed over");
    }
}

/// Whether a variable is for us, and for none of our rows.
fn is_strange(name: &str, value: &OsStr) -> bool {
    let of_kubernetes = ["SPANGATE_SERVICE_", "SPANGATE_PORT_"].iter().any(|start| name.starts_with(start));
    let known = of_kubernetes || ["SPANGATE_PORT", CONFIG_VARIABLE].contains(&name);
    let is_row = settings().any(|row| row.variable().as_deref() == Some(name));
    name.starts_with(VARIABLES) && !known && !is_row && !value.is_empty()
}

/// What each row is told in the end, in one text.
fn strongest(variables: &Variables, flags: &Flags) -> Vec<(&'static Setting, String)> {
    let told = |row: &'static Setting| {
        let flag = flags.iter().find(|(flag, _)| *flag == row).map(|(_, texts)| texts.join(","));
        let variable = || variables.iter().find(|(name, _)| row.variable().is_some_and(|ours| name == ours.as_str()));
        let text = flag.or_else(|| variable()?.1.to_str().map(str::to_owned))?;
        Some((row, text)).filter(|(_, text)| !text.is_empty())
    };
    settings().filter_map(told).collect()
}

/// The same by each layer, in each form, and by all at once.
fn said_alike(told: &[(&'static Setting, String)]) -> Outcome {
    let whole = |(row, text): &(&'static Setting, String)| (*row, vec![text.clone()]);
    let split =
        |(row, text): &(&'static Setting, String)| (*row, parts(row, text).unwrap_or_else(|| vec![text.clone()]));
    let variable = |(row, text): &(&'static Setting, String)| Some((row.variable()?.into(), text.into()));
    let flags: Flags = told.iter().map(whole).collect();
    let variables: Variables = told.iter().filter_map(variable).collect();
    let outcome = resolve(Vec::new(), flags.clone(), None);
    assert_eq!(resolve(variables.clone(), Vec::new(), None), outcome, "variables are not flags");
    let by_parts = resolve(Vec::new(), told.iter().map(split).collect(), None);
    assert_eq!(by_parts.as_ref().ok(), outcome.as_ref().ok(), "flags again and again are not one with commas");
    for typed in [false, true] {
        let lines: Option<Vec<String>> = told.iter().map(|(row, text)| line(row, text, typed)).collect();
        let Some(file) = lines.map(|lines| lines.concat()) else { continue };
        let by_file = resolve(Vec::new(), Vec::new(), Some(file.clone()));
        assert_eq!(by_file.as_ref().ok(), outcome.as_ref().ok(), "a file is no flag: {by_file:?}\n{file}");
        let by_all = resolve(variables.clone(), flags.clone(), Some(file));
        assert_eq!(by_all.ok().as_ref(), outcome.as_ref().ok(), "said again it is another");
    }
    outcome
}

/// A list's elements; `None` where it is none, or one of them is empty.
fn parts(row: &Setting, text: &str) -> Option<Vec<String>> {
    let parts: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
    (row.kind.is_list() && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

/// What a file says instead, as a text or as what it is; `None` where a file cannot.
fn line(row: &Setting, text: &str, typed: bool) -> Option<String> {
    let parts = parts(row, text);
    let list = |open: &str, close: &str, each: &dyn Fn(&String) -> Option<String>| {
        let each: Option<Vec<String>> = parts.as_ref()?.iter().map(each).collect();
        Some(format!("{open}{}{close}", each?.join(", ")))
    };
    let value = match row.kind {
        // Without sinks the drain is not there.
        Kind::Collectors if text.trim() == "none" => return Some(String::new()),
        Kind::Collectors if parts.as_ref().is_none_or(|parts| parts.len() > LIST_MAX) => return None,
        Kind::Collectors => list("[", "]", &|url| Some(format!("{{ url = {} }}", quoted(url)))),
        Kind::Labels if typed && text.trim() == "none" => Some("{}".into()),
        Kind::Labels if typed => list("{ ", " }", &|pair| {
            let (key, value) = pair.split_once('=')?;
            Some(format!("{} = {}", quoted(key.trim()), quoted(value.trim())))
        }),
        kind if typed && kind.is_list() => list("[", "]", &|part| Some(quoted(part))),
        kind if typed && kind.is_bare() && is_bare(text.trim()) => Some(text.trim().to_owned()),
        _ => Some(quoted(text)),
    };
    let key = match row.kind {
        Kind::Collectors => "drain.zipkin.sinks",
        Kind::Archive => "drain.archive.archive",
        _ => row.key,
    };
    Some(format!("{key} = {}\n", value?))
}

/// What TOML takes for a number or a truth value, too.
fn is_bare(text: &str) -> bool {
    let digits = text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    !text.is_empty() && digits || matches!(text, "true" | "false")
}
