//! What hostile peers send, and how each is refused.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use super::LONG;
use crate::support::process::Gateway;
use crate::support::scribe::{CALL, entry, frame, log_arguments, message};

/// How it is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    /// Again and again by a few peers, over a connection for each.
    Flood,
    /// The same by many at once, and fewer in all, as each costs much.
    AtOnce,
    /// By many at once, who go on with a byte now and then and never end.
    ByteByByte,
}

pub struct Shot {
    pub what: &'static str,
    pub way: Way,
    scribe: bool,
    bytes: Vec<u8>,
    /// What an answer holds; nothing where the connection is closed without one, or before it is heard.
    answer: &'static [&'static str],
    /// What the log says of it, where no answer does.
    pub log: &'static str,
    /// Family and labels.
    pub counter: (&'static str, &'static [&'static str]),
}

impl Shot {
    /// Sends it over a connection of its own; the error is what was answered instead.
    pub fn fire(&self, gateway: &Gateway) -> Result<(), String> {
        let mut stream = self.dial(gateway);
        stream.set_read_timeout(Some(LONG)).expect("a time above none");
        // It may be cut off before it has said all.
        let _ = stream.write_all(&self.bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                Err("nothing, and it stays open".to_owned())
            }
            _ => self.heard(&answer),
        }
    }

    /// Begins it, and does not wait for anything.
    pub fn begin(&self, gateway: &Gateway) -> TcpStream {
        let mut stream = self.dial(gateway);
        stream.write_all(&self.bytes).expect("there is room for a few bytes");
        stream.set_nonblocking(true).expect("a socket can");
        stream
    }

    fn dial(&self, gateway: &Gateway) -> TcpStream {
        let port = if self.scribe { gateway.scribe } else { gateway.http };
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens, with room for one more")
    }

    /// The error is an answer that is not as it should be.
    pub fn heard(&self, answer: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(answer);
        if self.answer.iter().all(|part| text.contains(part)) { Ok(()) } else { Err(text.into_owned()) }
    }
}

const MESSAGES: &str = "spangate_messages_refused_total";
const CONNECTIONS: &str = "spangate_connections_refused_total";

type Answer = &'static [&'static str];
type Labels = &'static [&'static str];

fn http(reason: Labels, what: &'static str, answer: Answer, bytes: Vec<u8>) -> Shot {
    Shot { what, way: Way::Flood, scribe: false, bytes, answer, log: "", counter: (MESSAGES, reason) }
}

/// Whose connection is closed, with a line in the log.
fn closed(scribe: bool, reason: Labels, what: &'static str, log: &'static str, bytes: Vec<u8>) -> Shot {
    Shot { what, way: Way::Flood, scribe, bytes, answer: &[], log, counter: (CONNECTIONS, reason) }
}

/// A request with this body.
fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn json(body: &[u8]) -> Vec<u8> {
    post("/api/v2/spans", "content-type: application/json\r\n", body)
}

const HTTP_INVALID: &[&str] = &["listener=\"http\"", "reason=\"invalid\""];

/// What neighbours send who mean no harm: how much slower a good client becomes for them is for comparison.
pub fn harmless() -> Shot {
    let call = message(true, CALL, "Log", 1, &log_arguments(&[("zipkin", &entry(1, 2, "get"))]));
    let labels: Labels = &["listener=\"scribe\""];
    // Good clients keep theirs.
    let counter = ("spangate_connections_total", labels);
    Shot { scribe: true, counter, ..http(labels, "good calls of others, for comparison", &["Log"], frame(&call)) }
}

/// One of each.
pub fn shots() -> Vec<Shot> {
    let mut all = in_bodies();
    all.extend(bombs());
    all.extend(in_heads());
    all.extend(in_frames());
    all.extend(slow());
    all
}

