use std::io::{IoSlice, Write};

use super::*;
use crate::archive::format::{Encoder, Format};
use crate::archive::object::Object;
use crate::archive::object::tests::object;

fn local(dir: &Path) -> Local {
    let local = Local::new(crate::disk::real(), dir.join("archive"), Some(0));
    local.make().unwrap();
    local
}

/// Stages an object without spans and publishes it under its name in `dir`, which is empty or ends in `/`.
fn put(local: &Local, dir: &str, object: &Object) -> Publish {
    let name = format!("{dir}{}", object.name("jsonl.gz"));
    let staged =
        Encoder::new(Format::JsonLinesGzip1, object, local.staging.stage(&name).unwrap()).unwrap().finish().unwrap();
    local.name_it(&name, &staged).unwrap()
}

fn staged_names(local: &Local) -> Vec<String> {
    local.disk.list(&local.dir.join(STAGING)).unwrap().into_iter().map(|entry| entry.name).collect()
}

fn names(local: &Local) -> Vec<String> {
    local.objects().unwrap().into_iter().map(|listed| listed.name).collect()
}

#[test]
fn a_published_object_is_looked_up_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (local, object) = (local(dir.path()), object());
    let name = object.name("jsonl.gz");
    assert_eq!(local.look_at(&name).unwrap(), Look::Absent);
    assert_eq!(put(&local, "", &object), Publish::Done);
    assert_eq!(local.look_at(&name).unwrap(), Look::Object(object));
    assert_eq!(staged_names(&local), Vec::<String>::new());
    assert_eq!(names(&local), [name]);
}

#[test]
fn a_name_that_is_taken_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let local = local(dir.path());
    let (first, second) = (object(), Object { spans: 1, ..object() });
    assert_eq!(put(&local, "", &first), Publish::Done);
    assert_eq!(put(&local, "", &second), Publish::Exists);
    assert_eq!(local.look_at(&first.name("jsonl.gz")).unwrap(), Look::Object(first));
    assert_eq!(staged_names(&local), Vec::<String>::new());
}

#[test]
fn directories_of_a_name_are_made_and_listed_in_order_of_position() {
    let dir = tempfile::tempdir().unwrap();
    let local = local(dir.path());
    let later = Object { first: object().last + 1, last: object().last + 1, ..object() };
    let lanes = ["dt=2026-11-21/hour=07/", "dt=2026-11-21/hour=06/service=a%2Fb/"];
    assert_eq!(put(&local, lanes[0], &object()), Publish::Done);
    assert_eq!(put(&local, lanes[1], &later), Publish::Done);
    assert_eq!(put(&local, lanes[0], &object()), Publish::Exists);
    let at = |lane: &str, object: &Object| format!("{lane}{}", object.name("jsonl.gz"));
    assert_eq!(names(&local), [at(lanes[0], &object()), at(lanes[1], &later)]);
    assert_eq!(local.look_at(&at(lanes[1], &later)).unwrap(), Look::Object(later));
    assert_eq!(local.look_at(&at(lanes[1], &object())).unwrap(), Look::Absent);
    assert_eq!(local.look_at("dt=1970-01-01/hour=00/none.jsonl.gz").unwrap(), Look::Absent);
}

#[test]
fn a_second_try_cuts_what_the_first_had_staged() {
    let dir = tempfile::tempdir().unwrap();
    let (local, object) = (local(dir.path()), object());
    let name = object.name("jsonl.gz");
    let mut first = local.staging.stage(&name).unwrap();
    first.write_all(&[7; 100_000]).unwrap();
    assert_eq!(first.bytes(), 100_000);
    assert_eq!(put(&local, "", &object), Publish::Done);
    assert!(local.objects().unwrap()[0].bytes < 1000);
}

#[test]
fn a_stranger_is_neither_an_object_nor_listed() {
    let dir = tempfile::tempdir().unwrap();
    let local = local(dir.path());
    let name = object().name("jsonl.gz");
    let file = local.disk.open(&local.dir.join("notes.txt"), Open::CreateNew).unwrap();
    file.write_at(&[IoSlice::new(b"mine")], 0).unwrap();
    local.disk.open(&local.dir.join(&name), Open::CreateNew).unwrap();
    assert!(matches!(local.look_at(&name).unwrap(), Look::Stranger(_)));
    assert_eq!(names(&local), [name]);
}

#[test]
fn cleaning_takes_all_or_one_channels_leftovers() {
    let dir = tempfile::tempdir().unwrap();
    let local = local(dir.path());
    let other = Object { channel: "f".repeat(32), ..object() };
    for object in [object(), other.clone()] {
        local.staging.stage(&format!("hour=06/{}", object.name("jsonl.gz"))).unwrap();
    }
    local.staging.clean(Some(&object().channel)).unwrap();
    assert_eq!(staged_names(&local), [format!("{}.tmp", other.name("jsonl.gz"))]);
    local.staging.clean(None).unwrap();
    assert_eq!(staged_names(&local), Vec::<String>::new());
}

#[test]
fn nothing_is_staged_while_less_than_the_reserve_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let staging = Staging::new(crate::disk::real(), dir.path().to_owned(), STAGING, Some(u64::MAX));
    let Err(StoreError::Reserve { reserve, free, .. }) = staging.stage("x").map(|staged| staged.bytes()) else {
        panic!("staged without room");
    };
    assert!(free < reserve);
}

#[test]
fn a_directory_that_went_away_is_an_error_and_is_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let local = local(dir.path());
    local.disk.rename(&local.dir, &dir.path().join("elsewhere")).unwrap();
    let error = local.staging.stage("x").map(|staged| staged.bytes()).unwrap_err();
    assert!(error.to_string().contains(&local.dir.display().to_string()), "{error}");
    assert!(local.disk.list(&local.dir).is_err());
}
