//! gRPC as an HTTP/2 client that knows nothing of it sends it: statuses, limits, every counter checked.

use std::io::Write;
use std::time::Duration;

use spangate::listener::intake;

use super::rig::Rig;
use crate::support::grpc::{Client, Leave, REPORT, framed};

fn connected(rig: &Rig) -> Client {
    Client::connect(rig.http)
}

/// A list of spans of these names in trace 0x0101010101010101.
fn list(names: &[&str]) -> Vec<u8> {
    let span = |name: &&str| {
        let span = [&[0x0a, 8][..], &[1; 8], &[0x1a, 1, 7, 0x2a, name.len() as u8], name.as_bytes()].concat();
        [&[0x0a, span.len() as u8][..], &span].concat()
    };
    names.iter().flat_map(span).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn spans_reported_over_grpc_are_accepted_once_they_are_in_the_channel() {
    let mut rig = Rig::new();
    let body = framed(0, &list(&["one", "TWO"]));
    let pieces: Vec<&[u8]> = body.chunks(1).collect();
    for pieces in [&[&body[..]][..], &pieces] {
        let done = connected(&rig).call(&[], pieces);
        assert_eq!((done.http, done.status, done.reply.as_slice()), (200, Some(0), &[0; 5][..]), "{done:?}");
        let frame = rig.frame();
        assert_eq!(frame.names(), ["one", "two"]);
        assert_eq!((frame.origin_of("listener"), frame.origin_of("peer")), (vec!["grpc"], vec!["127.0.0.1"]));
    }
    rig.assert_spans("grpc", 4, 0, &[]);
    rig.assert_messages("grpc", 2, 0, 0);
    rig.assert_messages("http", 0, 0, 0);
    assert_eq!(rig.metric("spangate_received_bytes_total{listener=\"grpc\"}"), 2 * body.len() as u64);
    assert_eq!(rig.zipkin_metric("zipkin_collector_spans_total{transport=\"grpc\"}"), 4);
    rig.wait_for("spangate_intake_bytes", 0);
}

#[test]
fn an_empty_message_is_ok_and_nothing_is_stored() {
    let rig = Rig::new();
    assert_eq!(connected(&rig).report(&[]).status, Some(0));
    rig.assert_spans("grpc", 0, 0, &[]);
    rig.assert_messages("grpc", 0, 0, 1);
}

#[test]
fn a_bad_span_is_an_invalid_argument_named_by_index_and_field() {
    let rig = Rig::new();
    let caller = connected(&rig);
    let without_id = [&list(&["good"])[..], &[0x0a, 10, 0x0a, 8], &[1; 8]].concat();
    let told = caller.report(&without_id);
    assert_eq!((told.http, told.status, told.reply.len()), (200, Some(3), 0));
    assert!(told.message.starts_with("Missing : id reading List<Span> from proto3 (span 1, id"), "{told:?}");
    // What a peer's text holds cannot break the header.
    let told = caller.report("[é\n]".as_bytes());
    assert_eq!(told.status, Some(3));
    assert!(told.message.starts_with("Expected a PROTO3 encoded list"), "{told:?}");
    rig.assert_spans("grpc", 0, 0, &[("invalid", 2)]);
    rig.assert_messages("grpc", 0, 2, 0);
    assert_eq!(caller.report(&list(&["x"])).status, Some(0), "the connection goes on");
}

#[test]
fn compressed_messages_are_inflated_within_bounds() {
    let mut rig = Rig::with(|settings| settings.http.decoded_bytes_max = 1 << 20);
    let caller = connected(&rig);
    let zipped = framed(1, &gzip(&list(&["zipped"])));
    let call = |encoding: &str, body: &[u8]| caller.call(&[("grpc-encoding", encoding)], &[body]);
    assert_eq!(call("gzip", &zipped).status, Some(0));
    assert_eq!(call("zstd", &framed(1, &zstd::bulk::compress(&list(&["zstd"]), 3).unwrap())).status, Some(0));
    assert_eq!(call("gzip", &framed(0, &list(&["plain"]))).status, Some(0), "the flag decides");
    for (encoding, body, status, told) in [
        ("identity", &zipped, 13, "without a grpc-encoding"),
        ("snappy", &zipped, 12, "\"snappy\" is not supported"),
        ("gzip", &framed(1, b"not gzip"), 3, "Cannot gunzip spans"),
        ("gzip", &framed(1, &gzip(&vec![0; (1 << 20) + 1])), 8, "a decompressed body is limited to 1048576 bytes"),
    ] {
        let outcome = call(encoding, body);
        assert_eq!(outcome.status, Some(status), "{outcome:?}");
        assert!(outcome.message.contains(told), "{outcome:?}");
    }
    drop(caller);
    let names: Vec<_> = (0..3).flat_map(|_| rig.frame().names()).collect();
    assert_eq!(names, ["zipped", "zstd", "plain"]);
    rig.assert_spans("grpc", 3, 0, &[]);
    rig.assert_messages("grpc", 3, 4, 0);
}

#[test]
fn a_message_beyond_the_body_limit_is_resource_exhausted() {
    let rig = Rig::with(|settings| settings.http.body_bytes_max = 100);
    let caller = connected(&rig);
    let largest = list(&[&"n".repeat(83)]);
    assert_eq!(largest.len(), 100);
    assert_eq!(caller.report(&largest).status, Some(0));
    let told = caller.report(&list(&[&"n".repeat(84)]));
    assert_eq!(told.status, Some(8), "{told:?}");
    rig.assert_spans("grpc", 1, 0, &[]);
    rig.assert_messages("grpc", 1, 1, 0);
}

#[test]
fn a_body_that_is_not_one_message_is_an_internal_error() {
    let rig = Rig::new();
    let caller = connected(&rig);
    let one = framed(0, &list(&["x"]));
    let two = [&one[..], &one].concat();
    for body in [&b""[..], &one[..4], &one[..one.len() - 1], &two] {
        assert_eq!(caller.call(&[], &[body]).status, Some(13), "{body:?}");
    }
    rig.assert_spans("grpc", 0, 0, &[]);
    rig.assert_messages("grpc", 0, 4, 0);
}

#[test]
fn a_call_whose_peer_leaves_half_way_is_counted_as_broken() {
    let rig = Rig::new();
    let half = &framed(0, &list(&vec!["name"; 10_000]))[..100_000];
    for (leave, count) in [(Leave::Reset, 1), (Leave::Close, 2)] {
        connected(&rig).leave(half, leave).unwrap();
        rig.wait_for("spangate_messages_refused_total{listener=\"grpc\",reason=\"broken\"}", count);
    }
    rig.assert_spans("grpc", 0, 0, &[]);
    rig.assert_messages("grpc", 0, 2, 0);
    rig.wait_for("spangate_intake_bytes", 0);
}

#[test]
fn a_call_whose_peer_leaves_while_it_waits_for_permits_is_counted_as_broken() {
    let rig = Rig::with(|settings| {
        settings.intake = intake::Settings { bytes_in_flight: 4 * 1024, commit_wait: Duration::from_secs(60) };
    });
    let holders: Vec<_> = (0..4).map(|_| std::net::TcpStream::connect(rig.http).unwrap()).collect();
    for mut holder in &holders {
        holder.write_all(b"POST /api/v2/spans HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n[").unwrap();
    }
    // Half is for first bytes.
    rig.wait_for("spangate_intake_bytes", 2 * 1024);
    for (leave, count) in [(Leave::Reset, 1), (Leave::Close, 2)] {
        connected(&rig).leave(&framed(0, &list(&["name"])), leave).unwrap();
        rig.wait_for("spangate_messages_refused_total{listener=\"grpc\",reason=\"broken\"}", count);
    }
    rig.assert_messages("grpc", 0, 2, 0);
}

#[test]
fn a_connection_that_breaks_a_rule_of_http2_is_closed_and_counted() {
    let rig = Rig::new();
    let mut stream = std::net::TcpStream::connect(rig.http).unwrap();
    // Settings, and data of no stream (RFC 9113, 6.1).
    let frames = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, b'x'];
    stream.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frames].concat()).unwrap();
    rig.wait_for("spangate_connections_refused_total{listener=\"http\",reason=\"protocol\"}", 1);
    rig.wait_for("spangate_connections{listener=\"http\"}", 0);
    // One that ends as it may is nobody's fault.
    assert_eq!(connected(&rig).report(&list(&["x"])).status, Some(0));
    rig.wait_for("spangate_connections{listener=\"http\"}", 0);
    rig.wait_for("spangate_connections_refused_total{listener=\"http\",reason=\"protocol\"}", 1);
}

