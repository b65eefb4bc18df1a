//! What a drain holds while nobody takes anything, and what it sends in a time that stands still between events.

mod storm;

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::super::{BatchSettings, MassRefusal, Overflow, Policy, Sieve, Terms};
use super::*;
use crate::channel::{self, Channel, Draft, Item, Origin, Start, Takes};
use crate::metrics::TABLE;
use crate::sink::{Glimpse, Load, Looking, Sending, Sink};
use crate::{deadletter, disk};

/// A collector that answers after a time, and counts what it takes.
struct Scripted {
    name: String,
    takes: Duration,
    /// Until then it fails.
    up_at: Option<Instant>,
    sent: Mutex<Sent>,
    /// It says to have dropped so much, where it can be asked: ten spans from the first moment on to the second.
    drops: Option<(Instant, Instant)>,
}

#[derive(Default)]
struct Sent {
    taken: u64,
    batches: Vec<(Instant, u32, bool)>,
}

/// A timeout, as a sink has it.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Scripted {
    /// One that fails for ever, or until a moment.
    fn down(name: usize, up_at: Option<Instant>) -> Arc<Self> {
        let never = Instant::now() + Duration::from_secs(86_400);
        Self::new(name, Duration::from_millis(5), Some(up_at.unwrap_or(never)))
    }

    fn well(name: usize, takes: Duration) -> Arc<Self> {
        Self::new(name, takes, None)
    }

    fn hung(name: usize) -> Arc<Self> {
        Self::new(name, TIMEOUT, Some(Instant::now() + Duration::from_secs(86_400)))
    }

    fn new(name: usize, takes: Duration, up_at: Option<Instant>) -> Arc<Self> {
        Arc::new(Self::whole(name, takes, up_at))
    }

    fn whole(name: usize, takes: Duration, up_at: Option<Instant>) -> Self {
        Scripted { name: name.to_string(), takes, up_at, sent: Mutex::default(), drops: None }
    }

    fn taken(&self) -> u64 {
        self.sent.lock().unwrap().taken
    }
}

impl Sink for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    fn url(&self) -> &str {
        &self.name
    }

    fn can_be_looked_at(&self) -> bool {
        self.drops.is_some()
    }

    fn look(&self) -> Looking<'_> {
        let dropped = self.drops.map(|(from, to)| Instant::now().min(to).saturating_duration_since(from).as_secs());
        Box::pin(async move { Glimpse { up: Some(true), dropped } })
    }

    fn send<'a>(&'a self, load: &'a Load) -> Sending<'a> {
        Box::pin(async {
            let begun = Instant::now();
            tokio::time::sleep(self.takes).await;
            let well = self.up_at.is_none_or(|up_at| up_at <= begun);
            let mut sent = self.sent.lock().unwrap();
            sent.batches.push((begun, load.spans, well));
            sent.taken += if well { u64::from(load.spans) } else { 0 };
            match well {
                true => Verdict::Delivered,
                false if self.takes < TIMEOUT => Verdict::Absent("down".into()),
                false => Verdict::Elsewhere { reason: "timed out".into(), maybe_taken: true },
            }
        })
    }
}

/// A channel and what makes a drain of it.
struct Bench {
    dir: tempfile::TempDir,
    registry: Registry,
    clock: Clock,
    channel: Channel,
}

impl Bench {
    fn new() -> Bench {
        let (dir, registry, clock) = (tempfile::tempdir().unwrap(), Registry::new(TABLE), Clock::manual(MINUTE_US));
        let settings = channel::Settings {
            dir: dir.path().join("channel"),
            capacity_bytes: 256 << 20,
            capacity_spans: None,
            sync: channel::Sync::Always,
            free_min_bytes: Some(0),
            cache_bytes: 0,
        };
        let channel = Channel::open(settings, disk::real(), clock.clone(), &registry).expect("the channel opens").0;
        Bench { dir, registry, clock, channel }
    }

    fn drain(&self, change: impl FnOnce(&mut Settings), sinks: &[Arc<impl Sink>]) -> Drain {
        let seats = sinks.iter().map(|sink| Seat::from(sink.clone() as Arc<dyn Sink>)).collect();
        self.drain_to(change, Roster::fixed(seats))
    }

