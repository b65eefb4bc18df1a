//! Verdict by verdict: what is halved, kept, held and dead.

use std::sync::Arc;
use std::time::Duration;

use super::super::{BatchSettings, Overflow, Policy, Sieve};
use super::*;
use crate::channel::{FrameAt, Head, Item, Kind, Origin};

fn settings(mass_refusal: MassRefusal) -> Settings {
    Settings {
        name: "zipkin".into(),
        policy: Policy::RoundRobin,
        batch: BatchSettings { spans: 5000, bytes: 4 << 20, linger: Duration::ZERO },
        in_flight_max: 4,
        rate_max: None,
        backlog_rate: None,
        backoff_min: Duration::from_millis(200),
        backoff_max: Duration::from_secs(30),
        mass_refusal,
        sieve: Sieve::default(),
        max_age: None,
        overflow: Overflow::Block,
    }
}

fn judge() -> Judge {
    Judge::new(&settings(MassRefusal::Hold))
}

fn batch(first: u64, spans: u32) -> Batch {
    let item = Item { key: 0, len: 100, label: u16::MAX, flags: 0 };
    let head = Head {
        at: FrameAt { segment: 0, offset: 0, first, items: spans },
        kind: Kind::Spans,
        received_us: 0,
        origin: Arc::new(Origin::default()),
        labels: Vec::new(),
        items: vec![item; spans as usize],
        body_len: 100 * spans,
    };
    Batch::of(vec![Stretch { head: Arc::new(head), items: 0..spans }])
}

fn refused() -> Verdict {
    Verdict::Refused("400".into())
}

fn broken() -> Verdict {
    Verdict::Elsewhere { reason: "500".into(), maybe_taken: false }
}

/// A judge and the moment; `up` are the sinks that are up.
struct Court {
    judge: Judge,
    now: Instant,
    up: Vec<SinkId>,
    idle: bool,
}

impl Court {
    fn of(up: &[SinkId]) -> Court {
        Court { judge: judge(), now: Instant::now(), up: up.to_vec(), idle: false }
    }

    fn send(&mut self, mut batch: Batch, sink: SinkId, verdict: Verdict) -> Ruling {
        self.judge.begin(&mut batch, sink);
        let scene = Scene { now: self.now, took: Duration::ZERO, up: &self.up, idle: self.idle };
        self.judge.judge(Sent { batch, sink, verdict }, &scene)
    }

    /// Another batch passes.
    fn passes(&mut self, sink: SinkId) {
        let ruling = self.send(batch(1 << 40, 1), sink, Verdict::Delivered);
        assert!(matches!(ruling.fate, Fate::Delivered(_)));
    }

    fn take(&mut self, sink: SinkId) -> Option<Batch> {
        self.judge.take(sink, &self.up, self.now)
    }
}

fn one(fate: Fate) -> Batch {
    let Fate::Flow(mut batches) = fate else { panic!("not back in the flow: {fate:?}") };
    assert_eq!(batches.len(), 1, "{batches:?}");
    batches.remove(0)
}

