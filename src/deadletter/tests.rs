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
