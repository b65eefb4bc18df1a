//! What becomes of a batch after its verdict: a state machine, without time or I/O of its own.
//!
//! A refused batch is halved until the bad spans stand alone; a lone one waits apart until two
//! sinks refused it (or the only one that is up did twice) and one of those took something
//! else in between: then it is dead. A batch that breaks sinks that take others is a suspect: it
//! leaves the flow, is halved, and its failures rest no sink. A sink that refuses too much is
//! held: what it refuses proves nothing until it takes what it had refused.

mod pen;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::batch::{Batch, History, Stretch};
use super::bury::Dead;
use super::group::{Answer, SinkId};
use super::{MassRefusal, Settings};
use crate::deadletter::Class;
use crate::sink::Verdict;
use pen::Pen;
use record::{Record, Window};

pub use pen::Held;

/// Failures of a batch, while others pass, that make it a suspect.
const FAILURES_SUSPECT: usize = 3;
/// Failures of a suspect that stands alone, after which it is dead.
const FAILURES_DEAD: usize = 5;

/// What was sent where, and what came of it.
pub(super) struct Sent {
    pub batch: Batch,
    pub sink: SinkId,
    pub verdict: Verdict,
}

/// How things are when a verdict comes.
pub(super) struct Scene<'a> {
    pub now: Instant,
    /// How long the answer took.
    pub took: Duration,
    /// The sinks that are up.
    pub up: &'a [SinkId],
    /// Nothing else is there to be sent that might pass.
    pub idle: bool,
}

/// What is made of a verdict.
#[derive(Debug)]
pub(super) struct Ruling {
    pub answer: Answer,
    pub fate: Fate,
    /// Why, if there is anything to say.
    pub reason: String,
}

#[derive(Debug)]
pub(super) enum Fate {
    Delivered(Batch),
    /// Back into the flow, in order.
    Flow(Vec<Batch>),
    /// The judge keeps it, or what was cut from it.
    Apart,
    Dead(Dead),
}

/// Judges the batches of a drain.
pub(super) struct Judge {
    mass_refusal: MassRefusal,
    backoff_max: Duration,
    /// The number of the last try.
    tries: u64,
    /// The latest try, at any sink, that was delivered.
    passed: u64,
    sinks: BTreeMap<SinkId, Record>,
    /// Spans of all sinks.
    window: Window,
    pen: Pen,
}

impl Judge {
    pub fn new(settings: &Settings) -> Self {
        Judge {
            mass_refusal: settings.mass_refusal,
            backoff_max: settings.backoff_max,
            tries: 0,
            passed: 0,
            sinks: BTreeMap::new(),
            window: Window::default(),
            pen: Pen::new(settings.backoff_min, settings.backoff_max),
        }
    }

    /// A try begins.
    pub fn begin(&mut self, batch: &mut Batch, sink: SinkId) {
        self.tries += 1;
        batch.number = self.tries;
        let passed = self.sinks.get(&sink).map_or(0, |record| record.passed);
        let since = |mark: Option<u64>| mark.is_some_and(|mark| passed > mark);
        batch.witness = since(batch.history.refused);
        batch.old_witness = since(batch.history.refused_first);
    }

    /// A sink left, and nothing is under way to it.
    pub fn forget(&mut self, sink: SinkId) {
        self.sinks.remove(&sink);
    }

    /// Bytes of a batch that this sink is known not to find too large.
    pub fn bytes_max(&self, sink: SinkId, now: Instant) -> usize {
        self.sinks.get(&sink).map_or(usize::MAX, |record| record.bytes_max(now))
    }

    /// What is kept apart, for whoever looks.
    pub fn held(&self) -> Held {
        self.pen.held()
    }

    /// Whether what is new may be sent as it comes: not while so many refused spans wait apart.
    pub fn has_room(&self) -> bool {
        self.pen.has_room()
    }