    fn drain_to(&self, change: impl FnOnce(&mut Settings), sinks: Roster) -> Drain {
        let letters = deadletter::Settings {
            dir: self.dir.path().join("dead-letters"),
            refused_bytes_max: 1 << 30,
            undecodable_bytes_max: 1 << 26,
            free_min_bytes: Some(0),
        };
        let letters = Store::open(letters, disk::real(), self.clock.clone(), self.channel.id(), &self.registry)
            .expect("the dead letters open");
        let mut settings = Settings {
            name: "zipkin".into(),
            policy: Policy::RoundRobin,
            sieve: Sieve::default(),
            max_age: None,
            overflow: Overflow::Block,
            batch: BatchSettings { spans: 5000, bytes: 4 << 20, linger: Duration::from_millis(20) },
            in_flight_max: 4,
            rate_max: None,
            backlog_rate: None,
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_millis(50),
            mass_refusal: MassRefusal::Hold,
        };
        change(&mut settings);
        let tap = self.channel.tap("zipkin", Start::Oldest, Takes::Common).expect("the drain is attached");
        let (clock, kept_in) = (self.clock.clone(), watch::Sender::new(None).subscribe());
        let parts = Parts { settings, tap, sinks, letters, clock, kept_in };
        Drain::new(parts, &self.registry)
    }

    /// Messages of so many spans each.
    async fn append(&self, messages: u32, spans: u32, received_us: u64) {
        for first in (0..messages).step_by(500) {
            let drafts =
                (first..messages.min(first + 500)).map(|n| message(u64::from(n), spans, received_us)).collect();
            self.channel.append(drafts).wait().await.unwrap();
        }
    }
}

const MINUTE_US: u64 = 60_000_000;

/// A message of spans, of which the log's readers know no more than their length; each of another trace.
fn message(number: u64, spans: u32, received_us: u64) -> Draft {
    let item = |n: u32| Item { key: number * 1_000 + u64::from(n), len: 10, label: u16::MAX, flags: 0 };
    Draft {
        kind: Kind::Spans,
        addressee: None,
        received_us,
        origin: Arc::new(Origin(vec![("peer".into(), "10.0.0.1:9999".into())])),
        labels: vec![],
        items: (0..spans).map(item).collect(),
        body: Bytes::from(vec![b'0'; 10 * spans as usize]),
    }
}