fn in_bodies() -> Vec<Shot> {
    let deep = [&br#"[{"traceId":"1","id":"1","x":"#[..], &vec![b'['; 100_000], &vec![b']'; 100_000], b"}]"].concat();
    let bad: Vec<String> = (0..500).map(|_| r#"{"traceId":"none","id":"1"}"#.to_owned()).collect();
    let claims_2_gib = [0x0a, 0xff, 0xff, 0xff, 0xff, 0x07, 1, 2, 3];
    let claims_2_31 = [0x0c, 0x7f, 0xff, 0xff, 0xff, 0x0b];
    // A list of one span whose field 99 holds a struct that holds a struct ...
    let nested = [&[0x0c, 0, 0, 0, 1][..], &[12, 0, 99].repeat(100_000)].concat();
    let v1 = |body: &[u8]| post("/api/v1/spans", "content-type: application/x-thrift\r\n", body);
    let proto3 = |body: &[u8]| post("/api/v2/spans", "content-type: application/x-protobuf\r\n", body);
    let invalid = |what, says: Answer, bytes| http(HTTP_INVALID, what, says, bytes);
    vec![
        invalid("JSON 100,000 deep", &["HTTP/1.1 400", "Nesting limit"], json(&deep)),
        invalid("Thrift 100,000 deep", &["HTTP/1.1 400", "nested deeper than"], v1(&nested)),
        invalid("bad spans, 500 a message", &["HTTP/1.1 400", "none"], json(format!("[{}]", bad.join(",")).as_bytes())),
        // In a name it becomes U+FFFD, as in Zipkin.
        invalid("ids of invalid UTF-8", &["HTTP/1.1 400", "id"], json(b"[{\"traceId\":\"1\",\"id\":\"\xff\"}]")),
        invalid("proto3 that claims 2 GiB", &["HTTP/1.1 400", "Truncated"], proto3(&claims_2_gib)),
        invalid("a list that claims 2^31 spans", &["HTTP/1.1 400", "2147483647"], v1(&claims_2_31)),
    ]
}

fn bombs() -> Vec<Shot> {
    let gzip = |plain: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(plain).unwrap();
        gzip.finish().unwrap()
    };
    let coded = |coding: &str, body: &[u8]| post("/api/v2/spans", &format!("content-encoding: {coding}\r\n"), body);
    let zeros = vec![b' '; 20 << 20];
    let zstd = zstd::encode_all(&zeros[..], 1).unwrap();
    // Not too much for its own size, and more than anybody may send.
    let mut large = vec![b' '; 70 << 20];
    fastrand::Rng::with_seed(1).fill(&mut large[..600_000]);
    let of_ratio: Labels = &["listener=\"http\"", "reason=\"ratio\""];
    let too_large: Labels = &["listener=\"http\"", "reason=\"too_large\""];
    let ratio: Answer = &["HTTP/1.1 413", "decompresses to more than 100 times its size"];
    let size: Answer = &["HTTP/1.1 413", "a decompressed body is limited to"];
    vec![
        http(of_ratio, "gzip bombs of 20 MiB", ratio, coded("gzip", &gzip(&zeros))),
        http(of_ratio, "zstd bombs of 20 MiB", ratio, coded("zstd", &zstd)),
        Shot {
            way: Way::AtOnce,
            ..http(too_large, "gzip bombs of 70 MiB, many at once", size, coded("gzip", &gzip(&large)))
        },
    ]
}

fn in_heads() -> Vec<Shot> {
    let endless = format!("GET / HTTP/1.1\r\nhost: x\r\n{}", "x-endless: and so on\r\n".repeat(50_000));
    let half = b"POST /api/v2/spans HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n[{".to_vec();
    let claims = b"POST /api/v2/spans HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2147483648\r\n\r\n[";
    let broken: Labels = &["listener=\"http\"", "reason=\"broken\""];
    let too_large: Labels = &["listener=\"http\"", "reason=\"too_large\""];
    let head: Labels = &["listener=\"http\"", "reason=\"head_too_large\""];
    let size: Answer = &["HTTP/1.1 413", "a body is limited to"];
    vec![
        http(broken, "half a body and a half-closed socket", &["HTTP/1.1 400", "the body ended early"], half),
        http(too_large, "a body that claims 2 GiB", size, claims.to_vec()),
        closed(false, head, "endless headers", "a request head is too large", endless.into_bytes()),
    ]
}

fn in_frames() -> Vec<Shot> {
    // Field 1, a list of structs, 2^31 - 1 of them.
    let claims_2_31 = frame(&message(true, CALL, "Log", 1, &[15, 0, 1, 12, 0x7f, 0xff, 0xff, 0xff]));
    let length: Labels = &["listener=\"scribe\"", "reason=\"frame_length\""];
    let protocol: Labels = &["listener=\"scribe\"", "reason=\"protocol\""];
    let invalid: Labels = &["listener=\"scribe\"", "reason=\"invalid\""];
    let claims = vec![0x7f, 0xff, 0xff, 0xff, 0x80];
    vec![
        closed(true, length, "frames that claim 2 GiB", "frame of 2147483647 bytes", claims),
        closed(true, protocol, "frames of nothing", "a frame that holds no Thrift message", frame(&[0; 100])),
        Shot { scribe: true, ..http(invalid, "a call that claims 2^31 entries", &["Log", "2147483647"], claims_2_31) },
    ]
}

fn slow() -> Vec<Shot> {
    let body = b"POST /api/v2/spans HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n[".to_vec();
    let head: Labels = &["listener=\"http\"", "reason=\"slow_head\""];
    let rate: Labels = &["listener=\"http\"", "reason=\"slow_rate\""];
    let of_scribe: Labels = &["listener=\"scribe\"", "reason=\"slow_frame\""];
    // A call that begins as it should.
    let call = [&[0, 1, 0, 0][..], &message(true, CALL, "Log", 1, &[])].concat();
    let late = "a request head was not complete in time";
    let says: Answer = &["HTTP/1.1 408", "slower than 4096 bytes a second"];
    let mut all = [
        closed(false, head, "heads byte by byte", late, b"GET / HTTP/1.1\r\nx: ".to_vec()),
        http(rate, "bodies byte by byte", says, body),
        closed(true, of_scribe, "frames byte by byte", "frame not complete in", call),
    ];
    all.iter_mut().for_each(|shot| shot.way = Way::ByteByByte);
    all.into()
}
