//! The real program as a child process: its own directory, its own ports, killed or stopped at will.
//!
//! Ports are chosen below the range from which the system takes the ports of outgoing connections: a gateway that is
//! killed and started again must find its port free, and a client that dials a dead port must not reach itself.
//! Every failure shows the end of the program's log.
#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::http::Client;

/// Below Linux's default `ip_local_port_range` of 32768 to 60999.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Ports of one process of tests: whoever listens on the first of them has the others, too.
const BLOCK: u16 = 500;

/// A port that nobody listens on. No other process of tests gives it out, and this one not before it gave out the rest
/// of its block: it stays free while the gateway that had it is dead.
pub fn free_port() -> u16 {
    static FIRST: LazyLock<TcpListener> = LazyLock::new(|| {
        let mut firsts = PORTS.step_by(usize::from(BLOCK));
        firsts.find_map(listen).unwrap_or_else(|| panic!("no block of ports is free in {PORTS:?}"))
    });
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = FIRST.local_addr().expect("it listens").port();
    let mut ports = (1..BLOCK).map(|_| first + 1 + NEXT.fetch_add(1, Ordering::Relaxed) % (BLOCK - 1));
    ports.find(|port| listen(*port).is_some()).unwrap_or_else(|| panic!("no free port behind {first}"))
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok()
}

/// Waits until `ready` says something, looking every 50 ms; panics with `what` after `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A child that dies with its owner.
pub struct Process {
    pub child: Child,
    pub log: PathBuf,
}

impl Process {
    /// Starts `command` with both its outputs appended to `log`.
    pub fn start(mut command: Command, log: &Path) -> Process {
        let out: File = OpenOptions::new().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Process { child, log: log.to_owned() }
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        let text =
            std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Panics, with the log, if it has ended.
    pub fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("it ended with {status}; its log ({}):\n{}", self.log.display(), self.tail());
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop by `signal` and waits for its end.
    pub fn stop(&mut self, signal: rustix::process::Signal, limit: Duration) -> ExitStatus {
        rustix::process::kill_process(self.pid(), signal).unwrap();
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < limit, "did not stop within {limit:?}; its log:\n{}", self.tail());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already dead is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The gateway under test.
pub struct Gateway {
    pub process: Process,
    pub dir: PathBuf,
    pub scribe: u16,
    pub http: u16,
    pub admin: u16,
    /// The program and what it is told; before it, what starts it where it is to run.
    line: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Gateway {
    /// Starts it in `dir` (data in `dir/data`) on ports of its own, and waits until it takes spans.
    pub fn start(dir: &Path, arguments: &[&str]) -> Gateway {
        Gateway::start_with(dir, arguments, &[])
    }

    /// The same, with these in its environment.
    pub fn start_with(dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Gateway {
        Gateway::start_by(&[], dir, arguments, variables)
    }

    /// The same, started by a program that becomes it (`nsenter ... spangate run ...`).
    pub fn start_by(before: &[String], dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Gateway {
        std::fs::create_dir_all(dir).unwrap();
        let (scribe, http, admin) = (free_port(), free_port(), free_port());
        let data = dir.join("data").display().to_string();
        let mut line = [before, &[env!("CARGO_BIN_EXE_spangate"), "run", "--data", &data].map(str::to_owned)].concat();
        for (flag, port) in [("--scribe-address", scribe), ("--http-address", http), ("--admin-address", admin)] {
            line.extend([flag.to_owned(), format!("127.0.0.1:{port}")]);
        }
        line.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let variables: Vec<_> = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let process = launch(dir, &line, &variables);
        let mut gateway = Gateway { process, dir: dir.to_owned(), scribe, http, admin, line, variables };
        gateway.wait_for_status("/ready");
        gateway
    }

    /// Starts it again as it was, and waits for nothing; it must be dead.
    pub fn launch(&mut self) {
        self.process = launch(&self.dir, &self.line, &self.variables);
    }

    /// Starts it again as it was; it must be dead.
    pub fn start_again(&mut self) {
        self.launch();
        self.wait_for_status("/ready");
    }

    /// The same where intake is expected to be stopped, so that it is alive and not ready.
    pub fn start_again_without_room(&mut self) {
        self.launch();
        self.wait_for_status("/health");
    }

    /// For the next start: `new` where `old` was given.
    pub fn replace_argument(&mut self, old: &str, new: &str) {
        let argument = self.line.iter_mut().find(|argument| *argument == old).expect("it was given");
        new.clone_into(argument);
    }

    fn wait_for_status(&mut self, path: &str) {
        let mut client = Client::new(self.admin);
        let process = &mut self.process;
        wait_for(&format!("{path} says yes"), Duration::from_secs(30), || {
            process.must_run();
            client.get(path).ok().filter(|answer| answer.status == 200)
        });
    }

    /// SIGTERM; it must exit with 0.
    pub fn stop(&mut self) {
        let status = self.process.stop(rustix::process::Signal::TERM, Duration::from_secs(30));
        assert!(status.success(), "stopped with {status}; its log:\n{}", self.process.tail());
    }

    /// The sum of a metric's series that carry all of `labels` (as in `drain="zipkin"`).
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let answer = Client::new(self.admin).get("/metrics").unwrap_or_else(|error| panic!("/metrics: {error}"));
        sum(&answer.text(), name, labels)
    }
}

fn launch(dir: &Path, line: &[String], variables: &[(String, String)]) -> Process {
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).envs(variables.iter().cloned()).current_dir(dir);
    Process::start(command, &dir.join("log"))
}

/// Adds up the series of `name` in Prometheus text that carry all of `labels`.
pub fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    let of_family = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines()
        .filter(of_family)
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap_or_else(|_| panic!("no number: {line}")))
        .sum()
}
