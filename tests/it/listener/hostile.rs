//! Peers that want to hold what others need: each is refused by its own counter, and others go on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::rig::{LONG, Rig};
use crate::support::http::Client as Http;
use crate::support::scribe::{CALL, Client, Content, OK, entry, frame, log_arguments, message};

const STALLED: usize = 100;

fn json(names: &[String]) -> String {
    let span = |(id, name): (usize, &String)| format!(r#"{{"traceId":"1","id":"{:x}","name":"{name}"}}"#, id + 1);
    format!("[{}]", names.iter().enumerate().map(span).collect::<Vec<_>>().join(","))
}

fn post(rig: &Rig, body: &str) -> (u16, String) {
    let answer = Http::new(rig.http.port()).post("/api/v2/spans", "application/json", body.as_bytes()).unwrap();
    (answer.status, answer.text())
}

#[test]
fn uploads_that_stall_hold_little_of_what_all_share_and_are_cut_off_after_a_while() {
    let rig = Rig::with(|s| {
        s.intake.bytes_in_flight = 2 << 20;
        s.intake.commit_wait = Duration::from_millis(200);
        (s.http.connections_max, s.scribe.connections_max) = (STALLED + 10, STALLED + 10);
    });
    let span = entry(1, 2, &"n".repeat(200_000));
    let call = frame(&message(true, CALL, "Log", 1, &log_arguments(&[("zipkin", &span)])));
    let mut posts = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..STALLED {
        let mut stream = TcpStream::connect(rig.http).unwrap();
        stream.write_all(b"POST /api/v2/spans HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n[").unwrap();
        posts.push(stream);
        let mut stream = TcpStream::connect(rig.scribe).unwrap();
        stream.write_all(&call[..1100]).unwrap();
        calls.push(stream);
    }
    rig.wait_for("spangate_connections{listener=\"http\"}", STALLED as u64);
    rig.wait_for("spangate_connections{listener=\"scribe\"}", STALLED as u64);
    // With 64 KiB each, sixteen of them would hold all that is for first bytes.
    assert_eq!(post(&rig, &json(&["x".repeat(100_000)])).0, 202);
    assert_eq!(Client::connect(rig.scribe).log(&[("zipkin", &entry(1, 3, "good"))]), OK);
    for stream in &mut posts {
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("slower than 4096 bytes a second"), "{answer}");
    }
    let cut = "spangate_connections_refused_total{listener=\"scribe\",reason=\"slow_rate\"}";
    rig.wait_for(cut, STALLED as u64);
    rig.wait_for("spangate_intake_bytes", 0);
    assert_eq!(rig.refused_for("http"), [("slow_rate", STALLED as u64)].into());
}

#[test]
fn a_call_that_is_slow_and_within_its_rate_is_taken() {
    let rig = Rig::with(|s| s.scribe.frame_rate_min = 100);
    let mut client = Client::connect(rig.scribe);
    let span = entry(1, 2, &"n".repeat(1_200));
    let call = frame(&message(true, CALL, "Log", 1, &log_arguments(&[("zipkin", &span)])));
    // Longer than the grace.
    for piece in call.chunks(call.len() / 11) {
        client.stream.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(client.reply().unwrap().code(), OK);
}

#[test]
fn a_message_larger_than_the_whole_channel_is_refused_for_good_in_every_way() {
    let rig = Rig::with(|s| s.channel.capacity_bytes = 1 << 20);
    let names: Vec<String> = (0..20).map(|_| "n".repeat(60_000)).collect();
    let (status, text) = post(&rig, &json(&names));
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("larger than the whole channel (channel.capacity, channel.capacity_spans)"), "{text}");
    rig.assert_spans("http", 0, 0, &[("too_large", 20)]);
    rig.assert_messages("http", 0, 1, 0);
    assert_eq!(rig.refused_for("http"), [("too_large", 1)].into());

    let texts: Vec<String> = names.iter().enumerate().map(|(id, name)| entry(1, id as i64 + 1, name)).collect();
    let entries: Vec<(&str, &str)> = texts.iter().map(|text| ("zipkin", &**text)).collect();
    let mut client = Client::connect(rig.scribe);
    client.send_log(&entries);
    let reply = client.reply().unwrap();
    let Content::Exception { message, .. } = reply.content else { panic!("{reply:?}") };
    assert!(message.contains("larger than the whole channel"), "{message}");
    rig.assert_spans("scribe", 0, 0, &[("too_large", 20)]);
    rig.assert_messages("scribe", 0, 1, 0);
    // The connection goes on, and what fits is taken.
    assert_eq!(client.log(&entries[..5]), OK);
}
