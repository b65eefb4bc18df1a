//! Starts that are refused, each with its exit code and a message that helps.

use std::process::Output;

use tempfile::TempDir;

use super::rig::{Sender, http};
use crate::support::collector::Collector;
use crate::support::process::{Gateway, free_port};

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_spangate")).args(arguments).output().unwrap()
}

pub fn refused(output: &Output, code: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} are not all in: {text}");
}

#[test]
fn a_data_directory_in_use_and_a_port_in_use_are_named() {
    let dir = TempDir::new().unwrap();
    let mut gateway = Gateway::start(dir.path(), &[]);
    let data = dir.path().join("data").display().to_string();
    refused(&run(&["run", "--data", &data]), 3, &[&data, "in use", "--data"]);
    let other = TempDir::new().unwrap().path().join("other").display().to_string();
    let taken = format!("127.0.0.1:{}", gateway.http);
    let output = run(&["run", "--data", &other, "--scribe-address", "127.0.0.1:0", "--http-address", &taken]);
    refused(&output, 3, &[&taken, "--http-address"]);
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_is_gone_while_spans_wait_for_it_refuses_the_start_until_it_is_given_up() {
    let dir = TempDir::new().unwrap();
    let collector = Collector::absent();
    let mut gateway = Gateway::start(dir.path(), &["--collector", &collector.url()]);
    assert!(Sender::from(1).post(&mut http(&gateway), 7));
    gateway.stop();
    let data = dir.path().join("data").display().to_string();
    let start = |more: &[&str]| {
        let addresses = ["--scribe-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"];
        run(&[&["run", "--data", &data][..], &addresses, &["--admin-address", "127.0.0.1:0"], more].concat())
    };
    refused(&start(&[]), 2, &["zipkin", "7 spans", "retired = true", "spangate channel forget zipkin"]);
    let asked = run(&["channel", "forget", "zipkin", "--data", &data]);
    assert!(String::from_utf8_lossy(&asked.stdout).contains("7 spans"), "{asked:?}");
    refused(&start(&[]), 2, &["7 spans"]);
    assert!(run(&["channel", "forget", "zipkin", "--data", &data, "--yes"]).status.success());
    gateway.replace_argument(&collector.url(), "http://127.0.0.1:9");
    gateway.start_again();
    assert_eq!(gateway.metric("spangate_drain_waiting_spans", &["drain=\"zipkin\""]), 0.0, "it began anew");
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_drain_is_given_up_at_the_start() {
    let dir = TempDir::new().unwrap();
    let collector = Collector::absent();
    let mut gateway = Gateway::start(dir.path(), &["--collector", &collector.url()]);
    assert!(Sender::from(1).post(&mut http(&gateway), 7));
    gateway.stop();
    let file = dir.path().join("spangate.toml");
    std::fs::write(&file, "[drain.zipkin]\nretired = true\n").unwrap();
    let mut again = Gateway::start(dir.path(), &["-c", &file.display().to_string()]);
    assert_eq!(again.metric("spangate_drain_waiting_spans", &["drain=\"zipkin\""]), 0.0);
    again.stop();
}

#[test]
fn a_port_given_to_two_gateways_at_once_costs_the_second_one_nothing_on_disk() {
    let dir = TempDir::new().unwrap();
    let port = free_port();
    let _holder = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let data = dir.path().join("data");
    let address = format!("127.0.0.1:{port}");
    let output = run(&["run", "--data", &data.display().to_string(), "--scribe-address", &address]);
    refused(&output, 3, &[&address, "--scribe-address"]);
    assert!(!data.join("channel").exists(), "the log was opened before the ports were ours");
}

#[test]
fn a_token_that_is_missing_or_too_short_refuses_the_start_and_is_not_shown() {
    let dir = TempDir::new().unwrap();
    let (data, file) = (dir.path().join("data").display().to_string(), dir.path().join("token"));
    let path = file.display().to_string();
    let start = || run(&["run", "--data", &data, "--admin-token-file", &path]);
    refused(&start(), 2, &["admin.token_file", &path, "No such file"]);
    std::fs::write(&file, "too-short\n").unwrap();
    let output = start();
    refused(&output, 2, &["admin.token_file", &path, "16 to 512"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("too-short"), "{output:?}");
    std::fs::write(&file, "a-secret-of-22-letters\n").unwrap();
    let resolved = run(&["check", "--resolved", "--admin-token-file", &path]);
    let text = String::from_utf8_lossy(&resolved.stdout);
    assert!(text.contains(&format!("admin.token_file = \"{path}\"")) && !text.contains("a-secret"), "{text}");
}

#[test]
fn a_configuration_of_hadoops_that_is_no_xml_refuses_the_start() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("core-site.xml"), "<configuration><property>").unwrap();
    let data = dir.path().join("data").display().to_string();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spangate"));
    command.args(["run", "--data", &data, "--archive", "hdfs://namenode/spans"]);
    for address in ["--scribe-address", "--http-address", "--admin-address"] {
        command.args([address, "127.0.0.1:0"]);
    }
    let output = command.env("HADOOP_CONF_DIR", dir.path()).output().unwrap();
    refused(&output, 2, &["hdfs://namenode/spans", "Hadoop's configuration", "XML"]);
}
