use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::*;
use crate::archive::format::{Encoder, Part};
use crate::archive::object::{Object, ObjectName};
use crate::archive::store::local::Local;
use crate::channel::{FrameAt, Head, Item, Kind};
use crate::disk::{Disk, MemoryDisk, Open};
use crate::span::{self, Annotation, Endpoint, Span, TraceId, canonical};

const CHANNEL: &str = "0123456789abcdef0123456789abcdef";
const HOUR_US: u64 = 3_600_000_000;

/// A frame that came in at `received_us` by `category`; its ids are its positions, plus one.
fn frame(first: u64, received_us: u64, category: &str, mut spans: Vec<Span<'_>>) -> Part {
    let mut batch = Batch::default();
    spans.iter_mut().for_each(|span| batch.push(span));
    let count = batch.items.len() as u32;
    let items = batch.items.iter().map(|i| Item { key: i.key, len: i.len, label: i.label, flags: i.flags }).collect();
    let origin =
        [("listener", "scribe"), ("category", category)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let head = Head {
        at: FrameAt { segment: 0, offset: 4096, first, items: count },
        kind: Kind::Spans,
        received_us,
        origin: Arc::new(Origin(origin.into())),
        labels: batch.labels,
        items,
        body_len: batch.body.len() as u32,
    };
    Part { head: Arc::new(head), items: 0..count, body: batch.body.into() }
}

fn plain(id: u64, service: &'static str) -> Span<'static> {
    let local = Some(Endpoint { service_name: Some(service.into()), ..Endpoint::default() });
    let trace_id = TraceId { high: id % 2, low: id.wrapping_mul(0x9E37_79B9_7F4A_7C15) };
    Span { trace_id, id, local, timestamp_us: id * HOUR_US, ..Span::default() }
}

/// A span of which anything may be there or not.
fn any(id: u64, chance: &mut fastrand::Rng) -> Span<'static> {
    let mut text =
        |max: usize| -> String { (0..chance.usize(..max)).map(|_| chance.char('\0'..='\u{10ffff}')).collect() };
    let texts: Vec<String> = (0..40).map(|_| text(12)).collect();
    let mut texts = texts.into_iter();
    let mut next = || texts.next().unwrap();
    let (names, tags, values): ([String; 3], Vec<_>, Vec<_>) =
        (std::array::from_fn(|_| next()), (0..5).map(|_| (next(), next())).collect(), (0..5).map(|_| next()).collect());
    let mut endpoint = |name: &String| {
        chance.bool().then(|| Endpoint {
            service_name: chance.bool().then(|| name.clone().into()),
            ipv4: chance.bool().then(|| chance.u32(..).to_be_bytes()),
            ipv6: chance.bool().then(|| chance.u128(..).to_be_bytes()),
            port: chance.u16(..3),
        })
    };
    let (local, remote) = (endpoint(&names[0]), endpoint(&names[1]));
    let annotation = |value: String| Annotation { timestamp_us: chance.u64(..), value: value.into() };
    let annotations = values.into_iter().map(annotation).collect();
    Span {
        trace_id: TraceId { high: chance.u64(..2), low: chance.u64(1..) },
        parent_id: chance.u64(..3),
        id,
        kind: span::Kind::from_number(chance.u64(..6)),
        name: chance.bool().then(|| names[2].clone().into()),
        timestamp_us: chance.u64(..3),
        duration_us: chance.u64(..),
        local,
        remote,
        annotations: if chance.bool() { annotations } else { Vec::new() },
        tags: tags.into_iter().take(chance.usize(..6)).map(|(k, v)| (k.into(), v.into())).collect(),
        debug: chance.bool(),
        shared: chance.bool(),
    }
}

struct Shelf {
    disk: Arc<MemoryDisk>,
    runtime: Runtime,
}

impl Shelf {
    fn new() -> Shelf {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let disk = Arc::new(MemoryDisk::new());
        disk.create_dir_all(&PathBuf::from("/archive")).unwrap();
        Shelf { disk, runtime }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(Local::new(self.disk.clone(), "/archive".into(), Some(0)))
    }

    fn list(&self) -> Vec<Listed> {
        self.runtime.block_on(self.store().list()).unwrap()
    }

    fn put(&self, format: Format, parts: &[Part]) -> String {
        let (bytes, name) = object(format, parts);
        self.write(&name, &bytes);
        name
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let file = self.disk.open(&PathBuf::from("/archive").join(name), Open::Truncate).unwrap();
        file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    }

    fn walk(&self, selection: &Selection) -> Walk {
        Walk::new(self.store(), self.runtime.handle().clone(), selection.clone(), self.list())
    }

    /// Ids of what a selection gives, by object; and what went wrong.
    fn ids(&self, selection: &Selection) -> (Vec<u64>, Vec<Trouble>) {
        let (mut ids, mut troubles) = (Vec::new(), Vec::new());
        for next in self.walk(selection) {
            match next {
                Ok(piece) => ids.extend(
                    canonical::elements(&piece.spans.body).map(|span| canonical::read(span.unwrap()).unwrap().id),
                ),
                Err(trouble) => troubles.push(trouble),
            }
        }
        (ids, troubles)
    }

    fn found(&self, selection: Selection) -> Vec<u64> {
        let (ids, troubles) = self.ids(&selection);
        assert!(troubles.is_empty(), "{troubles:?}");
        ids
    }
}

/// An object of these parts, and its name.
fn object(format: Format, parts: &[Part]) -> (Vec<u8>, String) {
    let spans: u64 = parts.iter().map(|part| u64::from(part.items.end - part.items.start)).sum();
    let (first, last) = (parts[0].head.at.first, parts.last().unwrap());
    let last = last.head.at.first + u64::from(last.items.end) - 1;
    let bytes = parts.iter().map(Part::bytes).sum();
    let object = Object { channel: CHANNEL.into(), partition: 0, first, last, spans, bytes };
    let mut encoder = Encoder::new(format, &object, Vec::new()).unwrap();
    parts.iter().for_each(|part| encoder.add(part).unwrap());
    (encoder.finish().unwrap(), object.name(format.extension()))
}

/// Positions 0 to 5 of two services, an hour apart, by two categories.
fn six() -> Vec<Part> {
    let service = |id: u64| if id % 2 == 1 { "shop" } else { "stock" };
    let part = |id: u64| frame(id - 1, id * HOUR_US, if id < 4 { "a" } else { "b" }, vec![plain(id, service(id))]);
    (1..=6).map(part).collect()
}

#[test]
fn what_comes_back_is_what_went_in_whichever_the_format() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    for format in Format::ALL {
        let (shelf, mut chance) = (Shelf::new(), fastrand::Rng::with_seed(seed));
        let parts: Vec<Part> = (0..30)
            .map(|n| frame(n * 100, n + 1, "a", (0..100).map(|i| any(n * 100 + i + 1, &mut chance)).collect()))
            .collect();
        shelf.put(format, &parts);
        let (mut body, mut about) = (Vec::new(), Vec::new());
        for piece in shelf.walk(&Selection::default()) {
            let piece = piece.unwrap();
            body.extend(piece.spans.body);
            about.extend(piece.about);
        }
        assert!(body == parts.iter().flat_map(|part| part.body.to_vec()).collect::<Vec<u8>>(), "{format}");
        assert!(about.iter().map(|about| about.row).eq(0..3_000));
        if format == Format::Parquet1 {
            assert!(about.iter().map(|about| about.received_us).eq((0..3_000).map(|row| Some(row / 100 + 1))));
            assert!(about.iter().all(|about| about.origin == Some(parts[0].head.origin.clone())));
        }
    }
}

