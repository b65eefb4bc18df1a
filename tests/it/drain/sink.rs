//! The Zipkin sink against a scripted collector: each failure's verdict.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use spangate::sink::zipkin::{Encoding, Settings, Zipkin};
use spangate::sink::{Glimpse, Load, Sink, Verdict};

use super::{id, span};
use crate::support::collector::{Collector, Play};

const TIMEOUT: Duration = Duration::from_millis(800);

fn settings(url: String) -> Settings {
    Settings { name: "c".to_owned(), url, encoding: Encoding::Proto3, gzip: false, timeout: TIMEOUT }
}

fn sink(url: String) -> Zipkin {
    spangate::sink::install_tls();
    Zipkin::new(settings(url), "own").unwrap()
}

fn load(ids: &[u64]) -> Load {
    let pieces: Vec<_> = ids.iter().map(|id| span(*id)).collect();
    Load {
        spans: ids.len() as u32,
        bytes: pieces.iter().map(|p| p.len()).sum(),
        pieces,
        via: vec!["earlier".to_owned()],
        replayed: false,
    }
}

async fn verdict_of(play: Play) -> Verdict {
    let collector = Collector::start().await;
    collector.play(play);
    sink(collector.url()).send(&load(&[1])).await
}

#[tokio::test]
async fn a_load_arrives_whole_with_its_headers() {
    let collector = Collector::start().await;
    let sink = sink(collector.url());
    assert_eq!(sink.send(&load(&[1, 2, 3])).await, Verdict::Delivered);
    let request = collector.requests().remove(0);
    assert_eq!(request.line, "POST /api/v2/spans HTTP/1.1");
    assert_eq!(request.spans, [id(1), id(2), id(3)]);
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    assert_eq!(header("content-type"), Some("application/x-protobuf"));
    assert_eq!(header("spangate-via"), Some("own, earlier"));
    assert_eq!(header("b3"), Some("0"));
    assert_eq!(header("transfer-encoding"), None);
    assert_eq!(header("content-encoding"), None);
    assert_eq!(collector.errors(), [""; 0]);
}

#[tokio::test]
async fn connections_are_kept() {
    let collector = Collector::start().await;
    let sink = sink(collector.url());
    for n in 1..=20 {
        assert_eq!(sink.send(&load(&[n])).await, Verdict::Delivered);
    }
    assert_eq!((collector.connections(), collector.taken().len()), (1, 20));
}

#[tokio::test]
async fn a_load_may_be_compressed() {
    let collector = Collector::start().await;
    spangate::sink::install_tls();
    let sink = Zipkin::new(Settings { gzip: true, ..settings(collector.url()) }, "own").unwrap();
    assert_eq!(sink.send(&load(&[1, 2])).await, Verdict::Delivered);
    let request = collector.requests().remove(0);
    assert_eq!(request.headers["content-encoding"], "gzip");
    assert_eq!(request.spans, [id(1), id(2)]);
}

#[tokio::test]
async fn a_load_may_be_json() {
    let collector = Collector::start().await;
    spangate::sink::install_tls();
    for gzip in [false, true] {
        let sink =
            Zipkin::new(Settings { encoding: Encoding::JsonV2, gzip, ..settings(collector.url()) }, "own").unwrap();
        assert_eq!(sink.send(&load(&[1, 2])).await, Verdict::Delivered);
        let request = collector.requests().pop().unwrap();
        assert_eq!(request.headers["content-type"], "application/json");
        assert_eq!(request.spans, [id(1), id(2)]);
    }
}

