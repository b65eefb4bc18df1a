//! Where a named archive's objects stand: by day and hour of receipt, or as the template says that is in force.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::rig::{LIMIT, Sender, http, objects, spans_of};
use crate::support::process::{Gateway, wait_for};

/// The directories below one, staging apart, that hold files: each by its path from it.
fn directories(dir: &Path) -> Vec<String> {
    let list = "find . -name _spangate -prune -o -type f -printf '%h\\n' | sort -u | cut -c3-";
    let found = Command::new("sh").args(["-c", list]).current_dir(dir).output().unwrap();
    assert!(found.status.success());
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// What `date` says of now.
fn date(format: &str) -> String {
    let said = Command::new("date").args(["-u", format]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

fn configure(dir: &TempDir, more: &str) {
    let objects = dir.path().join("objects");
    let archive = format!("[drain.archive]\narchive = \"file://{}\"\nformat = \"jsonl.gz\"\n", objects.display());
    std::fs::write(dir.path().join("spangate.toml"), archive + more).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_stand_by_day_and_hour_and_after_a_kill_and_a_change_by_the_new_template() {
    let dir = TempDir::new().unwrap();
    let (file, store) = (dir.path().join("spangate.toml"), dir.path().join("objects"));
    configure(&dir, "roll_idle = \"100ms\"\n");
    let mut gateway = Gateway::start(dir.path(), &["-c", file.to_str().unwrap()]);
    let (mut sender, before) = (Sender::from(1), date("+dt=%Y-%m-%d/hour=%H"));
    assert!(sender.post(&mut http(&gateway), 10));
    wait_for("an object", LIMIT, || (spans_of(objects(&store)).len() == 10).then_some(()));
    let by_hour = directories(&store);
    assert!(by_hour == [before] || by_hour == [date("+dt=%Y-%m-%d/hour=%H")], "{by_hour:?}");

    configure(&dir, "path = \"by %j\"\n");
    gateway.process.kill();
    let problem = Command::new(env!("CARGO_BIN_EXE_spangate")).args(["check", "-c"]).arg(&file).output().unwrap();
    assert_eq!(problem.status.code(), Some(2));
    let said = String::from_utf8_lossy(&problem.stderr).into_owned();
    assert!(said.contains("drain.archive.path: found \"by %j\"") && said.contains("at character 3, ' '"), "{said}");

    configure(&dir, "path = \"by-year/%Y/{channel}\"\nzone = \"+02:00\"\nround = \"10m\"\n");
    gateway.start_again();
    assert!(sender.post(&mut http(&gateway), 10));
    gateway.stop();
    let found = spans_of(objects(&store));
    assert!(found.len() == 20 && found.values().all(|times| *times == 1), "{found:?}");
    let all = directories(&store);
    let [by_year, old] = &all[..] else { panic!("{all:?}") };
    assert_eq!(*old, by_hour[0]);
    assert!(by_year.starts_with("by-year/20") && by_year.len() == "by-year/2026/".len() + 32, "{by_year}");
}
