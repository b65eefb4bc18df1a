//! How the collectors of a group share what comes, while they are well and while they are not.

use std::collections::{BTreeMap, BTreeSet};

use spangate::channel::Outcome;
use spangate::drain::{Policy, Standing, Terms};

use super::gate::{Gate, seat, taken, times, trace_of, until};
use super::ids;
use crate::support::collector::{Collector, Play};

fn plain(collectors: &[Collector]) -> Vec<(&Collector, Terms)> {
    collectors.iter().map(|collector| (collector, Terms::default())).collect()
}

async fn collectors(count: usize) -> Vec<Collector> {
    let mut started = Vec::new();
    for _ in 0..count {
        started.push(Collector::start().await);
    }
    started
}

/// The traces whose spans a collector took.
fn traces(collector: &Collector) -> BTreeSet<u64> {
    collector.taken().keys().map(|id| trace_of(u64::from_str_radix(id, 16).unwrap())).collect()
}

async fn up(gate: &Gate) {
    until("all are up", || gate.status.sinks().iter().all(|sink| sink.standing == Standing::Up)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_each_policy_all_arrives_once() {
    for policy in [Policy::Random, Policy::Weighted, Policy::LeastLoaded, Policy::Failover, Policy::ByTrace] {
        let group = collectors(3).await;
        let gate = Gate::with(policy, &plain(&group));
        gate.append(0..6_000).await;
        gate.emptied().await;
        let group: Vec<&Collector> = group.iter().collect();
        assert_eq!((taken(&group), times(&group)), (ids(0..6_000), 6_000), "{policy:?}");
        assert!(group.iter().all(|collector| collector.taken().len() > 600), "{policy:?}: each has a share");
        gate.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stands_by_gets_the_flow_while_the_preferred_is_down() {
    let (mut preferred, other) = (Collector::start().await, Collector::start().await);
    let second = Terms { priority: 2, ..Terms::default() };
    let gate = Gate::with(Policy::Failover, &[(&other, second), (&preferred, Terms::default())]);
    gate.append(0..2_000).await;
    gate.emptied().await;
    assert_eq!(taken(&[&other]), ids(0..0));
    preferred.fall().await;
    gate.append(2_000..4_000).await;
    gate.emptied().await;
    assert_eq!(taken(&[&other]), ids(2_000..4_000));
    preferred.rise();
    let mut next = 4_000;
    while gate.status.sinks()[1].standing != Standing::Up {
        gate.append(next..next + 1).await;
        next += 1;
        gate.emptied().await;
    }
    let by_then = other.taken().len();
    gate.append(next..next + 2_000).await;
    gate.emptied().await;
    assert_eq!(other.taken().len(), by_then, "back to the preferred one");
    assert_eq!(taken(&[&preferred, &other]), ids(0..next + 2_000));
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_whole_to_one_collector_and_comes_back_after_its_rest() {
    let mut group = collectors(3).await;
    let gate = Gate::with(Policy::ByTrace, &plain(&group));
    gate.append(0..10_000).await;
    gate.emptied().await;
    let before: Vec<BTreeSet<u64>> = group.iter().map(traces).collect();
    assert_eq!(before.iter().map(BTreeSet::len).sum::<usize>(), 1_000, "no trace is at two collectors");

    group[0].fall().await;
    gate.append(10_000..20_000).await;
    gate.emptied().await;
    let resting: Vec<BTreeSet<u64>> = group.iter().map(traces).collect();
    for (own, resting) in before.iter().zip(&resting).skip(1) {
        let new: BTreeSet<u64> = resting.difference(own).copied().collect();
        assert!(!new.is_empty() && new.is_subset(&before[0]), "only its traces move, to the others");
    }

    group[0].rise();
    let mut next = 20_000;
    while gate.status.sinks()[0].standing != Standing::Up {
        gate.append(next..next + 1_000).await;
        next += 1_000;
        gate.emptied().await;
    }
    let seen: Vec<BTreeMap<String, u32>> = group.iter().map(Collector::taken).collect();
    gate.append(next..next + 10_000).await;
    gate.emptied().await;
    for ((collector, seen), before) in group.iter().zip(&seen).zip(&before) {
        let of = |id: &String| trace_of(u64::from_str_radix(id, 16).unwrap());
        let now: BTreeSet<u64> = collector.taken().keys().filter(|id| !seen.contains_key(*id)).map(of).collect();
        assert_eq!(now, *before, "each trace is where it was");
    }
    let group: Vec<&Collector> = group.iter().collect();
    assert_eq!(taken(&group), ids(0..next + 10_000));
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_of_a_collector_that_hangs_are_shared_out_anew() {
    let group = collectors(3).await;
    let gate = Gate::with(Policy::ByTrace, &plain(&group));
    group[1].play(Play::Hang);
    gate.append(0..20_000).await;
    gate.emptied().await;
    assert_eq!(taken(&[&group[0], &group[2]]), ids(0..20_000));
    assert_eq!(gate.outcome(Outcome::Delivered), 20_000);
    group[1].play(Play::Ok);
    let mut next = 20_000;
    while group[1].taken().is_empty() {
        gate.append(next..next + 1_000).await;
        next += 1_000;
        gate.emptied().await;
    }
    up(&gate).await;
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collectors_come_and_go_and_nothing_is_left_behind() {
    for policy in [Policy::RoundRobin, Policy::ByTrace] {
        let group = collectors(4).await;
        let gate = Gate::with(policy, &plain(&group[..2]));
        group[0].play(Play::Hang);
        gate.append(0..2_000).await;
        until("some hang", || gate.status.sinks()[0].in_flight > 0).await;
        // The one that hangs leaves, two come, one stays.
        let stays = gate.seats.borrow()[1].clone();
        let new: Vec<_> = group[2..].iter().enumerate().map(|(n, c)| seat(&gate, n + 2, c)).collect();
        gate.seats.send_replace([vec![stays], new].concat());
        gate.append(2_000..6_000).await;
        gate.emptied().await;
        let names: Vec<String> = gate.status.sinks().into_iter().map(|sink| sink.name).collect();
        assert_eq!(names, ["sink-1", "sink-2", "sink-3"]);
        let all: Vec<&Collector> = group.iter().collect();
        assert_eq!((taken(&all), times(&all)), (ids(0..6_000), 6_000), "{policy:?}");
        assert!(group[1..].iter().all(|c| c.taken().len() > 500), "{policy:?}");
        assert!(!gate.registry.render().contains("sink-0"), "nobody is alarmed by one that is gone");
        // All leave but a new one: it takes what there is.
        gate.seats.send_replace(vec![seat(&gate, 4, &group[3])]);
        gate.append(6_000..7_000).await;
        gate.emptied().await;
        assert_eq!(taken(&all), ids(0..7_000));
        gate.close().await;
    }
}
