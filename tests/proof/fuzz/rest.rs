//! What disks and people give us: frames, slots, segments, whole directories; plans, letters, configurations, paths.
//!
//! What has a CRC is never reached by plain mutation. There an input is a list of edits to a good file, and its first
//! byte says whether the CRC is made to fit afterwards.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use spangate::archive::note::{NOTE_BYTES_MAX, Note};
use spangate::archive::object::{Object, ObjectName};
use spangate::archive::path::is_clean;
use spangate::archive::{Format, Template};
use spangate::channel::survey::{Depth, Survey};
use spangate::channel::{
    Channel, Draft, Item, Kind, NO_LABEL, OpenError, Origin, Outcome, ReadError, Settings, Start, Sync, Takes, raw,
};
use spangate::clock::Clock;
use spangate::config::file::Source;
use spangate::config::{self, Typed};
use spangate::deadletter::Filed;
use spangate::disk::{Disk, MemoryDisk, Open, read_full};
use spangate::drain::Sieve;
use spangate::metrics::{Registry, TABLE};
use spangate::tasks;
use tokio::runtime::{Builder, Runtime};

const HEAD: usize = 4096;
const SLOT: usize = 8192;
const SPANS: u64 = 3;
const MESSAGES: u64 = 40;
const SPAN: usize = 700;

/// The files of a channel with a drain that settled some of it: two segments, three rows.
struct Files {
    id: Vec<u8>,
    cursors: Vec<u8>,
    /// First position, and bytes up to the last that is not zero.
    segments: Vec<(u64, Vec<u8>)>,
}

fn dir() -> PathBuf {
    PathBuf::from("/channel")
}

fn settings() -> Settings {
    Settings {
        dir: dir(),
        capacity_bytes: 512 << 10,
        capacity_spans: None,
        sync: Sync::Always,
        free_min_bytes: Some(0),
        cache_bytes: 0,
    }
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
}

/// Runs a channel, on this thread alone and in no time: a runtime and a thread of its own for each input would cost
/// more than what is tried.
pub fn alone<T>(work: impl Future<Output = T>) -> T {
    tasks::simulate();
    RUNTIME.with(|runtime| runtime.block_on(work))
}

pub fn open(disk: &Arc<dyn Disk>) -> Result<Channel, OpenError> {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    let registry = REGISTRY.get_or_init(|| Registry::new(TABLE));
    let opened = Channel::open(settings(), disk.clone(), Clock::manual(1_000_000), registry);
    opened.map(|(channel, _)| channel)
}

fn draft(message: u64, addressee: Option<&str>) -> Draft {
    let items = (0..SPANS).map(|n| Item { key: n, len: SPAN as u32, label: NO_LABEL, flags: 0 }).collect();
    let body: Vec<u8> = (0..SPANS).flat_map(|n| vec![(message * SPANS + n) as u8; SPAN]).collect();
    Draft {
        kind: Kind::Spans,
        addressee: addressee.map(str::to_owned),
        received_us: 1_000_000 + message,
        origin: Arc::new(Origin(vec![("listener".into(), "fuzz".into())])),
        labels: vec!["shop".into()],
        items,
        body: Bytes::from(body),
    }
}

fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        alone(async {
            let channel = open(&disk).unwrap();
            let mut zipkin = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
            let _archive = channel.tap("archive", Start::End, Takes::Common).unwrap();
            let _own = channel.tap("dead-letters", Start::End, Takes::Addressed).unwrap();
            for message in 0..MESSAGES {
                let addressee = (message % 10 == 3).then_some("dead-letters");
                channel.append(vec![draft(message, addressee)]).wait().await.unwrap();
            }
            for _ in 0..8 {
                let taken = zipkin.next().await.unwrap().unwrap();
                let first = taken.head.at.first;
                // One span in the middle stays open.
                zipkin.ledger().settle(first..first + 1, Outcome::Delivered);
                zipkin.ledger().settle(first + 2..first + SPANS, Outcome::Delivered);
            }
            channel.stop();
        });
        let read = |name: &str| {
            let file = disk.open(&dir().join(name), Open::Read).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            read_full(&*file, &mut bytes, 0).unwrap();
            bytes
        };
        let names = disk.list(&dir()).unwrap().into_iter().map(|entry| entry.name);
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".seg")).collect();
        names.sort();
        let segments = names.iter().map(|name| {
            let mut bytes = read(name);
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1);
            (u64::from_str_radix(&name[..16], 16).unwrap(), bytes)
        });
        Files { id: read("id"), cursors: read("cursors"), segments: segments.collect() }
    })
}

/// Edits of three bytes: where (of `bytes`, wherever in it), and what.
pub fn edited(bytes: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for edit in edits.as_chunks::<3>().0 {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) * 7919 % bytes.len();
        bytes[at] ^= edit[2];
    }
    bytes
}

