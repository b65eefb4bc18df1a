//! v1 spans in Thrift: against Zipkin's own codec and the generated parser.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ::thrift::protocol::{TBinaryInputProtocol, TSerializable};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use spangate::span::{ALWAYS_KEEP, Batch, Endpoint, Kind, Span, canonical};
use spangate::wire::r#gen::zipkin_core as core;
use spangate::wire::v1::{Options, Scratch, V1Span, decode_entry, decode_struct};
use spangate::wire::{Limits, scribe, thrift};

use crate::support::thrift::{self as support, Form};

const DROP: Options = Options { keep_binary_annotations: false };

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the reference codec made of an input: the bytes of a `ListOfSpans`, or its words.
type Verdict<'a> = Result<&'a str, &'a str>;

fn reference() -> impl Iterator<Item = (&'static str, Vec<u8>, Verdict<'static>)> {
    include_str!("../../data/thrift_v1/reference.tsv").lines().map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        let [name, input, verdict, output] = columns[..] else { panic!("four columns: {line}") };
        (name, unhex(input), if verdict == "ok" { Ok(output) } else { Err(output) })
    })
}

#[test]
fn the_reference_codec_says_the_same() {
    let (mut scratch, mut batch, mut wrong) = (Scratch::default(), Batch::default(), Vec::new());
    for (name, input, verdict) in reference() {
        batch.clear();
        let ours = decode_struct(&input, &Limits::default(), &DROP, &mut scratch, &mut batch);
        match (verdict, &ours) {
            (Ok(expected), Ok(_)) if hex(&batch.body) == expected => {}
            (Err(_), Err(_)) => assert_eq!(batch, Batch::default(), "{name}: a refused span left something"),
            _ => wrong.push(format!("{name}: {} expected {verdict:?} got {ours:?} {}", hex(&input), hex(&batch.body))),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// The Finagle span in `ScribeSpanConsumerTest`: MIME lines, BOOL and I32 binary annotations.
#[test]
fn a_finagle_server_span_is_decoded_as_in_zipkins_scribe_test() {
    let text = include_bytes!("../../data/thrift_v1/finagle_server.base64");
    let mut batch = Batch::default();
    assert_eq!(decode_entry(text, &Limits::default(), &DROP, &mut Scratch::default(), &mut batch), Ok(1));
    let span = only_span(&batch);
    assert_eq!((span.trace_id.high, span.trace_id.low as i64), (0, -6054243957716233329));
    assert_eq!((span.id as i64, span.parent_id as i64), (-3615651937927048332, -6054243957716233329));
    assert_eq!((span.kind, span.shared, span.debug), (Some(Kind::Server), true, false));
    assert_eq!(span.name.as_deref(), Some("gettracesbyids"));
    assert_eq!((span.timestamp_us, span.duration_us), (1442493420635000, 1442493422680000 - 1442493420635000));
    let query =
        Endpoint { service_name: Some("zipkin-query".into()), ipv4: Some([127, 0, 0, 1]), ipv6: None, port: 9411 };
    assert_eq!(span.local, Some(query.clone()));
    assert_eq!(span.remote, Some(Endpoint { service_name: None, port: 63840, ..query }));
    let times: Vec<_> = span.annotations.iter().map(|a| (a.timestamp_us, a.value.len())).collect();
    assert_eq!(times, [(1442493420747000, 2048), (1442493422583586, 78)]);
    assert_eq!(span.tags, [("srv/finagle.version".into(), "6.28.0".into())]);
}

#[test]
fn its_numbers_and_booleans_are_kept_by_default() {
    let text = include_bytes!("../../data/thrift_v1/finagle_server.base64");
    let mut batch = Batch::default();
    decode_entry(text, &Limits::default(), &Options::default(), &mut Scratch::default(), &mut batch).unwrap();
    let tags = only_span(&batch).tags;
    let expected = [("numIds", "1"), ("srv/finagle.version", "6.28.0"), ("srv/mux/enabled", "true")];
    assert_eq!(tags, expected.map(|(key, value)| (key.into(), value.into())));
}

/// `ScribeRawZipkinTracerTest`: both sides of a call in one span, with a trailing newline.
#[test]
fn a_finagle_span_of_both_sides_becomes_two() {
    let text = include_bytes!("../../data/thrift_v1/finagle_debug.base64");
    let mut batch = Batch::default();
    assert_eq!(decode_entry(text, &Limits::default(), &DROP, &mut Scratch::default(), &mut batch), Ok(2));
    let spans: Vec<_> = spans(&batch).collect();
    let [client, server] = &spans[..] else { panic!("{spans:?}") };
    let host =
        |ipv4, port| Some(Endpoint { service_name: Some("hickupquail".into()), ipv4: Some(ipv4), ipv6: None, port });
    assert_eq!((client.kind, client.timestamp_us, client.duration_us), (Some(Kind::Client), 123_000_000, 3_000_000));
    assert_eq!((&client.local, client.shared, client.debug), (&host([0, 0, 9, 19], 23), false, true));
    assert_eq!((&*client.annotations[0].value, client.annotations.len()), ("llamas", 1));
    assert_eq!((server.kind, server.timestamp_us, server.duration_us), (Some(Kind::Server), 124_000_000, 0));
    assert_eq!((&server.local, server.shared, server.debug), (&host([0, 0, 1, 77], 22), true, true));
    assert!(batch.items.iter().all(|item| item.key == 123 && item.flags == ALWAYS_KEEP));
    assert_eq!(batch.labels, ["hickupquail"]);
}

fn spans(batch: &Batch) -> impl Iterator<Item = Span<'_>> {
    canonical::elements(&batch.body).map(|element| canonical::read(element.unwrap()).unwrap())
}

fn only_span(batch: &Batch) -> Span<'_> {
    let mut all = spans(batch);
    let span = all.next().unwrap();
    assert_eq!(all.next(), None);
    span
}

#[test]
fn traces_written_by_the_generated_code_come_out_whole() {
    let mut random = fastrand::Rng::with_seed(20140609);
    let (mut scratch, mut batch) = (Scratch::default(), Batch::default());
    for span in support::trace(&mut random, 20) {
        batch.clear();
        let message = support::message(&span);
        assert_eq!(decode_entry(message.as_bytes(), &Limits::default(), &DROP, &mut scratch, &mut batch), Ok(1));
        let ours = only_span(&batch);
        let shared = span.timestamp.is_none();
        assert_eq!((ours.trace_id.low as i64, ours.id as i64), (span.trace_id.unwrap(), span.id.unwrap()));
        assert_eq!((ours.kind, ours.shared), (Some(if shared { Kind::Server } else { Kind::Client }), shared));
        assert_eq!(ours.duration_us, if shared { 8_000 } else { 10_000 });
        assert!(ours.local.is_some() && ours.remote.is_some() && ours.tags.len() == 1 && ours.annotations.is_empty());
    }
}

#[test]
fn log_calls_written_by_the_generated_code_are_read_and_answered() {
    for (form, ours) in [(Form::Strict, scribe::Form::Strict), (Form::Unversioned, scribe::Form::Unversioned)] {
        let frame = support::log_frame(form, 9, &[("zipkin", "CgAB"), ("other", "é")]);
        let payload = &frame[4..];
        let header = scribe::Header::parse(payload).unwrap();
        assert_eq!((header.name, header.seqid, header.form), (scribe::LOG, 9, ours));
        let entries = scribe::log_arguments(&payload[header.len..], &Limits::default()).unwrap().unwrap();
        let expected: [(&[u8], &[u8]); 2] = [(b"zipkin", b"CgAB"), (b"other", "é".as_bytes())];
        assert_eq!(entries.map(|entry| (entry.category, entry.message)).collect::<Vec<_>>(), expected);

        let mut reply = Vec::new();
        scribe::reply_log(&header, scribe::ResultCode::TRY_LATER, &mut reply);
        assert_eq!(support::log_result(&reply[4..]), ("Log".into(), 9, Ok(1)));
        reply.clear();
        scribe::reply_exception(&header, scribe::ExceptionKind::InternalError, "why", &mut reply);
        let (name, seqid, error) = support::log_result(&reply[4..]);
        let error = error.unwrap_err();
        assert_eq!((&*name, seqid, &*error.message), ("Log", 9, "why"));
        assert_eq!(error.kind, scribe::ExceptionKind::InternalError);
    }
}

fn any_host() -> impl Strategy<Value = core::Endpoint> {
    let ipv6 = prop_oneof![Just(vec![]), Just(vec![9, 8, 7, 6]), vec(any::<u8>(), 16)];
    (option::of(any::<i32>()), option::of(any::<i16>()), option::of("[a-zA-Z -é]{0,6}"), option::of(ipv6))
        .prop_map(|(ipv4, port, name, ipv6)| core::Endpoint::new(ipv4, port, name, ipv6))
}

prop_compose! {
    fn any_span()(
        ids in (any::<i64>(), option::of(any::<i64>()), any::<i64>(), option::of(any::<i64>())),
        name in option::of(".{0,8}"),
        events in option::of(vec((option::of(-2i64..9), option::of("[a-z]{0,3}"), option::of(any_host())), 0..5)),
        tags in option::of(vec((option::of("[a-z]{0,3}"), option::of(vec(any::<u8>(), 0..9)),
                                option::of(-1..8i32), option::of(any_host())), 0..5)),
        debug in option::of(any::<bool>()),
        times in (option::of(any::<i64>()), option::of(any::<i64>())),
    ) -> core::Span {
        let events = events.map(|list| list.into_iter().map(|(at, value, host)| core::Annotation::new(at, value, host)));
        let tags = tags.map(|list| list.into_iter().map(|(key, value, kind, host)|
            core::BinaryAnnotation::new(key, value, kind.map(core::AnnotationType), host)));
        core::Span::new(ids.0, name, ids.2, ids.1, events.map(Iterator::collect::<Vec<_>>),
            tags.map(Iterator::collect::<Vec<_>>), debug, times.0, times.1, ids.3)
    }
}

/// The endpoint that our parser makes of a generated one.
fn endpoint(host: &core::Endpoint) -> Option<Endpoint<'static>> {
    let ip = |bytes: &Option<Vec<u8>>| bytes.as_deref().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    let four = host.ipv6.as_deref().and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let name = host.service_name.as_deref().map(str::to_lowercase).filter(|name| !name.is_empty());
    let found = Endpoint {
        service_name: name.map(Into::into),
        ipv4: four.or(host.ipv4.filter(|ipv4| *ipv4 != 0).map(i32::to_be_bytes)),
        ipv6: ip(&host.ipv6),
        port: host.port.unwrap_or(0) as u16,
    };
    Some(found).filter(|found| *found != Endpoint::default())
}