#[test]
fn a_refused_batch_is_halved_and_its_sink_is_well() {
    let mut court = Court::of(&[0]);
    let ruling = court.send(batch(0, 5), 0, refused());
    assert_eq!(ruling.answer, Answer::Well(Duration::ZERO));
    let Fate::Flow(halves) = ruling.fate else { panic!("{ruling:?}") };
    assert_eq!(halves.iter().map(|half| half.spans).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_lone_span_is_dead_when_two_sinks_refused_it_and_one_of_them_took_another_in_between() {
    let mut court = Court::of(&[0, 1]);
    assert!(matches!(court.send(batch(0, 1), 0, refused()).fate, Fate::Apart));
    assert!(court.take(0).is_none(), "the other is to be asked");
    court.passes(1);
    let span = court.take(1).expect("a second opinion");
    let Fate::Dead(dead) = court.send(span, 1, refused()).fate else { panic!("it is not dead") };
    assert_eq!((dead.class, dead.reason.as_str()), (Class::Refused, "400"));
}

#[test]
fn a_lone_span_is_not_dead_while_those_who_refuse_it_refuse_everything() {
    let mut court = Court::of(&[0, 1]);
    court.passes(0);
    court.passes(1);
    assert!(matches!(court.send(batch(0, 1), 0, refused()).fate, Fate::Apart));
    for _ in 0..50 {
        court.now += Duration::from_secs(30);
        let sink = if court.judge.has_for(0, &court.up, court.now) { 0 } else { 1 };
        let span = court.take(sink).expect("one try a step");
        assert!(matches!(court.send(span, sink, refused()).fate, Fate::Apart));
        assert!(court.take(0).is_none() && court.take(1).is_none(), "and no more");
    }
}

#[test]
fn what_passed_before_a_sink_refused_anything_proves_nothing_against_a_span_that_had_failed() {
    let mut court = Court::of(&[0]);
    let whole = one(court.send(batch(0, 2), 0, broken()).fate);
    court.passes(0);
    // From here on it refuses everything.
    let Fate::Flow(halves) = court.send(whole, 0, refused()).fate else { panic!("it is halved") };
    for half in halves {
        assert!(matches!(court.send(half, 0, refused()).fate, Fate::Apart));
    }
    court.now += Duration::from_secs(60);
    let span = court.take(0).expect("the only one is asked again");
    assert!(matches!(court.send(span, 0, refused()).fate, Fate::Apart), "it is dead by one that refuses everything");
    assert!(court.take(0).is_none(), "nothing has happened since");
}

#[test]
fn what_passed_before_a_sink_began_to_refuse_everything_proves_nothing_against_the_rest_of_a_batch() {
    let mut court = Court::of(&[0]);
    let Fate::Flow(halves) = court.send(batch(0, 4), 0, refused()).fate else { panic!("not halved") };
    let [good, rest] = <[Batch; 2]>::try_from(halves).unwrap();
    assert!(matches!(court.send(good, 0, Verdict::Delivered).fate, Fate::Delivered(_)));
    // From here on it refuses everything.
    let Fate::Flow(halves) = court.send(rest, 0, refused()).fate else { panic!("not halved") };
    for half in halves {
        assert!(matches!(court.send(half, 0, refused()).fate, Fate::Apart));
    }
    for _ in 0..20 {
        court.now += Duration::from_secs(60);
        let span = court.take(0).expect("one try a step");
        assert!(
            matches!(court.send(span, 0, refused()).fate, Fate::Apart),
            "it is dead by one that refuses everything"
        );
    }
    court.passes(0);
    let span = court.take(0).expect("it takes others again");
    assert!(matches!(court.send(span, 0, refused()).fate, Fate::Dead(_)));
}

#[test]
fn in_an_idle_drain_what_passed_while_bad_spans_were_found_proves_that_their_sink_takes_others() {
    let mut court = Court { idle: true, ..Court::of(&[0]) };
    let Fate::Flow(halves) = court.send(batch(0, 4), 0, refused()).fate else { panic!("not halved") };
    let [good, bad] = <[Batch; 2]>::try_from(halves).unwrap();
    assert!(matches!(court.send(good, 0, Verdict::Delivered).fate, Fate::Delivered(_)));
    let Fate::Flow(both) = court.send(bad, 0, refused()).fate else { panic!("not halved") };
    for bad in both {
        assert!(matches!(court.send(bad, 0, refused()).fate, Fate::Apart));
    }
    for _ in 0..2 {
        let bad = court.take(0).expect("it is asked again at once");
        assert!(matches!(court.send(bad, 0, refused()).fate, Fate::Dead(_)));
    }
}

#[test]
fn what_was_under_way_beside_a_lone_span_speaks_for_its_sink() {
    let mut court = Court::of(&[0]);
    let Fate::Flow(halves) = court.send(batch(0, 2), 0, refused()).fate else { panic!("not halved") };
    let [mut bad, mut good] = <[Batch; 2]>::try_from(halves).unwrap();
    court.judge.begin(&mut bad, 0);
    court.judge.begin(&mut good, 0);
    let scene = Scene { now: court.now, took: Duration::ZERO, up: &[0], idle: true };
    let sent = |batch, verdict| Sent { batch, sink: 0, verdict };
    assert!(matches!(court.judge.judge(sent(bad, refused()), &scene).fate, Fate::Apart));
    assert!(matches!(court.judge.judge(sent(good, Verdict::Delivered), &scene).fate, Fate::Delivered(_)));
    let bad = court.take(0).expect("its neighbour passed");
    assert!(matches!(court.send(bad, 0, refused()).fate, Fate::Dead(_)));
}

#[test]
fn the_only_sink_that_is_up_is_asked_twice() {
    let mut court = Court::of(&[0]);
    let Fate::Flow(halves) = court.send(batch(0, 2), 0, refused()).fate else { panic!("not halved") };
    let [good, bad] = <[Batch; 2]>::try_from(halves).unwrap();
    assert!(matches!(court.send(good, 0, Verdict::Delivered).fate, Fate::Delivered(_)));
    assert!(matches!(court.send(bad, 0, refused()).fate, Fate::Apart), "once is not enough");
    let bad = court.take(0).expect("its neighbour passed, so it may be asked about at once");
    assert!(matches!(court.send(bad, 0, refused()).fate, Fate::Dead(_)));
}

#[test]
fn a_batch_that_fails_while_others_pass_is_a_suspect_at_the_third_time() {
    let mut court = Court::of(&[0]);
    let mut failing = batch(0, 4);
    for _ in 0..2 {
        court.passes(0);
        let ruling = court.send(failing, 0, broken());
        assert_eq!(ruling.answer, Answer::Failed);
        failing = one(ruling.fate);
    }
    court.passes(0);
    assert!(matches!(court.send(failing, 0, broken()).fate, Fate::Apart));
    assert_eq!(court.judge.held(), Held { refused: 0, suspects: 4, paused: false });
    assert!(court.take(0).is_none(), "a suspect waits for its step");
    court.now = court.judge.wakes().unwrap() + Duration::from_secs(1);
    let half = court.take(0).unwrap();
    assert_eq!((half.spans, half.history.suspect), (2, true));
    assert_eq!(court.send(half, 0, broken()).answer, Answer::Spared, "it rests no sink");
}

#[test]
fn an_outage_makes_no_suspects() {
    let mut court = Court::of(&[0, 1]);
    court.passes(0);
    court.passes(1);
    let mut failing = batch(0, 1);
    for n in 0..100 {
        failing = one(court.send(failing, n % 2, broken()).fate);
    }
    assert!(failing.history.broke.len() < FAILURES_SUSPECT);
}

#[test]
fn a_batch_that_is_alone_with_its_failures_is_halved_to_find_out() {
    let mut court = Court::of(&[0]);
    court.idle = true;
    let failing = one(court.send(batch(0, 4), 0, broken()).fate);
    let failing = one(court.send(failing, 0, broken()).fate);
    let ruling = court.send(failing, 0, broken());
    assert!(matches!(&ruling.fate, Fate::Flow(halves) if halves.len() == 2), "{ruling:?}");
    assert_eq!(ruling.answer, Answer::Failed, "it may be an outage");
}

/// A lone suspect.
fn suspect(court: &mut Court) -> Batch {
    let mut span = batch(0, 1);
    for _ in 0..FAILURES_SUSPECT {
        court.passes(0);
        let Fate::Flow(mut back) = court.send(span, 0, broken()).fate else { break };
        span = back.remove(0);
        assert_ne!(span.history.broke.len(), FAILURES_SUSPECT);
    }
    court.now += Duration::from_secs(60);
    (0..2).find_map(|sink| court.take(sink)).expect("it is a suspect")
}

#[test]
fn a_suspect_alone_is_dead_after_five_failures_on_two_sinks() {
    let mut court = Court::of(&[0, 1]);
    let mut span = suspect(&mut court);
    for _ in span.history.broke.len()..FAILURES_DEAD {
        court.passes(0);
        assert!(matches!(court.send(span, 0, broken()).fate, Fate::Apart), "all by one sink");
        court.now += Duration::from_secs(60);
        assert!(court.take(0).is_none(), "the other is to be asked");
        span = court.take(1).unwrap();
    }
    assert_eq!(span.history.broke.len(), FAILURES_DEAD);
    let Fate::Dead(dead) = court.send(span, 1, broken()).fate else { panic!("it is not dead") };
    assert_eq!(dead.class, Class::Suspect);
}

#[test]
fn an_outage_speaks_once_against_a_suspect_however_often_it_is_tried() {
    let mut court = Court::of(&[0]);
    let mut span = suspect(&mut court);
    court.passes(0);
    for _ in 0..50 {
        assert!(matches!(court.send(span, 0, broken()).fate, Fate::Apart));
        court.now += Duration::from_secs(60);
        span = court.take(0).unwrap();
    }
    assert_eq!(span.history.broke.len(), FAILURES_SUSPECT + 1);
}

#[test]
fn a_sink_that_has_just_failed_with_something_else_says_nothing_of_a_suspect() {
    let mut court = Court::of(&[0]);
    let mut span = suspect(&mut court);
    for n in 0..50 {
        court.passes(0);
        court.send(batch(100 + n, 1), 0, broken());
        assert!(matches!(court.send(span, 0, broken()).fate, Fate::Apart));
        court.now += Duration::from_secs(60);
        span = court.take(0).unwrap();
    }
    assert_eq!(span.history.broke.len(), FAILURES_SUSPECT);
}

#[test]
fn a_suspect_that_all_have_met_goes_where_something_passed_since() {
    let mut court = Court::of(&[0, 1]);
    let span = suspect(&mut court);
    assert!(matches!(court.send(span, 1, broken()).fate, Fate::Apart));
    court.now += Duration::from_secs(60);
    court.passes(1);
    assert!(court.take(0).is_none() && court.take(1).is_some());
}

#[test]
fn a_suspect_that_nothing_is_left_to_speak_against_ends_with_the_longest_back_off_between_its_failures() {
    let mut court = Court::of(&[0]);
    court.idle = true;
    let mut span = suspect(&mut court);
    let begun = court.now;
    while let Fate::Apart = court.send(span, 0, broken()).fate {
        court.now += Duration::from_secs(1);
        assert!(court.now < begun + Duration::from_secs(600), "it ends");
        span = std::iter::repeat_with(|| {
            court.now += Duration::from_secs(1);
            court.take(0)
        })
        .find_map(|span| span)
        .unwrap();
    }
    assert!(court.now >= begun + Duration::from_secs(30), "{:?}", court.now - begun);
}

#[test]
fn a_suspect_is_not_dead_while_nothing_passes() {
    for idle in [false, true] {
        let mut court = Court { idle, ..Court::of(&[0]) };
        court.passes(0);
        let mut span = suspect(&mut court);
        (span.history.born, span.history.since) = (court.judge.tries, Some(court.judge.tries));
        for _ in 0..50 {
            assert!(matches!(court.send(span, 0, broken()).fate, Fate::Apart));
            court.now += Duration::from_secs(60);
            span = court.take(0).unwrap();
        }
    }
}

/// Sends span by span to the one sink, every `nth` bad; the dead, and whether it was held, before `spans` were sent.
fn refuse_every(court: &mut Court, nth: u64, spans: u64, apart: Duration) -> (u64, bool) {
    let mut dead = 0;
    for n in 0..spans {
        court.now += apart;
        if n % nth != 0 {
            court.send(batch(n, 1), 0, Verdict::Delivered);
            continue;
        }
        let mut ruling = court.send(batch(n, 1), 0, refused());
        court.passes(0);
        while let Some(span) = court.take(0).filter(|_| ruling.answer != Answer::Misconfigured) {
            ruling = court.send(span, 0, refused());
            dead += u64::from(matches!(ruling.fate, Fate::Dead(_)));
        }
        if ruling.answer == Answer::Misconfigured {
            assert!(ruling.reason.contains("mass_refusal"), "{}", ruling.reason);
            return (dead, true);
        }
    }
    (dead, false)
}

#[test]
fn at_most_999_spans_of_a_minute_are_dead_before_their_sink_is_held() {
    let (dead, held) = refuse_every(&mut Court::of(&[0]), 5, 10_000, Duration::from_millis(1));
    assert!(held && dead == 999, "{dead} dead, held: {held}");
}

#[test]
fn a_twentieth_is_no_mass_and_neither_is_less_than_a_thousand_a_minute() {
    assert_eq!(refuse_every(&mut Court::of(&[0]), 20, 60_000, Duration::from_micros(10)), (3_000, false));
    assert_eq!(refuse_every(&mut Court::of(&[0]), 2, 6_000, Duration::from_millis(100)), (3_000, false));
}

#[test]
fn whoever_wants_letters_has_no_sink_held() {
    let mut court = Court::of(&[0]);
    court.judge = Judge::new(&settings(MassRefusal::DeadLetter));
    assert_eq!(refuse_every(&mut court, 2, 8_000, Duration::from_millis(1)), (4_000, false));
}

#[test]
fn letters_that_were_sent_again_and_are_refused_again_hold_no_sink() {
    let mut court = Court::of(&[0]);
    for n in 0..3_000 {
        let mut letter = batch(n, 1);
        let head = Arc::make_mut(&mut letter.stretches[0].head);
        head.origin = Arc::new(Origin(vec![("replay".into(), "dead-letters".into())]));
        assert_ne!(court.send(letter, 0, refused()).answer, Answer::Misconfigured, "after {n}");
    }
}

#[test]
fn a_held_sink_is_tried_with_what_it_refused_and_is_well_when_it_takes_that() {
    let mut court = Court::of(&[0]);
    let mut held = false;
    for n in 0..1_000 {
        held = court.send(batch(n, 1), 0, refused()).answer == Answer::Misconfigured;
    }
    assert!(held, "a thousand in a row");
    let ruling = court.send(batch(5_000, 10), 0, refused());
    assert_eq!(ruling.answer, Answer::Misconfigured);
    assert_eq!(one(ruling.fate).spans, 10, "nothing is halved meanwhile");
    assert!(court.judge.wants_sample(0));
    let sample = court.take(0).unwrap();
    assert_eq!(court.send(sample, 0, refused()).answer, Answer::Misconfigured);
    assert_eq!(court.send(batch(6_000, 1), 0, Verdict::Delivered).answer, Answer::Void, "that proves nothing");
    let sample = court.take(0).unwrap();
    assert_eq!(court.send(sample, 0, Verdict::Delivered).answer, Answer::Well(Duration::ZERO));
    assert!(!court.judge.wants_sample(0));
}

#[test]
fn more_refused_spans_than_are_kept_hold_their_sink() {
    let mut court = Court::of(&[0]);
    let mut kept = 0;
    while court.send(batch(kept, 1), 0, refused()).answer != Answer::Misconfigured {
        kept += 1;
        court.now += Duration::from_secs(1);
        assert_eq!(court.judge.held().paused, kept >= 4_096);
        assert!(kept < 20_000, "{:?}", court.judge.held());
    }
    assert!(kept == 16_384 && court.judge.is_full(), "{:?}", court.judge.held());
}

#[test]
fn a_size_is_remembered_and_tried_again_after_a_while() {
    let mut court = Court::of(&[0]);
    assert_eq!(court.judge.bytes_max(0, court.now), usize::MAX);
    court.send(batch(0, 10), 0, Verdict::TooLarge("413".into()));
    assert_eq!((court.judge.bytes_max(0, court.now), court.judge.bytes_max(1, court.now)), (500, usize::MAX));
    court.now += Duration::from_secs(600);
    assert_eq!(court.judge.bytes_max(0, court.now), 1_000);
}

#[test]
fn what_says_nothing_of_a_batch_is_not_held_against_it() {
    let mut court = Court::of(&[0]);
    let verdicts = [
        Verdict::Absent("down".into()),
        Verdict::Wait(Duration::from_secs(1), "429".into()),
        Verdict::Misconfigured("404".into()),
        Verdict::Again("closed".into()),
    ];
    let answers = [Answer::Failed, Answer::Wait(Duration::from_secs(1)), Answer::Misconfigured, Answer::Void];
    for (verdict, answer) in verdicts.into_iter().zip(answers) {
        court.passes(0);
        let ruling = court.send(batch(0, 2), 0, verdict);
        assert_eq!(ruling.answer, answer);
        let batch = one(ruling.fate);
        assert!(batch.is_well() && batch.history.since.is_none(), "{batch:?}");
    }
}
