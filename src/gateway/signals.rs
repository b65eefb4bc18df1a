//! SIGTERM and SIGINT, taken over from their default, which is to kill the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

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
}
