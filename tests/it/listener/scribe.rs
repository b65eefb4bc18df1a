//! Scribe, as its clients speak it (facts of zipkin's `SCT` tests, scribed, Finagle).

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use spangate::channel::Kind;
use spangate::listener::State;

use super::rig::{LONG, Rig};
use crate::support::scribe::*;

fn connected(rig: &Rig) -> Client {
    Client::connect(rig.scribe)
}

#[test]
fn a_call_is_answered_ok_in_the_callers_form_once_its_spans_are_in_the_channel() {
    let mut rig = Rig::new();
    for client in [&mut connected(&rig), &mut connected(&rig).unversioned()] {
        assert_eq!(client.log(&[("zipkin", &entry(1, 2, "Get"))]), OK);
        assert_eq!(client.log(&[("zipkin", &entry(3, 4, "Put"))]), OK);
    }
    for name in ["get", "put", "get", "put"] {
        let frame = rig.frame();
        assert_eq!((frame.kind, frame.names()), (Kind::Spans, vec![name.to_owned()]));
        assert_eq!(frame.labels, [Some("shop".to_owned())]);
        assert_eq!((frame.origin_of("listener"), frame.origin_of("category")), (vec!["scribe"], vec!["zipkin"]));
        assert_eq!(frame.origin_of("peer"), ["127.0.0.1"]);
    }
    rig.assert_spans("scribe", 4, 0, &[]);
    rig.assert_messages("scribe", 4, 0, 0);
    assert_eq!(rig.zipkin_metric("zipkin_collector_spans_total{transport=\"scribe\"}"), 4);
    assert_eq!(rig.zipkin_metric("zipkin_collector_messages_total{transport=\"scribe\"}"), 4);
    assert_eq!(rig.zipkin_metric("zipkin_collector_spans_dropped_total{transport=\"scribe\"}"), 0);
}

#[test]
fn pipelined_calls_are_answered_in_order() {
    let rig = Rig::new();
    let mut client = connected(&rig);
    let spans: Vec<String> = (1..=300).map(|i| entry(i, i, "pipelined")).collect();
    let seqids: Vec<i32> = spans.iter().map(|span| client.send_log(&[("zipkin", span)])).collect();
    for seqid in seqids {
        let reply = client.reply().unwrap();
        assert_eq!((reply.seqid, reply.code()), (seqid, OK));
    }
    rig.assert_spans("scribe", 300, 0, &[]);
}

#[test]
fn a_frame_that_arrives_byte_by_byte_is_a_frame() {
    let rig = Rig::new();
    let mut client = connected(&rig);
    let span = entry(1, 2, "slow");
    for byte in frame(&message(true, CALL, "Log", 9, &log_arguments(&[("zipkin", &span)]))) {
        client.stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(client.reply().unwrap().code(), OK);
    rig.assert_spans("scribe", 1, 0, &[]);
}

#[test]
fn a_client_that_connects_for_each_message_and_never_reads_loses_nothing() {
    let mut rig = Rig::new();
    for i in 1..=20 {
        let mut client = connected(&rig);
        client.send_log(&[("zipkin", &entry(i, i, "gone"))]);
        client.stream.shutdown(Shutdown::Both).unwrap();
    }
    for _ in 1..=20 {
        assert_eq!(rig.frame().names(), ["gone"]);
    }
    rig.wait_for("spangate_spans_accepted_total{listener=\"scribe\"}", 20);
    rig.assert_spans("scribe", 20, 0, &[]);
}

#[test]
fn a_half_closed_connection_gets_its_answers() {
    let rig = Rig::new();
    let mut client = connected(&rig);
    client.send_log(&[("zipkin", &entry(1, 2, "one"))]);
    client.send_log(&[("zipkin", &entry(1, 3, "two"))]);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.reply().unwrap().code(), OK);
    assert_eq!(client.reply().unwrap().code(), OK);
    assert!(client.is_closed());
}