#[test]
fn a_selection_takes_what_it_says_and_nothing_else() {
    for format in Format::ALL {
        let shelf = Shelf::new();
        shelf.put(format, &six());
        let all = Selection::default;
        assert_eq!(shelf.found(all()), [1, 2, 3, 4, 5, 6]);
        assert_eq!(shelf.found(Selection { from_us: Some(3 * HOUR_US), ..all() }), [3, 4, 5, 6], "{format}");
        assert_eq!(shelf.found(Selection { to_us: Some(3 * HOUR_US), ..all() }), [1, 2]);
        for (word, ids) in
            [("shop", vec![1, 3, 5]), ("s*", vec![1, 2, 3, 4, 5, 6]), ("sto*", vec![2, 4, 6]), ("z", vec![])]
        {
            assert_eq!(shelf.found(Selection { services: vec![word.into()], ..all() }), ids, "{format} {word}");
        }
        let trace = |text: &str| Selection { trace: Trace::parse(text), ..all() };
        let TraceId { high, low } = plain(3, "shop").trace_id;
        assert_eq!(shelf.found(trace(&format!("{low:016x}"))), [3]);
        assert_eq!(shelf.found(trace(&format!("{high:016x}{low:016x}"))), [3]);
        assert_eq!(shelf.found(trace(&format!("{:032x}", low))), [0; 0], "its upper half is another");
        assert_eq!(shelf.found(trace("1234")), [0; 0]);
        let positions = |channel: Option<&str>, range| Selection {
            positions: Some(Positions { channel: channel.map(str::to_owned), range }),
            ..all()
        };
        assert_eq!(shelf.found(positions(None, 2..=3)), [3, 4]);
        assert_eq!(shelf.found(positions(Some(CHANNEL), 0..=0)), [1]);
        assert_eq!(shelf.found(positions(Some("x"), 0..=9)), [0; 0]);
        assert_eq!(shelf.found(positions(None, 6..=9)), [0; 0]);
    }
}

