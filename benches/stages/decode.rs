//! Each decoder: a message's bytes to canonical spans, as a listener calls it.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use spangate::cli::send::options::Format;
use spangate::span::Batch;
use spangate::wire::scribe::{Header, log_arguments};
use spangate::wire::v1::{self, Options, Scratch, decode_entry};
use spangate::wire::{DecodeError, Limits, json_v1, json_v2, proto3};

use crate::message::{SPANS, message};

/// A decoder of HTTP bodies with its limits and options.
type Decode<'a> = &'a dyn Fn(&[u8], &mut Batch) -> Result<(), DecodeError>;

pub fn decoders(criterion: &mut Criterion) {
    let (limits, options) = (Limits::default(), Options::default());
    let http: [(&str, Format, Decode<'_>); 4] = [
        ("json v2", Format::Json, &|body, batch| json_v2::decode(body, &limits, batch)),
        ("proto3", Format::Proto3, &|body, batch| proto3::decode(body, &limits, batch)),
        ("json v1", Format::JsonV1, &|body, batch| json_v1::decode(body, &limits, &options, batch)),
        ("thrift v1", Format::Thrift, &|body, batch| v1::decode_list(body, &limits, &options, batch)),
    ];
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(SPANS));
    for (name, format, decode) in http {
        let body = message(format);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut batch = Batch::default();
                decode(black_box(&body), &mut batch).expect("spans of ours");
                batch
            });
        });
    }
    let frame = message(Format::Scribe);
    let mut scratch = Scratch::default();
    group.bench_function("scribe log", |bencher| {
        bencher.iter(|| log(black_box(&frame), &limits, &options, &mut scratch));
    });
    group.finish();
}

/// A `Log` call with its length before it.
fn log(frame: &[u8], limits: &Limits, options: &Options, scratch: &mut Scratch) -> Batch {
    let payload = &frame[4..];
    let header = Header::parse(payload).expect("a header of ours");
    let entries = log_arguments(&payload[header.len..], limits).expect("arguments of ours");
    let mut batch = Batch::default();
    for entry in entries.expect("a list of entries") {
        decode_entry(entry.message, limits, options, scratch, &mut batch).expect("a span of ours");
    }
    batch
}