#[test]
fn a_full_channel_is_unavailable_and_says_when_to_send_again() {
    let rig = Rig::with(|settings| {
        settings.channel.capacity_spans = Some(4);
        settings.intake = intake::Settings { bytes_in_flight: 1 << 20, commit_wait: Duration::from_secs(2) };
    });
    let caller = connected(&rig);
    let mut accepted = 0;
    let refused = loop {
        let outcome = caller.report(&list(&["a", "b"]));
        if outcome.status != Some(0) {
            break outcome;
        }
        accepted += 2;
        assert!(accepted < 1000, "never full");
    };
    assert_eq!((refused.status, refused.pushback_ms), (Some(14), Some(10_000)), "{refused:?}");
    assert!(refused.message.contains("the channel is full"), "{refused:?}");
    rig.assert_spans("grpc", accepted, 0, &[("full", 2)]);
    rig.assert_messages("grpc", accepted / 2, 1, 0);
}

#[test]
fn a_call_larger_than_the_whole_channel_is_resource_exhausted_and_not_asked_for_again() {
    let rig = Rig::with(|settings| settings.channel.capacity_spans = Some(1));
    let caller = connected(&rig);
    let refused = caller.report(&list(&["a", "b"]));
    assert_eq!((refused.status, refused.pushback_ms), (Some(8), None), "{refused:?}");
    assert!(refused.message.contains("larger than the whole channel"), "{refused:?}");
    rig.assert_spans("grpc", 0, 0, &[("too_large", 2)]);
    rig.assert_messages("grpc", 0, 1, 0);
    assert_eq!(caller.report(&list(&["a"])).status, Some(0));
}

