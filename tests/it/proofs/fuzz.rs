//! Every reader of bytes, fed: tests/proof/fuzz.

use std::panic::{AssertUnwindSafe, catch_unwind};

use prost::Message;
use spangate::archive::note::Note;
use spangate::cli::archive::replay::state::Form;
use spangate::span::{Batch, canonical};
use spangate::wire::r#gen::zipkin_proto3::ListOfSpans;
use spangate::wire::scribe::call::LogCall;
use spangate::wire::scribe::{Header, log_arguments};
use spangate::wire::v1::encode;
use spangate::wire::v1::{self, Options};
use spangate::wire::{Limits, json_v1, json_v2, proto3, thrift};

use crate::proof::fuzz::{against_json, against_proto3, against_thrift};
use crate::proof::{Budget, fuzz};
use crate::support;

#[test]
fn every_reader_of_bytes_takes_its_corpus_and_a_few_thousand_mutations_of_it() {
    for target in fuzz::TARGETS {
        fuzz::corpus(target).iter().for_each(|input| (target.run)(input));
    }
    // Three turns of all targets.
    let tally = fuzz::run(Budget::of(1, 3 * fuzz::TARGETS.len() as u64));
    tally.assert_whole();
    assert_eq!(tally.counts.len(), fuzz::TARGETS.len());
}

#[test]
fn the_fuzzing_package_has_a_binary_for_each_target() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/Cargo.toml");
    let manifest: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let names: Vec<&str> =
        manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap()).collect();
    assert_eq!(names, fuzz::TARGETS.iter().map(|target| target.name).collect::<Vec<_>>());
}

/// What a reader refuses says nothing of what is behind it.
#[test]
fn the_corpora_of_notes_objects_and_states_have_good_ones_of_each_kind() {
    let corpus = |name: &str| fuzz::corpus(fuzz::TARGETS.iter().find(|target| target.name == name).unwrap());
    let notes: Vec<Note> = corpus("plan").iter().filter_map(|text| Note::parse(text).ok()).collect();
    let lanes = |note: &&Note| note.plan.as_ref().is_some_and(|plan| plan.recipe.lane.is_some());
    assert!(notes.iter().filter(lanes).count() >= 4, "plans of lanes");
    assert!(notes.iter().any(|note| note.plan.is_none() && !note.marks.is_empty()), "marks alone");
    assert!(notes.iter().filter(|note| note.plan.is_some() && !lanes(note)).count() >= 3, "plans of all");
    assert!(corpus("state").iter().filter(|text| Form::parse(text).is_ok()).count() >= 3);
    for kind in 0..5 {
        let mut good = corpus("object").into_iter().filter(|input| input[0] == kind);
        assert!(good.any(|input| fuzz::kept::is_whole(&input)), "an object of kind {kind} that is read");
    }
}

/// A stream that is refused at its beginning tries nothing of the framer.
#[test]
fn the_corpus_of_streams_ends_in_every_way_and_has_frames_that_are_refused() {
    let target = fuzz::TARGETS.iter().find(|target| target.name == "scribe_frames").unwrap();
    let came: Vec<_> = fuzz::corpus(target).iter().map(|input| fuzz::framer::came(input)).collect();
    for (end, at_least) in [("end", 10), ("cut", 2), ("bad length", 3), ("foreign", 3), ("slow", 2)] {
        let ends = came.iter().filter(|came| came.last() == Some(&end)).count();
        assert!(ends >= at_least, "{ends} streams end so: {end}");
    }
    let with = |what: &str| came.iter().filter(|came| came.contains(&what)).count();
    assert!(with("refused") >= 3 && with("frame") >= 20, "{came:?}");
}

fn notices(look: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(look)).is_err()
}

/// Two services, a tag at each, an annotation that is none of the core's.
fn span() -> spangate::wire::r#gen::zipkin_core::Span {
    let [mut span, _] = support::thrift::call(
        (7, 9, Some(8)),
        "get",
        1_000,
        &support::thrift::host("front", [10, 0, 0, 1], 80),
        &support::thrift::host("back", [10, 0, 0, 2], 81),
    );
    let host = support::thrift::host("front", [10, 0, 0, 1], 80);
    span.annotations.as_mut().unwrap().push(support::thrift::event(2_000, "retry", &host));
    span
}

