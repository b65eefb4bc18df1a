//! One HTTP connection: hyper's, within our clocks, until it closes or we stop.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::clocks::{Clocks, Phase, Watched};
use super::problem::Logs;
use super::{Settings, cors, routes};
use crate::channel::Origin;
use crate::listener::intake::{Door, Intake, Share};
use crate::listener::rarely::Rarely;
use crate::listener::sockets::Seat;
use crate::listener::{Live, Probe};
use crate::metrics::{Counter, Registry};
use crate::tasks::Tasks;
use crate::wire::v1;

/// Bytes of a request's head (Zipkin's server takes 8 KiB of headers), and what is read from a
/// socket before permits are asked for: 10,000 connections that all send hold 320 MiB at worst.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Requests of one HTTP/2 connection at a time: a reporter has one or two, and a client with more
/// waits its turn. Each may hold a head of [`HTTP2_HEAD_BYTES_MAX`] for which no permit was asked.
const STREAMS_MAX: u32 = 20;

/// Twice what Zipkin's server takes.
const HTTP2_HEAD_BYTES_MAX: u32 = 16 * 1024;

/// Bytes that an HTTP/2 peer may send ahead of what we read, a stream and a connection: they lie
/// in memory before permits are asked for.
const WINDOW_BYTES: u32 = 64 * 1024;

/// How long a connection that idled, or that we asked to close, may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// What all connections share.
pub(super) struct Server {
    pub settings: Live<Settings>,
    pub door: Door,
    grpc: Door,
    pub probe: Probe,
    pub logs: Logs,
    slow_heads: Closing,
    large_heads: Closing,
    bad_heads: Closing,
    bad_frames: Closing,
    router: Router,
    builder: auto::Builder<Spawner>,
    closed: CancellationToken,
}

/// Connections that we close for one reason: counted, and logged once a minute.
struct Closing {
    counter: Counter,
    log: Rarely,
    why: &'static str,
}

impl Closing {
    fn count(&self, peer: SocketAddr) {
        self.counter.increment(1);
        if let Some(left_out) = self.log.due() {
            tracing::warn!(%peer, left_out, "http connection closed: {}", self.why);
        }
    }
}

/// What the requests of one connection share.
pub(super) struct Connection {
    pub server: Arc<Server>,
    pub peer: SocketAddr,
    pub share: Share,
    pub http: Entrance,
    pub grpc: Entrance,
}

/// One of the two listeners on the port: what it counts, and what it says of a span's origin.
pub(super) struct Entrance {
    pub door: Door,
    pub origin: Arc<Origin>,
}

impl Entrance {
    fn new(door: &Door, listener: &str, peer: SocketAddr, labels: &[(String, String)]) -> Self {
        let peer = peer.ip().to_canonical().to_string();
        let mut origin = vec![("listener".to_owned(), listener.to_owned()), ("peer".to_owned(), peer)];
        origin.extend_from_slice(labels);
        Entrance { door: door.clone(), origin: Arc::new(Origin(origin)) }
    }
}

impl Server {
    /// `closed`: the listening sockets are closed, connections finish what they began.
    pub fn new(
        settings: Live<Settings>,
        intake: &Intake,
        probe: Probe,
        tasks: Tasks,
        closed: CancellationToken,
        registry: &Registry,
    ) -> Self {
        let (door, grpc) = (intake.door("http"), intake.door("grpc"));
        let closing = |reason, why| {
            let labels = [("listener", "http"), ("reason", reason)];
            let counter = registry.counter("spangate_connections_refused_total", &labels);
            Closing { counter, log: Rarely::default(), why }
        };
        let (router, builder) = (routes::router(), builder(tasks));
        Server {
            settings,
            door,
            grpc,
            probe,
            logs: Logs::default(),
            slow_heads: closing("slow_head", "a request head was not complete in time"),
            large_heads: closing("head_too_large", "a request head is too large"),
            bad_heads: closing("protocol", "it speaks no HTTP"),
            bad_frames: closing("protocol", "it breaks the rules of HTTP/2"),
            router,
            builder,
            closed,
        }
    }

    /// How v1 is read here.
    pub fn v1_options(&self) -> v1::Options {
        v1::Options { keep_binary_annotations: self.settings.get().keep_binary_annotations }
    }
}

fn builder(tasks: Tasks) -> auto::Builder<Spawner> {
    let mut builder = auto::Builder::new(Spawner(tasks));
    // The header clock is ours (`clocks`).
    let http1 = &mut builder.http1();
    http1.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX);
    // A client may close its side and still wait for the answer.
    http1.half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HTTP2_HEAD_BYTES_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    builder
}

