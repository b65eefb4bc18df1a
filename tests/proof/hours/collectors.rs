//! Simulated collectors: sinks with moods, which come by a script and end with it.
//!
//! A verdict is what `sink::zipkin` makes of the failure, as tests/it/drain/verdict.rs has it. A group knows what
//! its collectors took, and when: a span that comes again needs a reason.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use spangate::sink::{Load, Sending, Sink, Verdict};
use spangate::span::canonical;

use super::world::{Cut, World, number_of};
use super::{DELIVERED, Plant};

/// Of a sink.
const TIMEOUT: Duration = Duration::from_secs(10);
/// From what a collector takes to what is settled.
const GRAIN: Duration = Duration::from_millis(2);

/// What a collector does for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mood {
    Refuses,
    Resets,
    Hangs,
    Fails500,
    Busy503,
    Busy429,
    /// 413 above so many bytes.
    Small(usize),
    Refuses400,
    Unauthorized401,
    NotFound404,
    LosesReplies,
    Closes,
    Slow,
}

impl Mood {
    pub fn kind(self) -> &'static str {
        match self {
            Mood::Refuses => "connection refused",
            Mood::Resets => "connection reset",
            Mood::Hangs => "hang",
            Mood::Fails500 => "500",
            Mood::Busy503 => "503 + Retry-After",
            Mood::Busy429 => "429",
            Mood::Small(_) => "413 above a size",
            Mood::Refuses400 => "400 to everything",
            Mood::Unauthorized401 => "401",
            Mood::NotFound404 => "404",
            Mood::LosesReplies => "lost reply",
            Mood::Closes => "kept connection closed",
            Mood::Slow => "slow",
        }
    }
}

/// A mood, and from when to when.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub number: u64,
    pub from: Duration,
    pub until: Duration,
    pub mood: Mood,
}

/// The collectors of one drain, together.
pub struct Group {
    pub drain: &'static str,
    /// What was settled is not in the order of positions: a slot may have no room for all of it.
    pub scattered: bool,
    world: Arc<World>,
    taken: Mutex<Took>,
    pace: Mutex<Pace>,
}

/// Spans a second that it may be sent, and what it was sent beyond them.
#[derive(Default)]
struct Pace {
    rate_max: Option<u64>,
    owed: f64,
    last: Duration,
}

#[derive(Default)]
struct Took {
    spans: Vec<Taken>,
    different: u64,
    last: Duration,
}

#[derive(Clone, Copy, Default)]
struct Taken {
    times: u32,
    last: Duration,
    /// The gateway heard that it was.
    sure: bool,
    /// Tries of it alone that failed as one that breaks a sink does.
    broke: u32,
}

impl Group {
    pub fn new(drain: &'static str, scattered: bool, world: &Arc<World>) -> Arc<Group> {
        Arc::new(Group { drain, scattered, world: world.clone(), taken: Mutex::default(), pace: Mutex::default() })
    }

    /// A drain begins that is bound to this rate.
    pub fn at_most(&self, rate_max: Option<u64>) {
        *self.pace.lock().unwrap() = Pace { rate_max, owed: 0.0, last: self.world.now() };
    }

    /// It is sent these; a batch owes a second at most, and its bytes may have been read late.
    fn sent(&self, spans: usize) {
        let (now, mut pace) = (self.world.now(), self.pace.lock().unwrap());
        let Some(rate) = pace.rate_max.map(|rate| rate as f64) else { return };
        let owed = (pace.owed - rate * (now - pace.last).as_secs_f64()).max(0.0) + spans as f64;
        (pace.owed, pace.last) = (owed, now);
        if owed > rate * 1.2 + 1.0 {
            self.world
                .broke(format!("rate_max: {} is sent more than {rate} spans a second: {owed} at once", self.drain));
        }
    }

    pub fn has(&self, span: u64) -> bool {
        self.taken.lock().unwrap().spans.get(span as usize).is_some_and(|taken| taken.times > 0)
    }

