//! Whole traces of the [`shop`](super::shop) from a seed.
//!
//! Pure: the same seed and the same starts make the same spans. A trace has its root, every
//! parent that is named, and both sides of each call under one id, the server's `shared`. A
//! failure carries the tag `error` and often travels up to its callers. A trace that may have
//! fewer spans than it wants leaves calls out, never halves of them.

use std::borrow::Cow;

use fastrand::Rng;

use super::shop::{DOORS, Operation, Service, Step, What};
use crate::span::{Annotation, Endpoint, Kind, Span, TraceId};

/// Chance, in percent, that a call's failure is its caller's, too.
const TRAVELS: u32 = 60;

/// One way through the network, microseconds.
const NETWORK_US: std::ops::Range<u64> = 80..700;

pub struct Traces {
    random: Rng,
    /// Spans of this trace, then those left of longer ones, kept for their room.
    spans: Vec<Span<'static>>,
    used: usize,
    most: usize,
    trace_id: TraceId,
}

/// Who a span is, before it is known how it went.
#[derive(Clone, Copy)]
struct Who {
    id: u64,
    parent_id: u64,
    kind: Kind,
    shared: bool,
}

/// How it went: when it was over, and what it failed of.
struct Went {
    end_us: u64,
    error: Option<&'static str>,
}

impl Traces {
    pub fn seeded(seed: u64) -> Traces {
        Traces { random: Rng::with_seed(seed), spans: Vec::new(), used: 0, most: 0, trace_id: TraceId::default() }
    }

    /// Makes the next trace, of at most `most` spans (at least 1), its root beginning at `start_us`.
    pub fn make(&mut self, start_us: u64, most: usize) {
        (self.used, self.most) = (0, most.max(1));
        self.trace_id = TraceId { high: self.id(), low: self.id() };
        let door = &DOORS[self.random.usize(..DOORS.len())];
        let root = Who { id: self.trace_id.low, parent_id: 0, kind: Kind::Server, shared: false };
        self.serve(door, root, start_us);
    }

    /// The spans of the trace made last.
    pub fn spans(&mut self) -> &mut [Span<'static>] {
        &mut self.spans[..self.used]
    }

    fn id(&mut self) -> u64 {
        self.random.u64(1..)
    }

    fn happens(&mut self, percent: u32) -> bool {
        self.random.u32(..100) < percent
    }

    /// About `us`: between half of it and half more.
    fn about(&mut self, us: u64) -> u64 {
        self.random.u64(us / 2..us + us / 2 + 1)
    }

    /// Takes the place of a span; its content follows.
    fn place(&mut self) -> usize {
        if self.used == self.spans.len() {
            self.spans.push(Span::default());
        }
        self.used += 1;
        self.used - 1
    }

    /// The receiving side of an operation, and all that it asks of others.
    fn serve(&mut self, operation: &'static Operation, who: Who, start_us: u64) -> Went {
        let place = self.place();
        let work_us = self.about(operation.work_us);
        let mut went = Went { end_us: start_us + work_us / 2, error: None };
        for step in operation.steps {
            let at = Went { end_us: went.end_us, error: None };
            let Went { end_us, error } = self.step(operation.service, step, who.id, at);
            let travels = error.is_some() && self.happens(TRAVELS);
            went = Went { end_us, error: went.error.or(error.filter(|_| travels)) };
        }
        let (often, what) = operation.fails;
        if self.random.u32(..1000) < often {
            went.error = Some(what);
        }
        went.end_us += work_us - work_us / 2;
        let span = self.fill(place, who, operation.name, operation.service, start_us, went.end_us);
        if who.kind == Kind::Server {
            http(span, operation, went.error);
        }
        finish(span, operation.service, went.error);
        went
    }

    /// One step of an operation, if it happens and there is room for it.
    fn step(&mut self, caller: &'static Service, step: &'static Step, parent_id: u64, at: Went) -> Went {
        let spans = if matches!(step.what, What::Query { .. }) { 1 } else { 2 };
        if !self.happens(step.percent) || self.most - self.used < spans {
            return at;
        }
        let who = |id, kind| Who { id, parent_id, kind, shared: false };
        let id = self.id();
        match &step.what {
            What::Call(callee) => self.call(caller, callee, who(id, Kind::Client), at.end_us),
            What::Query { store, name, statement } => {
                self.query(caller, store, (name, statement), who(id, Kind::Client), at.end_us)
            }
            What::Publish { broker, topic, receiver } => {
                self.publish(caller, (broker, topic), receiver, who(id, Kind::Producer), at.end_us)
            }
        }
    }