    /// Whether nothing more that is refused can be kept.
    pub fn is_full(&self) -> bool {
        self.pen.is_full()
    }

    /// Whether [`take`](Self::take) would give a batch.
    pub fn has_for(&self, sink: SinkId, up: &[SinkId], now: Instant) -> bool {
        self.pen.find(sink, &self.sinks, up, now).is_some()
    }

    /// Whether what this sink must be tried with is kept apart: it is held for refusing it.
    pub fn wants_sample(&self, sink: SinkId) -> bool {
        self.is_held(sink) && self.pen.has_refused_by(sink)
    }

    /// A batch kept apart that may go to this sink now.
    pub fn take(&mut self, sink: SinkId, up: &[SinkId], now: Instant) -> Option<Batch> {
        let found = self.pen.find(sink, &self.sinks, up, now)?;
        Some(self.pen.remove(found))
    }

    /// Takes what lies before a position out of what is kept apart.
    pub fn take_before(&mut self, position: u64) -> Vec<Stretch> {
        self.pen.take_before(position)
    }

    /// When something that is kept apart may be tried without anything having happened.
    pub fn wakes(&self) -> Option<Instant> {
        self.pen.wakes()
    }

    /// What becomes of what was sent.
    pub fn judge(&mut self, sent: Sent, scene: &Scene<'_>) -> Ruling {
        let Sent { mut batch, sink, verdict } = sent;
        let again = std::mem::take(&mut batch.again);
        match verdict {
            Verdict::Delivered => self.delivered(batch, sink, scene),
            Verdict::TooLarge(reason) => {
                self.record(sink).too_large(batch.bytes, scene.now);
                self.refused(batch, sink, reason, scene)
            }
            Verdict::Refused(reason) => self.refused(batch, sink, reason, scene),
            Verdict::Again(_) if !again => {
                let fate = self.back(Batch { maybe_taken: true, again: true, ..batch }, scene.now);
                Ruling { answer: Answer::Void, fate, reason: String::new() }
            }
            Verdict::Again(reason) => self.failed(Batch { maybe_taken: true, ..batch }, sink, reason, scene),
            Verdict::Elsewhere { reason, maybe_taken } => {
                batch.maybe_taken |= maybe_taken;
                self.failed(batch, sink, reason, scene)
            }
            Verdict::Absent(reason) => Ruling { answer: Answer::Failed, fate: self.back(batch, scene.now), reason },
            Verdict::Wait(wait, reason) => {
                Ruling { answer: Answer::Wait(wait), fate: self.back(batch, scene.now), reason }
            }
            Verdict::Misconfigured(reason) => {
                Ruling { answer: Answer::Misconfigured, fate: self.back(batch, scene.now), reason }
            }
        }
    }

    /// A batch that was not sent after all, or about which nothing new is known, goes back to where it came from.
    pub fn back(&mut self, batch: Batch, now: Instant) -> Fate {
        if !batch.history.is_apart() {
            return Fate::Flow(vec![batch]);
        }
        self.pen.put(batch, now);
        Fate::Apart
    }

    fn delivered(&mut self, batch: Batch, sink: SinkId, scene: &Scene<'_>) -> Ruling {
        self.passed = self.passed.max(batch.number);
        self.window.taken(batch.spans, scene.now);
        let others = self.pen.has_refused_by(sink);
        let record = self.record(sink);
        record.passed = record.passed.max(batch.number);
        record.window.taken(batch.spans, scene.now);
        // One that was held is well when it takes what it refused, or when nothing of that is left.
        record.held &= others && !batch.history.refused_by.contains(&sink);
        let answer = if record.held { Answer::Void } else { Answer::Well(scene.took) };
        self.pen.passed(scene.now);
        Ruling { answer, fate: Fate::Delivered(batch), reason: String::new() }
    }