    /// Whether the span had the bad luck to fail alone as often as one that breaks sinks: no gateway can tell it from
    /// such a one (ARCHITECTURE.md, a suspect). At two sinks, or at the one that was up; which were is not asked here.
    pub fn is_suspect(&self, span: u64) -> bool {
        let took = self.taken.lock().unwrap();
        took.spans.get(span as usize).is_some_and(|taken| taken.broke >= 5)
    }

    fn failed(&self, spans: &[u64]) {
        let mut took = self.taken.lock().unwrap();
        for span in spans {
            let at = *span as usize;
            if took.spans.len() <= at {
                took.spans.resize(at + 1, Taken::default());
            }
            took.spans[at].broke += u32::from(spans.len() == 1);
        }
    }

    /// Different spans taken.
    pub fn count(&self) -> u64 {
        self.taken.lock().unwrap().different
    }

    /// When something was taken last.
    pub fn last(&self) -> Duration {
        self.taken.lock().unwrap().last
    }

    fn take(&self, spans: &[u64], sure: bool) {
        let (now, mut took) = (self.world.now(), self.taken.lock().unwrap());
        let Took { spans: taken, different, last } = &mut *took;
        *last = now;
        for span in spans {
            let at = *span as usize;
            if taken.len() <= at {
                taken.resize(at + 1, Taken::default());
            }
            let before = taken[at];
            *different += u64::from(before.times == 0);
            if before.times > 0 {
                self.world.count("spans repeated", 1);
            }
            // The crash that took its settling with it.
            let cut = self.world.cut_after(before.last);
            let reason = !before.sure || cut.as_ref().is_some_and(|cut| self.may_forget(before.last, cut));
            if before.times > 0 && !reason {
                let what = format!("span {span} came again to {}, well taken at {:?}", self.drain, before.last);
                self.world.broke(format!("promise 2: {what}, crash: {cut:?}"));
            }
            taken[at] = Taken { times: before.times + 1, last: now, sure, ..before };
        }
    }
}

impl Group {
    /// Whether a process that ended so may have taken with it that this was settled.
    fn may_forget(&self, taken: Duration, cut: &Cut) -> bool {
        self.is_crowded(&cut.crowded) || !self.world.must_last(taken + GRAIN, cut.at, cut.orderly)
    }

    /// Whether a slot may have left something out that was settled.
    pub fn is_crowded(&self, crowded: &BTreeSet<String>) -> bool {
        self.scattered && crowded.contains(self.drain)
    }
}

pub struct Collector {
    pub name: String,
    pub number: u64,
    pub windows: Vec<Window>,
    world: Arc<World>,
    group: Arc<Group>,
    rng: Mutex<Rng>,
}

impl Collector {
    pub fn new(number: u64, windows: Vec<Window>, group: &Arc<Group>, seed: u64) -> Arc<Collector> {
        Arc::new(Collector {
            name: format!("http://{}-{number}:9411", group.drain),
            number,
            windows,
            world: group.world.clone(),
            group: group.clone(),
            rng: Mutex::new(Rng::with_seed(seed)),
        })
    }

    fn window(&self) -> Option<&Window> {
        let now = self.world.now();
        self.windows.iter().find(|window| (window.from..window.until).contains(&now))
    }

    /// Since when nothing has been wrong with it; `None` while something is.
    pub fn well_since(&self, now: Duration) -> Option<Duration> {
        let before = self.windows.iter().filter(|window| window.from <= now).map(|window| window.until);
        before.max().map_or(Some(Duration::ZERO), |end| (end <= now).then_some(end))
    }

