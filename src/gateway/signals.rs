//! SIGTERM, SIGINT and SIGHUP, taken over from their default, which is to kill the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::gateway::Error;

/// SIGHUP, as a stream.
pub type Hangups = Signal;

/// SIGTERM and SIGINT, as a stream.
pub struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// Takes the signals over from their default, which is to kill the process.
    pub fn take() -> Result<Self, Error> {
        Ok(Signals { term: take(SignalKind::terminate())?, int: take(SignalKind::interrupt())? })
    }

    /// The next signal's name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

/// SIGHUP: asks for a reload. Those that come while one is under way are one.
pub fn hangups() -> Result<Hangups, Error> {
    take(SignalKind::hangup())
}

fn take(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(|error| Error::Other(format!("cannot take signals: {error}")))
}