    fn refused(&mut self, mut batch: Batch, sink: SinkId, reason: String, scene: &Scene<'_>) -> Ruling {
        if self.is_held(sink) {
            self.pen.scouted(scene.now);
            return Ruling { answer: Answer::Misconfigured, fate: self.back(batch, scene.now), reason };
        }
        let mark = self.tries;
        batch.history.since.get_or_insert(mark);
        batch.history.refused_first.get_or_insert(mark);
        if batch.spans > 1 || batch.history.refused.is_none() {
            batch.history.refused = Some(mark);
        }
        if let Some((first, second)) = batch.halves(mark) {
            return Ruling {
                answer: Answer::Well(scene.took),
                fate: self.place(vec![first, second], scene.now),
                reason,
            };
        }
        // A letter that was sent again was refused before: that it is again is no news of its sink.
        let first = batch.history.refused_by.is_empty() && !batch.is_replayed();
        // Where nothing else is there to pass, what passed while it was being found has to do.
        batch.history.proven |= batch.witness || (scene.idle && batch.old_witness);
        batch.history.refused_by.push(sink);
        if let Some(mass) = self.mass(sink, first, scene.now) {
            self.record(sink).held = true;
            self.pen.put(batch, scene.now);
            let reason = format!("{mass}; its spans stay in the channel (mass_refusal = \"hold\"). The last: {reason}");
            return Ruling { answer: Answer::Misconfigured, fate: Fate::Apart, reason };
        }
        // Where mass refusals are to be dead letters a proof is not waited for when there is no room for more.
        let given_up = self.mass_refusal == MassRefusal::DeadLetter && !self.pen.has_room();
        if given_up || is_refused_for_good(&batch.history, scene.up) {
            return Ruling {
                answer: Answer::Well(scene.took),
                fate: dead(batch, Class::Refused, reason.clone()),
                reason,
            };
        }
        self.pen.scouted(scene.now);
        self.pen.put(batch, scene.now);
        Ruling { answer: Answer::Well(scene.took), fate: Fate::Apart, reason }
    }

    /// Says so if a sink that has just refused a lone span, for the `first` time or again, refuses too much.
    fn mass(&mut self, sink: SinkId, first: bool, now: Instant) -> Option<String> {
        if first {
            self.window.refused(now);
        }
        let record = self.sinks.entry(sink).or_default();
        if first {
            record.window.refused(now);
        }
        if self.mass_refusal == MassRefusal::DeadLetter {
            return None;
        }
        let mass = [&record.window, &self.window].into_iter().find_map(|window| window.mass());
        let mass = mass.map(|(refused, all)| format!("refuses {refused} of the last minute's {all} spans"));
        mass.or_else(|| self.pen.is_full().then(|| "refuses more spans than are kept apart".to_owned()))
    }

    fn failed(&mut self, mut batch: Batch, sink: SinkId, reason: String, scene: &Scene<'_>) -> Ruling {
        let mark = self.tries;
        batch.history.since.get_or_insert(mark);
        batch.history.failures += 1;
        if batch.history.is_apart() {
            return self.failed_apart(batch, sink, reason, scene);
        }
        let record = self.record(sink);
        record.failed = record.failed.max(batch.number);
        let others_passed = record.passed > batch.history.last;
        batch.history.last = mark;
        if others_passed {
            batch.history.broke.push(sink);
        }
        if batch.history.broke.len() >= FAILURES_SUSPECT && self.pen.has_room_for_suspect(batch.spans) {
            batch.history.suspect = true;
            let pieces = batch.halves(mark).map_or_else(|| vec![batch], |(first, second)| vec![first, second]);
            return Ruling { answer: Answer::Failed, fate: self.place(pieces, scene.now), reason };
        }
        // Nothing else can pass and speak against it: its own halves may.
        let stuck = scene.idle && batch.history.failures as usize >= FAILURES_SUSPECT;
        let halves = batch.halves(mark).filter(|_| stuck);
        let back = halves.map_or_else(|| vec![batch], |(first, second)| vec![first, second]);
        Ruling { answer: Answer::Failed, fate: Fate::Flow(back), reason }
    }

