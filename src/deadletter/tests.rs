//! The store on a disk that tears, fails and fills.

mod memory;

use std::sync::atomic::Ordering;

use super::*;
use crate::metrics;
use memory::Memory;

fn settings() -> Settings {
    Settings {
        dir: "/dead".into(),
        refused_bytes_max: 16 << 10,
        undecodable_bytes_max: 1 << 20,
        free_min_bytes: Some(1 << 30),
    }
}

fn open(disk: &Arc<Memory>) -> (Store, Registry) {
    let registry = Registry::new(metrics::TABLE);
    let store = Store::open(settings(), disk.clone(), Clock::manual(0), "c0ffee", &registry).unwrap();
    (store, registry)
}

fn letter(position: u64) -> Letter {
    Letter {
        class: Class::Refused,
        received_us: 0,
        reason: "no".to_owned(),
        drain: "zipkin".to_owned(),
        position,
        origin: Vec::new(),
        bytes: vec![7; 100].into(),
    }
}

/// The positions of all letters kept, oldest first; panics at a line that is none.
fn positions(disk: &Memory) -> Vec<u64> {
    let text = disk.contents().into_values().flatten().collect::<Vec<_>>();
    let lines = text.split_inclusive(|b| *b == b'\n');
    lines.map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap()["position"].as_u64().unwrap()).collect()
}

