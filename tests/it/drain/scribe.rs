//! The Scribe sink against a scripted server: each failure's verdict.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use spangate::sink::scribe::{Scribe, Settings};
use spangate::sink::{Load, Sink, Verdict};

use super::{id, span};
use crate::support::scribe_server::{Play, Server};

/// Longer than any machine is busy.
const PATIENT: Duration = Duration::from_secs(30);

fn sink(server: &Server) -> Scribe {
    sink_to(server.address.to_string(), PATIENT)
}

fn sink_to(address: String, timeout: Duration) -> Scribe {
    Scribe::new(Settings { name: "s".to_owned(), address, category: "spans".to_owned(), timeout })
}

fn load(ids: &[u64]) -> Load {
    load_of(ids.iter().map(|id| span(*id)).collect())
}

fn load_of(pieces: Vec<Bytes>) -> Load {
    let bytes = pieces.iter().map(Bytes::len).sum();
    Load { spans: pieces.len() as u32, bytes, pieces, via: vec!["earlier".to_owned()], replayed: false }
}

async fn verdict_of(play: Play) -> Verdict {
    let server = Server::start().await;
    server.play(play);
    sink(&server).send(&load(&[1])).await
}

#[tokio::test]
async fn a_load_is_one_call_of_its_category() {
    let server = Server::start().await;
    let sink = sink(&server);
    assert_eq!(sink.send(&load(&[1, 2, 3])).await, Verdict::Delivered);
    assert_eq!(sink.url(), server.url());
    let seen = server.seen();
    assert_eq!(seen.calls.len(), 1);
    assert_eq!(seen.calls[0].spans, [id(1), id(2), id(3)]);
    assert_eq!(seen.calls[0].categories, HashSet::from(["spans".to_owned()]));
    assert_eq!(seen.taken.len(), 3);
}

#[tokio::test]
async fn connections_are_kept_and_a_call_of_its_own_has_its_own() {
    let server = Server::start().await;
    let sink = sink(&server);
    for n in 1..=20 {
        assert_eq!(sink.send(&load(&[n])).await, Verdict::Delivered);
    }
    assert_eq!((server.seen().connections, server.seen().taken.len()), (1, 20));
    server.play(Play::Together(22));
    let (a, b) = (load(&[21]), load(&[22]));
    let (first, second) = tokio::join!(sink.send(&a), sink.send(&b));
    assert_eq!((first, second), (Verdict::Delivered, Verdict::Delivered));
    assert_eq!((server.seen().connections, server.seen().taken.len()), (2, 22));
}

#[tokio::test]
async fn what_says_no_leaves_the_connection_open() {
    let server = Server::start().await;
    let sink = sink(&server);
    for play in [Play::Code(1), Play::Exception(6, "no".to_owned()), Play::Exception(1, String::new()), Play::Code(9)] {
        server.play(play);
        assert_ne!(sink.send(&load(&[1])).await, Verdict::Delivered);
    }
    assert_eq!((server.seen().connections, server.seen().calls.len()), (1, 4));
}

