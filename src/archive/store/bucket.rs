//! An object store: S3, Google's, Azure's, by the crate `object_store`.
//!
//! A finished object goes up as one put on condition that nothing has its name. A larger one goes up
//! in parts, which no condition guards: its upload is named in the plan and undone before another is
//! begun, and what stands under the name is looked at before the last step; so it can only repeat the
//! same plan. The object's facts are its metadata `spangate`; where a copy has lost them, those in its
//! bytes serve. A try that ends in doubt is an error: the caller looks before it tries again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload,
};

use super::{Answer, Listed, Look, Publish, Staged, Staging, Store, StoreError, inside};
use crate::archive::format::Format;
use crate::archive::object::{Object, ObjectName};
use crate::archive::plan::UPLOAD_BYTES_MAX;
use crate::tasks;

/// Buffers in which a body is held.
const PIECE_BYTES: u64 = 1 << 20;

/// A request without a body has its answer in this time or will have none.
pub(super) const SHORT: Duration = Duration::from_secs(30);

/// The metadata that holds an object's facts: `x-amz-meta-spangate`.
const FACTS: &str = "spangate";

/// Part of a store's reason that is shown: some answer with pages.
const REASON_CHARS_MAX: usize = 400;

pub struct Bucket {
    pub url: String,
    /// Without slashes at its ends.
    pub prefix: String,
    pub objects: Arc<dyn ObjectStore>,
    pub parts: Arc<dyn MultipartStore>,
    /// Whether an upload in parts has a name and takes metadata; Azure's has neither and is forgotten after a week.
    pub named_uploads: bool,
    pub put_bytes_max: u64,
    pub part_bytes: u64,
    pub staging: Staging,
}

impl Store for Bucket {
    /// The bucket shows itself with the first look.
    fn open(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn staging(&self) -> &Staging {
        &self.staging
    }

    fn begin<'a>(&'a self, name: &'a str, object: &'a Object, bytes: u64) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            if bytes <= self.put_bytes_max || !self.named_uploads {
                return Ok(None);
            }
            let options = PutMultipartOptions { attributes: facts(object), ..PutMultipartOptions::default() };
            let path = self.path(name)?;
            let upload =
                self.short("begin the upload of", name, self.parts.create_multipart_opts(&path, options)).await?;
            if upload.len() > UPLOAD_BYTES_MAX || upload.contains(char::is_control) {
                let reason = format!("its name for the upload has {} bytes, or control characters", upload.len());
                return Err(self.error("begin the upload of", name, reason));
            }
            Ok(Some(upload))
        })
    }

    fn abandon<'a>(&'a self, name: &'a str, upload: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let (path, upload) = (self.path(name)?, upload.to_owned());
            let aborted = async {
                match self.parts.abort_multipart(&path, &upload).await {
                    Err(Error::NotFound { .. }) => Ok(()),
                    other => other,
                }
            };
            self.short("undo the upload of", name, aborted).await
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
            let staged = Arc::new(staged);
            let published = match staged.bytes() <= self.put_bytes_max {
                true => self.put(name, object, &staged).await?,
                false => self.put_parts(name, &staged, upload.unwrap_or_default()).await?,
            };
            tasks::blocking(move || staged.remove()).await?;
            Ok(published)
        })
    }

    fn look<'a>(&'a self, name: &'a str) -> Answer<'a, Look> {
        Box::pin(async move {
            let path = self.path(name)?;
            let options = GetOptions { head: true, ..GetOptions::default() };
            let told = Attribute::Metadata(FACTS.into());
            let found = async {
                match self.objects.get_opts(&path, options).await {
                    Err(Error::NotFound { .. }) => Ok(None),
                    other => other.map(|found| Some((found.attributes.get(&told).cloned(), found.meta.size))),
                }
            };
            match self.short("look at", name, found).await? {
                None => Ok(Look::Absent),
                Some((Some(told), _)) => {
                    Ok(told.parse::<Object>().map_or_else(|e| Look::Stranger(e.to_string()), Look::Object))
                }
                Some((None, bytes)) => self.look_inside(name, &path, bytes).await,
            }
        })
    }

    fn list(&self) -> Answer<'_, Vec<Listed>> {
        Box::pin(async move {
            let prefix = Path::parse(&self.prefix).map_err(|e| self.error("list", "", reason(&e)))?;
            let mut found = self.objects.list(Some(&prefix));
            let mut objects = Vec::new();
            while let Some(meta) = self.short("list", "", found.try_next()).await? {
                let written_us = u64::try_from(meta.last_modified.timestamp_micros()).ok();
                objects.extend(self.listed(meta.location.as_ref(), meta.size, written_us));
            }
            objects.sort_by(|a, b| a.parsed.cmp(&b.parsed));
            Ok(objects)
        })
    }

    fn fetch<'a>(&'a self, name: &'a str, at: u64, len: u64) -> Answer<'a, Bytes> {
        Box::pin(async move { self.part(name, &self.path(name)?, at, len).await })
    }

    /// Uploads are undone by their plans; what no plan knows is for the bucket's lifecycle rule.
    fn clean<'a>(&'a self, _: Option<&'a str>) -> Answer<'a, ()> {
        let staging = self.staging.clone();
        Box::pin(tasks::blocking(move || staging.clean(None)))
    }
}