/// Runs a drain for this long.
async fn run(drain: &mut Drain, time: Duration) {
    let _ = timeout(time, drain.work(&CancellationToken::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_while_all_sinks_are_down_does_not_grow_with_the_backlog() {
    for policy in [Policy::RoundRobin, Policy::ByTrace] {
        let bench = Bench::new();
        let linger = |settings: &mut Settings| {
            settings.policy = policy;
            settings.batch.linger = Duration::from_secs(60);
        };
        let mut drain = bench.drain(linger, &[Scripted::down(0, None), Scripted::down(1, None)]);
        bench.append(20_000, 1, MINUTE_US).await;
        run(&mut drain, Duration::from_secs(2)).await;
        let flow = &drain.flow;
        let waiting: usize = flow.waiting.iter().map(|batch| batch.stretches.len()).sum();
        let under_way = flow.work.len();
        assert!(waiting + under_way > 0, "batches were tried");
        // A probe is cut off a batch that waits, which leaves one more.
        assert!(flow.waiting.len() + under_way <= 2 * 4 + 2, "{} batches wait", flow.waiting.len());
        assert!(under_way <= 2, "a sink that rests is probed with one batch");
        let heads = waiting + flow.cutter.heads();
        assert!(heads <= 13 * 1024, "{heads} frame heads are held");
        assert_eq!(bench.channel.snapshot().accounts[0].waiting, 20_000);
        bench.channel.stop();
    }
}

/// What a collector that serves a batch of ten spans in 250 ms takes in `time`, with others beside it.
async fn delivered(policy: Policy, others: &[Arc<Scripted>], time: Duration) -> u64 {
    let bench = Bench::new();
    let well = Scripted::well(0, Duration::from_millis(250));
    let sinks: Vec<_> = others.iter().chain([&well]).cloned().collect();
    let usual = |settings: &mut Settings| {
        settings.policy = policy;
        settings.batch.spans = 10;
        settings.backoff_min = Duration::from_millis(200);
        settings.backoff_max = Duration::from_secs(30);
    };
    let mut drain = bench.drain(usual, &sinks);
    bench.append(600, 100, MINUTE_US).await;
    tokio::time::pause();
    run(&mut drain, time).await;
    tokio::time::resume();
    bench.channel.stop();
    well.taken()
}

#[tokio::test]
async fn one_hung_and_one_healthy_collector_deliver_what_the_healthy_one_delivers_alone() {
    // What waits behind the first batches of one that hangs is held until its timeout, where no other may have it.
    let minutes = |policy| if policy == Policy::ByTrace { 5 } else { 2 };
    for policy in [Policy::RoundRobin, Policy::LeastLoaded, Policy::ByTrace] {
        let time = Duration::from_secs(60 * minutes(policy));
        let alone = delivered(policy, &[], time).await;
        let beside = delivered(policy, &[Scripted::hung(1)], time).await;
        assert!(alone > 18_000, "{policy:?}: {alone}");
        assert!(beside * 100 >= alone * 95, "{policy:?}: {beside} beside a hung one, {alone} alone");
    }
}

#[tokio::test]
async fn a_hung_collector_is_rested_like_a_dead_one_and_probed_with_little() {
    let bench = Bench::new();
    let hung = Scripted::hung(0);
    let usual = |settings: &mut Settings| settings.backoff_max = Duration::from_secs(30);
    let mut drain = bench.drain(usual, &[hung.clone(), Scripted::well(1, Duration::from_secs(3))]);
    bench.append(700, 1_000, MINUTE_US).await;
    tokio::time::pause();
    run(&mut drain, Duration::from_secs(60)).await;
    let sent = hung.sent.lock().unwrap();
    let (first, probes) = sent.batches.split_at(2);
    assert!(first.iter().all(|(_, spans, _)| *spans == 5_000));
    assert!((1..=6).contains(&probes.len()) && probes.iter().all(|(_, spans, _)| *spans == 100), "{probes:?}");
    bench.channel.stop();
}

#[tokio::test]
async fn the_first_that_is_back_is_used_at_once() {
    for policy in [Policy::RoundRobin, Policy::Failover, Policy::ByTrace] {
        let bench = Bench::new();
        tokio::time::pause();
        let back = Scripted::down(2, Some(Instant::now() + Duration::from_secs(300)));
        let usual = |settings: &mut Settings| {
            settings.policy = policy;
            settings.backoff_max = Duration::from_secs(30);
        };
        let mut drain = bench.drain(usual, &[Scripted::down(0, None), Scripted::down(1, None), back.clone()]);
        tokio::time::resume();
        bench.append(50, 1_000, MINUTE_US).await;
        tokio::time::pause();
        run(&mut drain, Duration::from_secs(400)).await;
        assert_eq!(back.taken(), 50_000, "{policy:?}");
        let sent = back.sent.lock().unwrap();
        let mut well = sent.batches.iter().filter(|(_, _, well)| *well).map(|(at, spans, _)| (*at, *spans));
        let (probe, next) = (well.next().unwrap(), well.next().unwrap());
        assert!(probe.1 <= 100 && next.0 - probe.0 < Duration::from_secs(1), "{policy:?}");
        assert!(well.next_back().unwrap().0 - probe.0 < Duration::from_secs(1), "{policy:?}: nothing is left behind");
        tokio::time::resume();
        bench.channel.stop();
    }
}

#[tokio::test]
async fn rates_hold_what_is_sent_a_second() {
    let of = |all, backlog| move |settings: &mut Settings| (settings.rate_max, settings.backlog_rate) = (all, backlog);
    // A tenth of them a second: those of the last hour, before those of this minute.
    for (change, slow, then) in [(of(Some(1_000), None), 10_000, 2_000), (of(None, Some(500)), 5_000, 15_000)] {
        let bench = Bench::new();
        bench.clock.set(61 * MINUTE_US);
        let sink = Scripted::well(0, Duration::from_millis(1));
        let mut drain = bench.drain(change, std::slice::from_ref(&sink));
        bench.append(10, slow / 10, MINUTE_US).await;
        bench.append(20, 1_000, 61 * MINUTE_US).await;
        tokio::time::pause();
        run(&mut drain, Duration::from_millis(8_500)).await;
        let sent = sink.taken();
        assert_eq!(sent, u64::from(slow) / 10 * 9, "a second's worth at the beginning of each");
        run(&mut drain, Duration::from_millis(3_500)).await;
        assert!(sink.taken() - sent >= then, "{} in the seconds after", sink.taken() - sent);
        tokio::time::resume();
        bench.channel.stop();
    }
}

#[tokio::test]
async fn a_preferred_collector_that_is_held_to_a_rate_gets_the_flow_though_another_stands_by() {
    let bench = Bench::new();
    let (preferred, other) = (Scripted::well(0, Duration::from_millis(1)), Scripted::well(1, Duration::from_millis(1)));
    let seat = |sink: &Arc<Scripted>, priority, rate_max| Seat {
        terms: Terms { priority, rate_max, ..Terms::default() },
        ..Seat::from(sink.clone() as Arc<dyn Sink>)
    };
    let seats = vec![seat(&preferred, 1, Some(100)), seat(&other, 2, None)];
    let mut drain = bench.drain_to(|settings| settings.policy = Policy::Failover, Roster::fixed(seats));
    bench.append(10, 100, MINUTE_US).await;
    tokio::time::pause();
    run(&mut drain, Duration::from_secs(12)).await;
    tokio::time::resume();
    assert_eq!((preferred.taken(), other.taken()), (1_000, 0));
    bench.channel.stop();
}

#[tokio::test]
async fn what_is_kept_apart_is_tried_as_soon_as_a_rate_lets_it() {
    let bench = Bench::new();
    let sink = Arc::new(Picky::default());
    let usual = |settings: &mut Settings| {
        settings.rate_max = Some(10);
        (settings.backoff_min, settings.backoff_max) = (Duration::from_millis(200), Duration::from_secs(30));
    };
    let mut drain = bench.drain(usual, std::slice::from_ref(&sink));
    let bad = Draft { body: Bytes::from_static(b"x123456789"), ..message(0, 1, MINUTE_US) };
    bench.channel.append(vec![bad, message(1, 1, MINUTE_US)]).wait().await.unwrap();
    tokio::time::pause();
    run(&mut drain, Duration::from_secs(20)).await;
    tokio::time::resume();
    let outcomes = bench.channel.snapshot().accounts.remove(0).outcomes;
    assert_eq!((outcomes[&Outcome::Delivered], outcomes[&Outcome::DeadLettered]), (1, 1));
    bench.channel.stop();
}

#[tokio::test]
async fn a_sink_that_comes_back_while_something_is_under_way_to_it_is_sent_to() {
    let bench = Bench::new();
    let sink = Scripted::well(0, Duration::from_secs(1));
    let seats = vec![Seat::from(sink.clone() as Arc<dyn Sink>)];
    let (roster, sinks) = Roster::new(seats.clone());
    let mut drain = bench.drain_to(|settings| settings.batch.spans = 100, sinks);
    bench.append(10, 100, MINUTE_US).await;
    tokio::time::pause();
    run(&mut drain, Duration::from_millis(500)).await;
    for (seats, here) in [(vec![], 0), (seats, 1)] {
        roster.send_replace(seats);
        run(&mut drain, Duration::from_millis(100)).await;
        assert_eq!(drain.flow.group.len(), here);
    }
    run(&mut drain, Duration::from_secs(20)).await;
    tokio::time::resume();
    assert_eq!(sink.taken(), 1_000);
    assert_eq!(drain.flow.seats.len(), 1, "who left is forgotten");
    bench.channel.stop();
}

#[tokio::test]
async fn a_collector_that_begins_to_drop_is_sent_half_and_more_again_when_it_has_stopped() {
    let bench = Bench::new();
    bench.append(600, 1_000, MINUTE_US).await;
    tokio::time::pause();
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    // Two batches of 500 a second under way at a time, or up to four: 1,000 to 2,000 spans a second.
    let sink = Scripted { drops: Some((after(25), after(35))), ..Scripted::whole(0, Duration::from_secs(1), None) };
    let sink = Arc::new(sink);
    let mut drain = bench.drain(|settings| settings.batch.spans = 500, std::slice::from_ref(&sink));
    run(&mut drain, Duration::from_secs(200)).await;
    let spans = |from: u64, to: u64| -> u64 {
        let sent = sink.sent.lock().unwrap();
        sent.batches
            .iter()
            .filter(|(at, ..)| (after(from)..after(to)).contains(at))
            .map(|(_, n, _)| u64::from(*n))
            .sum()
    };
    let (before, held, later) = (spans(20, 30), spans(31, 40), spans(150, 160));
    assert!(held <= before * 6 / 10 && held >= before * 3 / 10, "{before} in ten seconds before, {held} then");
    assert!(later >= before, "{later} in the end, {before} before");
    let view = drain.status().sinks().remove(0);
    assert_eq!((view.dropped, view.held_to), (10, None));
    tokio::time::resume();
    bench.channel.stop();
}

/// A collector that refuses spans that begin with an x, or breaks on them, until it is told to take them.
#[derive(Default)]
struct Picky {
    takes_all: std::sync::atomic::AtomicBool,
    breaks: bool,
    /// Spans sent to it, alone and in company.
    sent: Mutex<(u64, u64)>,
}

impl Sink for Picky {
    fn name(&self) -> &str {
        "picky"
    }

    fn url(&self) -> &str {
        "http://picky"
    }

    fn send<'a>(&'a self, load: &'a Load) -> Sending<'a> {
        let takes = self.takes_all.load(std::sync::atomic::Ordering::Relaxed);
        let bad = load.pieces.iter().any(|piece| piece.chunks(10).any(|span| span[0] == b'x'));
        let mut sent = self.sent.lock().unwrap();
        *(if load.spans == 1 { &mut sent.0 } else { &mut sent.1 }) += u64::from(load.spans);
        Box::pin(async move {
            match bad && !takes {
                true if self.breaks => Verdict::Elsewhere { reason: "500".into(), maybe_taken: false },
                true => Verdict::Refused("400".into()),
                false => Verdict::Delivered,
            }
        })
    }
}

fn bad(number: u64, spans: u32) -> Draft {
    Draft { body: b"x123456789".repeat(spans as usize).into(), ..message(number, spans, MINUTE_US) }
}

fn outcome(bench: &Bench, outcome: Outcome) -> u64 {
    bench.channel.snapshot().accounts[0].outcomes.get(&outcome).copied().unwrap_or_default()
}

#[tokio::test]
async fn spans_that_are_kept_apart_get_half_of_a_rate_at_most_while_others_wait() {
    let bench = Bench::new();
    let sink = Arc::new(Picky { breaks: true, ..Picky::default() });
    let usual = |settings: &mut Settings| {
        settings.rate_max = Some(20);
        settings.batch.spans = 10;
        (settings.backoff_min, settings.backoff_max) = (Duration::from_millis(200), Duration::from_secs(1));
    };
    let mut drain = bench.drain(usual, std::slice::from_ref(&sink));
    bench.channel.append((0..10).map(|n| bad(n, 10)).collect()).wait().await.unwrap();
    bench.append(500, 10, MINUTE_US).await;
    tokio::time::pause();
    // Until what is bad is told from the rest, the collector rests for it.
    for _ in 0..600 {
        run(&mut drain, Duration::from_secs(1)).await;
        if drain.status().held().suspects >= 20 {
            break;
        }
    }
    let (taken, (alone, _)) = (outcome(&bench, Outcome::Delivered), *sink.sent.lock().unwrap());
    run(&mut drain, Duration::from_secs(60)).await;
    let (taken, alone) = (outcome(&bench, Outcome::Delivered) - taken, sink.sent.lock().unwrap().0 - alone);
    assert!(taken >= 500 && alone >= 20, "{taken} delivered, {alone} alone in 1,200 spans' time");
    tokio::time::resume();
    bench.channel.stop();
}

#[tokio::test]
async fn spans_that_break_their_sink_one_by_one_do_not_block_the_good_ones_behind_them() {
    let bench = Bench::new();
    let sink = Arc::new(Picky { breaks: true, ..Picky::default() });
    let mut drain = bench.drain(|settings| settings.batch.spans = 1, std::slice::from_ref(&sink));
    bench.channel.append(vec![bad(0, 40)]).wait().await.unwrap();
    bench.append(1, 200, MINUTE_US).await;
    tokio::time::pause();
    run(&mut drain, Duration::from_secs(600)).await;
    assert_eq!((outcome(&bench, Outcome::DeadLettered), outcome(&bench, Outcome::Delivered)), (40, 200));
    tokio::time::resume();
    bench.channel.stop();
}

#[tokio::test]
async fn a_good_span_behind_more_refused_ones_than_are_kept_gets_through_and_speaks_for_its_sink() {
    const BAD: u64 = 4_200;
    let bench = Bench::new();
    let sink = Arc::new(Picky::default());
    let usual = |settings: &mut Settings| {
        // Fewer than a thousand a minute are refused alone, or the sink were held for that.
        settings.rate_max = Some(16);
        settings.batch.spans = 1;
        (settings.backoff_min, settings.backoff_max) = (Duration::from_millis(200), Duration::from_secs(10));
    };
    let mut drain = bench.drain(usual, std::slice::from_ref(&sink));
    bench.channel.append((0..BAD / 10).map(|n| bad(n, 10)).collect()).wait().await.unwrap();
    bench.append(50, 10, MINUTE_US).await;
    tokio::time::pause();
    let status = drain.status();
    let mut minutes = 0;
    while outcome(&bench, Outcome::Delivered) < 500 {
        run(&mut drain, Duration::from_secs(60)).await;
        minutes += 1;
        assert!(minutes < 600, "{:?}, {:?}", status.held(), status.sinks());
        assert!(status.sinks()[0].standing == super::super::Standing::Up, "its sink is not held");
    }
    run(&mut drain, Duration::from_secs(1_200)).await;
    assert_eq!((outcome(&bench, Outcome::DeadLettered), outcome(&bench, Outcome::Delivered)), (BAD, 500));
    assert_eq!(status.held(), super::super::Held::default());
    tokio::time::resume();
    bench.channel.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_flow_that_is_refused_by_half_fewer_than_a_thousand_are_letters_and_the_rest_waits_for_a_mended_sink() {
    let bench = Bench::new();
    let sink = Arc::new(Picky::default());
    let mut drain = bench.drain(|_| (), std::slice::from_ref(&sink));
    let half_bad = |n| Draft { body: b"0123456789x123456789".repeat(50).into(), ..message(n, 100, MINUTE_US) };
    bench.channel.append((0..60).map(half_bad).collect()).wait().await.unwrap();
    let (status, stop) = (drain.status(), CancellationToken::new());
    let account = || bench.channel.snapshot().accounts.remove(0);
    let script = async {
        wait_until(|| status.sinks()[0].standing == super::super::Standing::Misconfigured).await;
        sink.takes_all.store(true, std::sync::atomic::Ordering::Relaxed);
        wait_until(|| account().waiting == 0).await;
        stop.cancel();
    };
    tokio::join!(drain.work(&stop), script);
    let dead = account().outcomes[&Outcome::DeadLettered];
    assert!(dead < 1_000, "{dead} letters");
    assert_eq!(account().outcomes[&Outcome::Delivered], 6_000 - dead);
    bench.channel.stop();
}

async fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to be in time");
}

/// A collector that breaks over spans that begin with an x.
struct Fragile(String, Mutex<u64>);

impl Sink for Fragile {
    fn name(&self) -> &str {
        &self.0
    }

    fn url(&self) -> &str {
        &self.0
    }

    fn send<'a>(&'a self, load: &'a Load) -> Sending<'a> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if load.pieces.iter().any(|piece| piece.chunks(10).any(|span| span[0] == b'x')) {
                return Verdict::Elsewhere { reason: "reset".into(), maybe_taken: true };
            }
            *self.1.lock().unwrap() += u64::from(load.spans);
            Verdict::Delivered
        })
    }
}

