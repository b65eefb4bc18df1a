//! Sockets in. `scribe` and `http` read messages within limits; `intake` is the only place
//! that says yes, and says it after the channel's receipt resolved.

pub mod http;
pub mod intake;
pub mod scribe;

use std::sync::Arc;

/// What a peer is told of this gateway's state (fb303 `getStatus`, `/health` on 9411).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Starting,
    Alive,
    /// A sink rests, or intake is refused.
    Warning,
    Stopping,
}

/// A state and a sentence on it; built by the gateway from one snapshot.
#[derive(Debug, Clone)]
pub struct Condition {
    pub state: State,
    /// False where a span would be refused now.
    pub accepting: bool,
    pub details: String,
}

/// Asks for the condition; cheap enough for every health check.
pub type Probe = Arc<dyn Fn() -> Condition + Send + Sync>;
