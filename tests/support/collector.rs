//! A scripted Zipkin collector: plain sockets, so that it can misbehave at every byte.
//!
//! It reads HTTP/1.1 requests, notes the spans they hold, and answers as the [`Play`] of the
//! moment says. Its readers of span lists are its own, not the product's.

#![allow(clippy::unwrap_used, reason = "the support of tests, which may panic as they do")]

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::names;

/// What a collector does with a request that it has read whole.
#[derive(Debug, Clone)]
pub enum Play {
    /// 202.
    Ok,
    /// This status, with these headers and this text; nothing is taken.
    Status(u16, Vec<(&'static str, String)>, String),
    /// Closes with a reset, taking nothing.
    Reset,
    /// Closes in good order without an answer, taking nothing.
    Close,
    /// Never answers, and takes nothing.
    Hang,
    /// Takes the spans and closes without an answer.
    LoseReply,
    /// Takes the spans and never answers.
    TakeAndHang,
    /// 202 after this long.
    Slow(Duration),
    /// 202, then a body that never ends, a byte at a time.
    Dribble,
    /// 413 for bodies above this size, else 202.
    TooLargeAbove(usize),
    /// The same, but before the body is read, as a proxy answers; what comes after is read and dropped.
    TooLargeEarly(usize),
    /// 400 for a list with one of these span ids in it, else 202.
    RefuseSpans(HashSet<String>),
    /// Plays so for a list with one of these span ids in it, else 202.
    ForSpans(HashSet<String>, Box<Play>),
    /// What is no HTTP.
    Garbage,
}

impl Play {
    pub fn status(status: u16) -> Play {
        Play::Status(status, Vec::new(), String::new())
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Decompressed.
    pub body: Vec<u8>,
    /// Span ids, 16 hex digits each, or names, in the list's order.
    pub spans: Vec<String>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    /// How often each span id was taken.
    taken: BTreeMap<String, u32>,
    connections: usize,
    errors: Vec<String>,
}

struct Shared {
    /// What it calls a span: by id, or as the ledger does.
    by_name: bool,
    play: Mutex<Play>,
    /// What it says of itself: its health, and the spans that it dropped.
    itself: Mutex<(bool, u64)>,
    seen: Mutex<Seen>,
}

/// A collector on a port of its own. It keeps the port while it is down.
pub struct Collector {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    /// Bound and not listening: connections are refused, and nobody else gets the port.
    held: Option<TcpSocket>,
}

impl Collector {
    /// One that is up and takes everything.
    pub async fn start() -> Collector {
        let mut collector = Collector::absent();
        collector.rise();
        collector
    }

    /// One that refuses connections until [`rise`](Self::rise).
    pub fn absent() -> Collector {
        Collector::calling_spans(false)
    }

    /// One that knows spans by their [`Name`](super::names::Name)s and keeps no requests, for long runs; down.
    pub fn by_name() -> Collector {
        Collector::calling_spans(true)
    }

    fn calling_spans(by_name: bool) -> Collector {
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (play, itself) = (Mutex::new(Play::Ok), Mutex::new((true, 0)));
        let shared = Shared { by_name, play, itself, seen: Mutex::default() };
        Collector {
            address: socket.local_addr().unwrap(),
            shared: Arc::new(shared),
            tasks: JoinSet::new(),
            held: Some(socket),
        }
    }

    /// Listens.
    pub fn rise(&mut self) {
        let socket = self.held.take().expect("it is down");
        let listener = socket.listen(128).unwrap();
        self.tasks.spawn(accept(listener, self.shared.clone()));
    }

    /// Cuts all connections and refuses new ones.
    pub async fn fall(&mut self) {
        self.tasks.shutdown().await;
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.held.is_none() {
            match bind(self.address) {
                Ok(socket) => self.held = Some(socket),
                // A process that is being started elsewhere in here holds a copy of the socket until its `exec`.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => panic!("{}: {error}", self.address),
            }
        }
    }

    pub fn is_down(&self) -> bool {
        self.held.is_some()
    }

    pub fn play(&self, play: Play) {
        *self.shared.play.lock().unwrap() = play;
    }

    /// What it says at `/health` and `/prometheus`.
    pub fn say(&self, healthy: bool, dropped: u64) {
        *self.shared.itself.lock().unwrap() = (healthy, dropped);
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().requests.clone()
    }

    /// The span ids taken, and how often each.
    pub fn taken(&self) -> BTreeMap<String, u32> {
        self.shared.seen.lock().unwrap().taken.clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.seen.lock().unwrap().connections
    }

    /// Requests that were no list of spans; empty in a good test.
    pub fn errors(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().errors.clone()
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Ends, and its connections with it, when the collector falls.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a listening socket accepts");
        shared.seen.lock().unwrap().connections += 1;
        let shared = shared.clone();
        // An error is a peer that left: its right.
        connections.spawn(async move { drop(serve(stream, &shared).await) });
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(mut request) = read_head(&mut stream).await? {
        if request.line.starts_with("GET ") {
            tell(&mut stream, &request.line, shared).await?;
            continue;
        }
        let length = request.headers.get("content-length").and_then(|v| v.parse().ok());
        let length: usize = length.ok_or_else(|| io::Error::other("no content-length"))?;
        let mut play = shared.play.lock().unwrap().clone();
        if matches!(play, Play::TooLargeEarly(size) if length > size) {
            respond(&mut stream, 413, &[], "Request Entity Too Large").await?;
            stream.shutdown().await?;
            return tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop);
        }
        request.body = vec![0; length];
        stream.read_exact(&mut request.body).await?;
        let request = match spans_of(request, shared.by_name) {
            Ok(request) => request,
            Err(error) => {
                shared.seen.lock().unwrap().errors.push(error.clone());
                respond(&mut stream, 400, &[], &error).await?;
                continue;
            }
        };
        if !shared.by_name {
            shared.seen.lock().unwrap().requests.push(request.clone());
        }
        if let Play::ForSpans(chosen, then) = play {
            play = if request.spans.iter().any(|id| chosen.contains(id)) { *then } else { Play::Ok };
        }
        if !answer(&mut stream, &play, &request, shared).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Tells of itself as Zipkin does.
async fn tell(stream: &mut BufReader<TcpStream>, line: &str, shared: &Shared) -> io::Result<()> {
    let (healthy, dropped) = *shared.itself.lock().unwrap();
    let of_http = "zipkin_collector_spans_dropped_total{transport=\"http\",}";
    match line.split(' ').nth(1) {
        Some("/health") => respond(stream, if healthy { 200 } else { 503 }, &[], "{}").await,
        Some("/prometheus") => respond(stream, 200, &[], &format!("{of_http} {dropped}.0\n")).await,
        _ => respond(stream, 404, &[], "").await,
    }
}

/// Plays; false when the connection is to end.
async fn answer(
    stream: &mut BufReader<TcpStream>,
    play: &Play,
    request: &Request,
    shared: &Shared,
) -> io::Result<bool> {
    let take = || {
        let mut seen = shared.seen.lock().unwrap();
        for id in &request.spans {
            *seen.taken.entry(id.clone()).or_default() += 1;
        }
    };
    match play {
        Play::Ok => {}
        Play::Status(status, headers, text) => {
            respond(stream, *status, headers, text).await?;
            return Ok(true);
        }
        Play::Reset => {
            socket2::SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO))?;
            return Ok(false);
        }
        Play::Close => return Ok(false),
        Play::Hang => std::future::pending().await,
        Play::LoseReply => {
            take();
            return Ok(false);
        }
        Play::TakeAndHang => {
            take();
            std::future::pending().await
        }
        Play::Slow(time) => tokio::time::sleep(*time).await,
        Play::Dribble => {
            take();
            stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 1000000\r\n\r\n").await?;
            loop {
                stream.write_all(b".").await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Play::TooLargeAbove(size) if request.body.len() > *size => {
            respond(stream, 413, &[], "Request Entity Too Large").await?;
            return Ok(true);
        }
        Play::RefuseSpans(bad) if request.spans.iter().any(|id| bad.contains(id)) => {
            respond(stream, 400, &[], "Malformed reading List<Span> from proto3").await?;
            return Ok(true);
        }
        Play::TooLargeAbove(_) | Play::TooLargeEarly(_) | Play::RefuseSpans(_) | Play::ForSpans(..) => {}
        Play::Garbage => {
            stream.write_all(b"\x15\x03\x01\x00\x02\x02\x50 this is no HTTP\r\n\r\n").await?;
            return Ok(false);
        }
    }
    take();
    respond(stream, 202, &[], "").await?;
    Ok(true)
}

async fn respond(
    stream: &mut BufReader<TcpStream>,
    status: u16,
    headers: &[(&'static str, String)],
    text: &str,
) -> io::Result<()> {
    let headers: String = headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
    let head = format!("HTTP/1.1 {status} Played\r\n{headers}content-length: {}\r\n\r\n", text.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await
}

/// A request's line and headers; `None` where the peer has closed between two.
async fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await?;
        match header.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    Ok(Some(Request { line: line.trim_end().to_owned(), headers, body: Vec::new(), spans: Vec::new() }))
}

fn spans_of(mut request: Request, by_name: bool) -> Result<Request, String> {
    if request.headers.get("content-encoding").is_some_and(|v| v.contains("gzip")) {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*request.body).read_to_end(&mut plain).map_err(|e| e.to_string())?;
        request.body = plain;
    }
    request.spans = match request.headers.get("content-type").map(String::as_str) {
        Some("application/x-protobuf") if by_name => names::of_proto3(&request.body),
        Some("application/x-protobuf") => proto3_ids(&request.body),
        Some("application/json") => json_ids(&request.body),
        _ => None,
    }
    .ok_or_else(|| format!("no list of spans: {:?}", request.headers.get("content-type")))?;
    Ok(request)
}

fn json_ids(body: &[u8]) -> Option<Vec<String>> {
    let list: Vec<serde_json::Value> = serde_json::from_slice(body).ok()?;
    list.iter().map(|span| Some(span.get("id")?.as_str()?.to_owned())).collect()
}

/// The ids (field 3, 8 bytes) of the elements (field 1) of a `zipkin.proto3.ListOfSpans`.
pub fn proto3_ids(mut list: &[u8]) -> Option<Vec<String>> {
    let mut ids = Vec::new();
    while !list.is_empty() {
        let (field, span) = field(&mut list)?;
        let mut span = span.bytes().filter(|_| field == 1)?;
        let mut id = None;
        while !span.is_empty() {
            if let (3, Value::Bytes(bytes)) = self::field(&mut span)? {
                id = Some(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
            }
        }
        ids.push(id?);
    }
    Some(ids)
}

/// What a field of proto3 holds.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    Number(u64),
    Fixed,
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub fn bytes(self) -> Option<&'a [u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub fn number(self) -> Option<u64> {
        if let Value::Number(number) = self { Some(number) } else { None }
    }
}

/// A field's number, and what it holds.
pub fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let tag = varint(bytes)?;
    let fixed = match tag & 7 {
        0 => return Some((tag >> 3, Value::Number(varint(bytes)?))),
        1 => 8,
        5 => 4,
        2 => {
            let len = usize::try_from(varint(bytes)?).ok()?;
            let (value, rest) = bytes.split_at_checked(len)?;
            *bytes = rest;
            return Some((tag >> 3, Value::Bytes(value)));
        }
        _ => return None,
    };
    *bytes = bytes.get(fixed..)?;
    Some((tag >> 3, Value::Fixed))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
