//! A Scribe client on plain TCP that shares no code with the product: frames and Thrift headers
//! are written by hand from the protocol's description, so that a fault in our own encoder and
//! decoder cannot cancel out. Blocking, with a read timeout.
#![allow(clippy::unwrap_used, reason = "the support of tests, which may panic as they do")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;

pub const OK: i32 = 0;
pub const TRY_LATER: i32 = 1;

pub const UNKNOWN_METHOD: i32 = 1;
pub const PROTOCOL_ERROR: i32 = 7;

/// A reply, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub name: String,
    pub seqid: i32,
    pub strict: bool,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Field 0 of the result, or nothing (a void method).
    Result(Option<Value>),
    Exception {
        code: i32,
        message: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    I32(i32),
    I64(i64),
    String(String),
    Counters(Vec<(String, i64)>),
    Options(Vec<(String, String)>),
}

impl Reply {
    /// The `ResultCode` of a `Log` call.
    pub fn code(&self) -> i32 {
        match &self.content {
            Content::Result(Some(Value::I32(code))) => *code,
            other => panic!("not a result code: {other:?}"),
        }
    }
}

pub struct Client {
    pub stream: TcpStream,
    pub strict: bool,
    seqid: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).expect("the listener is there")
    }

    /// For a listener that may be away.
    pub fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, strict: true, seqid: 0 })
    }

    /// Headers without a version, as scribed and its Python clients write them.
    pub fn unversioned(mut self) -> Client {
        self.strict = false;
        self
    }

    /// A `Log` call and its result code.
    pub fn log(&mut self, entries: &[(&str, &str)]) -> i32 {
        let seqid = self.send_log(entries);
        let reply = self.reply().expect("a reply");
        assert_eq!((reply.name.as_str(), reply.seqid, reply.strict), ("Log", seqid, self.strict));
        reply.code()
    }

    /// A `Log` call, without waiting; its sequence number.
    pub fn send_log(&mut self, entries: &[(&str, &str)]) -> i32 {
        self.send("Log", &log_arguments(entries))
    }

    /// Any call and its reply.
    pub fn call(&mut self, method: &str, arguments: &[u8]) -> Reply {
        let seqid = self.send(method, arguments);
        let reply = self.reply().expect("a reply");
        assert_eq!((reply.name.as_str(), reply.seqid, reply.strict), (method, seqid, self.strict));
        reply
    }

    pub fn send(&mut self, method: &str, arguments: &[u8]) -> i32 {
        self.try_send(method, arguments).expect("sent")
    }

    /// For a listener that may die before or while it reads.
    pub fn try_send(&mut self, method: &str, arguments: &[u8]) -> io::Result<i32> {
        self.seqid += 1;
        let frame = frame(&message(self.strict, CALL, method, self.seqid, arguments));
        self.stream.write_all(&frame)?;
        Ok(self.seqid)
    }

    /// The next reply; an error where the connection ends.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut payload = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut payload)?;
        Ok(parse(&payload))
    }

    /// Whether the peer closed the connection.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0; 1]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

pub const CALL: u8 = 1;
pub const ONEWAY: u8 = 4;

/// A payload behind its length.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes(), payload].concat()
}

/// A Thrift message: header and arguments.
pub fn message(strict: bool, kind: u8, name: &str, seqid: i32, arguments: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if strict {
        out.extend([0x80, 0x01, 0x00, kind]);
        out.extend(string(name.as_bytes()));
    } else {
        out.extend(string(name.as_bytes()));
        out.push(kind);
    }
    out.extend(seqid.to_be_bytes());
    out.extend(arguments);
    out
}

/// The arguments of `Log`: field 1, a list of structs of two strings.
pub fn log_arguments(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![15, 0, 1, 12];
    out.extend((entries.len() as u32).to_be_bytes());
    for (category, message) in entries {
        out.extend([11, 0, 1]);
        out.extend(string(category.as_bytes()));
        out.extend([11, 0, 2]);
        out.extend(string(message.as_bytes()));
        out.push(0);
    }
    out.push(0);
    out
}

