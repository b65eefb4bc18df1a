//! Which sink is next, event by event.

use super::*;

const MIN: Duration = Duration::from_millis(200);
const MAX: Duration = Duration::from_secs(30);

fn group(sinks: usize) -> Group {
    Group::new((0..sinks).map(|n| Backoff::seeded(MIN, MAX, n as u64)).collect(), 4)
}

fn picks(group: &mut Group, now: Instant, count: usize) -> Vec<Ticket> {
    (0..count).map_while(|_| group.pick(now, |_| true)).collect()
}

/// Fails one batch of each sink, so that all rest.
fn rest_all(group: &mut Group, now: Instant) {
    let tickets: Vec<_> = (0..group.members.len()).map(|_| group.pick(now, |_| true).unwrap()).collect();
    for ticket in tickets {
        assert_eq!(group.answer(&ticket, Answer::Failed, now), Change::Rests);
    }
}

#[test]
fn two_healthy_sinks_take_turns() {
    let (mut group, now) = (group(2), Instant::now());
    let mut counts = [0; 2];
    for _ in 0..1_001 {
        let ticket = group.pick(now, |_| true).unwrap();
        counts[ticket.sink] += 1;
        assert_eq!(group.answer(&ticket, Answer::Well, now), Change::Nothing);
    }
    assert_eq!(counts, [501, 500]);
}

#[test]
fn each_sink_has_at_most_its_batches_in_flight() {
    let (mut group, now) = (group(2), Instant::now());
    let tickets = picks(&mut group, now, 100);
    assert_eq!(tickets.len(), 8);
    assert_eq!((group.in_flight(0), group.in_flight(1)), (4, 4));
    group.answer(&tickets[0], Answer::Well, now);
    assert_eq!(group.pick(now, |_| true).unwrap().sink, tickets[0].sink, "the one with room");
    assert!(group.pick(now, |_| true).is_none());
}

#[test]
fn a_hung_sink_holds_its_own_batches_and_no_others() {
    let (mut group, now) = (group(2), Instant::now());
    let hung: Vec<_> = picks(&mut group, now, 8).into_iter().filter(|t| t.sink == 0).collect();
    assert_eq!(hung.len(), 4);
    for _ in 0..4 {
        group.answer(&Ticket { sink: 1, epoch: 0 }, Answer::Well, now);
    }
    for _ in 0..100 {
        let ticket = group.pick(now, |_| true).unwrap();
        assert_eq!(ticket.sink, 1);
        group.answer(&ticket, Answer::Well, now);
    }
}

#[test]
fn a_failing_sink_rests_while_the_others_carry_on() {
    let (mut group, now) = (group(2), Instant::now());
    let ticket = group.pick(now, |_| true).unwrap();
    assert_eq!(group.answer(&ticket, Answer::Failed, now), Change::Rests);
    assert!(matches!(group.state(0), State::Resting { until } if until >= now + MIN && until <= now + MIN * 2));
    assert!(picks(&mut group, now, 100).iter().all(|t| t.sink == 1));
}

#[test]
fn after_its_rest_one_batch_probes() {
    let (mut group, now) = (group(1), Instant::now());
    rest_all(&mut group, now);
    let until = group.wakes().unwrap();
    assert!(group.pick(until - Duration::from_millis(1), |_| true).is_none());
    let probe = group.pick(until, |_| true).unwrap();
    assert_eq!(group.state(0), State::Probing);
    assert!(group.pick(until + MAX, |_| true).is_none(), "a second probe");
    assert_eq!(group.answer(&probe, Answer::Well, until), Change::Recovered { failures: 1 });
    assert_eq!(picks(&mut group, until, 100).len(), 4);
}