    fn millis(&self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.lock().unwrap().u64(range))
    }

    fn chance(&self) -> bool {
        self.rng.lock().unwrap().bool()
    }

    /// What one that looks at a load makes of it.
    fn judge(&self, spans: &[u64], sure: bool) -> Verdict {
        let bad = self.world.bad();
        if spans.iter().any(|span| bad.breaks(*span)) {
            return Verdict::Elsewhere { reason: format!("{}: reset", self.name), maybe_taken: true };
        }
        if spans.iter().any(|span| bad.is_refused(*span)) {
            return Verdict::Refused(format!("{}: 400", self.name));
        }
        if !self.world.is_planted(Plant::TakenByNobody) {
            self.group.take(spans, sure);
        }
        if self.world.is_planted(Plant::SentAgain) {
            self.group.take(spans, sure);
        }
        Verdict::Delivered
    }

    async fn answer(&self, load: &Load, spans: &[u64]) -> Verdict {
        if self.world.is_planted(Plant::StandingStill) {
            std::future::pending::<()>().await;
        }
        let Some(window) = self.window().copied() else {
            tokio::time::sleep(self.millis(1..60)).await;
            return self.judge(spans, true);
        };
        self.world.met(window.mood.kind(), window.number);
        let failed =
            |maybe_taken| Verdict::Elsewhere { reason: format!("{}: {:?}", self.name, window.mood), maybe_taken };
        let text = format!("{}: {:?}", self.name, window.mood);
        match window.mood {
            Mood::Hangs => tokio::time::sleep(TIMEOUT).await,
            Mood::Slow => tokio::time::sleep(self.millis(1_000..9_000)).await,
            _ => tokio::time::sleep(self.millis(1..60)).await,
        }
        match window.mood {
            Mood::Refuses => Verdict::Absent(text),
            Mood::Fails500 => failed(false),
            Mood::Busy503 | Mood::Busy429 => Verdict::Wait(self.millis(500..20_000), text),
            Mood::Unauthorized401 | Mood::NotFound404 => Verdict::Misconfigured(text),
            Mood::Refuses400 => Verdict::Refused(text),
            Mood::Small(most) if load.bytes > most => Verdict::TooLarge(text),
            Mood::Resets | Mood::Hangs | Mood::LosesReplies => {
                if window.mood == Mood::LosesReplies || self.chance() {
                    self.judge(spans, false);
                }
                failed(true)
            }
            Mood::Closes if self.chance() => {
                if self.chance() {
                    self.judge(spans, false);
                }
                Verdict::Again(text)
            }
            Mood::Small(_) | Mood::Closes | Mood::Slow => self.judge(spans, true),
        }
    }
}

/// A send that may be cut off by a crash: then the collector has it, or not.
struct Sent<'a> {
    collector: &'a Collector,
    spans: Vec<u64>,
    answered: bool,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if !self.answered && self.collector.window().is_none() && self.collector.chance() {
            self.collector.judge(&self.spans, false);
        }
    }
}

impl Sink for Collector {
    fn name(&self) -> &str {
        &self.name
    }

    fn url(&self) -> &str {
        &self.name
    }

    fn send<'a>(&'a self, load: &'a Load) -> Sending<'a> {
        let mut spans = Vec::with_capacity(load.spans as usize);
        for piece in &load.pieces {
            let mut at = 0;
            for span in canonical::elements(piece) {
                let end = span.map_or(piece.len(), |span| span.as_ptr_range().end.addr() - piece.as_ptr().addr());
                let number = number_of(&piece[at..end]);
                match number.filter(|number| self.world.knows(*number, &piece[at..end])) {
                    Some(number) => spans.push(number),
                    None => self.world.broke(format!("{} was sent what was never made", self.name)),
                }
                at = end;
            }
        }
        if spans.len() != load.spans as usize {
            self.world.broke(format!("{} was sent {} spans that are {}", self.name, load.spans, spans.len()));
        }
        self.group.sent(spans.len());
        Box::pin(async move {
            let mut cut = Sent { collector: self, spans, answered: false };
            let verdict = self.answer(load, &cut.spans).await;
            cut.answered = true;
            match &verdict {
                Verdict::Delivered => self.world.count(DELIVERED, 1),
                Verdict::Elsewhere { .. } | Verdict::Again(_) => self.group.failed(&cut.spans),
                _ => {}
            }
            self.world.tell("sent", cut.spans.len() as u64, || {
                format!("{} {} spans from {:?}: {verdict:?}", self.name, cut.spans.len(), cut.spans.first())
            });
            verdict
        })
    }
}
