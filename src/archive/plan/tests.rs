use super::super::object::tests::object;
use super::*;
use crate::archive::note::NoteError;
use crate::drain::sieve::{Filter, Sieve, TEXT_BYTES_MAX};

fn plan() -> Plan {
    planned_in(&Target::Local { dir: "/srv/spans of all".into() })
}

fn planned_in(target: &Target) -> Plan {
    Plan::new(recipe(Sieve::default()), Place::of(target).unwrap(), "dt=2026-11-21/hour=06/", object())
}

fn recipe(sieve: Sieve) -> Recipe {
    Recipe { format: Format::JsonLinesGzip1, rule: Rule { sieve, ..Rule::default() }, lane: None }
}

fn to_note(plan: &Plan) -> Vec<u8> {
    Note { plan: Some(plan.clone()), ..Note::default() }.to_bytes()
}

#[test]
fn a_note_comes_back_as_the_plan() {
    let built_in = planned_in(&Target::BuiltIn { dir: "/data/archive".into(), keep_bytes: 1 });
    let longest = planned_in(&Target::Local { dir: format!("/{}", "d".repeat(DIR_BYTES_MAX - 1)).into() });
    let mut sampled = longest.clone();
    sampled.name.insert_str(0, &"d".repeat(path::LANE_BYTES_MAX - "dt=2026-11-21/hour=06/".len()));
    let services = (0..8).map(|n| format!("{n:049}")).collect();
    sampled.recipe = recipe(Sieve::new(Filter { services, ..Filter::default() }, 0.1));
    assert!((400..TEXT_BYTES_MAX).contains(&sampled.recipe.rule.sieve.to_string().len()), "about the longest");
    for plan in [plan(), built_in, longest, sampled] {
        assert_eq!(Plan::from_note(&to_note(&plan)), Ok(Some(plan)));
    }
}

#[test]
fn a_directory_that_a_note_cannot_hold_is_refused_by_name() {
    for dir in ["/a\nname x".to_owned(), format!("/{}", "d".repeat(DIR_BYTES_MAX))] {
        let error = Place::of(&Target::Local { dir: dir.clone().into() }).unwrap_err();
        assert!(error.to_string().starts_with(&dir), "{error}");
    }
}

#[test]
fn a_place_that_is_no_store_is_refused() {
    let note = String::from_utf8(to_note(&plan())).unwrap();
    for place in ["place file://srv\n", "place elsewhere\n", "place \n"] {
        let changed = note.replace("place file:///srv/spans of all\n", place);
        assert!(matches!(Plan::from_note(changed.as_bytes()), Err(NoteError::Line { line: 4, .. })), "{place}");
    }
}

#[test]
fn an_empty_note_is_no_plan() {
    assert_eq!(Plan::from_note(b""), Ok(None));
}

#[test]
fn a_plan_of_another_version_is_refused_and_named() {
    let note = String::from_utf8(to_note(&plan())).unwrap().replace("plan 1", "plan 3");
    let error = Plan::from_note(note.as_bytes()).unwrap_err();
    assert_eq!(error, NoteError::Version { found: "spangate plan 3".into() });
    assert!(error.to_string().contains("spangate plan 1"), "{error}");
}

#[test]
fn a_plan_of_an_unknown_encoder_or_filter_is_refused() {
    let note = String::from_utf8(to_note(&plan())).unwrap();
    let encoder = note.replace("jsonl.gz/1", "jsonl.gz/9");
    assert!(matches!(Plan::from_note(encoder.as_bytes()), Err(NoteError::Format(_))));
    let filter = note.replace("filter \n", "filter service=a\n");
    let error = Plan::from_note(filter.as_bytes()).unwrap_err();
    assert!(matches!(&error, NoteError::Filter { found, .. } if found == "service=a"), "{error}");
}

#[test]
fn a_plan_without_directories_is_read_as_ever() {
    let flat = Plan::new(recipe(Sieve::default()), Place::BuiltIn, "", object());
    assert!(!flat.name.contains('/'));
    assert_eq!(Plan::from_note(&to_note(&flat)), Ok(Some(flat)));
}

#[test]
fn a_name_that_leaves_its_place_or_is_not_clean_is_refused() {
    let names = [
        "../x",
        "a/../x",
        "a/..",
        "/x",
        "/",
        "a//x",
        "a/",
        "",
        ".",
        "..",
        "./x",
        "a/.x",
        "_spangate/x",
        "a/_x",
        "a\0/x",
        "a/\u{85}x",
    ];
    for name in names {
        let outside = Plan { name: name.into(), ..plan() };
        let read = Plan::from_note(&to_note(&outside));
        assert!(matches!(read, Err(NoteError::Line { line: 5, .. })), "{name:?}: {read:?}");
    }
}

#[test]
fn a_note_cut_or_flipped_at_any_byte_is_never_the_same_plan() {
    let note = to_note(&plan());
    for at in 0..note.len() {
        let read = Plan::from_note(&note[..at]);
        assert!(at == 0 || read.is_err(), "cut at {at}: {read:?}");
        let mut flipped = note.clone();
        flipped[at] ^= 0x01;
        assert_ne!(Plan::from_note(&flipped), Ok(Some(plan())), "flipped at {at}");
    }
}

#[test]
fn a_plan_for_a_store_records_its_endpoint_and_the_upload_that_was_begun() {
    let remote = |endpoint: &str| Remote::parse("s3://spans/a=b/50%").unwrap().at(endpoint).unwrap();
    let longest = format!("http://{}", "h".repeat(393));
    for endpoint in ["http://minio:9000", &longest] {
        let mut plan = planned_in(&Target::Remote(remote(endpoint)));
        assert_eq!(Plan::from_note(&to_note(&plan)), Ok(Some(plan.clone())));
        plan.upload = Some("u".repeat(UPLOAD_BYTES_MAX));
        assert_eq!(Plan::from_note(&to_note(&plan)), Ok(Some(plan.clone())));
        let note = String::from_utf8(to_note(&plan)).unwrap();
        assert!(note.contains(&format!("\nplace s3://spans/a=b/50% {endpoint}\n")), "{note}");
        assert!(matches!(
            Plan::from_note(note.replace("s3://", "s4://").as_bytes()),
            Err(NoteError::Line { line: 4, .. })
        ));
        let more = format!("{note}upload again\n");
        assert!(matches!(Plan::from_note(more.as_bytes()), Err(NoteError::Line { line: 8, .. })));
    }
}

#[test]
fn a_plan_for_hdfs_records_its_place() {
    let plan = planned_in(&Target::Remote(Remote::parse("hdfs://namenode:9000/a=b/50%").unwrap()));
    assert_eq!(Plan::from_note(&to_note(&plan)), Ok(Some(plan.clone())));
    let note = String::from_utf8(to_note(&plan)).unwrap();
    assert!(note.contains("\nplace hdfs://namenode:9000/a=b/50%\n"), "{note}");
}
