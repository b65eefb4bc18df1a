//! Both listeners on ports of their own, and what came into the channel behind them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use spangate::channel::{self, Channel, Kind, Start, Takes, Tap};
use spangate::clock::Clock;
use spangate::listener::intake::{self, Intake};
use spangate::listener::{Condition, Probe, State, http, scribe};
use spangate::metrics::{Registry, TABLE, ZIPKIN_TABLE};
use spangate::span::canonical;
use spangate::tasks::Tasks;
use tokio::runtime::Runtime;

/// Nothing in these tests takes longer, but where it hangs.
pub const LONG: Duration = Duration::from_secs(10);

pub struct Settings {
    pub channel: channel::Settings,
    pub intake: intake::Settings,
    pub scribe: scribe::Settings,
    pub http: http::Settings,
}

/// A frame of the channel, as a drain sees it.
#[derive(Debug)]
pub struct Frame {
    pub kind: Kind,
    pub origin: Vec<(String, String)>,
    /// Of each item.
    pub labels: Vec<Option<String>>,
    pub keys: Vec<u64>,
    /// Of each item: a span's canonical element, or an entry's bytes.
    pub parts: Vec<Vec<u8>>,
}

impl Frame {
    /// The names of the spans.
    pub fn names(&self) -> Vec<String> {
        let name = |part: &Vec<u8>| {
            let span = canonical::read(canonical::span_bytes(part).unwrap()).unwrap();
            span.name.unwrap_or_default().into_owned()
        };
        self.parts.iter().map(name).collect()
    }

    pub fn origin_of(&self, key: &str) -> Vec<&str> {
        self.origin.iter().filter(|(k, _)| k == key).map(|(_, value)| value.as_str()).collect()
    }
}

pub struct Rig {
    pub scribe: SocketAddr,
    pub http: SocketAddr,
    pub channel: Channel,
    pub tasks: Tasks,
    pub condition: Arc<Mutex<Condition>>,
    pub runtime: Runtime,
    registry: Registry,
    zipkin: Registry,
    common: Tap,
    dead_letters: Tap,
    _dir: tempfile::TempDir,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with(|_| {})
    }

    /// A rig whose settings differ from the defaults.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = defaults(&dir);
        change(&mut settings);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let _inside = runtime.enter();
        let (registry, zipkin) = (Registry::new(TABLE), Registry::new(ZIPKIN_TABLE));
        let opened = Channel::open(settings.channel, spangate::disk::real(), Clock::system(), &registry);
        let (channel, _found) = opened.unwrap();
        let common = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
        let dead_letters = channel.tap("dead-letters", Start::End, Takes::Addressed).unwrap();
        let intake = Intake::new(&settings.intake, channel.clone(), Clock::system(), &registry, &zipkin);
        let condition = Arc::new(Mutex::new(Condition {
            state: State::Alive,
            accepting: true,
            healthy: true,
            details: "all is well".into(),
        }));
        let probe: Probe = {
            let condition = condition.clone();
            Arc::new(move || condition.lock().unwrap().clone())
        };
        let tasks = Tasks::new();
        let (scribe, http) = (scribe::bind(settings.scribe).unwrap(), http::bind(settings.http).unwrap());
        let addresses = (scribe.addresses().unwrap()[0], http.addresses().unwrap()[0]);
        scribe.serve(intake.clone(), probe.clone(), &tasks, &registry);
        http.serve(intake, probe, &tasks, &registry);
        Rig {
            scribe: addresses.0,
            http: addresses.1,
            channel,
            tasks,
            condition,
            registry,
            zipkin,
            common,
            dead_letters,
            _dir: dir,
            runtime: {
                drop(_inside);
                runtime
            },
        }
    }

    /// The next frame for all drains.
    pub fn frame(&mut self) -> Frame {
        next(&self.runtime, &mut self.common)
    }

    /// The next frame of entries set aside.
    pub fn entries(&mut self) -> Frame {
        next(&self.runtime, &mut self.dead_letters)
    }

    /// The value of a series of `/metrics`.
    pub fn metric(&self, series: &str) -> u64 {
        value(&self.registry.render(), series)
    }

    /// The value of a series of Zipkin's.
    pub fn zipkin_metric(&self, series: &str) -> u64 {
        value(&self.zipkin.render(), series)
    }

    /// Waits until a series has a value.
    pub fn wait_for(&self, series: &str, expected: u64) {
        let deadline = Instant::now() + LONG;
        while self.metric(series) != expected {
            assert!(Instant::now() < deadline, "{series} is {}, expected {expected}", self.metric(series));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Checks every span counter of a listener, and that they add up.
    pub fn assert_spans(&self, listener: &str, accepted: u64, set_aside: u64, refused: &[(&str, u64)]) {
        let by_listener = |name: &str| self.metric(&format!("{name}{{listener=\"{listener}\"}}"));
        assert_eq!(by_listener("spangate_spans_accepted_total"), accepted, "accepted");
        let aside = format!("spangate_spans_set_aside_total{{listener=\"{listener}\",reason=\"undecodable\"}}");
        assert_eq!(self.metric(&aside), set_aside, "set aside");
        let mut sum = accepted + set_aside;
        for reason in ["invalid", "busy", "full", "too_large", "disk_low", "failed", "stopping", "timed_out", "gone"] {
            let series = format!("spangate_spans_refused_total{{listener=\"{listener}\",reason=\"{reason}\"}}");
            let expected = refused.iter().find(|(r, _)| *r == reason).map_or(0, |(_, count)| *count);
            assert_eq!(self.metric(&series), expected, "refused: {reason}");
            sum += expected;
        }
        assert_eq!(by_listener("spangate_spans_received_total"), sum, "received");
    }

    /// Checks the message counters of a listener.
    pub fn assert_messages(&self, listener: &str, accepted: u64, refused: u64, empty: u64) {
        for (outcome, expected) in [("accepted", accepted), ("refused", refused), ("empty", empty)] {
            let series = format!("spangate_messages_total{{listener=\"{listener}\",outcome=\"{outcome}\"}}");
            assert_eq!(self.metric(&series), expected, "messages {outcome}");
        }
        assert_eq!(self.refused_for(listener).values().sum::<u64>(), refused, "messages by reason");
    }

    /// The messages of a listener that were refused whole, by reason.
    pub fn refused_for(&self, listener: &str) -> BTreeMap<&'static str, u64> {
        let by = |reason| format!("spangate_messages_refused_total{{listener=\"{listener}\",reason=\"{reason}\"}}");
        let counted = intake::REASONS.map(|reason| (reason, self.metric(&by(reason))));
        counted.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    pub fn set_condition(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut self.condition.lock().unwrap());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let stopped = self.runtime.block_on(self.tasks.stop(LONG));
        self.channel.stop();
        if !std::thread::panicking() {
            assert!(stopped, "tasks were still running at the stop");
            assert!(!self.tasks.failed(), "a vital task failed");
        }
    }
}