/// The batch as it would be without its spans' tags, annotations or names.
fn lossy(batch: &Batch) -> [Batch; 3] {
    let forget: [fn(&mut spangate::wire::r#gen::zipkin_proto3::Span); 3] =
        [|span| drop(span.tags.pop_last()), |span| drop(span.annotations.pop()), |span| span.name.clear()];
    forget.map(|forget| {
        let mut list = ListOfSpans::decode(&batch.body[..]).unwrap();
        list.spans.iter_mut().for_each(forget);
        let mut lossy = Batch::default();
        proto3::decode(&list.encode_to_vec(), &Limits::default(), &mut lossy).unwrap();
        assert_ne!(lossy.body, batch.body, "there was something to lose");
        lossy
    })
}

#[test]
fn a_reader_that_loses_a_tag_an_annotation_or_a_name_is_noticed_by_each_comparison() {
    let (limits, options) = (Limits::default(), Options::default());
    let list = [&[12, 0, 0, 0, 1][..], &support::thrift::bytes(&span())].concat();
    let mut batch = Batch::default();
    v1::decode_list(&list, &limits, &options, &mut batch).unwrap();
    let (mut v1_text, mut v2_text) = (b"[".to_vec(), Vec::new());
    encode::encode_span(encode::Form::Json, canonical::span_bytes(&batch.body).unwrap(), &mut v1_text).unwrap();
    v1_text.push(b']');
    json_v2::encode_list([&batch.body[..]], &mut v2_text).unwrap();
    let mut from_v1 = Batch::default();
    json_v1::decode(&v1_text, &limits, &options, &mut from_v1).unwrap();

    against_proto3::compare(&batch.body, &batch);
    against_thrift::list(&list, &batch);
    against_json::v2(&v2_text, &batch);
    against_json::v1(&v1_text, &from_v1);
    for lossy in lossy(&batch) {
        assert!(notices(|| against_proto3::compare(&batch.body, &lossy)), "proto3");
        assert!(notices(|| against_thrift::list(&list, &lossy)), "Thrift");
        assert!(notices(|| against_json::v2(&v2_text, &lossy)), "JSON v2");
        assert!(notices(|| against_json::v1(&v1_text, &lossy)), "JSON v1");
        let read = |batch| canonical::read(canonical::span_bytes(batch).unwrap()).unwrap();
        let (said, back) = (read(&batch.body), read(&lossy.body));
        assert!(notices(|| against_json::comes_back(encode::Form::Json, &said, &[back])), "written as v1");
    }
}

#[test]
fn a_v1_span_a_call_a_header_and_an_answer_that_are_other_ones_are_noticed() {
    let (limits, options) = (Limits::default(), Options::default());
    let (theirs, bytes) = (span(), support::thrift::bytes(&span()));
    let read = || {
        let mut ours = v1::V1Span::default();
        thrift::span::read(&mut thrift::Cursor::new(&bytes), &limits, &options, &mut ours).unwrap();
        ours
    };
    against_thrift::same(&read(), &theirs);
    let forget: [fn(&mut v1::V1Span<'_>); 4] = [
        |ours| drop(ours.binary_annotations.pop()),
        |ours| drop(ours.annotations.pop()),
        |ours| ours.annotations[0].endpoint = None,
        |ours| ours.parent_id = 0,
    ];
    for forget in forget {
        let mut ours = read();
        forget(&mut ours);
        assert!(notices(|| against_thrift::same(&ours, &theirs)));
    }

    let mut frame = Vec::new();
    let mut call = LogCall::begin(5, &mut frame);
    call.entry("zipkin", b"a", &mut frame);
    call.entry("other", b"b", &mut frame);
    call.end(&mut frame);
    let payload = &frame[4..];
    let header = Header::parse(payload).unwrap();
    against_thrift::header(payload, &header);
    assert!(notices(|| against_thrift::header(payload, &Header { seqid: 6, ..header })));
    let arguments = &payload[header.len..];
    let entries: Vec<_> = log_arguments(arguments, &limits).unwrap().unwrap().collect();
    against_thrift::log(arguments, &entries);
    assert!(notices(|| against_thrift::log(arguments, &entries[..1])));

    let key = support::thrift::bytes(&spangate::wire::r#gen::scribe::LogEntry::new("key".to_owned(), None));
    let five = [&[10, 0, 0][..], &5_i64.to_be_bytes(), &[0]].concat();
    let three = [&[10, 0, 0][..], &3_i64.to_be_bytes(), &[0]].concat();
    against_thrift::answer(&key, &three, b"getCounter");
    assert!(notices(|| against_thrift::answer(&key, &five, b"getCounter")));
}
