//! Choose: which sink gets which batch, and when. What was tried before goes before what was not, and
//! what the judge keeps apart before both.
//!
//! A sink is chosen first and the batch cut to its measure, so that a probe is small and what waits
//! for room grows. Under `by_trace` a batch is for one sink; while that one rests its spans are
//! shared out anew.

use tokio::time::Instant;

use super::BatchSettings;
use super::backlog::Backlog;
use super::batch::Batch;
use super::cut::{Cutter, Lane};
use super::group::{SinkId, Ticket};
use super::judge::Held;
use super::run::{DEAD_MAX, Flow};
use super::trickle::{Crowd, FAILED_LAST};
use crate::channel::Taken;

impl Flow {
    /// Whether another frame is to be taken from the channel.
    pub(super) fn wants_more(&self, now: Instant) -> bool {
        let (lanes, open) = match self.group.by_trace() {
            // While none is up nobody can say whose a span is. One frame is taken all the same: a span that broke them
            // all would else be all that they are ever probed with.
            true => (self.group.len(), self.group.is_open(now) || self.cutter.is_empty()),
            false => (1, true),
        };
        self.read_pause.is_none() && open && self.cutter.has_room(&self.group.largest(), lanes)
    }

    /// Takes in what of a frame is to be sent.
    pub(super) fn queue(&mut self, taken: &Taken, now: Instant) {
        let group = &self.group;
        match group.by_trace() {
            true => self.cutter.push_routed(taken, now, |trace, held| group.route(trace, now, held)),
            false => self.cutter.push(taken, now),
        }
    }

    /// Sends what can be sent, oldest first, and buries what is dead.
    pub(super) fn dispatch(&mut self, now: Instant) {
        self.start_burial();
        self.reroute(now);
        while self.read_pause.is_none() && self.dead.len() < DEAD_MAX && self.group.has_room(now) {
            let Some((batch, ticket)) = self.next(now) else { break };
            self.group.sent(&ticket, batch.spans, now);
            self.backlog.sent(&batch, now);
            self.start_send(batch, ticket);
        }
        self.report.holds(self.judge.held());
    }

    /// What is kept apart goes first, for its turn comes rarely. But span for span the flow has as many turns: neither
    /// a rate nor the sinks are used up by what nobody takes.
    fn next(&mut self, now: Instant) -> Option<(Batch, Ticket)> {
        let first = if self.owed_to_flow == 0 { self.apart(now) } else { None };
        if first.is_none()
            && let Some((batch, ticket)) = self.tried_before(now).or_else(|| self.fresh(now))
        {
            self.owed_to_flow = self.owed_to_flow.saturating_sub(batch.spans);
            return Some((batch, ticket));
        }
        let apart = first.or_else(|| self.apart(now))?;
        // What goes while the flow has nothing to send is not owed to it.
        self.owed_to_flow = apart.0.spans;
        Some(apart)
    }

    /// How much waits in vain: batches that failed, spans that were refused.
    fn crowd(&self) -> Crowd {
        let failed = || self.waiting.iter().filter(|batch| !batch.is_well());
        let many = failed().count() >= self.settings.in_flight_max * self.group.len() || !self.judge.has_room();
        match many {
            false => Crowd::Few,
            true if self.judge.is_full() => Crowd::Full,
            true if failed().map(|batch| batch.stretches.len()).sum::<usize>() >= FAILED_LAST => Crowd::Full,
            true => Crowd::Many,
        }
    }

    /// From when on a batch may be sent for the first time.
    fn new_at(&self, now: Instant) -> Option<Instant> {
        self.trickle.due(self.crowd(), now)
    }

    /// Whether there is a batch that was not sent yet and may be.
    pub(super) fn has_new(&self, now: Instant) -> bool {
        let (limits, mut lanes) = (self.group.largest(), self.cutter.lanes());
        let sendable = |lane| ready(&self.cutter, &self.backlog, lane, &limits, now).is_some_and(|at| at <= now);
        self.new_at(now).is_some_and(|at| at <= now) && lanes.any(sendable)
    }

    /// When something is to be done although nothing has happened. What was due at `now` has been done, or waits for
    /// a send or a burial to end.
    pub(super) fn wakes(&self, now: Instant) -> Option<Instant> {
        if self.read_pause.is_some() {
            return self.read_pause;
        }
        let (apart, new_at) = (self.judge.wakes(), self.new_at(now));
        let wake = self.group.wakes(now, |sink, limits| {
            let tried = self.waiting.iter().filter(move |batch| batch.lane.is_none_or(|lane| lane == sink));
            let tried = tried.map(|batch| self.backlog.free_at(&batch.stretches[0], now));
            let new = ready(&self.cutter, &self.backlog, self.lane(sink), limits, now);
            let new = new.zip(new_at).map(|(ready, at)| ready.max(at));
            // What is kept apart waits for the time of a sink, too.
            tried.chain(new).chain(apart)
        });
        // Spans of sinks that rest go to the first that is back.
        let back = self.group.back_at().filter(|_| self.group.by_trace() && !self.group.is_open(now));
        wake.into_iter().chain(back).chain(apart).filter(|wake| *wake > now).min()
    }

    /// Puts what is not given up of a batch among those that wait: those that failed least, then the oldest, first.
    pub(super) fn put_back(&mut self, batch: Batch) {
        let Some(batch) = self.giving_up.strain(batch, Instant::now()) else { return };
        let order = |batch: &Batch| (batch.history.failures, batch.first());
        let at = self.waiting.partition_point(|b| order(b) < order(&batch));
        self.waiting.insert(at, batch);
    }

