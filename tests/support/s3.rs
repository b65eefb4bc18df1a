//! An S3 server of our own that misbehaves as it is told: in one process, in memory, path style.
//!
//! It knows PUT with `If-None-Match: *`, HEAD, GET (with a range), LIST of version 2, uploads in parts
//! and `x-amz-meta-*`. A script says which request meets which [`Fault`]. It checks that requests are
//! signed, not how: signatures are the client library's, tried against another server by `make real`.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    Put,
    Head,
    Get,
    List,
    Begin,
    Part,
    Complete,
    Abort,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 503 with SlowDown; nothing happens.
    SlowDown,
    /// 500; nothing happens.
    Error,
    /// It takes effect, and the answer is 500.
    ErrorAfter,
    /// No answer ever; nothing happens.
    Hang,
    /// It takes effect, and no answer comes.
    HangAfter,
    /// The connection is closed without an answer; nothing happens.
    Drop,
    /// It takes effect, and the connection is closed without an answer.
    DropAfter,
    /// 403; nothing happens.
    Refuse,
}

impl Fault {
    pub const ALL: [Fault; 8] = [
        Fault::SlowDown,
        Fault::Error,
        Fault::ErrorAfter,
        Fault::Hang,
        Fault::HangAfter,
        Fault::Drop,
        Fault::DropAfter,
        Fault::Refuse,
    ];
}

/// An object as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub bytes: Bytes,
    /// `x-amz-meta-spangate`.
    pub facts: Option<String>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    uploads: BTreeMap<String, Upload>,
    begun: u64,
    /// The next request of a kind meets its first fault.
    script: Vec<(Op, VecDeque<Option<Fault>>)>,
    /// Every request meets this one.
    always: Option<Fault>,
    asked: BTreeMap<Op, u64>,
    /// Requests that met a fault.
    faults: u64,
    /// Writes of objects that stood already.
    overwritten: u64,
}

struct Upload {
    key: String,
    facts: Option<String>,
    parts: BTreeMap<u32, Bytes>,
}

/// A server with one bucket, `spans`.
pub struct S3 {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

impl S3 {
    pub async fn start() -> S3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, state.clone()));
        S3 { address, state, _tasks: tasks }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests of this kind that are to come meet these, one each.
    pub fn script(&self, op: Op, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.state.lock().unwrap().script.push((op, faults.into_iter().collect()));
    }

    pub fn forget_the_script(&self) {
        self.state.lock().unwrap().script.clear();
    }

    pub fn always(&self, fault: Option<Fault>) {
        self.state.lock().unwrap().always = fault;
    }

    pub fn asked(&self, op: Op) -> u64 {
        self.state.lock().unwrap().asked.get(&op).copied().unwrap_or(0)
    }

    /// Requests that met a fault so far.
    pub fn faults(&self) -> u64 {
        self.state.lock().unwrap().faults
    }

    pub fn objects(&self) -> BTreeMap<String, Stored> {
        self.state.lock().unwrap().objects.clone()
    }

    pub fn place(&self, key: &str, stored: Stored) {
        self.state.lock().unwrap().objects.insert(key.into(), stored);
    }

    /// Uploads that were neither completed nor aborted.
    pub fn uploads(&self) -> usize {
        self.state.lock().unwrap().uploads.len()
    }

    pub fn overwritten(&self) -> u64 {
        self.state.lock().unwrap().overwritten
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else { return };
        let state = state.clone();
        connections.spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(state.clone(), request));
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // An error is a client that left, or a fault of ours.
            let _ = builder.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

/// What is asked, taken apart.
struct Asked {
    op: Op,
    key: String,
    query: BTreeMap<String, String>,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    async fn read(request: Request<Incoming>) -> Result<Asked, hyper::Error> {
        let (head, body) = request.into_parts();
        let pairs = head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let query: BTreeMap<String, String> = pairs.map(|(k, v)| (decoded(k), decoded(v))).collect();
        let path = decoded(head.uri.path());
        let key = path.strip_prefix("/spans").unwrap_or_default().trim_start_matches('/').to_owned();
        let has = |name: &str| query.contains_key(name);
        let op = match head.method {
            Method::PUT if has("partNumber") => Op::Part,
            Method::PUT => Op::Put,
            Method::HEAD => Op::Head,
            Method::GET if has("list-type") => Op::List,
            Method::GET => Op::Get,
            Method::POST if has("uploads") => Op::Begin,
            Method::POST => Op::Complete,
            _ => Op::Abort,
        };
        Ok(Asked { op, key, query, headers: head.headers, body: body.collect().await?.to_bytes() })
    }

    fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().ok()?.to_owned())
    }
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &tail[2..]).1,
            None => (bytes.push(*first), rest = tail).1,
        }
    }
    String::from_utf8(bytes).unwrap()
}