fn shown(registry: &Registry, series: &str) -> f64 {
    let text = registry.render();
    let line = text.lines().find(|l| l.starts_with(series)).unwrap_or_else(|| panic!("{series} in:\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn letters_are_kept_in_order_and_counted() {
    let disk = Memory::new();
    let (store, registry) = open(&disk);
    store.write(&[letter(1), letter(2)]).unwrap();
    store.write(&[Letter { class: Class::Undecodable, ..letter(3) }]).unwrap();
    store.write(&[letter(4)]).unwrap();
    assert_eq!(
        disk.contents().into_keys().collect::<Vec<_>>(),
        ["/dead/refused/0000000000000000.jsonl", "/dead/undecodable/0000000000000000.jsonl"].map(PathBuf::from)
    );
    assert_eq!(positions(&disk), [1, 2, 4, 3], "file by file");
    assert_eq!(shown(&registry, "spangate_dead_letters_total{class=\"refused\"}"), 3.0);
    assert_eq!(shown(&registry, "spangate_dead_letters_total{class=\"undecodable\"}"), 1.0);
    assert!(disk.dir_syncs.load(Ordering::Relaxed) >= 2, "a new file's entry is synced");
}

#[test]
fn writing_goes_on_after_a_restart() {
    let disk = Memory::new();
    for position in 0..5 {
        open(&disk).0.write(&[letter(position)]).unwrap();
    }
    assert_eq!(positions(&disk), [0, 1, 2, 3, 4]);
    assert_eq!(disk.contents().len(), 1);
}

#[test]
fn a_torn_end_is_cut_wherever_it_was_torn() {
    let mut line = Vec::new();
    line::write(&mut line, &letter(9), "c0ffee", 0);
    let mut torn: Vec<Vec<u8>> = (0..line.len()).map(|cut| line[..cut].to_vec()).collect();
    torn.push(vec![0; 700]);
    torn.push([&[0; 50], &line[50..]].concat());
    torn.push([&line[..50], &[0; 20], &line[70..], &line[..30]].concat());
    torn.push(b"\n\n".to_vec());
    for end in torn {
        let disk = Memory::new();
        open(&disk).0.write(&[letter(1)]).unwrap();
        disk.tear("0000000000000000.jsonl", &end);
        open(&disk).0.write(&[letter(2)]).unwrap();
        assert_eq!(positions(&disk), [1, 2], "after {end:?}");
    }
}

#[test]
fn the_oldest_file_goes_first_and_is_counted() {
    let disk = Memory::new();
    let (store, registry) = open(&disk);
    for position in 0..200 {
        store.write(&[letter(position)]).unwrap();
        let bytes: usize = disk.contents().values().map(Vec::len).sum();
        assert!(bytes <= 16 << 10, "{bytes} bytes kept");
        assert_eq!(shown(&registry, "spangate_dead_letters_bytes{class=\"refused\"}"), bytes as f64);
    }
    let kept = positions(&disk);
    assert_eq!(kept, (200 - kept.len() as u64..200).collect::<Vec<_>>());
    assert!(kept.len() > 20, "{} kept", kept.len());
    let removed = shown(&registry, "spangate_dead_letters_removed_total{class=\"refused\"}");
    assert_eq!(removed as usize, 200 - kept.len());
}

#[test]
fn a_letter_beyond_the_bound_alone_is_kept() {
    let disk = Memory::new();
    let (store, _) = open(&disk);
    store.write(&[letter(1)]).unwrap();
    store.write(&[Letter { bytes: vec![1; 100_000].into(), ..letter(2) }]).unwrap();
    assert_eq!(positions(&disk), [2]);
    store.write(&[letter(3)]).unwrap();
    assert_eq!(positions(&disk), [3]);
}

#[test]
fn after_a_failed_sync_another_file_is_begun() {
    let disk = Memory::new();
    let (store, registry) = open(&disk);
    store.write(&[letter(1)]).unwrap();
    disk.fail_sync.store(true, Ordering::Relaxed);
    store.write(&[letter(2)]).expect_err("the sync failed");
    assert_eq!(shown(&registry, "spangate_dead_letters_total{class=\"refused\"}"), 1.0);
    store.write(&[letter(2)]).unwrap();
    assert_eq!(positions(&disk), [1, 2]);
    assert_eq!(disk.contents().len(), 2);
}

#[test]
fn nothing_is_written_into_the_reserve() {
    let disk = Memory::new();
    let (store, registry) = open(&disk);
    disk.free.store((1 << 30) + 100, Ordering::Relaxed);
    let error = store.write(&[letter(1)]).expect_err("no room");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("/dead"), "{error}");
    assert_eq!(shown(&registry, "spangate_dead_letters_total{class=\"refused\"}"), 0.0);
    disk.free.store(2 << 30, Ordering::Relaxed);
    store.write(&[letter(1)]).unwrap();
}

fn all(store: &Store, filter: &Filter) -> Vec<u64> {
    let parts = store.parts();
    parts.iter().flat_map(|part| store.choose(*part, filter, u64::MAX).unwrap()).map(|(_, l)| l.position).collect()
}

#[test]
fn a_letter_is_read_back_as_it_was_written() {
    let disk = Memory::new();
    let (store, _) = open(&disk);
    let origin = [("via", "a"), ("listener", "scribe"), ("via", "b\n\"")].map(|(k, v)| (k.into(), v.into()));
    let class = Class::Suspect;
    store.write(&[Letter { class, origin: origin.to_vec(), bytes: vec![0, 255, 10].into(), ..letter(7) }]).unwrap();
    let mut found = Vec::new();
    read(&*disk, "/dead".as_ref(), &Filter::default(), |letter| found.push(letter)).unwrap();
    let mut origin = origin.to_vec();
    origin.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found.len(), 1);
    let Filed { class, position, bytes, origin: read_origin, .. } = found.remove(0);
    assert_eq!((class, position, &bytes[..]), (Class::Suspect, 7, &[0, 255, 10][..]));
    assert_eq!(read_origin, origin, "by key, and a key's values in order");
}

