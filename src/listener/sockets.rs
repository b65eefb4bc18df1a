//! Listening sockets: bound with advice, accepted within a limit.
//!
//! A bind error names the address, who is likely there, and the flag that moves us. A peer over
//! the connection limit is accepted and closed at once, so that it hears of it, and counted.
//! Errors of `accept` (no file descriptors left) back off; they never spin and never end the loop.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::rarely::Rarely;
use crate::metrics::{Counter, Gauge, Registry};

/// Connections that wait to be accepted; the kernel cuts it to `somaxconn` (4096 on Linux).
const BACKLOG: i32 = 1024;

/// A dead peer behind an idle connection is found after about two minutes: 60 s + 6 x 10 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 6;

/// Pause after a failed `accept`: first, and at most.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a bind error tells.
pub(super) struct Advice {
    pub listener: &'static str,
    /// Who is likely to hold the port already.
    pub owner: &'static str,
    pub flag: &'static str,
}

/// Binds and listens on every address, or on none.
pub(super) fn bind(addresses: &[SocketAddr], advice: &Advice) -> io::Result<Vec<StdListener>> {
    addresses.iter().map(|address| bind_one(*address, addresses).map_err(|e| explain(e, *address, advice))).collect()
}

fn bind_one(address: SocketAddr, all: &[SocketAddr]) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last process's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    // `[::]` serves IPv4 as well, unless that has an address of its own here.
    if address.is_ipv6() && all.iter().any(|other| other.is_ipv4() && other.port() == address.port()) {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn explain(error: io::Error, address: SocketAddr, advice: &Advice) -> io::Error {
    let Advice { listener, owner, flag } = advice;
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => format!("; is {owner} running there? {flag} takes another address"),
        io::ErrorKind::AddrNotAvailable => format!("; this machine has no such address ({flag})"),
        io::ErrorKind::PermissionDenied => format!("; ports below 1024 need a privilege ({flag})"),
        _ => format!(" ({flag})"),
    };
    io::Error::new(
        error.kind(),
        format!("{listener}: cannot listen on port {} ({address}): {error}{hint}", address.port()),
    )
}

/// The addresses in use, with the ports that the kernel chose for port 0.
pub(super) fn addresses(listeners: &[StdListener]) -> io::Result<Vec<SocketAddr>> {
    listeners.iter().map(StdListener::local_addr).collect()
}

/// A token that is cancelled when the last [`Gate::accept`] with its guard has closed its socket:
/// connections are told to finish only when no new ones can come.
pub(super) fn all_closed() -> (CancellationToken, Arc<DropGuard>) {
    let closed = CancellationToken::new();
    let guard = Arc::new(closed.clone().drop_guard());
    (closed, guard)
}

/// The connection limit of one listener, and its counters. Cheap to clone.
#[derive(Clone)]
pub(super) struct Gate(Arc<Inner>);

struct Inner {
    listener: &'static str,
    seats: Arc<Semaphore>,
    connections_max: usize,
    open: Gauge,
    accepted: Counter,
    over: Counter,
    over_log: Rarely,
    error_log: Rarely,
}

/// An open connection's place within the limit.
pub(super) struct Seat {
    open: Gauge,
    _seat: OwnedSemaphorePermit,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.open.decrement(1.0);
    }
}

impl Gate {
    pub fn new(listener: &'static str, connections_max: usize, registry: &Registry) -> Self {
        let labels = [("listener", listener)];
        let refused = [("listener", listener), ("reason", "limit")];
        Gate(Arc::new(Inner {
            listener,
            seats: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
            connections_max,
            open: registry.gauge("spangate_connections", &labels),
            accepted: registry.counter("spangate_connections_total", &labels),
            over: registry.counter("spangate_connections_refused_total", &refused),
            over_log: Rarely::default(),
            error_log: Rarely::default(),
        }))
    }

    /// Accepts until `stop`, then closes the listening socket, and after that drops `guard`.
    pub async fn accept(
        self,
        listener: StdListener,
        stop: CancellationToken,
        _guard: Arc<DropGuard>,
        serve: impl Fn(TcpStream, SocketAddr, Seat) + Send,
    ) {
        let listener = TcpListener::from_std(listener).expect("bound non-blocking, inside a runtime");
        let mut pause = ACCEPT_PAUSE;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = ACCEPT_PAUSE;
                    if let Some(seat) = self.admit(&stream, peer) {
                        serve(stream, peer, seat);
                    }
                }
                Err(error) if is_of_one_peer(&error) => {}
                Err(error) => {
                    self.log_error(&error);
                    tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(pause) => {} }
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                }
            }
        }
    }

    fn admit(&self, stream: &TcpStream, peer: SocketAddr) -> Option<Seat> {
        let inner = &self.0;
        let Ok(seat) = inner.seats.clone().try_acquire_owned() else {
            inner.over.increment(1);
            if let Some(left_out) = inner.over_log.due() {
                let (listener, limit) = (inner.listener, inner.connections_max);
                tracing::warn!(listener, %peer, limit, left_out, "connection closed: connections_max is reached");
            }
            return None;
        };
        inner.accepted.increment(1);
        inner.open.increment(1.0);
        if let Err(error) = tune(stream) {
            tracing::debug!(listener = inner.listener, %peer, %error, "socket options were refused");
        }
        Some(Seat { open: inner.open.clone(), _seat: seat })
    }

    fn log_error(&self, error: &io::Error) {
        if let Some(left_out) = self.0.error_log.due() {
            let listener = self.0.listener;
            tracing::error!(listener, %error, left_out, "cannot accept connections; trying again");
        }
    }
}

/// An error of `accept` that belongs to the connection that was to be accepted (accept(2), "Error handling").
fn is_of_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | WouldBlock)
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    // Replies are small and awaited.
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