#[tokio::test]
async fn each_answer_has_its_verdict() {
    let kind = |verdict: &Verdict| match verdict {
        Verdict::Delivered => "delivered",
        Verdict::Elsewhere { maybe_taken: true, .. } => "elsewhere, maybe taken",
        Verdict::Elsewhere { .. } => "elsewhere",
        Verdict::Absent(_) => "absent",
        Verdict::Refused(_) => "refused",
        Verdict::Misconfigured(_) => "misconfigured",
        _ => "another",
    };
    let exception = |code| Play::Exception(code, "why\n\u{1b}".to_owned());
    for (play, expected) in [
        (Play::Code(0), "delivered"),
        (Play::Dribble, "delivered"),
        (Play::Code(1), "absent"),
        (Play::Code(2), "misconfigured"),
        (exception(6), "refused"),
        (exception(7), "refused"),
        (exception(0), "misconfigured"),
        (exception(1), "misconfigured"),
        (exception(5), "misconfigured"),
        (exception(99), "misconfigured"),
        (Play::WrongNumber, "misconfigured"),
        (Play::Garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "misconfigured"),
        (Play::Garbage(b"\x15\x03\x01\x00\x02\x02\x50"), "misconfigured"),
        (Play::Garbage(b"\0\0\0\x04what"), "misconfigured"),
        (Play::Endless, "misconfigured"),
        (Play::Reset, "elsewhere, maybe taken"),
        (Play::Close, "elsewhere, maybe taken"),
        (Play::LoseReply, "elsewhere, maybe taken"),
        (Play::CutReply, "elsewhere, maybe taken"),
    ] {
        let verdict = verdict_of(play.clone()).await;
        assert_eq!(kind(&verdict), expected, "{play:?}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_verdict_quotes_url_kind_and_the_start_of_what_was_said() {
    let text = format!("bad\r\n\u{1b}[31m{}", "é".repeat(10_000));
    let Verdict::Refused(reason) = verdict_of(Play::Exception(6, text)).await else { panic!("not refused") };
    assert!(reason.starts_with("scribe://127.0.0.1:") && reason.contains("InternalError: bad"), "{reason}");
    assert!(reason.len() < 400 && !reason.contains(char::is_control), "{reason:?}");
    let Verdict::Misconfigured(reason) = verdict_of(Play::Garbage(b"HTTP/1.1 400 No\r\n\r\n")).await else {
        panic!("not misconfigured")
    };
    assert!(reason.contains("it answers HTTP, not Scribe"), "{reason}");
}

#[tokio::test]
async fn a_refused_connection_and_a_name_that_does_not_resolve_were_never_reached() {
    let absent = Server::absent();
    let unknown = sink_to("no-such-host.invalid:9410".to_owned(), PATIENT);
    for sink in [sink(&absent), unknown] {
        let verdict = sink.send(&load(&[1])).await;
        assert!(matches!(verdict, Verdict::Absent(_)), "{verdict:?}");
    }
}

#[tokio::test]
async fn a_hung_server_is_found_by_the_timeout() {
    let server = Server::start().await;
    server.play(Play::Hang);
    let (start, timeout) = (Instant::now(), Duration::from_millis(800));
    let verdict = sink_to(server.address.to_string(), timeout).send(&load(&[1])).await;
    assert!(matches!(&verdict, Verdict::Elsewhere { maybe_taken: true, reason } if reason.contains("800ms")));
    assert!(start.elapsed() >= timeout && start.elapsed() < PATIENT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_kept_connection_that_ends_at_the_next_call_is_worth_another_try() {
    for play in [Play::Reset, Play::Close, Play::LoseReply] {
        let server = Server::start().await;
        let sink = sink(&server);
        // Two of them.
        server.play(Play::Together(2));
        let (a, b) = (load(&[1]), load(&[3]));
        assert_eq!(tokio::join!(sink.send(&a), sink.send(&b)), (Verdict::Delivered, Verdict::Delivered));
        assert_eq!(server.seen().connections, 2);
        server.play(play.clone());
        let verdict = sink.send(&load(&[2])).await;
        assert!(matches!(verdict, Verdict::Again(_)), "{play:?}: {verdict:?}");
        // The next connection is a new one: what is lost on it is lost there.
        let verdict = sink.send(&load(&[2])).await;
        assert!(matches!(verdict, Verdict::Elsewhere { maybe_taken: true, .. }), "{play:?}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_reply_cut_short_on_a_kept_connection_is_no_stale_connection() {
    let server = Server::start().await;
    let sink = sink(&server);
    assert_eq!(sink.send(&load(&[1])).await, Verdict::Delivered);
    server.play(Play::CutReply);
    let verdict = sink.send(&load(&[2])).await;
    assert!(matches!(verdict, Verdict::Elsewhere { maybe_taken: true, .. }), "{verdict:?}");
}

#[tokio::test]
async fn a_server_that_comes_back_is_dialled_again_without_a_lost_try() {
    let mut server = Server::start().await;
    let sink = sink(&server);
    assert_eq!(sink.send(&load(&[1])).await, Verdict::Delivered);
    server.fall().await;
    server.rise();
    // The kept connection's end is known before it is used, unless it comes only now.
    let mut verdict = sink.send(&load(&[2])).await;
    if matches!(verdict, Verdict::Again(_)) {
        verdict = sink.send(&load(&[2])).await;
    }
    assert_eq!(verdict, Verdict::Delivered);
    assert_eq!(server.seen().connections, 2);
}

/// A span of about so many bytes.
fn wide(number: u64, bytes: usize) -> Bytes {
    let tag = [&[0x0a, 1, b'k', 0x12][..], &varint(bytes), &vec![b'x'; bytes]].concat();
    let mut inner = span(number)[2..].to_vec();
    inner.push(0x5a);
    inner.extend(varint(tag.len()));
    inner.extend(tag);
    [&[0x0a][..], &varint(inner.len()), &inner].concat().into()
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

#[tokio::test]
async fn a_load_beyond_what_a_peer_takes_is_too_large_and_is_not_sent() {
    let server = Server::start().await;
    let sink = sink(&server);
    let large = load_of((1..=14).map(|n| wide(n, 900_000)).collect());
    let verdict = sink.send(&large).await;
    assert!(matches!(&verdict, Verdict::TooLarge(reason) if reason.contains("16384000")), "{verdict:?}");
    assert_eq!((server.seen().connections, server.seen().calls.len()), (0, 0));
    let half = load_of(large.pieces[..7].to_vec());
    assert_eq!(sink.send(&half).await, Verdict::Delivered);
    let sent = server.seen().calls[0].frame_bytes;
    assert!((8_000_000..=16_384_000).contains(&sent), "{sent}");
}

#[tokio::test]
async fn a_span_that_v1_cannot_say_refuses_its_load_unsent() {
    let server = Server::start().await;
    let mut unsayable = vec![0x0a, 28, 0x0a, 16];
    unsayable.extend(7u64.to_be_bytes());
    unsayable.extend(0u64.to_be_bytes());
    unsayable.extend([0x1a, 8, 0, 0, 0, 0, 0, 0, 0, 9]);
    let verdict = sink(&server).send(&load_of(vec![span(1), unsayable.into()])).await;
    let Verdict::Refused(reason) = verdict else { panic!("{verdict:?}") };
    assert!(reason.contains("not sent to scribe://") && reason.contains("low 64 bits"), "{reason}");
    assert_eq!(server.seen().connections, 0);
}
