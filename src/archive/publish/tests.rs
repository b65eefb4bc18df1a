//! What is read of a stretch at a time.

use super::*;
use crate::archive::Target;
use crate::archive::format::Format;
use crate::archive::lane::Rule;
use crate::archive::object::Object;
use crate::archive::plan::{Place, Recipe};
use crate::channel::{Channel, Draft, Item, Origin, Settings, Start, Sync, Takes};
use crate::clock::Clock;
use crate::disk::MemoryDisk;
use crate::drain::sieve::{Filter, Sieve};
use crate::metrics::{Registry, TABLE};

/// Items of a frame, each of one kibibyte.
const ITEMS: u32 = 400;

/// A frame's draft of which a sieve that takes debug spans takes one.
fn draft() -> Draft {
    let item = |n: u32| Item { key: 1 << 62, len: 1 << 10, label: u16::MAX, flags: if n == 0 { DEBUG } else { 0 } };
    Draft {
        kind: Kind::Spans,
        addressee: None,
        received_us: 1,
        origin: Arc::new(Origin::default()),
        labels: vec![],
        items: (0..ITEMS).map(item).collect(),
        body: vec![b'0'; ITEMS as usize * 1024].into(),
    }
}

const DEBUG: u8 = crate::span::ALWAYS_KEEP;

#[tokio::test]
async fn a_piece_has_a_bound_whatever_a_sieve_takes_of_its_frames() {
    let settings = Settings {
        dir: "/channel".into(),
        capacity_bytes: 256 << 20,
        capacity_spans: None,
        sync: Sync::Always,
        free_min_bytes: Some(0),
        cache_bytes: 0,
    };
    let disk = Arc::new(MemoryDisk::new());
    let (channel, _) = Channel::open(settings, disk, Clock::manual(1), &Registry::new(TABLE)).expect("a channel");
    let tap = channel.tap("archive", Start::Oldest, Takes::Common).expect("a drain");
    let frames = 20;
    channel.append((0..frames).map(|_| draft()).collect()).wait().await.expect("room");
    let object = Object {
        channel: channel.id().to_owned(),
        partition: 0,
        first: 0,
        last: u64::from(frames * ITEMS) - 1,
        spans: u64::from(frames),
        bytes: u64::from(frames) << 10,
    };
    let rule = Rule { sieve: Sieve::new(Filter::default(), 0.0), ..Rule::default() };
    let recipe = Recipe { format: Format::Parquet1, rule, lane: None };
    let place = Place::of(&Target::Local { dir: "/spans".into() }).expect("a directory");
    let (plan, ledger) = (Plan::new(recipe, place, "", object), tap.ledger());
    let mut reading = Reading::new(&ledger, &plan);
    let mut spans = 0;
    loop {
        let parts = reading.piece().await.expect("it is all there");
        let held: usize = parts.iter().map(|part| part.body.len()).sum();
        assert!(held as u64 <= PIECE_BYTES + (512 << 10), "{held} bytes for {} spans", parts.len());
        if parts.is_empty() {
            break;
        }
        spans += parts.len() as u32;
    }
    assert_eq!(spans, frames);
    channel.stop();
}
