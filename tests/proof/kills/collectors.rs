//! Collectors that fail in every way, each for a while, and refuse a few spans for ever.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::runtime::Runtime;
use tokio::sync::Mutex as Turn;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::collector::{Collector, Play};
use crate::support::names::Name;

/// Of a request: what hangs costs its whole time.
const TIMEOUT_MS: u64 = 1_000;

pub struct Collectors {
    all: Vec<Arc<Turn<Collector>>>,
    refusable: Arc<Mutex<HashSet<Name>>>,
    calm: CancellationToken,
    weather: JoinSet<()>,
}

impl Collectors {
    pub fn start(chance: &mut Rng, runtime: &Runtime) -> Collectors {
        let _inside = runtime.enter();
        let (refusable, calm) = (Arc::<Mutex<HashSet<Name>>>::default(), CancellationToken::new());
        let all: Vec<_> = (0..chance.usize(1..4)).map(|_| Arc::new(Turn::new(Collector::by_name()))).collect();
        let mut weather = JoinSet::new();
        for collector in &all {
            runtime.block_on(collector.lock()).rise();
            let weather_of = storm(collector.clone(), refusable.clone(), calm.clone(), chance.fork());
            weather.spawn(weather_of);
        }
        Collectors { all, refusable, calm, weather }
    }

    /// The drain that feeds them.
    pub fn settings(&self, chance: &mut Rng, policy: &str) -> String {
        let sink = |(nth, collector): (usize, &Arc<Turn<Collector>>)| {
            let priority = if policy == "failover" { format!(", priority = {}", nth % 2 + 1) } else { String::new() };
            format!("{{ url = \"{}\", timeout = \"{TIMEOUT_MS}ms\"{priority} }}", collector.blocking_lock().url())
        };
        let sinks: Vec<String> = self.all.iter().enumerate().map(sink).collect();
        format!(
            "[drain.zipkin]\npolicy = \"{policy}\"\nbackoff_min = \"20ms\"\nbackoff_max = \"300ms\"\n\
             batch = {{ spans = {}, linger = \"5ms\" }}\nsinks = [{}]\n",
            chance.u32(50..1_000),
            sinks.join(", ")
        )
    }

    /// From now on these are refused, too.
    pub fn refuse(&self, names: Vec<Name>) {
        self.refusable.lock().unwrap().extend(names);
        for collector in &self.all {
            collector.blocking_lock().play(usual(&self.refusable));
        }
    }

    /// Ends the bad weather: from now on they take all but what they refuse.
    pub fn calm(&mut self, runtime: &Runtime) {
        self.calm.cancel();
        runtime.block_on(async {
            while let Some(ended) = self.weather.join_next().await {
                ended.expect("the weather ends when it is told");
            }
        });
    }

    pub fn refusable(&self) -> HashSet<Name> {
        self.refusable.lock().unwrap().clone()
    }

    /// How often each span was taken.
    pub fn taken(&self) -> BTreeMap<Name, u32> {
        let mut taken = BTreeMap::new();
        for collector in &self.all {
            let collector = collector.blocking_lock();
            assert_eq!(collector.errors(), Vec::<String>::new(), "what no collector understands");
            for (name, times) in collector.taken() {
                *taken.entry(name).or_default() += times;
            }
        }
        taken
    }
}

fn usual(refusable: &Mutex<HashSet<Name>>) -> Play {
    Play::RefuseSpans(refusable.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Fair and foul in turn, until it is told to be calm.
async fn storm(
    collector: Arc<Turn<Collector>>,
    refusable: Arc<Mutex<HashSet<Name>>>,
    calm: CancellationToken,
    mut chance: Rng,
) {
    loop {
        collector.lock().await.play(usual(&refusable));
        let fair = Duration::from_millis(chance.u64(50..600));
        if timeout(fair, calm.cancelled()).await.is_ok() {
            return;
        }
        let foul = Duration::from_millis(chance.u64(20..500));
        match trouble(&mut chance) {
            Some(play) => {
                collector.lock().await.play(play);
                sleep(foul).await;
            }
            None => {
                let mut collector = collector.lock().await;
                collector.fall().await;
                sleep(foul).await;
                collector.rise();
            }
        }
    }
}

/// `None`: nobody is there.
fn trouble(chance: &mut Rng) -> Option<Play> {
    Some(match chance.u8(..10) {
        0 => Play::Reset,
        1 => Play::Close,
        2 => Play::Hang,
        3 => Play::LoseReply,
        4 => Play::TakeAndHang,
        5 => Play::Slow(Duration::from_millis(chance.u64(..TIMEOUT_MS / 2))),
        6 => Play::status(500),
        7 => Play::status(503),
        _ => return None,
    })
}
