//! Real Zipkin servers (`java -jar`), and a gate before each that can take it away.
//!
//! The jar comes from `make real` (`REAL_ZIPKIN_JAR`). Storage is in memory and holds more than any test sends.
//! A server dies with its handle.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::http::Client;
use crate::support::process::{Process, free_port, sum, wait_for};

/// Trace ids of one `traceMany` request: 100 of at most 33 characters stay below its request line of 4096 bytes.
const TRACES_A_REQUEST: usize = 100;

pub struct Zipkin {
    pub process: Process,
    pub port: u16,
    /// Its Scribe port.
    pub scribe: u16,
}

impl Zipkin {
    /// Starts one that keeps its log in `dir`; [`ready`](Self::ready) waits for it.
    pub fn start(dir: &Path, name: &str, heap: &str) -> Zipkin {
        let jar = std::env::var("REAL_ZIPKIN_JAR").expect("REAL_ZIPKIN_JAR names Zipkin's jar: run `make real`");
        let (port, scribe) = (free_port(), free_port());
        let mut command = Command::new("java");
        command.args([&format!("-Xmx{heap}"), "-jar", &jar]);
        command.env("STORAGE_TYPE", "mem").env("MEM_MAX_SPANS", "2000000").env("QUERY_PORT", port.to_string());
        command.env("COLLECTOR_SCRIBE_ENABLED", "true").env("COLLECTOR_PORT", scribe.to_string());
        command.env("QUERY_TIMEOUT", "60s");
        Zipkin { process: Process::start(command, &dir.join(format!("zipkin-{name}.log"))), port, scribe }
    }

    pub fn ready(mut self) -> Zipkin {
        let mut client = Client::new(self.port);
        let process = &mut self.process;
        wait_for("Zipkin is up", Duration::from_secs(120), || {
            process.must_run();
            client.get("/health").ok().filter(|answer| answer.status == 200)
        });
        self
    }

    /// The spans of a trace as its API gives them; none if it does not know the trace.
    pub fn trace(&self, id: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/v2/trace/{id}"));
        match answer.0 {
            200 => serde_json::from_str(&answer.1).unwrap_or_else(|error| panic!("{error}: {}", answer.1)),
            404 => Vec::new(),
            status => panic!("Zipkin answered {status} for trace {id}: {}", answer.1),
        }
    }

    /// Every span of these traces, by `keep`; asked in pieces that fit Zipkin's request line of 4096 bytes.
    pub fn traces<T>(&self, ids: &[String], mut keep: impl FnMut(&Value) -> T) -> Vec<T> {
        let mut found = Vec::new();
        for piece in ids.chunks(TRACES_A_REQUEST) {
            let (status, text) = self.get(&format!("/api/v2/traceMany?traceIds={}", piece.join(",")));
            assert_eq!(status, 200, "traceMany: {text}");
            let traces: Vec<Vec<Value>> = serde_json::from_str(&text).expect("Zipkin answers with JSON");
            found.extend(traces.iter().flatten().map(&mut keep));
        }
        found
    }

    /// (spans, messages) that its collectors took.
    pub fn taken(&self) -> (u64, u64) {
        let (_, text) = self.get("/prometheus");
        let total = |name: &str| sum(&text, name, &[]) as u64;
        assert_eq!(total("zipkin_collector_spans_dropped_total"), 0, "Zipkin dropped spans");
        (total("zipkin_collector_spans_total"), total("zipkin_collector_messages_total"))
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut client = Client::new(self.port);
        client.timeout = Duration::from_secs(60);
        let answer = client.get(path).unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.process.tail()));
        // Zipkin 3.6.1 reckons some escapes too long and fills up with NUL behind the JSON.
        (answer.status, answer.text().trim_end_matches('\0').to_owned())
    }
}

/// Spans as a multiset that can be compared: the text of each, its keys in order.
pub fn as_set(spans: impl IntoIterator<Item = Value>) -> BTreeMap<String, usize> {
    let mut set = BTreeMap::new();
    // serde_json keeps an object's keys in order, so equal spans have equal texts.
    spans.into_iter().for_each(|span| *set.entry(span.to_string()).or_default() += 1);
    set
}

/// What a gate does to those who knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Open = 0,
    /// Connections are cut and refused: the collector's machine is away.
    Gone = 1,
    /// Connections are taken and nothing more happens: the collector hangs.
    Hung = 2,
}

/// A forwarder before a collector.
#[derive(Clone)]
pub struct Door {
    pub port: u16,
    state: Arc<AtomicU8>,
}

impl Door {
    pub fn before(collector: u16) -> Door {
        let (port, state) = (free_port(), Arc::new(AtomicU8::new(Gate::Open as u8)));
        let shared = state.clone();
        let first = listen(port);
        thread::spawn(move || accept(first, port, collector, &shared));
        Door { port, state }
    }

    pub fn set(&self, gate: Gate) {
        self.state.store(gate as u8, Ordering::SeqCst);
    }
}

fn listen(port: u16) -> TcpListener {
    let listener =
        wait_for("the door's port", Duration::from_secs(10), || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    listener.set_nonblocking(true).expect("a listener can be polled");
    listener
}

fn accept(first: TcpListener, port: u16, collector: u16, state: &Arc<AtomicU8>) {
    let mut listener = Some(first);
    loop {
        if state.load(Ordering::SeqCst) == Gate::Gone as u8 {
            listener = None;
        } else if listener.is_none() {
            listener = Some(listen(port));
        }
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((near, _))) => {
                let state = state.clone();
                thread::spawn(move || {
                    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, collector)) else { return };
                    let back = (far.try_clone().expect("a socket"), near.try_clone().expect("a socket"), state.clone());
                    thread::spawn(move || pump(back.0, back.1, &back.2));
                    pump(near, far, &state);
                });
            }
            _ => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Copies one direction while the gate is open.
fn pump(mut from: TcpStream, mut to: TcpStream, state: &AtomicU8) {
    let mut buffer = vec![0; 64 << 10];
    from.set_nonblocking(false).expect("a socket");
    from.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
    loop {
        match state.load(Ordering::SeqCst) {
            gone if gone == Gate::Gone as u8 => break,
            hung if hung == Gate::Hung as u8 => {
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            _ => {}
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    // The peer may be gone already.
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_door_passes_hangs_and_refuses_as_told() {
    let far = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = far.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in far.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    let door = Door::before(port);
    let dial = || TcpStream::connect((Ipv4Addr::LOCALHOST, door.port));
    let mut through = dial().unwrap();
    through.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut echo = |byte: u8| {
        through.write_all(&[byte])?;
        let mut back = [0];
        through.read_exact(&mut back).map(|()| back[0])
    };
    assert_eq!(echo(1).unwrap(), 1);
    door.set(Gate::Hung);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(echo(2).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    door.set(Gate::Open);
    assert_eq!(echo(3).unwrap(), 2, "what hung comes late");
    door.set(Gate::Gone);
    wait_for("the door is gone", Duration::from_secs(5), || Some(()).filter(|()| dial().is_err()));
    wait_for("open connections are cut", Duration::from_secs(5), || {
        Some(()).filter(|()| {
            !matches!(echo(4), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock) && echo(4).is_err()
        })
    });
    door.set(Gate::Open);
    wait_for("the door is back", Duration::from_secs(5), || dial().ok());
}
