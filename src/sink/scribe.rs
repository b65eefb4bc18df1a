//! A collector over Scribe: one `Log` call a load, each span an entry of v1 in base64.
//!
//! v1 says less than v2 ([`from_v2`](crate::wire::v1::from_v2) has the list); a span that it cannot say at all refuses
//! its load, so that the group finds it and lets the others through. Connections are kept; each carries one call at a
//! time, so as many are open as calls are under way. Scribe has no header for `spangate-via`: a loop of gateways over
//! Scribe is not found.

mod connection;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use self::connection::{Connection, Lost, Pool};
use super::quote::{QUOTED_MAX, quote};
use super::{Load, Sending, Sink, Verdict};
use crate::span::canonical;
use crate::tasks;
use crate::wire::replay;
use crate::wire::scribe::call::{Answer, LogCall};
use crate::wire::scribe::{ExceptionKind, ResultCode};
use crate::wire::v1::encode::{Form, encode_span};

/// Most bytes of a call: what Flume's Scribe source takes, the least of those that say (Zipkin takes any).
const FRAME_BYTES_MAX: usize = 16_384_000;
/// A connection has one call under way, so one number is enough.
const SEQID: i32 = 1;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Name in metrics and logs; by default the address.
    pub name: String,
    /// `HOST:PORT`; Zipkin's port is 9410.
    pub address: String,
    /// Of every entry. Zipkin takes `zipkin`; default that.
    pub category: String,
    /// Connect, send and answer together. Default 10 s.
    pub timeout: Duration,
}

/// A collector, or anything else that takes Scribe's `Log`.
pub struct Scribe {
    settings: Settings,
    url: String,
    pool: Pool,
}

impl Scribe {
    pub fn new(settings: Settings) -> Scribe {
        Scribe { url: format!("scribe://{}", settings.address), pool: Pool::default(), settings }
    }

    async fn log(&self, load: &Load) -> Verdict {
        let frame = match self.frame(load).await {
            Ok(frame) => frame,
            Err(verdict) => return verdict,
        };
        let deadline = Instant::now() + self.settings.timeout;
        let mut connection = match self.connection(deadline).await {
            Ok(connection) => connection,
            Err(reason) => return Verdict::Absent(reason),
        };
        let kept = connection.is_kept();
        match timeout_at(deadline, connection.call(&frame, SEQID)).await {
            Ok(Ok(answer)) => {
                self.pool.keep(connection);
                self.verdict(answer)
            }
            Ok(Err(Lost::Strange(what))) => Verdict::Misconfigured(format!("{}: {what}", self.url)),
            Ok(Err(Lost::Unanswered(error))) if kept => {
                // What ended one has most likely ended all: the next try is a new one's.
                self.pool.clear();
                Verdict::Again(format!("{}: {error}", self.url))
            }
            Ok(Err(Lost::Unanswered(error) | Lost::HalfAnswered(error))) => {
                Verdict::Elsewhere { reason: format!("{}: {error}", self.url), maybe_taken: true }
            }
            Err(_) => {
                let reason = format!("{}: no answer within {:?}", self.url, self.settings.timeout);
                Verdict::Elsewhere { reason, maybe_taken: true }
            }
        }
    }

    /// A kept connection, or a new one; the error says why there is none.
    async fn connection(&self, deadline: Instant) -> Result<Connection, String> {
        if let Some(kept) = self.pool.take() {
            return Ok(kept);
        }
        // Half of it: a host that swallows connections is told from one that swallows spans.
        let limit = self.settings.timeout / 2;
        let dialled = timeout_at(deadline.min(Instant::now() + limit), Connection::dial(&self.settings.address)).await;
        match dialled {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(format!("{}: {error}", self.url)),
            Err(_) => Err(format!("{}: no connection within {limit:?}", self.url)),
        }
    }

    /// The call with all of the load, or why it is not sent. On a blocking thread: a large load holds up nobody.
    async fn frame(&self, load: &Load) -> Result<Vec<u8>, Verdict> {
        let (load, category) = (load.clone(), self.settings.category.clone());
        let encoded = tasks::blocking(move || encode(&load, &category));
        encoded.await.map_err(|why| match why {
            NotSent::Unsayable(reason) => Verdict::Refused(format!("not sent to {}: {reason}", self.url)),
            NotSent::TooLarge => Verdict::TooLarge(format!(
                "not sent to {}: more than {FRAME_BYTES_MAX} bytes as a call of Scribe's",
                self.url
            )),
        })
    }

    /// What an answer says of the load and of the sink.
    fn verdict(&self, answer: Answer) -> Verdict {
        let reason = |what: String| format!("{}: {what}", self.url);
        match answer {
            Answer::Code(ResultCode::OK) => Verdict::Delivered,
            Answer::Code(ResultCode::TRY_LATER) => Verdict::Absent(reason("TRY_LATER".into())),
            Answer::Code(ResultCode(code)) => {
                Verdict::Misconfigured(reason(format!("ResultCode {code}, which is none of Scribe's")))
            }
            Answer::Exception(kind, text) => {
                let shown = quote(&text.as_bytes()[..text.floor_char_boundary(QUOTED_MAX)]);
                let what = reason(format!("{kind:?}: {shown}"));
                match kind {
                    // Zipkin's words for an entry that it cannot read.
                    ExceptionKind::InternalError | ExceptionKind::ProtocolError => Verdict::Refused(what),
                    _ => Verdict::Misconfigured(what),
                }
            }
        }
    }
}

/// Why a load became no call.
enum NotSent {
    Unsayable(String),
    TooLarge,
}

/// A frame with all of `load`.
fn encode(load: &Load, category: &str) -> Result<Vec<u8>, NotSent> {
    // As Thrift in base64, real spans are two to four times as large.
    let room = load.bytes.saturating_mul(4).min(FRAME_BYTES_MAX);
    let (mut frame, mut entry) = (Vec::with_capacity(room), Vec::new());
    let mut call = LogCall::begin(SEQID, &mut frame);
    if load.replayed {
        call.entry(replay::CATEGORY, &[], &mut frame);
    }
    for span in load.pieces.iter().flat_map(|piece| canonical::elements(piece)) {
        entry.clear();
        let written = span
            .map_err(|error| error.to_string())
            .and_then(|span| encode_span(Form::Thrift, span, &mut entry).map_err(|error| error.to_string()));
        written.map_err(NotSent::Unsayable)?;
        call.entry(category, &entry, &mut frame);
        if frame.len() > FRAME_BYTES_MAX {
            return Err(NotSent::TooLarge);
        }
    }
    call.end(&mut frame);
    Ok(frame)
}

impl Sink for Scribe {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn url(&self) -> &str {
        &self.url
    }

    fn send<'a>(&'a self, load: &'a Load) -> Sending<'a> {
        Box::pin(self.log(load))
    }
}