fn next(runtime: &Runtime, tap: &mut Tap) -> Frame {
    runtime.block_on(async {
        let taken = tokio::time::timeout(LONG, tap.next()).await.expect("a frame").unwrap().expect("not stopping");
        let head = taken.head;
        let body = tap.body(&head).await.unwrap();
        let mut rest = &body[..];
        let parts = head.items.iter().map(|item| rest.split_off(..item.len as usize).unwrap().to_vec()).collect();
        assert!(rest.is_empty());
        Frame {
            kind: head.kind,
            origin: head.origin.0.clone(),
            labels: head.items.iter().map(|i| head.labels.get(usize::from(i.label)).cloned()).collect(),
            keys: head.items.iter().map(|i| i.key).collect(),
            parts,
        }
    })
}

fn value(text: &str, series: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("no series {series} in\n{text}"));
    line.parse::<f64>().unwrap() as u64
}

fn defaults(dir: &tempfile::TempDir) -> Settings {
    let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Settings {
        channel: channel::Settings {
            dir: dir.path().join("channel"),
            capacity_bytes: 64 << 20,
            capacity_spans: None,
            sync: channel::Sync::Always,
            free_min_bytes: Some(0),
            cache_bytes: 1 << 20,
        },
        intake: intake::Settings { bytes_in_flight: 32 << 20, commit_wait: Duration::from_millis(2000) },
        scribe: scribe::Settings {
            addresses: vec![local],
            categories: vec!["zipkin".into()],
            frame_bytes_max: 16_384_000,
            frame_timeout: Duration::from_secs(30),
            frame_rate_min: 4096,
            connections_max: 100,
            labels: vec![],
            keep_binary_annotations: true,
            allow_shutdown: false,
            replay_mark: true,
        },
        http: http::Settings {
            addresses: vec![local],
            body_bytes_max: 10 << 20,
            decoded_bytes_max: 64 << 20,
            decoded_ratio_max: 100,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            body_rate_min: 4096,
            idle_timeout: Duration::from_secs(60),
            connections_max: 100,
            labels: vec![],
            keep_binary_annotations: true,
            allowed_origins: vec!["*".into()],
            replay_mark: true,
        },
    }
}
