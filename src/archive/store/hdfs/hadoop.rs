//! The file system as the crate `hdfs-native` speaks with it; every call ends in bounded time.
//!
//! What the crate starts (its connections, its renewing of leases) runs on a small runtime of a link's own
//! and ends with the link. A call without an answer, or whose connection broke, costs the link: the next
//! call makes another, which reads Hadoop's configuration again and begins at any of its NameNodes. The
//! crate itself has no time limit for a NameNode, and would wait for ever for one that swallows requests.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hdfs_native::client::FileStatus;
use hdfs_native::file::FileWriter;
use hdfs_native::{Client, ClientBuilder, HdfsError, WriteOptions};
use tokio::runtime::{Builder, Handle, Runtime};

use super::super::bucket::{SHORT, reason};
use super::{Answer, Entry, Files, Stat};
use crate::archive::store::{Publish, Staged, StoreError};
use crate::archive::target::NAMENODE_PORT;
use crate::tasks;

/// Bytes that are handed over in one step.
const PIECE_BYTES: u64 = 1 << 20;

/// What Hadoop's own tools give under the umask that it comes with; default ACLs go before them.
const FILE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o755;

pub struct Hadoop {
    /// `hdfs://NAMENODE`, without a path.
    url: String,
    /// For one piece of a body. What has no body is [`SHORT`] of it at most.
    timeout: Duration,
    link: Mutex<Option<Arc<Link>>>,
}

impl Hadoop {
    /// `authority` is a name service, or a host with its port if that is not [`NAMENODE_PORT`].
    ///
    /// # Errors
    /// Where Hadoop's configuration cannot be understood. A host name that cannot be looked up may pass.
    pub fn new(authority: &str, timeout: Duration) -> Result<Hadoop, String> {
        let url = format!("hdfs://{authority}");
        let link = match Link::make(&url) {
            Ok(link) => Some(Arc::new(link)),
            Err(HdfsError::IOError(_)) => None,
            Err(error) => return Err(format!("Hadoop's configuration: {}", said(&error))),
        };
        Ok(Hadoop { url, timeout, link: Mutex::new(link) })
    }

    async fn link(&self, path: &str) -> Result<Arc<Link>, StoreError> {
        if let Some(link) = self.held().clone() {
            return Ok(link);
        }
        let url = self.url.clone();
        let made = tasks::blocking(move || Link::make(&url)).await;
        let link = Arc::new(made.map_err(|error| self.error("connect to", path, said(&error)))?);
        *self.held() = Some(link.clone());
        Ok(link)
    }

    /// One step of the NameNode's alone.
    async fn short<T, A>(&self, what: &'static str, path: &str, ask: impl FnOnce(Client) -> A) -> Result<T, StoreError>
    where
        A: Future<Output = Result<T, HdfsError>>,
    {
        let link = self.link(path).await?;
        self.step(&link, what, path, self.timeout.min(SHORT), ask(link.client.clone())).await
    }

    /// One step, which ends in `limit`.
    async fn step<T>(
        &self,
        link: &Arc<Link>,
        what: &'static str,
        path: &str,
        limit: Duration,
        asked: impl Future<Output = Result<T, HdfsError>>,
    ) -> Result<T, StoreError> {
        let reason = match tokio::time::timeout(limit, asked).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if is_answer(&error) => return Err(self.error(what, path, said(&error))),
            Ok(Err(error)) => said(&error),
            Err(_) => format!("no answer in {limit:?}"),
        };
        self.forget(link);
        Err(self.error(what, path, reason))
    }

    /// The next call makes another.
    fn forget(&self, link: &Arc<Link>) {
        self.held().take_if(|held| Arc::ptr_eq(held, link));
    }

    async fn write_over(&self, link: &Arc<Link>, path: &str, staged: &Arc<Staged>) -> Result<(), StoreError> {
        let (client, short) = (&link.client, self.timeout.min(SHORT));
        let options = WriteOptions::default().permission(FILE_MODE).create_parent(false);
        let mut writer = self.step(link, "create", path, short, client.create(path, options)).await?;
        let found = self.step(link, "look at", path, short, client.get_file_info(path)).await?;
        let block = found.blocksize.filter(|block| *block > 0).unwrap_or(u64::MAX);
        self.fill(link, path, &mut writer, staged, block).await?;
        // Repeated by the crate until the NameNode says that the file is complete.
        self.step(link, "close", path, self.timeout, writer.close()).await
    }

    /// Every block is synced before the next is begun: a sync is one block's.
    async fn fill(
        &self,
        link: &Arc<Link>,
        path: &str,
        writer: &mut FileWriter,
        staged: &Arc<Staged>,
        block: u64,
    ) -> Result<(), StoreError> {
        let mut at = 0;
        while at < staged.bytes() {
            let (from, len) = (staged.clone(), PIECE_BYTES.min(block - at % block));
            for piece in tasks::blocking(move || from.read(at, len, PIECE_BYTES)).await? {
                at += piece.len() as u64;
                self.step(link, "write", path, self.timeout, writer.write_bytes(piece)).await?;
            }
            if at == staged.bytes() || at.is_multiple_of(block) {
                self.step(link, "sync", path, self.timeout, writer.hsync()).await?;
            }
        }
        Ok(())
    }

