//! The hand-over between senders, the log's owner and drains that wait, in thousands of orders of their steps.
//!
//! The channel is the product's own; its locks, its bell and its thread are shuttle's (`channel::locks`), which lets
//! one thread go on at a time and decides at each lock which. Time stands still, so no timer mends what a wake-up left
//! out: a drain that waits for ever is a deadlock, which shuttle reports with the order that led to it. A wake-up
//! itself is tokio's `Notify`, which tokio explores by its own means; ours is when it is called.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "orders/scheduler.rs"]
mod scheduler;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use scheduler::{Bounded, begin};
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};
use spangate::channel::{
    AppendError, Channel, Draft, Item, Kind, NO_LABEL, Origin, Outcome, Settings, Start, Sync, Takes, Tap,
};
use spangate::clock::Clock;
use spangate::disk::MemoryDisk;
use spangate::metrics::{Registry, TABLE};
use spangate::planted::{Planted, plant};

/// Orders by chance; and by chance with so many steps aside at most, which finds rare ones.
const BY_CHANCE: usize = 5_000;
const ASIDE: usize = 3;
const SEED: u64 = 7;

fn open() -> Channel {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    let registry = REGISTRY.get_or_init(|| Registry::new(TABLE));
    let settings = Settings {
        dir: "/channel".into(),
        capacity_bytes: 16 << 20,
        capacity_spans: None,
        sync: Sync::Always,
        free_min_bytes: Some(0),
        cache_bytes: 1 << 20,
    };
    Channel::open(settings, Arc::new(MemoryDisk::new()), Clock::manual(1), registry).unwrap().0
}

fn tap(channel: &Channel, drain: u64) -> Tap {
    channel.tap(&format!("drain-{drain}"), Start::End, Takes::Common).unwrap()
}

fn message() -> Vec<Draft> {
    let items = vec![Item { key: 1, len: 8, label: NO_LABEL, flags: 0 }];
    let origin = Arc::new(Origin::default());
    let body = Bytes::from_static(b"a span's");
    vec![Draft { kind: Kind::Spans, addressee: None, received_us: 1, origin, labels: vec![], items, body }]
}

/// Takes and settles so many frames, in order.
async fn drain(mut tap: Tap, frames: u64) {
    for n in 0..frames {
        let taken = tap.next().await.unwrap().expect("it does not stop before all is taken");
        assert_eq!(taken.head.at.first, n, "a frame is passed over, or given again");
        tap.ledger().settle(n..n + 1, Outcome::Delivered);
    }
}

async fn send(channel: Channel) {
    channel.append(message()).wait().await.unwrap();
}

/// Each sender sends one message and hears yes; each drain is given them all.
fn hand_over(senders: u64, drains: u64) {
    let channel = open();
    let taps: Vec<Tap> = (0..drains).map(|n| tap(&channel, n)).collect();
    begin();
    let drains: Vec<_> = taps.into_iter().map(|tap| thread::spawn(move || block_on(drain(tap, senders)))).collect();
    for _ in 1..senders {
        let channel = channel.clone();
        thread::spawn(move || block_on(send(channel)));
    }
    block_on(send(channel.clone()));
    drains.into_iter().for_each(|drain| drain.join().unwrap());
    channel.stop();
}

/// A stop while a drain waits, or is about to, and a sender sends: both hear of it.
fn stop() {
    let channel = open();
    let mut tap = tap(&channel, 0);
    begin();
    let drain = thread::spawn(move || {
        block_on(async {
            while let Some(taken) = tap.next().await.unwrap() {
                tap.ledger().settle(taken.head.at.first..taken.head.at.first + 1, Outcome::Delivered);
            }
        })
    });
    let sender = channel.clone();
    let sender = thread::spawn(move || block_on(sender.append(message()).wait()));
    channel.stop();
    drain.join().unwrap();
    let answer = sender.join().unwrap();
    assert!(matches!(answer, Ok(_) | Err(AppendError::Stopping)), "{answer:?}");
}

/// Runs it in as many orders as the scheduler has; how many those were.
fn in_orders(scheduler: impl Scheduler + 'static, run: impl Fn() + Send + core::marker::Sync + 'static) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _time = runtime.enter();
    let mut config = Config::new();
    // Of a thread that recovers a log.
    config.stack_size = 1 << 20;
    Runner::new(scheduler, config).run(run)
}

fn by_chance(run: impl Fn() + Send + core::marker::Sync + Clone + 'static) {
    assert_eq!(in_orders(RandomScheduler::new_from_seed(SEED, BY_CHANCE), run.clone()), BY_CHANCE);
    assert_eq!(in_orders(PctScheduler::new_from_seed(SEED, ASIDE, BY_CHANCE), run), BY_CHANCE);
}

#[test]
fn each_drain_that_waits_is_given_what_is_published_in_any_order_of_the_steps() {
    by_chance(|| hand_over(2, 3));
}

#[test]
fn a_drain_and_a_sender_hear_of_a_stop_in_any_order_of_the_steps() {
    by_chance(stop);
}

#[test]
fn one_drain_is_given_one_message_in_every_order_with_two_steps_aside() {
    let orders = in_orders(Bounded::new(2), || hand_over(1, 1));
    println!("{orders} orders");
    assert!(orders > 10_000, "{orders} orders are not all");
}

#[test]
fn a_wake_before_the_publication_is_found_with_one_step_aside() {
    let broken = || {
        in_orders(Bounded::new(1), || {
            plant(Planted::WakeBeforePublish);
            hand_over(1, 1);
        })
    };
    let why = catch_unwind(AssertUnwindSafe(broken)).expect_err("a drain that waits is not told, in some order");
    let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(why.contains("deadlock"), "{why}");
}
