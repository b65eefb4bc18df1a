//! A sink's place in a group: the sink, and the terms on which it takes part.

use std::sync::Arc;

use super::BatchSettings;
use crate::sink::Sink;

/// A sink and its terms.
#[derive(Clone)]
pub struct Seat {
    pub sink: Arc<dyn Sink>,
    pub terms: Terms,
}

/// What a sink has of its own; the defaults are what all have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Its share under [`Policy::Weighted`](super::Policy::Weighted). Default 1.
    pub weight: u32,
    /// Under [`Policy::Failover`](super::Policy::Failover) the lowest comes first. Default 1.
    pub priority: u32,
    /// Default: the drain's.
    pub batch: Option<BatchSettings>,
    /// Spans a second.
    pub rate_max: Option<u64>,
    /// Whether it is looked at beside its answers, where it can be. Default true.
    pub watch: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Terms { weight: 1, priority: 1, batch: None, rate_max: None, watch: true }
    }
}

impl From<Arc<dyn Sink>> for Seat {
    fn from(sink: Arc<dyn Sink>) -> Self {
        Seat { sink, terms: Terms::default() }
    }
}