pub fn frame(input: &[u8]) {
    let Some((&seal, edits)) = input.split_first() else { return };
    let segment = &files().segments[0].1;
    let salt = u64::from_le_bytes(*segment[48..].first_chunk().expect("a head"));
    let whole = &segment[HEAD..HEAD + 2400];
    let mut bytes = edited(whole, edits);
    let whole = raw::frame(&mut whole.to_vec(), salt, false).expect("a good frame");
    if let Some(head) = raw::frame(&mut bytes, salt, seal % 2 == 1) {
        assert_eq!(head.items.len(), head.at.items as usize);
        let same = head.items == whole.items && head.labels == whole.labels && head.origin == whole.origin;
        assert!(seal % 2 == 1 || same, "a head that was edited passes its CRC");
    }
}

pub fn slot(input: &[u8]) {
    let Some((&seal, edits)) = input.split_first() else { return };
    let files = files();
    let channel = files.id[12..28].try_into().expect("sixteen bytes");
    // Most of a slot is zero: edits fall on its head and its first ranges, too.
    let (head, rest) = files.cursors[..SLOT].split_at(600);
    let (ours, others) = edits.split_at(edits.len() / 6 * 3);
    let bytes = [edited(head, ours), edited(rest, others)].concat();
    let Some((low, settled, again)) = raw::slot(&bytes, channel, seal % 2 == 1) else { return };
    let (low_again, settled_again, _) = raw::slot(&again, channel, false).expect("a slot of ours");
    assert_eq!((low, settled), (low_again, settled_again));
}

fn disk_of(files: &[(&str, &[u8], u64)]) -> Arc<dyn Disk> {
    let disk = MemoryDisk::new();
    for (name, bytes, len) in files {
        let file = disk.open(&dir().join(name), Open::Truncate).unwrap();
        file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
        file.set_len((*len).max(bytes.len() as u64)).unwrap();
    }
    Arc::new(disk)
}

/// One segment, and no cursors: each of its positions is in a whole frame, or damaged.
pub fn segment(input: &[u8]) {
    let files = files();
    let segment = edited(&files.segments[0].1[..HEAD + 8 * 2560], input);
    let disk = disk_of(&[("id", &files.id, 0), ("0000000000000000.seg", &segment, 0)]);
    let survey = Survey::of(&disk, &dir(), Depth::Whole).unwrap();
    assert_eq!(survey.items() + survey.damaged, survey.end(), "positions without a fate: {:?}", survey.findings);
}

/// A whole directory: what a survey says of it is what a start makes of it, and the drains are given.
pub fn recovery(input: &[u8]) {
    let files = files();
    let parts: Vec<&[u8]> = input.chunks(input.len() / 4 + 1).collect();
    let part = |n: usize| parts.get(n).copied().unwrap_or_default();
    // A third of the inputs spare the id, and most the cursors' first row, or hardly one would start.
    let id = if part(0).len() % 8 == 1 { edited(&files.id, part(0)) } else { files.id.clone() };
    let rows = 4 * SLOT;
    let cursors =
        if part(1).len() % 3 == 1 { edited(&files.cursors[..rows], part(1)) } else { files.cursors[..rows].to_vec() };
    let [(_, first), .., (last_first, last)] = &files.segments[..] else { panic!("two segments") };
    let middle = &files.segments[1..files.segments.len() - 1];
    let (first, last, name) = (edited(first, part(2)), edited(last, part(3)), format!("{last_first:016x}.seg"));
    let names: Vec<String> = middle.iter().map(|(first, _)| format!("{first:016x}.seg")).collect();
    let mut all: Vec<(&str, &[u8], u64)> = vec![
        ("id", &id, 0),
        ("cursors", &cursors, files.cursors.len() as u64),
        ("0000000000000000.seg", &first, 0),
        (&name, &last, 64 << 10),
    ];
    all.extend(middle.iter().zip(&names).map(|((_, bytes), name)| (name.as_str(), &bytes[..], 0)));
    alone(start(disk_of(&all)));
}

