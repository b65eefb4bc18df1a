//! The Zipkin HTTP listener on port 9411: `POST /api/v2/spans` and `/api/v1/spans`, and what Zipkin's monitors ask.
//!
//! Promises: 202 only after durable; a request is all or nothing; every wait and every size is
//! bounded, with its own answer (400, 408, 413, 415, 503, 508). Our own accept loop over hyper,
//! as axum's has no limits. `clocks` holds the header and idle limits, `body` reads within
//! permits, `spans` is the POST, `grpc` the same by gRPC, `routes` everything else, `cors` what browsers need.
//! At the stop listening sockets close first, then connections finish what they began.

mod body;
mod clocks;
mod connection;
mod cors;
mod grpc;
mod problem;
mod routes;
mod spans;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use self::connection::Server;
use super::intake::Intake;
use super::sockets::{self, Advice, Gate};
use super::{Live, Probe};
use crate::metrics::Registry;
use crate::tasks::Tasks;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Default 0.0.0.0:9411. Empty: no HTTP.
    pub addresses: Vec<SocketAddr>,
    /// Bytes of a body on the wire. Default 10 MiB (Zipkin's).
    pub body_bytes_max: usize,
    /// Bytes of a body decompressed. Default 64 MiB.
    pub decoded_bytes_max: usize,
    /// Decompressed bytes per compressed byte. Default 100.
    pub decoded_ratio_max: usize,
    /// A started request head must be complete in this time. Default 10 s.
    pub header_timeout: Duration,
    /// A started body likewise. Default 30 s.
    pub body_timeout: Duration,
    /// Bytes a second of a body, on average, once it took 5 s. Default 4 KiB.
    pub body_rate_min: u64,
    /// Default 60 s.
    pub idle_timeout: Duration,
    /// Default 10,000.
    pub connections_max: usize,
    /// Carried by each span's origin, behind the listener's own keys. Default none.
    pub labels: Vec<(String, String)>,
    /// Whether v1 binary annotations that are no strings are kept as strings. Default yes.
    pub keep_binary_annotations: bool,
    /// Default `*`, as Zipkin's; empty: no CORS headers.
    pub allowed_origins: Vec<String>,
    /// Whether a request with [the mark](crate::wire::replay) is one of what was archived before. Default true.
    pub replay_mark: bool,
}

/// Sockets that listen and do not accept yet.
pub struct Bound {
    settings: Live<Settings>,
    listeners: Vec<TcpListener>,
}

/// Binds every address; an error names the port, its likely owner, and the flag.
pub fn bind(settings: Settings) -> io::Result<Bound> {
    let advice = Advice { listener: "HTTP", owner: "Zipkin", flag: "--http-address" };
    Ok(Bound { listeners: sockets::bind(&settings.addresses, &advice)?, settings: Live::new(settings) })
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

    /// Accepts until `tasks` stop; must be called inside a runtime.
    pub fn serve(self, intake: Intake, probe: Probe, tasks: &Tasks, registry: &Registry) {
        let gate = Gate::new("http", self.settings.get().connections_max, registry);
        let (closed, guard) = sockets::all_closed();
        let server = Arc::new(Server::new(self.settings, &intake, probe, tasks.clone(), closed, registry));
        for listener in self.listeners {
            let (server, connections, guard) = (server.clone(), tasks.clone(), guard.clone());
            let accept = gate.clone().accept(listener, tasks.stopping().clone(), guard, move |stream, peer, seat| {
                connections.spawn("http connection", connection::serve(server.clone(), stream, peer, seat));
            });
            tasks.vital("http accept", accept);
        }
    }
}