#[test]
fn a_call_that_ends_within_its_frame_is_counted_and_what_came_before_it_is_answered() {
    let rig = Rig::new();
    let name = "n".repeat(5_000);
    let [one, two] = [1, 2]
        .map(|id| frame(&message(true, CALL, "Log", id, &log_arguments(&[("zipkin", &entry(1, id.into(), &name))]))));
    // Before and behind the first bytes, for which no permits are asked.
    for (at, cut) in [6, two.len() / 2, two.len() - 1].into_iter().enumerate() {
        let mut client = connected(&rig);
        client.stream.write_all(&[&one, &two[..cut]].concat()).unwrap();
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.reply().unwrap().code(), OK);
        assert!(client.is_closed(), "half a call is not answered");
        rig.wait_for("spangate_messages_refused_total{listener=\"scribe\",reason=\"broken\"}", at as u64 + 1);
    }
    // A reset is an end like any other; one within the length is of no message.
    let mut client = connected(&rig);
    client.stream.write_all(&two[..two.len() / 2]).unwrap();
    rig.wait_for("spangate_intake_bytes", two.len() as u64 - 4);
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    rig.wait_for("spangate_messages_refused_total{listener=\"scribe\",reason=\"broken\"}", 4);
    let mut client = connected(&rig);
    client.stream.write_all(&two[..3]).unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert!(client.is_closed());
    rig.wait_for("spangate_connections{listener=\"scribe\"}", 0);
    rig.assert_spans("scribe", 3, 0, &[]);
    rig.assert_messages("scribe", 3, 4, 0);
    assert_eq!(rig.zipkin_metric("zipkin_collector_messages_dropped_total{transport=\"scribe\"}"), 4);
    rig.wait_for("spangate_intake_bytes", 0);
}

#[test]
fn a_peer_that_never_reads_its_replies_is_closed_and_what_it_sent_is_counted() {
    let rig = Rig::with(|s| s.scribe.frame_timeout = Duration::from_millis(300));
    let mut client = connected(&rig);
    client.stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Replies of fb303 are large enough to fill the sockets' buffers soon.
    let calls = frame(&message(true, CALL, "getCounters", 1, &[0])).repeat(1000);
    let deadline = Instant::now() + LONG;
    while client.stream.write_all(&calls).is_ok() {
        assert!(Instant::now() < deadline, "the peer is read for ever");
    }
    rig.wait_for("spangate_connections_refused_total{listener=\"scribe\",reason=\"replies_unread\"}", 1);
    rig.wait_for("spangate_connections{listener=\"scribe\"}", 0);
}

#[test]
fn an_empty_log_call_is_ok() {
    let rig = Rig::new();
    let mut client = connected(&rig);
    assert_eq!(client.log(&[]), OK);
    assert_eq!(client.call("Log", &[0]).code(), OK, "a null list");
    rig.assert_spans("scribe", 0, 0, &[]);
    rig.assert_messages("scribe", 0, 0, 2);
}

#[test]
fn the_finagle_probe_is_an_unknown_method_and_the_connection_goes_on() {
    let rig = Rig::new();
    let mut client = connected(&rig);
    let reply = client.call("__can__finagle__trace__v3__", &[12, 0, 1, 0, 0]);
    let Content::Exception { code, message } = reply.content else { panic!("{reply:?}") };
    assert_eq!((code, message.contains("__can__finagle__trace__v3__")), (UNKNOWN_METHOD, true));
    assert_eq!(client.log(&[("zipkin", &entry(1, 2, "finagle"))]), OK);
}

#[test]
fn arguments_that_are_no_list_of_entries_are_a_protocol_error_and_the_connection_goes_on() {
    let rig = Rig::new();
    let mut client = connected(&rig);
    let reply = client.call("Log", &[15, 0, 1, 12, 0, 0, 0, 9]);
    let Content::Exception { code, .. } = reply.content else { panic!("{reply:?}") };
    assert_eq!(code, PROTOCOL_ERROR);
    assert_eq!(client.log(&[("zipkin", &entry(1, 2, "after"))]), OK);
    rig.assert_spans("scribe", 1, 0, &[]);
    rig.assert_messages("scribe", 1, 1, 0);
    assert_eq!(rig.zipkin_metric("zipkin_collector_messages_dropped_total{transport=\"scribe\"}"), 1);
}

#[test]
fn one_bad_entry_is_set_aside_and_its_neighbours_are_accepted() {
    let mut rig = Rig::new();
    let mut client = connected(&rig);
    let calls = [("zipkin", &*entry(1, 2, "before")), ("zipkin", "not base64"), ("zipkin", &*entry(5, 6, "after"))];
    assert_eq!(client.log(&calls), OK);
    assert_eq!(rig.frame().names(), ["before", "after"]);
    let aside = rig.entries();
    assert_eq!((aside.kind, &aside.parts[..]), (Kind::Entries, &[b"not base64".to_vec()][..]));
    let reason = aside.labels[0].as_deref().expect("a reason");
    assert!(reason.starts_with("base64"), "{reason}");
    assert_eq!((aside.origin_of("peer"), aside.origin_of("category")), (vec!["127.0.0.1"], vec!["zipkin"]));
    rig.assert_spans("scribe", 2, 1, &[]);
    rig.assert_messages("scribe", 1, 0, 0);
    assert_eq!(rig.zipkin_metric("zipkin_collector_spans_total{transport=\"scribe\"}"), 2);
    assert_eq!(rig.zipkin_metric("zipkin_collector_messages_dropped_total{transport=\"scribe\"}"), 0);
}