async fn start(disk: Arc<dyn Disk>) {
    let survey = Survey::of(&disk, &dir(), Depth::Whole).unwrap();
    let channel = match open(&disk) {
        Ok(channel) => channel,
        Err(OpenError::Damaged { .. } | OpenError::Version { .. }) => {
            return assert!(survey.refuses(), "a refusal that was not said");
        }
        Err(other) => panic!("{other}"),
    };
    assert!(!survey.refuses(), "it was to refuse: {:?}", survey.findings);
    let accounts = channel.snapshot().accounts;
    let end = channel.append(vec![draft(0, None)]).wait().await.expect("room for a message").start;
    for drain in &survey.drains {
        let Some(account) = &drain.account else { continue };
        let real = accounts.iter().find(|real| real.drain == account.drain).expect("a drain that was seen");
        assert_eq!((real.low, real.waiting), (account.low, account.waiting), "{}", account.drain);
        if drain.takes() == Some(Takes::Common) {
            let given = read_all(&channel, &drain.name, end).await;
            assert_eq!(given.len() as u64, drain.open, "{}: {:?}", drain.name, survey.findings);
        }
    }
    channel.stop();
}

/// The open positions below `end` whose spans the channel gives, as they were written.
async fn read_all(channel: &Channel, drain: &str, end: u64) -> BTreeSet<u64> {
    let mut tap = channel.tap(drain, Start::End, Takes::Common).expect("a drain that nobody has");
    let mut given = BTreeSet::new();
    loop {
        let taken = tap.next().await.expect("memory can be read").expect("it does not stop");
        let first = taken.head.at.first;
        if first >= end {
            return given;
        }
        match tap.body(&taken.head).await {
            Ok(body) => {
                for n in taken.open.into_iter().flatten() {
                    let position = first + u64::from(n);
                    let span = &body[n as usize * SPAN..][..SPAN];
                    assert!(span.iter().all(|byte| *byte == position as u8), "position {position} is another span");
                    given.insert(position);
                }
                tap.ledger().settle(first..first + SPANS, Outcome::Delivered);
            }
            Err(ReadError::Damaged { .. }) => tap.ledger().settle(first..first + SPANS, Outcome::Damaged),
            Err(ReadError::Failed(error)) => panic!("{error}"),
        }
    }
}

pub fn plan(note: &[u8]) {
    if let Ok(Ok(object)) = std::str::from_utf8(note).map(str::parse::<Object>) {
        for extension in Format::ALL.map(Format::extension) {
            let (name, long) = (object.name(extension), object.long_name(extension));
            let said = ObjectName::parse(&name, extension).expect("a name of ours");
            assert_eq!((said.first, said.last, said.channel == object.channel), (object.first, object.last, true));
            assert_eq!(Object::from_long_name(&long, extension).as_ref(), Some(&object));
        }
        assert_eq!(object.to_string().parse(), Ok(object));
    }
    if let Ok(read) = Note::parse(note)
        && note.len() <= NOTE_BYTES_MAX
    {
        assert!(read.plan.iter().all(|plan| is_clean(&plan.name)), "a plan leaves its place");
        // Where nothing is under way and nothing was published there is nothing to say.
        let says = read.plan.is_some() || !read.marks.is_empty();
        let said = if says { read.clone() } else { Note::default() };
        assert_eq!(Note::parse(&read.to_bytes()), Ok(said));
    }
}

pub fn sieve(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    if let Ok(sieve) = text.parse::<Sieve>() {
        assert_eq!(sieve.to_string().parse::<Sieve>().ok(), Some(sieve));
    }
}

pub fn letter(line: &[u8]) {
    if let Some(letter) = Filed::read(line) {
        assert!(letter.bytes.len() <= line.len() && !letter.id().is_empty());
    }
}

pub fn config(text: &[u8]) {
    let resolve = |text: &str| {
        let asked = config::Origin::Flag("--config".into());
        let source = Source { path: "/etc/spangate.toml".into(), asked, text: Ok(text.to_owned()) };
        config::resolve(Typed { file: Some(source), working_dir: Path::new("/work").into(), ..Typed::default() })
    };
    match resolve(&String::from_utf8_lossy(text)) {
        Err(report) => assert!(!report.to_string().is_empty()),
        Ok(understood) => {
            let values = |text: &str| {
                let lines = text
                    .lines()
                    .map(|line| line.rsplit_once(" # ").map_or(line, |(value, _)| value).trim_end().to_owned());
                lines.collect::<Vec<String>>()
            };
            let said = understood.resolved.to_string();
            let again = resolve(&said).unwrap_or_else(|report| panic!("what is resolved is refused: {report}\n{said}"));
            let again = values(&again.resolved.to_string());
            let other = values(&said).into_iter().zip(again).find(|(a, b)| a != b);
            assert_eq!(other, None, "what is resolved resolves to another");
        }
    }
}

pub fn path(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let Ok(template) = Template::parse(&text) else { return };
    for us in [0, 1_795_000_000_000_000, u64::MAX] {
        let dir = template.dir(us, "00112233445566778899aabbccddeeff");
        assert!(dir.is_empty() || dir.ends_with('/'), "{dir:?}");
        assert!(is_clean(&format!("{dir}object")), "{text:?} leaves its place: {dir:?}");
    }
}
