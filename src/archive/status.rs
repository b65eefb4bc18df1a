//! What an archive shows of itself while it runs, for `/ready` and the status page.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Whether an archive goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Ok,
    /// The last try failed and is repeated; its spans wait in the channel.
    Retrying {
        since: Instant,
        reason: String,
    },
    /// It goes no further until a person has mended the cause and restarted it.
    Stopped {
        reason: String,
    },
}

/// An archive at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub state: State,
    /// The last object that this process published.
    pub last_object: Option<String>,
    /// Receive time of the oldest span that was taken and does not stand in an object yet,
    /// microseconds since the epoch. What was not taken yet is in the channel's account.
    pub oldest_us: Option<u64>,
}

/// A handle on what an archive shows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Status(Arc<Mutex<Seen>>);

impl Status {
    pub(super) fn new() -> Self {
        Status(Arc::new(Mutex::new(Seen { state: State::Ok, last_object: None, oldest_us: None })))
    }

    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    pub(super) fn published(&self, name: &str) {
        self.lock().last_object = Some(name.to_owned());
    }

    pub(super) fn waiting_since(&self, oldest_us: Option<u64>) {
        self.lock().oldest_us = oldest_us;
    }

    /// Notes a failed try.
    pub(super) fn failed(&self, reason: String) {
        let mut seen = self.lock();
        let since = match &seen.state {
            State::Retrying { since, .. } => *since,
            _ => Instant::now(),
        };
        seen.state = State::Retrying { since, reason };
    }

    /// Notes a success; says since when tries had failed.
    pub(super) fn recovered(&self) -> Option<Instant> {
        match std::mem::replace(&mut self.lock().state, State::Ok) {
            State::Retrying { since, .. } => Some(since),
            _ => None,
        }
    }

    pub(super) fn stopped(&self, reason: String) {
        self.lock().state = State::Stopped { reason };
    }

    /// The values are replaced whole, so a panic elsewhere leaves them good.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
