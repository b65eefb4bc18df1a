//! The sinks of a drain and which of them is next: a state machine, without time or I/O of its own.
//!
//! A [`Policy`] shares the batches among the sinks that are up, several batches each. A sink that
//! fails rests; when its rest is over one small batch probes it before any other is sent, and what
//! it answers decides. Failures of batches that were under way when the rest began say nothing new
//! and do not lengthen it. Sinks come and go: what was under way to one that left is answered for,
//! and changes nothing here.

mod brake;
mod bucket;
mod member;
mod policy;
mod window;

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::{BatchSettings, Settings, Terms};
use brake::Brake;
use member::Member;
use policy::Candidate;
use window::Window;

pub(super) use bucket::Bucket;
pub(super) use member::PROBE_SPANS_MAX;
pub use policy::Policy;

/// A sink's name within its group; never used twice.
pub(super) type SinkId = usize;

/// Where a sink stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It takes batches.
    Up,
    /// It failed: nothing is sent until then.
    Resting { until: Instant },
    /// It answered what no collector would: rests like one that failed, but it takes a person.
    Misconfigured { until: Instant },
    /// Its rest is over and one batch is under way to it.
    Probing,
}

/// A verdict as far as it concerns the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It judged the batch, for good or bad, in this time: it is well.
    Well(Duration),
    Failed,
    /// It asks to be left alone for this long.
    Wait(Duration),
    Misconfigured,
    /// It was not asked after all, or the try said nothing about it.
    Void,
    /// A suspect broke it: it does not rest for that. One that is probed is asked again after the shortest rest.
    Spared,
}

/// What an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// Up or misconfigured before, resting now.
    Rests,
    /// Misconfigured now, and not before.
    Misconfigured,
    /// Up again, after so many failed tries.
    Recovered {
        failures: u32,
    },
}

/// The right to send one batch to one sink; given back with [`Group::answer`].
#[derive(Debug, PartialEq)]
pub(super) struct Ticket {
    pub sink: SinkId,
    /// What the batch may hold; `linger` is over.
    pub limits: BatchSettings,
    /// The member's count of state changes when it was given.
    epoch: u64,
}

/// Where a sink stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stand {
    pub state: State,
    /// Batches under way, and how many may be.
    pub in_flight: usize,
    pub limit: usize,
}

/// The sinks of a drain.
#[derive(Debug)]
pub(super) struct Group {
    policy: Policy,
    members: Vec<Member>,
    /// Those that left while batches were under way to them.
    leaving: Vec<Member>,
    /// Of the sink that comes next.
    next_id: SinkId,
    /// What a sink has that does not say otherwise.
    batch: BatchSettings,
    in_flight_max: usize,
    /// What all may be sent a second.
    rate: Option<Bucket>,
    backoff: (Duration, Duration),
    rng: fastrand::Rng,
}