#[test]
fn a_large_call_with_bad_entries_in_it_loses_none_of_its_spans() {
    let mut rig = Rig::new();
    let names: Vec<String> = (0..2000).map(|i| format!("{i:0>400}")).collect();
    let mut entries: Vec<String> = names.iter().map(|name| entry(1, 2, name)).collect();
    // Thrift that is none, a span without ids, and no span at all.
    for (at, bad) in [(0, "AAAA"), (1000, &*entry(0, 5, "no trace")), (2002, "")] {
        entries.insert(at, bad.to_owned());
    }
    let entries: Vec<(&str, &str)> = entries.iter().map(|entry| ("zipkin", &**entry)).collect();
    assert_eq!(connected(&rig).log(&entries), OK);
    let mut seen = Vec::new();
    while seen.len() < names.len() {
        seen.extend(rig.frame().names());
    }
    assert_eq!(seen, names);
    let aside = rig.entries();
    assert_eq!((aside.parts.len(), &aside.parts[0][..], &aside.parts[2][..]), (3, &b"AAAA"[..], &b""[..]));
    assert!(aside.labels[1].as_deref().unwrap().contains("traceId == 0"), "{:?}", aside.labels);
    rig.assert_spans("scribe", 2000, 3, &[]);
}

#[test]
fn a_call_of_nothing_but_tiny_bad_entries_is_set_aside_whole_with_few_reasons() {
    const ENTRIES: usize = 60_000;
    let mut rig = Rig::new();
    assert_eq!(connected(&rig).log(&vec![("zipkin", "A"); ENTRIES]), OK);
    let mut seen = 0;
    while seen < ENTRIES {
        let aside = rig.entries();
        assert!(aside.labels.iter().all(|reason| reason == &aside.labels[0]));
        seen += aside.parts.len();
    }
    assert_eq!(seen, ENTRIES);
    rig.assert_spans("scribe", 0, ENTRIES as u64, &[]);
}

#[test]
fn other_categories_are_answered_ok_counted_and_gone() {
    let mut rig = Rig::new();
    let mut client = connected(&rig);
    let span = entry(1, 2, "taken");
    assert_eq!(client.log(&[("access_log", "GET /"), ("", "blank"), ("zipkin", &span), ("Zipkin", &span)]), OK);
    assert_eq!(client.log(&[("access_log", "GET /")]), OK);
    assert_eq!(rig.frame().names(), ["taken"]);
    rig.assert_spans("scribe", 1, 0, &[]);
    rig.assert_messages("scribe", 1, 0, 1);
    for (category, count) in [("access_log", 2), ("blank", 1), ("Zipkin", 1)] {
        assert_eq!(rig.metric(&format!("spangate_entries_ignored_total{{category=\"{category}\"}}")), count);
    }
}

#[test]
fn with_a_star_every_category_is_taken_under_its_own_name() {
    let mut rig = Rig::with(|s| s.scribe.categories = vec!["*".into()]);
    let mut client = connected(&rig);
    let (one, two, three) = (entry(1, 1, "one"), entry(1, 2, "two"), entry(1, 3, "three"));
    assert_eq!(client.log(&[("a", &one), ("b", &two), ("a", &three), ("", "blank")]), OK);
    let (a, b) = (rig.frame(), rig.frame());
    assert_eq!((a.names(), a.origin_of("category")), (vec!["one".to_owned(), "three".to_owned()], vec!["a"]));
    assert_eq!((b.names(), b.origin_of("category")), (vec!["two".to_owned()], vec!["b"]));
}

