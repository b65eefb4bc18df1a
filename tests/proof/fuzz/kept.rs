//! What lies in archives, and beside a replay: objects read back, and the file that says how far a replay came.
//!
//! Of an object, checksums and the thousand bytes of a footer leave plain mutation nothing to reach. So an input's
//! first byte says what the rest is: lines, which are compressed here, or edits to a good object of one of the formats.

use std::io::{IoSlice, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use spangate::archive::Format;
use spangate::archive::format::{Encoder, Part};
use spangate::archive::object::{Object, ObjectName};
use spangate::archive::read::{Selection, Trouble, Walk};
use spangate::archive::store::{Store, local::Local};
use spangate::channel::{FrameAt, Head, Item, Kind, Origin};
use spangate::cli::archive::replay::state::Form;
use spangate::disk::{Disk, MemoryDisk, Open};
use spangate::span::{Annotation, Batch, Endpoint, Span, TraceId};
use spangate::tasks;
use spangate::wire::{Limits, json_v2};
use tokio::runtime::Runtime;

use super::rest::edited;
use super::wire::is_canonical;

const SPANS: u64 = 6;
/// No object here comes near it; damage that claims more is refused or reads less.
const ROWS_MAX: usize = 1 << 20;

pub fn object(input: &[u8]) {
    is_whole(input);
}

/// Whether the object that an input means is read to its end.
pub fn is_whole(input: &[u8]) -> bool {
    let Some((&kind, rest)) = input.split_first() else { return false };
    match kind % 5 {
        0 => lines(Format::JsonLinesGzip1, rest),
        1 => lines(Format::JsonLinesZstd1, rest),
        2 => edits(Format::JsonLinesGzip1, rest),
        3 => edits(Format::JsonLinesZstd1, rest),
        _ => edits(Format::Parquet1, rest),
    }
}

/// An object of these lines: what each alone is, and no object where one is not one span.
fn lines(format: Format, text: &[u8]) -> bool {
    let count = text.iter().filter(|byte| **byte == b'\n').count() as u64;
    let facts = facts(count);
    let mut file = Encoder::new(format, &facts, Vec::new()).and_then(Encoder::finish).expect("memory takes it");
    // Behind the empty content that has the facts another one follows, as both formats allow.
    match format {
        Format::JsonLinesGzip1 => {
            let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            gzip.write_all(text).expect("memory takes it");
            file = gzip.finish().expect("memory takes it");
        }
        _ => file.extend(zstd::encode_all(text, 1).expect("memory takes it")),
    }
    let alone: Option<Vec<_>> = text.split_inclusive(|byte| *byte == b'\n').map(one_span).collect();
    let read = read(format, &file, &facts);
    let is_whole = read.is_ok();
    match (read, alone) {
        (Ok(spans), Some(alone)) => assert!(spans == alone.concat(), "lines are other spans together than alone"),
        (Ok(_), None) => assert!(text.ends_with(b"\n"), "a last line without an end is taken"),
        (Err(_), None) => {}
        // What follows a list is passed over where a line stands alone, as in `{...}]`.
        (Err(trouble), Some(_)) => assert!(!text.split(|byte| *byte == b'\n').all(is_json), "good lines: {trouble}"),
    }
    is_whole
}

/// Whether a line is one JSON value, or nothing.
fn is_json(line: &[u8]) -> bool {
    line.is_empty() || serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

/// The span of a line that ends.
fn one_span(line: &[u8]) -> Option<Vec<u8>> {
    let list = [b"[", line.strip_suffix(b"\n")?, b"]"].concat();
    let mut batch = Batch::default();
    let limits = Limits { entries: usize::MAX, span_bytes: usize::MAX, ..Limits::default() };
    json_v2::decode(&list, &limits, &mut batch).ok()?;
    (batch.items.len() == 1).then_some(batch.body)
}

/// A good object after edits: where its content has a checksum, it is as it was or damaged.
fn edits(format: Format, edits: &[u8]) -> bool {
    let (whole, spans) = good(format);
    let file = edited(whole, edits);
    let read = read(format, &file, &facts(SPANS));
    let unchecked = format == Format::Parquet1 && file != *whole;
    assert!(unchecked || read.as_ref().is_ok_and(|read| read == spans) || read.is_err() && file != *whole);
    read.is_ok()
}

/// A good object, and the spans that are in it.
fn good(format: Format) -> &'static (Vec<u8>, Vec<u8>) {
    static GOOD: OnceLock<Vec<(Vec<u8>, Vec<u8>)>> = OnceLock::new();
    let all = GOOD.get_or_init(|| Format::ALL.map(encoded).into());
    &all[Format::ALL.iter().position(|known| *known == format).expect("one of all")]
}

fn encoded(format: Format) -> (Vec<u8>, Vec<u8>) {
    let part = part();
    let mut encoder = Encoder::new(format, &facts(SPANS), Vec::new()).expect("memory takes it");
    encoder.add(&part).expect("memory takes it");
    (encoder.finish().expect("memory takes it"), part.body.to_vec())
}

/// A frame of spans that have all that a span can have.
fn part() -> Part {
    let mut batch = Batch::default();
    for n in 1..=SPANS {
        let endpoint = |name: &'static str| Endpoint {
            service_name: Some(name.into()),
            ipv4: Some([10, 0, 0, n as u8]),
            ipv6: (n % 2 == 0).then_some([n as u8; 16]),
            port: 80,
        };
        batch.push(&mut Span {
            trace_id: TraceId { high: n % 2, low: 0x9E37 * n },
            parent_id: n - 1,
            id: n,
            kind: spangate::span::Kind::from_number(n % 5),
            name: Some("get".into()),
            timestamp_us: 1_795_000_000_000_000 + n,
            duration_us: n,
            local: Some(endpoint("front")),
            remote: (n % 3 != 0).then(|| endpoint("back")),
            annotations: vec![Annotation { timestamp_us: n, value: "retry".into() }],
            tags: vec![("http.path".into(), "/api".into()), ("n".into(), n.to_string().into())],
            debug: n == 1,
            shared: n == 2,
        });
    }
    let items: Vec<Item> =
        batch.items.iter().map(|i| Item { key: i.key, len: i.len, label: i.label, flags: i.flags }).collect();
    let head = Head {
        at: FrameAt { segment: 0, offset: 4096, first: 0, items: SPANS as u32 },
        kind: Kind::Spans,
        received_us: 1_795_000_000_000_000,
        origin: Arc::new(Origin(vec![("listener".into(), "http".into())])),
        labels: batch.labels,
        items,
        body_len: batch.body.len() as u32,
    };
    Part { head: Arc::new(head), items: Range { start: 0, end: SPANS as u32 }, body: batch.body.into() }
}

