//! The README from top to bottom: its commands as printed, in a fresh directory, on the default ports.
//!
//! `cargo run` runs on a terminal of its own (terminal.py), so that the block which a person sees is there: its `curl`
//! and `zcat` lines are run, too. A default port that is taken fails the test at once and is named.
#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::http::Client;
use crate::support::process::{Process, wait_for};

const PORTS: [u16; 3] = [1463, 9411, 9412];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The fenced blocks of this language below a heading.
fn blocks(readme: &str, heading: &str, language: &str) -> Vec<String> {
    let section = readme.split("\n## ").find(|section| section.starts_with(heading));
    let section = section.unwrap_or_else(|| panic!("the README has no section `{heading}`"));
    let fence = format!("```{language}\n");
    section.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn shell(dir: &Path, script: &str) -> Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_spangate")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    Command::new("sh").args(["-ec", script]).current_dir(dir).env("PATH", path).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// `cargo run` as a person starts it; ready to take spans.
fn start(dir: &Path, script: &str) -> Process {
    let python = std::env::var("REAL_PYTHON").expect("REAL_PYTHON: run `make real`");
    let mut command = Command::new(python);
    // `exec`, so that Ctrl-C is the program's alone and the code is its own; cargo hands over likewise.
    let script = format!("exec {script}");
    command.arg(root().join("tests/real/terminal.py")).args(["sh", "-c", &script]).current_dir(dir);
    // What cargo tells its tests a person's shell does not know; build scripts would take it for a change.
    let told = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|start| name.starts_with(start));
    for (name, _) in std::env::vars().filter(|(name, _)| told(name)) {
        command.env_remove(name);
    }
    let mut process = Process::start(command, &dir.join("terminal"));
    let mut client = Client::new(9412);
    wait_for("the README's `cargo run` is ready", Duration::from_secs(300), || {
        process.must_run();
        client.get("/ready").ok().filter(|answer| answer.status == 200)
    });
    process
}

/// What the terminal shows, once it shows `mark`.
fn screen(process: &Process, mark: &str) -> String {
    wait_for(&format!("`{mark}` on the terminal"), Duration::from_secs(5), || {
        Some(std::fs::read_to_string(&process.log).unwrap().replace('\r', "")).filter(|text| text.contains(mark))
    })
}

fn sends_and_shows(dir: &Path, send: &str, show: &str) {
    let sent = text(&shell(dir, send));
    assert!(sent.contains("202 Accepted"), "{send}\n{sent}");
    let limit = Duration::from_secs(10);
    let shown =
        wait_for(show, limit, || Some(text(&shell(dir, show))).filter(|text| text.contains("\"name\":\"hello\"")));
    println!("{show}\n  {}", shown.trim());
}

#[test]
fn the_readme_runs_as_it_is_printed() {
    for port in PORTS {
        let free = TcpListener::bind(("0.0.0.0", port));
        assert!(free.is_ok(), "port {port} is taken: stop what listens there, the README's commands need it");
    }
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let [run, send, show, collectors] = &blocks(&readme, "Try it", "sh")[..] else { panic!("four blocks in `Try it`") };
    // Inside the repository, so that cargo finds it; fresh, so that the data directory is.
    let dir: PathBuf = root().join(".real/readme");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();

    let mut process = start(&dir, run);
    sends_and_shows(&dir, send, show);
    let screen_text = screen(&process, "zcat ");
    let line = |command: &str| {
        let found = screen_text.lines().map(str::trim).rfind(|line| line.starts_with(command));
        found.unwrap_or_else(|| panic!("no line `{command}` on the terminal:\n{screen_text}")).to_owned()
    };
    assert!(screen_text.contains("none: add --collector"), "{screen_text}");
    sends_and_shows(&dir, &line("curl "), &line("zcat "));
    stop(&mut process);

    let mut process = start(&dir, collectors);
    assert!(screen(&process, "zipkin-2:9411").contains("zipkin-1:9411"));
    stop(&mut process);
    configuration(&dir, &readme);
}

fn stop(process: &mut Process) {
    let status = process.stop(rustix::process::Signal::TERM, Duration::from_secs(30));
    assert!(status.success(), "Ctrl-C: {status}\n{}", process.tail());
}

/// Each of the README's example files passes the README's checks.
fn configuration(dir: &Path, readme: &str) {
    for toml in blocks(readme, "Configuration", "toml") {
        std::fs::write(dir.join("spangate.toml"), &toml).unwrap();
        for check in blocks(readme, "Configuration", "sh") {
            let output = shell(dir, &check);
            assert!(output.status.success(), "{toml}\n{check}\n{}", text(&output));
        }
    }
}