fn read(bytes: &[u8]) -> thrift::Result<V1Span<'_>> {
    let mut span = V1Span::default();
    let (limits, options) = (Limits::default(), Options::default());
    thrift::span::read(&mut thrift::Cursor::new(bytes), &limits, &options, &mut span).map(|()| span)
}

proptest! {
    #[test]
    fn our_parser_and_the_generated_one_agree(span in any_span()) {
        let bytes = support::bytes(&span);
        let mut input = TBinaryInputProtocol::new(&bytes[..], true);
        // It gives defaults where a field is absent, so what is absent is compared with what was written.
        let theirs = core::Span::read_from_in_protocol(&mut input).unwrap();
        prop_assert_eq!((theirs.trace_id, theirs.id, theirs.parent_id), (span.trace_id, span.id, span.parent_id));
        prop_assert_eq!(theirs.annotations.unwrap().len(), span.annotations.as_ref().map_or(0, Vec::len));
        let ours = read(&bytes).unwrap();
        prop_assert_eq!((ours.trace_id as i64, ours.id as i64), (span.trace_id.unwrap(), span.id.unwrap()));
        prop_assert_eq!(ours.trace_id_high as i64, span.trace_id_high.unwrap_or(0));
        prop_assert_eq!(ours.parent_id as i64, span.parent_id.unwrap_or(0));
        prop_assert_eq!(ours.name.as_deref(), span.name.as_deref());
        prop_assert_eq!((ours.timestamp_us, ours.duration_us), (span.timestamp.unwrap_or(0), span.duration.unwrap_or(0)));
        prop_assert_eq!(ours.debug, span.debug.unwrap_or(false));
        let events: Vec<_> = span.annotations.iter().flatten()
            .filter(|event| event.value.is_some() && event.timestamp.unwrap_or(0) != 0)
            .map(|event| (event.timestamp.unwrap(), event.value.clone().unwrap(), event.host.as_ref().and_then(endpoint)))
            .collect();
        let found: Vec<_> = ours.annotations.iter()
            .map(|event| (event.timestamp_us, event.value.to_string(), event.endpoint.clone())).collect();
        prop_assert_eq!(found, events);
        let tags: Vec<_> = span.binary_annotations.iter().flatten()
            .filter(|tag| tag.key.is_some() && tag.value.is_some() && tag.annotation_type.is_some())
            .filter(|tag| !["sa", "ca", "ma"].contains(&&**tag.key.as_ref().unwrap()))
            .map(|tag| (tag.key.clone().unwrap(), tag.host.as_ref().and_then(endpoint))).collect();
        let found: Vec<_> = ours.binary_annotations.iter()
            .filter(|tag| !["sa", "ca", "ma"].contains(&&*tag.key))
            .map(|tag| (tag.key.to_string(), tag.endpoint.clone())).collect();
        prop_assert_eq!(found, tags);
    }

    /// Where they do not agree: the generated parser goes by a field's id alone, refuses invalid
    /// UTF-8 and types that do not exist. Both refuse what is cut short.
    #[test]
    fn both_refuse_a_span_that_is_cut(span in any_span(), cut in any::<proptest::sample::Index>()) {
        let bytes = support::bytes(&span);
        let cut = &bytes[..cut.index(bytes.len())];
        prop_assert!(core::Span::read_from_in_protocol(&mut TBinaryInputProtocol::new(cut, true)).is_err());
        prop_assert!(read(cut).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_a_refusal_leaves_nothing(mut bytes in vec(any::<u8>(), 0..80), span in any_span()) {
        let (limits, mut scratch, mut batch) = (Limits::default(), Scratch::default(), Batch::default());
        if decode_struct(&bytes, &limits, &Options::default(), &mut scratch, &mut batch).is_err() {
            prop_assert_eq!(&batch, &Batch::default());
        }
        bytes.splice(..0, support::bytes(&span));
        let _ = decode_struct(&bytes, &limits, &Options::default(), &mut scratch, &mut batch);
        prop_assert_eq!(canonical::elements(&batch.body).filter(Result::is_ok).count(), batch.items.len());
        let _ = scribe::log_arguments(&bytes, &limits);
        let _ = scribe::Header::parse_prefix(&bytes);
    }
}

/// Kept, a number under an address's key is a tag like any other: it says nothing of an address.
#[test]
fn only_true_and_text_make_an_address_of_its_key() {
    let host = support::host("be", [10, 0, 0, 1], 80);
    let tags = |key: &str, kind, value: &[u8]| {
        let tag = core::BinaryAnnotation::new(key.to_owned(), value.to_vec(), kind, host.clone());
        let span = core::Span::new(1, None, 2, None, vec![], vec![tag], None, None, None, None);
        let (mut scratch, mut batch) = (Scratch::default(), Batch::default());
        decode_struct(&support::bytes(&span), &Limits::default(), &Options::default(), &mut scratch, &mut batch)
            .unwrap();
        let span = only_span(&batch);
        let tags: Vec<_> = span.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        (span.remote.is_some(), tags.join(" "))
    };
    let none = || (false, String::new());
    assert_eq!(tags("sa", core::AnnotationType::BOOL, &[1]), (true, String::new()));
    assert_eq!(tags("sa", core::AnnotationType::STRING, b"1"), (true, String::new()));
    assert_eq!(tags("sa", core::AnnotationType::BOOL, &[0]), none());
    assert_eq!(tags("sa", core::AnnotationType::I16, &[0, 1]), (false, "sa=1".into()));
    assert_eq!(tags("error", core::AnnotationType::BOOL, &[1]), (false, "error=true".into()));
}
