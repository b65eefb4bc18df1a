//! Zipkin's HTTP, as its reporters speak it (facts of `ITZipkinServer*.java`), and what is ours.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use spangate::listener::State;
use spangate::listener::intake;

use super::rig::{LONG, Rig};

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let line = |line: &str| line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        Some(self.head.lines().find(|l| line(l))?.split_once(':')?.1.trim())
    }
}

/// A connection of which everything is written by hand.
struct Peer(TcpStream);

impl Peer {
    fn connect(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Peer(stream)
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    fn request(&mut self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let head = format!("{line} HTTP/1.1\r\nHost: gateway\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat());
        self.answer()
    }

    fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(self.0.read(&mut byte).unwrap(), 1, "closed in a head: {}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0)) || self.0.write(b"x").is_err()
    }
}

fn send(rig: &Rig, line: &str, headers: &str, body: &[u8]) -> Answer {
    Peer::connect(rig.http).request(line, headers, body)
}

fn post(rig: &Rig, headers: &str, body: impl AsRef<[u8]>) -> Answer {
    send(rig, "POST /api/v2/spans", headers, body.as_ref())
}

fn spans(names: &[&str]) -> String {
    let one =
        |name: &&str| format!(r#"{{"traceId":"a","id":"b","name":"{name}","localEndpoint":{{"serviceName":"shop"}}}}"#);
    format!("[{}]", names.iter().map(one).collect::<Vec<_>>().join(","))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn spans_in_json_are_accepted_once_they_are_in_the_channel() {
    let mut rig = Rig::new();
    let mut peer = Peer::connect(rig.http);
    for headers in ["Content-Type: application/json; charset=utf-8\r\n", "", "Content-Type: text/plain\r\n"] {
        let answer = peer.request("POST /api/v2/spans", headers, spans(&["one", "TWO"]).as_bytes());
        assert_eq!((answer.status, answer.body.as_str()), (202, ""), "{headers}");
        let frame = rig.frame();
        assert_eq!(frame.names(), ["one", "two"]);
        assert_eq!(frame.keys, [10, 10]);
        assert_eq!(frame.labels[0].as_deref(), Some("shop"));
        assert_eq!((frame.origin_of("listener"), frame.origin_of("peer")), (vec!["http"], vec!["127.0.0.1"]));
    }
    rig.assert_spans("http", 6, 0, &[]);
    rig.assert_messages("http", 3, 0, 0);
    let bytes = 3 * spans(&["one", "TWO"]).len() as u64;
    assert_eq!(rig.metric("spangate_received_bytes_total{listener=\"http\"}"), bytes);
    assert_eq!(rig.zipkin_metric("zipkin_collector_bytes_total{transport=\"http\"}"), bytes);
    assert_eq!(rig.zipkin_metric("zipkin_collector_spans_total{transport=\"http\"}"), 6);
    rig.wait_for("spangate_intake_bytes", 0);
}

#[test]
fn spans_in_protobuf_are_accepted() {
    let mut rig = Rig::new();
    let list = [&[0x0a, 19, 0x0a, 8][..], &[1; 8], &[0x1a, 3, 0, 0, 7, 0x2a, 2], b"pb"].concat();
    assert_eq!(post(&rig, "Content-Type: application/x-protobuf\r\n", &list).status, 202);
    assert_eq!(rig.frame().names(), ["pb"]);
    let answer = post(&rig, "Content-Type: application/x-protobuf\r\n", spans(&["x"]));
    assert_eq!(answer.status, 400);
    assert!(answer.body.starts_with("Expected a PROTO3 encoded list"), "{}", answer.body);
    rig.assert_spans("http", 1, 0, &[]);
    rig.assert_messages("http", 1, 1, 0);
}

#[test]
fn a_large_request_becomes_frames_that_hold_each_span_once_and_in_order() {
    let mut rig = Rig::new();
    let names: Vec<String> = (0..2000).map(|i| format!("{i:0>400}")).collect();
    let body = spans(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(post(&rig, "", &body).status, 202);
    let (mut seen, mut frames) = (Vec::new(), 0);
    while seen.len() < names.len() {
        seen.extend(rig.frame().names());
        frames += 1;
    }
    assert_eq!(seen, names);
    assert!(frames > 1, "frames hold at most 512 KiB");
    rig.assert_spans("http", 2000, 0, &[]);
    rig.assert_messages("http", 1, 0, 0);
}

#[test]
fn an_empty_body_and_an_empty_list_are_accepted_and_nothing_is_stored() {
    let rig = Rig::new();
    for (headers, body) in [("", ""), ("Content-Encoding: gzip\r\n", ""), ("", "[]")] {
        assert_eq!(post(&rig, headers, body).status, 202, "{headers}{body}");
    }
    rig.assert_spans("http", 0, 0, &[]);
    rig.assert_messages("http", 0, 0, 3);
    assert_eq!(rig.zipkin_metric("zipkin_collector_messages_dropped_total{transport=\"http\"}"), 0);
}

#[test]
fn one_bad_span_refuses_the_request_and_is_named_by_index_and_field() {
    let rig = Rig::new();
    let body = r#"[{"traceId":"a","id":"b"},{"traceId":"ABC","id":"c"},{"traceId":"a","id":"d"}]"#;
    let answer = post(&rig, "", body);
    assert_eq!(answer.status, 400);
    for part in ["ABC should be lower-hex encoded with no prefix", "span 1", "traceId"] {
        assert!(answer.body.contains(part), "{part} in {}", answer.body);
    }
    rig.assert_spans("http", 0, 0, &[("invalid", 3)]);
    rig.assert_messages("http", 0, 1, 0);
    assert_eq!(rig.zipkin_metric("zipkin_collector_messages_dropped_total{transport=\"http\"}"), 1);
}

#[test]
fn what_is_no_list_is_refused_in_zipkins_words() {
    let rig = Rig::new();
    for body in ["hello", " []", "{\"traceId\":\"a\"}", "\n"] {
        let answer = post(&rig, "", body);
        assert_eq!(answer.status, 400, "{body:?}");
        assert!(answer.body.starts_with("Expected a JSON_V2 encoded list"), "{body:?}: {}", answer.body);
    }
    rig.assert_messages("http", 0, 4, 0);
}

#[test]
fn a_gzipped_body_is_inflated_whatever_the_case_of_its_header() {
    let mut rig = Rig::new();
    let body = gzip(spans(&["zipped"]).as_bytes());
    for encoding in ["gzip", "x-gzip", "GZIP", "identity, gzip"] {
        assert_eq!(post(&rig, &format!("Content-Encoding: {encoding}\r\n"), &body).status, 202, "{encoding}");
        assert_eq!(rig.frame().names(), ["zipped"]);
    }
    // Two members, whose last length is not that of the whole.
    let half = spans(&["members"]);
    let members = [gzip(&half.as_bytes()[..10]), gzip(&half.as_bytes()[10..])].concat();
    assert_eq!(post(&rig, "Content-Encoding: gzip\r\n", &members).status, 202);
    assert_eq!(post(&rig, "", &body).status, 400, "gzip without its header is no list");
}

#[test]
fn encodings_and_bodies_that_cannot_be_inflated_are_refused() {
    let rig = Rig::new();
    let body = gzip(spans(&["x"]).as_bytes());
    for encoding in ["br", "deflate", "gzip, gzip"] {
        let answer = post(&rig, &format!("Content-Encoding: {encoding}\r\n"), &body);
        assert_eq!((answer.status, answer.header("accept-encoding")), (415, Some("gzip, zstd")), "{encoding}");
    }
    for corrupt in [&b"not gzip"[..], &body[..body.len() - 6]] {
        let answer = post(&rig, "Content-Encoding: gzip\r\n", corrupt);
        assert_eq!((answer.status, answer.body.as_str()), (400, "Cannot gunzip spans\n"));
    }
    rig.assert_spans("http", 0, 0, &[]);
    rig.assert_messages("http", 0, 5, 0);
}

#[test]
fn a_gzip_bomb_is_too_large_by_ratio_and_by_size() {
    let rig = Rig::with(|s| s.http.decoded_bytes_max = 5 << 18);
    let zeros = gzip(&vec![b' '; 3 << 20]);
    let answer = post(&rig, "Content-Encoding: gzip\r\n", &zeros);
    assert_eq!(answer.status, 413, "{}", answer.body);
    // Incompressible enough for the ratio, too large decoded; and its trailer lies.
    let mut noise = gzip(&(0..3 << 19).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>());
    let end = noise.len();
    noise[end - 4..].copy_from_slice(&5u32.to_le_bytes());
    let answer = post(&rig, "Content-Encoding: gzip\r\n", &noise);
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert!(answer.body.contains("1310720"), "{}", answer.body);
    rig.assert_messages("http", 0, 2, 0);
    rig.wait_for("spangate_intake_bytes", 0);
}

#[test]
fn a_body_over_the_limit_is_413_by_its_header_and_by_its_stream() {
    let rig = Rig::with(|s| s.http.body_bytes_max = 1000);
    let mut peer = Peer::connect(rig.http);
    // Nothing but the head is sent: the answer does not wait for the body.
    peer.send("POST /api/v2/spans HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n");
    let answer = peer.answer();
    assert_eq!(answer.status, 413);
    assert!(answer.body.contains("1000 bytes"), "{}", answer.body);

    let mut peer = Peer::connect(rig.http);
    peer.send("POST /api/v2/spans HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        peer.send(format!("190\r\n{}\r\n", " ".repeat(400)));
    }
    peer.send("0\r\n\r\n");
    assert_eq!(peer.answer().status, 413);
    // A client that writes its whole body before it reads still gets the answer.
    assert_eq!(post(&rig, "", " ".repeat(2000)).status, 413);
    rig.assert_messages("http", 0, 3, 0);
    rig.assert_spans("http", 0, 0, &[]);
}

#[test]
fn a_chunked_body_and_expect_continue_are_understood() {
    let mut rig = Rig::new();
    let mut peer = Peer::connect(rig.http);
    peer.send("POST /api/v2/spans HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for byte in spans(&["chunked"]).bytes() {
        peer.send([b'1', b'\r', b'\n', byte, b'\r', b'\n']);
    }
    peer.send("0\r\n\r\n");
    assert_eq!(peer.answer().status, 202);
    assert_eq!(rig.frame().names(), ["chunked"]);
    let body = spans(&["expected"]);
    let length = body.len();
    peer.send(format!(
        "POST /api/v2/spans HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    ));
    assert_eq!(peer.answer().status, 100);
    peer.send(body);
    assert_eq!(peer.answer().status, 202);
    assert_eq!(rig.frame().names(), ["expected"]);
}

#[test]
fn a_full_channel_is_503_with_retry_after_and_every_span_is_counted() {
    let rig = Rig::with(|s| {
        s.channel.capacity_bytes = 1 << 20;
        s.intake.commit_wait = Duration::from_millis(200);
    });
    let name = "n".repeat(50_000);
    let body = spans(&[&name, &name]);
    let mut accepted = 0;
    let refused = loop {
        let answer = post(&rig, "", &body);
        if answer.status != 202 {
            break answer;
        }
        accepted += 2;
        assert!(accepted < 1000, "a channel of 1 MiB never filled up");
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    assert!(refused.body.contains("the channel is full"), "{}", refused.body);
    rig.assert_spans("http", accepted, 0, &[("full", 2)]);
    rig.assert_messages("http", accepted / 2, 1, 0);
    assert_eq!(rig.zipkin_metric("zipkin_collector_spans_dropped_total{transport=\"http\"}"), 2);
}

#[test]
fn without_permits_a_request_is_503_before_its_body_is_kept() {
    let rig = Rig::with(|s| {
        s.intake = intake::Settings { bytes_in_flight: 4 * 1024, commit_wait: Duration::from_millis(100) };
    });
    let mut holders: Vec<Peer> = (0..4).map(|_| Peer::connect(rig.http)).collect();
    for holder in &mut holders {
        holder.send("POST /api/v2/spans HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n[");
    }
    // Half is for first bytes.
    rig.wait_for("spangate_intake_bytes", 2 * 1024);
    let answer = post(&rig, "", spans(&["x"]));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.body);
    drop(holders);
    rig.wait_for("spangate_intake_bytes", 0);
    assert_eq!(post(&rig, "", spans(&["x"])).status, 202);
    rig.assert_spans("http", 1, 0, &[]);
}

#[test]
fn a_request_that_passed_this_gateway_before_is_508_and_others_are_remembered() {
    let mut rig = Rig::new();
    let own = rig.channel.id().to_owned();
    let answer = post(&rig, &format!("spangate-via: other, {own}\r\n"), spans(&["loop"]));
    assert_eq!(answer.status, 508, "{}", answer.body);
    let far = (0..9).map(|i| format!("spangate-via: g{i}\r\n")).collect::<String>();
    assert_eq!(post(&rig, &far, spans(&["far"])).status, 508);
    assert_eq!(post(&rig, "spangate-via: one,two\r\nspangate-via: three\r\n", spans(&["ok"])).status, 202);
    let frame = rig.frame();
    assert_eq!((frame.names(), frame.origin_of("via")), (vec!["ok".to_owned()], vec!["one", "two", "three"]));
    rig.assert_messages("http", 1, 2, 0);
}

#[test]
fn paths_of_zipkins_ui_and_queries_say_where_they_are() {
    let rig = Rig::new();
    for path in ["/", "/zipkin/", "/zipkin/api/v2/traces", "/api/v2/services", "/api/v2/spans", "/api/v1/spans", "/x"] {
        let answer = send(&rig, &format!("GET {path}"), "", b"");
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("the UI and queries are at the collectors"), "{}", answer.body);
    }
    assert_eq!(send(&rig, "DELETE /api/v2/spans", "", b"").status, 405);
}

#[test]
fn a_client_that_writes_a_large_body_before_it_reads_hears_why_it_is_refused() {
    let rig = Rig::new();
    let body = vec![b' '; 6 << 20];
    for (line, headers, status) in [
        ("POST /zipkin.proto3.SpanService/Report", "", 415),
        ("POST /zipkin/api/v2/spans", "", 404),
        ("PUT /api/v2/spans", "", 405),
        ("POST /api/v2/spans", "Content-Encoding: br\r\n", 415),
        ("POST /api/v2/spans", &format!("spangate-via: {}\r\n", rig.channel.id()), 508),
    ] {
        let mut peer = Peer::connect(rig.http);
        assert_eq!(peer.request(line, headers, &body).status, status, "{line}");
        assert_eq!(peer.request("POST /api/v2/spans", "", b"[]").status, 202, "{line}: the connection goes on");
    }
    rig.assert_messages("http", 0, 2, 5);
    rig.assert_messages("grpc", 0, 1, 0);
}

#[test]
fn health_has_zipkins_shape_and_is_down_only_where_a_restart_would_mend() {
    let rig = Rig::new();
    for (healthy, accepting, status, word) in [(true, false, 200, "UP"), (false, false, 503, "DOWN")] {
        rig.set_condition(|c| (c.healthy, c.accepting, c.state) = (healthy, accepting, State::Warning));
        for path in ["/health", "/actuator/health"] {
            let answer = send(&rig, &format!("GET {path}"), "b3: 0\r\n", b"");
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
            let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!((&json["status"], &json["zipkin"]["status"]), (&word.into(), &word.into()));
            assert_eq!(json["zipkin"]["details"]["spangate"]["status"], word);
        }
    }
    let info: serde_json::Value = serde_json::from_str(&send(&rig, "GET /info", "", b"").body).unwrap();
    assert_eq!(info["spangate"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn prometheus_shows_zipkins_names_alone() {
    let rig = Rig::new();
    assert_eq!(post(&rig, "", spans(&["a", "b"])).status, 202);
    let answer = send(&rig, "GET /prometheus", "", b"");
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(answer.body.contains("zipkin_collector_spans_total{transport=\"http\"} 2\n"), "{}", answer.body);
    assert!(!answer.body.contains("spangate_"), "{}", answer.body);
}

#[test]
fn browsers_may_post_from_any_origin_by_default() {
    let rig = Rig::new();
    let headers = "Origin: http://shop\r\nAccess-Control-Request-Method: POST\r\n";
    let preflight = send(&rig, "OPTIONS /api/v2/spans", headers, b"");
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET,POST"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("content-type,X-GRPC-WEB"));
    let answer = post(&rig, "Origin: http://shop\r\n", spans(&["x"]));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (202, Some("*")));
    assert_eq!((answer.header("vary"), answer.header("access-control-allow-credentials")), (None, None));
    assert_eq!(post(&rig, "", spans(&["x"])).header("access-control-allow-origin"), None, "no browser");
}

#[test]
fn named_origins_are_echoed_and_others_are_served_without_headers() {
    let rig = Rig::with(|s| s.http.allowed_origins = vec!["http://shop".into()]);
    let answer = post(&rig, "Origin: http://shop\r\n", spans(&["x"]));
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://shop"));
    assert_eq!(answer.header("vary"), Some("origin"));
    let answer = post(&rig, "Origin: http://evil\r\n", spans(&["x"]));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (202, None));
    let headers = "Origin: http://evil\r\nAccess-Control-Request-Method: POST\r\n";
    assert_eq!(send(&rig, "OPTIONS /api/v2/spans", headers, b"").status, 403);
}

#[test]
fn a_slow_head_is_closed_after_the_header_time_and_an_idle_connection_after_its_own() {
    let rig = Rig::with(|s| {
        s.http.header_timeout = Duration::from_millis(150);
        s.http.idle_timeout = Duration::from_secs(6);
    });
    let began = Instant::now();
    let (mut slow, mut idle) = (Peer::connect(rig.http), Peer::connect(rig.http));
    assert_eq!(idle.request("POST /api/v2/spans", "", spans(&["x"]).as_bytes()).status, 202);
    slow.send("POST /api/v2/spans HTTP/1.1\r\nHo");
    assert!(slow.is_closed());
    rig.wait_for("spangate_connections_refused_total{listener=\"http\",reason=\"slow_head\"}", 1);
    assert!(began.elapsed() < Duration::from_secs(6), "the header time, not the idle time, closes it");
    assert_eq!(idle.request("POST /api/v2/spans", "", spans(&["x"]).as_bytes()).status, 202, "idle is not slow");
    let idled = Instant::now();
    assert!(idle.is_closed());
    assert!(idled.elapsed() >= Duration::from_secs(1), "{:?}", idled.elapsed());
}

#[test]
fn a_slow_body_is_408_and_holds_no_permits_after() {
    let rig = Rig::with(|s| s.http.body_timeout = Duration::from_millis(200));
    let mut peer = Peer::connect(rig.http);
    peer.send("POST /api/v2/spans HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[");
    assert_eq!(peer.answer().status, 408);
    assert!(peer.is_closed());
    rig.wait_for("spangate_intake_bytes", 0);
    rig.assert_messages("http", 0, 1, 0);
}

#[test]
fn http2_with_prior_knowledge_is_served_with_many_streams() {
    let rig = Rig::new();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    rig.runtime.block_on(async {
        let first = client.post(format!("http://{}/api/v2/spans", rig.http)).body("[]").send().await.unwrap();
        assert_eq!(first.status().as_u16(), 202);
        let mut posts = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let post = client.post(format!("http://{}/api/v2/spans", rig.http)).body(spans(&["h2"]));
            posts.spawn(async move { post.send().await.unwrap() });
        }
        for answer in posts.join_all().await {
            assert_eq!((answer.status().as_u16(), answer.version()), (202, reqwest::Version::HTTP_2));
        }
    });
    assert!(rig.metric("spangate_connections_total{listener=\"http\"}") < 10, "streams share connections");
    rig.assert_spans("http", 50, 0, &[]);
}

#[test]
fn at_the_stop_the_port_closes_and_a_request_that_began_is_answered() {
    let rig = Rig::new();
    let (mut idle, mut busy) = (Peer::connect(rig.http), Peer::connect(rig.http));
    for peer in [&mut idle, &mut busy] {
        assert_eq!(peer.request("POST /api/v2/spans", "", b"[]").status, 202);
    }
    let body = spans(&["last"]);
    busy.send(format!("POST /api/v2/spans HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n[", body.len()));
    rig.wait_for("spangate_received_bytes_total{listener=\"http\"}", 2 * 2 + 1);
    rig.tasks.stopping().cancel();
    assert!(idle.is_closed());
    assert!(TcpStream::connect(rig.http).is_err(), "the port still listens");
    busy.send(&body[1..]);
    assert_eq!(busy.answer().status, 202);
    assert!(busy.is_closed());
    rig.assert_spans("http", 1, 0, &[]);
}

#[test]
fn a_half_closed_connection_gets_its_answer() {
    let rig = Rig::new();
    let mut peer = Peer::connect(rig.http);
    let body = spans(&["half"]);
    peer.send(format!("POST /api/v2/spans HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    peer.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.answer().status, 202);
    assert!(peer.is_closed());
}

#[test]
fn a_client_that_goes_away_in_its_body_leaves_nothing_behind() {
    let rig = Rig::new();
    let mut peer = Peer::connect(rig.http);
    peer.send("POST /api/v2/spans HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n[");
    rig.wait_for("spangate_received_bytes_total{listener=\"http\"}", 1);
    peer.0.shutdown(Shutdown::Both).unwrap();
    rig.wait_for("spangate_connections{listener=\"http\"}", 0);
    rig.wait_for("spangate_intake_bytes", 0);
    rig.assert_spans("http", 0, 0, &[]);
}
