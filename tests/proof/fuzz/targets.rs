//! The targets by name, each with the words of its format.

use super::fit::Form;
use super::{rest, wire};

/// What reads bytes, and how it is tried.
pub struct Target {
    /// Of the corpus, and of the target in `fuzz/`.
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Words that a mutation may put in; none where an input is a list of edits.
    pub tokens: &'static [&'static [u8]],
    /// What a mutation may make fit.
    pub form: Form,
    /// Inputs that a seed makes.
    pub inputs: u64,
}

/// Of one that takes some ten microseconds or less, and of one that takes up to a thousand: when each of these has had a
/// million inputs, seven times as many of each of the others bring the sum to a hundred millions.
const CHEAP: u64 = 700;
const COSTLY: u64 = 100;

const fn target(name: &'static str, run: fn(&[u8]), tokens: &'static [&'static [u8]]) -> Target {
    Target { name, run, tokens, form: Form::Plain, inputs: CHEAP }
}

const fn formed(form: Form, target: Target) -> Target {
    Target { form, ..target }
}

const fn costly(target: Target) -> Target {
    Target { inputs: COSTLY, ..target }
}

const JSON: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"null",
    b"true",
    b"false",
    b"-1",
    b"1e400",
    b"0.5",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00",
    b"\"traceId\":",
    b"\"id\":",
    b"\"parentId\":",
    b"\"kind\":\"SERVER\"",
    b"\"timestamp\":",
    b"\"duration\":",
    b"\"localEndpoint\":",
    b"\"remoteEndpoint\":",
    b"\"serviceName\":",
    b"\"ipv4\":\"1.2.3.4\"",
    b"\"ipv6\":\"::1\"",
    b"\"port\":",
    b"\"annotations\":[",
    b"\"binaryAnnotations\":[",
    b"\"tags\":{",
    b"\"value\":\"sr\"",
    b"\"endpoint\":{",
    b"9223372036854775808",
    b"18446744073709551615",
    b"\"shared\":true",
    b"\"debug\":true",
    b"\xef\xbb\xbf",
    b"\xff",
];
const PROTO: &[&[u8]] = &[
    b"\x0a",
    b"\x12",
    b"\x1a",
    b"\x20",
    b"\x2a",
    b"\x31",
    b"\x38",
    b"\x42",
    b"\x4a",
    b"\x52",
    b"\x5a",
    b"\x60",
    b"\x68",
    b"\x0a\x00",
    b"\x07",
    b"\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x0a\x10",
    b"\x1a\x08",
];
const THRIFT: &[&[u8]] = &[
    b"\x00",
    b"\x02",
    b"\x03",
    b"\x04",
    b"\x06",
    b"\x08",
    b"\x0a",
    b"\x0b",
    b"\x0c",
    b"\x0d",
    b"\x0f",
    b"\x0b\x00\x01",
    b"\x0a\x00\x04",
    b"\x0f\x00\x06\x0c",
    b"\x0f\x00\x08\x0c",
    b"\x0c\x00\x03",
    b"\x0f\x00\x01\x0c",
    b"\x80\x01\x00\x01",
    b"\x00\x00\x00\x03Log",
    b"\x00\x00\x00\x09getStatus",
    b"\x00\x00\x00\x0agetCounter",
    b"zipkin",
    b"sr",
    b"ss",
    b"cs",
    b"lc",
    b"sa",
];
const PLAN: &[&[u8]] = &[
    b"spangate plan 1\n",
    b"format jsonl.gz/1\n",
    b"format parquet/1\n",
    b"filter \n",
    b"filter {}",
    b"place builtin\n",
    b"place file:///",
    b"place s3://b/p",
    b"name ",
    b"object ",
    b"upload ",
    b"../",
    b"/",
    b"\n",
    b"channel=",
    b"first=",
    b"last=",
    b"18446744073709551615",
];
const TOML: &[&[u8]] = &[
    b"[scribe]\n",
    b"[http]\n",
    b"[channel]\n",
    b"[drain.zipkin]\n",
    b"[drain.archive]\n",
    b"sinks = [",
    b"{ url = \"",
    b"\" }",
    b"address = ",
    b"\"0.0.0.0:9411\"",
    b"capacity = ",
    b"\"10GiB\"",
    b"retired = true",
    b"sample_rate = 0.5",
    b"archive = \"s3://b\"",
    b"path = \"dt=%Y\"",
    b"filter = {",
    b"\"\"\"",
    b"'''",
    b"=",
    b"#",
    b"\n",
    b".",
    b"1e999",
];
const PATH: &[&[u8]] = &[
    b"%Y",
    b"%m",
    b"%d",
    b"%H",
    b"%M",
    b"%S",
    b"%%",
    b"%{",
    b"}",
    b"{channel}",
    b"/",
    b"..",
    b".",
    b"_",
    b"dt=",
    b"\0",
];
const LETTER: &[&[u8]] = &[
    b"{",
    b"}",
    b"\"",
    b"\"time\":",
    b"\"class\":\"refused\"",
    b"\"class\":\"undecodable\"",
    b"\"position\":",
    b"\"bytes\":\"",
    b"\"origin\":{",
    b"[",
    b"]",
    b"null",
    b"-1",
    b"=",
    b"==",
    b"\n",
];
const BASE64: &[&[u8]] = &[b"=", b"==", b"\r\n", b"-", b"_", b"+", b"/", b" ", b"A", b"\x80"];

pub const TARGETS: &[Target] = &[
    target("json_v2", wire::json_v2, JSON),
    target("json_v1", wire::json_v1, JSON),
    formed(Form::Proto, target("proto3", wire::proto3, PROTO)),
    formed(Form::Thrift, target("thrift_list", wire::thrift_list, THRIFT)),
    costly(formed(Form::Thrift, target("thrift_span", wire::thrift_span, THRIFT))),
    formed(Form::Thrift, target("scribe", wire::scribe, THRIFT)),
    formed(Form::Thrift, target("fb303", wire::fb303, THRIFT)),
    target("base64", wire::base64, BASE64),
    target("detect", wire::detect, JSON),
    costly(formed(Form::Gzip, target("gzip", wire::gzip, &[b"\x1f\x8b\x08\x00", b"\x1f\x8b\x08\x1f"]))),
    costly(target("zstd", wire::zstd, &[b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"])),
    formed(Form::Grpc, target("grpc", wire::grpc, PROTO)),
    target("frame", rest::frame, &[]),
    costly(target("slot", rest::slot, &[])),
    costly(target("segment", rest::segment, &[])),
    costly(target("recovery", rest::recovery, &[])),
    target("plan", rest::plan, PLAN),
    target("sieve", rest::sieve, JSON),
    target("letter", rest::letter, LETTER),
    costly(target("config", rest::config, TOML)),
    target("path", rest::path, PATH),
];
