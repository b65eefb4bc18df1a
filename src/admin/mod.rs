//! The admin port: `/metrics`, `/health`, `/ready`, for whoever watches the gateway, and what changes it.
//!
//! What the answers say is made by the closures in [`Handles`], each from one snapshot. Reading is
//! for whoever reaches the port; an [`Action`] is for whom the [`Door`] lets in. Connections are
//! bounded, so that a scraper gone wild costs itself. A port that is taken is an error that names it.

mod action;
mod door;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::tasks::{self, Tasks};

pub use action::{Action, Asked, Done};
pub use axum::http::StatusCode;
pub use door::{Door, HEADER, Token};

/// Scrapers and health checks are few; more than this is a mistake somewhere.
const CONNECTIONS_MAX: usize = 64;
/// As for the HTTP listener.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A rest after `accept` failed (out of descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub struct Settings {
    /// Default 127.0.0.1:9412. Empty: no admin port.
    pub addresses: Vec<SocketAddr>,
    /// Holds the token of changing requests. Absolute. None: they come from this machine alone.
    pub token_file: Option<PathBuf>,
}

/// An answer of a health check: good or not, and a JSON body that says why.
#[derive(Debug, Clone)]
pub struct Report {
    pub ok: bool,
    pub body: String,
}

/// Where the answers come from.
#[derive(Clone)]
pub struct Handles {
    /// The Prometheus text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub health: Arc<dyn Fn() -> Report + Send + Sync>,
    pub ready: Arc<dyn Fn() -> Report + Send + Sync>,
    pub actions: Vec<Action>,
    /// Before the actions.
    pub door: Door,
}

/// Whose a request is.
#[derive(Clone, Copy)]
struct Peer(SocketAddr);

/// Sockets that listen and are not served yet.
pub struct Bound {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

/// Binds every address, or says which it could not have.
pub async fn bind(settings: &Settings) -> Result<Bound, String> {
    let mut bound = Bound { listeners: Vec::new(), addresses: Vec::new() };
    for address in &settings.addresses {
        let failed = |error: std::io::Error| {
            format!("cannot listen on {address} for the admin port: {error}; choose another with --admin-address")
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        bound.addresses.push(listener.local_addr().map_err(failed)?);
        bound.listeners.push(listener);
    }
    Ok(bound)
}

impl Bound {
    /// The addresses as bound: a port of 0 has become a real one.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until the tasks are stopped.
    pub fn serve(self, handles: &Handles, tasks: &Tasks) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        for listener in self.listeners {
            let (router, permits, connections) = (routes(handles.clone(), tasks), permits.clone(), tasks.clone());
            tasks.vital("admin", accept(listener, router, permits, connections));
        }
    }
}

fn routes(handles: Handles, tasks: &Tasks) -> Router {
    let Handles { metrics, health, ready, actions, door } = handles;
    let posts: String = actions.iter().map(|action| format!(", POST {}", action.path())).collect();
    let index = format!("spangate admin: /metrics, /health, /ready{posts}\n");
    let router = Router::new()
        .route("/metrics", get(async move || scraped(metrics).await))
        .route("/health", get(async move || answer(health())))
        .route("/ready", get(async move || answer(ready())))
        .fallback(async || (StatusCode::NOT_FOUND, index));
    actions.into_iter().fold(router, |router, action| action.route(router, door.clone(), tasks.clone()))
}

/// On a thread of its own: with many series it takes milliseconds, which others would notice.
async fn scraped(metrics: Arc<dyn Fn() -> String + Send + Sync>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], tasks::blocking(move || metrics()).await)
}

fn answer(report: Report) -> impl IntoResponse {
    let status = if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], report.body)
}

async fn accept(listener: TcpListener, router: Router, permits: Arc<Semaphore>, tasks: Tasks) {
    loop {
        let accepted = tokio::select! {
            () = tasks.stopping().cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
        let (router, stop) = (router.clone(), tasks.stopping().clone());
        tasks.spawn("admin connection", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = serve(stream, Peer(peer), router) => {}
            }
            drop(permit);
        });
    }
}

/// One connection; what goes wrong on it is the peer's to notice.
async fn serve(stream: TcpStream, peer: Peer, router: Router) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let named = move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request
    };
    let service = tower::ServiceBuilder::new().map_err(|never: Infallible| never).map_request(named).service(router);
    let service = TowerToHyperService::new(service);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "admin connection ended");
    }
}