#[test]
fn invalid_utf8_is_replaced_in_a_service_and_in_the_name_of_a_category() {
    let mut rig = Rig::with(|s| s.scribe.categories = vec!["*".into()]);
    let mut span = STANDARD.decode(entry(1, 2, "odd")).unwrap();
    for at in 0..span.len() - 4 {
        if &span[at..at + 4] == b"shop" {
            span[at..at + 4].copy_from_slice(b"s\xff\xfep");
        }
    }
    let mut call = message(true, CALL, "Log", 1, &log_arguments(&[("zip#kin", &STANDARD.encode(span))]));
    let category = call.iter().position(|byte| *byte == b'#').unwrap();
    call[category] = 0xff;
    let mut client = connected(&rig);
    client.stream.write_all(&frame(&call)).unwrap();
    assert_eq!(client.reply().unwrap().code(), OK);
    let frame = rig.frame();
    assert_eq!((frame.names(), frame.origin_of("category")), (vec!["odd".to_owned()], vec!["zip?kin"]));
    assert_eq!(frame.labels, [Some("s\u{fffd}\u{fffd}p".to_owned())]);
    rig.assert_spans("scribe", 1, 0, &[]);
}

#[test]
fn the_mark_of_a_replay_is_an_empty_entry_and_one_with_a_message_is_no_mark() {
    let mut rig = Rig::with(|s| s.scribe.categories = vec!["*".into()]);
    let span = entry(1, 2, "again");
    assert_eq!(connected(&rig).log(&[("spangate-replay", ""), ("zipkin", &span)]), OK);
    let frame = rig.frame();
    assert_eq!((frame.names(), frame.origin_of("replayed")), (vec!["again".to_owned()], vec!["yes"]));
    assert_eq!(connected(&rig).log(&[("spangate-replay", &entry(3, 4, "kept"))]), OK);
    let frame = rig.frame();
    assert_eq!((frame.names(), frame.origin_of("category")), (vec!["kept".to_owned()], vec!["spangate-replay"]));
    assert!(frame.origin_of("replayed").is_empty());
    rig.assert_spans("scribe", 2, 0, &[]);
}

#[test]
fn a_full_channel_is_try_later_and_every_span_is_counted_as_refused() {
    let rig = Rig::with(|s| {
        s.channel.capacity_bytes = 1 << 20;
        s.intake.commit_wait = Duration::from_millis(200);
    });
    let mut client = connected(&rig);
    let name = "n".repeat(30_000);
    let spans: Vec<String> = (1..=4).map(|i| entry(i, i, &name)).collect();
    let entries: Vec<(&str, &str)> = spans.iter().map(|span| ("zipkin", &**span)).collect();
    let mut accepted = 0;
    while client.log(&entries) == OK {
        accepted += 4;
        assert!(accepted < 1000, "a channel of 1 MiB never filled up");
    }
    assert!(accepted > 0);
    rig.assert_spans("scribe", accepted, 0, &[("full", 4)]);
    rig.assert_messages("scribe", accepted / 4, 1, 0);
    assert_eq!(rig.zipkin_metric("zipkin_collector_spans_dropped_total{transport=\"scribe\"}"), 4);
    assert_eq!(counter(&mut client, "zipkin:denied for queue size"), 4);
    assert_eq!(counter(&mut client, "zipkin:received good"), accepted as i64);
}

#[test]
fn without_permits_a_frame_is_thrown_away_and_answered_try_later_by_name() {
    let rig = Rig::with(|s| {
        s.intake = spangate::listener::intake::Settings {
            bytes_in_flight: 32 * 1024,
            commit_wait: Duration::from_millis(100),
        };
    });
    // Four frames that never end hold four times what came of them: all that is for first bytes.
    let mut holders: Vec<Client> = (0..4).map(|_| connected(&rig)).collect();
    let span = entry(1, 2, &"n".repeat(100_000));
    let call = frame(&message(true, CALL, "Log", 1, &log_arguments(&[("zipkin", &span)])));
    for holder in &mut holders {
        holder.stream.write_all(&call[..4 + 1024]).unwrap();
    }
    rig.wait_for("spangate_intake_bytes", 16 * 1024);
    let mut client = connected(&rig).unversioned();
    assert_eq!(client.log(&[("zipkin", &span)]), TRY_LATER);
    assert_eq!(client.log(&[("zipkin", &entry(1, 2, "small"))]), TRY_LATER);
    assert_eq!(status(&mut client), 2, "fb303 answers without permits");
    drop(holders);
    rig.wait_for("spangate_messages_refused_total{listener=\"scribe\",reason=\"broken\"}", 4);
    rig.wait_for("spangate_intake_bytes", 0);
    assert_eq!(client.log(&[("zipkin", &span)]), OK, "larger than the connection's share, it stands alone");
    rig.assert_spans("scribe", 1, 0, &[]);
    rig.assert_messages("scribe", 1, 6, 0);
    rig.wait_for("spangate_intake_bytes", 0);
}

