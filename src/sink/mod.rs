//! Destinations. A sink takes a load and answers with a [`Verdict`]; it never keeps anything.
//!
//! Whether and where a load is tried again is the group's to decide (`drain/`).

pub mod zipkin;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

/// What is sent in one request.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// Each a `ListOfSpans`; so is their concatenation.
    pub pieces: Vec<Bytes>,
    pub spans: u32,
    /// Bytes of all pieces.
    pub bytes: usize,
    /// Gateways that these spans have passed (`spangate-via`), this one not among them.
    pub via: Vec<String>,
}

/// What a sink says of a load. The text names status and reason for log and dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// 2xx.
    Delivered,
    /// Not here, not now: refused connection, reset, timeout, 408, 5xx. The load may go elsewhere.
    Elsewhere(String),
    /// 429, or 503 with Retry-After: the sink wants to be left alone for that long.
    Wait(Duration, String),
    /// 413: a smaller load may pass.
    TooLarge(String),
    /// 400, 422: something in the load is wrong.
    Refused(String),
    /// Any other 3xx or 4xx, 508, a TLS error: the sink is wrong, never the spans.
    Misconfigured(String),
}

/// A destination for batches.
pub trait Sink: Send + Sync + 'static {
    /// Its name in metrics and logs: the URL's host and port, or as the configuration names it.
    fn name(&self) -> &str;
    fn send<'a>(&'a self, load: &'a Load) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;
}
