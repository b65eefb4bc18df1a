//! Spans that go in come out, whatever the collectors do.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use spangate::channel::{Kind, Outcome};
use spangate::drain::{Settings, Standing, aside};

use super::gate::{GRACE, Gate, TIMEOUT, draft, new_dir, settings, taken, times, until};
use super::{id, ids, span};
use crate::support::collector::{Collector, Play};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_collectors_get_about_half_each() {
    let (a, b) = (Collector::start().await, Collector::start().await);
    let gate = Gate::open(&[&a, &b]);
    gate.append(0..10_000).await;
    gate.emptied().await;
    assert_eq!(taken(&[&a, &b]), ids(0..10_000));
    assert_eq!(times(&[&a, &b]), 10_000, "each once");
    for collector in [&a, &b] {
        let share = collector.taken().len();
        assert!((4_000..=6_000).contains(&share), "{share} of 10,000");
        assert!(collector.requests().iter().all(|r| r.spans.len() <= 50));
        assert_eq!(collector.errors(), [""; 0]);
    }
    assert_eq!(gate.outcome(Outcome::Delivered), 10_000);
    assert_eq!(gate.metric("spangate_repeats_total"), 0.0);
    let of = |n: usize| format!("{{drain=\"zipkin\",sink=\"sink-{n}\"");
    for (n, collector) in [&a, &b].into_iter().enumerate() {
        let delivered = format!("spangate_sink_spans_total{},outcome=\"delivered\"}}", of(n));
        assert_eq!(gate.metric(&delivered), collector.taken().len() as f64);
        assert_eq!(gate.metric(&format!("spangate_sink_in_flight{}", of(n))), 0.0);
        let requests = format!("spangate_sink_request_seconds_count{}", of(n));
        assert_eq!(gate.metric(&requests), collector.requests().len() as f64);
    }
    gate.close().await;
}

