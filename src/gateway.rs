//! (to be written)

mod started;

pub use started::{ArchiveAt, Started};

/// Why a gateway did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port or the data directory is in use (exit code 3).
    #[error("{0}")]
    InUse(String),
    /// Damage that needs a person (exit code 4).
    #[error("{0}")]
    Damaged(String),
    /// The configuration cannot be honoured here (exit code 2).
    #[error("{0}")]
    Config(String),
    /// Our own fault, or the machine's (exit code 1).
    #[error("{0}")]
    Other(String),
}

/// Runs a gateway until a signal, a client that may, or a failure says stop.
pub async fn run(_: crate::config::Settings, _: impl FnOnce(&Started)) -> Result<(), Error> {
    todo!("the lead")
}
