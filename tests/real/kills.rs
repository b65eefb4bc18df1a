//! 300,000 acknowledged spans while the gateway is killed five times and each collector is away for a while.
//!
//! None is missing from the collectors, each is once in the archive, and repeats at the collectors stay under the
//! bound that the settings give. A message that was not answered yes is not counted: it may be there or not, but
//! in the archive at most once. One collector goes away by refusing, the other by hanging; both across kills.
#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::support::http::Client;
use crate::support::process::{Gateway, wait_for};
use crate::v1::{Host, Said, Scribe, Span};
use crate::zipkin::{Door, Gate, Zipkin};

const SPANS: u64 = 300_000;
const A_MESSAGE: u64 = 50;
const A_TRACE: u64 = 10;
/// Three over Scribe, three over HTTP.
const SENDERS: u64 = 6;
/// About 10,000 spans a second from all senders: the kills fall into a run, not behind it.
const PACE: Duration = Duration::from_millis(30);
/// Acknowledged spans at which the gateway is killed.
const KILLS: [u64; 5] = [50_000, 100_000, 150_000, 200_000, 250_000];
/// Acknowledged spans between which a collector is away, and how.
const AWAY: [(u64, u64, usize, Gate); 2] = [(70_000, 130_000, 0, Gate::Gone), (170_000, 230_000, 1, Gate::Hung)];

/// Written into the configuration and used for the bound.
const BATCH_SPANS: u64 = 500;
const IN_FLIGHT: u64 = 4;
const SINKS: u64 = 2;

const FIRST_TRACE: u64 = 0x5a00_0000_0000_0000;
const FIRST_ID: u64 = 0x1000;
const T: u64 = 1_767_225_600_000_000;

/// The spans of a message, by number: span n belongs to trace n / 10 and has the id n.
fn numbers(message: u64) -> std::ops::Range<u64> {
    message * A_MESSAGE..(message + 1) * A_MESSAGE
}

fn trace(number: u64) -> u64 {
    FIRST_TRACE + number / A_TRACE
}

fn number_of(span: &Value) -> u64 {
    let id = span["id"].as_str().unwrap_or_else(|| panic!("no id: {span}"));
    u64::from_str_radix(id, 16).unwrap() - FIRST_ID
}

fn json(message: u64) -> String {
    let span = |number: u64| {
        let (trace, id, at) = (trace(number), number + FIRST_ID, T + number);
        format!(
            r#"{{"traceId":"{trace:016x}","id":"{id:016x}","kind":"SERVER","name":"get /item","timestamp":{at},"duration":90,"localEndpoint":{{"serviceName":"shop","ipv4":"10.0.0.1"}},"tags":{{"http.path":"/item/{number}"}}}}"#
        )
    };
    format!("[{}]", numbers(message).map(span).collect::<Vec<_>>().join(","))
}

fn thrift(message: u64) -> Vec<Span> {
    let host = Some(Host { name: "shop".to_owned(), ipv4: 0x0a00_0002, port: 80, ipv6: None });
    let signed = |value: u64| i64::try_from(value).unwrap();
    let span = |number: u64| Span {
        trace: signed(trace(number)),
        id: signed(number + FIRST_ID),
        name: "get /item".to_owned(),
        notes: vec![
            (signed(T + number), "cs".to_owned(), host.clone()),
            (signed(T + number) + 90, "cr".to_owned(), host.clone()),
        ],
        binary: vec![("http.path".to_owned(), format!("/item/{number}").into_bytes(), 6, host.clone())],
        ..Span::default()
    };
    numbers(message).map(span).collect()
}

/// What the senders share.
#[derive(Default)]
struct Ledger {
    next_message: AtomicU64,
    acknowledged: Mutex<Vec<u64>>,
    count: AtomicU64,
    unanswered: AtomicU64,
    refused: AtomicU64,
    done: AtomicBool,
}

