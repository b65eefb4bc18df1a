//! The channel measured: group commit and drain, on disk and in memory, and opening with a backlog.
//!
//! `cargo bench --bench channel [-- DIR [GIB]]`. Prints figures; asserts nothing about time.
//! DIR (default: a temporary directory) should lie on the disk that is to be measured; the backlog
//! has GIB (default: 1; 10 is a full channel of the default capacity).

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use spangate::channel::{Channel, Draft, Item, Kind, NO_LABEL, Origin, Outcome, Settings, Start, Sync, Takes};
use spangate::clock::Clock;
use spangate::disk::{self, Disk, Entry, File, MemoryDisk, Open, Space};
use spangate::metrics::{Registry, TABLE};

const SPANS: usize = 100;
const SPAN_BYTES: usize = 600;
const PRODUCERS: usize = 32;
const RUN: Duration = Duration::from_secs(3);

fn main() {
    // Cargo passes `--bench`.
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with('-'));
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = args.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let gib: u64 = args.next().map_or(1, |n| n.parse().expect("GIB is a number"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // First: what others leave with the allocator would hide what this takes.
        fill_and_empty_memory().await;
        for sync in [Sync::Always, Sync::Every(Duration::from_millis(100))] {
            let name = format!("{sync:?}");
            append_and_drain(&name, settings(&dir.join(&name), 8 << 30, sync), disk::real()).await;
        }
        for cache_bytes in [0, 1 << 20, 4 << 20, 16 << 20] {
            let settings = Settings { cache_bytes, ..settings(Path::new("/memory"), 256 << 20, Sync::Always) };
            let name = format!("memory, {} MiB of it cached", cache_bytes >> 20);
            append_and_drain(&name, settings, Arc::new(MemoryDisk::new())).await;
        }
        open_with_backlog(&dir.join("backlog"), gib << 30).await;
    });
}

fn settings(dir: &Path, capacity_bytes: u64, sync: Sync) -> Settings {
    Settings {
        dir: dir.to_owned(),
        capacity_bytes,
        capacity_spans: None,
        sync,
        free_min_bytes: Some(0),
        cache_bytes: 16 << 20,
    }
}

fn open(settings: Settings, disk: Arc<dyn Disk>) -> Channel {
    Channel::open(settings, disk, Clock::system(), &Registry::new(TABLE)).expect("the channel opens").0
}

fn draft(body: &Bytes) -> Draft {
    let item = Item { key: 1, len: SPAN_BYTES as u32, label: NO_LABEL, flags: 0 };
    Draft {
        kind: Kind::Spans,
        addressee: None,
        received_us: 1,
        origin: Arc::new(Origin::default()),
        labels: Vec::new(),
        items: vec![item; SPANS],
        body: body.clone(),
    }
}

/// Many producers, each with one message under way; one drain that reads every body.
async fn append_and_drain(name: &str, settings: Settings, disk: Arc<dyn Disk>) {
    let channel = open(settings, disk);
    let mut tap = channel.tap("bench", Start::End, Takes::Common).expect("a drain");
    let (sent, drained) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let body = Bytes::from(vec![7; SPANS * SPAN_BYTES]);
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..PRODUCERS {
        let (channel, body, sent) = (channel.clone(), body.clone(), sent.clone());
        tasks.spawn(async move {
            while started.elapsed() < RUN {
                // Refused only by the stop at the end.
                if channel.append(vec![draft(&body)]).wait().await.is_err() {
                    break;
                }
                sent.fetch_add(SPANS as u64, Ordering::Relaxed);
            }
        });
    }
    let count = drained.clone();
    tasks.spawn(async move {
        while let Some(taken) = tap.next().await.expect("a read") {
            let body = tap.body(&taken.head).await.expect("the body");
            assert_eq!(body.len(), SPANS * SPAN_BYTES);
            let (first, items) = (taken.head.at.first, u64::from(taken.head.at.items));
            tap.ledger().settle(first..first + items, Outcome::Delivered);
            count.fetch_add(items, Ordering::Relaxed);
        }
    });
    tokio::time::sleep(RUN).await;
    let (spans, taken, seconds) =
        (sent.load(Ordering::Relaxed), drained.load(Ordering::Relaxed), started.elapsed().as_secs_f64());
    let cpu = cpu_seconds() - cpu;
    println!(
        "{name}: {:.0} spans/s taken, {:.0} MB/s, {:.0} spans/s drained, {:.2} us CPU a span",
        spans as f64 / seconds,
        spans as f64 * SPAN_BYTES as f64 / seconds / 1e6,
        taken as f64 / seconds,
        cpu * 1e6 / spans as f64
    );
    channel.stop();
    while tasks.join_next().await.is_some() {}
}