#[test]
fn http_at_the_scribe_port_is_told_the_right_port() {
    let rig = Rig::new();
    let mut client = connected(&rig);
    client.stream.write_all(b"POST /api/v2/spans HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]").unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("port 9411"), "{answer}");
    rig.wait_for("spangate_connections_refused_total{listener=\"scribe\",reason=\"http\"}", 1);
}

#[test]
fn tls_and_bad_lengths_close_the_connection_and_are_counted() {
    let rig = Rig::with(|s| s.scribe.frame_bytes_max = 1000);
    for (bytes, reason) in [
        (&[0x16, 3, 1, 2, 0, 1][..], "tls"),
        (&[0, 0, 3, 0xe9], "frame_length"),
        (&[0xff, 0xff, 0xff, 0xff], "frame_length"),
        (&[0, 0, 0, 0], "frame_length"),
        (&[0, 0, 0, 4, 0x80, 0x02, 0, 1], "protocol"),
    ] {
        let series = format!("spangate_connections_refused_total{{listener=\"scribe\",reason=\"{reason}\"}}");
        let before = rig.metric(&series);
        let mut client = connected(&rig);
        client.stream.write_all(bytes).unwrap();
        assert!(client.is_closed(), "{reason}");
        rig.wait_for(&series, before + 1);
    }
}

#[test]
fn a_frame_that_is_not_complete_in_time_closes_and_an_idle_connection_stays() {
    let rig = Rig::with(|s| s.scribe.frame_timeout = Duration::from_millis(200));
    let (mut idle, mut slow) = (connected(&rig), connected(&rig));
    slow.stream.write_all(&[0, 0, 1, 0, 0x80]).unwrap();
    assert!(slow.is_closed());
    rig.wait_for("spangate_connections_refused_total{listener=\"scribe\",reason=\"slow_frame\"}", 1);
    rig.wait_for("spangate_intake_bytes", 0);
    assert_eq!(idle.log(&[("zipkin", &entry(1, 2, "idle"))]), OK);
}

