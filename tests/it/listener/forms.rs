//! Every form that a body may have at `/api/v1/spans`, with every counter checked.

use super::rig::Rig;
use crate::support::http::{Answer, Client};

const THRIFT: &str = "application/x-thrift";
const JSON: &str = "application/json";

/// Two spans of one service, named "one" and "two".
const JSON_V1: &str = r#"[
    {"traceId":"a","id":"b","name":"ONE","timestamp":5,"duration":2,
     "annotations":[{"timestamp":5,"value":"sr","endpoint":{"serviceName":"Shop","port":80}}]},
    {"traceId":"a","id":"c","name":"two","binaryAnnotations":[
     {"key":"lc","value":"","endpoint":{"serviceName":"shop"}},{"key":"answer","value":42}]}]"#;

fn post(rig: &Rig, path: &str, content_type: &str, body: &[u8]) -> Answer {
    Client::new(rig.http.port()).post(path, content_type, body).unwrap()
}

/// A list of one span of trace 10, as Thrift.
fn thrift_list(name: &str) -> Vec<u8> {
    use crate::support::thrift as support;
    use spangate::wire::r#gen::zipkin_core as core;
    let host = support::host("shop", [10, 0, 0, 1], 80);
    let received = core::Annotation::new(5, "sr".to_owned(), host);
    let span = core::Span::new(10, name.to_owned(), 11, None, vec![received], vec![], None, 5, 2, None);
    [&[12, 0, 0, 0, 1][..], &support::bytes(&span)].concat()
}

#[test]
fn json_and_thrift_at_the_v1_path_are_accepted_as_v2() {
    let mut rig = Rig::new();
    for content_type in [JSON, "application/json; charset=utf-8", "text/plain"] {
        let answer = post(&rig, "/api/v1/spans", content_type, JSON_V1.as_bytes());
        assert_eq!((answer.status, answer.text().as_str()), (202, ""), "{content_type}");
        let frame = rig.frame();
        assert_eq!((frame.names(), frame.keys.clone()), (vec!["one".to_owned(), "two".to_owned()], vec![10, 10]));
        assert_eq!(frame.labels, [Some("shop".to_owned()), Some("shop".to_owned())]);
        assert_eq!((frame.origin_of("listener"), frame.origin_of("peer")), (vec!["http"], vec!["127.0.0.1"]));
        let text = String::from_utf8_lossy(&frame.parts[1]).into_owned();
        assert!(text.contains("answer") && text.contains("42"), "numbers are kept as strings: {text}");
    }
    assert_eq!(post(&rig, "/api/v1/spans", THRIFT, &thrift_list("Three")).status, 202);
    assert_eq!(rig.frame().names(), ["three"]);
    rig.assert_spans("http", 7, 0, &[]);
    rig.assert_messages("http", 4, 0, 0);
    assert_eq!(rig.zipkin_metric("zipkin_collector_spans_total{transport=\"http\"}"), 7);
    rig.wait_for("spangate_intake_bytes", 0);
}

#[test]
fn what_zipkin_drops_of_v1_is_dropped_where_asked() {
    let mut rig = Rig::with(|settings| settings.http.keep_binary_annotations = false);
    assert_eq!(post(&rig, "/api/v1/spans", JSON, JSON_V1.as_bytes()).status, 202);
    assert!(!String::from_utf8_lossy(&rig.frame().parts[1]).contains("answer"));
}

#[test]
fn empty_bodies_and_lists_at_the_v1_path_are_accepted_and_nothing_is_stored() {
    let rig = Rig::new();
    for (content_type, body) in [(JSON, &b""[..]), (THRIFT, b""), (JSON, b"[]"), (THRIFT, b"\x0c\0\0\0\0")] {
        assert_eq!(post(&rig, "/api/v1/spans", content_type, body).status, 202, "{content_type}");
    }
    rig.assert_spans("http", 0, 0, &[]);
    rig.assert_messages("http", 0, 0, 4);
}

