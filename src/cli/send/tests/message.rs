use super::*;
use crate::cli::send::encoder::SEQID;
use crate::span::{Batch, canonical};
use crate::wire::{Limits, json_v1, json_v2, proto3, scribe, v1};

const FORMATS: [Format; 5] = [Format::Scribe, Format::Json, Format::Proto3, Format::JsonV1, Format::Thrift];

fn plan(format: Format) -> Plan {
    Plan { format, seed: 5, spans: Some(1_234), batch: 100, span_bytes: None, names: true }
}

fn messages(plan: Plan) -> Vec<Message> {
    let mut source = Source::new(plan, Clock::manual(1_700_000_001_000_000));
    let mut all = Vec::new();
    let mut message = Message::default();
    while source.fill(&mut message) {
        all.push(std::mem::take(&mut message));
    }
    all
}

/// The canonical spans of a message, read as the gateway reads it.
fn read(format: Format, body: &[u8]) -> Vec<Vec<u8>> {
    let mut batch = Batch::default();
    let (limits, options) = (Limits::default(), v1::Options::default());
    match format {
        Format::JsonV1 => json_v1::decode(body, &limits, &options, &mut batch).unwrap(),
        Format::Thrift => v1::decode_list(body, &limits, &options, &mut batch).unwrap(),
        Format::Json => json_v2::decode(body, &limits, &mut batch).unwrap(),
        Format::Proto3 => proto3::decode(body, &limits, &mut batch).unwrap(),
        Format::Scribe => {
            assert_eq!(u32::from_be_bytes(body[..4].try_into().unwrap()) as usize, body.len() - 4);
            let header = scribe::Header::parse(&body[4..]).unwrap();
            assert_eq!((header.name, header.seqid), (scribe::LOG, SEQID));
            for entry in scribe::log_arguments(&body[4 + header.len..], &limits).unwrap().unwrap() {
                assert_eq!(entry.category, b"zipkin");
                let mut scratch = v1::Scratch::default();
                assert_eq!(v1::decode_entry(entry.message, &limits, &options, &mut scratch, &mut batch).unwrap(), 1);
            }
        }
    }
    canonical::elements(&batch.body).map(|span| span.unwrap().to_vec()).collect()
}

fn all_read(format: Format) -> Vec<Vec<u8>> {
    messages(plan(format)).iter().flat_map(|message| read(format, &message.body)).collect()
}

#[test]
fn as_many_spans_as_asked_go_into_messages_of_the_size_asked() {
    for format in FORMATS {
        let sizes: Vec<u64> = messages(plan(format)).iter().map(|message| message.spans).collect();
        assert_eq!(sizes, [&[100; 12][..], &[34]].concat());
        assert_eq!(all_read(format).len(), 1_234);
    }
}

#[test]
fn every_format_says_the_same_of_every_span() {
    let json = all_read(Format::Json);
    assert_eq!(json, all_read(Format::Proto3));
    // v1, too: what it says of a shared span's time is in its annotations.
    for format in [Format::Scribe, Format::JsonV1, Format::Thrift] {
        for (v2, v1) in json.iter().zip(all_read(format)) {
            assert_eq!(canonical::read(v2).unwrap(), canonical::read(&v1).unwrap(), "{format:?}");
        }
    }
}

#[test]
fn names_are_those_of_the_spans_in_the_message_and_no_name_comes_twice() {
    let mut seen = std::collections::HashSet::new();
    for message in messages(plan(Format::Proto3)) {
        let spans = read(Format::Proto3, &message.body);
        assert_eq!(message.names.len(), spans.len());
        for (name, span) in message.names.iter().zip(&spans) {
            let span = canonical::read(span).unwrap();
            assert_eq!((name.trace_id, name.id, name.kind), (span.trace_id, span.id, span.kind));
            assert!(seen.insert((name.trace_id, name.id, name.kind.map(Kind::name))));
        }
    }
}

#[test]
fn without_a_ledger_messages_carry_no_names_and_a_seed_repeats_to_the_byte() {
    let plan = Plan { names: false, ..plan(Format::Json) };
    assert!(messages(plan).iter().all(|message| message.names.is_empty()));
    let bodies = |plan| messages(plan).into_iter().map(|message| message.body).collect::<Vec<_>>();
    assert_eq!(bodies(plan), bodies(plan));
    assert_ne!(bodies(plan), bodies(Plan { seed: 6, ..plan }));
}

#[test]
fn spans_are_filled_up_to_the_size_asked_and_are_otherwise_the_same() {
    let plan = plan(Format::Json);
    let filled = Plan { span_bytes: Some(640), ..plan };
    let spans = |plan| messages(plan).iter().flat_map(|message| read(Format::Json, &message.body)).collect::<Vec<_>>();
    let mut padded = 0;
    for (as_is, filled) in spans(plan).iter().zip(spans(filled)) {
        let mut json = Vec::new();
        json_v2::encode_span(&filled, &mut json).unwrap();
        let mut span = canonical::read(&filled).unwrap();
        let tags = span.tags.len();
        span.tags.retain(|(key, _)| key != "padding");
        assert_eq!(span, canonical::read(as_is).unwrap());
        if span.tags.len() == tags {
            assert!(json.len() > 640 - 16, "{}", json.len());
        } else {
            assert_eq!(json.len(), 640);
            padded += 1;
        }
    }
    assert!(padded > 1_200, "{padded}");
    assert_eq!(messages(filled)[0].body, messages(filled)[0].body);
    // What is smaller than a span leaves it as it is.
    assert_eq!(spans(Plan { span_bytes: Some(1), ..plan }), spans(plan));
}
