//! The archive behind a real channel: every span in one object, once, whatever happens in between.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod buckets;
mod lanes;

use std::collections::BTreeMap;
use std::io::{IoSlice, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use spangate::archive::object::Object;
use spangate::archive::plan::Plan;
use spangate::archive::target::Connect;
use spangate::archive::{Archive, Format, Settings, State, Status, Target, Template};
use spangate::channel::{self, Account, Channel, Draft, Item, Kind, Origin, Outcome, Start, Takes};
use spangate::clock::Clock;
use spangate::disk::{self, Disk, Open};
use spangate::drain::sieve::{Filter, Sieve};
use spangate::metrics::{Registry, TABLE};
use spangate::span::{Batch, Span, TraceId};
use spangate::tasks::Tasks;

use crate::support::disk::{Fault, Power, SimDisk};

/// Longer than any machine needs; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A channel and one archive on it.
struct Rig {
    channel: Channel,
    registry: Registry,
    status: Status,
    tasks: Tasks,
}

/// How a rig is set up.
#[derive(Clone)]
struct Setup {
    data: PathBuf,
    archive: Settings,
    /// Of the channel.
    capacity_bytes: u64,
    cache_bytes: usize,
    disk: Arc<dyn Disk>,
    /// After a stop.
    grace: Duration,
}

impl Setup {
    /// Objects are closed by a stop, unless a test sets it otherwise.
    fn new(data: &Path) -> Setup {
        let archive = Settings {
            name: "archive".into(),
            sieve: Sieve::default(),
            target: Target::Local { dir: data.join("objects") },
            built_in: data.join("archive"),
            path: Template::default(),
            data: data.to_owned(),
            connect: Connect {
                region: None,
                path_style: true,
                timeout: PATIENCE,
                put_bytes_max: 48 << 20,
                part_bytes: 8 << 20,
                variables: None,
            },
            roll_bytes: 64 << 20,
            roll_age: Duration::from_secs(3600),
            format: Format::JsonLinesGzip1,
            roll_idle: Duration::from_secs(3600),
            free_min_bytes: Some(0),
        };
        let data = data.to_owned();
        Setup { data, archive, capacity_bytes: 8 << 20, cache_bytes: 1 << 20, disk: disk::real(), grace: PATIENCE }
    }

    fn idle(mut self, idle: Duration) -> Setup {
        self.archive.roll_idle = idle;
        self
    }

    fn path(mut self, path: &str) -> Setup {
        self.archive.path = Template::parse(path).unwrap();
        self
    }

    fn channel(&self, registry: &Registry) -> Channel {
        let settings = channel::Settings {
            dir: self.data.join("channel"),
            capacity_bytes: self.capacity_bytes,
            capacity_spans: None,
            sync: channel::Sync::Always,
            free_min_bytes: Some(0),
            cache_bytes: self.cache_bytes,
        };
        Channel::open(settings, self.disk.clone(), Clock::system(), registry).expect("the channel opens").0
    }

    fn start(&self) -> Rig {
        let registry = Registry::new(TABLE);
        let channel = self.channel(&registry);
        let tasks = Tasks::new();
        let status = self.start_on(&channel, &registry, &tasks);
        Rig { channel, registry, status, tasks }
    }

    /// One that is dropped wherever it is when it is told to stop.
    fn start_with_grace(&self, grace: Duration) -> Rig {
        Setup { grace, ..self.clone() }.start()
    }

    fn start_on(&self, channel: &Channel, registry: &Registry, tasks: &Tasks) -> Status {
        let tap = channel.tap(&self.archive.name, Start::Oldest, Takes::Common).expect("the drain is attached");
        let prepared = Archive::prepare(self.archive.clone(), self.disk.clone()).expect("a store");
        let archive = prepared.archive(channel, tap, registry);
        let status = archive.status();
        tasks.vital("archive", archive.run(tasks.stopping().clone(), self.grace));
        status
    }

    fn dir(&self) -> &Path {
        self.archive.target.dir().expect("an archive on this machine")
    }

    fn objects(&self) -> Vec<Found> {
        objects(&*self.disk, self.dir())
    }
}

impl Rig {
    async fn append(&self, ids: std::ops::Range<u64>) {
        self.append_at(1, ids).await;
    }

    /// As if it had come in at that time.
    async fn append_at(&self, received_us: u64, ids: std::ops::Range<u64>) {
        let draft = Draft { received_us, ..draft(ids.clone()) };
        let positions = self.channel.append(vec![draft]).wait().await.expect("accepted");
        assert_eq!(positions.end - positions.start, ids.end - ids.start);
    }

    fn account(&self) -> Account {
        account(&self.channel, "archive")
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.registry.render();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{"))).expect("the series is there");
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    async fn stop(self) {
        assert!(self.tasks.stop(PATIENCE).await, "the archive stops in time");
        self.channel.stop();
    }
}

fn account(channel: &Channel, drain: &str) -> Account {
    channel.snapshot().accounts.into_iter().find(|account| account.drain == drain).expect("the drain has an account")
}

/// What a start would find in the archive's note.
fn note(setup: &Setup) -> Bytes {
    let channel = setup.channel(&Registry::new(TABLE));
    let note = channel.tap("archive", Start::Oldest, Takes::Common).expect("the drain is attached").note();
    channel.stop();
    note
}

/// The archive's account as a start would find it.
fn ledger(setup: &Setup) -> Account {
    let channel = setup.channel(&Registry::new(TABLE));
    let account = account(&channel, "archive");
    channel.stop();
    account
}

/// Traces are spread over all ids, as sampling expects them to be.
fn trace_of(id: u64) -> u64 {
    (id + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Half of them, by Zipkin's rule.
fn is_sampled(id: u64) -> bool {
    (trace_of(id) as i64).unsigned_abs() <= 1 << 62
}

/// One frame of spans with the ids `ids`, plus one so that none is zero.
fn draft(ids: std::ops::Range<u64>) -> Draft {
    let mut batch = Batch::default();
    for id in ids {
        let trace_id = TraceId { high: 0, low: trace_of(id) };
        batch.push(&mut Span { trace_id, id: id + 1, name: Some("get /".into()), ..Span::default() });
    }
    let items = batch.items.iter().map(|i| Item { key: i.key, len: i.len, label: i.label, flags: i.flags }).collect();
    Draft {
        kind: Kind::Spans,
        addressee: None,
        received_us: 1,
        origin: Arc::new(Origin::default()),
        labels: batch.labels,
        items,
        body: batch.body.into(),
    }
}

/// A frame of one entry that could not be decoded.
fn aside() -> Draft {
    Draft {
        kind: Kind::Entries,
        addressee: Some("dead-letters".into()),
        labels: vec!["not Thrift".into()],
        items: vec![Item { key: 0, len: 3, label: 0, flags: 0 }],
        body: Bytes::from_static(b"???"),
        ..draft(0..0)
    }
}

/// An object as a reader finds it.
struct Found {
    path: PathBuf,
    object: Object,
    ids: Vec<u64>,
}

/// The objects in a directory and those below, in order of position: what `zcat DIR/*.gz` reads, where it is flat.
/// Anything else there is an error.
fn objects(disk: &dyn Disk, dir: &Path) -> Vec<Found> {
    let Ok(entries) = disk.list(dir) else { return vec![] };
    let read = |entry: disk::Entry| match entry.is_dir {
        true if entry.name.starts_with('_') => vec![],
        true => objects(disk, &dir.join(entry.name)),
        false => {
            let path = dir.join(entry.name);
            vec![read(path.clone(), &bytes_of(disk, &path))]
        }
    };
    let mut found: Vec<Found> = entries.into_iter().flat_map(read).collect();
    found.sort_by_key(|found| found.object.first);
    found
}

fn read(path: PathBuf, bytes: &[u8]) -> Found {
    let extension = path.file_name().unwrap().to_str().unwrap().split_once('.').unwrap().1.to_owned();
    let (object, ids) = match extension.as_str() {
        "jsonl.gz" => read_lines(bytes),
        "parquet" => read_parquet(bytes.to_vec()),
        other => panic!("{other}"),
    };
    assert_eq!(ids.len() as u64, object.spans, "{path:?} holds what it says");
    assert_eq!(path.file_name().unwrap().to_str(), Some(object.name(&extension).as_str()));
    Found { path, object, ids }
}

fn read_lines(bytes: &[u8]) -> (Object, Vec<u64>) {
    let mut decoder = flate2::read::MultiGzDecoder::new(bytes);
    let name = decoder.header().and_then(|header| header.filename()).expect("the object says what it is").to_vec();
    let object = Object::from_long_name(std::str::from_utf8(&name).unwrap(), "jsonl").expect("and it is ours");
    let mut text = String::new();
    decoder.read_to_string(&mut text).expect("the object is whole");
    let ids = text.lines().map(|line| id_of(&serde_json::from_str(line).expect("a line is JSON"))).collect();
    (object, ids)
}

fn read_parquet(bytes: Vec<u8>) -> (Object, Vec<u64>) {
    let file = SerializedFileReader::new(Bytes::from(bytes)).expect("the object is whole");
    let facts = file.metadata().file_metadata().key_value_metadata().expect("the object says what it is");
    let object = facts[0].value.as_ref().unwrap().parse().unwrap();
    let rows = file.get_row_iter(None).unwrap();
    let ids = rows.map(|row| u64::from_str_radix(row.unwrap().get_string(2).unwrap(), 16).unwrap() - 1);
    (object, ids.collect())
}

fn id_of(span: &serde_json::Value) -> u64 {
    assert_eq!(span["name"], "get /");
    u64::from_str_radix(span["id"].as_str().expect("a span has an id"), 16).unwrap() - 1
}

fn bytes_of(disk: &dyn Disk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, Open::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    let mut have = 0;
    while have < bytes.len() {
        have += file.read_at(&mut bytes[have..], have as u64).unwrap();
    }
    bytes
}

/// All ids in the objects, each with how often it is there.
fn counts(found: &[Found]) -> BTreeMap<u64, u32> {
    let mut counts = BTreeMap::new();
    for id in found.iter().flat_map(|found| &found.ids) {
        *counts.entry(*id).or_default() += 1;
    }
    counts
}

#[track_caller]
fn assert_each_once(found: &[Found], ids: std::ops::Range<u64>) {
    let counts = counts(found);
    assert!(counts.keys().all(|id| ids.contains(id)), "a span that was never sent");
    let copies = ids.map(|id| (id, counts.get(&id).copied().unwrap_or(0)));
    let wrong: Vec<_> = copies.filter(|(_, copies)| *copies != 1).collect();
    let first = &wrong[..wrong.len().min(5)];
    assert!(wrong.is_empty(), "{} spans are not there exactly once, the first (id, copies): {first:?}", wrong.len());
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_stands_in_an_object_after_the_idle_time() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path()).idle(Duration::from_millis(50));
    let rig = setup.start();
    rig.append(0..3).await;
    until("an object", || rig.account().waiting == 0).await;
    rig.append(3..5).await;
    until("another object", || rig.metric("spangate_archive_objects_total") == 2).await;
    assert_eq!(rig.account().waiting, 0);
    let found = setup.objects();
    assert_eq!(found.iter().map(|f| f.ids.clone()).collect::<Vec<_>>(), [vec![0, 1, 2], vec![3, 4]]);
    assert_eq!(found.iter().map(|f| (f.object.first, f.object.last)).collect::<Vec<_>>(), [(0, 2), (3, 4)]);
    assert_eq!(rig.account().outcomes[&Outcome::Delivered], 5);
    let seen = rig.status.seen();
    assert_eq!(seen.state, State::Ok);
    assert_eq!(seen.last_object, Some(found[1].object.name("jsonl.gz")));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_gzip_and_zcat_accept_an_object() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path());
    let rig = setup.start();
    rig.append(0..1000).await;
    rig.stop().await;
    let [found] = &setup.objects()[..] else { panic!("one object") };
    assert!(Command::new("gzip").arg("-t").arg(&found.path).status().unwrap().success());
    let zcat = Command::new("zcat").arg(&found.path).output().unwrap();
    assert!(zcat.status.success());
    assert_eq!(zcat.stdout.iter().filter(|&&b| b == b'\n').count(), 1000);
    let pieces = setup.data.join("objects/_spangate");
    assert_eq!(disk::real().list(&pieces).unwrap(), [], "nothing unfinished is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_publishes_what_waits_and_the_next_start_goes_on_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path());
    for run in 0..3 {
        let rig = setup.start();
        rig.append(run * 10..run * 10 + 10).await;
        rig.stop().await;
        assert_each_once(&setup.objects(), 0..run * 10 + 10);
    }
    assert_eq!(setup.objects().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_without_a_span_leaves_no_object() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path());
    setup.start().stop().await;
    assert!(setup.objects().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_rolled_by_size_and_their_ranges_meet() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(dir.path()).idle(Duration::from_millis(500));
    setup.archive.roll_bytes = 1000;
    let rig = setup.start();
    for n in 0..40 {
        rig.append(n * 100..n * 100 + 100).await;
    }
    until("all archived", || rig.account().waiting == 0).await;
    rig.stop().await;
    let found = setup.objects();
    assert_each_once(&found, 0..4000);
    assert!(found.len() >= 5, "{} objects", found.len());
    for pair in found.windows(2) {
        assert_eq!(pair[0].object.last + 1, pair[1].object.first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_other_drains_leave_no_hole_in_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path());
    let rig = setup.start();
    rig.channel.append(vec![draft(0..5), aside(), draft(5..10)]).wait().await.unwrap();
    rig.stop().await;
    let [found] = &setup.objects()[..] else { panic!("one object") };
    assert_eq!((found.object.first, found.object.last, found.object.spans), (0, 10, 10));
    assert_each_once(std::slice::from_ref(found), 0..10);
    let account = ledger(&setup);
    assert_eq!((account.accepted, account.waiting, account.outcomes[&Outcome::Delivered]), (10, 0, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_archives_on_one_channel_each_hold_every_span() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path());
    let mut second = Setup::new(dir.path()).idle(Duration::from_millis(20));
    second.archive.name = "second".into();
    second.archive.target = Target::Local { dir: dir.path().join("second") };
    let rig = setup.start();
    second.start_on(&rig.channel, &rig.registry, &rig.tasks);
    for n in 0..10 {
        rig.append(n * 10..n * 10 + 10).await;
    }
    rig.stop().await;
    assert_each_once(&setup.objects(), 0..100);
    assert_each_once(&second.objects(), 0..100);
}

/// What a new process finds of a disk that went off; `None`: only the process was killed.
fn after_crash(disk: &SimDisk, power: Option<Power>) -> SimDisk {
    power.map_or_else(|| disk.killed(), |power| disk.lost_power(power))
}

/// Archives 50 spans, takes the machine down at the `nth` call from then on, starts again, and
/// looks. Returns whether there were that many calls before the object was settled.
async fn crash_at(nth: u64, power: Option<Power>) -> bool {
    let sim = SimDisk::new();
    let mut setup = Setup::new(Path::new("/data")).idle(Duration::from_millis(20)).path("%Y/%m");
    (setup.disk, setup.capacity_bytes) = (sim.disk(), 1 << 20);
    let rig = setup.start();
    rig.append(0..50).await;
    let off = sim.calls() + nth;
    sim.fault_at(off, Fault::Off);
    until("an object or the crash", || rig.account().waiting == 0 || sim.calls() >= off).await;
    let crashed = sim.calls() >= off;
    sim.fault_next(Fault::Off);
    rig.stop().await;

    setup.disk = after_crash(&sim, power).disk();
    let planned = Plan::from_note(&note(&setup)).unwrap();
    let rig = setup.start();
    rig.append(50..60).await;
    until("all is archived", || rig.account().waiting == 0).await;
    rig.stop().await;
    let found = setup.objects();
    assert_each_once(&found, 0..60);
    if let Some(plan) = planned {
        let same = found.iter().find(|f| f.path.ends_with(&plan.name)).expect("the planned object came to be");
        assert_eq!(same.object, plan.object, "call {nth}, then {power:?}");
    }
    let staging = setup.dir().join("_spangate");
    assert_eq!(setup.disk.list(&staging).unwrap(), [], "nothing unfinished is left");
    crashed
}

async fn crash_everywhere(powers: &[Option<Power>]) {
    for &power in powers {
        let mut nth = 1;
        while crash_at(nth, power).await {
            nth += 1;
        }
        // Note, directories, file, content, its sync, rename, directory sync, settling.
        assert!(nth > 8, "only {nth} calls from a span to its object");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_at_any_call_ends_in_each_span_once() {
    crash_everywhere(&[None]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn power_lost_at_any_call_ends_in_each_span_once() {
    crash_everywhere(&[Some(Power::Nothing), Some(Power::Some(1)), Some(Power::Some(2))]).await;
}

/// Archives half of 50 spans, takes the machine down at the `nth` call from then on, and starts again without
/// sampling: what was planned comes to be as it was planned, what was not is archived whole, and all of it is counted.
async fn sampled_crash_at(nth: u64, power: Option<Power>) -> bool {
    let sim = SimDisk::new();
    let mut setup = Setup::new(Path::new("/data")).idle(Duration::from_millis(20));
    (setup.disk, setup.capacity_bytes) = (sim.disk(), 1 << 20);
    setup.archive.sieve = Sieve::new(Filter::default(), 0.5);
    let rig = setup.start();
    rig.append(0..20).await;
    rig.append(20..50).await;
    let off = sim.calls() + nth;
    sim.fault_at(off, Fault::Off);
    until("objects or the crash", || rig.account().waiting == 0 || sim.calls() >= off).await;
    let crashed = sim.calls() >= off;
    sim.fault_next(Fault::Off);
    rig.stop().await;

    setup.disk = after_crash(&sim, power).disk();
    let planned = Plan::from_note(&note(&setup)).unwrap();
    setup.archive.sieve = Sieve::default();
    let rig = setup.start();
    rig.append(50..60).await;
    rig.stop().await;
    let found = setup.objects();
    if let Some(plan) = planned {
        let same = found.iter().find(|f| f.path.ends_with(&plan.name)).expect("the planned object came to be");
        assert_eq!(same.object, plan.object, "call {nth}, then {power:?}");
        assert!(same.ids.iter().all(|id| is_sampled(*id)), "call {nth}, then {power:?}: by the recipe of the plan");
    }
    let (counts, account) = (counts(&found), ledger(&setup));
    assert!(counts.values().all(|copies| *copies == 1), "call {nth}, then {power:?}: a span is there twice");
    let missing: Vec<_> = (0..60).filter(|id| !counts.contains_key(id)).collect();
    assert!(missing.iter().all(|id| !is_sampled(*id)), "call {nth}, then {power:?}: {missing:?} are missing");
    let of = |outcome| account.outcomes[&outcome];
    assert_eq!((of(Outcome::Delivered), account.waiting), (counts.len() as u64, 0), "call {nth}, then {power:?}");
    assert_eq!(of(Outcome::SampledOut), missing.len() as u64, "call {nth}, then {power:?}");
    crashed
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_samples_keeps_its_plan_and_its_ledger_through_a_crash_at_any_call() {
    for power in [None, Some(Power::Nothing), Some(Power::Some(1))] {
        let mut nth = 1;
        while sampled_crash_at(nth, power).await {
            nth += 1;
        }
        assert!(nth > 8, "only {nth} calls from a span to its object");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_samples_makes_large_objects_of_scattered_spans() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(dir.path());
    setup.archive.sieve = Sieve::new(Filter::default(), 0.5);
    let rig = setup.start();
    for n in 0..20 {
        rig.append(n * 100..n * 100 + 100).await;
    }
    rig.stop().await;
    let [found] = &setup.objects()[..] else { panic!("one object") };
    assert_eq!(found.ids, (0..2000).filter(|id| is_sampled(*id)).collect::<Vec<_>>());
    let account = ledger(&setup);
    let (kept, left_out) = (found.ids.len() as u64, 2000 - found.ids.len() as u64);
    assert_eq!((account.outcomes[&Outcome::Delivered], account.outcomes[&Outcome::SampledOut]), (kept, left_out));
    assert_eq!((account.waiting, account.low), (0, 2000));
}

/// Crash after crash, also while the plan of the last run is carried out: what was acknowledged is
/// there once, what was not is there at most once.
async fn crash_again_and_again(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut sim = SimDisk::new();
    let mut setup = Setup::new(Path::new("/data")).idle(Duration::from_millis(2));
    setup.capacity_bytes = 1 << 20;
    let (mut next, mut acknowledged) = (0, Vec::new());
    for _ in 0..12 {
        setup.disk = sim.disk();
        let rig = setup.start();
        let off = sim.calls() + rng.u64(1..60);
        sim.fault_at(off, Fault::Off);
        while sim.calls() < off {
            let ids = next..next + rng.u64(1..20);
            next = ids.end;
            // Without a disk there is no room, and a receipt waits for room as long as it is held.
            let receipt = rig.channel.append(vec![draft(ids.clone())]);
            if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(500), receipt.wait()).await {
                acknowledged.extend(ids);
            }
        }
        rig.stop().await;
        let powers = [None, Some(Power::Nothing), Some(Power::Some(rng.u64(..)))];
        sim = after_crash(&sim, powers[rng.usize(..powers.len())]);
    }
    setup.disk = sim.disk();
    let rig = setup.start();
    until("the rest", || rig.account().waiting == 0).await;
    rig.stop().await;
    let counts = counts(&setup.objects());
    assert!(counts.values().all(|&copies| copies == 1), "seed {seed}: a span is there twice");
    assert!(acknowledged.iter().all(|id| counts.contains_key(id)), "seed {seed}: an acknowledged span is missing");
    assert!(counts.keys().all(|&id| id < next), "seed {seed}: a span that was never sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_after_crash_ends_in_each_span_once() {
    for seed in 0..4 {
        crash_again_and_again(seed).await;
    }
}

/// An archive on a disk of its own, so that its troubles are not the channel's.
fn start_apart(setup: &Setup, store: &SimDisk) -> Rig {
    let registry = Registry::new(TABLE);
    let (channel, tasks) = (setup.channel(&registry), Tasks::new());
    let status = Setup { disk: store.disk(), ..setup.clone() }.start_on(&channel, &registry, &tasks);
    Rig { channel, registry, status, tasks }
}

async fn wait_for_trouble(rig: &Rig, kind: &str) {
    until(kind, || matches!(rig.status.seen().state, State::Retrying { reason, .. } if reason.contains(kind))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_tried_again_and_its_spans_wait() {
    let dir = tempfile::tempdir().unwrap();
    let store = SimDisk::new();
    let mut setup = Setup::new(dir.path()).idle(Duration::from_millis(20));
    setup.archive.free_min_bytes = Some(2000);
    let rig = start_apart(&setup, &store);
    store.fail_syncs(true);
    rig.append(0..10).await;
    wait_for_trouble(&rig, "cannot sync").await;
    store.set_free(999);
    wait_for_trouble(&rig, "has 999 bytes free, 1000 are kept in reserve").await;
    assert!(rig.metric("spangate_archive_failures_total") >= 2);
    assert_eq!(rig.account().waiting, 10);
    rig.append(10..20).await;
    store.fail_syncs(false);
    store.set_free(1000);
    until("all spans archived", || rig.account().waiting == 0).await;
    assert_eq!(rig.status.seen().state, State::Ok);
    assert_each_once(&objects(&*store.disk(), setup.dir()), 0..20);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_store_that_fails() {
    let dir = tempfile::tempdir().unwrap();
    let store = SimDisk::new();
    let setup = Setup::new(dir.path()).idle(Duration::from_millis(20));
    let rig = start_apart(&setup, &store);
    store.fail_syncs(true);
    rig.append(0..10).await;
    wait_for_trouble(&rig, "cannot sync").await;
    let begin = Instant::now();
    rig.stop().await;
    assert!(begin.elapsed() < PATIENCE / 2, "the stop took {:?}", begin.elapsed());
    let rig = start_apart(&setup, &store.killed());
    until("the plan carried out by the next start", || rig.account().waiting == 0).await;
    rig.stop().await;
}

/// Writes an object that says it is `object` into the archive's directory.
fn plant(dir: &Path, object: &Object) {
    use std::io::Write;
    let mut gzip =
        flate2::GzBuilder::new().filename(object.long_name("jsonl")).write(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"").unwrap();
    let bytes = gzip.finish().unwrap();
    disk::real().create_dir_all(dir).unwrap();
    let file = disk::real().open(&dir.join(object.name("jsonl.gz")), Open::CreateNew).unwrap();
    file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_object_under_the_name_stops_this_archive_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path()).idle(Duration::from_millis(20));
    let mut other = setup.clone();
    other.archive.name = "other".into();
    other.archive.target = Target::Local { dir: dir.path().join("other") };
    let rig = setup.start();
    let theirs = Object { channel: rig.channel.id().to_owned(), partition: 0, first: 0, last: 9, spans: 3, bytes: 77 };
    plant(setup.dir(), &theirs);
    other.start_on(&rig.channel, &rig.registry, &rig.tasks);
    rig.append(0..10).await;
    until("the stop", || matches!(rig.status.seen().state, State::Stopped { .. })).await;
    let State::Stopped { reason } = rig.status.seen().state else { unreachable!("it was so a line above") };
    let named = [theirs.name("jsonl.gz"), theirs.to_string(), "spans=10".to_owned()];
    assert!(named.iter().all(|part| reason.contains(part)), "{reason}");
    until("the other archive", || account(&rig.channel, "other").waiting == 0).await;
    assert_each_once(&other.objects(), 0..10);
    assert_eq!(rig.account().waiting, 10, "it goes no further");
    rig.stop().await;

    let moved = setup.dir().join(theirs.name("jsonl.gz"));
    disk::real().remove(&moved).unwrap();
    let rig = setup.start();
    until("the plan carried out at last", || rig.account().waiting == 0).await;
    assert_each_once(&setup.objects(), 0..10);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_a_later_version_stops_the_archive_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path());
    let later = Bytes::from_static(b"spangate plan 2\n");
    let channel = setup.channel(&Registry::new(TABLE));
    let ledger = channel.tap("archive", Start::Oldest, Takes::Common).unwrap().ledger();
    ledger.commit(0..0, Outcome::Delivered, later.clone()).await.unwrap();
    channel.stop();
    let rig = setup.start();
    until("the stop", || matches!(rig.status.seen().state, State::Stopped { .. })).await;
    rig.stop().await;
    assert_eq!(note(&setup), later);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_damaged_after_they_were_taken_are_settled_so_and_the_rest_is_archived() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(dir.path());
    setup.cache_bytes = 0;
    let rig = setup.start();
    for n in 0..3 {
        rig.append(n * 10..n * 10 + 10).await;
    }
    until("heads taken", || rig.status.seen().oldest_us.is_some()).await;
    damage(&dir.path().join("channel"), 15);
    rig.stop().await;
    let [found] = &setup.objects()[..] else { panic!("one object") };
    assert_eq!((found.object.first, found.object.last, found.object.spans), (0, 29, 20));
    assert_eq!(found.ids, (0..10).chain(20..30).collect::<Vec<_>>());
    let outcomes = ledger(&setup).outcomes;
    assert_eq!((outcomes[&Outcome::Delivered], outcomes[&Outcome::Damaged]), (20, 10));
}

/// Flips a bit in the name of the span `id` in the log.
fn damage(channel: &Path, id: u64) {
    let mut wanted = vec![0x1a, 8]; // field 3, id, of 8 bytes
    wanted.extend_from_slice(&(id + 1).to_be_bytes());
    for entry in disk::real().list(channel).unwrap().iter().filter(|entry| entry.name.ends_with(".seg")) {
        let path = channel.join(&entry.name);
        let bytes = bytes_of(&*disk::real(), &path);
        if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted) {
            let at = at + wanted.len() + 4;
            let file = disk::real().open(&path, Open::Write).unwrap();
            return file.write_at(&[IoSlice::new(&[bytes[at] ^ 1])], at as u64).unwrap();
        }
    }
    panic!("span {id} is not in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_of_which_nothing_is_left_makes_no_object_and_the_next_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(dir.path());
    setup.cache_bytes = 0;
    let rig = setup.start();
    rig.append(0..10).await;
    until("heads taken", || rig.status.seen().oldest_us.is_some()).await;
    damage(&dir.path().join("channel"), 5);
    rig.stop().await;
    assert!(setup.objects().is_empty());
    assert_eq!((ledger(&setup).outcomes[&Outcome::Damaged], note(&setup)), (10, Bytes::new()));
    let rig = setup.start();
    rig.append(10..20).await;
    rig.stop().await;
    assert_each_once(&setup.objects(), 10..20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_many_pieces_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(dir.path());
    setup.capacity_bytes = 64 << 20;
    let rig = setup.start();
    for n in 0..10 {
        rig.append(n * 10_000..n * 10_000 + 10_000).await;
    }
    rig.stop().await;
    let found = setup.objects();
    assert_eq!(found.len(), 1);
    assert!(found[0].object.bytes > 2 << 20, "{} bytes are hardly more than a piece", found[0].object.bytes);
    assert_each_once(&found, 0..100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_entries_between_all_messages_do_not_make_the_archive_wait() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path());
    let rig = setup.start();
    for n in 0..500 {
        rig.channel.append(vec![draft(n..n + 1), aside()]).wait().await.unwrap();
    }
    until("all but what one object holds", || rig.account().waiting < 150).await;
    rig.stop().await;
    assert_each_once(&setup.objects(), 0..500);
    let account = ledger(&setup);
    assert_eq!((account.accepted, account.waiting, account.outcomes[&Outcome::Delivered]), (500, 0, 500));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_archive_keeps_its_bound_oldest_first_and_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(dir.path());
    setup.archive.target = Target::BuiltIn { dir: dir.path().join("archive"), keep_bytes: 3 * 4096 };
    let mut trimmed = 0;
    for run in 0..5 {
        let rig = setup.start();
        rig.append(run * 10..run * 10 + 10).await;
        let (registry, status) = (rig.registry.clone(), rig.status.clone());
        rig.stop().await;
        assert_eq!(status.seen().state, State::Ok);
        let line = "spangate_archive_trimmed_objects_total{drain=\"archive\"} ";
        let text = registry.render();
        let value = text.lines().find_map(|l| l.strip_prefix(line)).expect("the series is there");
        trimmed += value.parse::<usize>().unwrap();
        let left = setup.objects();
        assert!(left.len() <= 3);
        assert_eq!(left.len() + trimmed, run as usize + 1);
        assert_eq!(left.last().unwrap().object.last, run * 10 + 9, "the newest stays");
    }
    assert!(trimmed > 0);
}

/// Five objects of one to five spans on a disk of the archive's own, where hardly any room is left then.
async fn with_room_short(target: Target) -> (Rig, Setup) {
    let dir = tempfile::tempdir().unwrap();
    let sim = SimDisk::new();
    let mut setup = Setup::new(dir.path()).idle(Duration::from_millis(10));
    setup.archive.built_in = target.dir().expect("on this machine").to_owned();
    (setup.archive.target, setup.archive.free_min_bytes) = (target, Some(1 << 30));
    let rig = start_apart(&setup, &sim);
    for n in 1..=5 {
        rig.append(n * 10..n * 10 + n).await;
        until("an object", || rig.metric("spangate_archive_objects_total") == n).await;
    }
    // Intake stands still from here on: no object comes after which the archive would be trimmed.
    sim.set_free((1 << 30) - 1);
    setup.disk = sim.disk();
    (rig, setup)
}

fn sizes(setup: &Setup) -> Vec<u64> {
    setup.objects().iter().map(|found| found.object.spans).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_archive_gives_way_before_a_full_disk_stops_intake() {
    let (rig, setup) = with_room_short(Target::BuiltIn { dir: "/data/archive".into(), keep_bytes: 10 << 30 }).await;
    until("all but one removed", || rig.metric("spangate_archive_trimmed_objects_total") == 4).await;
    assert_eq!(sizes(&setup), [5], "the newest stays");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_of_the_users_never_gives_way() {
    let (rig, setup) = with_room_short(Target::Local { dir: "/srv/spans".into() }).await;
    // Two looks of an archive that would.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(sizes(&setup), [1, 2, 3, 4, 5]);
    rig.stop().await;
}

/// Where objects go and what they are.
#[derive(Clone)]
struct Way {
    target: Target,
    format: Format,
    path: Template,
}

impl Way {
    /// JSON lines in one directory.
    fn to(target: &Target) -> Way {
        Way { target: target.clone(), format: Format::JsonLinesGzip1, path: Template::default() }
    }

    fn by(path: &str) -> Way {
        Way { path: Template::parse(path).unwrap(), ..Way::to(&Target::Local { dir: "/srv/a".into() }) }
    }

    fn choose(&self, settings: &mut Settings) {
        (settings.target, settings.format, settings.path) = (self.target.clone(), self.format, self.path.clone());
    }

    /// Where an object of spans that came in then belongs.
    fn place(&self, object: &Object, received_us: u64) -> PathBuf {
        let dir = self.target.dir().unwrap().join(self.path.dir(received_us, &object.channel));
        dir.join(object.name(self.format.extension()))
    }
}

const HOUR_US: u64 = 3_600_000_000;
/// 2024-02-29 23:59:59 UTC.
const LEAP_US: u64 = 1_709_251_199_000_000;

/// Plans an object by the first settings, takes the machine down before it is published or settled, and starts again
/// with the second: what was planned must come to be in the first place, directory and format, and nowhere else.
async fn changed_between_plan_and_restart(nth: u64, from: &Way, to: &Way) -> bool {
    let sim = SimDisk::new();
    let mut setup = Setup::new(Path::new("/data")).idle(Duration::from_millis(20));
    (setup.disk, setup.capacity_bytes) = (sim.disk(), 1 << 20);
    from.choose(&mut setup.archive);
    let rig = setup.start();
    rig.append_at(LEAP_US, 0..50).await;
    let off = sim.calls() + nth;
    sim.fault_at(off, Fault::Off);
    until("an object or the crash", || rig.account().waiting == 0 || sim.calls() >= off).await;
    let crashed = sim.calls() >= off;
    sim.fault_next(Fault::Off);
    rig.stop().await;

    setup.disk = sim.killed().disk();
    let planned = Plan::from_note(&note(&setup)).unwrap();
    let before = setup.objects().len();
    to.choose(&mut setup.archive);
    let rig = setup.start();
    // The clock was set back meanwhile.
    let later_us = LEAP_US - 2 * HOUR_US;
    rig.append_at(later_us, 50..60).await;
    until("all is archived", || rig.account().waiting == 0).await;
    rig.stop().await;
    let (moved, old) = (from.target != to.target, objects(&*setup.disk, from.target.dir().unwrap()));
    let new = if moved { setup.objects() } else { Vec::new() };
    if let Some(plan) = planned {
        let place = from.place(&plan.object, LEAP_US);
        assert!(old.iter().any(|found| found.path == place), "call {nth}: it is not where it was planned");
        assert_eq!(from.target.dir().unwrap().join(&plan.name), place);
    } else if moved {
        assert_eq!(old.len(), before, "call {nth}: nothing was planned there");
    }
    let last = setup.objects().into_iter().max_by_key(|found| found.object.last).expect("the last span's");
    // One that is planned after the restart may begin with what waited.
    let received_us = if last.object.first < 50 { LEAP_US } else { later_us };
    assert_eq!(last.path, to.place(&last.object, received_us), "a plan made anew is by the new settings");
    assert_each_once(&old.into_iter().chain(new).collect::<Vec<_>>(), 0..60);
    crashed
}

async fn changed_at_every_call(from: &Way, to: &Way) {
    let mut nth = 1;
    while changed_between_plan_and_restart(nth, from, to).await {
        nth += 1;
    }
    assert!(nth > 8, "only {nth} calls from a span to its object");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_planned_in_one_format_comes_to_be_in_it_after_another_was_chosen() {
    let lines = Way::by("");
    let parquet = Way { format: Format::Parquet1, ..lines.clone() };
    changed_at_every_call(&lines, &parquet).await;
    changed_at_every_call(&parquet, &lines).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_moved_makes_what_was_planned_where_it_was_planned() {
    let built_in = Target::BuiltIn { dir: "/data/archive".into(), keep_bytes: 10 << 30 };
    let (a, b) = (Target::Local { dir: "/srv/a".into() }, Target::Local { dir: "/srv/b".into() });
    for (from, to) in [(&a, &b), (&built_in, &a), (&a, &built_in)] {
        changed_at_every_call(&Way::to(from), &Way::to(to)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_planned_in_one_directory_comes_to_be_there_after_template_and_zone_were_changed() {
    let hive = Way::by("dt=%Y-%m-%d/hour=%H/");
    let east = Way { path: hive.path.clone().in_zone("+02:00".parse().unwrap()), ..hive.clone() };
    let built_in = Way::to(&Target::BuiltIn { dir: "/data/archive".into(), keep_bytes: 10 << 30 });
    for (from, to) in [(&hive, &Way::by("{channel}/%Y/%j")), (&hive, &east), (&east, &built_in), (&built_in, &hive)] {
        changed_at_every_call(from, to).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_two_hours_stand_in_two_directories_and_their_ranges_meet() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path()).idle(Duration::from_millis(500)).path("dt=%Y-%m-%d/hour=%H/");
    let rig = setup.start();
    for n in 0..20 {
        rig.append_at(LEAP_US + n * 100_000, n * 10..n * 10 + 10).await;
    }
    until("all archived", || rig.account().waiting == 0).await;
    let status = rig.status.clone();
    rig.stop().await;
    let [before, after] = &setup.objects()[..] else { panic!("two objects") };
    let place = |found: &Found| found.path.strip_prefix(dir.path().join("objects")).unwrap().to_owned();
    assert!(place(before).starts_with("dt=2024-02-29/hour=23"), "{:?}", before.path);
    assert!(place(after).starts_with("dt=2024-03-01/hour=00"), "{:?}", after.path);
    assert_eq!(status.seen().last_object.map(PathBuf::from), Some(place(after)));
    assert_eq!((before.object.spans, after.object.spans, before.object.last + 1), (100, 100, after.object.first));
    assert_each_once(&setup.objects(), 0..200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_that_jumps_to_and_fro_loses_no_span_and_makes_few_objects() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path()).idle(Duration::from_millis(500)).path("dt=%Y-%m-%d/hour=%H/");
    let rig = setup.start();
    for n in 0..200 {
        let jump = if n % 2 == 0 { 0 } else { 24 * HOUR_US };
        rig.append_at(LEAP_US + jump, n * 10..n * 10 + 10).await;
    }
    until("all archived", || rig.account().waiting == 0).await;
    rig.stop().await;
    let found = setup.objects();
    // A slow machine may let idle time pass between two frames.
    assert!(found.len() < 100, "{} objects of 200 frames", found.len());
    assert_each_once(&found, 0..2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_between_two_directories_leaves_nothing_behind_that_the_next_start_does_not_take() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path()).path("%H");
    let rig = setup.start();
    rig.append_at(LEAP_US, 0..10).await;
    rig.append_at(LEAP_US + HOUR_US, 10..20).await;
    rig.stop().await;
    let stands = setup.objects();
    assert!(!stands.is_empty());
    assert_each_once(&stands, 0..stands.iter().map(|found| found.object.spans).sum());
    setup.start().stop().await;
    assert_each_once(&setup.objects(), 0..20);
    assert_eq!(setup.objects().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_made_and_not_synced_is_there_with_its_objects_after_a_loss_of_power() {
    let sim = SimDisk::new();
    let mut setup = Setup::new(Path::new("/data"));
    setup.disk = sim.disk();
    setup.archive.target = Target::Local { dir: "/bulk/objects".into() };
    sim.disk().create_dir_all(Path::new("/bulk")).unwrap();
    // It is made, and the sync of its name fails.
    sim.fault_at(sim.calls() + 2, Fault::Fail);
    sim.disk().create_dir_all(Path::new("/bulk/objects")).unwrap_err();
    let rig = setup.start();
    rig.append(0..10).await;
    rig.stop().await;
    setup.disk = sim.lost_power(Power::Nothing).disk();
    assert_each_once(&setup.objects(), 0..10);
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_that_somebody_else_made_are_synced_with_the_object_in_them() {
    let sim = SimDisk::new();
    let mut setup = Setup::new(Path::new("/data")).path("%Y/%m");
    setup.disk = sim.disk();
    sim.disk().create_dir_all(Path::new("/data/objects/1970/01")).unwrap();
    let rig = setup.start();
    rig.append(0..10).await;
    rig.stop().await;
    let synced = sim.synced_dirs();
    for dir in ["/data/objects", "/data/objects/1970", "/data/objects/1970/01"] {
        assert!(synced.contains(Path::new(dir)), "{dir} is not among {synced:?}");
    }
}
