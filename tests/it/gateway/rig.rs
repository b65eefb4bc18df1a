//! Senders that remember what was answered yes, and readers of where it must be found.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

use crate::support::collector::Collector;
use crate::support::http::Client;
use crate::support::process::{Gateway, wait_for};
use crate::support::scribe;

/// Long enough for two busy cores; a good run takes a fraction.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Numbers a test's spans; an id is told by its number.
pub struct Sender {
    next: u64,
    /// Bytes that each posted span has on top of its few hundred.
    pub padding: usize,
    /// Ids that were answered yes.
    pub acknowledged: HashSet<String>,
    /// Ids that were sent at all.
    pub sent: HashSet<String>,
}

impl Sender {
    /// Ids from `first` on, so that senders of one test do not meet.
    pub fn from(first: u64) -> Sender {
        Sender { next: first, padding: 0, acknowledged: HashSet::new(), sent: HashSet::new() }
    }

    fn ids(&mut self, count: usize) -> Vec<u64> {
        let first = self.next;
        self.next += count as u64;
        let ids: Vec<u64> = (first..self.next).collect();
        self.sent.extend(ids.iter().map(|id| hex(*id)));
        ids
    }

    fn keep(&mut self, ids: &[u64], yes: bool) -> bool {
        if yes {
            self.acknowledged.extend(ids.iter().map(|id| hex(*id)));
        }
        yes
    }

    /// Posts `count` spans as JSON; whether they were accepted.
    pub fn post(&mut self, client: &mut Client, count: usize) -> bool {
        let ids = self.ids(count);
        let spans: Vec<Value> = ids.iter().map(|id| span(*id, self.padding)).collect();
        let body = serde_json::to_vec(&spans).unwrap();
        let answer = client.post("/api/v2/spans", "application/json", &body);
        self.keep(&ids, answer.is_ok_and(|answer| answer.status == 202))
    }

    /// Logs `count` spans in one Scribe call; whether they were accepted. The gateway may be killed meanwhile.
    pub fn log(&mut self, client: &mut scribe::Client, count: usize) -> bool {
        let ids = self.ids(count);
        let texts: Vec<String> = ids.iter().map(|id| scribe::entry(*id as i64, *id as i64, "get")).collect();
        let entries: Vec<(&str, &str)> = texts.iter().map(|text| ("zipkin", text.as_str())).collect();
        let sent = client.try_send("Log", &scribe::log_arguments(&entries));
        let yes = sent.and_then(|_| client.reply()).is_ok_and(|reply| reply.code() == scribe::OK);
        self.keep(&ids, yes)
    }
}

fn hex(id: u64) -> String {
    format!("{id:016x}")
}

fn span(id: u64, padding: usize) -> Value {
    json!({ "traceId": hex(id), "id": hex(id), "name": "get", "timestamp": 1_472_470_996_199_000_u64, "duration": 1000,
            "localEndpoint": { "serviceName": "shop" }, "tags": { "number": id.to_string(), "padding": "x".repeat(padding) } })
}

pub fn http(gateway: &Gateway) -> Client {
    Client::new(gateway.http)
}

pub fn scribe(gateway: &Gateway) -> scribe::Client {
    scribe::Client::connect(SocketAddr::from(([127, 0, 0, 1], gateway.scribe)))
}

/// How often each id stands in the built-in archive's objects.
pub fn archived(gateway: &Gateway) -> BTreeMap<String, u32> {
    spans_of(objects(&gateway.dir.join("data/archive")))
}

/// How often each id stands in these objects.
pub fn spans_of(objects: Vec<Vec<u8>>) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for id in objects.iter().flat_map(|object| ids_of(object)) {
        *found.entry(id).or_default() += 1;
    }
    found
}

/// The ids in an object, in its order.
pub fn ids_of(object: &[u8]) -> Vec<String> {
    let mut text = String::new();
    MultiGzDecoder::new(object).read_to_string(&mut text).unwrap();
    let id = |line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    text.lines().map(id).collect()
}

/// The objects of a directory and of those below, by the position of their first span.
pub fn objects(dir: &Path) -> Vec<Vec<u8>> {
    let mut paths = paths_of(dir);
    let first = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().rsplit('-').nth(1).map(str::to_owned);
    paths.sort_by_key(first);
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn paths_of(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let below = |path: PathBuf| match path.is_dir() {
        true => paths_of(&path),
        false if path.extension().is_some_and(|e| e == "gz") => vec![path],
        false => Vec::new(),
    };
    entries.flat_map(|entry| below(entry.unwrap().path())).collect()
}

/// How often each id was taken by the collectors together.
pub fn collected(collectors: &[&Collector]) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    for collector in collectors {
        assert_eq!(collector.errors(), Vec::<String>::new());
        for (id, times) in collector.taken() {
            *all.entry(id).or_default() += times;
        }
    }
    all
}

/// Waits until every acknowledged id is among `found`.
pub fn wait_until_all(what: &str, acknowledged: &HashSet<String>, mut found: impl FnMut() -> BTreeMap<String, u32>) {
    wait_for(what, LIMIT, || {
        let found = found();
        acknowledged.iter().all(|id| found.contains_key(id)).then_some(())
    });
}