/// Runs the streams of HTTP/2 connections as tasks that a stop reaches.
#[derive(Clone)]
struct Spawner(Tasks);

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, stream: F) {
        self.0.spawn("http stream", async move {
            stream.await;
        });
    }
}

/// Serves a connection until it closes, breaks a limit, or the stop.
pub(super) async fn serve(server: Arc<Server>, stream: TcpStream, peer: SocketAddr, _seat: Seat) {
    let settings = server.settings.get();
    let clocks = Clocks::new(settings.header_timeout, settings.idle_timeout);
    let http = Entrance::new(&server.door, "http", peer, &settings.labels);
    let grpc = Entrance::new(&server.grpc, "grpc", peer, &settings.labels);
    drop(settings);
    let connection = Arc::new(Connection { server: server.clone(), peer, share: server.door.share(), http, grpc });
    let requests = clocks.clone();
    let service = service_fn(move |request| answer(connection.clone(), requests.clone(), request));
    let io = TokioIo::new(Watched { stream, clocks: clocks.clone() });
    let mut http = pin!(server.builder.serve_connection(io, service));

    let mut ended = tokio::select! {
        ended = run(http.as_mut(), &clocks) => ended,
        () = server.closed.cancelled() => {
            http.as_mut().graceful_shutdown();
            run(http.as_mut(), &clocks).await
        }
    };
    if ended == Ended::Expired(Phase::Idle) {
        // HTTP/2 peers are told (GOAWAY) that nothing was lost.
        http.as_mut().graceful_shutdown();
        let goodbye = tokio::time::timeout(GOODBYE, http.as_mut()).await;
        ended = if goodbye.is_ok() { Ended::Closed } else { ended };
    }
    match ended {
        Ended::Expired(Phase::Head) => server.slow_heads.count(peer),
        Ended::HeadTooLarge => server.large_heads.count(peer),
        Ended::NoHttp => server.bad_heads.count(peer),
        Ended::RulesBroken => server.bad_frames.count(peer),
        Ended::Closed | Ended::Expired(_) => {}
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Closed,
    /// A clock ran out in this phase.
    Expired(Phase),
    /// It has been told so: 431.
    HeadTooLarge,
    /// It has been told so: 400.
    NoHttp,
    /// Frames of HTTP/2 that may not be, or more of a kind than are borne. It has been told so: GOAWAY.
    RulesBroken,
}

impl Ended {
    fn by(error: &(dyn Error + Send + Sync + 'static)) -> Ended {
        tracing::debug!(%error, "http connection ended");
        match error.downcast_ref::<hyper::Error>() {
            Some(error) if error.is_parse_too_large() => Ended::HeadTooLarge,
            Some(error) if error.is_parse() => Ended::NoHttp,
            Some(error) if found_by_us(error) => Ended::RulesBroken,
            _ => Ended::Closed,
        }
    }
}

/// Whether it is a fault of an HTTP/2 peer, and not the peer's word or its going.
fn found_by_us(error: &hyper::Error) -> bool {
    error.source().and_then(|source| source.downcast_ref::<h2::Error>()).is_some_and(h2::Error::is_library)
}

/// Drives a connection until it ends or a clock runs out.
async fn run<E>(mut http: Pin<&mut impl Future<Output = Result<(), E>>>, clocks: &Clocks) -> Ended
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let mut timer = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        if let Poll::Ready(result) = http.as_mut().poll(cx) {
            return Poll::Ready(result.map_or_else(|error| Ended::by(&*error.into()), |()| Ended::Closed));
        }
        // Whatever moved a clock also woke this task, so the timer is always the right one.
        let (phase, Some(deadline)) = clocks.deadline() else { return Poll::Pending };
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).map(|()| Ended::Expired(phase))
    })
    .await
}

/// Answers one request: the routes, with CORS around them.
async fn answer(
    connection: Arc<Connection>,
    clocks: Clocks,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let _under_way = clocks.request();
    let settings = connection.server.settings.get();
    let cors = cors::Cors::of(&settings.allowed_origins, request.method(), request.headers());
    if let Some(preflight) = cors.preflight() {
        return Ok(preflight);
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(connection.clone());
    let mut response = connection.server.router.clone().oneshot(request).await?;
    cors.mark(&mut response);
    Ok(response)
}