#[tokio::test]
async fn a_span_that_breaks_every_collector_of_an_idle_drain_does_not_hold_up_what_comes_after_it() {
    for policy in [Policy::RoundRobin, Policy::LeastLoaded, Policy::Failover, Policy::ByTrace] {
        let bench = Bench::new();
        let sinks = [0, 1, 2].map(|n| Arc::new(Fragile(format!("http://{n}"), Mutex::default())));
        let usual = |settings: &mut Settings| {
            settings.policy = policy;
            (settings.backoff_min, settings.backoff_max) = (Duration::from_millis(200), Duration::from_secs(30));
        };
        let mut drain = bench.drain(usual, &sinks);
        let bad = Draft { body: Bytes::from_static(b"x123456789"), ..message(0, 1, MINUTE_US) };
        bench.channel.append(vec![bad]).wait().await.unwrap();
        tokio::time::pause();
        // All that there is breaks all that there are.
        run(&mut drain, Duration::from_secs(30)).await;
        for number in 1..=60 {
            tokio::time::resume();
            bench.channel.append(vec![message(number, 10, MINUTE_US)]).wait().await.unwrap();
            tokio::time::pause();
            run(&mut drain, Duration::from_secs(10)).await;
        }
        tokio::time::resume();
        let taken: u64 = sinks.iter().map(|sink| *sink.1.lock().unwrap()).sum();
        let outcomes = bench.channel.snapshot().accounts.remove(0).outcomes;
        assert_eq!((taken, outcomes.get(&Outcome::DeadLettered)), (600, Some(&1)), "{policy:?}: {outcomes:?}");
        bench.channel.stop();
    }
}
