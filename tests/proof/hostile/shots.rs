//! What hostile peers send, and how each is refused.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use super::LONG;
use crate::support::process::Gateway;
use crate::support::scribe::{CALL, frame, message};

pub struct Shot {
    pub what: &'static str,
    scribe: bool,
    bytes: Vec<u8>,
    /// What an answer holds; empty where the connection is closed without one, or before it is heard.
    answer: &'static str,
    /// Family and labels.
    pub counter: (&'static str, &'static [&'static str]),
}

impl Shot {
    /// Sends it over a connection of its own; the error is what was answered instead.
    pub fn fire(&self, gateway: &Gateway) -> Result<(), String> {
        let port = if self.scribe { gateway.scribe } else { gateway.http };
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(LONG)).expect("a time above none");
        // It may be cut off before it has said all.
        let _ = stream.write_all(&self.bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                Err("nothing, and it stays open".to_owned())
            }
            _ if text.contains(self.answer) => Ok(()),
            read => Err(format!("{text} ({read:?})")),
        }
    }
}

const MESSAGES: &str = "spangate_messages_refused_total";
const CONNECTIONS: &str = "spangate_connections_refused_total";

fn http(reason: &'static [&'static str], what: &'static str, answer: &'static str, bytes: Vec<u8>) -> Shot {
    Shot { what, scribe: false, bytes, answer, counter: (MESSAGES, reason) }
}

fn scribe(
    family: &'static str,
    reason: &'static [&'static str],
    what: &'static str,
    answer: &'static str,
    bytes: Vec<u8>,
) -> Shot {
    Shot { what, scribe: true, bytes, answer, counter: (family, reason) }
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

/// One of each.
pub fn shots() -> Vec<Shot> {
    let mut all = in_bodies();
    all.extend(in_heads());
    all.extend(in_frames());
    all
}

fn in_bodies() -> Vec<Shot> {
    let deep = [&br#"[{"traceId":"1","id":"1","x":"#[..], &vec![b'['; 100_000], &vec![b']'; 100_000], b"}]"].concat();
    let bad: Vec<String> = (0..500).map(|_| r#"{"traceId":"none","id":"1"}"#.to_owned()).collect();
    let claims_2_gib = [0x0a, 0xff, 0xff, 0xff, 0xff, 0x07, 1, 2, 3];
    let claims_2_31 = [0x0c, 0x7f, 0xff, 0xff, 0xff, 0x0b];
    let zeros = vec![b' '; 20 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&zeros).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&zeros[..], 1).unwrap();
    let of_ratio: &[&str] = &["listener=\"http\"", "reason=\"ratio\""];
    let v1 = |body: &[u8]| post("/api/v1/spans", "content-type: application/x-thrift\r\n", body);
    let proto3 = |body: &[u8]| post("/api/v2/spans", "content-type: application/x-protobuf\r\n", body);
    let coded = |coding: &str, body: &[u8]| post("/api/v2/spans", &format!("content-encoding: {coding}\r\n"), body);
    vec![
        http(HTTP_INVALID, "JSON 100,000 deep", "HTTP/1.1 400", json(&deep)),
        http(HTTP_INVALID, "bad spans, 500 a message", "HTTP/1.1 400", json(format!("[{}]", bad.join(",")).as_bytes())),
        // In a name it becomes U+FFFD, as in Zipkin.
        http(HTTP_INVALID, "ids of invalid UTF-8", "HTTP/1.1 400", json(b"[{\"traceId\":\"1\",\"id\":\"\xff\"}]")),
        http(HTTP_INVALID, "proto3 that claims 2 GiB", "HTTP/1.1 400", proto3(&claims_2_gib)),
        http(HTTP_INVALID, "a list that claims 2^31 spans", "HTTP/1.1 400", v1(&claims_2_31)),
        http(of_ratio, "gzip bombs of 20 MiB", "HTTP/1.1 413", coded("gzip", &gzip)),
        http(of_ratio, "zstd bombs of 20 MiB", "HTTP/1.1 413", coded("zstd", &zstd)),
    ]
}

fn in_heads() -> Vec<Shot> {
    let endless = format!("GET / HTTP/1.1\r\nhost: x\r\n{}", "x-endless: and so on\r\n".repeat(50_000));
    let half = b"POST /api/v2/spans HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n[{".to_vec();
    let claims = b"POST /api/v2/spans HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2147483648\r\n\r\n[";
    let head: &[&str] = &["listener=\"http\"", "reason=\"head_too_large\""];
    vec![
        http(&["listener=\"http\"", "reason=\"broken\""], "half a body and a half-closed socket", "", half),
        http(
            &["listener=\"http\"", "reason=\"too_large\""],
            "a body that claims 2 GiB",
            "HTTP/1.1 413",
            claims.to_vec(),
        ),
        Shot { counter: (CONNECTIONS, head), ..http(head, "endless headers", "", endless.into_bytes()) },
    ]
}

fn in_frames() -> Vec<Shot> {
    // Field 1, a list of structs, 2^31 - 1 of them.
    let claims_2_31 = frame(&message(true, CALL, "Log", 1, &[15, 0, 1, 12, 0x7f, 0xff, 0xff, 0xff]));
    let length: &[&str] = &["listener=\"scribe\"", "reason=\"frame_length\""];
    let protocol: &[&str] = &["listener=\"scribe\"", "reason=\"protocol\""];
    let invalid: &[&str] = &["listener=\"scribe\"", "reason=\"invalid\""];
    vec![
        scribe(CONNECTIONS, length, "frames that claim 2 GiB", "", vec![0x7f, 0xff, 0xff, 0xff, 0x80]),
        scribe(CONNECTIONS, protocol, "frames of nothing", "", frame(&[0; 100])),
        scribe(MESSAGES, invalid, "a call that claims 2^31 entries", "Log", claims_2_31),
    ]
}