type Answer = Response<Full<Bytes>>;

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> io::Result<Answer> {
    let asked = Asked::read(request).await.map_err(io::Error::other)?;
    let fault = state.lock().unwrap().meet(asked.op);
    if asked.header("authorization").is_none_or(|signed| !signed.starts_with("AWS4-HMAC-SHA256 ")) {
        return Ok(plain(StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>"));
    }
    let effect = matches!(fault, None | Some(Fault::ErrorAfter | Fault::HangAfter | Fault::DropAfter));
    let done = effect.then(|| state.lock().unwrap().serve(&asked));
    match fault {
        None => Ok(done.expect("it took effect")),
        Some(Fault::SlowDown) => Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "<Error><Code>SlowDown</Code></Error>")),
        Some(Fault::Refuse) => Ok(plain(StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>")),
        Some(Fault::Error | Fault::ErrorAfter) => {
            Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "<Error><Code>InternalError</Code></Error>"))
        }
        Some(Fault::Hang | Fault::HangAfter) => {
            let never: Infallible = std::future::pending().await;
            match never {}
        }
        Some(Fault::Drop | Fault::DropAfter) => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

fn plain(status: StatusCode, body: impl Into<String>) -> Answer {
    Response::builder().status(status).body(Full::from(body.into())).unwrap()
}

impl State {
    fn meet(&mut self, op: Op) -> Option<Fault> {
        *self.asked.entry(op).or_default() += 1;
        let scripted = self.script.iter_mut().find(|(of, faults)| *of == op && !faults.is_empty());
        let met = scripted.and_then(|(_, faults)| faults.pop_front().flatten()).or(self.always);
        self.faults += u64::from(met.is_some());
        met
    }

    fn serve(&mut self, asked: &Asked) -> Answer {
        match asked.op {
            Op::Put => self.put(asked),
            Op::Head | Op::Get => self.get(asked),
            Op::List => self.list(asked),
            Op::Begin => self.begin(asked),
            Op::Part => self.part(asked),
            Op::Complete => self.complete(asked),
            Op::Abort => match self.uploads.remove(&asked.query["uploadId"]) {
                Some(_) => plain(StatusCode::NO_CONTENT, ""),
                None => no_upload(),
            },
        }
    }

    fn put(&mut self, asked: &Asked) -> Answer {
        let stands = self.objects.contains_key(&asked.key);
        if stands && asked.header("if-none-match").as_deref() == Some("*") {
            return plain(StatusCode::PRECONDITION_FAILED, "<Error><Code>PreconditionFailed</Code></Error>");
        }
        self.overwritten += u64::from(stands);
        let stored = Stored { bytes: asked.body.clone(), facts: asked.header("x-amz-meta-spangate") };
        self.objects.insert(asked.key.clone(), stored);
        with_tag(plain(StatusCode::OK, ""))
    }

    fn get(&self, asked: &Asked) -> Answer {
        let Some(stored) = self.objects.get(&asked.key) else {
            return plain(StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>");
        };
        let len = stored.bytes.len();
        let range = asked.header("range").map(|range| {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap().min(len - 1))
        });
        let mut response = Response::builder().header("last-modified", "Sat, 21 Nov 2026 06:00:00 GMT");
        if let Some(facts) = &stored.facts {
            response = response.header("x-amz-meta-spangate", facts);
        }
        if asked.op == Op::Head {
            return with_tag(response.header("content-length", len).body(Full::default()).unwrap());
        }
        let body = match range {
            Some((first, last)) => {
                response = response.status(206).header("content-range", format!("bytes {first}-{last}/{len}"));
                stored.bytes.slice(first..=last)
            }
            None => stored.bytes.clone(),
        };
        with_tag(response.body(Full::from(body)).unwrap())
    }

    fn list(&self, asked: &Asked) -> Answer {
        let prefix = asked.query.get("prefix").cloned().unwrap_or_default();
        let escaped = |key: &str| key.replace('&', "&amp;").replace('<', "&lt;");
        let found = self.objects.iter().filter(|(key, _)| key.starts_with(&prefix));
        let contents: String = found
            .map(|(key, stored)| {
                format!(
                    "<Contents><Key>{}</Key><Size>{}</Size><ETag>\"1\"</ETag>\
                     <LastModified>2026-11-21T06:00:00.000Z</LastModified></Contents>",
                    escaped(key),
                    stored.bytes.len()
                )
            })
            .collect();
        plain(
            StatusCode::OK,
            format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"),
        )
    }

    fn begin(&mut self, asked: &Asked) -> Answer {
        self.begun += 1;
        let id = format!("upload-{}", self.begun);
        let upload =
            Upload { key: asked.key.clone(), facts: asked.header("x-amz-meta-spangate"), parts: BTreeMap::new() };
        self.uploads.insert(id.clone(), upload);
        let result = "InitiateMultipartUploadResult";
        plain(StatusCode::OK, format!("<{result}><UploadId>{id}</UploadId></{result}>"))
    }

    fn part(&mut self, asked: &Asked) -> Answer {
        let Some(upload) = self.uploads.get_mut(&asked.query["uploadId"]) else { return no_upload() };
        upload.parts.insert(asked.query["partNumber"].parse().unwrap(), asked.body.clone());
        with_tag(plain(StatusCode::OK, ""))
    }

    /// As S3: nothing guards what stands there.
    fn complete(&mut self, asked: &Asked) -> Answer {
        let Some(upload) = self.uploads.remove(&asked.query["uploadId"]) else { return no_upload() };
        let named = String::from_utf8_lossy(&asked.body).matches("<PartNumber>").count();
        assert_eq!(named, upload.parts.len(), "all parts are named");
        let bytes = Bytes::from(upload.parts.into_values().collect::<Vec<_>>().concat());
        let before = self.objects.insert(upload.key, Stored { bytes, facts: upload.facts });
        self.overwritten += u64::from(before.is_some());
        let result = "CompleteMultipartUploadResult";
        plain(StatusCode::OK, format!("<{result}><ETag>\"1\"</ETag></{result}>"))
    }
}

fn no_upload() -> Answer {
    plain(StatusCode::NOT_FOUND, "<Error><Code>NoSuchUpload</Code></Error>")
}

fn with_tag(mut response: Answer) -> Answer {
    response.headers_mut().insert("etag", "\"1\"".parse().unwrap());
    response
}
