//! Trying again: each step of an archive is repeated with back-off until it succeeds, until a stop,
//! or until it meets trouble that a repetition does not mend. Shows it in the status, counts it, and
//! writes one log line when trouble begins, changes its kind, or ends.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::publish::Trouble;
use super::status::Status;
use crate::channel::AppendError;
use crate::drain::backoff::Backoff;
use crate::metrics::Counter;

/// First wait after a failed try; a store that is back is found within [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Why an archive's work ended.
#[derive(Debug)]
pub enum End {
    Stop,
    /// Only a person can help.
    Halt(String),
}

/// What an archive has gone through lately.
pub struct Patience {
    drain: String,
    backoff: Backoff,
    /// The kind of the trouble that was logged last, while it lasts.
    trouble: Option<&'static str>,
    status: Status,
    failures: Counter,
}

impl Patience {
    pub fn new(drain: &str, status: Status, failures: Counter) -> Self {
        let backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
        Patience { drain: drain.to_owned(), backoff, trouble: None, status, failures }
    }

    /// Repeats `one`. During a stop it is tried once.
    pub async fn tried<T, F>(&mut self, stop: &CancellationToken, mut one: impl FnMut() -> F) -> Result<T, End>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        loop {
            match one().await {
                Ok(value) => {
                    self.recovered();
                    return Ok(value);
                }
                Err(Trouble::Channel(AppendError::Stopping)) => return Err(End::Stop),
                Err(trouble @ Trouble::Unequal { .. }) => return Err(End::Halt(trouble.to_string())),
                Err(trouble) => self.failed(&trouble),
            }
            if stop.is_cancelled() {
                return Err(End::Stop);
            }
            self.rest(stop).await;
        }
    }

    /// Waits as long as the last failures ask for, or until a stop.
    pub async fn rest(&mut self, stop: &CancellationToken) {
        let wait = self.backoff.fail();
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => {}
        }
    }

    pub fn failed(&mut self, trouble: &Trouble) {
        self.failures.increment(1);
        self.status.failed(trouble.to_string());
        if self.trouble.replace(trouble.kind()) != Some(trouble.kind()) {
            tracing::warn!(drain = self.drain, reason = %trouble, "the archive cannot go on; trying again");
        }
    }

    pub fn recovered(&mut self) {
        self.backoff.reset();
        self.trouble = None;
        if let Some(since) = self.status.recovered() {
            tracing::info!(drain = self.drain, seconds = since.elapsed().as_secs(), "the archive goes on");
        }
    }
}
