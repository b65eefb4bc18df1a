//! Dead letters: written and synced before their spans are settled, however long that takes.
//!
//! While the disk takes nothing the spans stay open in the channel; it is said once, and once
//! when it is over.

use std::io;
use std::time::Duration;

use super::backoff::Backoff;
use super::batch::{Stretch, read};
use crate::channel::{Ledger, Outcome, ReadError};
use crate::deadletter::{Class, Letter, Store};
use crate::tasks;

/// Waits of a disk that fails: from one that was busy to one that a person must look at.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Letters that are being written when their drain ends get this long, so that on a sound disk none is written twice.
pub(super) const LAST_WRITE: Duration = Duration::from_secs(1);

/// A span that every try has refused.
#[derive(Debug)]
pub(super) struct Dead {
    /// One item.
    pub span: Stretch,
    pub reason: String,
}

/// Writes `dead` and says what each was settled as: dead-lettered, or damaged where its bytes were. Returns when all is
/// durable; dropped before, nothing is settled.
pub(super) async fn bury(ledger: &Ledger, store: &Store, drain: &str, dead: Vec<Dead>) -> Vec<(Stretch, Outcome)> {
    let mut letters = Vec::with_capacity(dead.len());
    let mut settled = Vec::with_capacity(dead.len());
    for Dead { span, reason } in dead {
        let outcome = match read_patiently(ledger, drain, &span).await {
            Some(bytes) => {
                letters.push(Letter {
                    class: Class::Refused,
                    received_us: span.head.received_us,
                    reason,
                    drain: drain.to_owned(),
                    position: span.positions().start,
                    origin: span.head.origin.0.clone(),
                    bytes,
                });
                Outcome::DeadLettered
            }
            None => Outcome::Damaged,
        };
        settled.push((span, outcome));
    }
    write_patiently(store, drain, letters).await;
    settled
}

/// The bytes of one span; `None` where they are damaged.
async fn read_patiently(ledger: &Ledger, drain: &str, span: &Stretch) -> Option<bytes::Bytes> {
    let mut trouble = Trouble::new(drain, "a refused span cannot be read; it stays in the channel");
    loop {
        match read(ledger, std::slice::from_ref(span)).await {
            Ok(pieces) => {
                trouble.over();
                return pieces.into_iter().next();
            }
            Err((_, ReadError::Damaged { .. })) => return None,
            Err((_, ReadError::Failed(error))) => trouble.wait(&error).await,
        }
    }
}

/// Writes letters until they are durable.
pub(super) async fn write_patiently(store: &Store, drain: &str, letters: Vec<Letter>) {
    let letters = std::sync::Arc::new(letters);
    let mut trouble = Trouble::new(drain, "dead letters cannot be written; their spans stay in the channel");
    loop {
        let (store, letters) = (store.clone(), letters.clone());
        match tasks::blocking(move || store.write(&letters)).await {
            Ok(()) => return trouble.over(),
            Err(error) => trouble.wait(&error).await,
        }
    }
}

/// A disk's failures, told once.
pub(super) struct Trouble<'a> {
    drain: &'a str,
    what: &'static str,
    backoff: Backoff,
}

impl<'a> Trouble<'a> {
    pub fn new(drain: &'a str, what: &'static str) -> Self {
        Trouble { drain, what, backoff: Backoff::new(RETRY_MIN, RETRY_MAX) }
    }

    pub async fn wait(&mut self, error: &io::Error) {
        if self.backoff.failures() == 0 {
            tracing::error!(drain = self.drain, %error, "{}", self.what);
        }
        let wait = self.backoff.fail();
        tokio::time::sleep(wait).await;
    }

    pub fn over(&mut self) {
        if self.backoff.failures() > 0 {
            tracing::info!(drain = self.drain, failures = self.backoff.failures(), "over: {}", self.what);
            self.backoff.reset();
        }
    }
}
