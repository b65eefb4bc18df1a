//! The store's steps on a file system in memory that fails as it is told, with what HDFS asks of a rename.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::super::StoreError;
use super::*;
use crate::archive::format::{Encoder, Format};
use crate::archive::object::tests::object;

const OTHER: &str = "fedcba9876543210fedcba9876543210-0-00000000000000000007-00000000000000000008.jsonl.gz";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Stat,
    Read,
    Write,
    MakeDir,
    Rename,
    Remove,
    List,
}

/// A call that fails has had its effect, or none; of a write, half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    None,
    Whole,
}

/// Paths, with the bytes of those that are files.
#[derive(Default)]
struct Fake {
    tree: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
    fault: Mutex<Option<(Step, Effect)>>,
}

impl Fake {
    fn answer<T: Send + 'static>(
        &self,
        step: Step,
        done: impl FnOnce(&mut BTreeMap<String, Option<Vec<u8>>>) -> T,
    ) -> Answer<'_, T> {
        let fault = self.fault.lock().unwrap().take_if(|(at, _)| *at == step).map(|(_, effect)| effect);
        let done = match fault {
            Some(Effect::None) => None,
            _ => Some(done(&mut self.tree.lock().unwrap())),
        };
        Box::pin(std::future::ready(done.filter(|_| fault.is_none()).ok_or_else(|| failed(&format!("{step:?}")))))
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        self.tree.lock().unwrap().insert(path.to_owned(), Some(bytes.to_owned()));
    }

    fn fails(&self, step: Step, effect: Effect) {
        *self.fault.lock().unwrap() = Some((step, effect));
    }

    fn under(&self, start: &str) -> Vec<String> {
        let tree = self.tree.lock().unwrap();
        tree.iter()
            .filter(|(path, file)| file.is_some() && path.starts_with(start))
            .map(|(path, _)| path.clone())
            .collect()
    }
}

fn failed(reason: &str) -> StoreError {
    StoreError::Remote { what: "test", place: "fake".to_owned(), reason: reason.to_owned() }
}

fn has_dir(tree: &BTreeMap<String, Option<Vec<u8>>>, path: &str) -> bool {
    let (dir, _) = path.rsplit_once('/').unwrap();
    dir.is_empty() || tree.get(dir) == Some(&None)
}

impl Files for Fake {
    fn stat<'a>(&'a self, path: &'a str) -> Answer<'a, Option<Stat>> {
        self.answer(Step::Stat, |tree| {
            let stat = |file: &Option<Vec<u8>>| Stat {
                bytes: file.iter().flatten().count() as u64,
                is_dir: file.is_none(),
                written_us: None,
            };
            tree.get(path).map(stat)
        })
    }

    fn read<'a>(&'a self, path: &'a str, at: u64, len: u64) -> Answer<'a, Bytes> {
        let range = usize::try_from(at).unwrap()..usize::try_from(at + len).unwrap();
        self.answer(Step::Read, |tree| Bytes::copy_from_slice(&tree[path].as_ref().unwrap()[range]))
    }

    fn write<'a>(&'a self, path: &'a str, staged: Arc<Staged>) -> Answer<'a, ()> {
        let bytes = staged.read(0, staged.bytes(), 1 << 20).unwrap().concat();
        if *self.fault.lock().unwrap() == Some((Step::Write, Effect::None)) {
            self.put(path, &bytes[..bytes.len() / 2]);
        }
        self.answer(Step::Write, |tree| {
            assert!(has_dir(tree, path) && !tree.contains_key(path));
            tree.insert(path.to_owned(), Some(bytes));
        })
    }

    fn make_dir<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        self.answer(Step::MakeDir, |tree| {
            let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
            ends.for_each(|end| assert_eq!(tree.entry(path[..end].to_owned()).or_default(), &None));
        })
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Answer<'a, Publish> {
        self.answer(Step::Rename, |tree| {
            assert!(has_dir(tree, to), "{to} has no directory");
            if tree.contains_key(to) {
                return Publish::Exists;
            }
            let moved = tree.remove(from).expect("it was written");
            tree.insert(to.to_owned(), moved);
            Publish::Done
        })
    }

    fn remove<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        self.answer(Step::Remove, |tree| drop(tree.remove(path)))
    }

    fn list<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<Entry>> {
        self.answer(Step::List, |tree| {
            let entry = |(at, file): (&String, &Option<Vec<u8>>)| {
                let name = at.strip_prefix(path)?.strip_prefix('/').filter(|name| !name.contains('/'))?;
                let stat =
                    Stat { bytes: file.iter().flatten().count() as u64, is_dir: file.is_none(), written_us: None };
                Some(Entry { name: name.to_owned(), stat })
            };
            tree.iter().filter_map(entry).collect()
        })
    }
}

struct Rig {
    _dir: tempfile::TempDir,
    store: Hdfs<Fake>,
    /// Of [`object`], with a directory.
    name: String,
}

impl Rig {
    fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::new(crate::disk::real(), dir.path().to_owned(), "staging", Some(0));
        let store = Hdfs { files: Fake::default(), prefix: "spans/x".to_owned(), staging };
        Rig { _dir: dir, store, name: format!("dt=2026-11-21/{}", object().name("jsonl.gz")) }
    }

    /// Stages an object of these facts and publishes it under our name.
    async fn publish(&self, object: &Object) -> Result<Publish, StoreError> {
        let staged = self.store.staging.stage(&self.name).unwrap();
        let staged = Encoder::new(Format::JsonLinesGzip1, object, staged).unwrap().finish().unwrap();
        self.store.publish(&self.name, object, staged, None).await
    }

    async fn look(&self) -> Result<Look, StoreError> {
        self.store.look(&self.name).await
    }

    fn unfinished(&self) -> Vec<String> {
        self.store.files.under("/spans/x/_spangate/")
    }
}