/// A memory channel of the default capacity, full and then empty: what it keeps resident.
async fn fill_and_empty_memory() {
    let disk = MemoryDisk::new();
    let before = resident_bytes();
    let channel = open(settings(Path::new("/memory"), 256 << 20, Sync::Always), Arc::new(disk.clone()));
    let mut tap = channel.tap("bench", Start::End, Takes::Common).expect("a drain");
    let mut taken = 0;
    let take = async || {
        let receipt = channel.append(vec![draft(&Bytes::from(vec![7; SPANS * SPAN_BYTES]))]);
        tokio::time::timeout(Duration::from_millis(200), receipt.wait()).await
    };
    while let Ok(positions) = take().await {
        taken = positions.expect("appended").end;
    }
    let (full, held) = (resident_bytes(), disk.held_bytes());
    let mut settled = 0;
    while settled < taken {
        let frame = tap.next().await.expect("a read").expect("a frame");
        settled = frame.head.at.first + u64::from(frame.head.at.items);
        tap.ledger().settle(frame.head.at.first..settled, Outcome::Delivered);
    }
    let started = Instant::now();
    while disk.held_bytes() > 64 << 20 && started.elapsed() < RUN {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!(
        "memory, 256 MiB filled with {taken} spans: {:.0} MB held, resident {:.0} MB more; emptied: {:.0} MB held, \
         resident {:.0} MB more",
        held as f64 / 1e6,
        full.saturating_sub(before) as f64 / 1e6,
        disk.held_bytes() as f64 / 1e6,
        resident_bytes().saturating_sub(before) as f64 / 1e6
    );
    channel.stop();
}

/// Writes `bytes` of frames by the library's own hand onto a disk that leaves zeros out, then
/// opens them from the real one.
async fn open_with_backlog(dir: &Path, bytes: u64) {
    let sparse: Arc<dyn Disk> = Arc::new(Sparse(disk::real()));
    let capacity = bytes + (1 << 30);
    let channel = open(settings(dir, capacity, Sync::Every(Duration::from_secs(3600))), sparse);
    drop(channel.tap("bench", Start::End, Takes::Common).expect("a drain"));
    let body = Bytes::from(vec![0; SPANS * SPAN_BYTES]);
    let mut made = 0;
    while made < bytes {
        let receipts: Vec<_> = (0..64).map(|_| channel.append(vec![draft(&body)])).collect();
        for receipt in receipts {
            receipt.wait().await.expect("appended");
            made += body.len() as u64;
        }
    }
    channel.stop();
    drop(channel);
    let (started, before) = (Instant::now(), resident_bytes());
    let channel = open(settings(dir, capacity, Sync::Always), disk::real());
    let opened = started.elapsed();
    let mut tap = channel.tap("bench", Start::End, Takes::Common).expect("a drain");
    tap.next().await.expect("a read").expect("a frame");
    let first = started.elapsed();
    let waiting = channel.snapshot();
    for _ in 0..2000 {
        let taken = tap.next().await.expect("a read").expect("a frame");
        tap.body(&taken.head).await.expect("a body");
    }
    println!(
        "{:.1} GiB, {} spans waiting: open in {opened:?}, first frame after {first:?}; 2000 frames read after {:?}; \
         resident {:.0} MB before, {:.0} MB after",
        waiting.bytes as f64 / (1u64 << 30) as f64,
        waiting.items,
        started.elapsed(),
        before as f64 / 1e6,
        resident_bytes() as f64 / 1e6
    );
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4096
}

/// User and system time; /proc counts in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields: Vec<_> = stat.rsplit(')').next().expect("the fields").split_whitespace().collect();
    (fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime")) / 100.0
}

/// The real disk, but for zeros, which stay holes, and for syncs, which setting up needs not.
struct Sparse(Arc<dyn Disk>);

struct SparseFile(Arc<dyn File>);

impl Disk for Sparse {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SparseFile(self.0.open(path, how)?)))
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.0.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename_new(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.0.space(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + std::marker::Sync>> {
        self.0.lock(path)
    }
}

impl File for SparseFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buf, at)
    }
    fn write_at(&self, bufs: &[IoSlice<'_>], mut at: u64) -> io::Result<()> {
        for buf in bufs {
            if buf.iter().any(|&b| b != 0) {
                self.0.write_at(&[IoSlice::new(buf)], at)?;
            }
            at += buf.len() as u64;
        }
        if self.0.len()? < at {
            self.0.set_len(at)?;
        }
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}
