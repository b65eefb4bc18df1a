//! The admin port: `/metrics`, `/health`, `/ready`, for whoever watches the gateway.
//!
//! Reading only: nothing here changes anything. What the answers say is made by the closures
//! in [`Handles`], each from one snapshot. Connections are bounded, so that a scraper gone
//! wild costs itself. A port that is taken is an error that names it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::tasks::Tasks;

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
}

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
            let (router, permits, connections) = (routes(handles.clone()), permits.clone(), tasks.clone());
            tasks.vital("admin", accept(listener, router, permits, connections));
        }
    }
}

fn routes(handles: Handles) -> Router {
    let Handles { metrics, health, ready } = handles;
    Router::new()
        .route("/metrics", get(async move || ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics())))
        .route("/health", get(async move || answer(health())))
        .route("/ready", get(async move || answer(ready())))
        .fallback(async || (StatusCode::NOT_FOUND, "spangate admin: /metrics, /health, /ready\n"))
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
        let Ok((stream, _peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
        let (router, stop) = (router.clone(), tasks.stopping().clone());
        tasks.spawn("admin connection", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = serve(stream, router) => {}
            }
            drop(permit);
        });
    }
}

/// One connection; what goes wrong on it is the peer's to notice.
async fn serve(stream: TcpStream, router: Router) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let service =
        TowerToHyperService::new(tower::ServiceBuilder::new().map_err(|never: Infallible| never).service(router));
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "admin connection ended");
    }
}
