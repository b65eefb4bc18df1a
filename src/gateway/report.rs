//! What the gateway says of its own state: `/health`, `/ready`, Scribe's getStatus, the log.
//!
//! All of it from one look at the channel and the statuses of drains and archives. `/health` is
//! good while the process can serve; `/ready` while a span would be accepted. Neither depends on
//! a collector, an archive or a backlog: their states stand in the body.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::admin::Report;
use crate::archive;
use crate::channel::{Account, Channel, Intake, Snapshot};
use crate::clock::Clock;
use crate::drain::{self, SinkView, Standing};
use crate::gateway::memory::DiskFree;
use crate::gateway::promise::Promise;
use crate::gateway::said::{Said, Say};
use crate::gateway::scrape::OUTCOMES;
use crate::listener::{Condition, State};

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    Starting,
    Running,
    Stopping,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Starting => "starting",
            Stage::Running => "running",
            Stage::Stopping => "stopping",
        }
    }
}

/// Handles on what drains and archives show of themselves, by drain; they come and go with a reload. Cheap to clone.
#[derive(Clone, Default)]
pub struct Statuses(Arc<Mutex<BTreeMap<String, Shown>>>);

/// What shows a drain's state.
#[derive(Clone)]
pub enum Shown {
    Drain(drain::Status),
    Archive(archive::Status),
}

impl Shown {
    /// None for an archive.
    pub fn sinks(&self) -> Vec<SinkView> {
        match self {
            Shown::Drain(status) => status.sinks(),
            Shown::Archive(_) => Vec::new(),
        }
    }
}

impl Statuses {
    pub fn show(&self, drain: &str, shown: Shown) {
        self.lock().insert(drain.to_owned(), shown);
    }

    pub fn forget(&self, drain: &str) {
        self.lock().remove(drain);
    }

    /// The drains that are archives.
    pub fn archives(&self) -> Vec<String> {
        let all = self.all().into_iter();
        all.filter(|(_, shown)| matches!(shown, Shown::Archive(_))).map(|(name, _)| name).collect()
    }

    fn all(&self) -> Vec<(String, Shown)> {
        self.lock().iter().map(|(name, shown)| (name.clone(), shown.clone())).collect()
    }

    pub fn of(&self, drain: &str) -> Option<Shown> {
        self.lock().get(drain).cloned()
    }

    /// Entries are put and taken whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Shown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at everything that has a state.
pub struct Watch {
    stage: AtomicU8,
    channel: Channel,
    promise: Promise,
    /// Where the channel knows nothing of the disk.
    disk_free: Option<DiskFree>,
    clock: Clock,
    statuses: Statuses,
    /// What the log last said of the intake.
    said: Mutex<Said>,
}

impl Watch {
    pub fn new(
        channel: Channel,
        promise: Promise,
        disk_free: Option<DiskFree>,
        clock: Clock,
        statuses: Statuses,
    ) -> Self {
        let (stage, said) = (AtomicU8::new(Stage::Starting as u8), Mutex::new(Said::new()));
        Watch { stage, channel, promise, disk_free, clock, statuses, said }
    }

