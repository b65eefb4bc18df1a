//! A disk in memory that can fail, fill up, lose power and rot.
//!
//! Keeps two images of each file: what a running system reads (page cache) and what would survive a loss of power.
//! Un-synced sectors of 512 bytes, lengths and directory entries survive or not, each on its own, by seed. Calls that
//! change something are counted; any of them can fail, or be the last that happens. A [film](SimDisk::film) has the
//! disk as it was before each: one run of a workload gives all its crash points. Copies share pages.

mod calls;
mod inode;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use spangate::disk::Disk;
use tokio::time::Instant;

use inode::Inode;

/// What the call with the chosen number does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Fails with EIO; a write was carried out, a sync loses its pages: they are read as written, count as clean, and
    /// are on disk in any part of them, or not at all, when the power goes.
    Fail,
    /// As `Fail`, but what a sync loses is not on disk, and read so from then on, as after an eviction.
    Evict,
    /// A write gets half way, to no sector's end, and fails with EIO. Other calls as with `Fail`.
    Short,
    /// The same with ENOSPC.
    ShortOfSpace,
    /// And with EDQUOT.
    ShortOfQuota,
    /// Fails with ENOSPC and does nothing; a sync loses its pages.
    NoSpace,
    /// The same with EDQUOT.
    Quota,
    /// The same with EROFS.
    ReadOnly,
    /// Nothing happens any more from here on: the machine is off.
    Off,
}

impl Fault {
    fn error(self) -> io::Error {
        let code = match self {
            Fault::NoSpace | Fault::ShortOfSpace => 28,
            Fault::Quota | Fault::ShortOfQuota => 122,
            Fault::ReadOnly => 30,
            Fault::Fail | Fault::Evict | Fault::Short | Fault::Off => 5,
        };
        io::Error::from_raw_os_error(code)
    }
}

/// What becomes of un-synced data when the power goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Power {
    /// All is lost.
    Nothing,
    /// All of it happened to be written back.
    Everything,
    /// Each sector and each directory entry by chance.
    Some(u64),
}

/// What the disk says and does not do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lie {
    /// Directory syncs are answered and forgotten.
    Directories,
    /// fdatasync is.
    Data,
    /// The last sync of a file that is then renamed is: it was renamed first.
    Renamed,
}

/// What callers were told went wrong.
#[derive(Debug, Clone, Default)]
pub struct Trouble {
    /// When calls failed.
    pub hits: Vec<Instant>,
    /// Of those, the calls that change something.
    pub changes: Vec<Instant>,
    /// When the page cache last lost what a failed sync should have written.
    pub evicted: Option<Instant>,
}

impl Trouble {
    /// A call failed that changes something.
    fn changed(&mut self) {
        self.hits.push(Instant::now());
        self.changes.push(Instant::now());
    }
}

/// The disk before a call.
pub struct Shot {
    /// The call's number.
    pub call: u64,
    pub disk: SimDisk,
    /// Of whoever [films](SimDisk::film).
    pub mark: u64,
    /// By tokio's clock.
    pub at: Instant,
}

#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Inner>>);

#[derive(Clone, Default)]
struct Inner {
    files: Vec<Arc<Inode>>,
    names: Arc<BTreeMap<PathBuf, usize>>,
    durable_names: Arc<BTreeMap<PathBuf, usize>>,
    /// Entries not yet synced, in order.
    entries: Vec<Change>,
    dirs: Arc<BTreeSet<PathBuf>>,
    durable_dirs: Arc<BTreeSet<PathBuf>>,
    synced_dirs: Arc<BTreeSet<PathBuf>>,
    calls: u64,
    reads: u64,
    looks: u64,
    fault: Option<(Range<u64>, Fault)>,
    read_fault: Option<u64>,
    look_fault: Option<Range<u64>>,
    lie: Option<Lie>,
    /// By file, what it was before its last sync: where a lie takes that back.
    unsynced: BTreeMap<usize, Arc<Inode>>,
    /// Syncs of data fail while this is set.
    sync_fails: bool,
    reads_fail: bool,
    off: bool,
    free: Option<u64>,
    /// No block is free: what makes a file longer fails.
    full: bool,
    full_met: u64,
    locked: BTreeSet<PathBuf>,
    film: Option<Film>,
    trouble: Trouble,
}

