//! The reference file: it holds every setting, at its default, with its meaning and reason.

use std::collections::BTreeSet;

use super::{Case, told};
use crate::config::table::{Scope, Setting, rows};

const REFERENCE: &str = include_str!("../../../deploy/spangate.reference.toml");

/// The file with every setting switched on: `#key = ..` and `#[table]`, but not `# text`.
fn switched_on() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting.to_owned(),
        _ => line.to_owned(),
    };
    REFERENCE.lines().map(on).collect::<Vec<_>>().join("\n")
}

/// The keys of a table and of those within, each with its dots.
fn keys(table: &toml::Table, prefix: &str, out: &mut BTreeSet<String>) {
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => keys(inner, &format!("{prefix}{key}."), out),
            _ => drop(out.insert(format!("{prefix}{key}"))),
        }
    }
}

#[test]
fn as_it_stands_the_reference_file_says_nothing() {
    assert_eq!(told(&Case::file(REFERENCE).understood()), told(&Case::default().understood()));
}

#[test]
fn switched_on_the_reference_file_is_the_defaults_and_one_collector() {
    let on = switched_on();
    let expected = Case::default().flag("collector", &["http://zipkin"]).understood();
    assert_eq!(told(&Case::file(&on).understood()), told(&expected));
}

#[test]
fn the_reference_file_and_the_table_hold_the_same_keys() {
    let document: toml::Table = switched_on().parse().unwrap();
    let mut found = BTreeSet::new();
    keys(&document, "", &mut found);
    let sink = document["drain"]["zipkin"]["sinks"][0].as_table().unwrap();
    keys(sink, "drain.zipkin.sinks.", &mut found);
    assert!(found.remove("drain.zipkin.sinks"));
    let drain = |setting: &Setting| if setting.scope == Scope::Archive { "archive" } else { "zipkin" };
    let scopes = [Scope::Gateway, Scope::Group, Scope::Archive, Scope::Sink];
    let known: BTreeSet<String> =
        scopes.into_iter().flat_map(rows).map(|setting| setting.full_key(drain(setting))).collect();
    assert_eq!(found, known);
}

#[test]
fn each_setting_stands_there_with_its_meaning_and_its_reason() {
    let words = |text: &str| text.split_whitespace().filter(|word| *word != "#").collect::<Vec<_>>().join(" ");
    let reference = words(REFERENCE).to_lowercase();
    for scope in [Scope::Gateway, Scope::Group, Scope::Archive, Scope::Sink] {
        for setting in rows(scope).filter(|setting| setting.default.is_some()) {
            let expected = format!("{}. why: {}.", words(setting.doc), words(setting.reason)).to_lowercase();
            assert!(reference.contains(&expected), "{}: {expected}", setting.key);
        }
    }
}
