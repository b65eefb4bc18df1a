//! Sockets in. `scribe` and `http` read messages within limits; `intake` is the only place
//! that says yes, and says it after the channel's receipt resolved.
//!
//! `sockets` binds and accepts within the connection limit, `rarely` keeps what hostile peers
//! can provoke to one line a minute, `live` holds what a reload replaces, `pace` is how fast a message must come.

pub mod http;
pub mod intake;
mod live;
mod pace;
mod rarely;
pub mod scribe;
mod sockets;

use std::sync::Arc;

pub use live::Live;

/// What an origin calls the listeners.
pub const LISTENERS: [&str; 3] = ["scribe", "http", "grpc"];

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
    /// False only where a restart would mend what is wrong: a failed sync, damage. Neither a full
    /// channel nor an absent collector makes it false.
    pub healthy: bool,
    pub details: String,
}

/// Asks for the condition; cheap enough for every health check.
pub type Probe = Arc<dyn Fn() -> Condition + Send + Sync>;

/// Runs `work` on `bytes` of input, and lets the runtime's other tasks move to another thread
/// first where there is much of it.
fn heavy<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    /// About 1 ms of decoding: beyond it, other connections on this thread would notice.
    const HEAVY_BYTES: usize = 256 * 1024;
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current() {
        Ok(handle) if bytes > HEAVY_BYTES && handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(work)
        }
        _ => work(),
    }
}
