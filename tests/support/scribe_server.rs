//! A scripted Scribe collector: plain sockets, so that it can misbehave at every byte.
//!
//! It reads frames, notes the spans of `Log` calls by their ids, and answers as the [`Play`] of the moment says. It
//! reads with the generated types, none of the product's readers.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use spangate::wire::r#gen::{scribe::LogEntry, zipkin_core};
use thrift::protocol::{TBinaryInputProtocol, TInputProtocol, TMessageType, TSerializable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// What a collector does with a call that it has read whole.
#[derive(Debug, Clone)]
pub enum Play {
    /// A `ResultCode`; 0 takes the spans.
    Code(i32),
    /// A `TApplicationException` of this type; nothing is taken.
    Exception(i32, String),
    /// INTERNAL_ERROR for a call with one of these span ids in it, else OK.
    RefuseSpans(HashSet<String>),
    /// OK to another call than the last.
    WrongNumber,
    /// Closes with a reset, taking nothing.
    Reset,
    /// Closes in good order without an answer, taking nothing.
    Close,
    /// Never answers, and takes nothing.
    Hang,
    /// Takes the spans and closes without an answer.
    LoseReply,
    /// Takes the spans and closes within the answer.
    CutReply,
    /// OK, a byte at a time.
    Dribble,
    /// OK, once so many calls have come in all.
    Together(usize),
    /// These bytes, which are no frame.
    Garbage(&'static [u8]),
    /// The head of a reply without end.
    Endless,
}

/// A call as it came.
#[derive(Debug, Clone)]
pub struct Call {
    pub frame_bytes: usize,
    pub seqid: i32,
    pub categories: HashSet<String>,
    /// Span ids, 16 hex digits each, in the list's order.
    pub spans: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub calls: Vec<Call>,
    /// How often each span id was taken.
    pub taken: BTreeMap<String, u32>,
    pub connections: usize,
}

struct Shared {
    play: Mutex<Play>,
    seen: Mutex<Seen>,
}

/// A collector on a port of its own. It keeps the port while it is down.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    /// Bound and not listening: connections are refused, and nobody else gets the port.
    held: Option<TcpSocket>,
}

impl Server {
    /// One that is up and takes everything.
    pub async fn start() -> Server {
        let mut server = Server::absent();
        server.rise();
        server
    }

    /// One that refuses connections until [`rise`](Self::rise).
    pub fn absent() -> Server {
        let socket = bind("127.0.0.1:0".parse().unwrap());
        let shared = Shared { play: Mutex::new(Play::Code(0)), seen: Mutex::default() };
        let address = socket.local_addr().unwrap();
        Server { address, shared: Arc::new(shared), tasks: JoinSet::new(), held: Some(socket) }
    }

    pub fn rise(&mut self) {
        let socket = self.held.take().expect("it is down");
        let listener = socket.listen(128).unwrap();
        self.tasks.spawn(accept(listener, self.shared.clone()));
    }

    /// Cuts all connections and refuses new ones.
    pub async fn fall(&mut self) {
        self.tasks.shutdown().await;
        self.held = Some(bind(self.address));
    }

    pub fn play(&self, play: Play) {
        *self.shared.play.lock().unwrap() = play;
    }

    pub fn url(&self) -> String {
        format!("scribe://{}", self.address)
    }

    /// What it saw so far.
    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap().clone()
    }
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Ends, and its connections with it, when the server falls.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a listening socket accepts");
        shared.seen.lock().unwrap().connections += 1;
        let shared = shared.clone();
        // An error is a peer that left: its right.
        connections.spawn(async move { drop(serve(stream, &shared).await) });
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    loop {
        let mut payload = vec![0; stream.read_u32().await? as usize];
        stream.read_exact(&mut payload).await?;
        let call = read_call(&payload);
        let play = shared.play.lock().unwrap().clone();
        shared.seen.lock().unwrap().calls.push(call.clone());
        if !answer(&mut stream, &play, &call, shared).await? {
            return Ok(());
        }
    }
}