impl Ledger {
    fn spans(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    fn say(&self, message: u64, yes: std::io::Result<bool>) {
        match yes {
            Ok(true) => {
                self.acknowledged.lock().unwrap().push(message);
                self.count.fetch_add(A_MESSAGE, Ordering::SeqCst);
            }
            Ok(false) => drop(self.refused.fetch_add(1, Ordering::SeqCst)),
            Err(_) => drop(self.unanswered.fetch_add(1, Ordering::SeqCst)),
        }
    }
}

/// Sends until enough was acknowledged. A message is sent once; its successor has another number.
fn send(ledger: &Ledger, mut one: impl FnMut(u64) -> std::io::Result<bool>) {
    while ledger.spans() < SPANS && !ledger.done.load(Ordering::SeqCst) {
        let begun = Instant::now();
        let message = ledger.next_message.fetch_add(1, Ordering::SeqCst);
        ledger.say(message, one(message));
        thread::sleep(PACE.saturating_sub(begun.elapsed()));
    }
}

fn over_http(ledger: &Ledger, port: u16) {
    let mut client = Client::new(port);
    send(ledger, |message| {
        let answer = client.post("/api/v2/spans", "application/json", json(message).as_bytes())?;
        assert!([202, 503].contains(&answer.status), "answered {}: {}", answer.status, answer.text());
        Ok(answer.status == 202)
    });
}

fn over_scribe(ledger: &Ledger, port: u16) {
    let mut client = None;
    send(ledger, |message| {
        let mut open = client.take().map_or_else(|| Scribe::dial(port), Ok)?;
        let said = open.log(&thrift(message))?;
        assert!(!matches!(said, Said::Exception(_)), "answered {said:?}");
        client = Some(open);
        Ok(said == Said::Ok)
    });
}

type Event = Box<dyn FnOnce(&mut Gateway)>;

/// Kills and absences, in the order in which the acknowledged spans reach them.
fn upset(ledger: &Ledger, gateway: &mut Gateway, doors: &[Door; 2]) {
    let mut events: Vec<(u64, Event)> = Vec::new();
    for at in KILLS {
        events.push((
            at,
            Box::new(move |gateway| {
                gateway.process.kill();
                gateway.start_again();
                println!("  {at} acknowledged: killed and started again");
            }),
        ));
    }
    for (from, until, which, gate) in AWAY {
        let mut set = |at, gate| {
            let door = doors[which].clone();
            let tell = move |_: &mut Gateway| {
                door.set(gate);
                println!("  {at} acknowledged: collector {which} is {gate:?}");
            };
            events.push((at, Box::new(tell)));
        };
        set(from, gate);
        set(until, Gate::Open);
    }
    events.sort_by_key(|(at, _)| *at);
    for (at, event) in events {
        wait_for(&format!("{at} acknowledged spans"), Duration::from_secs(120), || {
            gateway.process.must_run();
            Some(()).filter(|()| ledger.spans() >= at)
        });
        event(gateway);
    }
}

/// The greatest number of spans that the collectors took in any 100 ms, by samples of a quarter of a second.
fn busiest(zipkins: &[Zipkin; 2], ledger: &Ledger) -> u64 {
    let (mut last, mut at, mut most) = (0, Instant::now(), 0.0_f64);
    while !ledger.done.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(250));
        let total: u64 = zipkins.iter().map(|zipkin| zipkin.taken().0).sum();
        most = most.max((total - last) as f64 * 0.1 / at.elapsed().as_secs_f64());
        (last, at) = (total, Instant::now());
    }
    most.ceil() as u64
}

#[test]
fn kills_and_absent_collectors_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let zipkins = ["a", "b"].map(|name| Zipkin::start(dir.path(), name, "1g")).map(Zipkin::ready);
    let doors = zipkins.each_ref().map(|zipkin| Door::before(zipkin.port));
    let mut gateway = start(dir.path(), &doors);
    let ledger = Ledger::default();
    let begun = Instant::now();
    let rate = thread::scope(|scope| {
        let rate = scope.spawn(|| busiest(&zipkins, &ledger));
        let (scribe, http) = (gateway.scribe, gateway.http);
        for sender in 0..SENDERS {
            let ledger = &ledger;
            scope.spawn(move || if sender % 2 == 0 { over_scribe(ledger, scribe) } else { over_http(ledger, http) });
        }
        // The senders and the sampler end even where this thread fails.
        let _end = End(&ledger);
        upset(&ledger, &mut gateway, &doors);
        wait_for("all spans acknowledged", Duration::from_secs(120), || Some(()).filter(|()| ledger.spans() >= SPANS));
        println!("  {} acknowledged in {:.0} s", ledger.spans(), begun.elapsed().as_secs_f64());
        drained(&mut gateway);
        drop(_end);
        rate.join().unwrap()
    });
    gateway.stop();
    let acknowledged = acknowledged(&ledger);
    let distinct = at_collectors(&zipkins, &ledger, &acknowledged);
    repeats(&zipkins, distinct, rate);
    in_archive(&gateway.dir.join("data/archive"), &ledger, &acknowledged);
}

/// Tells the senders and the sampler to end.
struct End<'a>(&'a Ledger);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::SeqCst);
    }
}

