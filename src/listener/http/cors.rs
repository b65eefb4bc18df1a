//! CORS as Zipkin's server answers it, so that browser reporters may post here
//! (zipkin-server, `ZipkinHttpConfiguration.java`; `ITZipkinServerCORS.java`).
//!
//! `*` allows every origin; a named one is echoed, with `vary: origin`. Credentials are never
//! allowed. A request of another origin is served without these headers; its preflight gets 403.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use axum::http::{Method, Response, StatusCode};

/// What CORS asks of one request's response.
pub(super) struct Cors {
    preflight: bool,
    from_browser: bool,
    /// The value of `access-control-allow-origin`.
    allowed: Option<HeaderValue>,
}

impl Cors {
    pub fn of(allowed_origins: &[String], method: &Method, headers: &HeaderMap) -> Self {
        let origin = headers.get(ORIGIN).filter(|_| !allowed_origins.is_empty());
        let allowed = origin.and_then(|origin| allow(allowed_origins, origin));
        let preflight = *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        Cors { preflight: preflight && origin.is_some(), from_browser: origin.is_some(), allowed }
    }

    /// The whole answer, where the request is a preflight.
    pub fn preflight(&self) -> Option<Response<Body>> {
        if !self.preflight {
            return None;
        }
        let mut response = Response::new(Body::empty());
        if self.allowed.is_some() {
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,POST"));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type,X-GRPC-WEB"));
        } else {
            *response.status_mut() = StatusCode::FORBIDDEN;
        }
        self.mark(&mut response);
        Some(response)
    }

    /// Adds the headers that let the page read the response.
    pub fn mark(&self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        let any = self.allowed.as_ref().is_some_and(|value| value == "*");
        if self.from_browser && !any {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        if let Some(allowed) = &self.allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed.clone());
            let exposed = "grpc-status,grpc-message,armeria.grpc.ThrowableProto-bin";
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
        }
    }
}

fn allow(allowed: &[String], origin: &HeaderValue) -> Option<HeaderValue> {
    if allowed.iter().any(|one| one == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    allowed.iter().any(|one| one.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}