/// Plays; false when the connection is to end.
async fn answer(stream: &mut TcpStream, play: &Play, call: &Call, shared: &Shared) -> io::Result<bool> {
    let take = || {
        let mut seen = shared.seen.lock().unwrap();
        call.spans.iter().for_each(|id| *seen.taken.entry(id.clone()).or_default() += 1);
    };
    let reply = match play {
        Play::Code(code) => {
            (*code == 0).then(take);
            code_reply(call.seqid, *code)
        }
        Play::Exception(code, text) => exception_reply(call.seqid, *code, text),
        Play::RefuseSpans(bad) if call.spans.iter().any(|id| bad.contains(id)) => exception_reply(call.seqid, 6, ""),
        Play::RefuseSpans(_) => {
            take();
            code_reply(call.seqid, 0)
        }
        Play::WrongNumber => code_reply(call.seqid + 1, 0),
        Play::Reset => {
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
            return Ok(false);
        }
        Play::Close => return Ok(false),
        Play::Hang => std::future::pending().await,
        Play::LoseReply => {
            take();
            return Ok(false);
        }
        Play::CutReply => {
            take();
            let reply = code_reply(call.seqid, 0);
            stream.write_all(&reply[..reply.len() - 3]).await?;
            return Ok(false);
        }
        Play::Dribble => {
            take();
            for byte in code_reply(call.seqid, 0) {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            return Ok(true);
        }
        Play::Together(calls) => {
            take();
            while shared.seen.lock().unwrap().calls.len() < *calls {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            code_reply(call.seqid, 0)
        }
        Play::Garbage(bytes) => bytes.to_vec(),
        Play::Endless => vec![0x01, 0, 0, 0, 0x80, 1, 0, 2],
    };
    stream.write_all(&reply).await?;
    Ok(true)
}

fn code_reply(seqid: i32, code: i32) -> Vec<u8> {
    framed(2, seqid, &[&[8, 0, 0][..], &code.to_be_bytes(), &[0]].concat())
}

fn exception_reply(seqid: i32, code: i32, text: &str) -> Vec<u8> {
    let length = (text.len() as u32).to_be_bytes();
    let text = [&[11, 0, 1][..], &length, text.as_bytes()].concat();
    framed(3, seqid, &[&text[..], &[8, 0, 2], &code.to_be_bytes(), &[0]].concat())
}

fn framed(kind: u8, seqid: i32, body: &[u8]) -> Vec<u8> {
    let payload = [&[0x80, 1, 0, kind, 0, 0, 0, 3][..], b"Log", &seqid.to_be_bytes(), body].concat();
    [&(payload.len() as u32).to_be_bytes()[..], &payload].concat()
}

fn read_call(payload: &[u8]) -> Call {
    let mut input = TBinaryInputProtocol::new(payload, true);
    let head = input.read_message_begin().unwrap();
    assert_eq!((head.name.as_str(), head.message_type), ("Log", TMessageType::Call));
    input.read_struct_begin().unwrap();
    assert_eq!(input.read_field_begin().unwrap().id, Some(1));
    let entries = input.read_list_begin().unwrap().size;
    let entries: Vec<LogEntry> = (0..entries).map(|_| LogEntry::read_from_in_protocol(&mut input).unwrap()).collect();
    Call {
        frame_bytes: payload.len(),
        seqid: head.sequence_number,
        categories: entries.iter().map(|entry| entry.category.clone().unwrap()).collect(),
        spans: entries.iter().map(span_id).collect(),
    }
}

fn span_id(entry: &LogEntry) -> String {
    let bytes = STANDARD.decode(entry.message.as_ref().unwrap()).unwrap();
    let span = zipkin_core::Span::read_from_in_protocol(&mut TBinaryInputProtocol::new(&bytes[..], true)).unwrap();
    format!("{:016x}", span.id.unwrap())
}
