//! A connection to what is tried out: one message out, one answer back.
//!
//! A small Scribe and HTTP/1.1 client of its own ([`grpc`](super::grpc) beside it), as the sinks' client costs ten
//! times as much a request as the gateway that is to be measured. It keeps a connection while all is well and dials
//! again after anything else. An error means that the answer is unknown; one of the kind `InvalidData`, that whoever
//! answers speaks another protocol.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Buf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::encoder::SEQID;
use super::grpc::Channel;
use super::message::Message;
use super::options::{Format, Target};
use crate::wire::scribe::ResultCode;
use crate::wire::scribe::call::{self, log_answer};

/// A host that swallows connections is given up after this.
const DIAL_MAX: Duration = Duration::from_secs(5);
/// Longer than the gateway's `commit_wait` (500 ms) many times over, so that a slow yes is still one.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Answers are small: a Scribe code has 30 bytes, an HTTP answer a few lines.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Of an answer's text that a person is shown.
const SHOWN_MAX: usize = 200;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Yes,
    /// Not now: what it said, and after what time to ask again if it named one.
    Later(String, Option<Duration>),
    /// Never: what it said.
    No(String),
}

pub struct Link {
    target: Rc<Target>,
    /// The head of a request of HTTP/1.1 but for its length; empty for others.
    head: String,
    open: Option<Open>,
    input: Vec<u8>,
    answer_max: Duration,
}

/// A connection that takes another message.
enum Open {
    Plain(TcpStream),
    Grpc(Box<Channel>),
}

impl Link {
    /// An answer is waited for as long as there is patience, at most [`ANSWER_MAX`].
    pub fn new(target: Rc<Target>, format: Format, patience: Duration) -> Link {
        let head = match &*target {
            Target::Scribe(_) | Target::Grpc(_) => String::new(),
            Target::Http { host_port, path } => {
                let content_type = format.content_type();
                // `b3: 0`: a collector is not to trace its own intake of spans.
                format!(
                    "POST {path} HTTP/1.1\r\nhost: {host_port}\r\nuser-agent: spangate-send/{}\r\nb3: 0\r\n\
                     content-type: {content_type}\r\ncontent-length: ",
                    env!("CARGO_PKG_VERSION")
                )
            }
        };
        Link { target, head, open: None, input: Vec::new(), answer_max: patience.min(ANSWER_MAX) }
    }

    /// Dials, so that the first message need not.
    pub async fn open(&mut self) -> io::Result<()> {
        self.open = Some(self.dial().await?);
        Ok(())
    }

    async fn dial(&self) -> io::Result<Open> {
        let (Target::Scribe(host_port) | Target::Http { host_port, .. } | Target::Grpc(host_port)) = &*self.target;
        let stream =
            timeout(DIAL_MAX, TcpStream::connect(host_port)).await.map_err(|_| late("no connection", DIAL_MAX))??;
        stream.set_nodelay(true)?;
        Ok(match &*self.target {
            Target::Grpc(_) => Open::Grpc(Box::new(Channel::open(stream, host_port).await?)),
            _ => Open::Plain(stream),
        })
    }

    /// Sends a message and reads its answer.
    pub async fn exchange(&mut self, message: &Message) -> io::Result<Answer> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.dial().await?,
        };
        let limit = self.answer_max;
        let exchanged = match &mut open {
            Open::Plain(stream) => timeout(limit, self.exchange_on(stream, message)).await,
            Open::Grpc(channel) => timeout(limit, channel.report(&message.body)).await.map(|sent| Ok((sent?, true))),
        };
        let (answer, keep) = exchanged.map_err(|_| late("no answer", limit))??;
        self.open = keep.then_some(open);
        Ok(answer)
    }

    /// The answer, and whether the connection takes another message.
    async fn exchange_on(&mut self, stream: &mut TcpStream, message: &Message) -> io::Result<(Answer, bool)> {
        let head = match self.head.is_empty() {
            true => String::new(),
            false => format!("{}{}\r\n\r\n", self.head, message.body.len()),
        };
        let sent = stream.write_all_buf(&mut Buf::chain(head.as_bytes(), &message.body[..])).await;
        self.input.clear();
        let answered = match &*self.target {
            Target::Scribe(_) => scribe_answer(stream, &mut self.input).await,
            _ => http_answer(stream, &mut self.input).await,
        };
        // A listener may answer (413, say) and close before it has read all: its answer says more than our error.
        match (sent, answered) {
            (Ok(()), answered) => answered,
            (Err(_), Ok((answer, _))) => Ok((answer, false)),
            (Err(error), Err(_)) => Err(error),
        }
    }
}