    /// The lane from which a sink is fed.
    fn lane(&self, sink: SinkId) -> Lane {
        self.group.by_trace().then_some(sink)
    }

    /// What is kept apart and may be tried. A sink that is to be probed gets it only where nothing else is there, or
    /// where nothing else would show that it is well.
    fn apart(&mut self, now: Instant) -> Option<(Batch, Ticket)> {
        if self.judge.held() == Held::default() {
            return None;
        }
        let (up, flows) = (self.group.up(), !self.waiting.is_empty() || self.has_new(now));
        let judge = &self.judge;
        let ticket = self.group.pick_any(now, |sink| {
            (up.contains(&sink) || !flows || judge.wants_sample(sink)) && judge.has_for(sink, &up, now)
        })?;
        let batch = self.judge.take(ticket.sink, &up, now).expect("the sink was picked for it");
        Some((batch, ticket))
    }

    /// The batch that was tried before and that a sink takes now. A sink that is probed is tried with what failed
    /// only where nothing else is there.
    fn tried_before(&mut self, now: Instant) -> Option<(Batch, Ticket)> {
        let mut refused: Vec<(Lane, bool)> = Vec::new();
        let (up, new) = (self.group.up(), self.has_new(now));
        for index in 0..self.waiting.len() {
            let batch = &self.waiting[index];
            let (lane, well, first) = (batch.lane, batch.is_well(), &batch.stretches[0]);
            if refused.contains(&(lane, well)) || self.backlog.free_at(first, now) > now {
                continue;
            }
            let judge = &self.judge;
            let picked = self.group.pick(now, |sink, _| {
                let may = well || !new || up.contains(&sink);
                may && lane.is_none_or(|lane| lane == sink) && !judge.wants_sample(sink)
            });
            let Some(ticket) = picked else {
                refused.push((lane, well));
                continue;
            };
            let limits = self.backlog.within(first, &ticket.limits);
            let batch = self.waiting.remove(index).expect("it was just looked at");
            return Some((self.cut_to(batch, &limits, ticket.sink, now), ticket));
        }
        None
    }

    /// A batch of what was not tried yet, for a sink that takes one now.
    fn fresh(&mut self, now: Instant) -> Option<(Batch, Ticket)> {
        let crowd = self.crowd();
        self.trickle.due(crowd, now).filter(|at| *at <= now)?;
        let (cutter, backlog, judge) = (&self.cutter, &self.backlog, &self.judge);
        let by_trace = self.group.by_trace();
        let ticket = self.group.pick(now, |sink, limits| {
            let at = ready(cutter, backlog, by_trace.then_some(sink), limits, now);
            at.is_some_and(|at| at <= now) && !judge.wants_sample(sink)
        })?;
        let lane = self.lane(ticket.sink);
        let limits = self.cutter.first(lane).map_or(ticket.limits, |first| self.backlog.within(first, &ticket.limits));
        let limits = self.trickle.within(crowd, limits);
        let batch = self.cutter.cut(lane, &limits);
        self.trickle.sent(crowd, now);
        Some((self.cut_to(batch, &limits, ticket.sink, now), ticket))
    }

    /// What of a batch its sink takes at once; the rest waits.
    fn cut_to(&mut self, batch: Batch, limits: &BatchSettings, sink: SinkId, now: Instant) -> Batch {
        let bytes = limits.bytes.min(self.judge.bytes_max(sink, now));
        let (batch, rest) = batch.within(&BatchSettings { bytes, ..*limits });
        rest.into_iter().for_each(|rest| self.put_back(rest));
        batch
    }

    /// Under `by_trace`, gives the spans of sinks that rest, or left, to each trace's next choice.
    fn reroute(&mut self, now: Instant) {
        if !self.group.by_trace() || !self.group.is_open(now) {
            return;
        }
        let group = &self.group;
        self.cutter.reroute(|sink| group.keeps(sink, now), |trace, held| group.route(trace, now, held));
        // A batch is no probe: it goes to sinks that are up, or to any where none is.
        let held = if group.is_up() { u32::MAX } else { 0 };
        let (keep, stray): (Vec<Batch>, Vec<Batch>) =
            self.waiting.drain(..).partition(|batch| batch.lane.is_some_and(|lane| group.keeps(lane, now)));
        self.waiting.extend(keep);
        let parts = stray.iter().flat_map(|batch| batch.by_lane(|trace| group.route(trace, now, |_| held)));
        let parts: Vec<Batch> = parts.collect();
        parts.into_iter().for_each(|part| self.put_back_joined(part));
    }

    /// Puts a batch back, in another that is like it where there is one: shared out again and again, they would be
    /// crumbs in the end.
    fn put_back_joined(&mut self, batch: Batch) {
        let limits = self.group.largest();
        let mut batch = batch;
        for other in &mut self.waiting {
            match other.join(batch, &limits) {
                None => return,
                Some(back) => batch = back,
            }
        }
        self.put_back(batch);
    }
}

/// From when on a batch of a lane can be sent; `None` while it is empty.
fn ready(cutter: &Cutter, backlog: &Backlog, lane: Lane, limits: &BatchSettings, now: Instant) -> Option<Instant> {
    let first = cutter.first(lane)?;
    Some(cutter.ready(lane, &backlog.within(first, limits))?.max(backlog.free_at(first, now)))
}
