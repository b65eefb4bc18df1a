//! Which sink is next, event by event.

use super::super::{Overflow, Sieve};
use super::*;

const MIN: Duration = Duration::from_millis(200);
const MAX: Duration = Duration::from_secs(30);
const TOOK: Duration = Duration::from_millis(5);

fn group(sinks: usize) -> Group {
    with(Policy::RoundRobin, vec![Terms::default(); sinks])
}

fn with(policy: Policy, terms: Vec<Terms>) -> Group {
    let settings = Settings {
        name: "zipkin".into(),
        policy,
        sieve: Sieve::default(),
        max_age: None,
        overflow: Overflow::Block,
        batch: BatchSettings { spans: 5_000, bytes: 4 << 20, linger: Duration::from_millis(20) },
        in_flight_max: 4,
        rate_max: None,
        backlog_rate: None,
        backoff_min: MIN,
        backoff_max: MAX,
        mass_refusal: super::super::MassRefusal::Hold,
    };
    let mut group = Group::new(&settings, 7);
    for (n, terms) in terms.iter().enumerate() {
        group.add(&format!("http://zipkin-{n}:9411"), terms);
    }
    // That it starts small is for the tests of the window.
    group.members.iter_mut().for_each(|m| m.window = Window::starting_at(4, 4));
    group
}

impl Group {
    /// A ticket for any batch.
    fn any(&mut self, now: Instant) -> Option<Ticket> {
        self.pick(now, |_, _| true)
    }

    fn state(&self, sink: SinkId) -> State {
        self.stands(sink).unwrap().state
    }

    fn in_flight(&self, sink: SinkId) -> usize {
        self.stands(sink).unwrap().in_flight
    }
}

fn picks(group: &mut Group, now: Instant, count: usize) -> Vec<Ticket> {
    (0..count).map_while(|_| group.any(now)).collect()
}

/// Fails one batch of each sink, so that all rest.
fn rest_all(group: &mut Group, now: Instant) {
    let tickets: Vec<_> = (0..group.members.len()).map(|_| group.any(now).unwrap()).collect();
    for ticket in tickets {
        assert_eq!(group.answer(&ticket, Answer::Failed, now), Change::Rests);
    }
}

#[test]
fn two_healthy_sinks_take_turns() {
    let (mut group, now) = (group(2), Instant::now());
    let mut counts = [0; 2];
    for _ in 0..1_001 {
        let ticket = group.any(now).unwrap();
        counts[ticket.sink] += 1;
        assert_eq!(group.answer(&ticket, Answer::Well(TOOK), now), Change::Nothing);
    }
    assert_eq!(counts, [501, 500]);
}

#[test]
fn each_sink_has_at_most_its_batches_in_flight() {
    let (mut group, now) = (group(2), Instant::now());
    let tickets = picks(&mut group, now, 100);
    assert_eq!(tickets.len(), 8);
    assert_eq!((group.in_flight(0), group.in_flight(1)), (4, 4));
    group.answer(&tickets[0], Answer::Well(TOOK), now);
    assert_eq!(group.any(now).unwrap().sink, tickets[0].sink, "the one with room");
    assert!(group.any(now).is_none());
}

#[test]
fn a_hung_sink_holds_its_own_batches_and_no_others() {
    let (mut group, now) = (group(2), Instant::now());
    let (hung, well): (Vec<_>, Vec<_>) = picks(&mut group, now, 8).into_iter().partition(|t| t.sink == 0);
    assert_eq!(hung.len(), 4);
    for ticket in well {
        group.answer(&ticket, Answer::Well(TOOK), now);
    }
    for _ in 0..100 {
        let ticket = group.any(now).unwrap();
        assert_eq!(ticket.sink, 1);
        group.answer(&ticket, Answer::Well(TOOK), now);
    }
}

#[test]
fn a_failing_sink_rests_while_the_others_carry_on() {
    let (mut group, now) = (group(2), Instant::now());
    let ticket = group.any(now).unwrap();
    assert_eq!(group.answer(&ticket, Answer::Failed, now), Change::Rests);
    assert!(matches!(group.state(0), State::Resting { until } if until >= now + MIN && until <= now + MIN * 2));
    assert!(picks(&mut group, now, 100).iter().all(|t| t.sink == 1));
}

#[test]
fn after_its_rest_one_batch_probes() {
    let (mut group, now) = (group(1), Instant::now());
    rest_all(&mut group, now);
    let until = group.back_at().unwrap();
    assert!(group.any(until - Duration::from_millis(1)).is_none());
    let probe = group.any(until).unwrap();
    assert_eq!(group.state(0), State::Probing);
    assert_eq!(probe.limits.spans, 100, "it is small");
    assert!(group.any(until + MAX).is_none(), "a second probe");
    assert_eq!(group.answer(&probe, Answer::Well(TOOK), until), Change::Recovered { failures: 1 });
    assert_eq!(picks(&mut group, until, 100).len(), 2, "half of what there were");
}