    fn call(&mut self, caller: &'static Service, callee: &'static Operation, who: Who, start_us: u64) -> Went {
        let place = self.place();
        let (there, back) = (self.random.u64(NETWORK_US), self.random.u64(NETWORK_US));
        let server = Who { kind: Kind::Server, shared: true, ..who };
        let Went { end_us, error } = self.serve(callee, server, start_us + there);
        let span = self.fill(place, who, callee.name, caller, start_us, end_us + back);
        span.remote = Some(endpoint(callee.service));
        http(span, callee, error);
        finish(span, caller, error);
        Went { end_us: end_us + back, error }
    }

    fn query(
        &mut self,
        caller: &'static Service,
        store: &'static Service,
        (name, statement): (&'static str, &'static str),
        who: Who,
        start_us: u64,
    ) -> Went {
        let place = self.place();
        let (first, rest) = (self.about(700), self.about(300));
        let error = (self.random.u32(..1000) < 2).then_some("connection reset by peer");
        let end_us = start_us + first + rest;
        let span = self.fill(place, who, name, caller, start_us, end_us);
        span.remote = Some(endpoint(store));
        let row = Annotation { timestamp_us: start_us + first, value: Cow::Borrowed("first row") };
        span.annotations.push(row);
        tag(span, "db.statement", statement);
        finish(span, caller, error);
        Went { end_us, error }
    }

    /// The receiver has an id of its own, and works while the sender goes on.
    fn publish(
        &mut self,
        sender: &'static Service,
        (broker, topic): (&'static Service, &'static str),
        receiver: &'static Operation,
        who: Who,
        start_us: u64,
    ) -> Went {
        let end_us = start_us + self.about(400);
        let place = self.place();
        let span = self.fill(place, who, "send", sender, start_us, end_us);
        span.remote = Some(endpoint(broker));
        tag(span, "destination", topic);
        finish(span, sender, None);
        let consumer = Who { id: self.id(), parent_id: who.id, kind: Kind::Consumer, shared: false };
        let received_us = end_us + self.about(3_000);
        let receiving = self.used;
        self.serve(receiver, consumer, received_us);
        self.spans[receiving].remote = Some(endpoint(broker));
        Went { end_us, error: None }
    }

    /// Writes what every span has.
    fn fill(
        &mut self,
        place: usize,
        who: Who,
        name: &'static str,
        local: &'static Service,
        start_us: u64,
        end_us: u64,
    ) -> &mut Span<'static> {
        let span = &mut self.spans[place];
        span.clear();
        span.trace_id = self.trace_id;
        (span.id, span.parent_id, span.kind, span.shared) = (who.id, who.parent_id, Some(who.kind), who.shared);
        span.name = Some(Cow::Borrowed(name));
        (span.timestamp_us, span.duration_us) = (start_us, end_us - start_us);
        span.local = Some(endpoint(local));
        span
    }
}

fn endpoint(service: &'static Service) -> Endpoint<'static> {
    Endpoint {
        service_name: Some(Cow::Borrowed(service.name)),
        ipv4: Some(service.ipv4),
        ipv6: None,
        port: service.port,
    }
}

fn tag(span: &mut Span<'static>, key: &'static str, value: &'static str) {
    span.tags.push((Cow::Borrowed(key), Cow::Borrowed(value)));
}

fn http(span: &mut Span<'static>, operation: &'static Operation, error: Option<&'static str>) {
    tag(span, "http.method", operation.method);
    tag(span, "http.path", operation.path);
    let status = match error.and_then(|error| error.split_once(' ')) {
        None if error.is_none() => "200",
        Some((status, _)) if status.parse::<u16>().is_ok() => status,
        _ => "500",
    };
    tag(span, "http.status_code", status);
}

/// Tags that all have, and how it failed. But for the rare error they come in order, so that nothing is left to sort.
fn finish(span: &mut Span<'static>, local: &'static Service, error: Option<&'static str>) {
    tag(span, "instance", local.instance);
    tag(span, "version", "2026.11.1");
    if let Some(error) = error {
        span.tags.insert(0, (Cow::Borrowed("error"), Cow::Borrowed(error)));
    }
}

#[cfg(test)]
#[path = "tests/traces.rs"]
mod tests;
