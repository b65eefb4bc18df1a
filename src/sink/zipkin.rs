//! A Zipkin collector over HTTP: `POST /api/v2/spans`.
//!
//! One request a load, over kept connections. The bytes of a proto3 load go out as they are.
//! Redirects are not followed and proxies of the environment are not used: spans go where the
//! configuration says. What an answer says of the load and of the sink is in [`Verdict`]; an
//! answer's text is bounded, cleaned, shown, and never matched on.

mod answer;
mod body;
mod look;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};

use super::{Load, Looking, Sending, Sink, Verdict, failure};
use crate::wire::replay;

/// Zipkin closes idle connections after 15 s (Armeria's default): ours go before that.
const POOL_IDLE: Duration = Duration::from_secs(10);
/// Where Zipkin takes v2 spans.
const PATH: &str = "/api/v2/spans";
/// Gateways that a `spangate-via` header names. A longer way is a loop that its members will find.
const VIA_MAX: usize = 8;
const VIA: HeaderName = HeaderName::from_static("spangate-via");

/// The encodings a collector can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`: our own bytes, and the one encoding that Zipkin's substring guards cannot refuse.
    Proto3,
    /// `application/json`.
    JsonV2,
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// Name in metrics and logs; by default the URL's `host:port`.
    pub name: String,
    /// `http(s)://HOST[:9411]`; the path is `/api/v2/spans` unless the URL has another.
    pub url: String,
    pub encoding: Encoding,
    /// Default false: collectors are near.
    pub gzip: bool,
    /// Connect, send and answer together. Default 10 s.
    pub timeout: Duration,
}

/// Why a sink could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("sink {name}: {url}: expected http(s)://HOST[:9411], found {what}")]
    Url { name: String, url: String, what: String },
    #[error("sink {name}: no HTTP client for {url}: {what}")]
    Client { name: String, url: String, what: String },
}

/// A collector.
pub struct Zipkin {
    settings: Settings,
    url: Url,
    shown_url: String,
    client: Client,
    /// This gateway, in `spangate-via`.
    own_id: String,
    /// Whether a connection of an earlier request may be used.
    kept: AtomicBool,
}

impl Zipkin {
    /// A sink for `settings`; `own_id` is the channel's id. [`install_tls`](super::install_tls) must have been called.
    /// The addresses of its name are tried in turn, as they are known at that moment.
    pub fn new(settings: Settings, own_id: &str) -> Result<Self, BuildError> {
        Self::at(settings, &[], own_id)
    }

    /// As [`new`](Self::new), at these addresses whatever its name means; they are tried in turn. The name is still
    /// the one that is called on.
    pub fn at(settings: Settings, addresses: &[SocketAddr], own_id: &str) -> Result<Self, BuildError> {
        let url = parse_url(&settings)?;
        let mut shown = url.clone();
        if let [address] = addresses {
            let _ = shown.set_ip_host(address.ip());
        }
        // A password in a URL belongs in no log. No call fails for http(s), which has a host.
        let _ = shown.set_password(None);
        let _ = shown.set_username("");
        let client = client(&settings, &url, addresses).map_err(|error| BuildError::Client {
            name: settings.name.clone(),
            url: shown.to_string(),
            what: failure::causes(&error),
        })?;
        Ok(Zipkin {
            settings,
            shown_url: shown.into(),
            url,
            client,
            own_id: own_id.to_owned(),
            kept: AtomicBool::new(false),
        })
    }

    async fn post(&self, load: &Load) -> Verdict {
        let encoded = match body::encode(&self.settings, load).await {
            Ok(encoded) => encoded,
            Err(reason) => return Verdict::Refused(format!("not sent to {}: {reason}", self.shown_url)),
        };
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, encoded.content_type)
            .header(VIA, self.via(load))
            .body(encoded.body);
        if load.replayed {
            request = request.header(replay::HEADER, "1");
        }
        if self.settings.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let kept = self.kept.load(Ordering::Relaxed);
        match request.send().await {
            Ok(response) => {
                self.kept.store(true, Ordering::Relaxed);
                answer::verdict(&self.shown_url, response).await
            }
            Err(error) => {
                self.kept.store(false, Ordering::Relaxed);
                failure::verdict(&self.shown_url, &error, kept)
            }
        }
    }

    /// This gateway first, then those that the spans have passed.
    fn via(&self, load: &Load) -> HeaderValue {
        let passed = load.via.iter().take(VIA_MAX - 1).map(String::as_str);
        let via = std::iter::once(self.own_id.as_str()).chain(passed).collect::<Vec<_>>().join(", ");
        // A peer's id that cannot stand in a header cannot have come from one: our own is enough then.
        HeaderValue::from_str(&via)
            .or_else(|_| HeaderValue::from_str(&self.own_id))
            .unwrap_or(HeaderValue::from_static(""))
    }
}

impl Sink for Zipkin {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn url(&self) -> &str {
        &self.shown_url
    }

    fn send<'a>(&'a self, load: &'a Load) -> Sending<'a> {
        Box::pin(self.post(load))
    }

    /// A path of the user's own is a proxy's, or another's than Zipkin.
    fn can_be_looked_at(&self) -> bool {
        self.url.path() == PATH
    }

    fn look(&self) -> Looking<'_> {
        Box::pin(look::look(&self.client, &self.url))
    }
}

fn parse_url(settings: &Settings) -> Result<Url, BuildError> {
    let bad =
        |what: &str| BuildError::Url { name: settings.name.clone(), url: settings.url.clone(), what: what.to_owned() };
    let mut url = Url::parse(&settings.url).map_err(|e| bad(&e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(&format!("the scheme {}", url.scheme())));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("no host"));
    }
    if url.path() == "/" {
        url.set_path(PATH);
    }
    Ok(url)
}

fn client(settings: &Settings, url: &Url, addresses: &[SocketAddr]) -> Result<Client, reqwest::Error> {
    let mut headers = HeaderMap::new();
    // The collector is not to trace its own intake of spans, or each batch would make another.
    headers.insert("b3", HeaderValue::from_static("0"));
    let builder = match url.host_str() {
        Some(host) if !addresses.is_empty() => Client::builder().resolve_to_addrs(host, addresses),
        _ => Client::builder(),
    };
    // A client loads the machine's certificates and fails where there are none, as in a bare container. Plain HTTP
    // needs none, and redirects, which could leave it, are not followed.
    let builder = if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder };
    builder
        .user_agent(concat!("spangate/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_idle_timeout(POOL_IDLE)
        .timeout(settings.timeout)
        // Half of it: a host that swallows connections is told from one that swallows spans.
        .connect_timeout(settings.timeout / 2)
        .build()
}

#[cfg(test)]
mod tests;
