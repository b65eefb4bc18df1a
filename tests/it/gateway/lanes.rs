//! Directories by service and category, through the real program: kills and reloads in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tempfile::TempDir;

use super::rig::{Sender, http, objects, scribe, spans_of, wait_until_all};
use crate::support::http::Client;
use crate::support::process::Gateway;

/// An archive in `dir` whose lanes close at once, one after the other.
fn file(dir: &Path, path: &str) -> String {
    let archive = dir.join("spans");
    format!(
        "[http]\nlabels = {{ zone = \"eu/1\" }}\n[drain.archive]\narchive = \"file://{}\"\nformat = \"jsonl.gz\"\n\
         path = \"{path}\"\nroll_size = \"1KiB\"\nroll_idle = \"300ms\"\n",
        archive.display()
    )
}

fn archived(dir: &Path) -> BTreeMap<String, u32> {
    spans_of(objects(&dir.join("spans")))
}

/// Directories that hold objects, below `dir`.
fn directories(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![dir.to_owned()];
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false => _ = found.insert(at.strip_prefix(dir).unwrap().display().to_string()),
            }
        }
    }
    found
}

fn reload(gateway: &Gateway, config: &Path, text: &str) {
    std::fs::write(config, text).unwrap();
    let answer = Client::new(gateway.admin).request("POST", "/reload", &[("spangate-admin", "1")], b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_and_category_has_its_directory_through_kills_and_other_paths() {
    let dir = TempDir::new().unwrap();
    let config = dir.path().join("spangate.toml");
    let paths = ["{service}/%{category}", "c=%{category}/s={service}/{zone}", "%Y", "{peer}/{service}"];
    std::fs::write(&config, file(dir.path(), paths[0])).unwrap();
    let mut gateway = Gateway::start(dir.path(), &["-c", &config.display().to_string()]);
    let mut sender = Sender::from(1);
    let mut send = |gateway: &Gateway| {
        for _ in 0..20 {
            assert!(sender.post(&mut http(gateway), 10) && sender.log(&mut scribe(gateway), 3));
        }
        sender.acknowledged.clone()
    };
    for path in &paths[1..] {
        send(&gateway);
        gateway.process.kill();
        std::fs::write(&config, file(dir.path(), path)).unwrap();
        gateway.start_again();
        send(&gateway);
        reload(&gateway, &config, &file(dir.path(), paths[0]));
        send(&gateway);
        reload(&gateway, &config, &file(dir.path(), path));
    }
    let acknowledged = send(&gateway);
    wait_until_all("archived", &acknowledged, || archived(dir.path()));
    gateway.stop();
    let found = archived(dir.path());
    assert!(found.values().all(|times| *times == 1), "something stands in the archive twice");
    assert!(found.keys().all(|id| acknowledged.contains(id)), "something was never sent");
    let directories = directories(&dir.path().join("spans"));
    for expected in ["shop/none", "c=none/s=shop/eu%2F1", "127.0.0.1/shop"] {
        assert!(directories.contains(expected), "{expected} is not among {directories:?}");
    }
    assert!(directories.iter().any(|dir| dir.ends_with("/zipkin")), "{directories:?}");
}