    pub fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Starting,
            1 => Stage::Running,
            _ => Stage::Stopping,
        }
    }

    /// Whether a span would be accepted, by one snapshot.
    pub fn accepting(&self, snapshot: &Snapshot) -> bool {
        self.stage() == Stage::Running && snapshot.intake == Intake::Open
    }

    /// For Scribe's getStatus and `/health` on the HTTP listener.
    pub fn condition(&self) -> Condition {
        let snapshot = self.channel.snapshot();
        let mut details: Vec<String> = Vec::new();
        if snapshot.intake != Intake::Open {
            details.push(intake_text(&snapshot));
        }
        for (name, shown) in self.statuses.all() {
            match shown {
                Shown::Drain(status) => {
                    let down = status.sinks().into_iter().filter(|sink| sink.standing != Standing::Up);
                    let told = |sink: SinkView| format!("drain {name}: {} is {}", sink.name, sink.standing.name());
                    details.extend(down.map(told));
                }
                Shown::Archive(status) => {
                    details.extend(trouble(&status.seen().state).map(|reason| format!("archive {name}: {reason}")));
                }
            }
        }
        let state = match self.stage() {
            Stage::Starting => State::Starting,
            Stage::Stopping => State::Stopping,
            Stage::Running if details.is_empty() => State::Alive,
            Stage::Running => State::Warning,
        };
        let (accepting, healthy) = (self.accepting(&snapshot), !failed_for_good(&snapshot));
        Condition { state, accepting, healthy, details: details.join("; ") }
    }

    /// 503 only after a failure that a restart would mend.
    pub fn health(&self) -> Report {
        let snapshot = self.channel.snapshot();
        let failed = failed_for_good(&snapshot);
        let status = if failed { "DOWN" } else { "UP" };
        let body = json!({ "status": status, "stage": self.stage().name(), "intake": intake_text(&snapshot) });
        Report { ok: !failed, body: pretty(&body) }
    }

    /// 200 while a span would be accepted.
    pub fn ready(&self) -> Report {
        let snapshot = self.snapshot();
        let ok = self.accepting(&snapshot);
        let body = json!({
            "ready": ok,
            "stage": self.stage().name(),
            "yes_means": self.promise.text(),
            "intake": intake_text(&snapshot),
            "channel": {
                "bytes": snapshot.bytes,
                "capacity_bytes": snapshot.capacity_bytes,
                "spans": snapshot.items,
                "disk_free_bytes": snapshot.disk_free_bytes,
            },
            "drains": snapshot.accounts.iter().map(|account| self.drain(account)).collect::<Vec<_>>(),
        });
        Report { ok, body: pretty(&body) }
    }

    /// What an OK or a 202 promises with the settings in force.
    pub fn promise(&self) -> Promise {
        self.promise
    }

    /// Every sink, with its drain's name.
    pub fn sinks(&self) -> Vec<(String, SinkView)> {
        let drains = self.statuses.all().into_iter();
        drains.flat_map(|(name, shown)| shown.sinks().into_iter().map(move |sink| (name.clone(), sink))).collect()
    }

    /// The channel at one moment.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.channel.snapshot();
        if let Some(free) = &self.disk_free {
            snapshot.disk_free_bytes = free.bytes();
        }
        snapshot
    }

    fn drain(&self, account: &Account) -> Value {
        let outcome = |(outcome, name): &(_, &str)| {
            ((*name).to_owned(), Value::from(account.outcomes.get(outcome).copied().unwrap_or(0)))
        };
        let mut value = json!({
            "name": account.drain,
            "accepted": account.accepted,
            "waiting": account.waiting,
            "waiting_bytes": account.waiting_bytes,
            "lag_seconds": account.oldest_us.map(|us| self.clock.now_us().saturating_sub(us) as f64 / 1e6),
            "settled": OUTCOMES.iter().map(outcome).collect::<serde_json::Map<_, _>>(),
        });
        match self.statuses.of(&account.drain) {
            Some(Shown::Drain(status)) => {
                value["sinks"] = status.sinks().iter().map(sink).collect();
                let held = status.held();
                value["held"] = json!({ "refused": held.refused, "suspects": held.suspects, "paused": held.paused });
            }
            Some(Shown::Archive(status)) => {
                let seen = status.seen();
                value["last_object"] = json!(seen.last_object);
                value["trouble"] = json!(trouble(&seen.state));
            }
            None => {}
        }
        value
    }

    /// One log line when intake stops, and one when it goes on for good. Called once a second.
    pub fn log_changes(&self, snapshot: &Snapshot) {
        if self.stage() != Stage::Running {
            return;
        }
        let say = self.said.lock().expect("logging does not panic").next(&snapshot.intake, Instant::now());
        match say {
            Say::Nothing => {}
            Say::Stopped => tracing::warn!(reason = intake_text(snapshot), "intake stopped"),
            Say::Resumed(after) => tracing::info!(seconds = after.as_secs(), "intake goes on"),
        }
    }
}

/// The drain furthest behind, which holds a full channel.
pub fn furthest_behind(snapshot: &Snapshot) -> Option<&Account> {
    snapshot.accounts.iter().filter(|account| account.waiting > 0).min_by_key(|account| account.low)
}

/// Whether a restart would mend what is wrong.
fn failed_for_good(snapshot: &Snapshot) -> bool {
    matches!(snapshot.intake, Intake::Failed { for_good: true, .. })
}

fn intake_text(snapshot: &Snapshot) -> String {
    match &snapshot.intake {
        Intake::Open => "open".to_owned(),
        Intake::Full => match furthest_behind(snapshot) {
            Some(account) => {
                format!("full: drain {} is furthest behind, {} spans wait", account.drain, account.waiting)
            }
            None => "full".to_owned(),
        },
        Intake::DiskLow => format!("stopped: {} bytes of disk are left", snapshot.disk_free_bytes),
        Intake::NoSpace { reason } => {
            format!("stopped: {reason}; {} bytes of disk are left", snapshot.disk_free_bytes)
        }
        Intake::Failed { reason, for_good: true } => format!("closed until a restart: {reason}"),
        Intake::Failed { reason, for_good: false } => format!("failed, trying again: {reason}"),
        Intake::Stopping => "stopping".to_owned(),
    }
}

fn sink(sink: &SinkView) -> Value {
    json!({
        "name": sink.name,
        "url": sink.url,
        "state": sink.standing.name(),
        "backoff_seconds": sink.backoff_left(Instant::now()).as_secs_f64(),
        "in_flight": sink.in_flight,
        "in_flight_limit": sink.limit,
        "dropped_spans": sink.dropped,
        "held_to_spans_per_second": sink.held_to,
        "says_down": sink.says_down,
        "last_error": sink.last_error,
    })
}

fn trouble(state: &archive::State) -> Option<&str> {
    match state {
        archive::State::Ok => None,
        archive::State::Retrying { reason, .. } | archive::State::Stopped { reason } => Some(reason),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