fn start(dir: &Path, doors: &[Door; 2]) -> Gateway {
    let sinks =
        doors.each_ref().map(|door| format!("{{ url = \"http://127.0.0.1:{}\", timeout = \"2s\" }}", door.port));
    let text = format!(
        "[drain.zipkin]\nbatch = {{ spans = {BATCH_SPANS} }}\nin_flight = {IN_FLIGHT}\nbackoff_max = \"2s\"\nsinks = [{}]\n",
        sinks.join(", ")
    );
    let file = dir.join("spangate.toml");
    std::fs::write(&file, text).unwrap();
    Gateway::start(&dir.join("gateway"), &["-c", file.to_str().unwrap()])
}

/// Waits until neither drain has anything waiting.
fn drained(gateway: &mut Gateway) {
    let begun = Instant::now();
    for drain in ["zipkin", "archive"] {
        let label = format!("drain=\"{drain}\"");
        wait_for(&format!("drain {drain} is through"), Duration::from_secs(120), || {
            gateway.process.must_run();
            Some(()).filter(|()| gateway.metric("spangate_drain_waiting_spans", &[&label]) == 0.0)
        });
    }
    println!("  drained {:.0} s later", begun.elapsed().as_secs_f64());
}

fn acknowledged(ledger: &Ledger) -> HashSet<u64> {
    let messages = ledger.acknowledged.lock().unwrap();
    let (unanswered, refused) = (&ledger.unanswered, &ledger.refused);
    println!("  {} messages yes, {unanswered:?} unanswered, {refused:?} told to try later", messages.len());
    messages.iter().flat_map(|message| numbers(*message)).collect()
}

/// Every acknowledged span is in one of the two, and nothing that was never sent. How many there are.
fn at_collectors(zipkins: &[Zipkin; 2], ledger: &Ledger, acknowledged: &HashSet<u64>) -> u64 {
    let end = ledger.next_message.load(Ordering::SeqCst) * A_MESSAGE;
    let ids: Vec<String> = (0..end.div_ceil(A_TRACE)).map(|trace| format!("{:016x}", FIRST_TRACE + trace)).collect();
    let found: HashSet<u64> = zipkins.iter().flat_map(|zipkin| zipkin.traces(&ids, number_of)).collect();
    let missing: Vec<&u64> = acknowledged.difference(&found).collect();
    let few = &missing[..missing.len().min(20)];
    assert!(missing.is_empty(), "{} acknowledged spans are at no collector, such as {few:?}", missing.len());
    assert!(found.iter().all(|number| *number < end), "a span that was never sent");
    println!("  collectors: {} acknowledged spans, 0 missing; {} in all", acknowledged.len(), found.len());
    found.len() as u64
}

fn repeats(zipkins: &[Zipkin; 2], distinct: u64, rate: u64) {
    let taken: u64 = zipkins.iter().map(|zipkin| zipkin.taken().0).sum();
    let kills = KILLS.len() as u64;
    let bound = kills * (SINKS * IN_FLIGHT * BATCH_SPANS + rate);
    let repeats = taken - distinct;
    println!(
        "  repeats: {repeats} spans; bound {bound} = {kills} kills x ({SINKS} sinks x {IN_FLIGHT} batches in flight x \
         {BATCH_SPANS} spans + {rate} answered in 100 ms)"
    );
    assert!(repeats <= bound, "{repeats} repeats, more than {bound}");
}

/// Every acknowledged span once, every other at most once.
fn in_archive(dir: &Path, ledger: &Ledger, acknowledged: &HashSet<u64>) {
    let mut times: HashMap<u64, u32> = HashMap::new();
    let mut objects = 0;
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            } else if entry.file_name().to_string_lossy().ends_with(".jsonl.gz") {
                objects += 1;
                let file = MultiGzDecoder::new(std::fs::File::open(entry.path()).unwrap());
                for line in BufReader::new(file).lines() {
                    let span: Value = serde_json::from_str(&line.unwrap()).unwrap();
                    *times.entry(number_of(&span)).or_default() += 1;
                }
            }
        }
    }
    let end = ledger.next_message.load(Ordering::SeqCst) * A_MESSAGE;
    let missing = acknowledged.iter().filter(|number| !times.contains_key(number)).count();
    let twice = times.values().filter(|times| **times > 1).count();
    let extra = times.len() - (acknowledged.len() - missing);
    println!("  archive: {objects} objects, {missing} missing, {twice} more than once, {extra} never acknowledged");
    assert_eq!((missing, twice), (0, 0));
    assert!(times.keys().all(|number| *number < end), "a span that was never sent");
}
