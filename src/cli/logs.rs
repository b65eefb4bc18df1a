//! The log: text or JSON on stderr, one line an event. Its level may change while it runs.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Log, LogFormat};

/// Takes over another level, which was checked with its configuration.
pub type SetLevel = Box<dyn Fn(&str) + Send + Sync>;

/// Starts logging for the process; a second call changes nothing.
pub fn start(log: &Log) -> SetLevel {
    // A line that cannot be written (a terminal that was closed) has no better place, and a complaint about it on the
    // same stderr would panic.
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).log_internal_errors(false);
    let filter = EnvFilter::new(&log.level);
    match log.format {
        LogFormat::Text => {
            let builder = builder.with_ansi(io::stderr().is_terminal()).with_env_filter(filter).with_filter_reloading();
            let handle = builder.reload_handle();
            begun(builder.finish().try_init());
            Box::new(move |level| taken_over(handle.reload(EnvFilter::new(level))))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_ansi(false);
            let builder = builder.with_env_filter(filter).with_filter_reloading();
            let handle = builder.reload_handle();
            begun(builder.finish().try_init());
            Box::new(move |level| taken_over(handle.reload(EnvFilter::new(level))))
        }
    }
}

fn begun(started: Result<(), TryInitError>) {
    if let Err(error) = started {
        tracing::debug!(%error, "the log runs already");
    }
}

fn taken_over(reloaded: Result<(), tracing_subscriber::reload::Error>) {
    if let Err(error) = reloaded {
        tracing::warn!(%error, "the level of the log stays as it was");
    }
}