#[derive(Clone)]
struct Film {
    shots: Arc<Mutex<Vec<Shot>>>,
    mark: Arc<AtomicU64>,
    /// Nothing before other calls than these.
    only: Option<Arc<[u64]>>,
}

impl Film {
    fn wants(&self, call: u64) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&call))
    }

    fn shot(&self, inner: &Inner, call: u64) -> Shot {
        let disk = SimDisk(Arc::new(Mutex::new(inner.killed())));
        Shot { call, disk, mark: self.mark.load(Ordering::Relaxed), at: Instant::now() }
    }
}

#[derive(Clone)]
struct Change {
    dir: PathBuf,
    gone: Option<PathBuf>,
    set: Option<(PathBuf, usize)>,
    /// A directory that was made.
    made: Option<PathBuf>,
}

fn eio() -> io::Error {
    Fault::Fail.error()
}

impl SimDisk {
    pub fn new() -> SimDisk {
        let dirs: Arc<BTreeSet<_>> = Arc::new([PathBuf::from("/")].into());
        SimDisk(Arc::new(Mutex::new(Inner { durable_dirs: dirs.clone(), dirs, ..Inner::default() })))
    }

    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// Mutating calls so far.
    pub fn calls(&self) -> u64 {
        self.inner().calls
    }

    /// Reads of files so far.
    pub fn reads(&self) -> u64 {
        self.inner().reads
    }

    /// The call with this number (from 1, counted from the disk's making) meets the fault.
    pub fn fault_at(&self, call: u64, fault: Fault) {
        self.fault_in(call..call.saturating_add(1), fault);
    }

    /// All calls with these numbers do.
    pub fn fault_in(&self, calls: Range<u64>, fault: Fault) {
        self.inner().fault = Some((calls, fault));
    }

    /// The next call meets the fault.
    pub fn fault_next(&self, fault: Fault) {
        self.fault_at(self.calls() + 1, fault);
    }

    /// The read with this number (from 1) fails with EIO.
    pub fn fail_read_at(&self, read: u64) {
        self.inner().read_fault = Some(read);
    }

    /// Reads so far, files opened that were there, and directories listed.
    pub fn looks(&self) -> u64 {
        self.inner().looks
    }

    /// Those with these numbers (from 1) fail with EIO.
    pub fn fail_looks_in(&self, looks: Range<u64>) {
        self.inner().look_fault = Some(looks);
    }

    /// What went wrong so far, also under processes that were killed since.
    pub fn trouble(&self) -> Trouble {
        self.inner().trouble.clone()
    }

    /// Every fault that was set is gone.
    pub fn mend(&self) {
        let mut inner = self.inner();
        (inner.fault, inner.read_fault, inner.look_fault) = (None, None, None);
        (inner.sync_fails, inner.reads_fail) = (false, false);
    }

    pub fn lie(&self, lie: Lie) {
        self.inner().lie = Some(lie);
    }

    /// Nothing happens any more from here on.
    pub fn turn_off(&self) {
        self.inner().off = true;
    }

    pub fn is_off(&self) -> bool {
        self.inner().off
    }

    /// Every sync of data fails from here on, or works again.
    pub fn fail_syncs(&self, fail: bool) {
        self.inner().sync_fails = fail;
    }

    pub fn fail_reads(&self, fail: bool) {
        self.inner().reads_fail = fail;
    }

    /// Not a block is free, or some are again.
    pub fn set_full(&self, full: bool) {
        self.inner().full = full;
    }

    /// Calls so far that were refused because no byte is free.
    pub fn full_met(&self) -> u64 {
        self.inner().full_met
    }

    pub fn set_free(&self, free: u64) {
        self.inner().free = Some(free);
    }

    /// Keeps the disk as it is before each call from here on, with what `mark` holds then.
    pub fn film(&self, mark: Arc<AtomicU64>) {
        self.inner().film = Some(Film { shots: Arc::default(), mark, only: None });
    }

