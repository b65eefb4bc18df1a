//! Clients that send good messages, one after the other, and how long they wait for each answer: one over HTTP, one
//! over Scribe.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::LONG;
use crate::support::http::Client;
use crate::support::process::Gateway;
use crate::support::scribe;

#[derive(Default)]
struct Heard {
    times: Mutex<Vec<Duration>>,
    yes: AtomicU64,
    other: Mutex<Vec<String>>,
    stop: AtomicBool,
}

pub struct Good {
    heard: Arc<Heard>,
    threads: [JoinHandle<()>; 2],
}

impl Good {
    pub fn begin(gateway: &Gateway) -> Good {
        let heard = Arc::<Heard>::default();
        let (of_http, of_scribe) = (heard.clone(), heard.clone());
        let (http, scribe) = (gateway.http, gateway.scribe);
        let threads = [
            std::thread::spawn(move || send(&of_http, over_http(http))),
            std::thread::spawn(move || send(&of_scribe, over_scribe(scribe))),
        ];
        Good { heard, threads }
    }

    /// Forgets what they waited for so far.
    pub fn forget(&self) {
        self.heard.times.lock().unwrap().clear();
    }

    /// How many answers they waited for since.
    pub fn count(&self) -> usize {
        self.heard.times.lock().unwrap().len()
    }

    /// The time within which 99 of 100 of them came; `None` before the first.
    pub fn p99(&self) -> Option<Duration> {
        let mut times = self.heard.times.lock().unwrap().clone();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) * 99 / 100).copied()
    }

    /// How often they heard yes, and what else.
    pub fn end(self) -> (u64, Vec<String>) {
        self.heard.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("it panics at nothing"));
        let mut other = std::mem::take(&mut *self.heard.other.lock().unwrap());
        other.truncate(3);
        (self.heard.yes.load(Ordering::SeqCst), other)
    }
}

/// `one` sends one message; its error is what was heard instead of yes.
fn send(heard: &Heard, mut one: impl FnMut() -> Result<(), String>) {
    while !heard.stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        match one() {
            Ok(()) => drop(heard.yes.fetch_add(1, Ordering::SeqCst)),
            Err(other) => heard.other.lock().unwrap().push(other),
        }
        heard.times.lock().unwrap().push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn over_http(port: u16) -> impl FnMut() -> Result<(), String> {
    let span = |id| format!(r#"{{"traceId":"{id:x}","id":"{id:x}","name":"good"}}"#);
    let body = format!("[{}]", (1..21).map(span).collect::<Vec<_>>().join(","));
    let mut client = Client::new(port);
    client.timeout = LONG;
    move || match client.post("/api/v2/spans", "application/json", body.as_bytes()) {
        Ok(answer) if answer.status == 202 => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn over_scribe(port: u16) -> impl FnMut() -> Result<(), String> {
    let entries: Vec<String> = (1..21).map(|id| scribe::entry(id, id, "good")).collect();
    let arguments = scribe::log_arguments(&entries.iter().map(|entry| ("zipkin", &**entry)).collect::<Vec<_>>());
    let mut client = None;
    move || {
        let mut exchange = || {
            let connected = match client.take() {
                Some(connected) => connected,
                None => scribe::Client::try_connect((Ipv4Addr::LOCALHOST, port).into())?,
            };
            let connected = client.insert(connected);
            connected.stream.set_read_timeout(Some(LONG))?;
            connected.try_send("Log", &arguments)?;
            connected.reply()
        };
        match exchange() {
            Ok(reply) if reply.content == scribe::Content::Result(Some(scribe::Value::I32(scribe::OK))) => Ok(()),
            other => {
                // After an error the connection is of no use.
                client = None;
                Err(format!("{other:?}"))
            }
        }
    }
}
