//! Where a storm's archive is, and how its settings change with each start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::names::{self, Name};
use crate::support::s3::{Fault, Op, S3};

/// Directories that a template may make; a host that changes its name changes them, too.
const PATHS: [&str; 4] = ["", "dt=%Y-%m-%d/hour=%H/", "host=a/%Y%m%d/%H%M/", "{channel}/"];

const OPS: [Op; 6] = [Op::Put, Op::Head, Op::Begin, Op::Part, Op::Complete, Op::Abort];

pub enum Place {
    /// Within the first data directory.
    Builtin(PathBuf),
    /// Of the user's.
    Directory(PathBuf),
    Bucket(Bucket),
}

impl Place {
    pub fn in_files(chance: &mut Rng, dir: &Path, _runtime: &Runtime) -> Place {
        match chance.bool() {
            true => Place::Builtin(dir.join("gateway-0/data/archive")),
            false => Place::Directory(dir.join("lake")),
        }
    }

    pub fn in_a_bucket(chance: &mut Rng, _dir: &Path, runtime: &Runtime) -> Place {
        Place::Bucket(Bucket::start(chance, runtime))
    }

    /// Data directories whose gateways write here in turn.
    pub fn gateways(&self) -> usize {
        if matches!(self, Place::Bucket(_)) { 2 } else { 1 }
    }

    /// What the gateway has in its environment.
    pub fn variables(&self) -> Vec<(&'static str, &'static str)> {
        match self {
            Place::Bucket(_) => vec![("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")],
            _ => Vec::new(),
        }
    }

    /// The archive's part of the settings; small objects, so that kills fall into their publishing.
    pub fn settings(&self, chance: &mut Rng) -> String {
        let one_of = |chance: &mut Rng, words: &[&'static str]| *chance.choice(words).expect("there are some");
        let mut text = format!("[drain.archive]\narchive = \"{}\"\n", self.url());
        let mut set = |key: &str, value: &str| text += &format!("{key} = \"{value}\"\n");
        if let Place::Bucket(bucket) = self {
            set("endpoint", &bucket.server.url());
            set("timeout", "300ms");
            set("put_max", one_of(chance, &["48MiB", "1KiB"]));
        }
        if !matches!(self, Place::Builtin(_)) {
            set("path", one_of(chance, &PATHS));
            set("zone", one_of(chance, &["UTC", "+05:45", "-08:00"]));
        }
        set("format", one_of(chance, &["jsonl.gz", "jsonl.zst", "parquet"]));
        set("roll_size", &format!("{}KiB", chance.u32(4..200)));
        set("roll_age", &format!("{}ms", chance.u32(100..600)));
        set("roll_idle", "100ms");
        text
    }

    fn url(&self) -> String {
        match self {
            Place::Builtin(_) => "builtin".to_owned(),
            Place::Directory(dir) => format!("file://{}", dir.display()),
            Place::Bucket(_) => "s3://spans/some/prefix".to_owned(),
        }
    }

    /// From now on it does what it is asked.
    pub fn calm(&mut self, runtime: &Runtime) {
        if let Place::Bucket(bucket) = self {
            bucket.calm.cancel();
            runtime.block_on(&mut bucket.weather).expect("the weather ends when it is told");
        }
    }

    /// How often each span stands in its objects.
    pub fn names(&self) -> BTreeMap<Name, u32> {
        let mut found = BTreeMap::new();
        for (name, bytes) in self.objects() {
            for span in names::of_object(&name, &bytes) {
                *found.entry(span).or_default() += 1;
            }
        }
        found
    }

    fn objects(&self) -> Vec<(String, Bytes)> {
        let read = |path: PathBuf| (path.display().to_string(), Bytes::from(std::fs::read(&path).unwrap()));
        match self {
            Place::Builtin(dir) | Place::Directory(dir) => files(dir).into_iter().map(read).collect(),
            Place::Bucket(Bucket { server, .. }) => {
                server.objects().into_iter().map(|(key, stored)| (key, stored.bytes)).collect()
            }
        }
    }

    /// What happened there that must not.
    pub fn faults(&self) -> Vec<String> {
        let left = |path: PathBuf| format!("promise 3: left unfinished: {}", path.display());
        match self {
            Place::Builtin(dir) | Place::Directory(dir) => {
                files(&dir.join("_spangate")).into_iter().map(left).collect()
            }
            Place::Bucket(Bucket { server, .. }) => {
                let over = Some(server.overwritten()).filter(|over| *over > 0);
                over.map(|over| format!("promise 3: {over} objects were written over")).into_iter().collect()
            }
        }
    }

    /// What it had to do with.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        let objects = ("objects", self.objects().len() as u64);
        match self {
            Place::Bucket(Bucket { server, .. }) => {
                let asked = |ops: &[Op]| ops.iter().map(|op| server.asked(*op)).sum();
                let after = ("requests to the store", asked(&OPS));
                vec![
                    objects,
                    after,
                    ("of them for uploads in parts", asked(&OPS[2..])),
                    ("faults of the store", server.faults()),
                ]
            }
            _ => vec![objects],
        }
    }
}

/// The files of a directory and those below, but for what is staged.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let below = |path: PathBuf| match path.is_dir() {
        true if path.ends_with("_spangate") => Vec::new(),
        true => files(&path),
        false => vec![path],
    };
    entries.flat_map(|entry| below(entry.unwrap().path())).collect()
}

/// A store that throttles, fails, hangs and loses its answers, before and after it did what it was asked.
pub struct Bucket {
    server: Arc<S3>,
    calm: CancellationToken,
    weather: JoinHandle<()>,
}

impl Bucket {
    fn start(chance: &mut Rng, runtime: &Runtime) -> Bucket {
        let server = Arc::new(runtime.block_on(S3::start()));
        let calm = CancellationToken::new();
        let weather = runtime.spawn(weather(server.clone(), calm.clone(), chance.fork()));
        Bucket { server, calm, weather }
    }
}

async fn weather(server: Arc<S3>, calm: CancellationToken, mut chance: Rng) {
    let mut turns = 0_u32;
    loop {
        server.forget_the_script();
        for op in OPS {
            let one = |chance: &mut Rng| chance.bool().then(|| Fault::ALL[chance.usize(..Fault::ALL.len())]);
            server.script(op, [one(&mut chance), one(&mut chance)]);
        }
        // An outage, now and then.
        turns += 1;
        server.always((turns % 8 == 7).then_some(Fault::SlowDown));
        let turn = Duration::from_millis(chance.u64(20..300));
        if timeout(turn, calm.cancelled()).await.is_ok() {
            server.forget_the_script();
            server.always(None);
            return;
        }
    }
}