impl Group {
    /// A group without sinks. The same seed gives the same choices.
    pub fn new(settings: &Settings, seed: u64) -> Self {
        Group {
            policy: settings.policy,
            members: Vec::new(),
            leaving: Vec::new(),
            next_id: 0,
            batch: settings.batch,
            in_flight_max: settings.in_flight_max.max(1),
            rate: settings.rate_max.map(|rate| Bucket::new(rate as f64)),
            backoff: (settings.backoff_min, settings.backoff_max),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Adds a sink, taken to be up.
    pub fn add(&mut self, url: &str, terms: &Terms) -> SinkId {
        let (id, (min, max)) = (self.next_id, self.backoff);
        self.next_id += 1;
        self.members.push(Member {
            id,
            identity: policy::identity(url),
            weight: terms.weight,
            priority: terms.priority,
            credit: 0,
            brake: Brake::default(),
            batch: terms.batch.unwrap_or(self.batch),
            window: Window::new(self.in_flight_max),
            rate: terms.rate_max.map(|rate| Bucket::new(rate as f64)),
            state: State::Up,
            misconfigured: false,
            in_flight: 0,
            epoch: 0,
            backoff: Backoff::seeded(min, max, self.rng.u64(..)),
            failures: 0,
        });
        id
    }

    /// Takes a sink away: it is chosen no more. What is under way to it is answered for as before.
    pub fn remove(&mut self, sink: SinkId) {
        let Some(at) = self.members.iter().position(|m| m.id == sink) else { return };
        let member = self.members.remove(at);
        self.leaving.extend(Some(member).filter(|m| m.in_flight > 0));
    }

    /// Whether a sink is in the group, or something is under way to it.
    pub fn knows(&self, sink: SinkId) -> bool {
        self.members.iter().chain(&self.leaving).any(|m| m.id == sink)
    }

    /// Whether each sink has spans of its own to take.
    pub fn by_trace(&self) -> bool {
        self.policy == Policy::ByTrace
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The most that any sink's batch may hold.
    pub fn largest(&self) -> BatchSettings {
        let spans = self.members.iter().map(|m| m.batch.spans).max().unwrap_or(self.batch.spans);
        let bytes = self.members.iter().map(|m| m.batch.bytes).max().unwrap_or(self.batch.bytes);
        BatchSettings { spans, bytes, linger: self.batch.linger }
    }

    /// The sink that takes the next batch, of those that take one now and for which `fits` finds one of at most these
    /// sizes. A sink that is to be probed comes first.
    pub fn pick(&mut self, now: Instant, mut fits: impl FnMut(SinkId, &BatchSettings) -> bool) -> Option<Ticket> {
        if self.owes(now) {
            return None;
        }
        let level = self.level();
        let all = self.rate.as_ref();
        let mut takers: Vec<&mut Member> =
            self.members.iter_mut().filter(|m| m.takes(now) && fits(m.id, &limits(m, all))).collect();
        if let Some(probe) = takers.iter().position(|m| m.may_be_probed(now)) {
            return Some(ticket(takers.swap_remove(probe), all));
        }
        takers.retain(|m| level.is_none_or(|level| m.priority == level));
        let mut candidates: Vec<Candidate<'_>> =
            takers.iter_mut().map(|m| Candidate { weight: m.weight, load: m.load(), credit: &mut m.credit }).collect();
        let chosen = policy::choose(self.policy, &mut candidates, &mut self.rng)?;
        Some(ticket(takers.swap_remove(chosen), all))
    }

    /// Under `failover`, the priority that has the flow: the lowest number of a sink that is up, with room or without.
    fn level(&self) -> Option<u32> {
        let up = self.members.iter().filter(|m| m.state == State::Up);
        up.map(|m| m.priority).min().filter(|_| self.policy == Policy::Failover)
    }

    /// The first sink for which `fits` has a batch, whatever the policy: what is kept apart goes where it says most.
    pub fn pick_any(&mut self, now: Instant, fits: impl Fn(SinkId) -> bool) -> Option<Ticket> {
        let all = self.rate.as_ref();
        self.members.iter_mut().find(|m| m.takes(now) && fits(m.id)).map(|member| ticket(member, all))
    }

    /// The sinks that are up.
    pub fn up(&self) -> Vec<SinkId> {
        self.members.iter().filter(|m| m.state == State::Up).map(|m| m.id).collect()
    }

    /// Whether a batch could be sent to any.
    pub fn has_room(&self, now: Instant) -> bool {
        !self.owes(now) && self.members.iter().any(|m| m.takes(now))
    }

    /// Whether all together have been sent more than their rate by now.
    fn owes(&self, now: Instant) -> bool {
        self.rate.as_ref().is_some_and(|rate| rate.free_at(now) > now)
    }

    /// As many spans were sent with a ticket.
    pub fn sent(&mut self, ticket: &Ticket, spans: u32, now: Instant) {
        if let Some(member) = self.members.iter_mut().find(|m| m.id == ticket.sink) {
            member.brake.sent(spans, now);
            member.rate.iter_mut().for_each(|rate| rate.sent(spans, now));
        }
        self.rate.iter_mut().for_each(|rate| rate.sent(spans, now));
    }

    /// A look at a sink found that it began to drop in this `time`, or that it did not: what it is held to from now on.
    pub fn looked(&mut self, sink: SinkId, drops: Option<Duration>) -> Option<f64> {
        let brake = &mut self.members.iter_mut().find(|m| m.id == sink)?.brake;
        match drops {
            Some(time) => brake.hold(time),
            None => brake.ease(),
        }
        brake.rate()
    }

    /// Whether any is up, or is to be probed.
    pub fn is_open(&self, now: Instant) -> bool {
        self.members.iter().any(|m| m.is_open(now))
    }

    /// Whether any is up.
    pub fn is_up(&self) -> bool {
        self.members.iter().any(|m| m.state == State::Up)
    }

    /// When the first rest ends.
    pub fn back_at(&self) -> Option<Instant> {
        self.members.iter().filter_map(Member::rests_until).min()
    }

    /// Under `by_trace`, the sink for a trace: its first choice of those that are up. One that is to be probed is
    /// among them while `held` says that it is given no more than a probe's spans. Where none is, the first choice of
    /// all: its spans wait. `None` without sinks.
    pub fn route(&self, trace: u64, now: Instant, held: impl Fn(SinkId) -> u32) -> Option<SinkId> {
        let open = |m: &&Member| m.state == State::Up || (m.may_be_probed(now) && held(m.id) < m.limits().spans);
        let rank = |m: &&Member| policy::rank(m.identity, trace);
        let chosen = self.members.iter().filter(open).max_by_key(rank);
        chosen.or_else(|| self.members.iter().max_by_key(rank)).map(|m| m.id)
    }

    /// Whether spans routed to this sink can be left with it.
    pub fn keeps(&self, sink: SinkId, now: Instant) -> bool {
        self.members.iter().any(|m| m.id == sink && m.is_open(now))
    }

    /// What became of a batch that [`pick`](Self::pick) gave a ticket for.
    pub fn answer(&mut self, ticket: &Ticket, answer: Answer, now: Instant) -> Change {
        if let Some(member) = self.members.iter_mut().find(|m| m.id == ticket.sink) {
            return member.answer(ticket.epoch, answer, now);
        }
        // It left: where it stands is nobody's business any more.
        self.leaving.iter_mut().filter(|m| m.id == ticket.sink).for_each(|m| m.in_flight -= 1);
        self.leaving.retain(|m| m.in_flight > 0);
        Change::Nothing
    }

    /// When the first sink takes a batch for which only time is missing. `ready` says from when on there is one for a
    /// sink, of at most these sizes; there may be several. What could be sent at `now` is passed over, for it was not:
    /// it waits for another sink, or an answer.
    pub fn wakes<I>(&self, now: Instant, ready: impl Fn(SinkId, &BatchSettings) -> I) -> Option<Instant>
    where
        I: IntoIterator<Item = Instant>,
    {
        let all = self.rate.as_ref();
        let free = all.map_or(now, |rate| rate.free_at(now));
        let wakes = self.members.iter().filter_map(|m| {
            let free = free.max(m.free_at(now)?);
            ready(m.id, &limits(m, all)).into_iter().map(|ready| free.max(ready)).filter(|wake| *wake > now).min()
        });
        wakes.min()
    }

    /// Where a sink stands; `None` for one that left.
    pub fn stands(&self, sink: SinkId) -> Option<Stand> {
        let stand = |m: &Member| Stand { state: m.state, in_flight: m.in_flight, limit: m.window.limit() };
        self.members.iter().find(|m| m.id == sink).map(stand)
    }
}

/// What the next batch to a sink may hold.
fn limits(member: &Member, all: Option<&Bucket>) -> BatchSettings {
    let limits = member.limits();
    all.map_or(limits, |rate| rate.within(limits))
}

fn ticket(member: &mut Member, all: Option<&Bucket>) -> Ticket {
    let limits = limits(member, all);
    Ticket { sink: member.id, limits, epoch: member.sent() }
}

#[cfg(test)]
mod tests;