#[tokio::test]
async fn each_status_has_its_verdict() {
    let kind = |verdict: &Verdict| match verdict {
        Verdict::Delivered => "delivered",
        Verdict::Elsewhere { maybe_taken: true, .. } => "elsewhere, maybe taken",
        Verdict::Elsewhere { .. } => "elsewhere",
        Verdict::Absent(_) => "absent",
        Verdict::Again(_) => "again",
        Verdict::Wait(..) => "wait",
        Verdict::TooLarge(_) => "too large",
        Verdict::Refused(_) => "refused",
        Verdict::Misconfigured(_) => "misconfigured",
    };
    let expected: [(&[u16], &str); 8] = [
        (&[200, 202, 204], "delivered"),
        (&[400, 422], "refused"),
        (&[413], "too large"),
        (&[429], "wait"),
        (&[500, 501, 505], "elsewhere"),
        (&[408, 502, 503, 504], "elsewhere, maybe taken"),
        (&[301, 302, 307, 308, 304], "misconfigured"),
        (&[401, 403, 404, 405, 415, 418, 431, 508], "misconfigured"),
    ];
    let collector = Collector::start().await;
    let sink = sink(collector.url());
    for (statuses, verdict) in expected {
        for status in statuses {
            let headers = vec![("location", "http://127.0.0.1:1/".to_owned())];
            collector.play(Play::Status(*status, headers, String::new()));
            let found = sink.send(&load(&[1])).await;
            assert_eq!(kind(&found), verdict, "{status}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_busy_collector_says_for_how_long() {
    for status in [429, 503] {
        let headers = vec![("retry-after", "7".to_owned())];
        let verdict = verdict_of(Play::Status(status, headers, "busy".to_owned())).await;
        assert!(matches!(verdict, Verdict::Wait(wait, _) if wait == Duration::from_secs(7)), "{verdict:?}");
    }
}

#[tokio::test]
async fn a_verdict_quotes_url_status_and_the_start_of_the_answer() {
    let text = format!("bad\r\n\u{1b}[31m{}", "x".repeat(100_000));
    let verdict = verdict_of(Play::Status(400, Vec::new(), text)).await;
    let Verdict::Refused(reason) = verdict else { panic!("{verdict:?}") };
    assert!(reason.starts_with("http://127.0.0.1:") && reason.contains("/api/v2/spans: 400"), "{reason}");
    assert!(reason.contains("bad") && reason.len() < 400 && !reason.contains(char::is_control), "{reason:?}");
}

#[tokio::test]
async fn a_refused_connection_was_never_reached() {
    let collector = Collector::absent();
    let verdict = sink(collector.url()).send(&load(&[1])).await;
    assert!(matches!(verdict, Verdict::Absent(_)), "{verdict:?}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_was_never_reached() {
    let verdict = sink("http://no-such-host.invalid:9411".to_owned()).send(&load(&[1])).await;
    assert!(matches!(verdict, Verdict::Absent(_)), "{verdict:?}");
}

#[tokio::test]
async fn a_first_connection_that_ends_early_may_have_taken_the_load() {
    for play in [Play::Reset, Play::Close, Play::LoseReply] {
        let verdict = verdict_of(play.clone()).await;
        assert!(matches!(verdict, Verdict::Elsewhere { maybe_taken: true, .. }), "{play:?}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_ends_early_is_worth_another_try() {
    for play in [Play::Reset, Play::Close] {
        let collector = Collector::start().await;
        let sink = sink(collector.url());
        assert_eq!(sink.send(&load(&[1])).await, Verdict::Delivered);
        collector.play(play.clone());
        let verdict = sink.send(&load(&[2])).await;
        assert!(matches!(verdict, Verdict::Again(_)), "{play:?}: {verdict:?}");
        let verdict = sink.send(&load(&[2])).await;
        assert!(matches!(verdict, Verdict::Elsewhere { maybe_taken: true, .. }), "{play:?}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_hung_collector_is_found_by_the_timeout() {
    let start = Instant::now();
    let verdict = verdict_of(Play::Hang).await;
    assert!(matches!(verdict, Verdict::Elsewhere { maybe_taken: true, .. }), "{verdict:?}");
    assert!(start.elapsed() >= TIMEOUT && start.elapsed() < TIMEOUT * 30, "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_answer_that_dribbles_has_said_enough_with_its_status() {
    assert_eq!(verdict_of(Play::Dribble).await, Verdict::Delivered);
}

#[tokio::test]
async fn a_load_that_is_refused_before_it_is_sent_is_too_large() {
    let collector = Collector::start().await;
    collector.play(Play::TooLargeEarly(1 << 20));
    let sink = sink(collector.url());
    for _ in 0..3 {
        let large = load(&(0..100_000).collect::<Vec<_>>());
        let verdict = sink.send(&large).await;
        assert!(matches!(verdict, Verdict::TooLarge(_)), "{verdict:?}");
        assert_eq!(sink.send(&load(&[1])).await, Verdict::Delivered);
    }
}

#[tokio::test]
async fn what_speaks_no_http_is_misconfigured() {
    let verdict = verdict_of(Play::Garbage).await;
    assert!(matches!(verdict, Verdict::Misconfigured(_)), "{verdict:?}");
}

#[tokio::test]
async fn tls_to_what_speaks_none_is_misconfigured() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    // Answers a ClientHello as an HTTP server would.
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").unwrap();
    });
    let verdict = sink(format!("https://{address}")).send(&load(&[1])).await;
    assert!(matches!(verdict, Verdict::Misconfigured(_)), "{verdict:?}");
    answering.join().unwrap();
}

#[tokio::test]
async fn the_addresses_of_a_name_are_tried_in_turn() {
    let collector = Collector::start().await;
    spangate::sink::install_tls();
    let port = collector.address.port();
    // Nobody listens there, and nothing tells so before it is tried.
    let addresses = [SocketAddr::from(([127, 0, 0, 2], port)), collector.address];
    let url = format!("http://collector.test:{port}");
    let sink = Zipkin::at(settings(url), &addresses, "own").unwrap();
    assert_eq!(sink.send(&load(&[1])).await, Verdict::Delivered);
    assert_eq!(collector.requests()[0].headers["host"], format!("collector.test:{port}"), "it is called by its name");
}

#[tokio::test]
async fn a_collector_is_looked_at_beside_its_answers() {
    let mut collector = Collector::start().await;
    let sink = sink(collector.url());
    assert!(sink.can_be_looked_at());
    assert_eq!(sink.look().await, Glimpse { up: Some(true), dropped: Some(0) });
    collector.say(false, 12_345);
    assert_eq!(sink.look().await, Glimpse { up: Some(false), dropped: Some(12_345) });
    collector.fall().await;
    assert_eq!(sink.look().await, Glimpse::default());
    assert!(!self::sink(format!("{}/elsewhere", collector.url())).can_be_looked_at());
}
