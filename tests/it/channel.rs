//! The durable channel through its public face: workloads, crashes, damage, full disks.

use std::sync::Arc;

use bytes::Bytes;
use spangate::channel::{
    Account, Channel, Draft, Found, Item, Kind, NO_LABEL, OpenError, Origin, Outcome, Settings, Start, Sync, Takes,
};
use spangate::clock::Clock;
use spangate::disk::{self, Disk};
use spangate::metrics::{Registry, TABLE};

fn settings(dir: &std::path::Path) -> Settings {
    Settings {
        dir: dir.join("channel"),
        capacity_bytes: 1 << 20,
        capacity_spans: None,
        sync: Sync::Always,
        free_min_bytes: Some(0),
        cache_bytes: 64 * 1024,
    }
}

fn open(settings: &Settings, disk: &Arc<dyn Disk>) -> Result<(Channel, Found), OpenError> {
    Channel::open(settings.clone(), disk.clone(), Clock::manual(1_000_000), &Registry::new(TABLE))
}

/// A draft of the given spans' bytes, which are their own names in these tests.
fn draft(addressee: Option<&str>, spans: &[&str]) -> Draft {
    let items = spans.iter().map(|s| Item { key: 7, len: s.len() as u32, label: NO_LABEL, flags: 0 }).collect();
    Draft {
        kind: Kind::Spans,
        addressee: addressee.map(str::to_owned),
        received_us: 1_000_000,
        origin: Arc::new(Origin(vec![("listener".into(), "test".into())])),
        labels: Vec::new(),
        items,
        body: Bytes::from(spans.concat()),
    }
}

fn account(channel: &Channel, drain: &str) -> Account {
    let account = channel.snapshot().accounts.into_iter().find(|a| a.drain == drain).unwrap();
    assert_eq!(account.accepted, account.outcomes.values().sum::<u64>() + account.waiting);
    account
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_appended_is_given_settled_and_gone_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, disk) = (settings(dir.path()), disk::real());
    let (channel, _) = open(&settings, &disk).unwrap();
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    assert_eq!(channel.append(vec![draft(None, &["one", "two"])]).wait().await, Ok(0..2));
    assert_eq!(channel.append(vec![draft(Some("dead-letters"), &["bad"])]).wait().await, Ok(2..3));
    assert_eq!(channel.append(vec![draft(None, &["three"])]).wait().await, Ok(3..4));
    let taken = tap.next().await.unwrap().unwrap();
    assert_eq!(tap.body(&taken.head).await.unwrap(), "onetwo");
    tap.ledger().settle(0..1, Outcome::Delivered);
    let three = tap.next().await.unwrap().unwrap();
    assert_eq!(three.head.at.first, 3);
    tap.ledger().commit(3..4, Outcome::Filtered, Bytes::from("note")).await.unwrap();
    assert_eq!(account(&channel, "zipkin").waiting, 1);
    channel.stop();
    assert!(tap.next().await.unwrap().is_none());
    drop((tap, channel));

    let (channel, found) = open(&settings, &disk).unwrap();
    assert_eq!((found.rescued_items, found.damaged_items, found.torn_bytes), (0, 0, 0));
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).unwrap();
    assert_eq!(tap.note(), "note");
    let taken = tap.next().await.unwrap().unwrap();
    assert_eq!((taken.head.at.first, taken.open.clone()), (0, vec![1..2]));
    assert_eq!(tap.body(&taken.head).await.unwrap(), "onetwo");
    let zipkin = account(&channel, "zipkin");
    assert_eq!((zipkin.accepted, zipkin.waiting), (3, 1));
    assert_eq!(channel.append(vec![draft(None, &["four"])]).wait().await, Ok(4..5));
}