#[tokio::test]
async fn a_trickle_waits_no_longer_than_the_linger() {
    let a = Collector::start().await;
    let gate = Gate::open(&[&a]);
    gate.append(0..1).await;
    gate.emptied().await;
    // Nothing else comes to fill the batch: it is the linger that sends it.
    gate.append(1..2).await;
    until("it arrives", || a.taken().len() == 2).await;
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_starts_without_some_or_all_of_its_collectors() {
    let (mut a, mut b) = (Collector::absent(), Collector::absent());
    let gate = Gate::open(&[&a, &b]);
    gate.append(0..1_000).await;
    until("both rest", || gate.status.sinks().iter().all(|s| s.standing != Standing::Up)).await;
    assert_eq!(gate.account("zipkin").waiting, 1_000);
    a.rise();
    gate.emptied().await;
    assert_eq!(taken(&[&a]), ids(0..1_000));
    b.rise();
    let mut next = 1_000;
    while b.taken().is_empty() && next < 200_000 {
        gate.append(next..next + 100).await;
        next += 100;
    }
    gate.emptied().await;
    assert!(!b.taken().is_empty(), "the late one is used");
    assert_eq!(times(&[&a, &b]), next, "a refused connection makes no repeats");
    assert_eq!(gate.metric("spangate_repeats_total"), 0.0);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_dies_and_comes_back_loses_nothing() {
    let (a, mut b) = (Collector::start().await, Collector::start().await);
    let gate = Gate::open(&[&a, &b]);
    gate.append(0..2_000).await;
    b.fall().await;
    gate.append(2_000..4_000).await;
    gate.emptied().await;
    b.rise();
    let before = b.taken().len();
    let mut next = 4_000;
    while b.taken().len() == before && next < 200_000 {
        gate.append(next..next + 100).await;
        next += 100;
    }
    gate.emptied().await;
    assert!(b.taken().len() > before, "it is used again");
    assert_eq!(taken(&[&a, &b]), ids(0..next));
    assert_eq!(gate.outcome(Outcome::Delivered), next);
    let repeated = times(&[&a, &b]) - next;
    assert!(repeated <= 4 * 50, "{repeated} repeats, more than were in flight to one sink");
    assert!(repeated as f64 <= gate.metric("spangate_repeats_total"), "uncounted repeats");
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_collector_costs_its_own_share_only() {
    let (hung, well) = (Collector::start().await, Collector::start().await);
    hung.play(Play::Hang);
    let gate = Gate::open(&[&hung, &well]);
    let start = Instant::now();
    gate.append(0..5_000).await;
    until("the other takes all but what hangs", || well.taken().len() >= 5_000 - 4 * 50).await;
    // Taking turns with the hung one would take a dozen timeouts.
    assert!(start.elapsed() < TIMEOUT * 6, "it waited for the hung one: {:?}", start.elapsed());
    gate.emptied().await;
    assert_eq!(taken(&[&well]), ids(0..5_000));
    assert!(gate.metric("spangate_repeats_total") > 0.0, "what hung may have been taken");
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_refused_span_is_dead_lettered_and_its_neighbours_go_through() {
    let (a, b) = (Collector::start().await, Collector::start().await);
    let bad: HashSet<String> = [id(7), id(333), id(334)].into();
    a.play(Play::RefuseSpans(bad.clone()));
    b.play(Play::RefuseSpans(bad.clone()));
    let gate = Gate::open(&[&a, &b]);
    gate.append(0..500).await;
    gate.emptied().await;
    let mut expected = ids(0..500);
    expected.retain(|id| !bad.contains(id));
    assert_eq!(taken(&[&a, &b]), expected);
    assert_eq!(times(&[&a, &b]), 497, "refused batches were not taken");
    assert_eq!((gate.outcome(Outcome::Delivered), gate.outcome(Outcome::DeadLettered)), (497, 3));
    let letters = gate.letters("refused");
    let mut positions: Vec<_> = letters.iter().map(|l| l["position"].as_u64().unwrap()).collect();
    positions.sort_unstable();
    assert_eq!(positions, [7, 333, 334]);
    assert_eq!(letters[0]["drain"], "zipkin");
    assert_eq!(letters[0]["origin"]["listener"], "test");
    assert!(letters[0]["reason"].as_str().unwrap().contains("400"), "{}", letters[0]);
    assert_eq!(gate.metric("spangate_dead_letters_total{class=\"refused\"}"), 3.0);
    assert_eq!(gate.metric("spangate_sink_up{drain=\"zipkin\",sink=\"sink-0\"}"), 1.0);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_too_large_is_cut_until_it_passes() {
    let a = Collector::start().await;
    a.play(Play::TooLargeAbove(10 * span(0).len()));
    let gate = Gate::open(&[&a]);
    gate.append(0..200).await;
    gate.emptied().await;
    assert_eq!(taken(&[&a]), ids(0..200));
    assert_eq!(gate.outcome(Outcome::Delivered), 200);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_every_kind_go_to_the_other_collector() {
    let garbage = (Play::Garbage, Standing::Misconfigured);
    let missing = (Play::status(404), Standing::Misconfigured);
    let busy = (Play::Status(429, vec![("retry-after", "1".to_owned())], String::new()), Standing::Resting);
    for (play, standing) in
        [garbage, missing, busy, (Play::Reset, Standing::Resting), (Play::status(500), Standing::Resting)]
    {
        let (ill, well) = (Collector::start().await, Collector::start().await);
        ill.play(play.clone());
        let slow = Settings { backoff_min: Duration::from_secs(30), ..settings() };
        let gate = Gate::open_in(new_dir(), slow, &[&ill, &well]);
        gate.append(0..1_000).await;
        gate.emptied().await;
        assert_eq!(taken(&[&well]), ids(0..1_000), "{play:?}");
        assert_eq!(gate.outcome(Outcome::Delivered), 1_000, "{play:?}");
        assert_eq!(gate.outcome(Outcome::DeadLettered), 0, "{play:?}");
        let view = &gate.status.sinks()[0];
        assert_eq!(view.standing, standing, "{view:?}");
        assert!(view.last_error.as_ref().unwrap().contains(&ill.url()), "{view:?}");
        gate.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_replies_are_repeated_and_counted() {
    let a = Collector::start().await;
    a.play(Play::LoseReply);
    let gate = Gate::open(&[&a]);
    gate.append(0..10).await;
    until("it was taken twice", || times(&[&a]) >= 20).await;
    a.play(Play::Ok);
    gate.emptied().await;
    let repeated = times(&[&a]) - 10;
    assert_eq!(gate.metric("spangate_repeats_total"), repeated as f64);
    assert_eq!(gate.outcome(Outcome::Delivered), 10, "settled once");
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unsettled_at_a_stop_is_sent_after_the_restart() {
    let a = Collector::start().await;
    let gate = Gate::open(&[&a]);
    gate.append(0..1_000).await;
    gate.emptied().await;
    a.play(Play::Hang);
    gate.append(1_000..3_000).await;
    until("as many as it may have hang", || gate.status.sinks()[0].in_flight >= 2).await;
    let dir = gate.close().await;
    a.play(Play::Ok);
    let gate = Gate::open_in(dir, settings(), &[&a]);
    gate.emptied().await;
    assert_eq!(taken(&[&a]), ids(0..3_000));
    assert_eq!(times(&[&a]), 3_000, "what was settled is not sent again");
    assert_eq!(gate.outcome(Outcome::Delivered), 3_000);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_two_collectors_play_every_span_ends_in_one_or_in_the_letters() {
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let bad: HashSet<String> = (0..20).map(|_| id(rng.u64(0..4_000))).collect();
    let collectors = [Collector::start().await, Collector::start().await];
    let [a, b] = &collectors;
    let gate = Gate::open(&[a, b]);
    for step in 0..40 {
        collectors[rng.usize(0..2)].play(any_play(&mut rng, &bad));
        gate.append(step * 100..(step + 1) * 100).await;
        gate.account("zipkin");
        tokio::time::sleep(Duration::from_millis(rng.u64(0..40))).await;
    }
    collectors.iter().for_each(|c| c.play(Play::Ok));
    gate.emptied().await;

    let dead: BTreeSet<_> = gate.letters("refused").iter().map(|l| id(l["position"].as_u64().unwrap())).collect();
    assert!(dead.iter().all(|id| bad.contains(id)), "seed {seed}: dead letters of good spans");
    let taken_or_dead: BTreeSet<_> = taken(&[a, b]).union(&dead).cloned().collect();
    assert_eq!(taken_or_dead, ids(0..4_000), "seed {seed}");
    assert_eq!(gate.outcome(Outcome::DeadLettered), dead.len() as u64, "seed {seed}");
    assert_eq!(gate.outcome(Outcome::Delivered), 4_000 - dead.len() as u64, "seed {seed}");
    let repeated = times(&[a, b]) - taken(&[a, b]).len() as u64;
    let counted = gate.metric("spangate_repeats_total");
    assert!(repeated as f64 <= counted, "seed {seed}: {repeated} repeats, {counted} counted");
    gate.close().await;
}

fn any_play(rng: &mut fastrand::Rng, bad: &HashSet<String>) -> Play {
    match rng.u32(0..14) {
        0 => Play::Reset,
        1 => Play::Close,
        2 => Play::Hang,
        3 => Play::LoseReply,
        4 => Play::Slow(Duration::from_millis(rng.u64(0..100))),
        5 => Play::Dribble,
        6 => Play::TooLargeAbove(span(0).len() * rng.usize(1..40)),
        7 => Play::TooLargeEarly(span(0).len() * rng.usize(1..40)),
        8 => Play::Garbage,
        9 => Play::status([401, 404, 408, 500, 502, 503, 508][rng.usize(0..7)]),
        10 => Play::Status(503, vec![("retry-after", "1".to_owned())], "busy".to_owned()),
        11 => Play::Ok,
        _ => Play::RefuseSpans(bad.clone()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_repeats_no_more_than_was_under_way() {
    let (a, b) = (Collector::start().await, Collector::start().await);
    a.play(Play::Slow(Duration::from_millis(2)));
    b.play(Play::Slow(Duration::from_millis(2)));
    let mut gate = Gate::open(&[&a, &b]);
    let mut next = 0;
    for crash in 1..=3 {
        gate.append(next..next + 2_000).await;
        next += 2_000;
        until("some are through", || times(&[&a, &b]) > next - 1_500).await;
        gate = Gate::open_in(gate.crash().await, settings(), &[&a, &b]);
        let repeated = times(&[&a, &b]) - taken(&[&a, &b]).len() as u64;
        assert!(repeated <= crash * 2 * 4 * 50, "{repeated} repeats after {crash} crashes");
    }
    gate.emptied().await;
    assert_eq!(taken(&[&a, &b]), ids(0..next));
    let repeated = times(&[&a, &b]) - next;
    assert!(repeated <= 3 * 2 * 4 * 50, "{repeated} repeats");
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_spans_wait_while_their_letters_cannot_be_written() {
    let a = Collector::start().await;
    a.play(Play::RefuseSpans([id(3), id(70)].into()));
    let gate = Gate::open(&[&a]);
    let letters = gate.dir.path().join("dead-letters/refused");
    std::fs::remove_dir(&letters).unwrap();
    gate.append(0..100).await;
    until("only they wait", || gate.account("zipkin").waiting == 2).await;
    gate.append(100..200).await;
    until("the flow goes on", || gate.outcome(Outcome::Delivered) == 198).await;
    assert_eq!(gate.outcome(Outcome::DeadLettered), 0);
    std::fs::create_dir(&letters).unwrap();
    gate.emptied().await;
    assert_eq!(gate.outcome(Outcome::DeadLettered), 2);
    assert_eq!(gate.letters("refused").len(), 2);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_under_way_at_a_stop_get_their_time() {
    let a = Collector::start().await;
    a.play(Play::Slow(GRACE / 2));
    let gate = Gate::open(&[&a]);
    gate.append(0..100).await;
    until("they are under way", || gate.status.sinks()[0].in_flight == 2).await;
    let dir = gate.close().await;
    a.play(Play::Ok);
    let gate = Gate::open_in(dir, settings(), &[&a]);
    assert_eq!(gate.account("zipkin").waiting, 0, "they ended and were settled");
    assert_eq!(times(&[&a]), 100);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_body_costs_its_own_frame_only() {
    let a = Collector::start().await;
    let mut gate = Gate::still_in(new_dir(), settings(), &[&a]);
    gate.append(0..600).await;
    assert!(gate.flip_body_of(&span(250)), "a span's bytes stand in the log");
    gate.start();
    gate.emptied().await;
    assert_eq!((gate.outcome(Outcome::Delivered), gate.outcome(Outcome::Damaged)), (500, 100));
    let mut expected = ids(0..200);
    expected.extend(ids(300..600));
    assert_eq!(taken(&[&a]), expected);
    gate.close().await;
}

#[tokio::test]
async fn entries_set_aside_become_letters() {
    let a = Collector::start().await;
    let gate = Gate::open(&[&a]);
    let bodies = ["not base64!", "", "\u{0}\u{1}"].map(|s| bytes::Bytes::from_static(s.as_bytes()));
    let mut draft = draft(Kind::Entries, &bodies);
    draft.addressee = Some(aside::NAME.to_owned());
    draft.labels = vec!["no span".to_owned(), "empty".to_owned()];
    for (item, label) in draft.items.iter_mut().zip([0, 1, 0]) {
        item.label = label;
    }
    gate.append_draft(draft).await;
    gate.append(0..1).await;
    gate.emptied().await;
    until("they are letters", || gate.account(aside::NAME).waiting == 0).await;
    let letters = gate.letters("undecodable");
    let field = |name: &str| letters.iter().map(|l| l[name].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(field("reason"), ["no span", "empty", "no span"]);
    assert_eq!(field("bytes"), ["bm90IGJhc2U2NCE=", "", "AAE="]);
    assert_eq!(gate.account(aside::NAME).outcomes[&Outcome::DeadLettered], 3);
    assert_eq!(gate.account("zipkin").accepted, 1, "they are nobody else's");
    gate.close().await;
}