    /// Replaced whole, so a panic elsewhere leaves it good.
    fn held(&self) -> MutexGuard<'_, Option<Arc<Link>>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, what: &'static str, path: &str, reason: String) -> StoreError {
        StoreError::Remote { what, place: format!("{}{path}", self.url), reason }
    }
}

impl Files for Hadoop {
    fn stat<'a>(&'a self, path: &'a str) -> Answer<'a, Option<Stat>> {
        Box::pin(self.short("look at", path, move |client| async move {
            match client.get_file_info(path).await {
                Err(HdfsError::FileNotFound(_)) => Ok(None),
                found => found.map(|found| Some(stat_of(&found))),
            }
        }))
    }

    fn read<'a>(&'a self, path: &'a str, at: u64, len: u64) -> Answer<'a, Bytes> {
        Box::pin(async move {
            let read = self.short("read", path, move |client| async move {
                let reader = client.read(path).await?;
                // The crate panics beyond the end.
                match at + len <= reader.file_length() as u64 {
                    true => reader.read_range(fits(at), fits(len)).await.map(Some),
                    false => Ok(None),
                }
            });
            read.await?.ok_or_else(|| self.error("read", path, "it is shorter than it was".to_owned()))
        })
    }

    fn write<'a>(&'a self, path: &'a str, staged: Arc<Staged>) -> Answer<'a, ()> {
        Box::pin(async move {
            let link = self.link(path).await?;
            let written = self.write_over(&link, path, &staged).await;
            // A writer that was given up would go on to greet its DataNodes for as long as the link lives.
            written.inspect_err(|_| self.forget(&link))
        })
    }

    fn make_dir<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        let made = async move |client: Client| client.mkdirs(path, DIR_MODE, true).await;
        Box::pin(self.short("make the directory", path, made))
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Answer<'a, Publish> {
        Box::pin(self.short("rename to", to, move |client| async move {
            match client.rename(from, to, false).await {
                Err(HdfsError::AlreadyExists(_)) => Ok(Publish::Exists),
                done => done.map(|()| Publish::Done),
            }
        }))
    }

    fn remove<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        Box::pin(self.short("remove", path, move |client| async move { client.delete(path, false).await.map(|_| ()) }))
    }

    fn list<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<Entry>> {
        Box::pin(async move {
            let link = self.link(path).await?;
            let (found, mut entries) = (link.client.list_status_iter(path, false), Vec::new());
            let next = || async {
                match found.next().await {
                    None | Some(Err(HdfsError::FileNotFound(_))) => Ok(None),
                    Some(entry) => entry.map(Some),
                }
            };
            while let Some(found) = self.step(&link, "list", path, self.timeout.min(SHORT), next()).await? {
                let name = found.path.rsplit('/').next().unwrap_or_default().to_owned();
                entries.push(Entry { name, stat: stat_of(&found) });
            }
            Ok(entries)
        })
    }
}

fn stat_of(found: &FileStatus) -> Stat {
    let written_us = Some(found.modification_time.saturating_mul(1_000));
    Stat { bytes: found.length as u64, is_dir: found.isdir, written_us }
}

fn fits(within: u64) -> usize {
    usize::try_from(within).expect("the crate's length of the file is one")
}

/// Whether the NameNode said it; anything else is said of the way to it.
fn is_answer(error: &HdfsError) -> bool {
    matches!(error, HdfsError::RPCError(..) | HdfsError::AlreadyExists(_) | HdfsError::FileNotFound(_))
}

/// An error in a line: a NameNode's own comes with the stack on which it was thrown.
fn said(error: &HdfsError) -> String {
    match error {
        HdfsError::RPCError(class, text) | HdfsError::FatalRPCError(class, text) => {
            let class = class.rsplit('.').next().unwrap_or(class);
            format!("{class}: {}", text.lines().next().unwrap_or_default())
        }
        other => reason(other),
    }
}

/// A client with all that runs for it.
struct Link {
    client: Client,
    _runtime: OwnRuntime,
}

impl Link {
    fn make(url: &str) -> Result<Link, HdfsError> {
        let runtime = OwnRuntime::new()?;
        let (authority, handle) = (url.trim_start_matches("hdfs://"), &runtime.handle);
        let settings = [
            // Else each link would begin at the first of the NameNodes, also where that one swallows requests.
            (format!("dfs.client.failover.random.order.{authority}"), "true"),
            // The archive itself tries again, and says why: each of a few NameNodes is asked, and no more.
            ("dfs.client.failover.max.attempts".to_owned(), "3"),
            ("dfs.client.failover.sleep.base.millis".to_owned(), "100"),
        ];
        let client = |url: String| {
            ClientBuilder::new().with_url(url).with_config(settings.clone()).with_io_runtime(handle.clone()).build()
        };
        let made = match client(url.to_owned()) {
            // No name service that Hadoop's configuration knows: a host.
            Err(HdfsError::InvalidArgument(_)) => client(format!("{url}:{NAMENODE_PORT}")),
            made => made,
        };
        Ok(Link { client: made?, _runtime: runtime })
    }
}

/// Where what the crate starts runs; none of it outlives this.
struct OwnRuntime {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl OwnRuntime {
    fn new() -> io::Result<OwnRuntime> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("hdfs").enable_all().build()?;
        Ok(OwnRuntime { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

/// Without waiting, which a task must not: tokio panics.
impl Drop for OwnRuntime {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

#[cfg(test)]
mod tests;
