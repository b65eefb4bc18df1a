//! A client that sends good messages, one after the other, and how long it waits for each answer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::LONG;
use crate::support::http::Client;

#[derive(Default)]
struct Heard {
    times: Mutex<Vec<Duration>>,
    yes: AtomicU64,
    other: Mutex<Vec<String>>,
    stop: AtomicBool,
}

pub struct Good {
    heard: Arc<Heard>,
    thread: std::thread::JoinHandle<()>,
}

impl Good {
    pub fn begin(port: u16) -> Good {
        let heard = Arc::<Heard>::default();
        let tells = heard.clone();
        Good { heard, thread: std::thread::spawn(move || send(port, &tells)) }
    }

    /// Forgets what it waited for so far.
    pub fn forget(&self) {
        self.heard.times.lock().unwrap().clear();
    }

    /// How many answers it waited for since.
    pub fn count(&self) -> usize {
        self.heard.times.lock().unwrap().len()
    }

    /// The time within which 99 of 100 of them came; `None` before the first.
    pub fn p99(&self) -> Option<Duration> {
        let mut times = self.heard.times.lock().unwrap().clone();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) * 99 / 100).copied()
    }

    /// How often it heard yes, and what else.
    pub fn end(self) -> (u64, Vec<String>) {
        self.heard.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("it panics at nothing");
        let mut other = std::mem::take(&mut *self.heard.other.lock().unwrap());
        other.truncate(3);
        (self.heard.yes.load(Ordering::SeqCst), other)
    }
}

fn send(port: u16, heard: &Heard) {
    let span = |id| format!(r#"{{"traceId":"{id:x}","id":"{id:x}","name":"good"}}"#);
    let body = format!("[{}]", (1..21).map(span).collect::<Vec<_>>().join(","));
    let mut client = Client::new(port);
    client.timeout = LONG;
    while !heard.stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        match client.post("/api/v2/spans", "application/json", body.as_bytes()) {
            Ok(answer) if answer.status == 202 => drop(heard.yes.fetch_add(1, Ordering::SeqCst)),
            other => heard.other.lock().unwrap().push(format!("{other:?}")),
        }
        heard.times.lock().unwrap().push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
}