#[test]
fn a_request_that_came_by_here_before_is_refused_for_good() {
    let rig = Rig::new();
    let told = connected(&rig).call(&[("spangate-via", rig.channel.id())], &[&framed(0, &list(&["x"]))]);
    assert_eq!(told.status, Some(9), "{told:?}");
    rig.assert_messages("grpc", 0, 1, 0);
}

#[test]
fn what_is_no_grpc_is_answered_as_http() {
    let rig = Rig::new();
    let told = connected(&rig).call(&[("content-type", "application/json")], &[b"[]"]);
    assert_eq!((told.http, told.status), (415, None));
    let mut http1 = crate::support::http::Client::new(rig.http.port());
    assert_eq!(http1.post(REPORT, "application/grpc", &framed(0, &[])).unwrap().status, 505);
    rig.assert_messages("grpc", 0, 2, 0);
    rig.assert_spans("grpc", 0, 0, &[]);
}

#[test]
fn calls_on_one_connection_do_not_wait_for_each_other() {
    let rig = Rig::new();
    let caller = connected(&rig);
    let mut slow = caller.begin(&[]);
    slow.send(&[0, 0]);
    assert_eq!(caller.report(&list(&["quick"])).status, Some(0));
    let done = caller.end(slow, &framed(0, &list(&["slow"]))[2..]).unwrap();
    assert_eq!(done.status, Some(0));
    rig.assert_spans("grpc", 2, 0, &[]);
}