    /// A suspect, or a lone span that another sink refused, breaks a sink. The sink does not rest for it.
    fn failed_apart(&mut self, mut batch: Batch, sink: SinkId, reason: String, scene: &Scene<'_>) -> Ruling {
        let mark = self.tries;
        batch.history.suspect = true;
        let ruling = |fate, reason| Ruling { answer: Answer::Spared, fate, reason };
        // Where nothing passes, as in an outage, one suspect at a time is cut on, not all of them.
        let cuts = self.passed > batch.history.born || self.pen.is_oldest_suspect(&batch);
        if cuts && let Some((first, second)) = batch.halves(mark) {
            let fate = self.place(vec![first, second], scene.now);
            return ruling(fate, reason);
        }
        if batch.spans == 1 {
            batch.history.met.push(sink);
            if self.speaks_against(&batch.history, sink, scene) {
                batch.history.broke.push(sink);
                batch.history.spoken = Some(scene.now);
            }
        }
        batch.history.last = mark;
        if is_deadly(&batch.history, scene.up) {
            return ruling(dead(batch, Class::Suspect, reason.clone()), reason);
        }
        self.pen.put(batch, scene.now);
        ruling(Fate::Apart, reason)
    }

    /// Whether a failure that a lone span met at a sink is its own: the sink took something else since its failure
    /// before, and has failed with nothing else after that. Where nothing else is there to pass, what any sink took
    /// since the first verdict against it has to do; but then a failure counts once in the longest back-off, for an
    /// outage may have begun.
    fn speaks_against(&self, history: &History, sink: SinkId, scene: &Scene<'_>) -> bool {
        let (passed, failed) = self.sinks.get(&sink).map_or((0, 0), |record| (record.passed, record.failed));
        let since = history.last.max(history.born);
        if failed > passed.max(since) {
            return false;
        }
        let rested = history.spoken.is_none_or(|spoken| scene.now >= spoken + self.backoff_max);
        passed > since || (scene.idle && rested && history.since.is_some_and(|since| self.passed > since))
    }

    /// Pieces of what was cut: suspects stay apart.
    fn place(&mut self, pieces: Vec<Batch>, now: Instant) -> Fate {
        if !pieces.iter().any(|piece| piece.history.is_apart()) {
            return Fate::Flow(pieces);
        }
        for piece in pieces {
            self.pen.put(piece, now);
        }
        Fate::Apart
    }

    fn is_held(&self, sink: SinkId) -> bool {
        self.sinks.get(&sink).is_some_and(|record| record.held)
    }

    fn record(&mut self, sink: SinkId) -> &mut Record {
        self.sinks.entry(sink).or_default()
    }
}

/// Two sinks said so, or the only one that could be asked said so twice; and one of those is known to take other spans.
fn is_refused_for_good(history: &History, up: &[SinkId]) -> bool {
    let all_asked = up.iter().all(|sink| history.knows(*sink));
    let enough = distinct(&history.refused_by) >= 2 || (history.refused_by.len() >= 2 && all_asked);
    enough && history.proven
}

/// It broke sinks five times, and two of them where two are up.
fn is_deadly(history: &History, up: &[SinkId]) -> bool {
    let sinks = distinct(history.broke.iter().chain(&history.met).chain(&history.refused_by));
    history.broke.len() >= FAILURES_DEAD && sinks >= up.len().clamp(1, 2)
}

fn distinct<'a>(sinks: impl IntoIterator<Item = &'a SinkId>) -> usize {
    sinks.into_iter().collect::<std::collections::BTreeSet<_>>().len()
}

fn dead(batch: Batch, class: Class, reason: String) -> Fate {
    let span = batch.stretches.into_iter().next().expect("a lone span is one stretch");
    Fate::Dead(Dead { span, class, reason })
}
