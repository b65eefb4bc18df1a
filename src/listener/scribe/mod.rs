//! The Scribe listener: framed Thrift binary on port 1463.
//!
//! Promises: `Log` is answered OK only after durable; replies in order, in the caller's form; one
//! bad entry costs itself; a frame is bounded in size and time, a connection's memory by permits,
//! whether or not the peer reads its replies. Refused is TRY_LATER. `frames` reads, `log` decodes,
//! `service` is fb303, `answers` writes in order, `categories` counts as scribed did.
//! At the stop listening sockets close first, then frames that had begun are answered.

mod answers;
mod categories;
mod closings;
mod connection;
mod frames;
mod log;
#[doc(hidden)]
pub mod raw;
mod service;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use self::connection::{Server, Stops};
use super::intake::Intake;
use super::sockets::{self, Advice, Gate};
use super::{Live, Probe};
use crate::metrics::Registry;
use crate::tasks::Tasks;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Default 0.0.0.0:1463. Empty: no Scribe.
    pub addresses: Vec<SocketAddr>,
    /// Categories taken, exactly; `*` takes all. Default `zipkin`.
    pub categories: Vec<String>,
    /// Default 16,384,000 (Flume's).
    pub frame_bytes_max: usize,
    /// A started frame must be complete in this time, and a reply taken. Default 30 s.
    pub frame_timeout: Duration,
    /// Bytes a second of a frame, on average, once it took 5 s. Default 4 KiB.
    pub frame_rate_min: u64,
    /// Default 10,000.
    pub connections_max: usize,
    /// Carried by each span's origin, behind the listener's own keys. Default none.
    pub labels: Vec<(String, String)>,
    /// Non-string binary annotations become strings (true, the default) or are dropped as Zipkin does.
    pub keep_binary_annotations: bool,
    /// Whether fb303's `shutdown` stops the gateway. Default false: nobody is asked for a password here.
    pub allow_shutdown: bool,
    /// Whether a call that begins with [the mark](crate::wire::replay) is one of what was archived before. Default
    /// true.
    pub replay_mark: bool,
}

impl Settings {
    fn takes(&self, category: &[u8]) -> bool {
        self.categories.iter().any(|name| name == "*" || name.as_bytes() == category)
    }
}

/// Sockets that listen and do not accept yet.
pub struct Bound {
    settings: Live<Settings>,
    listeners: Vec<TcpListener>,
    http_port: u16,
}

/// Binds every address; an error names the port, its likely owner, and the flag.
pub fn bind(settings: Settings) -> io::Result<Bound> {
    let advice = Advice { listener: "Scribe", owner: "Flume or scribed", flag: "--scribe-address" };
    Ok(Bound {
        listeners: sockets::bind(&settings.addresses, &advice)?,
        settings: Live::new(settings),
        http_port: 9411,
    })
}

impl Bound {
    /// The addresses in use, with the ports that the kernel chose for port 0.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        sockets::addresses(&self.listeners)
    }

    /// The settings in force, to be replaced while it serves; addresses and `connections_max` stay as they were bound.
    pub fn settings(&self) -> Live<Settings> {
        self.settings.clone()
    }

    /// The port that who speaks HTTP here is sent to; 9411 unless said otherwise.
    pub fn with_http_port(mut self, port: u16) -> Self {
        self.http_port = port;
        self
    }

    /// Accepts until `tasks` stop; must be called inside a runtime.
    pub fn serve(self, intake: Intake, probe: Probe, tasks: &Tasks, registry: &Registry) {
        let gate = Gate::new("scribe", self.settings.get().connections_max, registry);
        let (closed, guard) = sockets::all_closed();
        let stops = Stops { listener: tasks.stopping().clone(), connections: closed };
        let server = Arc::new(Server::new(self.settings, self.http_port, &intake, probe, stops, registry));
        for listener in self.listeners {
            let (server, connections, guard) = (server.clone(), tasks.clone(), guard.clone());
            let accept = gate.clone().accept(listener, tasks.stopping().clone(), guard, move |stream, peer, seat| {
                connections.spawn("scribe connection", connection::serve(server.clone(), stream, peer, seat));
            });
            tasks.vital("scribe accept", accept);
        }
    }
}
