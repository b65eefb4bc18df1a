//! The systemd unit, held against the program that it starts; and against systemd, where that is installed.
#![expect(clippy::disallowed_methods, reason = "a copy for systemd to read")]

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const UNIT: &str = include_str!("../../deploy/systemd/spangate.service");
const PROGRAM: &str = "/usr/local/bin/spangate";
const FILE: &str = "/etc/spangate/spangate.toml";

fn value(key: &str) -> &'static str {
    let line = UNIT.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("{key} is not in the unit"))
}

#[test]
fn what_the_unit_starts_is_a_command_line_that_is_understood() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/spangate.reference.toml");
    for (key, verb) in [("ExecReload", "check"), ("ExecStart", "run")] {
        let words: Vec<&str> = value(key).split(' ').collect();
        assert_eq!(words[..4], [PROGRAM, verb, "-c", FILE], "{key}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
        let output = command.args(["check", "-c"]).arg(&reference).args(&words[4..]).env_clear().output().unwrap();
        assert!(output.status.success(), "{key}: {output:?}");
    }
    assert!(UNIT.contains("\nExecReload=/bin/kill -HUP $MAINPID\n"));
}

#[test]
fn the_unit_gives_a_stop_its_time_and_restarts_only_what_a_restart_mends() {
    let stop = spangate::config::defaults("/".into()).stop_timeout.as_secs();
    let given: u64 = value("TimeoutStopSec").trim_end_matches('s').parse().unwrap();
    assert!(given > stop, "{given} s for a stop of {stop} s");
    assert_eq!((value("Restart"), value("RestartPreventExitStatus")), ("on-failure", "2 3 4"));
}

/// Says so and passes where there is no systemd.
#[test]
fn systemd_finds_no_fault_in_the_unit() {
    let dir = TempDir::new().unwrap();
    let unit = dir.path().join("spangate.service");
    std::fs::write(&unit, UNIT.replace(PROGRAM, env!("CARGO_BIN_EXE_spangate"))).unwrap();
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&unit).output() else {
        return println!("there is no systemd-analyze here: the unit was not verified");
    };
    let text = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = text.lines().filter(|line| line.contains("spangate.service")).collect();
    assert!(output.status.success() && complaints.is_empty(), "{output:?}");
}