#[test]
fn origins_are_asked_where_they_are_kept_and_elsewhere_it_is_said() {
    let category = |name: &str| Selection { categories: vec![name.into()], ..Selection::default() };
    let label = Selection { labels: [("listener".to_owned(), "scribe".to_owned())].into(), ..category("b") };
    let shelf = Shelf::new();
    shelf.put(Format::Parquet1, &six());
    assert_eq!(shelf.found(category("a")), [1, 2, 3]);
    assert_eq!(shelf.found(label.clone()), [4, 5, 6]);
    assert_eq!(shelf.found(Selection { categories: vec![], ..label }).len(), 6);
    let shelf = Shelf::new();
    let name = shelf.put(Format::JsonLinesZstd1, &six());
    let mut walk = shelf.walk(&category("a"));
    assert!(walk.next().is_none());
    assert_eq!(walk.mute(), [name]);
}

#[test]
fn an_object_with_gaps_is_taken_whole() {
    let mut parts = six();
    parts.remove(2);
    for format in Format::ALL {
        let shelf = Shelf::new();
        shelf.put(format, &parts);
        let positions = Positions { channel: None, range: 4..=4 };
        assert_eq!(shelf.found(Selection { positions: Some(positions), ..Selection::default() }), [1, 2, 4, 5, 6]);
    }
}

#[test]
fn row_groups_without_what_is_asked_for_are_not_read() {
    let part = |n: u64| {
        let spans = (0..5_000).map(|i| plain(n * 5_000 + i + 1, if n < 10 { "aa" } else { "bb" })).collect();
        frame(n * 5_000, (n + 1) * HOUR_US, "a", spans)
    };
    let parts: Vec<Part> = (0..11).map(part).collect();
    let (mut bytes, name) = object(Format::Parquet1, &parts);
    let groups = ::parquet::file::metadata::ParquetMetaDataReader::new();
    let groups = groups.parse_and_finish(&bytes::Bytes::from(bytes.clone())).unwrap();
    assert_eq!(groups.num_row_groups(), 2);
    // The pages of the first are no longer what they were.
    for (at, len) in groups.row_group(0).columns().iter().map(|column| column.byte_range()) {
        bytes[at as usize..(at + len) as usize].fill(0xFF);
    }
    let shelf = Shelf::new();
    shelf.write(&name, &bytes);
    let trace = Some(Trace::Whole(plain(54_999, "").trace_id));
    let all = Selection::default;
    assert_eq!(shelf.found(Selection { trace, ..all() }), [54_999]);
    for selection in
        [Selection { services: vec!["bb".into()], ..all() }, Selection { from_us: Some(11 * HOUR_US), ..all() }]
    {
        assert!(shelf.found(selection).into_iter().eq(50_001..=55_000));
    }
    let (_, troubles) = shelf.ids(&all());
    assert!(matches!(&troubles[..], [Trouble::Damaged { .. }]), "{troubles:?}");
}

#[test]
fn damage_costs_its_object_alone_wherever_it_is() {
    for format in Format::ALL {
        let (whole, name) = object(format, &six());
        let (next, behind) = object(format, &[frame(6, 1, "a", vec![plain(7, "shop")])]);
        let (shelf, mut silent) = (Shelf::new(), 0);
        shelf.write(&behind, &next);
        // A file of Parquet is longer and takes longer.
        for at in (0..whole.len()).step_by(if format == Format::Parquet1 { 17 } else { 2 }) {
            let mut torn = whole.clone();
            torn[at] ^= 0x10;
            shelf.write(&name, &torn);
            let (ids, troubles) = shelf.ids(&Selection::default());
            assert_eq!(ids.last(), Some(&7), "{format}, byte {at}: the object behind it is read");
            assert!(troubles.iter().all(|t| matches!(t, Trouble::Damaged { .. })), "{format}, byte {at}: {troubles:?}");
            silent += usize::from(troubles.is_empty() && ids != [1, 2, 3, 4, 5, 6, 7]);
            shelf.write(&name, &whole[..at]);
            let (ids, troubles) = shelf.ids(&Selection::default());
            assert_eq!((ids.last(), troubles.len()), (Some(&7), 1), "{format}, cut at byte {at}");
        }
        // Parquet has no checksum of its own; what a flipped bit does to a page's header shows in the values.
        assert!(format == Format::Parquet1 || silent == 0, "{format}: {silent}");
    }
}

