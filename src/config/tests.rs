//! Tests of the configuration: values, layers, drains, cross checks, the reference file.

mod change;
mod drains;
mod layers;
mod memory;
mod reference;
mod values;

use std::path::PathBuf;

use super::file::Source;
use super::table::{Scope, row};
use super::{Origin, Typed, Understood, resolve};

/// A configuration to resolve: layers are added to the defaults in `/home`.
#[derive(Default)]
struct Case(Typed);

impl Case {
    fn file(text: &str) -> Case {
        Case::default().and_file(text)
    }

    fn and_file(mut self, text: &str) -> Case {
        let asked = Origin::Flag("--config".into());
        self.0.file = Some(Source { path: PathBuf::from("spangate.toml"), asked, text: Ok(text.into()) });
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Case {
        self.0.variables.push((name.into(), value.into()));
        self
    }

    /// `key` as in the table; several texts are a repeated flag.
    fn flag(mut self, key: &str, texts: &[&str]) -> Case {
        let scope = if matches!(key, "collector" | "archive") { Scope::Shorthand } else { Scope::Gateway };
        self.0.flags.push((row(scope, key), texts.iter().map(|text| (*text).to_owned()).collect()));
        self
    }

    fn resolve(mut self) -> Result<Understood, Vec<String>> {
        self.0.working_dir = PathBuf::from("/home");
        resolve(self.0).map_err(|report| report.problems().iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn understood(self) -> Understood {
        self.resolve().unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    #[track_caller]
    fn problems(self) -> Vec<String> {
        self.resolve().expect_err("a problem")
    }
}

/// Where a key's value in force came from.
#[track_caller]
fn origin(understood: &Understood, key: &str) -> String {
    let entry = understood.resolved.entries().iter().find(|entry| entry.key == key);
    entry.unwrap_or_else(|| panic!("no {key} in\n{}", understood.resolved)).at.to_string()
}

/// All of the settings, comparable.
fn told(understood: &Understood) -> String {
    format!("{:#?}", understood.settings)
}
