//! One Scribe connection: calls are read and decoded as they come, answered in order.
//!
//! A reader and a writer share the connection's one task. Between them stands a bounded queue of
//! answers, so a peer may pipeline, and one that never reads its replies is read no further once
//! the queue and the socket are full. A reply that is not taken in `frame_timeout` closes the
//! connection; a peer that has gone costs its replies, never the batch that they are about.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::answers::{Answer, LogAnswer, ReplyTo, Writer};
use super::categories::Categories;
use super::closings::{Closing, Closings};
use super::frames::{Arrival, Inbox};
use super::log::{Call, Decoder};
use crate::listener::intake::{Door, Intake, Permit, Refusal, Share};
use crate::listener::pace::Pace;
use crate::listener::rarely::Rarely;
use crate::listener::sockets::Seat;
use crate::listener::{Live, Probe, heavy};
use crate::metrics::Registry;
use crate::wire::scribe::{
    ExceptionKind, Foreign, Header, LOG, MessageKind, ResultCode, log_arguments, reply_exception,
};

/// Answers that wait for their sync, or for the peer to read: what a fast pipelining client has
/// under way in one sync. Their bytes are bounded by the connection's permits.
const ANSWERS_MAX: usize = 64;

/// After the stop, a frame that had begun may take this long to arrive.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// A peer of another protocol may take this long to read what it is told.
const GOODBYE: Duration = Duration::from_secs(1);

pub(super) struct Stops {
    /// Stops the listener; a peer may ask for it where `allow_shutdown` lets it.
    pub listener: CancellationToken,
    /// The listening sockets are closed: connections finish what they began.
    pub connections: CancellationToken,
}

/// What all connections share.
pub(super) struct Server {
    pub settings: Live<Settings>,
    pub probe: Probe,
    pub categories: Categories,
    /// Seconds since the epoch.
    pub alive_since_s: i64,
    http_port: u16,
    door: Door,
    stops: Stops,
    closings: Closings,
    undecodable: Rarely,
    refused: Rarely,
    cut: Rarely,
    asked: Rarely,
}

impl Server {
    pub fn new(
        settings: Live<Settings>,
        http_port: u16,
        intake: &Intake,
        probe: Probe,
        stops: Stops,
        registry: &Registry,
    ) -> Self {
        Server {
            probe,
            categories: Categories::new(registry),
            alive_since_s: (intake.clock().now_us() / 1_000_000).cast_signed(),
            http_port,
            door: intake.door("scribe"),
            stops,
            closings: Closings::new(registry),
            undecodable: Rarely::default(),
            refused: Rarely::default(),
            cut: Rarely::default(),
            asked: Rarely::default(),
            settings,
        }
    }

    pub fn log_refusal(&self, peer: SocketAddr, refusal: Refusal) {
        if let Some(left_out) = self.refused.due() {
            tracing::warn!(%peer, left_out, "scribe call refused: {refusal}");
        }
    }

    /// fb303's `shutdown`: carried out only where the settings allow it.
    pub fn shutdown_asked(&self, peer: SocketAddr) {
        if self.settings.get().allow_shutdown {
            tracing::warn!(%peer, "fb303 shutdown: stopping");
            self.stops.listener.cancel();
        } else if let Some(left_out) = self.asked.due() {
            tracing::warn!(%peer, left_out, "fb303 shutdown refused: scribe.allow_shutdown is false");
        }
    }

    /// fb303's `reinitialize`: never carried out.
    pub fn reinitialize_asked(&self, peer: SocketAddr) {
        if let Some(left_out) = self.asked.due() {
            tracing::warn!(%peer, left_out, "fb303 reinitialize refused: SIGHUP or POST /reload on the admin port reads the settings again");
        }
    }
}

/// Serves a connection until the peer ends it, it breaks a rule, or the stop.
pub(super) async fn serve(server: Arc<Server>, stream: TcpStream, peer: SocketAddr, _seat: Seat) {
    let (reading, writing) = stream.into_split();
    let (answers, queue) = mpsc::channel(ANSWERS_MAX);
    let unread = CancellationToken::new();
    let decoder = Decoder::new(peer, &server.settings.get());
    let share = server.door.share();
    let mut reader = Reader { server: &server, peer, share, decoder, answers, inbox: Inbox::new(reading) };
    let read = async {
        let ended = tokio::select! {
            ended = reader.run() => ended,
            () = unread.cancelled() => Ok(Some(Closing::RepliesUnread)),
            () = async { server.stops.connections.cancelled().await; sleep(STOP_GRACE).await } => Ok(None),
        };
        match ended {
            Ok(Some(closing)) => server.closings.count(closing, peer, &server.settings.get()),
            Ok(None) => {}
            Err(error) => tracing::debug!(%peer, %error, "scribe connection ended"),
        }
        // The writer ends when the reader is gone and the queue is empty.
        drop(reader);
    };
    let writer = Writer::new(&server, peer, writing, &unread);
    tokio::join!(read, writer.run(queue));
}

struct Reader<'a> {
    server: &'a Server,
    peer: SocketAddr,
    share: Share,
    decoder: Decoder,
    answers: mpsc::Sender<Answer>,
    inbox: Inbox,
}

