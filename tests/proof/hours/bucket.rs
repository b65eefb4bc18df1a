//! A simulated object store: it throttles, loses replies, leaves uploads half done, is late.
//!
//! It outlives the gateway's process. An upload in parts is named by `begin`, becomes an object with its last step and
//! none after it was abandoned; a put is on condition that its name is free. What a crash cuts off takes effect by
//! chance, at once or later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use spangate::archive::object::{Object, ObjectName};
use spangate::archive::store::{Answer, Listed, Look, Publish, Staged, Staging, Store, StoreError};

use super::Plant;
use super::world::World;

/// In one request; more goes in parts.
const PUT_BYTES_MAX: u64 = 4_000;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mood {
    Throttles,
    LosesReplies,
    Hangs,
    /// An upload ends after some of its parts.
    Breaks,
    Slow,
}

impl Mood {
    pub fn kind(self) -> &'static str {
        match self {
            Mood::Throttles => "store throttles",
            Mood::LosesReplies => "store's lost reply",
            Mood::Hangs => "store hangs",
            Mood::Breaks => "partial upload",
            Mood::Slow => "slow store",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub number: u64,
    pub from: Duration,
    pub until: Duration,
    pub mood: Mood,
}

/// The bucket itself.
pub struct Bucket {
    world: Arc<World>,
    windows: Vec<Window>,
    inner: Mutex<Inner>,
}

struct Inner {
    rng: Rng,
    objects: BTreeMap<String, (Object, Bytes)>,
    /// Uploads begun and neither complete nor abandoned.
    uploads: BTreeSet<String>,
    begun: u64,
    /// What takes effect later.
    late: Vec<(Duration, Write)>,
}

/// A write, whole.
struct Write {
    name: String,
    object: Object,
    bytes: Bytes,
    upload: Option<String>,
}

impl Inner {
    /// Whether the write took effect, or its name was taken.
    fn apply(&mut self, write: Write) -> Option<Publish> {
        let uploaded = write.upload.as_ref().is_none_or(|upload| self.uploads.remove(upload));
        if !uploaded {
            return None;
        }
        if write.upload.is_none() && self.objects.contains_key(&write.name) {
            return Some(Publish::Exists);
        }
        self.objects.insert(write.name, (write.object, write.bytes));
        Some(Publish::Done)
    }
}

impl Bucket {
    pub fn new(world: &Arc<World>, windows: Vec<Window>, seed: u64) -> Arc<Bucket> {
        let inner = Inner {
            rng: Rng::with_seed(seed),
            objects: BTreeMap::new(),
            uploads: BTreeSet::new(),
            begun: 0,
            late: Vec::new(),
        };
        Arc::new(Bucket { world: world.clone(), windows, inner: Mutex::new(inner) })
    }

    /// The bucket as the gateway's process sees it.
    pub fn store(self: &Arc<Self>, staging: Staging) -> Arc<dyn Store> {
        Arc::new(View { bucket: self.clone(), staging })
    }

    pub fn objects(&self) -> Vec<(String, Bytes)> {
        self.inner().objects.iter().map(|(name, (_, bytes))| (name.clone(), bytes.clone())).collect()
    }

    /// What is there by now.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        let (now, mut inner) = (self.world.now(), self.inner.lock().unwrap());
        let (due, late) = std::mem::take(&mut inner.late).into_iter().partition(|(at, _)| *at <= now);
        inner.late = late;
        for (_, write) in due {
            inner.apply(write);
        }
        inner
    }

    fn done(&self, write: Write) -> Option<Publish> {
        if self.world.is_planted(Plant::PublishedNowhere) {
            return Some(Publish::Done);
        }
        if self.world.is_planted(Plant::PublishedTwice) {
            let name = write.name.replace("-0-", "-1-");
            self.inner().objects.insert(name, (write.object.clone(), write.bytes.clone()));
        }
        self.inner().apply(write)
    }

    fn window(&self) -> Option<&Window> {
        let now = self.world.now();
        self.windows.iter().find(|window| (window.from..window.until).contains(&now))
    }

    /// Waits as a request does, and fails where it is to fail before anything is done. The mood that is left says what
    /// goes wrong later.
    async fn request(&self, what: &'static str) -> Result<Option<Mood>, StoreError> {
        let window = self.window().copied();
        let millis = |range| Duration::from_millis(self.inner().rng.u64(range));
        let wait = match window.map(|window| window.mood) {
            Some(Mood::Hangs) => Duration::from_secs(30),
            Some(Mood::Slow) => millis(1_000..20_000),
            _ => millis(2..80),
        };
        tokio::time::sleep(wait).await;
        let Some(window) = window else { return Ok(None) };
        self.world.met(window.mood.kind(), window.number);
        match window.mood {
            Mood::Throttles => Err(failed(what, "503 SlowDown")),
            Mood::Hangs => Err(failed(what, "timed out")),
            mood => Ok(Some(mood)),
        }
    }
}

