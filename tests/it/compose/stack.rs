//! Readers of docker-compose.yml and of the Dockerfile: as much of both as these two files use, and no more.
//!
//! What they do not know they refuse, so that a line which no test understands does not go unread.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::dashboard::{text, yaml};

/// docker-compose.yml.
pub struct Stack {
    pub whole: Value,
}

/// A port of the host, as it may be changed, and the container's.
#[derive(Debug, PartialEq, Eq)]
pub struct Port {
    pub variable: String,
    pub host: u16,
    pub container: u16,
}

impl Stack {
    pub fn read() -> Stack {
        Stack { whole: yaml("docker-compose.yml") }
    }

    pub fn services(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.whole["services"].as_object().unwrap().iter().map(|(name, service)| (name.as_str(), service))
    }

    pub fn service(&self, name: &str) -> &Value {
        self.services().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no service {name}")).1
    }

    pub fn environment(&self, name: &str) -> BTreeMap<String, String> {
        let Some(map) = self.service(name)["environment"].as_object() else { return BTreeMap::new() };
        map.iter().map(|(key, value)| (key.clone(), value.as_str().expect("a variable is a string").into())).collect()
    }

    /// Each has the form `${VARIABLE:-HOST}:CONTAINER`.
    pub fn ports(&self, name: &str) -> Vec<Port> {
        strings(&self.service(name)["ports"]).into_iter().map(|text| port(&text)).collect()
    }

    /// (source, place) of each volume.
    pub fn volumes(&self, name: &str) -> Vec<(String, String)> {
        let split = |text: String| {
            let mut parts = text.split(':');
            (parts.next().unwrap().to_owned(), parts.next().expect("a volume has a place").to_owned())
        };
        strings(&self.service(name)["volumes"]).into_iter().map(split).collect()
    }

    /// The services that must be healthy before this one starts.
    pub fn waits_for(&self, name: &str) -> Vec<String> {
        let Some(map) = self.service(name)["depends_on"].as_object() else { return Vec::new() };
        map.iter().filter(|(_, how)| how["condition"] == "service_healthy").map(|(name, _)| name.clone()).collect()
    }
}

fn port(text: &str) -> Port {
    let read = || {
        let (variable, rest) = text.strip_prefix("${")?.split_once(":-")?;
        let (host, container) = rest.split_once("}:")?;
        Some(Port { variable: variable.into(), host: host.parse().ok()?, container: container.parse().ok()? })
    };
    read().unwrap_or_else(|| panic!("{text}: not of the form ${{VARIABLE:-HOST}}:CONTAINER"))
}

/// A list of strings; nothing where there is none.
pub fn strings(list: &Value) -> Vec<String> {
    let Some(list) = list.as_array() else { return Vec::new() };
    list.iter().map(|item| item.as_str().expect("a list of strings").to_owned()).collect()
}

/// The Dockerfile: (instruction, the rest of it), continued lines joined.
pub struct Dockerfile {
    pub lines: Vec<(String, String)>,
}

const KNOWN: &[&str] =
    &["ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "VOLUME", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"];

impl Dockerfile {
    pub fn read() -> Dockerfile {
        let text = text("Dockerfile").replace("\\\n", " ");
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
            let (word, rest) = line.split_once(' ').unwrap();
            assert!(KNOWN.contains(&word), "Dockerfile: {word} is not understood here");
            (word.to_owned(), rest.trim().to_owned())
        });
        Dockerfile { lines: lines.collect() }
    }

    pub fn all(&self, word: &str) -> Vec<&str> {
        self.lines.iter().filter(|(known, _)| known == word).map(|(_, rest)| rest.as_str()).collect()
    }

    /// The only one of its kind.
    pub fn one(&self, word: &str) -> &str {
        let all = self.all(word);
        assert_eq!(all.len(), 1, "{word} stands once in the Dockerfile");
        all[0]
    }

    /// The default images of its stages.
    pub fn bases(&self) -> Vec<String> {
        let default = |name: &str| self.all("ARG").iter().find_map(|arg| Some(arg.strip_prefix(name)?[1..].to_owned()));
        let image = |from: &&str| {
            let image = from.split(' ').next().unwrap();
            match image.strip_prefix("${").and_then(|name| name.strip_suffix('}')) {
                Some(name) => default(name).unwrap_or_else(|| panic!("{name} has no default")),
                None => image.to_owned(),
            }
        };
        self.all("FROM").iter().map(image).collect()
    }

    /// ENTRYPOINT and CMD, in the form that needs no shell.
    pub fn command(&self) -> Vec<String> {
        [exec(self.one("ENTRYPOINT")), exec(self.one("CMD"))].concat()
    }

    /// Of the stage that runs, which is the last.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let run = self.lines.iter().rposition(|(word, _)| word == "FROM").expect("there is a stage");
        let set = self.lines[run..].iter().filter(|(word, _)| word == "ENV");
        let pair = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        set.map(|(_, text)| pair(text).expect("NAME=VALUE")).collect()
    }

    pub fn health_check(&self) -> Vec<String> {
        exec(self.one("HEALTHCHECK").split_once("CMD ").expect("a health check has a command").1)
    }
}

fn exec(form: &str) -> Vec<String> {
    serde_json::from_str(form).unwrap_or_else(|error| panic!("{form}: {error}"))
}
