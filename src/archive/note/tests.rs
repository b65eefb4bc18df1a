use super::super::object::tests::object;
use super::*;
use crate::archive::path::value::VALUE_BYTES_MAX;
use crate::archive::path::{LANE_BYTES_MAX, TEXT_BYTES_MAX as PATH_BYTES_MAX};
use crate::archive::plan::{DIR_BYTES_MAX, UPLOAD_BYTES_MAX};
use crate::archive::target::Remote;
use crate::drain::sieve::{Filter, TEXT_BYTES_MAX};

fn rule(path: &str) -> Rule {
    Rule { sieve: Sieve::default(), path: Template::parse(path).unwrap().on_host("gate-1") }
}

fn marks(lanes: usize) -> Marks {
    marks_from(1 << 50, lanes)
}

fn marks_from(base: u64, lanes: usize) -> Marks {
    let mut marks = Marks::default();
    (0..lanes as u32).for_each(|n| marks.set(n.wrapping_mul(0x9E37_79B9), base + u64::from(n) * 0x0111_1111));
    marks
}

fn note(rule: Rule, lanes: usize, dir: &str, place: Place) -> Note {
    let recipe = Recipe { format: Format::Parquet1, rule: rule.clone(), lane: Some(Lane::new(dir)) };
    Note { rule, marks: marks(lanes), plan: Some(Plan::new(recipe, place, dir, object())) }
}

fn usual() -> Note {
    note(rule("dt=%Y-%m-%d/{host}/service={service}"), 3, "dt=2026-11-21/gate-1/service=a%2Fb/", Place::BuiltIn)
}

#[test]
fn a_note_comes_back_with_its_rule_marks_and_plan() {
    let zoned = Rule { path: rule("%H/{zone}").path.in_zone("-09:30".parse().unwrap()), ..rule("") };
    let rounded = Rule { path: zoned.path.clone().rounded(Some(std::time::Duration::from_secs(600))), ..rule("") };
    let sieve = Sieve::new(Filter { services: vec!["a".into()], ..Filter::default() }, 0.1);
    let sampled = Rule { sieve, ..rule("{category}/{peer}/{listener}/{channel}") };
    let positions = note(rule("{service}/{first}/{last}"), 1, "a/{first}/{last}/", Place::BuiltIn);
    assert!(positions.plan.as_ref().unwrap().name.starts_with("a/000"), "filled in");
    let mut notes = vec![usual(), Note { plan: None, ..usual() }, Note { marks: marks(0), ..usual() }, positions];
    notes.extend([zoned, rounded, sampled].map(|rule| note(rule, 2, "x/", Place::BuiltIn)));
    for note in notes {
        let bytes = note.to_bytes();
        assert_eq!(Note::parse(&bytes), Ok(note), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn what_has_neither_plan_nor_marks_is_empty() {
    let nothing = Note { plan: None, marks: marks(0), ..usual() };
    assert_eq!(nothing.to_bytes(), b"");
    assert_eq!(Note::parse(b""), Ok(Note::default()));
}

#[test]
fn a_note_is_text_that_a_person_can_read() {
    let text = String::from_utf8(usual().to_bytes()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..3],
        ["spangate plan 2", "filter ", "path received UTC 0 gate-1 dt=%Y-%m-%d/{host}/service={service}"]
    );
    assert!(lines[3].starts_with("published 1125899906842624 "), "{text}");
    assert_eq!(lines[4..7], ["format parquet/1", "place builtin", "lane dt=2026-11-21/gate-1/service=a%2Fb/"]);
}

#[test]
fn a_note_cut_or_flipped_at_any_byte_is_never_the_same() {
    let note = usual();
    let bytes = note.to_bytes();
    for at in 0..bytes.len() {
        assert_ne!(Note::parse(&bytes[..at]), Ok(note.clone()), "cut at {at}");
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x01;
        assert_ne!(Note::parse(&flipped), Ok(note.clone()), "flipped at {at}");
    }
}

#[test]
fn a_lane_that_leaves_its_place_is_refused() {
    let text = String::from_utf8(usual().to_bytes()).unwrap();
    for dir in ["../", "a/../", "/", "/a/", "_x/", "a//", ".a/"] {
        let changed = text.replace("lane dt=2026-11-21/gate-1/service=a%2Fb/", &format!("lane {dir}"));
        assert!(matches!(Note::parse(changed.as_bytes()), Err(NoteError::Line { line: 7, .. })), "{dir}");
    }
    for host in ["../x", "a/b", ".h", "_h"] {
        let changed = text.replace(" gate-1 ", &format!(" {host} "));
        assert!(matches!(Note::parse(changed.as_bytes()), Err(NoteError::Line { line: 3, .. })), "{host}");
    }
}

/// The longest of everything, by rule.
fn greatest(rule: Rule) -> Vec<Note> {
    let lanes = Note::lanes_max(&rule);
    let dir = format!("{}/", "d".repeat(LANE_BYTES_MAX - 1));
    let far = format!("s3://{}/{}", "b".repeat(63), "p".repeat(512));
    let remote = Remote::parse(&far).unwrap().at(&format!("http://{}", "h".repeat(393))).unwrap();
    let places = [Place::Remote(remote), Place::Dir(format!("/{}", "d".repeat(DIR_BYTES_MAX - 1)).into())];
    let notes = places.into_iter().map(|place| {
        let mut note = note(rule.clone(), lanes, &dir, place);
        note.marks = marks_from(u64::MAX - (1 << 33), lanes);
        let plan = note.plan.as_mut().unwrap();
        let remote = matches!(plan.place, Place::Remote(_));
        plan.upload = remote.then(|| "u".repeat(UPLOAD_BYTES_MAX));
        plan.recipe.format = Format::JsonLinesZstd1;
        let object = &mut plan.object;
        (object.partition, object.first, object.last) = (u32::MAX, u64::MAX - 2, u64::MAX - 1);
        (object.spans, object.bytes) = (u64::MAX, u64::MAX);
        note
    });
    notes.collect()
}

#[test]
fn the_greatest_note_fits_whatever_is_configured() {
    let usual = rule("dt=%Y-%m-%d/hour=%H/service={service}/");
    let services = (0..8).map(|n| format!("{n:0>56}")).collect();
    let sieve = Sieve::new(Filter { services, ..Filter::default() }, 0.1);
    assert!((500..=TEXT_BYTES_MAX).contains(&sieve.to_string().len()), "{}", sieve.to_string().len());
    let path = format!("{}{{service}}{{category}}{{host}}", "%B".repeat(5));
    let path = Template::parse(&path).unwrap().in_zone("-14:00".parse().unwrap()).on_host(&"h".repeat(64));
    let path = path.rounded(Some(std::time::Duration::from_secs(86_400)));
    assert_eq!(Note::lanes_max(&usual), LANES_MAX);
    let most = Rule { sieve, path };
    let longest = "received -14:00 86400 ".len() + VALUE_BYTES_MAX + 1 + PATH_BYTES_MAX + TEXT_BYTES_MAX;
    assert_eq!((NOTE_BYTES_MAX - PLAN_BYTES_MAX - longest) / MARK_BYTES, 17, "as the documents say");
    assert!((17..LANES_MAX).contains(&Note::lanes_max(&most)));
    for note in greatest(usual).into_iter().chain(greatest(most)) {
        let bytes = note.to_bytes();
        assert!(bytes.len() <= NOTE_BYTES_MAX, "{}", bytes.len());
    }
}