#[tokio::test]
async fn an_object_gets_its_name_when_it_is_whole_and_nothing_else_stays() {
    let rig = Rig::new();
    assert_eq!(rig.look().await.unwrap(), Look::Absent);
    assert_eq!(rig.publish(&object()).await.unwrap(), Publish::Done);
    assert_eq!(rig.look().await.unwrap(), Look::Object(object()));
    assert_eq!(rig.store.files.under("/"), [format!("/spans/x/{}", rig.name)]);
    assert!(rig.store.staging.disk.list(&rig._dir.path().join("staging")).unwrap().is_empty());
}

#[tokio::test]
async fn a_name_that_is_taken_is_left_as_it_is() {
    let rig = Rig::new();
    let other = Object { spans: 1, ..object() };
    assert_eq!(rig.publish(&other).await.unwrap(), Publish::Done);
    assert_eq!(rig.publish(&object()).await.unwrap(), Publish::Exists);
    assert_eq!(rig.look().await.unwrap(), Look::Object(other));
    assert_eq!(rig.unfinished(), Vec::<String>::new());
}

#[tokio::test]
async fn a_rename_whose_answer_was_lost_is_seen_by_the_next_look() {
    let rig = Rig::new();
    rig.store.files.fails(Step::Rename, Effect::Whole);
    rig.publish(&object()).await.unwrap_err();
    assert_eq!(rig.look().await.unwrap(), Look::Object(object()));
}

#[tokio::test]
async fn a_step_that_fails_in_any_way_is_an_error_and_a_later_try_ends_in_the_same_object() {
    use Step::{List, MakeDir, Read, Remove, Rename, Stat, Write};
    for step in [Stat, Read, Write, MakeDir, Rename, Remove, List] {
        for effect in [Effect::None, Effect::Whole] {
            let rig = Rig::new();
            rig.publish(&Object { spans: 1, ..object() }).await.unwrap();
            rig.store.files.tree.lock().unwrap().retain(|_, file| file.is_none());
            rig.store.files.put(&rig.store.attempt(&object().name("jsonl.gz")), b"left by a crash");
            rig.store.files.fails(step, effect);
            let mut failures = 0;
            loop {
                match rig.look().await {
                    Ok(Look::Absent) => failures += u32::from(rig.publish(&object()).await.is_err()),
                    Ok(found) => break assert_eq!(found, Look::Object(object()), "{step:?} {effect:?}"),
                    Err(_) => failures += 1,
                }
            }
            assert_eq!(failures, 1, "{step:?} {effect:?}");
            rig.store.clean(Some(&object().channel)).await.unwrap();
            assert_eq!(rig.store.files.under("/"), [format!("/spans/x/{}", rig.name)], "{step:?} {effect:?}");
        }
    }
}

#[tokio::test]
async fn a_start_removes_what_is_left_of_its_own_channel_alone() {
    let rig = Rig::new();
    let (ours, theirs) = (rig.store.attempt(&object().name("parquet")), rig.store.attempt(OTHER));
    rig.store.files.put(&ours, b"ours");
    rig.store.files.put(&theirs, b"at work");
    rig.publish(&object()).await.unwrap();
    assert_eq!(rig.unfinished(), [ours, theirs.clone()], "the try of another object is not this one's");
    rig.store.clean(Some(&object().channel)).await.unwrap();
    assert_eq!(rig.unfinished(), [theirs]);
}

#[tokio::test]
async fn objects_are_listed_in_order_of_position_and_nothing_else_is() {
    let rig = Rig::new();
    rig.publish(&object()).await.unwrap();
    for path in ["dt=2026-11-21/notes.txt", &format!("_spangate/{OTHER}"), &format!(".hidden/{OTHER}"), OTHER] {
        let path = rig.store.path(path);
        rig.store.files.make_dir(path.rsplit_once('/').unwrap().0).await.unwrap();
        rig.store.files.put(&path, b"123");
    }
    let listed = rig.store.list().await.unwrap();
    let names: Vec<_> = listed.iter().map(|listed| listed.name.as_str()).collect();
    assert_eq!(names, [rig.name.as_str(), OTHER]);
    assert_eq!(listed[1].bytes, 3);
}

#[tokio::test]
async fn what_no_archive_wrote_is_a_stranger() {
    let rig = Rig::new();
    let path = rig.store.path(&rig.name);
    rig.store.files.put(&path, b"not gzip");
    assert!(matches!(rig.look().await.unwrap(), Look::Stranger(_)));
    rig.store.files.tree.lock().unwrap().insert(path, None);
    assert_eq!(rig.look().await.unwrap(), Look::Stranger("a directory".to_owned()));
}

#[test]
fn paths_begin_at_the_prefix_and_no_two_tries_share_one() {
    let mut store = Rig::new().store;
    assert_eq!(store.path(""), "/spans/x");
    assert_eq!(store.path("a/b"), "/spans/x/a/b");
    let attempts = [store.attempt("f"), store.attempt("f")];
    assert!(attempts.iter().all(|attempt| attempt.starts_with("/spans/x/_spangate/f.")), "{attempts:?}");
    assert_ne!(attempts[0], attempts[1]);
    store.prefix = String::new();
    assert_eq!((store.path("").as_str(), store.path("a/b").as_str()), ("/", "/a/b"));
}