#[test]
fn a_failed_probe_rests_longer_and_changes_nothing_else() {
    let (mut group, mut now) = (group(1), Instant::now());
    rest_all(&mut group, now);
    for n in 2..12 {
        now = group.wakes().unwrap();
        let probe = group.pick(now, |_| true).unwrap();
        assert_eq!(group.answer(&probe, Answer::Failed, now), Change::Nothing);
        assert!(group.wakes().unwrap() <= now + MIN.saturating_mul(1 << n).min(MAX));
    }
    now = group.wakes().unwrap();
    let probe = group.pick(now, |_| true).unwrap();
    assert_eq!(group.answer(&probe, Answer::Well, now), Change::Recovered { failures: 11 });
    rest_all(&mut group, now);
    assert!(group.wakes().unwrap() <= now + MIN * 2, "a success resets the back-off");
}

#[test]
fn four_failures_of_one_moment_are_one() {
    let (mut group, now) = (group(1), Instant::now());
    let tickets = picks(&mut group, now, 4);
    let changes: Vec<_> = tickets.iter().map(|t| group.answer(t, Answer::Failed, now)).collect();
    assert_eq!(changes, [Change::Rests, Change::Nothing, Change::Nothing, Change::Nothing]);
    assert!(group.wakes().unwrap() <= now + MIN * 2);
}

#[test]
fn a_late_failure_does_not_end_a_probe() {
    let (mut group, now) = (group(1), Instant::now());
    let tickets = picks(&mut group, now, 2);
    group.answer(&tickets[0], Answer::Failed, now);
    let later = group.wakes().unwrap();
    let probe = group.pick(later, |_| true).unwrap();
    assert_eq!(group.answer(&tickets[1], Answer::Failed, later), Change::Nothing);
    assert_eq!(group.state(0), State::Probing);
    assert_eq!(group.answer(&probe, Answer::Well, later), Change::Recovered { failures: 1 });
}

#[test]
fn a_late_success_ends_a_rest() {
    let (mut group, now) = (group(1), Instant::now());
    let tickets = picks(&mut group, now, 2);
    group.answer(&tickets[0], Answer::Failed, now);
    assert_eq!(group.answer(&tickets[1], Answer::Well, now), Change::Recovered { failures: 1 });
    assert_eq!(group.state(0), State::Up);
}

#[test]
fn a_wait_is_kept_within_the_back_off_and_does_not_grow_it() {
    for (asked, given) in [(Duration::ZERO, MIN), (Duration::from_secs(5), Duration::from_secs(5)), (MAX * 9, MAX)] {
        let (mut group, now) = (group(1), Instant::now());
        let ticket = group.pick(now, |_| true).unwrap();
        assert_eq!(group.answer(&ticket, Answer::Wait(asked), now), Change::Rests);
        assert_eq!(group.wakes(), Some(now + given));
    }
}

#[test]
fn a_misconfigured_sink_says_so_once() {
    let (mut group, mut now) = (group(1), Instant::now());
    let mut changes = Vec::new();
    for answer in [Answer::Misconfigured, Answer::Misconfigured, Answer::Failed, Answer::Misconfigured, Answer::Well] {
        now = group.wakes().unwrap_or(now);
        let ticket = group.pick(now, |_| true).unwrap();
        changes.push(group.answer(&ticket, answer, now));
    }
    let recovered = Change::Recovered { failures: 4 };
    assert_eq!(changes, [Change::Misconfigured, Change::Nothing, Change::Rests, Change::Misconfigured, recovered]);
}

#[test]
fn a_probe_that_was_not_sent_may_be_tried_at_once() {
    let (mut group, now) = (group(1), Instant::now());
    rest_all(&mut group, now);
    let now = group.wakes().unwrap();
    let probe = group.pick(now, |_| true).unwrap();
    assert_eq!(group.answer(&probe, Answer::Void, now), Change::Nothing);
    assert!(group.pick(now, |_| true).is_some());
}

#[test]
fn all_sinks_resting_wake_with_the_first() {
    let (mut group, now) = (group(5), Instant::now());
    rest_all(&mut group, now);
    assert!(group.pick(now, |_| true).is_none());
    let first = group.wakes().unwrap();
    assert_eq!(picks(&mut group, first, 100).len(), 1);
}