#[test]
fn every_method_of_fb303_is_answered() {
    let rig = Rig::new();
    let mut client = connected(&rig);
    client.log(&[("zipkin", &entry(1, 2, "x")), ("zipkin", "!bad"), ("other", "y"), ("", "z")]);
    let string = |reply: Reply| match reply.content {
        Content::Result(Some(Value::String(text))) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(string(client.call("getName", &[0])), "Scribe");
    assert_eq!(string(client.call("getVersion", &[0])), concat!("spangate ", env!("CARGO_PKG_VERSION")));
    assert_eq!(string(client.call("getStatusDetails", &[0])), "all is well");
    assert_eq!(string(client.call("getOption", &string_argument("categories"))), "zipkin");
    assert_eq!(string(client.call("getOption", &string_argument("nothing"))), "");
    assert_eq!(string(client.call("getCpuProfile", &[8, 0, 1, 0, 0, 0, 1, 0])), "");
    let Content::Result(Some(Value::Options(options))) = client.call("getOptions", &[0]).content else { panic!() };
    assert!(options.contains(&("frame_bytes_max".into(), "16384000".into())), "{options:?}");
    let set = [&[11, 0, 1][..], &super::super::support::scribe::string(b"a"), &[11, 0, 2, 0, 0, 0, 0, 0]].concat();
    assert_eq!(client.call("setOption", &set).content, Content::Result(None));
    let Content::Result(Some(Value::I64(since))) = client.call("aliveSince", &[0]).content else { panic!() };
    assert!(since > 1_700_000_000, "{since}");
    let Content::Result(Some(Value::Counters(counters))) = client.call("getCounters", &[0]).content else { panic!() };
    for (name, count) in [
        ("scribe_overall:received good", 1),
        ("scribe_overall:received bad", 2),
        ("scribe_overall:received blank category", 1),
        ("zipkin:received good", 1),
        ("zipkin:received bad", 1),
        ("other:received bad", 1),
        ("blank:received blank category", 1),
    ] {
        assert!(counters.contains(&(name.to_owned(), count)), "{name} in {counters:?}");
        assert_eq!(self::counter(&mut client, name), count);
    }
    assert_eq!(self::counter(&mut client, "nothing"), 0);
}

#[test]
fn the_status_is_the_gateways_condition() {
    let rig = Rig::new();
    let mut client = connected(&rig);
    for (state, code) in [(State::Starting, 1), (State::Alive, 2), (State::Stopping, 3), (State::Warning, 5)] {
        rig.set_condition(|condition| condition.state = state);
        assert_eq!(status(&mut client), code);
    }
}

#[test]
fn shutdown_and_reinitialize_are_refused_unless_allowed() {
    let rig = Rig::new();
    let mut client = connected(&rig);
    for method in ["shutdown", "reinitialize"] {
        let oneway = frame(&message(true, ONEWAY, method, 1, &[0]));
        client.stream.write_all(&oneway).unwrap();
    }
    assert_eq!(status(&mut client), 2, "no reply came before this one");
    assert!(!rig.tasks.stopping().is_cancelled());

    let rig = Rig::with(|s| s.scribe.allow_shutdown = true);
    connected(&rig).send("shutdown", &[0]);
    let deadline = Instant::now() + LONG;
    while !rig.tasks.stopping().is_cancelled() {
        assert!(Instant::now() < deadline, "shutdown did not stop");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn connections_over_the_limit_are_closed_at_once() {
    let rig = Rig::with(|s| s.scribe.connections_max = 2);
    let mut first = connected(&rig);
    let mut second = connected(&rig);
    assert_eq!((status(&mut first), status(&mut second)), (2, 2));
    assert!(connected(&rig).is_closed());
    rig.wait_for("spangate_connections_refused_total{listener=\"scribe\",reason=\"limit\"}", 1);
    drop(first);
    rig.wait_for("spangate_connections{listener=\"scribe\"}", 1);
    assert_eq!(status(&mut connected(&rig)), 2);
}

#[test]
fn at_the_stop_the_port_closes_and_what_was_read_is_answered() {
    let rig = Rig::new();
    let (mut idle, mut busy) = (connected(&rig), connected(&rig));
    assert_eq!((status(&mut idle), status(&mut busy)), (2, 2));
    let span = entry(1, 2, &"n".repeat(5000));
    let call = frame(&message(true, CALL, "Log", 7, &log_arguments(&[("zipkin", &span)])));
    busy.stream.write_all(&call[..2000]).unwrap();
    // The frame has begun once it holds permits.
    rig.wait_for("spangate_intake_bytes", call.len() as u64 - 4);
    rig.tasks.stopping().cancel();
    assert!(idle.is_closed());
    assert!(std::net::TcpStream::connect(rig.scribe).is_err(), "the port still listens");
    busy.stream.write_all(&call[2000..]).unwrap();
    assert_eq!(busy.reply().unwrap().code(), OK);
    assert!(busy.is_closed());
    rig.assert_spans("scribe", 1, 0, &[]);
}

#[test]
fn a_taken_port_is_an_error_that_names_the_port_its_likely_owner_and_the_flag() {
    let rig = Rig::new();
    let settings = spangate::listener::scribe::Settings {
        addresses: vec![rig.scribe],
        categories: vec![],
        frame_bytes_max: 1,
        frame_timeout: LONG,
        frame_rate_min: 1,
        connections_max: 1,
        labels: vec![],
        keep_binary_annotations: true,
        allow_shutdown: false,
        replay_mark: true,
    };
    let error = spangate::listener::scribe::bind(settings).err().expect("taken").to_string();
    for part in [&rig.scribe.port().to_string(), "Flume or scribed", "--scribe-address"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn frames_cut_and_flipped_at_every_byte_never_end_the_listener() {
    let rig = Rig::with(|s| s.scribe.frame_timeout = Duration::from_millis(500));
    let span = entry(1, 2, "x");
    let payload = message(true, CALL, "Log", 1, &log_arguments(&[("zipkin", &span)]));
    for at in 0..payload.len() {
        let mut client = connected(&rig);
        let mut flipped = payload.clone();
        flipped[at] ^= 0xff;
        client.stream.write_all(&[frame(&payload[..at]), frame(&flipped)].concat()).unwrap();
    }
    rig.wait_for("spangate_connections{listener=\"scribe\"}", 0);
    assert_eq!(connected(&rig).log(&[("zipkin", &span)]), OK);
}

fn status(client: &mut Client) -> i32 {
    client.call("getStatus", &[0]).code()
}

fn counter(client: &mut Client, name: &str) -> i64 {
    match client.call("getCounter", &string_argument(name)).content {
        Content::Result(Some(Value::I64(count))) => count,
        other => panic!("{other:?}"),
    }
}
