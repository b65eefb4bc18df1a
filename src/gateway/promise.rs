//! What an OK or a 202 promises with the settings in force: told at start-up, in `/ready` and in a metric.

use std::time::Duration;

use crate::channel::Sync;
use crate::config::{ChannelKind, Settings};

/// What a yes means. A span of which it was said is...
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// on disk.
    Synced,
    /// written, and on disk at most this much later.
    Written(Duration),
    /// in memory: gone with the process, unless it was delivered by then.
    Held,
}

impl Promise {
    pub fn of(settings: &Settings) -> Promise {
        match (settings.channel_kind, settings.channel.sync) {
            (ChannelKind::Memory, _) => Promise::Held,
            (ChannelKind::File, Sync::Always) => Promise::Synced,
            (ChannelKind::File, Sync::Every(interval)) => Promise::Written(interval),
        }
    }

    /// Seconds of accepted spans that a lost machine may lose at most.
    pub fn seconds_at_risk(self) -> f64 {
        match self {
            Promise::Synced => 0.0,
            Promise::Written(interval) => interval.as_secs_f64(),
            Promise::Held => f64::INFINITY,
        }
    }

    /// For `/ready`.
    pub fn text(self) -> String {
        match self {
            Promise::Synced => "synced".to_owned(),
            Promise::Written(interval) => format!("written; synced within {interval:?}"),
            Promise::Held => {
                "held in memory; what waits when the process ends is lost, to collectors and archive".into()
            }
        }
    }
}
