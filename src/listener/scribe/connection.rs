//! One Scribe connection: calls are read and decoded as they come, answered in order.
//!
//! A reader and a writer share the connection's one task. Between them stands a bounded queue of
//! answers, so a peer may pipeline, and one that never reads its replies is read no further once
//! the queue and the socket are full. A reply that is not taken in `frame_timeout` closes the
//! connection; a peer that has gone costs its replies, never the batch that they are about.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::categories::{Categories, Category};
use super::frames::{Arrival, Inbox};
use super::log::{Call, Decoder, Taken};
use super::service::Service;
use crate::listener::intake::{Door, Intake, Pending, Permit, Refusal, Share};
use crate::listener::rarely::Rarely;
use crate::listener::sockets::Seat;
use crate::listener::{Probe, heavy};
use crate::metrics::{Counter, Registry};
use crate::wire::fb303;
use crate::wire::scribe::{
    ExceptionKind, Foreign, Form, Header, LOG, MessageKind, ResultCode, log_arguments, reply_exception, reply_log,
};

/// Answers that wait for their sync, or for the peer to read: what a fast pipelining client has
/// under way in one sync. Their bytes are bounded by the connection's permits.
const ANSWERS_MAX: usize = 64;

/// Replies gathered before they are written.
const REPLIES_BYTES: usize = 16 * 1024;

/// After the stop, a frame that had begun may take this long to arrive.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// A peer of another protocol may take this long to read what it is told.
const GOODBYE: Duration = Duration::from_secs(1);

/// What all connections share.
pub(super) struct Server {
    pub settings: Settings,
    pub probe: Probe,
    pub categories: Categories,
    /// Seconds since the epoch.
    pub alive_since_s: i64,
    http_port: u16,
    taken: Taken,
    door: Door,
    stop: CancellationToken,
    closings: Closings,
    undecodable: Rarely,
    refused: Rarely,
    shutdown: Rarely,
}

impl Server {
    pub fn new(
        settings: Settings,
        http_port: u16,
        intake: &Intake,
        probe: Probe,
        stop: CancellationToken,
        registry: &Registry,
    ) -> Self {
        Server {
            probe,
            categories: Categories::new(registry),
            alive_since_s: (intake.clock().now_us() / 1_000_000).cast_signed(),
            http_port,
            taken: Taken::new(&settings.categories),
            door: intake.door("scribe"),
            stop,
            closings: Closings::new(registry),
            undecodable: Rarely::default(),
            refused: Rarely::default(),
            shutdown: Rarely::default(),
            settings,
        }
    }

    fn log_refusal(&self, peer: SocketAddr, refusal: Refusal) {
        if let Some(left_out) = self.refused.due() {
            tracing::warn!(%peer, left_out, "scribe call answered TRY_LATER: {refusal}");
        }
    }

    /// fb303's `shutdown`: carried out only where the settings allow it.
    pub fn shutdown_asked(&self, peer: SocketAddr) {
        if self.settings.allow_shutdown {
            tracing::warn!(%peer, "fb303 shutdown: stopping");
            self.stop.cancel();
        } else if let Some(left_out) = self.shutdown.due() {
            tracing::warn!(%peer, left_out, "fb303 shutdown refused: scribe.allow_shutdown is false");
        }
    }
}

/// Why we closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    Http,
    Tls,
    BadLength(i32),
    BadHeader,
    SlowFrame,
    RepliesUnread,
}

/// Counters and log lines of the connections that we closed.
struct Closings([(Counter, Rarely); 6]);

impl Closings {
    fn new(registry: &Registry) -> Self {
        let reasons = ["http", "tls", "frame_length", "protocol", "slow_frame", "replies_unread"];
        Closings(reasons.map(|reason| {
            let labels = [("listener", "scribe"), ("reason", reason)];
            (registry.counter("spangate_connections_refused_total", &labels), Rarely::default())
        }))
    }

    fn count(&self, closing: Closing, peer: SocketAddr, settings: &Settings) {
        let (index, why) = match closing {
            Closing::Http => (0, "it speaks HTTP".to_owned()),
            Closing::Tls => (1, "it speaks TLS".to_owned()),
            Closing::BadLength(length) => {
                (2, format!("frame of {length} bytes, expected 1 to {}", settings.frame_bytes_max))
            }
            Closing::BadHeader => (3, "a frame that holds no Thrift message".to_owned()),
            Closing::SlowFrame => (4, format!("frame not complete in {:?}", settings.frame_timeout)),
            Closing::RepliesUnread => (5, format!("reply not taken in {:?}", settings.frame_timeout)),
        };
        let (counter, rarely) = &self.0[index];
        counter.increment(1);
        if let Some(left_out) = rarely.due() {
            tracing::warn!(%peer, left_out, "scribe connection closed: {why}");
        }
    }
}

/// A reply, or what it waits for.
enum Answer {
    Ready(Vec<u8>),
    Log(Box<LogAnswer>),
}

struct LogAnswer {
    pending: Pending,
    reply: ReplyTo,
    good: Vec<(Arc<Category>, u64)>,
}

/// Of a `Log` call, what its reply needs.
#[derive(Clone, Copy)]
struct ReplyTo {
    form: Form,
    seqid: i32,
    kind: MessageKind,
}

impl ReplyTo {
    fn of(header: &Header<'_>) -> Self {
        ReplyTo { form: header.form, seqid: header.seqid, kind: header.kind }
    }

    fn log(self, code: ResultCode) -> Vec<u8> {
        let mut out = Vec::new();
        if self.kind != MessageKind::Oneway {
            let header = Header { name: LOG, seqid: self.seqid, form: self.form, kind: self.kind, len: 0 };
            reply_log(&header, code, &mut out);
        }
        out
    }
}