#[test]
fn a_body_of_another_form_is_named_and_its_spans_are_counted() {
    let rig = Rig::new();
    let v2 = br#"[{"traceId":"a","id":"b","localEndpoint":{"serviceName":"shop"}},{"traceId":"a","id":"c"}]"#;
    let thrift = thrift_list("x");
    for (path, content_type, body, told) in [
        ("/api/v1/spans", JSON, &v2[..], "Expected a JSON_V1 encoded list, but received: JSON_V2\n"),
        ("/api/v2/spans", JSON, JSON_V1.as_bytes(), "Expected a JSON_V2 encoded list, but received: JSON_V1\n"),
        ("/api/v1/spans", JSON, &thrift, "Expected a JSON_V1 encoded list, but received: THRIFT\n"),
        ("/api/v2/spans", THRIFT, &thrift, "Expected a JSON_V2 encoded list, but received: THRIFT\n"),
        ("/api/v1/spans", THRIFT, v2, "Expected a THRIFT encoded list, but received: JSON_V2\n"),
        ("/api/v1/spans", JSON, b"hello", "Expected a JSON_V1 encoded list\n"),
    ] {
        let answer = post(&rig, path, content_type, body);
        assert_eq!(answer.status, 400, "{told}");
        assert!(answer.text().starts_with(told.trim_end()), "{}", answer.text());
    }
    // Of a body whose form is not the one expected, nothing can be counted.
    rig.assert_spans("http", 0, 0, &[("invalid", 4)]);
    rig.assert_messages("http", 0, 6, 0);
}

#[test]
fn one_bad_v1_span_refuses_the_request_and_is_named_by_index_and_field() {
    let rig = Rig::new();
    let json = br#"[{"traceId":"a","id":"b"},{"traceId":"ABC","id":"c"},{"traceId":"a","id":"d"}]"#;
    let answer = post(&rig, "/api/v1/spans", JSON, json);
    assert_eq!(answer.status, 400);
    let told = "ABC should be a 1 to 32 character lower-hex string with no prefix reading List<Span> from json";
    assert!(answer.text().starts_with(told) && answer.text().contains("span 1, traceId"), "{}", answer.text());
    let good = &thrift_list("x")[5..];
    let list = [&[12, 0, 0, 0, 3][..], good, &[0], good].concat();
    let answer = post(&rig, "/api/v1/spans", THRIFT, &list);
    assert_eq!(answer.status, 400);
    assert!(answer.text().starts_with("traceId == 0 reading List<Span> from TBinary (span 1,"), "{}", answer.text());
    rig.assert_spans("http", 0, 0, &[("invalid", 6)]);
    rig.assert_messages("http", 0, 2, 0);
    assert_eq!(rig.zipkin_metric("zipkin_collector_messages_dropped_total{transport=\"http\"}"), 2);
}

#[test]
fn zstd_bodies_are_inflated_at_both_paths_within_the_same_bounds_as_gzip() {
    let mut rig = Rig::with(|settings| settings.http.decoded_bytes_max = 2 << 20);
    let post = |path: &str, content_type: &str, coding: &str, body: &[u8]| {
        let headers = [("content-type", content_type), ("content-encoding", coding)];
        Client::new(rig.http.port()).request("POST", path, &headers, body).unwrap()
    };
    let zstd = |body: &[u8]| zstd::bulk::compress(body, 3).unwrap();
    assert_eq!(post("/api/v1/spans", JSON, "zstd", &zstd(JSON_V1.as_bytes())).status, 202);
    assert_eq!(post("/api/v1/spans", THRIFT, "ZSTD", &zstd(&thrift_list("three"))).status, 202);
    // A frame that does not say what it holds, as a sender writes it who streams.
    let streamed = zstd::stream::encode_all(&br#"[{"traceId":"a","id":"b","name":"four"}]"#[..], 3).unwrap();
    assert_eq!(post("/api/v2/spans", JSON, "identity, zstd", &streamed).status, 202);
    let corrupt = post("/api/v2/spans", JSON, "zstd", &streamed[..streamed.len() - 1]);
    assert_eq!((corrupt.status, corrupt.text().as_str()), (400, "Cannot unzstd spans\n"));
    let large = post("/api/v2/spans", JSON, "zstd", &zstd(&vec![b'['; (2 << 20) + 1]));
    assert_eq!(large.status, 413, "{}", large.text());
    let twice = post("/api/v2/spans", JSON, "gzip, zstd", &streamed);
    assert_eq!((twice.status, twice.header("accept-encoding")), (415, Some("gzip, zstd")));
    let names: Vec<_> = (0..3).flat_map(|_| rig.frame().names()).collect();
    assert_eq!(names, ["one", "two", "three", "four"]);
    rig.assert_spans("http", 4, 0, &[]);
    rig.assert_messages("http", 3, 3, 0);
}