fn facts(spans: u64) -> Object {
    let last = spans.max(1) - 1;
    Object { channel: "00112233445566778899aabbccddeeff".into(), partition: 0, first: 0, last, spans, bytes: 4000 }
}

/// All spans of an object that stands in a directory, as `spangate archive cat` reads it.
fn read(format: Format, file: &[u8], facts: &Object) -> Result<Vec<u8>, Trouble> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime")
    });
    // What blocks is done on this thread.
    tasks::simulate();
    let (disk, dir) = (MemoryDisk::new(), PathBuf::from("/archive"));
    disk.create_dir_all(&dir).expect("memory takes it");
    let at = disk.open(&dir.join(facts.name(format.extension())), Open::Truncate).expect("memory takes it");
    at.write_at(&[IoSlice::new(file)], 0).expect("memory takes it");
    let store: Arc<dyn Store> = Arc::new(Local::new(Arc::new(disk), dir, Some(0)));
    let objects = runtime.block_on(store.list()).expect("memory can be listed");
    let (mut spans, mut next) = (Vec::new(), 0);
    for piece in Walk::new(store, runtime.handle().clone(), Selection::default(), objects) {
        let piece = piece?;
        is_canonical(&piece.spans);
        assert_eq!(piece.spans.items.len(), piece.about.len(), "a span without a row");
        assert!(piece.about.iter().all(|about| (next..piece.end).contains(&about.row)), "rows of another piece");
        next = piece.end.max(next);
        spans.extend(piece.spans.body);
        assert!(spans.len() < ROWS_MAX, "{} bytes of spans from {} of an object", spans.len(), file.len());
    }
    Ok(spans)
}

/// How far a replay came: what is read says itself again.
pub fn state(text: &[u8]) {
    if let Ok(form) = Form::parse(text) {
        assert_eq!(Form::parse(&form.to_bytes()).as_ref(), Ok(&form));
    }
}

/// What an object's file holds whose head has its facts as a name.
const CONTENT: &str = "jsonl";

/// A name that somebody gave to a file of an archive, or to what it holds: it is an object's, and no other name is, or
/// nobody's.
pub fn name(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let mut objects = 0;
    for extension in Format::ALL.map(Format::extension).into_iter().chain([CONTENT]) {
        if let Some(ObjectName { channel, partition, first, last }) = ObjectName::parse(&text, extension) {
            let object = Object { channel, partition, first, last, spans: 0, bytes: 0 };
            assert_eq!(object.name(extension), text, "two names of one object");
            assert!(first <= last, "an object of no position");
            objects += 1;
        }
        if let Some(object) = Object::from_long_name(&text, extension) {
            assert_eq!(object.long_name(extension), text, "two names of one object");
            assert_eq!(object.to_string().parse(), Ok(object));
            objects += 1;
        }
    }
    assert!(objects <= 1, "two objects of one name");
    if let Ok(object) = text.parse::<Object>() {
        assert_eq!(object.to_string(), text, "two texts of one object");
    }
    if !text.contains('\0') {
        let head = flate2::GzBuilder::new().filename(text.as_bytes()).write(Vec::new(), flate2::Compression::none());
        let head = head.finish().expect("memory takes it");
        let facts = Format::JsonLinesGzip1.facts(head.len() as u64, &mut |_, _| Ok(head.clone()));
        assert_eq!(facts.expect("memory can be read").ok(), Object::from_long_name(&text, CONTENT));
    }
}