    /// The same, before these calls alone.
    pub fn film_at(&self, calls: &[u64], mark: Arc<AtomicU64>) {
        self.inner().film = Some(Film { shots: Arc::default(), mark, only: Some(calls.into()) });
    }

    /// What follows a crash: what this disk was told to refuse and to film, and did not meet yet, `left` meets.
    pub fn goes_on_as(&self, left: &SimDisk) {
        let (ours, mut theirs) = (self.inner(), left.inner());
        (theirs.fault, theirs.look_fault) = (ours.fault.clone(), ours.look_fault.clone());
        theirs.film = ours.film.clone().map(|film| Film { shots: Arc::default(), ..film });
    }

    /// What was filmed since the last cut, and the disk as it is.
    pub fn cut(&self) -> Vec<Shot> {
        let Some(film) = self.inner().film.take() else { return Vec::new() };
        let mut shots = std::mem::take(&mut *film.shots.lock().unwrap());
        let inner = self.inner();
        shots.push(film.shot(&inner, inner.calls + 1));
        drop(inner);
        shots
    }

    /// Whether these bytes of a file, and its name, outlive a loss of power now. One that was removed was done with.
    pub fn outlives(&self, path: &Path, bytes: Range<usize>) -> bool {
        let inner = self.inner();
        let file = inner.names.get(path);
        file.is_none_or(|file| {
            let dirs = path.ancestors().skip(1).all(|dir| inner.durable_dirs.contains(dir));
            let named = dirs && inner.durable_names.get(path) == Some(file);
            named && inner.files[*file].is_saved(bytes.start, bytes.end)
        })
    }

