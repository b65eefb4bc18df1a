//! At the HTTP port: calls of gRPC.

use super::requests::Bombs;
use super::{Answer, Door, Labels, Shot, Way, closed, http};
use crate::support::grpc::{Leave, framed};

const INVALID: Labels = &["listener=\"grpc\"", "reason=\"invalid\""];
const FRAMING: Labels = &["listener=\"grpc\"", "reason=\"framing\""];
const BROKEN: Labels = &["listener=\"grpc\"", "reason=\"broken\""];

fn call(reason: Labels, what: &'static str, answer: Answer, body: Vec<u8>) -> Shot {
    Shot { door: Door::Grpc("identity"), ..http(reason, what, answer, body) }
}

pub fn bad_messages() -> Vec<Shot> {
    let bad = |what, says: Answer, list: &[u8]| call(INVALID, what, says, framed(0, list));
    // The length is a varint of three bytes.
    let span = |fields: &[u8]| {
        let length = [fields.len() | 0x80, fields.len() >> 7 | 0x80, fields.len() >> 14].map(|bits| bits as u8);
        [&[0x0a][..], &length, fields].concat()
    };
    // A trace id of its own, and no id.
    let without_id = span(&[0x0a, 8, 1, 1, 1, 1, 1, 1, 1, 1]).repeat(500);
    // Groups, which proto3 has not: field 99 begins one that begins one ...
    let deep = span(&[0x9b, 0x06].repeat(100_000));
    let mut noise = vec![0; 100_000];
    fastrand::Rng::with_seed(1).fill(&mut noise);
    let (claims, prefix) = ([0x0a, 0xff, 0xff, 0xff, 0xff, 0x07, 1, 2, 3], vec![0, 0x7f, 0xff, 0xff, 0xff, 1]);
    let cut: Answer = &["grpc-status: 13,", "shorter than its prefix says"];
    vec![
        call(FRAMING, "gRPC that claims 2 GiB", cut, prefix),
        bad("gRPC 100,000 deep", &["grpc-status: 3,", "expected wireType 0, 1, 2 or 5"], &deep),
        bad("gRPC of noise", &["grpc-status: 3,", "Expected a PROTO3 encoded list"], &noise),
        bad("a gRPC span that claims 2 GiB", &["grpc-status: 3,", "Truncated"], &claims),
        bad("bad spans, 500 a gRPC message", &["grpc-status: 3,", "Missing : id"], &without_id),
    ]
}

pub fn bombs() -> Vec<Shot> {
    let Bombs { gzip, zstd, large } = Bombs::new();
    let of_ratio: Labels = &["listener=\"grpc\"", "reason=\"ratio\""];
    let too_large: Labels = &["listener=\"grpc\"", "reason=\"too_large\""];
    let ratio: Answer = &["grpc-status: 8,", "decompresses to more than 100 times its size"];
    let size: Answer = &["grpc-status: 8,", "a decompressed body is limited to"];
    let coded = |coding, reason, what, says, body: &[u8]| Shot {
        door: Door::Grpc(coding),
        ..call(reason, what, says, framed(1, body))
    };
    vec![
        coded("gzip", of_ratio, "gRPC gzip bombs of 20 MiB", ratio, &gzip),
        coded("zstd", of_ratio, "gRPC zstd bombs of 20 MiB", ratio, &zstd),
        Shot { way: Way::AtOnce, ..coded("gzip", too_large, "gRPC gzip bombs of 70 MiB, many at once", size, &large) },
    ]
}

pub fn cut() -> Vec<Shot> {
    let left = |leave, what| Shot { door: Door::Left(leave), ..call(BROKEN, what, &[], vec![0; 100_000]) };
    // Settings, and data of no stream (RFC 9113, 6.1).
    let frames = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, b'x'];
    let ruleless = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frames].concat();
    let protocol: Labels = &["listener=\"http\"", "reason=\"protocol\""];
    vec![
        left(Leave::Close, "gRPC calls half way on a connection that closes"),
        left(Leave::Reset, "gRPC calls that are reset half way"),
        closed(Door::Http, protocol, "HTTP/2 against its rules", "it breaks the rules of HTTP/2", ruleless),
    ]
}

pub fn slow() -> Shot {
    let rate: Labels = &["listener=\"grpc\"", "reason=\"slow_rate\""];
    call(rate, "gRPC byte by byte", &["grpc-status: 4,", "slower than 4096 bytes a second"], vec![0, 0, 1, 0, 0])
        .byte_by_byte()
}