#[test]
fn a_failed_probe_rests_longer_and_changes_nothing_else() {
    let (mut group, mut now) = (group(1), Instant::now());
    rest_all(&mut group, now);
    for n in 2..12 {
        now = group.back_at().unwrap();
        let probe = group.any(now).unwrap();
        assert_eq!(group.answer(&probe, Answer::Failed, now), Change::Nothing);
        assert!(group.back_at().unwrap() <= now + MIN.saturating_mul(1 << n).min(MAX));
    }
    now = group.back_at().unwrap();
    let probe = group.any(now).unwrap();
    assert_eq!(group.answer(&probe, Answer::Well(TOOK), now), Change::Recovered { failures: 11 });
    rest_all(&mut group, now);
    assert!(group.back_at().unwrap() <= now + MIN * 2, "a success resets the back-off");
}

#[test]
fn four_failures_of_one_moment_are_one() {
    let (mut group, now) = (group(1), Instant::now());
    let tickets = picks(&mut group, now, 4);
    let changes: Vec<_> = tickets.iter().map(|t| group.answer(t, Answer::Failed, now)).collect();
    assert_eq!(changes, [Change::Rests, Change::Nothing, Change::Nothing, Change::Nothing]);
    assert!(group.back_at().unwrap() <= now + MIN * 2);
}

#[test]
fn a_late_failure_does_not_end_a_probe() {
    let (mut group, now) = (group(1), Instant::now());
    let tickets = picks(&mut group, now, 2);
    group.answer(&tickets[0], Answer::Failed, now);
    let later = group.back_at().unwrap();
    let probe = group.any(later).unwrap();
    assert_eq!(group.answer(&tickets[1], Answer::Failed, later), Change::Nothing);
    assert_eq!(group.state(0), State::Probing);
    assert_eq!(group.answer(&probe, Answer::Well(TOOK), later), Change::Recovered { failures: 1 });
}

#[test]
fn a_late_success_ends_a_rest() {
    let (mut group, now) = (group(1), Instant::now());
    let tickets = picks(&mut group, now, 2);
    group.answer(&tickets[0], Answer::Failed, now);
    assert_eq!(group.answer(&tickets[1], Answer::Well(TOOK), now), Change::Recovered { failures: 1 });
    assert_eq!(group.state(0), State::Up);
}

#[test]
fn a_wait_is_kept_within_the_back_off_and_does_not_grow_it() {
    for (asked, given) in [(Duration::ZERO, MIN), (Duration::from_secs(5), Duration::from_secs(5)), (MAX * 9, MAX)] {
        let (mut group, now) = (group(1), Instant::now());
        let ticket = group.any(now).unwrap();
        assert_eq!(group.answer(&ticket, Answer::Wait(asked), now), Change::Rests);
        assert_eq!(group.back_at(), Some(now + given));
    }
}

#[test]
fn a_misconfigured_sink_says_so_once() {
    let (mut group, mut now) = (group(1), Instant::now());
    let mut changes = Vec::new();
    for answer in
        [Answer::Misconfigured, Answer::Misconfigured, Answer::Failed, Answer::Misconfigured, Answer::Well(TOOK)]
    {
        now = group.back_at().unwrap_or(now);
        let ticket = group.any(now).unwrap();
        changes.push(group.answer(&ticket, answer, now));
    }
    let recovered = Change::Recovered { failures: 4 };
    assert_eq!(changes, [Change::Misconfigured, Change::Nothing, Change::Rests, Change::Misconfigured, recovered]);
}

#[test]
fn a_probe_that_was_not_sent_may_be_tried_at_once() {
    let (mut group, now) = (group(1), Instant::now());
    rest_all(&mut group, now);
    let now = group.back_at().unwrap();
    let probe = group.any(now).unwrap();
    assert_eq!(group.answer(&probe, Answer::Void, now), Change::Nothing);
    assert!(group.any(now).is_some());
}

#[test]
fn a_probe_that_a_suspect_broke_is_made_again_after_the_shortest_rest_however_often() {
    let (mut group, mut now) = (group(1), Instant::now());
    rest_all(&mut group, now);
    now += MAX;
    for _ in 0..50 {
        let probe = group.any(now).unwrap();
        assert_eq!(group.answer(&probe, Answer::Spared, now), Change::Nothing);
        assert_eq!(group.state(0), State::Resting { until: now + MIN });
        assert!(group.any(now).is_none());
        now += MIN;
    }
}