fn failed(what: &'static str, reason: &str) -> StoreError {
    StoreError::Remote { what, place: "s3://simulated".into(), reason: reason.into() }
}

/// The bucket with the staging of one process.
struct View {
    bucket: Arc<Bucket>,
    staging: Staging,
}

impl View {
    async fn write(&self, write: Write) -> Result<Publish, StoreError> {
        let bucket = &*self.bucket;
        let mut cut = Cut { bucket, write: Some(write) };
        let mood = bucket.request("write").await?;
        let write = cut.write.take().expect("it was just put there");
        if mood == Some(Mood::Breaks) && write.upload.is_some() {
            return Err(failed("write a part of", "reset"));
        }
        let done = bucket.done(write).ok_or_else(|| failed("complete", "no such upload"))?;
        match mood {
            Some(Mood::LosesReplies) => Err(failed("write", "the reply was lost")),
            _ => Ok(done),
        }
    }
}

/// A write under way; what a crash cuts off may have gone out.
struct Cut<'a> {
    bucket: &'a Bucket,
    write: Option<Write>,
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        let Some(write) = self.write.take() else { return };
        let mut inner = self.bucket.inner();
        match inner.rng.u8(..3) {
            0 => drop(inner.apply(write)),
            1 => {
                let at = self.bucket.world.now() + Duration::from_millis(inner.rng.u64(1..20_000));
                inner.late.push((at, write));
            }
            _ => {}
        }
    }
}

impl Store for View {
    fn open(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn staging(&self) -> &Staging {
        &self.staging
    }

    fn begin<'a>(&'a self, name: &'a str, _: &'a Object, bytes: u64) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            if bytes <= PUT_BYTES_MAX {
                return Ok(None);
            }
            let mood = self.bucket.request("begin the upload of").await?;
            let mut inner = self.bucket.inner();
            inner.begun += 1;
            let upload = format!("{}-{name}", inner.begun);
            inner.uploads.insert(upload.clone());
            match mood {
                Some(Mood::LosesReplies) => Err(failed("begin the upload of", "the reply was lost")),
                _ => Ok(Some(upload)),
            }
        })
    }

    fn abandon<'a>(&'a self, _: &'a str, upload: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let mood = self.bucket.request("undo the upload of").await?;
            self.bucket.inner().uploads.remove(upload);
            match mood {
                Some(Mood::LosesReplies) => Err(failed("undo the upload of", "the reply was lost")),
                _ => Ok(()),
            }
        })
    }

    fn publish<'a>(
        &'a self,
        name: &'a str,
        object: &'a Object,
        staged: Staged,
        upload: Option<&'a str>,
    ) -> Answer<'a, Publish> {
        Box::pin(async move {
            let pieces = staged.read(0, staged.bytes(), 1 << 20)?;
            let bytes = Bytes::from(pieces.concat());
            let large = upload.is_some();
            // What stands is looked at before the last step, which no condition guards.
            if large && self.look(name).await? != Look::Absent {
                return self.abandon(name, upload.unwrap_or_default()).await.map(|()| Publish::Exists);
            }
            let (name, upload) = (name.to_owned(), upload.map(str::to_owned));
            let (what, number) = (name.clone(), object.first);
            let published = self.write(Write { name, object: object.clone(), bytes, upload }).await;
            self.bucket.world.tell("published", number, || format!("{what}: {published:?}"));
            let published = published?;
            staged.remove()?;
            Ok(published)
        })
    }

    fn look<'a>(&'a self, name: &'a str) -> Answer<'a, Look> {
        Box::pin(async move {
            if self.bucket.request("look at").await? == Some(Mood::LosesReplies) {
                return Err(failed("look at", "the reply was lost"));
            }
            let found = self.bucket.inner().objects.get(name).map(|(object, _)| object.clone());
            Ok(found.map_or(Look::Absent, Look::Object))
        })
    }

    fn fetch<'a>(&'a self, name: &'a str, at: u64, len: u64) -> Answer<'a, Bytes> {
        Box::pin(async move {
            self.bucket.request("read").await?;
            let inner = self.bucket.inner();
            let (_, bytes) = inner.objects.get(name).ok_or_else(|| failed("read", "404"))?;
            let (at, end) = ((at as usize).min(bytes.len()), (at.saturating_add(len) as usize).min(bytes.len()));
            Ok(bytes.slice(at..end))
        })
    }

    fn list(&self) -> Answer<'_, Vec<Listed>> {
        Box::pin(async move {
            self.bucket.request("list").await?;
            let inner = self.bucket.inner();
            let listed = inner.objects.iter().filter_map(|(name, (object, bytes))| {
                let (_, extension) = name.split_once('.')?;
                let parsed = ObjectName::parse(&object.name(extension), extension)?;
                Some(Listed { name: name.clone(), parsed, bytes: bytes.len() as u64, written_us: None })
            });
            Ok(listed.collect())
        })
    }

    fn clean<'a>(&'a self, _: Option<&'a str>) -> Answer<'a, ()> {
        Box::pin(async { self.staging.clean(None) })
    }
}
