//! A NameNode and a DataNode on ports of their own, and what stands between them and the gateway.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use hdfs_native::{Client as Hdfs, ClientBuilder, WriteOptions};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::http::Client;
use crate::support::process::{Process, free_port, wait_for};

/// Small, so that an object has several.
pub const BLOCK_BYTES: u64 = 65_536;
const START: Duration = Duration::from_secs(90);
/// Who started the NameNode may do everything there.
const SUPERUSER: &str = "hdfs";
const NAMENODE: &str = "org.apache.hadoop.hdfs.server.namenode.NameNode";
const DATANODE: &str = "org.apache.hadoop.hdfs.server.datanode.DataNode";

pub struct Cluster {
    dir: PathBuf,
    /// Of the NameNode.
    pub port: u16,
    /// Of its status page.
    status: u16,
    client: Hdfs,
    runtime: Runtime,
    datanode: Option<Process>,
    _namenode: Process,
}

impl Cluster {
    /// Starts both in `dir` and waits until they serve; `/rows` and `/lines` are there, and `spans`'s.
    pub fn start(dir: &Path) -> Cluster {
        let (dir, port, status) = (dir.join("hdfs"), free_port(), free_port());
        let bind = |name: &str| (name.to_owned(), format!("127.0.0.1:{}", free_port()));
        let of = |name: &str, value: String| (name.to_owned(), value);
        let settings = [
            of("fs.defaultFS", format!("hdfs://127.0.0.1:{port}")),
            of("dfs.namenode.name.dir", dir.join("name").display().to_string()),
            of("dfs.datanode.data.dir", dir.join("data").display().to_string()),
            of("dfs.namenode.http-address", format!("127.0.0.1:{status}")),
            bind("dfs.datanode.address"),
            bind("dfs.datanode.http.address"),
            bind("dfs.datanode.ipc.address"),
            of("dfs.replication", "1".to_owned()),
            of("dfs.blocksize", BLOCK_BYTES.to_string()),
            of("dfs.namenode.fs-limits.min-block-size", "512".to_owned()),
        ];
        write_configuration(&dir.join("conf"), &settings);
        let format = java(&dir, NAMENODE).args(["-format", "-nonInteractive"]).output().unwrap();
        assert!(format.status.success(), "{}", String::from_utf8_lossy(&format.stderr));
        let namenode = Process::start(java(&dir, NAMENODE), &dir.join("namenode.log"));
        let url = format!("hdfs://127.0.0.1:{port}");
        let runtime = Runtime::new().unwrap();
        let client = ClientBuilder::new().with_url(url).with_user(SUPERUSER).with_io_runtime(runtime.handle().clone());
        let client = client.build().unwrap();
        let mut cluster = Cluster { dir, port, status, client, runtime, datanode: None, _namenode: namenode };
        cluster.start_datanode();
        for path in ["/rows", "/lines"] {
            cluster.ask(cluster.client.mkdirs(path, 0o755, true));
            cluster.ask(cluster.client.set_owner(path, Some("spans"), None));
        }
        cluster
    }

    /// Waits until the NameNode has heard of it. One that was killed a moment ago is thought to live: whoever needs its
    /// blocks then tries until they are there.
    pub fn start_datanode(&mut self) {
        let mut datanode = Process::start(java(&self.dir, DATANODE), &self.dir.join("datanode.log"));
        let mut status = Client::new(self.status);
        wait_for("the DataNode serves", START, || {
            datanode.must_run();
            let answer = status.get("/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState").ok()?;
            let beans: Value = serde_json::from_slice(&answer.body).ok()?;
            (beans["beans"][0]["NumLiveDataNodes"] == 1).then_some(())
        });
        self.datanode = Some(datanode);
    }

    /// It holds its connections and does nothing.
    pub fn hang_datanode(&self) {
        let datanode = self.datanode.as_ref().expect("it runs");
        kill_process(datanode.pid(), Signal::STOP).unwrap();
    }

    pub fn kill_datanode(&mut self) {
        drop(self.datanode.take());
    }

    /// Hadoop's configuration of a client that knows these NameNodes as the name service `bulk`.
    pub fn client_configuration(&self, namenodes: &[u16]) -> PathBuf {
        let dir = self.dir.join("client");
        let names: Vec<String> = (0..namenodes.len()).map(|n| format!("n{n}")).collect();
        let mut settings = vec![("dfs.ha.namenodes.bulk".to_owned(), names.join(","))];
        let address = |(name, port)| (format!("dfs.namenode.rpc-address.bulk.{name}"), format!("127.0.0.1:{port}"));
        settings.extend(names.iter().zip(namenodes).map(address));
        write_configuration(&dir, &settings);
        dir
    }