#[test]
fn a_sink_that_is_up_does_not_rest_for_a_suspect() {
    let (mut group, now) = (group(1), Instant::now());
    let ticket = group.any(now).unwrap();
    assert_eq!(group.answer(&ticket, Answer::Spared, now), Change::Nothing);
    assert_eq!((group.state(0), group.any(now).is_some()), (State::Up, true));
}

#[test]
fn all_sinks_resting_wake_with_the_first() {
    let (mut group, now) = (group(5), Instant::now());
    rest_all(&mut group, now);
    assert!(group.any(now).is_none());
    let first = group.back_at().unwrap();
    assert_eq!(picks(&mut group, first, 100).len(), 1);
}

#[test]
fn a_probe_goes_before_the_turn_of_others() {
    let (mut group, now) = (group(3), Instant::now());
    let ticket = group.any(now).unwrap();
    group.answer(&ticket, Answer::Failed, now);
    let later = group.back_at().unwrap();
    assert_eq!(picks(&mut group, later, 3).iter().map(|t| t.sink).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(picks(&mut group, later, 3).iter().map(|t| t.sink).collect::<Vec<_>>(), [1, 2, 1], "one probe");
}

#[test]
fn a_sink_is_passed_over_where_there_is_no_batch_for_it() {
    let (mut group, now) = (group(2), Instant::now());
    for _ in 0..4 {
        assert_eq!(group.pick(now, |sink, _| sink == 1).unwrap().sink, 1);
    }
    assert!(group.pick(now, |sink, _| sink == 1).is_none(), "it is full");
    assert_eq!(group.any(now).unwrap().sink, 0);
}

#[test]
fn a_sink_has_batches_of_its_own_measure() {
    let small = BatchSettings { spans: 30, bytes: 1_000, linger: Duration::ZERO };
    let (mut group, now) = (
        with(Policy::RoundRobin, vec![Terms::default(), Terms { batch: Some(small), ..Terms::default() }]),
        Instant::now(),
    );
    let tickets = picks(&mut group, now, 2);
    assert_eq!((tickets[0].limits.spans, tickets[1].limits), (5_000, small));
    assert_eq!((group.largest().spans, group.largest().bytes), (5_000, 4 << 20));
    group.answer(&tickets[1], Answer::Failed, now);
    assert_eq!(group.any(group.back_at().unwrap()).unwrap().limits.spans, 30, "a probe is no larger");
}

#[test]
fn weights_share_what_sinks_take() {
    let weigh = |weight| Terms { weight, ..Terms::default() };
    let (mut group, now) = (with(Policy::Weighted, vec![weigh(3), weigh(1)]), Instant::now());
    let mut counts = [0; 2];
    for _ in 0..4_000 {
        let ticket = group.any(now).unwrap();
        counts[ticket.sink] += 1;
        group.answer(&ticket, Answer::Well(TOOK), now);
    }
    assert_eq!(counts, [3_000, 1_000]);
}

#[test]
fn the_flow_falls_over_to_the_next_priority_and_comes_back() {
    let at = |priority| Terms { priority, ..Terms::default() };
    let (mut group, now) = (with(Policy::Failover, vec![at(2), at(1), at(1)]), Instant::now());
    let tickets = picks(&mut group, now, 100);
    assert_eq!((tickets.len(), group.in_flight(0)), (8, 0), "equal priorities share; a full one does not spill");
    assert_eq!((group.in_flight(1), group.in_flight(2)), (4, 4));
    for ticket in &tickets {
        group.answer(ticket, if ticket.sink == 1 { Answer::Failed } else { Answer::Well(TOOK) }, now);
    }
    assert!(picks(&mut group, now, 100).iter().all(|t| t.sink == 2));
    let last = Ticket { sink: 2, limits: group.largest(), epoch: 0 };
    group.answer(&last, Answer::Failed, now);
    let fallen = picks(&mut group, now, 100);
    assert!(!fallen.is_empty() && fallen.iter().all(|t| t.sink == 0));
    let later = now + MAX;
    let probes = picks(&mut group, later, 2);
    assert_eq!(probes.iter().map(|t| t.sink).collect::<Vec<_>>(), [1, 2]);
    group.answer(&probes[0], Answer::Well(TOOK), later);
    assert!(picks(&mut group, later, 100).iter().all(|t| t.sink == 1), "back to the preferred one");
}

#[test]
fn while_a_sink_rests_its_traces_go_to_their_own_second_choices_and_come_back() {
    let (mut group, now) = (with(Policy::ByTrace, vec![Terms::default(); 5]), Instant::now());
    let route = |group: &Group, now, held: u32| -> Vec<SinkId> {
        (0..10_000).map(|trace| group.route(trace, now, |_| held).unwrap()).collect()
    };
    let before = route(&group, now, 0);
    let ticket = group.pick(now, |sink, _| sink == 3).unwrap();
    group.answer(&ticket, Answer::Failed, now);
    let resting = route(&group, now, 0);
    assert!(before.iter().zip(&resting).all(|(a, b)| if *a == 3 { *b != 3 } else { a == b }));
    for other in [0, 1, 2, 4] {
        let moved = before.iter().zip(&resting).filter(|(a, b)| **a == 3 && **b == other).count();
        assert!((400..=600).contains(&moved), "{moved} of about 2,000 go to {other}");
    }
    let later = group.back_at().unwrap();
    assert_eq!(route(&group, later, 99), before, "it is to be probed with its own");
    assert_eq!(route(&group, later, 100), resting, "and with no more than a probe");
    let probe = group.pick(later, |sink, _| sink == 3).unwrap();
    assert_eq!(route(&group, later, 0), resting, "the probe is under way");
    group.answer(&probe, Answer::Well(TOOK), later);
    assert_eq!(route(&group, later, 5_000), before);
}

#[test]
fn while_all_rest_a_trace_waits_for_its_first_choice() {
    let (mut group, now) = (with(Policy::ByTrace, vec![Terms::default(); 3]), Instant::now());
    let before: Vec<_> = (0..100).map(|trace| group.route(trace, now, |_| 0)).collect();
    rest_all(&mut group, now);
    assert!(!group.is_open(now) && !group.is_up());
    assert_eq!((0..100).map(|trace| group.route(trace, now, |_| 0)).collect::<Vec<_>>(), before);
    assert!(!group.keeps(0, now), "what waits for it is shared out when another is back");
}

#[test]
fn a_sink_that_left_is_answered_for_and_chosen_no_more() {
    let (mut group, now) = (group(2), Instant::now());
    let tickets = picks(&mut group, now, 2);
    group.remove(0);
    assert_eq!((group.stands(0), group.knows(0)), (None, true), "a batch is under way to it");
    assert_eq!(group.answer(&tickets[0], Answer::Failed, now), Change::Nothing);
    assert!(!group.knows(0));
    assert!(picks(&mut group, now, 100).iter().all(|t| t.sink == 1));
    assert_eq!(group.add("http://zipkin-0:9411", &Terms::default()), 2, "a name is not used twice");
    assert_eq!(group.any(now).unwrap().sink, 2);
}

#[test]
fn it_wakes_when_a_sink_is_free_and_a_batch_ready() {
    let (mut group, now) = (group(2), Instant::now());
    let soon = now + Duration::from_millis(20);
    assert_eq!(group.wakes(now, |_, _| None), None);
    assert_eq!(group.wakes(now, |_, _| Some(soon)), Some(soon));
    let tickets = picks(&mut group, now, 8);
    assert_eq!(group.wakes(now, |_, _| Some(soon)), None, "both are full: an answer wakes");
    group.answer(&tickets[0], Answer::Failed, now);
    let back = group.back_at().unwrap();
    assert_eq!(group.wakes(now, |_, _| Some(soon)), Some(back.max(soon)));
}

#[test]
fn a_failure_halves_what_is_under_way_once() {
    let (mut group, now) = (group(1), Instant::now());
    for ticket in picks(&mut group, now, 4) {
        group.answer(&ticket, Answer::Failed, now);
    }
    let later = group.back_at().unwrap();
    let probe = group.any(later).unwrap();
    group.answer(&probe, Answer::Well(TOOK), later);
    assert_eq!(picks(&mut group, later, 100).len(), 2);
}

#[test]
fn a_rate_of_its_own_holds_one_sink_and_one_of_all_holds_all() {
    let slow = Terms { rate_max: Some(10), ..Terms::default() };
    let (mut group, now) = (with(Policy::RoundRobin, vec![slow, Terms::default()]), Instant::now());
    let ticket = group.any(now).unwrap();
    assert_eq!((ticket.sink, ticket.limits.spans), (0, 10), "a second's worth at most");
    group.sent(&ticket, 10, now);
    assert!(picks(&mut group, now, 3).iter().all(|t| t.sink == 1));
    group.rate = Some(Bucket::new(1_000.0));
    let ticket = group.any(now).unwrap();
    assert_eq!(ticket.limits.spans, 1_000);
    group.sent(&ticket, 500, now);
    assert!(group.any(now).is_none() && !group.has_room(now));
    group.answer(&ticket, Answer::Well(TOOK), now);
    let soon = now + Duration::from_millis(500);
    assert_eq!(group.wakes(now, |_, _| Some(now)), Some(soon));
    assert_eq!(group.any(soon).unwrap().sink, 1);
    assert_eq!(group.wakes(soon, |_, _| Some(now)), Some(now + Duration::from_secs(1)), "the first one's turn");
}
