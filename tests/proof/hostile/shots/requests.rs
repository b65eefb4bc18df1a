//! At the HTTP port: requests of HTTP/1.1.

use std::io::Write;

use super::{Answer, Door, Labels, Shot, Way, closed, http};

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

const INVALID: Labels = &["listener=\"http\"", "reason=\"invalid\""];

pub fn bad_bodies() -> Vec<Shot> {
    let deep = [&br#"[{"traceId":"1","id":"1","x":"#[..], &vec![b'['; 100_000], &vec![b']'; 100_000], b"}]"].concat();
    let bad: Vec<String> = (0..500).map(|_| r#"{"traceId":"none","id":"1"}"#.to_owned()).collect();
    let claims_2_gib = [0x0a, 0xff, 0xff, 0xff, 0xff, 0x07, 1, 2, 3];
    let claims_2_31 = [0x0c, 0x7f, 0xff, 0xff, 0xff, 0x0b];
    // A list of one span whose field 99 holds a struct that holds a struct ...
    let nested = [&[0x0c, 0, 0, 0, 1][..], &[12, 0, 99].repeat(100_000)].concat();
    let v1 = |body: &[u8]| post("/api/v1/spans", "content-type: application/x-thrift\r\n", body);
    let proto3 = |body: &[u8]| post("/api/v2/spans", "content-type: application/x-protobuf\r\n", body);
    let invalid = |what, says: Answer, bytes| http(INVALID, what, says, bytes);
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

/// Bodies that inflate to much more than they are, by their codings; and one that is not too much for its own size, and
/// more than anybody may send.
pub struct Bombs {
    pub gzip: Vec<u8>,
    pub zstd: Vec<u8>,
    pub large: Vec<u8>,
}

impl Bombs {
    pub fn new() -> Bombs {
        let gzip = |plain: &[u8]| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(plain).unwrap();
            gzip.finish().unwrap()
        };
        let zeros = vec![b' '; 20 << 20];
        let mut large = vec![b' '; 70 << 20];
        fastrand::Rng::with_seed(1).fill(&mut large[..600_000]);
        Bombs { gzip: gzip(&zeros), zstd: zstd::encode_all(&zeros[..], 1).unwrap(), large: gzip(&large) }
    }
}

pub fn bombs() -> Vec<Shot> {
    let coded = |coding: &str, body: &[u8]| post("/api/v2/spans", &format!("content-encoding: {coding}\r\n"), body);
    let Bombs { gzip, zstd, large } = Bombs::new();
    let of_ratio: Labels = &["listener=\"http\"", "reason=\"ratio\""];
    let too_large: Labels = &["listener=\"http\"", "reason=\"too_large\""];
    let ratio: Answer = &["HTTP/1.1 413", "decompresses to more than 100 times its size"];
    let size: Answer = &["HTTP/1.1 413", "a decompressed body is limited to"];
    vec![
        http(of_ratio, "gzip bombs of 20 MiB", ratio, coded("gzip", &gzip)),
        http(of_ratio, "zstd bombs of 20 MiB", ratio, coded("zstd", &zstd)),
        Shot { way: Way::AtOnce, ..http(too_large, "gzip bombs of 70 MiB, many at once", size, coded("gzip", &large)) },
    ]
}

pub fn bad_heads() -> Vec<Shot> {
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
        closed(Door::Http, head, "endless headers", "a request head is too large", endless.into_bytes()),
    ]
}

pub fn slow() -> Vec<Shot> {
    let body = b"POST /api/v2/spans HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n[".to_vec();
    let head: Labels = &["listener=\"http\"", "reason=\"slow_head\""];
    let rate: Labels = &["listener=\"http\"", "reason=\"slow_rate\""];
    let late = "a request head was not complete in time";
    let says: Answer = &["HTTP/1.1 408", "slower than 4096 bytes a second"];
    vec![
        closed(Door::Http, head, "heads byte by byte", late, b"GET / HTTP/1.1\r\nx: ".to_vec()).byte_by_byte(),
        http(rate, "bodies byte by byte", says, body).byte_by_byte(),
    ]
}
