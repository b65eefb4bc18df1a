//! What becomes of spans that collectors refuse, and of those that break them.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use spangate::channel::Outcome;
use spangate::drain::{BatchSettings, Settings, Standing};

use super::gate::{Gate, TIMEOUT, new_dir, settings, taken, until};
use super::{id, ids, span};
use crate::support::collector::{Collector, Play};

fn chosen(numbers: impl IntoIterator<Item = u64>) -> HashSet<String> {
    numbers.into_iter().map(id).collect()
}

/// The ids of the letters of a class.
fn letters(gate: &Gate, class: &str) -> BTreeSet<String> {
    let letters = gate.letters("refused");
    let of_class = letters.iter().filter(|letter| letter["class"] == class);
    of_class.map(|letter| id(letter["position"].as_u64().unwrap())).collect()
}

async fn every(count: usize, play: &Play) -> Vec<Collector> {
    let mut collectors = Vec::new();
    for _ in 0..count {
        collectors.push(Collector::start().await);
    }
    collectors.iter().for_each(|c| c.play(play.clone()));
    collectors
}

fn refs(collectors: &[Collector]) -> Vec<&Collector> {
    collectors.iter().collect()
}

/// Little is to be halved.
fn in_batches_of(spans: u32) -> Settings {
    Settings { batch: BatchSettings { spans, bytes: 1 << 20, linger: Duration::from_millis(5) }, ..settings() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_that_breaks_every_collector_ends_in_the_letters_and_its_neighbours_go_through() {
    for (count, play) in [(1, Play::status(500)), (2, Play::Close), (2, Play::Reset), (3, Play::status(503))] {
        let deadly = chosen([7, 333, 334]);
        let collectors = every(count, &Play::ForSpans(deadly.clone(), Box::new(play.clone()))).await;
        let gate = Gate::open(&refs(&collectors));
        gate.append(0..500).await;
        gate.emptied().await;
        let mut expected = ids(0..500);
        expected.retain(|id| !deadly.contains(id));
        assert_eq!(taken(&refs(&collectors)), expected, "{play:?}");
        assert_eq!(letters(&gate, "suspect"), deadly.into_iter().collect(), "{play:?}");
        assert_eq!((gate.outcome(Outcome::Delivered), gate.outcome(Outcome::DeadLettered)), (497, 3));
        assert_eq!(gate.metric("spangate_dead_letters_total{class=\"suspect\"}"), 3.0);
        gate.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_that_hangs_its_collectors_does_not_hold_up_the_flow() {
    let collectors = every(2, &Play::ForSpans(chosen([5]), Box::new(Play::Hang))).await;
    let gate = Gate::open_in(new_dir(), in_batches_of(4), &refs(&collectors));
    let mut next = 0;
    while gate.outcome(Outcome::DeadLettered) == 0 && next < 2_000 {
        gate.append(next..next + 10).await;
        next += 10;
        until("all but one batch go through", || gate.outcome(Outcome::Delivered) + 4 >= next).await;
        tokio::time::sleep(TIMEOUT / 10).await;
    }
    gate.emptied().await;
    assert_eq!(letters(&gate, "suspect"), [id(5)].into());
    assert_eq!(gate.outcome(Outcome::Delivered), next - 1);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_makes_no_dead_letters() {
    for play in [Play::status(500), Play::Close, Play::status(400), Play::TooLargeAbove(0)] {
        let collectors = every(2, &play).await;
        let gate = Gate::open(&refs(&collectors));
        for step in 0..50 {
            gate.append(step * 40..(step + 1) * 40).await;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        collectors.iter().for_each(|c| c.play(Play::Ok));
        gate.emptied().await;
        assert_eq!(gate.outcome(Outcome::DeadLettered), 0, "{play:?}");
        assert!(taken(&refs(&collectors)) == ids(0..2_000), "{play:?}");
        gate.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_refuses_everything_is_held_and_dead_letters_nothing() {
    let a = Collector::start().await;
    let gate = Gate::open(&[&a]);
    gate.append(0..1_000).await;
    gate.emptied().await;
    a.play(Play::status(400));
    gate.append(1_000..4_000).await;
    until("it is held", || gate.status.sinks()[0].standing == Standing::Misconfigured).await;
    gate.append(4_000..6_000).await;
    // Of the spans that it refused since, not one is a letter: it has taken nothing that would prove the refusals
    // right.
    assert_eq!(gate.outcome(Outcome::DeadLettered), 0);
    assert!(gate.status.held().refused >= 1_000, "{:?}", gate.status.held());
    let asked = a.requests().len();
    assert!(asked < 20 + 2 * 1_100, "{asked} requests: it goes on cutting");
    a.play(Play::Ok);
    gate.emptied().await;
    assert!(taken(&[&a]) == ids(0..6_000));
    assert_eq!(gate.outcome(Outcome::DeadLettered), 0);
    assert_eq!(gate.status.sinks()[0].standing, Standing::Up);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_collector_that_refuses_everything_costs_its_own_share_only() {
    let (ill, well) = (Collector::start().await, Collector::start().await);
    ill.play(Play::status(400));
    let gate = Gate::open(&[&ill, &well]);
    gate.append(0..20_000).await;
    gate.emptied().await;
    assert!(taken(&[&well]) == ids(0..20_000), "all by the other");
    assert_eq!(gate.outcome(Outcome::DeadLettered), 0);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_refused_span_waits_in_sight_until_its_collector_takes_another() {
    let a = Collector::start().await;
    a.play(Play::RefuseSpans(chosen([0])));
    let gate = Gate::open(&[&a]);
    gate.append(0..1).await;
    until("it was refused more than twice", || a.requests().len() > 3).await;
    assert_eq!((gate.account("zipkin").waiting, gate.outcome(Outcome::DeadLettered)), (1, 0));
    // While it is on its way once more it is not held.
    until("it waits", || gate.status.held().refused == 1).await;
    let held = "spangate_drain_held_spans{drain=\"zipkin\",reason=\"refused\"}";
    until("it waits in sight", || gate.metric(held) == 1.0).await;
    gate.append(1..2).await;
    gate.emptied().await;
    assert_eq!((gate.outcome(Outcome::Delivered), gate.outcome(Outcome::DeadLettered)), (1, 1));
    until("nothing is held", || gate.status.held().refused == 0).await;
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_opinion_is_another_collectors() {
    let (a, b) = (Collector::start().await, Collector::start().await);
    a.play(Play::RefuseSpans(chosen([10, 20, 30])));
    let gate = Gate::open(&[&a, &b]);
    for step in 0..20 {
        gate.append(step * 50..(step + 1) * 50).await;
    }
    gate.emptied().await;
    assert_eq!(taken(&[&a, &b]), ids(0..1_000), "what one refuses the other is asked about");
    assert_eq!(gate.outcome(Outcome::DeadLettered), 0);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_size_that_was_too_large_is_remembered() {
    let a = Collector::start().await;
    let max = 20 * span(0).len();
    a.play(Play::TooLargeAbove(max));
    let gate = Gate::open(&[&a]);
    gate.append(0..2_000).await;
    gate.emptied().await;
    assert!(taken(&[&a]) == ids(0..2_000));
    let too_large = |from: usize| a.requests()[from..].iter().filter(|r| r.body.len() > max).count();
    assert!(too_large(0) <= 4 * 2, "{} of {} requests were too large", too_large(0), a.requests().len());
    let before = a.requests().len();
    gate.append(2_000..4_000).await;
    gate.emptied().await;
    assert_eq!((taken(&[&a]).len(), too_large(before)), (4_000, 0));
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_that_is_too_large_alone_is_refused() {
    let collectors = every(2, &Play::Ok).await;
    let gate = Gate::open(&refs(&collectors));
    gate.append(0..300).await;
    gate.emptied().await;
    let large = chosen([412]);
    collectors.iter().for_each(|c| c.play(Play::ForSpans(large.clone(), Box::new(Play::status(413)))));
    gate.append(300..600).await;
    gate.emptied().await;
    assert_eq!(letters(&gate, "refused"), large.into_iter().collect());
    assert_eq!(gate.outcome(Outcome::Delivered), 599);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_batches_with_bad_and_deadly_spans_come_to_an_end() {
    let (bad, deadly) = (chosen([3, 77, 2_500, 2_501]), chosen([700, 4_999]));
    let collectors = every(2, &Play::RefuseSpans(bad.clone())).await;
    collectors[1].play(Play::ForSpans(deadly.clone(), Box::new(Play::Close)));
    let gate = Gate::open_in(new_dir(), in_batches_of(1_000), &refs(&collectors));
    gate.append(0..5_000).await;
    gate.emptied().await;
    assert!(taken(&refs(&collectors)) == ids(0..5_000), "each takes what the other does not");
    assert_eq!(gate.outcome(Outcome::DeadLettered), 0);
    gate.close().await;
}