/// Arguments of one string.
pub fn string_argument(value: &str) -> Vec<u8> {
    [&[11, 0, 1][..], &string(value.as_bytes()), &[0]].concat()
}

pub fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// A v1 span of one client side as tracers put it in an entry: base64 of a bare Thrift struct.
pub fn entry(trace_id: i64, id: i64, name: &str) -> String {
    let mut out = vec![10, 0, 1];
    out.extend(trace_id.to_be_bytes());
    out.extend([11, 0, 3]);
    out.extend(string(name.as_bytes()));
    out.extend([10, 0, 4]);
    out.extend(id.to_be_bytes());
    out.extend([15, 0, 6, 12]);
    out.extend(2u32.to_be_bytes());
    for (timestamp, value) in [(1_472_470_996_199_000i64, "cs"), (1_472_470_996_406_000, "cr")] {
        out.extend([10, 0, 1]);
        out.extend(timestamp.to_be_bytes());
        out.extend([11, 0, 2]);
        out.extend(string(value.as_bytes()));
        // The host: 127.0.0.1, no port, "shop".
        out.extend([12, 0, 3, 8, 0, 1, 127, 0, 0, 1, 6, 0, 2, 0, 0, 11, 0, 3]);
        out.extend(string(b"shop"));
        out.extend([0, 0]);
    }
    out.push(0);
    base64::engine::general_purpose::STANDARD.encode(out)
}

fn parse(payload: &[u8]) -> Reply {
    let mut at = Bytes(payload);
    let word = at.i32();
    let strict = word < 0;
    let (kind, name) = if strict {
        let length = at.i32() as usize;
        (word as u8, at.text(length))
    } else {
        let name = at.text(word as usize);
        (at.take(1)[0], name)
    };
    let seqid = at.i32();
    let content = match kind {
        2 => Content::Result(result(&mut at)),
        3 => exception(&mut at),
        other => panic!("message type {other}"),
    };
    assert!(at.0.is_empty(), "{} bytes behind the reply", at.0.len());
    Reply { name, seqid, strict, content }
}

fn result(at: &mut Bytes<'_>) -> Option<Value> {
    let kind = at.take(1)[0];
    if kind == 0 {
        return None;
    }
    assert_eq!(at.take(2), [0, 0], "the result is field 0");
    let value = match kind {
        8 => Value::I32(at.i32()),
        10 => Value::I64(at.i64()),
        11 => Value::String(at.string()),
        13 => map(at),
        other => panic!("result of type {other}"),
    };
    assert_eq!(at.take(1), [0]);
    Some(value)
}

fn map(at: &mut Bytes<'_>) -> Value {
    let kinds = at.take(2).to_vec();
    let count = at.i32();
    match kinds[..] {
        [11, 10] => Value::Counters((0..count).map(|_| (at.string(), at.i64())).collect()),
        [11, 11] => Value::Options((0..count).map(|_| (at.string(), at.string())).collect()),
        ref other => panic!("map of {other:?}"),
    }
}

fn exception(at: &mut Bytes<'_>) -> Content {
    let (mut code, mut message) = (0, String::new());
    loop {
        match at.take(1)[0] {
            0 => return Content::Exception { code, message },
            8 => {
                assert_eq!(at.take(2), [0, 2]);
                code = at.i32();
            }
            11 => {
                assert_eq!(at.take(2), [0, 1]);
                message = at.string();
            }
            other => panic!("exception field of type {other}"),
        }
    }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(bytes);
        self.0 = rest;
        taken
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().unwrap())
    }

    fn text(&mut self, bytes: usize) -> String {
        String::from_utf8(self.take(bytes).to_vec()).unwrap()
    }

    fn string(&mut self) -> String {
        let bytes = self.i32() as usize;
        self.text(bytes)
    }
}
