//! What ends a gateway: SIGTERM, SIGINT, a client that may, a vital task that failed.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::gateway::Error;

/// SIGTERM and SIGINT, as a stream.
pub struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// Takes the signals over from their default, which is to kill the process.
    pub fn take() -> Result<Self, Error> {
        let taken = |kind| signal(kind).map_err(|error| Error::Other(format!("cannot take signals: {error}")));
        Ok(Signals { term: taken(SignalKind::terminate())?, int: taken(SignalKind::interrupt())? })
    }

    /// The next signal's name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }

    /// Waits for a signal, or for `asked` (a client's shutdown) or `failed` (a vital task's end).
    pub async fn wait(&mut self, asked: &CancellationToken, failed: impl Future<Output = ()>) {
        let why = tokio::select! {
            name = self.next() => name,
            () = asked.cancelled() => "a client's shutdown call",
            () = failed => "a vital task ended",
        };
        tracing::info!(why, "stopping; a second signal stops at once");
    }
}
