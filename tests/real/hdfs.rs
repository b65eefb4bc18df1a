//! The archive on a real HDFS: a NameNode and a DataNode, each a process of its own, read back by Hadoop's own shell.
//!
//! The gateway is killed while it archives, once with a try left open; the DataNode hangs, is killed, comes back; each
//! answer to a rename is lost at first; one NameNode of the name service swallows what it is sent; a name is taken.
//! Each span that was acknowledged is in each archive once, nothing unfinished is left, and the collector never waits.
#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

mod cluster;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cluster::{BLOCK_BYTES, Cluster, losing_renames, swallowing};
use flate2::read::MultiGzDecoder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::support::collector::Collector;
use crate::support::http::Client;
use crate::support::process::{Gateway, wait_for};

/// Each but the last ends in a kill.
const RUNS: u64 = 4;
/// Messages of one span, in a run.
const A_RUN: u64 = 60;
/// Of digits that do not compress: a run takes several blocks.
const TAG_BYTES: u64 = 4096;
const PATIENCE: Duration = Duration::from_secs(90);

struct Scene {
    cluster: Cluster,
    gateway: Gateway,
    sent: u64,
}

impl Scene {
    /// A run's worth of spans, each acknowledged.
    fn send(&mut self) {
        let mut client = Client::new(self.gateway.http);
        for _ in 0..A_RUN {
            self.sent += 1;
            let (id, mut chance) = (self.sent, fastrand::Rng::with_seed(self.sent));
            let tag: String = (0..TAG_BYTES / 16).map(|_| format!("{:016x}", chance.u64(..))).collect();
            let span = format!(r#"[{{"traceId":"{id:016x}","id":"{id:016x}","name":"get","tags":{{"x":"{tag}"}}}}]"#);
            let answer = client.post("/api/v2/spans", "application/json", span.as_bytes()).unwrap();
            assert_eq!(answer.status, 202);
        }
    }

    fn kill_and_start(&mut self) {
        self.gateway.process.kill();
        self.gateway.start_again();
    }

    /// Between two tries there is none for a moment: it is held while it is looked at. Gives the try's name.
    fn kill_with_a_try_open(&mut self, staging: &str) -> String {
        let pid = self.gateway.process.pid();
        wait_for("a try is under way", PATIENCE, || {
            kill_process(pid, Signal::STOP).unwrap();
            let left = self.cluster.names(staging).pop();
            match &left {
                Some(_) => self.gateway.process.kill(),
                None => kill_process(pid, Signal::CONT).unwrap(),
            }
            left
        })
    }

    fn wait_until_all_is_in(&self, drain: &str) {
        wait_for(&format!("{drain} has it all"), PATIENCE, || {
            Some(()).filter(|()| self.metric("spangate_drain_waiting_spans", drain) == 0.0)
        });
    }

    fn wait_for_failures(&self, drain: &str) {
        let before = self.metric("spangate_archive_failures_total", drain);
        wait_for(&format!("{drain} meets the failure"), PATIENCE, || {
            Some(()).filter(|()| self.metric("spangate_archive_failures_total", drain) > before)
        });
    }

    fn metric(&self, name: &str, drain: &str) -> f64 {
        self.gateway.metric(name, &[&format!("drain=\"{drain}\"")])
    }

    fn ready(&self) -> String {
        Client::new(self.gateway.admin).get("/ready").unwrap().text()
    }
}

/// Two archives and a collector: by a name service of Hadoop's configuration, and by a NameNode's address.
fn configuration(dir: &Path, lines: u16, collector: &Collector) -> String {
    let text = format!(
        "[drain.zipkin]\nsinks = [{{ url = \"{}\" }}]\n\
         [drain.archive]\narchive = \"none\"\n\
         [drain.rows]\narchive = \"hdfs://bulk/rows\"\nroll_idle = \"100ms\"\ntimeout = \"2s\"\n\
         [drain.lines]\narchive = \"hdfs://127.0.0.1:{lines}/lines\"\nroll_idle = \"100ms\"\ntimeout = \"3s\"\n\
         format = \"jsonl.gz\"\npath = \"\"\n",
        collector.url()
    );
    let file = dir.join("spangate.toml");
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn hdfs_holds_each_span_once_across_kills_of_both_sides() {
    let (dir, runtime) = (tempfile::tempdir().unwrap(), tokio::runtime::Runtime::new().unwrap());
    let collector = runtime.block_on(Collector::start());
    let cluster = Cluster::start(dir.path());
    let (lossy, lost) = losing_renames(cluster.port);
    let hadoop = cluster.client_configuration(&[swallowing(), cluster.port]);
    let file = configuration(dir.path(), lossy, &collector);
    let variables = [("HADOOP_CONF_DIR", hadoop.to_str().unwrap()), ("HADOOP_USER_NAME", "spans")];
    let gateway = Gateway::start_with(&dir.path().join("gateway"), &["-c", &file], &variables);
    let mut scene = Scene { cluster, gateway, sent: 0 };
    for run in 0..RUNS {
        scene.send();
        // Each run is killed a little further into an object.
        std::thread::sleep(Duration::from_millis(60 * run));
        if run + 1 < RUNS {
            scene.kill_and_start();
        }
    }
    scene.wait_until_all_is_in("rows");
    scene.wait_until_all_is_in("lines");
    assert!(lost() > 0, "an answer to a rename was lost");
    the_datanode_hangs_and_dies_and_comes_back(&mut scene);
    a_try_is_left_open_and_its_name_is_taken(&mut scene);
    let delivered = collector.taken();
    assert!((1..=scene.sent).all(|id| delivered.contains_key(&format!("{id:016x}"))));
    scene.gateway.stop();
    for prefix in ["rows", "lines"] {
        each_once(&[cat(&format!("hdfs://127.0.0.1:{}/{prefix}", scene.cluster.port))], scene.sent);
    }
    let read = dir.path().join("read");
    scene.cluster.read_all(&read);
    for prefix in ["rows", "lines"] {
        let objects = objects(&read.join(prefix));
        assert!(objects.iter().any(|(bytes, _)| *bytes > BLOCK_BYTES), "one takes more than a block");
        each_once(&objects.into_iter().map(|(_, ids)| ids).collect::<Vec<_>>(), scene.sent);
    }
}

/// The archives wait and go on; the collector has its spans meanwhile.
fn the_datanode_hangs_and_dies_and_comes_back(scene: &mut Scene) {
    scene.cluster.hang_datanode();
    scene.send();
    scene.wait_until_all_is_in("zipkin");
    for drain in ["rows", "lines"] {
        scene.wait_for_failures(drain);
        assert_ne!(scene.metric("spangate_drain_waiting_spans", drain), 0.0);
    }
    scene.cluster.kill_datanode();
    scene.wait_for_failures("rows");
    scene.cluster.start_datanode();
    scene.wait_until_all_is_in("rows");
    scene.wait_until_all_is_in("lines");
}

/// A kill leaves a try at an object open for writing, and meanwhile another object gets that one's name.
fn a_try_is_left_open_and_its_name_is_taken(scene: &mut Scene) {
    scene.cluster.kill_datanode();
    scene.send();
    scene.wait_for_failures("rows");
    let attempt = scene.kill_with_a_try_open("/lines/_spangate");
    let (object, _) = attempt.rsplit_once('.').expect("a try is called as its object, and by its number");
    scene.cluster.start_datanode();
    scene.cluster.copy_first("/lines", &format!("/lines/{object}"));
    scene.gateway.start_again();
    scene.wait_until_all_is_in("rows");
    let why = wait_for("the archive stops", PATIENCE, || {
        Some(scene.ready()).filter(|ready| ready.contains("is another object"))
    });
    assert!(why.contains(object) && why.contains("planned was") && why.contains("there is spangate/1"), "{why}");
    scene.cluster.remove(&format!("/lines/{object}"));
    scene.kill_and_start();
    scene.wait_until_all_is_in("lines");
    for staging in ["/rows/_spangate", "/lines/_spangate"] {
        assert_eq!(scene.cluster.names(staging), Vec::<String>::new(), "{staging} is empty");
    }
}

/// The ids that the program itself finds there.
fn cat(url: &str) -> Vec<String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_spangate"));
    let out = program.args(["archive", "cat", "--url", url]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    ids_of(&String::from_utf8(out.stdout).unwrap())
}

fn ids_of(lines: &str) -> Vec<String> {
    let id = |line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    lines.lines().map(id).collect()
}

/// Files under a directory: their lengths, and their ids.
fn objects(dir: &Path) -> Vec<(u64, Vec<String>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        match name.as_str() {
            _ if path.is_dir() => found.extend(objects(&path)),
            _ if name.ends_with(".parquet") => found.push(rows(std::fs::read(&path).unwrap())),
            _ if name.ends_with(".jsonl.gz") => found.push(lines(&std::fs::read(&path).unwrap())),
            other => panic!("{other} is none of ours"),
        }
    }
    found
}

fn rows(bytes: Vec<u8>) -> (u64, Vec<String>) {
    let len = bytes.len() as u64;
    let file = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    let ids = file.get_row_iter(None).unwrap().map(|row| row.unwrap().get_string(2).unwrap().clone());
    (len, ids.collect())
}

fn lines(bytes: &[u8]) -> (u64, Vec<String>) {
    let text = std::io::read_to_string(MultiGzDecoder::new(bytes)).unwrap();
    (bytes.len() as u64, ids_of(&text))
}

fn each_once(objects: &[Vec<String>], sent: u64) {
    let mut counts = BTreeMap::new();
    for id in objects.iter().flatten() {
        *counts.entry(id.clone()).or_insert(0) += 1;
    }
    assert_eq!(counts, (1..=sent).map(|id| (format!("{id:016x}"), 1)).collect());
}
