//! What a failed request tells: whether the load was ever sent, and whose fault it is.
//!
//! Only error types and kinds are looked at, never texts. Where the fate of a load cannot be
//! known it counts as perhaps taken.

use std::error::Error;
use std::io;

use super::Verdict;

/// The verdict on a request that got no answer. `kept` says whether a connection of an earlier request may have been
/// used, which its peer may have closed meanwhile.
pub(super) fn verdict(url: &str, error: &reqwest::Error, kept: bool) -> Verdict {
    let reason = format!("{url}: {}", causes(error));
    if has::<rustls::Error>(error) || has_hyper(error, hyper::Error::is_parse) || error.is_builder() {
        return Verdict::Misconfigured(reason);
    }
    if error.is_connect() {
        return Verdict::Absent(reason);
    }
    if kept && !error.is_timeout() && closed_early(error) {
        return Verdict::Again(reason);
    }
    Verdict::Elsewhere { reason, maybe_taken: true }
}

/// Whether the connection ended before the answer was complete.
fn closed_early(error: &reqwest::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    has_hyper(error, |e| e.is_incomplete_message() || e.is_canceled() || e.is_closed())
        || chain(error).any(|e| {
            e.downcast_ref::<io::Error>().is_some_and(|e| {
                matches!(e.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
            })
        })
}

fn has_hyper(error: &reqwest::Error, test: impl Fn(&hyper::Error) -> bool) -> bool {
    chain(error).any(|e| e.downcast_ref::<hyper::Error>().is_some_and(&test))
}

fn has<E: Error + 'static>(error: &reqwest::Error) -> bool {
    chain(error).any(|e| e.is::<E>())
}

/// An error and its causes. `io::Error` gives not the error that it wraps as its source but that one's source, so
/// what it wraps is looked at as well.
fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Some(error as &(dyn Error + 'static)), |e| cause(*e))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// The causes of a failure, outermost first, without reqwest's own first line, which repeats the URL.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in chain(error).skip(1) {
        let text = cause.to_string();
        if !texts.iter().any(|t| t.contains(&text)) {
            texts.push(text);
        }
    }
    if error.is_timeout() && texts.is_empty() {
        texts.push("timed out".to_owned());
    }
    texts.join(": ")
}
