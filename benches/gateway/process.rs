//! A process that is measured: started, watched from outside, and killed when its run is over.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A busy machine starts slowly.
const START_MAX: Duration = Duration::from_secs(20);
/// For a backlog of an archive: longer than any run.
const EMPTY_MAX: Duration = Duration::from_secs(120);
/// A scrape costs the gateway about as much as a thousand spans: seldom, then.
const SCRAPE_POLL: Duration = Duration::from_millis(200);

pub struct Process(Child);

impl Process {
    pub fn start(mut command: Command) -> io::Result<Process> {
        Ok(Process(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it listens on `port`.
    pub fn wait_for(&mut self, port: u16) -> io::Result<()> {
        self.wait_until("the process does not listen", || TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    /// Waits until it has started as `done` sees it; else the error is `what`.
    pub fn wait_until(&mut self, what: &str, done: impl Fn() -> bool) -> io::Result<()> {
        let begun = Instant::now();
        while !done() {
            if let Some(status) = self.0.try_wait()? {
                return Err(io::Error::other(format!("the process ended: {status}")));
            }
            if begun.elapsed() > START_MAX {
                return Err(io::Error::other(what));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub fn end(mut self) -> io::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.0.wait().map(drop)
    }

    /// User and system time of all its threads; /proc counts in hundredths.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("/proc");
        let fields: Vec<_> = stat.rsplit(')').next().expect("the fields").split_whitespace().collect();
        (fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime")) / 100.0
    }

    pub fn peak_resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("/proc");
        let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("VmHWM");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until no drain of the gateway with this admin port has anything left.
pub fn wait_drained(admin: u16) -> io::Result<()> {
    let begun = Instant::now();
    while waiting(&scrape(admin)?) > 0.0 {
        if begun.elapsed() > EMPTY_MAX {
            return Err(io::Error::other("the gateway does not become empty"));
        }
        std::thread::sleep(SCRAPE_POLL);
    }
    Ok(())
}

/// Spans that wait, of all drains.
fn waiting(scrape: &str) -> f64 {
    let lines = scrape.lines().filter(|line| line.starts_with("spangate_drain_waiting_spans{"));
    let number = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    let values: Vec<f64> = lines.map(number).collect();
    assert!(!values.is_empty(), "a gateway has a drain");
    values.iter().sum()
}

/// The text of `/metrics`.
pub fn scrape(admin: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", admin))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// `N` ports that are free now.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    // All are held until all are known: none is given twice.
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; N];
    for (port, held) in ports.iter_mut().zip(&held) {
        let held = held.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
        *port = held.local_addr()?.port();
    }
    Ok(ports)
}
