use super::*;
use crate::archive::format::{Encoder, Format};
use crate::archive::object::Object;
use crate::archive::object::tests::object;

fn local(dir: &Path) -> Local {
    let local = Local::new(crate::disk::real(), dir.join("archive"), Some(0));
    local.open().unwrap();
    local
}

/// Stages an object without spans and publishes it.
fn put(local: &Local, object: &Object) -> Publish {
    let name = object.name("jsonl.gz");
    let staged = Encoder::new(Format::JsonLinesGzip1, object, local.stage(&name).unwrap()).unwrap().finish().unwrap();
    local.publish(&name, staged).unwrap()
}

fn staged_names(local: &Local) -> Vec<String> {
    local.disk.list(&local.dir.join(STAGING)).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn a_published_object_is_looked_up_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (local, object) = (local(dir.path()), object());
    let name = object.name("jsonl.gz");
    assert_eq!(local.look(&name).unwrap(), Look::Absent);
    assert_eq!(put(&local, &object), Publish::Done);
    assert_eq!(local.look(&name).unwrap(), Look::Object(object));
    assert_eq!(staged_names(&local), Vec::<String>::new());
    assert_eq!(local.list().unwrap().len(), 1);
}

#[test]
fn a_name_that_is_taken_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let local = local(dir.path());
    let (first, second) = (object(), Object { spans: 1, ..object() });
    assert_eq!(put(&local, &first), Publish::Done);
    assert_eq!(put(&local, &second), Publish::Exists);
    assert_eq!(local.look(&first.name("jsonl.gz")).unwrap(), Look::Object(first));
    assert_eq!(staged_names(&local), Vec::<String>::new());
}

#[test]
fn a_second_try_cuts_what_the_first_had_staged() {
    let dir = tempfile::tempdir().unwrap();
    let (local, object) = (local(dir.path()), object());
    let name = object.name("jsonl.gz");
    let mut first = local.stage(&name).unwrap();
    first.write_all(&[7; 100_000]).unwrap();
    assert_eq!(first.bytes(), 100_000);
    assert_eq!(put(&local, &object), Publish::Done);
    assert!(local.list().unwrap()[0].bytes < 1000);
}

#[test]
fn a_stranger_is_neither_an_object_nor_listed() {
    let dir = tempfile::tempdir().unwrap();
    let local = local(dir.path());
    let name = object().name("jsonl.gz");
    let file = local.disk.open(&local.dir.join("notes.txt"), Open::CreateNew).unwrap();
    file.write_at(&[IoSlice::new(b"mine")], 0).unwrap();
    local.disk.open(&local.dir.join(&name), Open::CreateNew).unwrap();
    assert!(matches!(local.look(&name).unwrap(), Look::Stranger(_)));
    assert_eq!(local.list().unwrap().iter().map(|l| l.name.clone()).collect::<Vec<_>>(), [name]);
}

#[test]
fn cleaning_takes_all_or_one_channels_leftovers() {
    let dir = tempfile::tempdir().unwrap();
    let local = local(dir.path());
    let other = Object { channel: "f".repeat(32), ..object() };
    for object in [object(), other.clone()] {
        local.stage(&object.name("jsonl.gz")).unwrap();
    }
    local.clean(Some(&object().channel)).unwrap();
    assert_eq!(staged_names(&local), [format!("{}.tmp", other.name("jsonl.gz"))]);
    local.clean(None).unwrap();
    assert_eq!(staged_names(&local), Vec::<String>::new());
}

#[test]
fn nothing_is_staged_while_less_than_the_reserve_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local { free_min_bytes: Some(u64::MAX), ..local(dir.path()) };
    let Err(StoreError::Reserve { reserve, free, .. }) = local.stage("x").map(|staged| staged.bytes()) else {
        panic!("staged without room");
    };
    assert!(free < reserve);
}

#[test]
fn a_directory_that_went_away_is_an_error_and_is_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let local = local(dir.path());
    local.disk.rename(&local.dir, &dir.path().join("elsewhere")).unwrap();
    let error = local.stage("x").map(|staged| staged.bytes()).unwrap_err();
    assert!(error.to_string().contains(&local.dir.display().to_string()), "{error}");
    assert!(local.disk.list(&local.dir).is_err());
}