    /// Names in a directory.
    pub fn names(&self, dir: &str) -> Vec<String> {
        let found = self.ask(self.client.list_status(dir, false));
        found.iter().map(|file| file.path.rsplit('/').next().unwrap().to_owned()).collect()
    }

    /// Makes a copy of the first object in a directory, as soon as its blocks can be read and others written.
    pub fn copy_first(&self, dir: &str, to: &str) {
        let names = self.names(dir);
        let first = names.iter().find(|name| name.ends_with(".gz")).expect("an object");
        let copied = || async {
            let mut from = self.client.read(&format!("{dir}/{first}")).await?;
            let bytes = from.read_bytes(from.file_length()).await?;
            let mut copy = self.client.create(to, WriteOptions::default().overwrite(true)).await?;
            copy.write_bytes(bytes).await?;
            copy.close().await
        };
        wait_for("the DataNode has its blocks", START, || self.try_to(copied()).ok());
    }

    pub fn remove(&self, path: &str) {
        assert!(self.ask(self.client.delete(path, false)));
    }

    /// Copies both archives into a directory, by Hadoop's own shell.
    pub fn read_all(&self, to: &Path) {
        for (name, from) in [("rows", "/rows/dt*"), ("lines", "/lines/*.gz")] {
            let to = to.join(name);
            std::fs::create_dir_all(&to).unwrap();
            let mut shell = java(&self.dir, "org.apache.hadoop.fs.FsShell");
            let out = shell.args(["-get", from]).arg(&to).output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        }
    }

    fn ask<T>(&self, asked: impl Future<Output = hdfs_native::Result<T>>) -> T {
        self.try_to(asked).unwrap()
    }

    fn try_to<T>(&self, asked: impl Future<Output = hdfs_native::Result<T>>) -> hdfs_native::Result<T> {
        self.runtime.block_on(async { tokio::time::timeout(START, asked).await }).expect("an answer")
    }
}

fn write_configuration(dir: &Path, settings: &[(String, String)]) {
    std::fs::create_dir_all(dir).unwrap();
    let property =
        |(name, value): &(String, String)| format!("<property><name>{name}</name><value>{value}</value></property>\n");
    let text: String = settings.iter().map(property).collect();
    let text = format!("<?xml version=\"1.0\"?>\n<configuration>\n{text}</configuration>\n");
    for file in ["core-site.xml", "hdfs-site.xml"] {
        std::fs::write(dir.join(file), &text).unwrap();
    }
    let logs = "log4j.rootLogger=INFO, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n\
        log4j.appender.out.layout=org.apache.log4j.PatternLayout\n\
        log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n\n";
    std::fs::write(dir.join("log4j.properties"), logs).unwrap();
}

/// With little to compile and one thread that collects: two cores are shared by all of it.
fn java(dir: &Path, class: &str) -> Command {
    let jars = std::env::var("REAL_HDFS").expect("REAL_HDFS: run `make real`");
    let mut command = Command::new("java");
    command.args(["-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(format!("{}:{jars}/*", dir.join("conf").display())).arg(class);
    command.env("HADOOP_USER_NAME", SUPERUSER).env_remove("HADOOP_CONF_DIR");
    command
}

/// A NameNode that takes connections and never says a word.
pub fn swallowing() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    port
}

/// A way to the NameNode on which the first answers to renames are lost, with their connections; and how many were.
pub fn losing_renames(namenode: u16) -> (u16, impl Fn() -> u32) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let lost = Arc::new(AtomicU32::new(0));
    let counted = lost.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, lost) = (client.unwrap(), lost.clone());
            if let Ok(server) = TcpStream::connect(("127.0.0.1", namenode)) {
                thread::spawn(move || pass(&client, &server, &lost));
            }
        }
    });
    (port, move || counted.load(Ordering::Relaxed))
}

/// Then the way is a good one.
const LOST_MAX: u32 = 6;

/// Both ways until one ends; an answer that comes after a rename was asked for ends both.
fn pass(client: &TcpStream, server: &TcpStream, lost: &AtomicU32) {
    let asked = AtomicBool::new(false);
    // The other end may have hung up itself.
    let hang_up = || [client, server].into_iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    thread::scope(|scope| {
        scope.spawn(|| {
            copy(client, server, |bytes| {
                if bytes.windows(7).any(|word| word == b"rename2") && lost.load(Ordering::Relaxed) < LOST_MAX {
                    asked.store(true, Ordering::Relaxed);
                }
                true
            });
            hang_up();
        });
        copy(server, client, |_| {
            let lose = asked.load(Ordering::Relaxed);
            lost.fetch_add(u32::from(lose), Ordering::Relaxed);
            !lose
        });
        hang_up();
    });
}

/// Until either ends or `go_on` says no to what was read.
fn copy(mut from: &TcpStream, mut to: &TcpStream, go_on: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if !go_on(&buffer[..len]) || to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
}