    /// What a new process finds after the old one was killed: the page cache is as it was.
    pub fn killed(&self) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(self.inner().killed())))
    }

    /// What a new process finds after a loss of power.
    pub fn lost_power(&self, power: Power) -> SimDisk {
        self.without_power(power).0
    }

    /// The same, and a number that tells this outcome from the others that this disk could have; `None` where it could
    /// have no other.
    pub fn without_power(&self, power: Power) -> (SimDisk, Option<u64>) {
        let mut inner = self.inner().killed();
        let mut chance = Chance::new(power);
        for file in inner.files.iter_mut().filter(|file| !file.is_clean()) {
            chance.turn();
            Arc::make_mut(file).lose(&mut || chance.survives());
        }
        chance.turn();
        for change in std::mem::take(&mut inner.entries) {
            if chance.survives() {
                inner.keep(&change);
            }
        }
        inner.read_again();
        (SimDisk(Arc::new(Mutex::new(inner))), chance.outcome())
    }

    /// Whether a loss of power changes nothing.
    pub fn is_saved(&self) -> bool {
        let inner = self.inner();
        inner.entries.is_empty() && inner.files.iter().all(|file| file.is_clean())
    }

    /// Flips a bit, on disk and in the cache.
    pub fn flip(&self, path: &Path, at: usize) {
        self.flip_bit(path, at, 0);
    }

    pub fn flip_bit(&self, path: &Path, at: usize, bit: u8) {
        let mut inner = self.inner();
        let file = inner.names[path];
        let file = Arc::make_mut(&mut inner.files[file]);
        file.cache.flip(at, bit);
        file.disk.flip(at, bit);
    }

    /// Overwrites, on disk and in the cache.
    pub fn overwrite(&self, path: &Path, at: usize, bytes: &[u8]) {
        let mut inner = self.inner();
        let file = inner.names[path];
        let file = Arc::make_mut(&mut inner.files[file]);
        file.cache.write(bytes, at);
        file.disk.write(bytes, at);
    }

    pub fn read(&self, path: &Path) -> Vec<u8> {
        let inner = self.inner();
        let cache = &inner.files[inner.names[path]].cache;
        let mut bytes = vec![0; cache.len];
        cache.read(&mut bytes, 0);
        bytes
    }

    /// All files, sorted.
    pub fn names(&self) -> Vec<PathBuf> {
        self.inner().names.keys().cloned().collect()
    }

    /// Directories that were ever synced, but for what making one in them did.
    pub fn synced_dirs(&self) -> BTreeSet<PathBuf> {
        (*self.inner().synced_dirs).clone()
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

/// What survives, and a number of all that was decided.
struct Chance {
    power: Power,
    random: fastrand::Rng,
    /// Of 8, for what is decided now.
    odds: u8,
    decided: u64,
    count: u64,
}

impl Chance {
    fn new(power: Power) -> Chance {
        let seed = if let Power::Some(seed) = power { seed } else { 0 };
        let mut random = fastrand::Rng::with_seed(seed);
        Chance { power, odds: random.u8(1..8), random, decided: 0xcbf2_9ce4_8422_2325, count: 0 }
    }

    /// Another file: some disks lose one wholly and another not at all.
    fn turn(&mut self) {
        self.odds = *self.random.choice([0, 1, 4, 7, 8]).as_ref().unwrap();
    }

    fn survives(&mut self) -> bool {
        let survives = match self.power {
            Power::Nothing => false,
            Power::Everything => true,
            Power::Some(_) => self.random.u8(0..8) < self.odds,
        };
        self.decided = (self.decided ^ (u64::from(survives) + 1)).wrapping_mul(0x100_0000_01b3);
        self.count += 1;
        survives
    }

    fn outcome(&self) -> Option<u64> {
        (self.count > 0).then_some(self.decided)
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((path, file)) = &self.set {
            names.insert(path.clone(), *file);
        }
    }
}

impl Inner {
    fn killed(&self) -> Inner {
        Inner {
            fault: None,
            read_fault: None,
            look_fault: None,
            sync_fails: false,
            reads_fail: false,
            off: false,
            locked: BTreeSet::new(),
            film: None,
            ..self.clone()
        }
    }

    fn change(&mut self, dir: &Path, gone: Option<&Path>, set: Option<(&Path, usize)>) {
        let change = Change {
            dir: dir.to_owned(),
            gone: gone.map(Path::to_owned),
            set: set.map(|(path, file)| (path.to_owned(), file)),
            made: None,
        };
        change.apply(Arc::make_mut(&mut self.names));
        self.entries.push(change);
    }

    fn sync_dir(&mut self, dir: &Path) {
        if self.lie == Some(Lie::Directories) {
            return;
        }
        // As text: by their parts, paths are compared ten times slower, and there are many.
        let (synced, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.entries).into_iter().partition(|c| c.dir.as_os_str() == dir.as_os_str());
        synced.iter().for_each(|change| self.keep(change));
        self.entries = kept;
    }

    fn make_dir(&mut self, dir: &Path) {
        Arc::make_mut(&mut self.dirs).insert(dir.to_owned());
        let parent = dir.parent().unwrap().to_owned();
        self.entries.push(Change { dir: parent, gone: None, set: None, made: Some(dir.to_owned()) });
    }

    /// A change of a directory reaches the disk.
    fn keep(&mut self, change: &Change) {
        change.apply(Arc::make_mut(&mut self.durable_names));
        if let Some(made) = &change.made {
            Arc::make_mut(&mut self.durable_dirs).insert(made.clone());
        }
    }

    /// Names are what the disk has; a directory without a name is gone with all that is in it.
    fn read_again(&mut self) {
        let dirs = self.durable_dirs.clone();
        let there = |dir: &Path| dir.ancestors().all(|dir| dirs.contains(dir));
        Arc::make_mut(&mut self.durable_dirs).retain(|dir| there(dir));
        Arc::make_mut(&mut self.durable_names).retain(|path, _| path.parent().is_some_and(there));
        (self.dirs, self.names) = (self.durable_dirs.clone(), self.durable_names.clone());
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let file = *self.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        if let Some(unsynced) = self.unsynced.remove(&file) {
            self.files[file] = unsynced;
        }
        if from.parent() == to.parent() {
            self.change(from.parent().unwrap(), Some(from), Some((to, file)));
        } else {
            self.change(to.parent().unwrap(), None, Some((to, file)));
            self.change(from.parent().unwrap(), Some(from), None);
        }
        Ok(())
    }
}
