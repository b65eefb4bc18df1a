//! Collector URLs: `http(s)://HOST[:9411]`, with or without `/api/v2/spans`, and `scribe://HOST[:9410]`.
//!
//! [`normalise`] gives each one form, so that two spellings of a collector are seen to be one.
//! Whether a collector is one of our own listeners is asked here, too: literal addresses and
//! `localhost` only. A loop through other names or machines is for the `spangate-via` header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use reqwest::Url;

/// Zipkin's port, with TLS or without: what a URL without a port means here.
const PORT: u16 = 9411;
/// Where Zipkin listens for Scribe.
const SCRIBE_PORT: u16 = 9410;
/// Where Zipkin takes v2 spans.
const PATH: &str = "/api/v2/spans";
/// What is taken, for the errors.
pub const FORMS: &str = "http(s)://HOST[:9411], with or without /api/v2/spans, or scribe://HOST[:9410]";

/// `SCHEME://HOST:PORT/api/v2/spans` or `scribe://HOST:PORT`; the error is what was expected.
pub fn normalise(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|_| FORMS.to_owned())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let path = url.path().trim_end_matches('/');
    let host = url.host_str().filter(|host| !host.is_empty() && plain && url.fragment().is_none());
    match (url.scheme(), host) {
        ("http" | "https", Some(host)) if ["", PATH].contains(&path) => {
            Ok(format!("{}://{host}:{}{PATH}", url.scheme(), port(&url, text)))
        }
        // A scheme that `Url` knows nothing of keeps its host as it was written.
        ("scribe", Some(host)) if path.is_empty() => {
            Ok(format!("scribe://{}:{}", host.to_ascii_lowercase(), url.port().unwrap_or(SCRIBE_PORT)))
        }
        _ => Err(FORMS.to_owned()),
    }
}

/// The port that was written, or Zipkin's. `Url` forgets one that is the scheme's own default.
fn port(url: &Url, text: &str) -> u16 {
    let default = if url.scheme() == "https" { ":443" } else { ":80" };
    let written = text.split('/').nth(2).is_some_and(|authority| authority.ends_with(default));
    url.port().or_else(|| url.port_or_known_default().filter(|_| written)).unwrap_or(PORT)
}

/// A normalised collector's `host:port`: its default name.
pub fn host_port(normalised: &str) -> &str {
    normalised.split('/').nth(2).unwrap_or(normalised)
}

/// Which of these listeners a normalised collector is.
pub fn own_listener<'a>(normalised: &str, listeners: impl Iterator<Item = &'a SocketAddr>) -> Option<&'a SocketAddr> {
    let url = Url::parse(normalised).ok()?;
    let port = url.port_or_known_default()?;
    let hosts = addresses(url.host_str()?);
    let mut listeners = listeners.filter(|listener| listener.port() == port);
    listeners.find(|listener| hosts.iter().any(|host| reaches(*host, listener.ip())))
}

/// The addresses that a host is known to mean without asking anyone.
fn addresses(host: &str) -> Vec<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    host.trim_matches(['[', ']']).parse().into_iter().collect()
}

/// Whether a connection to `host` from this machine arrives at a socket bound to `listener`.
fn reaches(host: IpAddr, listener: IpAddr) -> bool {
    // To connect to an unspecified address is to connect to oneself.
    let host_loops = host.is_loopback() || host.is_unspecified();
    match listener.is_unspecified() {
        // `[::]` takes IPv4, too, unless told otherwise.
        true => (listener.is_ipv6() || host.is_ipv4()) && (host_loops || is_ours(host)),
        false => host == listener || (host.is_unspecified() && listener.is_loopback()),
    }
}

/// Whether an address belongs to this machine: only then can a socket be bound to it. Known flaw:
/// with Linux's `ip_nonlocal_bind` every address seems to.
fn is_ours(host: IpAddr) -> bool {
    UdpSocket::bind((host, 0)).is_ok()
}