impl Bucket {
    fn path(&self, name: &str) -> Result<Path, StoreError> {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        Path::parse(format!("{}{slash}{name}", self.prefix)).map_err(|e| self.error("name", name, reason(&e)))
    }

    async fn put(&self, name: &str, object: &Object, staged: &Arc<Staged>) -> Result<Publish, StoreError> {
        let body = self.read(staged, 0, self.put_bytes_max).await?;
        let options = PutOptions { mode: PutMode::Create, attributes: facts(object), ..PutOptions::default() };
        match self.objects.put_opts(&self.path(name)?, body, options).await {
            Ok(_) => Ok(Publish::Done),
            Err(Error::AlreadyExists { .. }) => Ok(Publish::Exists),
            Err(error) => Err(self.error("write", name, reason(&error))),
        }
    }

    async fn put_parts(&self, name: &str, staged: &Arc<Staged>, upload: &str) -> Result<Publish, StoreError> {
        let (path, id) = (self.path(name)?, upload.to_owned());
        let mut parts: Vec<PartId> = Vec::new();
        for at in (0..staged.bytes()).step_by(usize::try_from(self.part_bytes).expect("a part fits in memory")) {
            let body = self.read(staged, at, self.part_bytes).await?;
            let part = self.parts.put_part(&path, &id, parts.len(), body).await;
            parts.push(part.map_err(|error| self.error("write a part of", name, reason(&error)))?);
        }
        if self.look(name).await? != Look::Absent {
            self.abandon(name, upload).await?;
            return Ok(Publish::Exists);
        }
        let completed = self.parts.complete_multipart(&path, &id, parts).await;
        completed.map(|_| Publish::Done).map_err(|error| self.error("complete", name, reason(&error)))
    }

    async fn read(&self, staged: &Arc<Staged>, at: u64, len: u64) -> Result<PutPayload, StoreError> {
        let staged = staged.clone();
        Ok(tasks::blocking(move || staged.read(at, len, PIECE_BYTES)).await?.into_iter().collect())
    }

    async fn look_inside(&self, name: &str, path: &Path, bytes: u64) -> Result<Look, StoreError> {
        inside::look(name, bytes, |at, len| self.part(name, path, at, len)).await
    }

    /// Bytes that are there: a range behind the end is an error to most stores.
    async fn part(&self, name: &str, path: &Path, at: u64, len: u64) -> Result<Bytes, StoreError> {
        let range = GetRange::Bounded(at..at + len);
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let fetched = async { self.objects.get_opts(path, options).await?.bytes().await };
        self.short("read", name, fetched).await
    }

    fn listed(&self, key: &str, bytes: u64, written_us: Option<u64>) -> Option<Listed> {
        let name = key.strip_prefix(&self.prefix)?.trim_start_matches('/');
        let file = name.rsplit('/').next()?;
        let parsed = ObjectName::parse(file, Format::of_name(file)?.extension())?;
        Some(Listed { name: name.to_owned(), parsed, bytes, written_us })
    }

    /// A request without a body of ours.
    async fn short<T>(
        &self,
        what: &'static str,
        name: &str,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(SHORT, asked).await {
            Ok(answer) => answer.map_err(|error| self.error(what, name, reason(&error))),
            Err(_) => Err(self.error(what, name, format!("no answer in {} s", SHORT.as_secs()))),
        }
    }

    fn error(&self, what: &'static str, name: &str, reason: String) -> StoreError {
        let slash = if name.is_empty() { "" } else { "/" };
        StoreError::Remote { what, place: format!("{}{slash}{name}", self.url), reason }
    }
}

fn facts(object: &Object) -> Attributes {
    Attributes::from_iter([(Attribute::Metadata(FACTS.into()), object.to_string())])
}

/// An error with its causes, each said once, on one line.
pub fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(&'static str, #[source] Option<Box<Said>>);

    #[test]
    fn a_reason_is_one_line_with_each_cause_once() {
        let error = Said("no answer: refused", Some(Box::new(Said("refused", Some(Box::new(Said("port\n9", None)))))));
        assert_eq!(reason(&error), "no answer: refused: port 9");
    }
}