#[test]
fn an_object_that_went_away_is_no_damage() {
    for format in Format::ALL {
        let shelf = Shelf::new();
        let name = shelf.put(format, &six());
        let mut walk = shelf.walk(&Selection::default());
        shelf.disk.remove(&PathBuf::from("/archive").join(&name)).unwrap();
        let next = walk.next().unwrap().map(|_| ());
        assert!(matches!(&next, Err(Trouble::Gone { name: gone }) if *gone == name), "{next:?}");
        assert!(walk.next().is_none());
    }
}

#[test]
fn an_object_written_before_the_time_asked_for_is_passed_over() {
    let listed = |extension: &str, written_us| {
        let parsed = ObjectName { channel: CHANNEL.into(), partition: 0, first: 0, last: 9 };
        Listed { name: format!("x.{extension}"), parsed, bytes: 1, written_us }
    };
    let selection = Selection { from_us: Some(100 * HOUR_US), ..Selection::default() };
    assert!(selection.may_hold(&listed("parquet", Some(99 * HOUR_US))), "clocks differ");
    assert!(!selection.may_hold(&listed("parquet", Some(98 * HOUR_US))));
    assert!(selection.may_hold(&listed("jsonl.gz", Some(76 * HOUR_US))), "a span's own time may lie ahead");
    assert!(!selection.may_hold(&listed("jsonl.gz", Some(75 * HOUR_US))));
    assert!(selection.may_hold(&listed("parquet", None)));
}

#[test]
fn an_object_in_the_directory_of_a_later_day_is_passed_over() {
    let listed = |dir: &str, extension: &str| {
        let parsed = ObjectName { channel: CHANNEL.into(), partition: 0, first: 0, last: 9 };
        Listed { name: format!("{dir}x.{extension}"), parsed, bytes: 1, written_us: None }
    };
    let selection = Selection { to_us: crate::clock::parse_rfc3339("2026-11-21T06:00Z"), ..Selection::default() };
    for (dir, extension, may) in [
        ("dt=2026-11-21/hour=06/", "parquet", true),
        ("dt=2026-11-22/hour=00/", "parquet", true),
        ("dt=2026-11-23/hour=00/", "parquet", false),
        ("service=a/dt=2026-11-23/", "parquet", false),
        ("dt=2026-11-29/", "jsonl.zst", true),
        ("dt=2026-11-30/", "jsonl.zst", false),
        ("dt=tomorrow/", "parquet", true),
        ("2026-12-01/", "parquet", true),
        ("", "parquet", true),
    ] {
        assert_eq!(selection.may_hold(&listed(dir, extension)), may, "{dir} {extension}");
    }
}

#[test]
fn services_between_two_names_are_told_from_others() {
    let of = |word: &str| Selection { services: vec![word.into()], ..Selection::default() };
    for (word, may) in [
        ("m", true),
        ("a", false),
        ("z", false),
        ("m*", true),
        ("g*", true),
        ("ga*", false),
        ("gz*", true),
        ("t*", true),
        ("ta*", true),
        ("tz*", false),
        ("*", true),
    ] {
        assert_eq!(of(word).may_hold_service(b"gm", b"tm"), may, "{word}");
    }
}

#[test]
fn a_trace_is_asked_for_by_half_or_whole() {
    assert_eq!(Trace::parse("ff"), Some(Trace::Low(255)));
    assert_eq!(Trace::parse("000000000000000A"), Some(Trace::Low(10)));
    let whole = TraceId { high: 1, low: 2 };
    assert_eq!(Trace::parse("00000000000000010000000000000002"), Some(Trace::Whole(whole)));
    assert_eq!(Trace::parse("10000000000000002"), Some(Trace::Whole(whole)));
    for none in ["", "0", "xyz", "+1", "000000000000000000000000000000001"] {
        assert_eq!(Trace::parse(none), None, "{none:?}");
    }
}