/// Serves a connection until the peer ends it, it breaks a rule, or the stop.
pub(super) async fn serve(server: Arc<Server>, stream: TcpStream, peer: SocketAddr, _seat: Seat) {
    let (reading, writing) = stream.into_split();
    let (answers, queue) = mpsc::channel(ANSWERS_MAX);
    let unread = CancellationToken::new();
    let decoder = Decoder::new(peer, server.settings.keep_binary_annotations);
    let share = server.door.share();
    let mut reader = Reader { server: &server, peer, share, decoder, answers, inbox: Inbox::new(reading) };
    let read = async {
        let ended = tokio::select! {
            ended = reader.run() => ended,
            () = unread.cancelled() => Ok(Some(Closing::RepliesUnread)),
            () = async { server.stop.cancelled().await; sleep(STOP_GRACE).await } => Ok(None),
        };
        match ended {
            Ok(Some(closing)) => server.closings.count(closing, peer, &server.settings),
            Ok(None) => {}
            Err(error) => tracing::debug!(%peer, %error, "scribe connection ended"),
        }
        // The writer ends when the reader is gone and the queue is empty.
        drop(reader);
    };
    let writer = Writer { server: &server, peer, stream: writing, out: Vec::new(), unread: &unread, gone: false };
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
                () = self.server.stop.cancelled() => false,
            };
            if !begun {
                return Ok(None);
            }
            let mut permit = self.share.permit();
            let deadline = Instant::now() + self.server.settings.frame_timeout;
            let frame = self.inbox.frame(self.server.settings.frame_bytes_max, &mut permit);
            let Ok(arrival) = timeout_at(deadline, frame).await else { return Ok(Some(Closing::SlowFrame)) };
            let Some(arrival) = arrival? else { return Ok(None) };
            let answered = match arrival {
                Arrival::Frame(payload) => self.call(&payload, permit),
                Arrival::Refused { prefix, bytes, refusal } => self.refused(&prefix, bytes, refusal),
                Arrival::Foreign(foreign) => return Ok(Some(self.foreign(foreign).await)),
                Arrival::BadLength(length) => return Ok(Some(Closing::BadLength(length))),
            };
            let Some(answer) = answered else { return Ok(Some(Closing::BadHeader)) };
            if self.answers.send(answer).await.is_err() {
                return Ok(None);
            }
        }
    }

    /// The answer to a whole call; `None` where it cannot be told what it is.
    fn call(&mut self, payload: &Bytes, permit: Permit) -> Option<Answer> {
        self.server.door.read(payload.len());
        let header = Header::parse(payload).ok()?;
        let arguments = &payload[header.len..];
        if header.name == LOG && matches!(header.kind, MessageKind::Call | MessageKind::Oneway) {
            return Some(self.log(&header, arguments, permit));
        }
        let mut out = Vec::new();
        fb303::answer(&header, arguments, &Service { server: self.server, peer: self.peer }, &mut out);
        Some(Answer::Ready(out))
    }

    fn log(&mut self, header: &Header<'_>, arguments: &[u8], permit: Permit) -> Answer {
        let Server { door, taken, categories, .. } = self.server;
        let decoder = &mut self.decoder;
        let decoded = heavy(arguments.len(), || {
            let entries = log_arguments(arguments, decoder.limits())?;
            Ok(decoder.decode(&entries.unwrap_or_default(), taken, categories))
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
        door.unread();
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

struct Writer<'a> {
    server: &'a Server,
    peer: SocketAddr,
    stream: OwnedWriteHalf,
    /// Replies not yet written.
    out: Vec<u8>,
    /// Cancelled where the peer does not take its replies.
    unread: &'a CancellationToken,
    /// Nobody reads any more; answers are still waited for, as they are counted.
    gone: bool,
}

impl Writer<'_> {
    async fn run(mut self, mut queue: mpsc::Receiver<Answer>) {
        loop {
            let answer = match queue.try_recv() {
                Ok(answer) => answer,
                Err(_none_yet) => {
                    self.flush().await;
                    let Some(answer) = queue.recv().await else { break };
                    answer
                }
            };
            match answer {
                Answer::Ready(reply) => self.out.extend_from_slice(&reply),
                Answer::Log(answer) => self.log(*answer).await,
            }
            if self.out.len() >= REPLIES_BYTES {
                self.flush().await;
            }
        }
        // A peer that has gone does not mind.
        let _ = self.stream.shutdown().await;
    }

    async fn log(&mut self, LogAnswer { pending, reply, good }: LogAnswer) {
        let mut waiting = pin!(pending.wait());
        let answer = match poll_once(&mut waiting).await {
            Poll::Ready(answer) => answer,
            Poll::Pending => {
                self.flush().await;
                waiting.await
            }
        };
        Call::count(&good, &self.server.categories, answer.is_ok());
        let code = match answer {
            Ok(()) => ResultCode::OK,
            Err(refusal) => {
                self.server.log_refusal(self.peer, refusal);
                ResultCode::TRY_LATER
            }
        };
        self.out.extend_from_slice(&reply.log(code));
    }

    async fn flush(&mut self) {
        if !self.gone && !self.out.is_empty() {
            match timeout(self.server.settings.frame_timeout, self.stream.write_all(&self.out)).await {
                Ok(Ok(())) => {}
                // Fire-and-forget clients close before they read: what they sent before still counts.
                Ok(Err(_gone)) => self.gone = true,
                Err(_late) => {
                    self.gone = true;
                    self.unread.cancel();
                }
            }
        }
        self.out.clear();
    }
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
}
