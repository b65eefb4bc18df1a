//! Destinations. A sink takes a load and answers with a [`Verdict`]; it never keeps anything.
//!
//! Whether and where a load is tried again is the group's to decide (`drain/`): a sink sends
//! once, so that every second try is counted in one place.

pub mod dns;
mod failure;
mod quote;
pub mod scribe;
pub mod zipkin;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// What a sink is made of.
#[derive(Debug, Clone)]
pub enum Settings {
    Zipkin(zipkin::Settings),
    Scribe(scribe::Settings),
}

impl Settings {
    /// Its name in metrics and logs.
    pub fn name(&self) -> &str {
        match self {
            Settings::Zipkin(settings) => &settings.name,
            Settings::Scribe(settings) => &settings.name,
        }
    }
}

/// A sink of these settings; `own_id` is the channel's id. [`install_tls`] must have been called.
pub fn build(settings: &Settings, own_id: &str) -> Result<Arc<dyn Sink>, zipkin::BuildError> {
    Ok(match settings {
        Settings::Zipkin(settings) => Arc::new(zipkin::Zipkin::new(settings.clone(), own_id)?),
        Settings::Scribe(settings) => Arc::new(scribe::Scribe::new(settings.clone())),
    })
}

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
    /// Whether an archive had these spans before, and the peer is to know.
    pub replayed: bool,
}

/// What a sink says of a load. The text names URL, status and reason for log and dead letter; it is never matched on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// 2xx, OK.
    Delivered,
    /// It was not there, or looked at nothing: a refused connection, TRY_LATER. The load may go elsewhere; it cannot be
    /// the reason.
    Absent(String),
    /// It met the load and failed: reset, timeout, 408, 5xx. The load may go elsewhere, and may be the reason.
    /// `maybe_taken`: the sink may have taken it all the same, so sending it again may repeat it.
    Elsewhere { reason: String, maybe_taken: bool },
    /// A kept connection closed before it answered anything: most likely the sink let it go while
    /// idle. Worth one more try at once, without a rest; the load may have been taken.
    Again(String),
    /// 429, or 503 with Retry-After: the sink wants to be left alone for that long.
    Wait(Duration, String),
    /// 413, or a call beyond what Scribe's peers take: a smaller load may pass.
    TooLarge(String),
    /// 400, 422, a Thrift INTERNAL_ERROR or PROTOCOL_ERROR: something in the load is wrong.
    Refused(String),
    /// Any other 3xx or 4xx, 508, a TLS error, no HTTP, no Scribe: the sink is wrong, never the spans.
    Misconfigured(String),
}

/// The future that [`Sink::send`] returns.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// What a sink says of itself beside its answers; nothing where it cannot be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Glimpse {
    /// Its own idea of its health.
    pub up: Option<bool>,
    /// Spans that it took and did not keep, since it began.
    pub dropped: Option<u64>,
}

/// The future that [`Sink::look`] returns.
pub type Looking<'a> = Pin<Box<dyn Future<Output = Glimpse> + Send + 'a>>;

/// A destination for batches.
pub trait Sink: Send + Sync + 'static {
    /// Its name in metrics and logs: the URL's host and port, or as the configuration names it.
    fn name(&self) -> &str;
    /// Where it sends to, for people.
    fn url(&self) -> &str;
    /// Sends once, within the sink's own timeout. Dropping the future gives the try up.
    fn send<'a>(&'a self, load: &'a Load) -> Sending<'a>;
    /// Whether there is more to be seen of it than its answers.
    fn can_be_looked_at(&self) -> bool {
        false
    }
    /// Looks at it once.
    fn look(&self) -> Looking<'_> {
        Box::pin(async { Glimpse::default() })
    }
}

/// Makes ring the process's TLS provider. Needed once before the first sink is built; later calls do nothing.
pub fn install_tls() {
    // An error says that a provider is installed already, which is all that is asked for.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
