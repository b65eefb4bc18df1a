//! Answers of one connection: waited for, gathered and written in the order of their calls.
//!
//! Replies that are ready go out in one write; before waiting, what is gathered is sent. Each
//! call is waited for and counted even where nobody reads its reply any more.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::categories::Category;
use super::connection::Server;
use super::log::Call;
use super::service::Service;
use crate::listener::intake::{Pending, Permit, Refusal};
use crate::wire::fb303;
use crate::wire::scribe::{ExceptionKind, Form, Header, LOG, MessageKind, ResultCode, reply_exception, reply_log};

/// Replies gathered before they are written.
const REPLIES_BYTES: usize = 16 * 1024;

/// A reply, or what it waits for.
pub(super) enum Answer {
    Ready(Vec<u8>),
    /// A call of fb303. It is answered when its turn comes: a reply may be a hundred times its call,
    /// and a peer that does not read could have one made for every place in the queue.
    Asked {
        payload: Bytes,
        _permit: Permit,
    },
    Log(Box<LogAnswer>),
}

pub(super) struct LogAnswer {
    pub pending: Pending,
    pub reply: ReplyTo,
    /// Its decoded entries, by category.
    pub good: Vec<(Arc<Category>, u64)>,
}

/// Of a `Log` call, what its reply needs.
#[derive(Clone, Copy)]
pub(super) struct ReplyTo {
    form: Form,
    seqid: i32,
    kind: MessageKind,
}

impl ReplyTo {
    pub fn of(header: &Header<'_>) -> Self {
        ReplyTo { form: header.form, seqid: header.seqid, kind: header.kind }
    }

    pub fn log(self, code: ResultCode) -> Vec<u8> {
        self.written(|header, out| reply_log(header, code, out))
    }

    /// A refusal for good, which Scribe has no code for.
    fn exception(self, what: &str) -> Vec<u8> {
        self.written(|header, out| reply_exception(header, ExceptionKind::InternalError, what, out))
    }

    fn written(self, write: impl FnOnce(&Header<'_>, &mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        if self.kind != MessageKind::Oneway {
            write(&Header { name: LOG, seqid: self.seqid, form: self.form, kind: self.kind, len: 0 }, &mut out);
        }
        out
    }
}

/// Writes a connection's answers in order.
pub(super) struct Writer<'a> {
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

impl<'a> Writer<'a> {
    pub fn new(server: &'a Server, peer: SocketAddr, stream: OwnedWriteHalf, unread: &'a CancellationToken) -> Self {
        Writer { server, peer, stream, out: Vec::new(), unread, gone: false }
    }

    /// Ends when the reader is gone and the queue is empty.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Answer>) {
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
                Answer::Asked { payload, .. } => self.asked(&payload),
                Answer::Log(answer) => self.log(*answer).await,
            }
            if self.out.len() >= REPLIES_BYTES {
                self.flush().await;
            }
        }
        // A peer that has gone does not mind.
        let _ = self.stream.shutdown().await;
    }

    fn asked(&mut self, payload: &[u8]) {
        let header = Header::parse(payload).expect("the reader has parsed it before");
        let service = Service { server: self.server, peer: self.peer };
        fb303::answer(&header, &payload[header.len..], &service, &mut self.out);
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
        if let Err(refusal) = answer {
            self.server.log_refusal(self.peer, refusal);
        }
        let reply = match answer {
            Ok(()) => reply.log(ResultCode::OK),
            // TRY_LATER would bring it back for ever.
            Err(refusal @ Refusal::TooLarge) => reply.exception(&refusal.to_string()),
            Err(_) => reply.log(ResultCode::TRY_LATER),
        };
        self.out.extend_from_slice(&reply);
    }

    async fn flush(&mut self) {
        if !self.gone && !self.out.is_empty() {
            match timeout(self.server.settings.get().frame_timeout, self.stream.write_all(&self.out)).await {
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
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}