#[test]
fn letters_are_chosen_by_all_that_is_asked() {
    let disk = Memory::new();
    let (store, _) = open(&disk);
    let other = Letter { drain: "other".to_owned(), reason: "http://c: 413".to_owned(), ..letter(2) };
    let entry = Letter { class: Class::Undecodable, ..letter(3) };
    store.write(&[letter(1), other, entry, Letter { class: Class::Suspect, ..letter(4) }]).unwrap();
    let with = |change: fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        assert_eq!(Filter::from_json(filter.to_json().to_string().as_bytes()), Ok(filter.clone()));
        all(&store, &filter)
    };
    assert_eq!(with(|_| ()), [1, 2, 4, 3]);
    assert_eq!(with(|f| f.class = Some(Class::Undecodable)), [3]);
    assert_eq!(with(|f| f.drain = Some("other".into())), [2]);
    assert_eq!(with(|f| f.reason = Some("413".into())), [2]);
    assert_eq!(with(|f| f.since = Some("1970-01-01".into())), [1, 2, 4, 3]);
    assert_eq!(with(|f| f.since = Some("1970-01-02T00:00:00Z".into())), [0; 0]);
    assert_eq!(with(|f| f.until = Some("1970-01-01".into())), [0; 0]);
    assert_eq!(with(|f| f.id = Some("zipkin:c0ffee:4".into())), [4]);
    let mut limited = Vec::new();
    let filter = Filter { limit: Some(3), ..Filter::default() };
    read(&*disk, "/dead".as_ref(), &filter, |letter| limited.push(letter.position)).unwrap();
    assert_eq!(limited, [1, 2, 4]);
    for unknown in ["", "[]", "{\"clas\":\"refused\"}", "{\"class\":\"bad\"}", "{\"limit\":\"3\"}", "{\"drain\":3}"] {
        assert!(Filter::from_json(unknown.as_bytes()).is_err(), "{unknown}");
    }
}

#[test]
fn what_is_taken_out_is_gone_and_all_else_stays_while_letters_come_in() {
    let disk = Memory::new();
    let (store, registry) = open(&disk);
    store.write(&[letter(1), letter(2), letter(3)]).unwrap();
    disk.tear("0000000000000000.jsonl", b"no letter\n");
    let part = store.parts()[0];
    store.write(&[letter(4)]).unwrap();
    let lines: Vec<usize> = store.choose(part, &Filter::default(), 2).unwrap().iter().map(|(line, _)| *line).collect();
    store.take_out(part, &lines).unwrap();
    assert_eq!(all(&store, &Filter::default()), [3, 4]);
    let text =
        String::from_utf8(disk.contents()[&PathBuf::from("/dead/refused/0000000000000000.jsonl")].clone()).unwrap();
    assert!(text.ends_with("no letter\n"), "what is no letter is nobody's to remove: {text}");
    let bytes: usize = disk.contents().values().map(Vec::len).sum();
    assert_eq!(shown(&registry, "spangate_dead_letters_bytes{class=\"refused\"}"), bytes as f64);
    assert!(store.tend().is_some_and(|_tending| store.tend().is_none()), "one at a time");
    assert!(store.tend().is_some(), "and then the next");
    assert_eq!(open(&disk).0.parts().len(), 2, "after a restart, too");
}

#[test]
fn letters_give_way_before_intake_would_stop_and_the_newest_stay() {
    let disk = Memory::new();
    let (store, registry) = open(&disk);
    for position in 0..60 {
        store.write(&[letter(position), Letter { class: Class::Undecodable, ..letter(position) }]).unwrap();
    }
    let (files, floor) = (disk.contents().len(), 2 << 30);
    disk.free.store(floor + MARGIN_BYTES, Ordering::Relaxed);
    assert!(!store.give_way().unwrap(), "there is room");
    assert_eq!(disk.contents().len(), files);
    disk.free.store(floor + MARGIN_BYTES - 1, Ordering::Relaxed);
    assert!(store.give_way().unwrap());
    let left = disk.contents();
    assert_eq!(left.len(), 2, "{:?}", left.keys());
    assert!(left.values().all(|bytes| !bytes.is_empty()));
    assert_eq!(positions(&disk)[0], 60 - refused_in(&left));
    let removed = shown(&registry, "spangate_dead_letters_removed_total{class=\"refused\"}");
    assert_eq!(removed as u64, 60 - refused_in(&left));
    assert!(!store.give_way().unwrap(), "the newest of each stay");
}

fn refused_in(files: &std::collections::BTreeMap<PathBuf, Vec<u8>>) -> u64 {
    let refused = files.iter().find(|(path, _)| path.starts_with("/dead/refused"));
    refused.map_or(0, |(_, bytes)| bytes.iter().filter(|b| **b == b'\n').count() as u64)
}
