//! The routes: spans in, and what monitors, health checks and lost browsers ask.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use serde_json::json;

use super::connection::Connection;
use super::problem::text;
use super::{grpc, spans};
use crate::listener::{Condition, State};

const ELSEWHERE: &str =
    "this is spangate, the gateway: it takes spans (POST /api/v2/spans); the UI and queries are at the collectors\n";

pub(super) fn router() -> Router {
    Router::new()
        .route("/api/v2/spans", post(spans::post_v2).get(elsewhere))
        .route("/api/v1/spans", post(spans::post_v1).get(elsewhere))
        .route(grpc::PATH, post(grpc::report))
        .route("/health", get(health))
        .route("/actuator/health", get(health))
        .route("/info", get(info))
        .route("/actuator/info", get(info))
        .route("/prometheus", get(prometheus))
        .route("/actuator/prometheus", get(prometheus))
        .fallback(elsewhere)
        .method_not_allowed_fallback(not_allowed)
}

/// The connection that a request came by.
pub(super) fn connection(request: &Request) -> Arc<Connection> {
    request.extensions().get::<Arc<Connection>>().expect("`connection::answer` puts it there").clone()
}

/// Reads what comes with a request that has its answer already.
async fn pass_over(request: Request) {
    let connection = connection(&request);
    let (head, body) = request.into_parts();
    spans::pass_over(&connection, &connection.http.door, &head.headers, body).await;
}

async fn elsewhere(request: Request) -> Response<Body> {
    pass_over(request).await;
    text(StatusCode::NOT_FOUND, ELSEWHERE)
}

async fn not_allowed(request: Request) -> Response<Body> {
    pass_over(request).await;
    text(StatusCode::METHOD_NOT_ALLOWED, "405 Method Not Allowed\n")
}

/// Zipkin's shape (`ZipkinHealthController.java`): UP while the process can serve.
async fn health(request: Request) -> Response<Body> {
    let Condition { state, accepting, healthy, details } = (connection(&request).server.probe)();
    let status = if healthy { "UP" } else { "DOWN" };
    let state = match state {
        State::Starting => "starting",
        State::Alive => "alive",
        State::Warning => "warning",
        State::Stopping => "stopping",
    };
    let component = match healthy {
        true => json!({ "status": status, "details": { "state": state, "accepting": accepting, "message": details } }),
        false => json!({ "status": status, "details": { "state": state, "accepting": accepting, "error": details } }),
    };
    let body = json!({ "status": status, "zipkin": { "status": status, "details": { "spangate": component } } });
    let body = format!("{body:#}");
    as_type("application/json; charset=utf-8", if healthy { 200 } else { 503 }, body)
}

async fn info() -> Response<Body> {
    let body = json!({ "spangate": { "version": env!("CARGO_PKG_VERSION") } });
    as_type("application/json; charset=utf-8", 200, body.to_string())
}

/// Zipkin's collector counters alone: who scrapes this and the admin port adds no span up twice.
async fn prometheus(request: Request) -> Response<Body> {
    let text = connection(&request).server.door.intake().zipkin().render();
    as_type("text/plain; version=0.0.4; charset=utf-8", 200, text)
}

fn as_type(content_type: &'static str, status: u16, body: String) -> Response<Body> {
    let mut response = text(StatusCode::from_u16(status).expect("a status of three digits"), body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