fn late(what: &str, limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} within {limit:?}"))
}

pub(super) fn odd(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Reads more; the end is an error.
async fn more(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    if input.len() > ANSWER_BYTES_MAX {
        return Err(odd(format!("an answer of more than {ANSWER_BYTES_MAX} bytes")));
    }
    match stream.read_buf(input).await? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed without an answer")),
        _ => Ok(()),
    }
}

async fn scribe_answer(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<(Answer, bool)> {
    loop {
        if let Some((length, payload)) = input.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > ANSWER_BYTES_MAX {
                return Err(odd("not a Scribe answer: is this Scribe's port?"));
            }
            if payload.len() >= length {
                let answer = scribe_reply(&payload[..length]).ok_or_else(|| odd("not an answer to `Log`"))?;
                return Ok((answer, true));
            }
        }
        more(stream, input).await?;
    }
}

/// The answer in a reply's payload; `None` if it is none to our call.
fn scribe_reply(payload: &[u8]) -> Option<Answer> {
    Some(match log_answer(payload, SEQID)? {
        call::Answer::Code(ResultCode::OK) => Answer::Yes,
        call::Answer::Code(ResultCode::TRY_LATER) => Answer::Later("TRY_LATER".into(), None),
        call::Answer::Code(ResultCode(code)) => Answer::No(format!("ResultCode {code}")),
        call::Answer::Exception(_, text) => Answer::No(shown(text.as_bytes())),
    })
}

async fn http_answer(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<(Answer, bool)> {
    let head_len = loop {
        match input.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => more(stream, input).await?,
        }
    };
    let head = Head::parse(&input[..head_len])?;
    // Where no length is given (chunks, or until the end) the status says enough, and the connection goes.
    let length = head.content_length.unwrap_or(0);
    while input.len() < head_len + length {
        more(stream, input).await?;
    }
    Ok((head.answer(&input[head_len..]), head.keep && head.content_length.is_some()))
}

/// What of an HTTP answer's head is of interest.
#[derive(Debug)]
struct Head {
    status: u16,
    content_length: Option<usize>,
    retry_after: Option<Duration>,
    keep: bool,
}

impl Head {
    fn parse(head: &[u8]) -> io::Result<Head> {
        let text = std::str::from_utf8(head).map_err(|_| odd("not an HTTP answer"))?;
        let mut lines = text.split("\r\n");
        let status = lines.next().filter(|line| line.starts_with("HTTP/1.")).and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| odd("not an HTTP answer: is this the HTTP port?"))?;
        let mut found = Head { status, content_length: None, retry_after: None, keep: true };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => found.content_length = Some(value.parse().map_err(|_| odd("its content-length"))?),
                "retry-after" => found.retry_after = value.parse().ok().map(Duration::from_secs),
                "connection" => found.keep = !value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        Ok(found)
    }

    fn answer(&self, body: &[u8]) -> Answer {
        match self.status {
            200..=299 => Answer::Yes,
            429 | 503 => Answer::Later(self.status.to_string(), self.retry_after),
            status => Answer::No(format!("{status} {}", shown(body)).trim_end().to_owned()),
        }
    }
}

/// A stranger's text for a terminal.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_MAX).collect()
}

#[cfg(test)]
#[path = "tests/link.rs"]
mod tests;