impl Reader<'_> {
    /// Reads calls and queues their answers; returns why we close, if it is us.
    async fn run(&mut self) -> io::Result<Option<Closing>> {
        loop {
            let begun = tokio::select! {
                biased;
                begun = self.inbox.begin() => begun?,
                () = self.server.stops.connections.cancelled() => false,
            };
            if !begun {
                return Ok(None);
            }
            let mut permit = self.share.permit();
            let settings = self.server.settings.get();
            let deadline = Instant::now() + settings.frame_timeout;
            let mut pace = Pace::begin(settings.frame_rate_min);
            let frame = self.inbox.frame(settings.frame_bytes_max, &mut permit, &mut pace);
            let Ok(arrival) = timeout_at(deadline, frame).await else { return Ok(Some(Closing::SlowFrame)) };
            let Some(arrival) = arrival? else { return Ok(None) };
            let answered = match arrival {
                Arrival::Frame(payload) => self.call(&payload, permit, &settings),
                Arrival::Refused { prefix, bytes, refusal } => self.refused(&prefix, bytes, refusal),
                Arrival::Cut { bytes, error } => {
                    self.cut(bytes, error);
                    return Ok(None);
                }
                Arrival::Foreign(foreign) => return Ok(Some(self.foreign(foreign).await)),
                Arrival::Slow => return Ok(Some(Closing::SlowRate)),
                Arrival::BadLength(length) => return Ok(Some(Closing::BadLength(length))),
            };
            let Some(answer) = answered else { return Ok(Some(Closing::BadHeader)) };
            if self.answers.send(answer).await.is_err() {
                return Ok(None);
            }
        }
    }

    /// The answer to a whole call; `None` where it cannot be told what it is.
    fn call(&mut self, payload: &Bytes, permit: Permit, settings: &Settings) -> Option<Answer> {
        self.server.door.read(payload.len());
        let header = Header::parse(payload).ok()?;
        let arguments = &payload[header.len..];
        if header.name == LOG && matches!(header.kind, MessageKind::Call | MessageKind::Oneway) {
            return Some(self.log(&header, arguments, permit, settings));
        }
        Some(Answer::Asked { payload: payload.clone(), _permit: permit })
    }

    fn log(&mut self, header: &Header<'_>, arguments: &[u8], permit: Permit, settings: &Settings) -> Answer {
        let Server { door, categories, .. } = self.server;
        let decoder = &mut self.decoder;
        let decoded = heavy(arguments.len(), || {
            let entries = log_arguments(arguments, decoder.limits())?;
            Ok(decoder.decode(entries.into_iter().flatten(), settings, categories))
        });
        let call: Result<Call, crate::wire::thrift::Error> = decoded;
        let reply = ReplyTo::of(header);
        match call {
            Err(error) => {
                door.invalid(0, arguments.len());
                self.log_undecodable(1, &error.to_string());
                let mut out = Vec::new();
                if header.kind != MessageKind::Oneway {
                    reply_exception(header, ExceptionKind::ProtocolError, &error.to_string(), &mut out);
                }
                Answer::Ready(out)
            }
            Ok(call) if call.is_empty() => {
                door.empty(0);
                Answer::Ready(reply.log(ResultCode::OK))
            }
            Ok(Call { message, good, bad, bad_reason }) => {
                if let Some(reason) = bad_reason {
                    self.log_undecodable(bad, &reason);
                }
                Answer::Log(Box::new(LogAnswer { pending: door.begin(message, permit), reply, good }))
            }
        }
    }

    fn log_undecodable(&self, entries: u64, reason: &str) {
        if let Some(left_out) = self.server.undecodable.due() {
            tracing::warn!(peer = %self.peer, entries, left_out, "scribe entries set aside or call refused: {reason}");
        }
    }

    /// The answer to a call that was thrown away for want of permits.
    fn refused(&self, prefix: &[u8], bytes: usize, refusal: Refusal) -> Option<Answer> {
        let Server { door, categories, .. } = self.server;
        door.read(bytes);
        door.unread(refusal.label());
        self.server.log_refusal(self.peer, refusal);
        let header = Header::parse_prefix(prefix).ok()??;
        if header.name == LOG {
            categories.overall.denied.fetch_add(1, Relaxed);
            return Some(Answer::Ready(ReplyTo::of(&header).log(ResultCode::TRY_LATER)));
        }
        let mut out = Vec::new();
        reply_exception(&header, ExceptionKind::InternalError, &refusal.to_string(), &mut out);
        Some(Answer::Ready(out))
    }

    /// Counts a call that its peer never sent whole; its spans were never seen, and nobody waits for an answer.
    fn cut(&self, bytes: usize, error: Option<io::Error>) {
        self.server.door.unread("broken");
        if let Some(left_out) = self.server.cut.due() {
            let by = error.map_or_else(|| "the peer closed".to_owned(), |error| error.to_string());
            tracing::warn!(peer = %self.peer, left_out, "scribe call lost: a frame of {bytes} bytes ended early: {by}");
        }
    }

    /// Tells a peer of another protocol where to go.
    async fn foreign(&mut self, foreign: Foreign) -> Closing {
        match foreign {
            Foreign::Tls => Closing::Tls,
            Foreign::Http => {
                let body = format!(
                    "this port speaks Scribe (framed Thrift); Zipkin's HTTP is on port {} of this host\n",
                    self.server.http_port
                );
                let head =
                    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length:";
                let reply = format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes();
                // Closing with bytes unread would reset the connection before the peer has read this.
                if self.answers.send(Answer::Ready(reply)).await.is_ok() {
                    let _ = timeout(GOODBYE, self.inbox.discard_rest()).await;
                }
                Closing::Http
            }
        }
    }
}
