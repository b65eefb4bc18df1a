//! Carrying out: a stretch's plan made durable, its object made to stand, its spans settled or marked.

use std::ops::Range;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::Archive;
use crate::archive::format::Tally;
use crate::archive::note::Note;
use crate::archive::object::Object;
use crate::archive::patience::End;
use crate::archive::plan::{Plan, Recipe};
use crate::archive::publish::{Carried, Publisher, Trouble};
use crate::archive::store;
use crate::archive::stretch::Stretch;
use crate::channel::Outcome;
use crate::planted::{self, Planted};

impl Archive {
    /// Plans a stretch and carries the plan out.
    pub(super) async fn archive(&mut self, stretch: Stretch, stop: &CancellationToken) -> Result<(), End> {
        self.status.waiting_since(Some(stretch.oldest_us));
        let rule = self.planner.rule().clone();
        let lane = rule.path.is_per_span().then(|| stretch.lane.clone());
        let recipe = Recipe { format: self.settings.format, rule, lane };
        let object = Object {
            channel: self.channel.clone(),
            partition: 0,
            first: stretch.first,
            last: stretch.last,
            spans: stretch.spans,
            bytes: stretch.bytes,
        };
        let plan = Plan::new(recipe, self.place()?, &stretch.lane.dir, object);
        if !planted::has(Planted::PlanAfterPublish) {
            self.save(Some(&plan), stop).await?;
        }
        self.carry_out(plan, stop).await
    }

    /// Carries out what the last run had planned.
    pub(super) async fn redo(&mut self, plan: Plan, stop: &CancellationToken) -> Result<(), End> {
        tracing::info!(drain = self.settings.name, object = plan.name, "carrying out the plan of the last run");
        if plan.place != self.place()? {
            let (planned, now) = (plan.place.to_string(), &self.settings.target);
            tracing::warn!(
                drain = self.settings.name,
                planned,
                %now,
                "the archive was moved while an object was under way: it is made where it was planned"
            );
        }
        if plan.recipe.lane.is_none() {
            let publisher = self.publisher(&plan)?;
            self.patience.tried(stop, || leave_out(publisher.clone(), plan.clone())).await?;
        }
        self.carry_out(plan, stop).await
    }

    /// A publisher of what was planned, in the place that the plan records.
    fn publisher(&mut self, plan: &Plan) -> Result<Publisher, End> {
        let store = match self.place().is_ok_and(|place| place == plan.place) {
            true => self.store.clone(),
            false => {
                let made = store::make(&plan.place, &self.settings, &self.disk);
                made.map_err(|error| End::Halt(error.to_string()))?
            }
        };
        Ok(Publisher::new(store, self.ledger.clone(), self.note(Some(plan))))
    }

    /// Makes the planned object stand, then settles its spans, or marks its lane, and clears the plan in one slot.
    async fn carry_out(&mut self, mut plan: Plan, stop: &CancellationToken) -> Result<(), End> {
        loop {
            let publisher = self.publisher(&plan)?;
            let carried = self.patience.tried(stop, || carry_out(publisher.clone(), plan.clone())).await?;
            match carried {
                Carried::Stands { bytes } => {
                    if planted::has(Planted::PlanAfterPublish) {
                        self.save(Some(&plan), stop).await?;
                    }
                    let positions = self.planner.published(&plan);
                    self.commit(positions, None, stop).await?;
                    self.published(&plan, bytes);
                    self.trim().await;
                    return Ok(());
                }
                Carried::Changed { tally, damaged } => match self.replan(plan, tally, damaged, stop).await? {
                    Some(left) => plan = left,
                    None => {
                        self.planner.given_up();
                        return Ok(());
                    }
                },
            }
        }
    }

    /// A stretch turned out damaged before its object was published: the damage is settled, and
    /// what can be read planned anew under the same name. `None`: nothing is left. Bytes that were
    /// damaged at one reading and not at the next are archived, though counted as damaged.
    async fn replan(
        &mut self,
        mut plan: Plan,
        tally: Tally,
        damaged: Vec<Range<u64>>,
        stop: &CancellationToken,
    ) -> Result<Option<Plan>, End> {
        tracing::error!(
            drain = self.settings.name,
            object = plan.name,
            planned = plan.object.spans,
            readable = tally.spans,
            ?damaged,
            "the channel no longer holds what an unpublished object was planned to; it is planned again"
        );
        for positions in damaged {
            self.ledger.settle(positions, Outcome::Damaged);
        }
        (plan.object.spans, plan.object.bytes) = (tally.spans, tally.bytes);
        let left = (tally.spans > 0).then_some(plan);
        self.save(left.as_ref(), stop).await?;
        // A disk that reads differently each time must not be read in a tight loop.
        self.patience.rest(stop).await;
        Ok(left)
    }

    /// Makes a plan, or that there is none, durable.
    pub(super) async fn save(&mut self, plan: Option<&Plan>, stop: &CancellationToken) -> Result<(), End> {
        self.commit(0..0, plan, stop).await
    }

    /// Settles positions and writes the note, in one slot.
    async fn commit(
        &mut self,
        positions: Range<u64>,
        plan: Option<&Plan>,
        stop: &CancellationToken,
    ) -> Result<(), End> {
        let (ledger, note) = (self.ledger.clone(), Bytes::from(self.note(plan).to_bytes()));
        self.patience
            .tried(stop, || {
                let (ledger, positions, note) = (ledger.clone(), positions.clone(), note.clone());
                async move { Ok(ledger.commit(positions, Outcome::Delivered, note).await?) }
            })
            .await
    }

    /// What is to be kept beside a plan.
    fn note(&mut self, plan: Option<&Plan>) -> Note {
        Note { rule: self.planner.rule().clone(), marks: self.planner.marks().clone(), plan: plan.cloned() }
    }
}

async fn leave_out(publisher: Publisher, plan: Plan) -> Result<(), Trouble> {
    publisher.leave_out(&plan).await
}

async fn carry_out(publisher: Publisher, plan: Plan) -> Result<Carried, Trouble> {
    publisher.carry_out(&plan).await
}
