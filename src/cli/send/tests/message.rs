use super::*;
use crate::span::canonical;
use crate::wire::{Limits, proto3, scribe, v1};

fn plan(format: Format) -> Plan {
    Plan { format, seed: 5, spans: Some(1_234), batch: 100, names: true }
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
    let limits = Limits::default();
    match format {
        Format::Json => json_v2::decode(body, &limits, &mut batch).unwrap(),
        Format::Proto3 => proto3::decode(body, &limits, &mut batch).unwrap(),
        Format::Scribe => {
            assert_eq!(u32::from_be_bytes(body[..4].try_into().unwrap()) as usize, body.len() - 4);
            let header = scribe::Header::parse(&body[4..]).unwrap();
            assert_eq!((header.name, header.seqid), (scribe::LOG, super::super::thrift::SEQID));
            for entry in scribe::log_arguments(&body[4 + header.len..], &limits).unwrap().unwrap() {
                assert_eq!(entry.category, b"zipkin");
                let mut scratch = v1::Scratch::default();
                let options = v1::Options::default();
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
    for format in [Format::Scribe, Format::Json, Format::Proto3] {
        let sizes: Vec<u64> = messages(plan(format)).iter().map(|message| message.spans).collect();
        assert_eq!(sizes, [&[100; 12][..], &[34]].concat());
        assert_eq!(all_read(format).len(), 1_234);
    }
}

#[test]
fn every_format_says_the_same_of_every_span() {
    let json = all_read(Format::Json);
    assert_eq!(json, all_read(Format::Proto3));
    // Scribe, too: what a v1 entry says of a shared span's time is in its annotations.
    for (v2, v1) in json.iter().zip(all_read(Format::Scribe)) {
        assert_eq!(canonical::read(v2).unwrap(), canonical::read(&v1).unwrap());
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
