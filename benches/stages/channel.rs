//! The channel: append until durable, take and read and settle, open with spans waiting.
//!
//! On a disk in memory, which leaves what the log itself costs, and on the disk of the build,
//! where a sync costs what it costs there.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use spangate::channel::{Channel, Draft, Item, Kind, Origin, Outcome, Settings, Start, Sync, Takes, Tap};
use spangate::cli::send::options::Format;
use spangate::clock::Clock;
use spangate::disk::{self, Disk, MemoryDisk};
use spangate::metrics::{Registry, TABLE};
use spangate::span::Batch;
use spangate::wire::{Limits, proto3};
use tokio::runtime::Runtime;

use crate::message::{SPANS, message};

/// Messages of one sync: as many as wait for it on a busy gateway.
const GROUP: u64 = 64;
/// Messages that wait when the channel is opened: 20 MiB, one segment of eight in this channel.
const WAITING: u64 = 512;
const CAPACITY_BYTES: u64 = 256 << 20;
/// The default of a gateway; a group is a quarter of it.
const CACHE_BYTES: usize = 16 << 20;

/// One message, and a group that shares a sync.
pub fn append(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("append");
    for place in [Place::Memory, Place::Disk] {
        let (channel, _dir) = place.channel(CACHE_BYTES);
        let tap = tap(&channel);
        for messages in [1, GROUP] {
            group.throughput(Throughput::Elements(SPANS * messages));
            group.bench_function(BenchmarkId::new(place.name(), messages), |bencher| {
                bencher.iter_custom(|times| {
                    let mut took = Duration::ZERO;
                    for _ in 0..times {
                        let drafts = drafts(messages);
                        let begun = Instant::now();
                        let end = runtime.block_on(append_all(&channel, drafts));
                        took += begun.elapsed();
                        // So that the channel is never full.
                        tap.ledger().settle(end - SPANS * messages..end, Outcome::Delivered);
                    }
                    took
                });
            });
        }
        channel.stop();
    }
    group.finish();
}

/// Frames from the cache, and from the disk (which the system has in memory).
pub fn drain(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("drain");
    group.throughput(Throughput::Elements(SPANS * GROUP));
    for (name, cache_bytes) in [("cache", CACHE_BYTES), ("disk", 0)] {
        let (channel, _dir) = Place::Disk.channel(cache_bytes);
        let mut tap = tap(&channel);
        group.bench_function(BenchmarkId::new(name, GROUP), |bencher| {
            bencher.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let end = runtime.block_on(append_all(&channel, drafts(GROUP)));
                    let begun = Instant::now();
                    runtime.block_on(take_all(&mut tap, end));
                    took += begun.elapsed();
                }
                took
            });
        });
        channel.stop();
    }
    group.finish();
}

/// A channel opens with spans waiting.
pub fn recovery(criterion: &mut Criterion) {
    let runtime = runtime();
    let dir = directory();
    {
        let channel = open(dir.path(), disk::real(), CACHE_BYTES);
        drop(tap(&channel));
        for _ in 0..WAITING / GROUP {
            runtime.block_on(append_all(&channel, drafts(GROUP)));
        }
        channel.stop();
    }
    let mut group = criterion.benchmark_group("recovery");
    group.sample_size(10).throughput(Throughput::Elements(SPANS * WAITING));
    group.bench_function(BenchmarkId::new("open", WAITING), |bencher| {
        bencher.iter_custom(|times| {
            let mut took = Duration::ZERO;
            for _ in 0..times {
                let begun = Instant::now();
                let channel = open(dir.path(), disk::real(), CACHE_BYTES);
                took += begun.elapsed();
                assert_eq!(channel.snapshot().items, SPANS * WAITING, "all of it waits");
                channel.stop();
            }
            took
        });
    });
    group.finish();
}

/// Where a channel is.
#[derive(Clone, Copy)]
enum Place {
    Memory,
    Disk,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Memory => "memory",
            Place::Disk => "disk",
        }
    }

    fn channel(self, cache_bytes: usize) -> (Channel, Option<tempfile::TempDir>) {
        match self {
            Place::Memory => (open(Path::new("/memory"), Arc::new(MemoryDisk::new()), cache_bytes), None),
            Place::Disk => {
                let dir = directory();
                (open(dir.path(), disk::real(), cache_bytes), Some(dir))
            }
        }
    }
}

/// Where the build is, not in /tmp, which may be memory.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn open(dir: &Path, disk: Arc<dyn Disk>, cache_bytes: usize) -> Channel {
    let settings = Settings {
        dir: dir.to_owned(),
        capacity_bytes: CAPACITY_BYTES,
        capacity_spans: None,
        sync: Sync::Always,
        free_min_bytes: Some(0),
        cache_bytes,
    };
    Channel::open(settings, disk, Clock::system(), &Registry::new(TABLE)).expect("the channel opens").0
}

fn tap(channel: &Channel) -> Tap {
    channel.tap("bench", Start::End, Takes::Common).expect("a drain")
}

/// Messages as a listener gives them.
fn drafts(messages: u64) -> Vec<Draft> {
    let mut batch = Batch::default();
    proto3::decode(&message(Format::Proto3), &Limits::default(), &mut batch).expect("spans of ours");
    let items = batch.items.iter().map(|i| Item { key: i.key, len: i.len, label: i.label, flags: i.flags });
    let items: Vec<Item> = items.collect();
    let draft = |body: Bytes| Draft {
        kind: Kind::Spans,
        addressee: None,
        received_us: 1,
        origin: Arc::new(Origin::default()),
        labels: batch.labels.clone(),
        items: items.clone(),
        body,
    };
    let body = Bytes::from(batch.body);
    (0..messages).map(|_| draft(body.clone())).collect()
}

/// Appends each draft by itself; the position behind the last one when all are durable.
async fn append_all(channel: &Channel, drafts: Vec<Draft>) -> u64 {
    let receipts: Vec<_> = drafts.into_iter().map(|draft| channel.append(vec![draft])).collect();
    let mut end = 0;
    for receipt in receipts {
        end = receipt.wait().await.expect("appended").end;
    }
    end
}

/// Takes, reads and settles all frames up to `end`.
async fn take_all(tap: &mut Tap, end: u64) {
    let mut settled = 0;
    while settled < end {
        let taken = tap.next().await.expect("a read").expect("a frame");
        let body = tap.body(&taken.head).await.expect("a body");
        assert_eq!(body.len(), taken.head.body_len as usize);
        settled = taken.head.at.first + u64::from(taken.head.at.items);
        tap.ledger().settle(taken.head.at.first..settled, Outcome::Delivered);
    }
}
