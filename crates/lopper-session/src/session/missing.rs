//! What of a plan is to be trained: what is wanted and not in the store.

use super::Session;
use crate::plan::PlannedStage;
use lopper_core::{HeadStart, InitialMask, Result, RewindPoint};
use std::collections::BTreeSet;

/// What of a stage is wanted, by the stages after it and at the end of the run.
#[derive(Debug, Clone, Default)]
struct Wanted {
    /// The weights it ends with.
    weights: bool,
    /// Its weights after some of its updates.
    snapshots: BTreeSet<u64>,
}

/// What of a stage is wanted and not in the store.
#[derive(Debug, Clone, Default)]
pub(super) struct Missing {
    /// It was never trained, or its record is gone.
    pub(super) stage: bool,
    /// The weights it ends with.
    weights: bool,
    /// Its weights after these updates.
    pub(super) snapshots: BTreeSet<u64>,
    /// What it is worth after these updates on the way.
    pub(super) judged: BTreeSet<u64>,
}

impl Missing {
    /// Whether updates must be made to have it.
    pub(super) fn trains(&self) -> bool {
        self.stage || self.weights || !self.snapshots.is_empty() || !self.judged.is_empty()
    }

    /// The update to which the stage is trained to have it.
    pub(super) fn until(&self, updates: u64) -> u64 {
        if self.stage || self.weights {
            return updates;
        }
        self.snapshots.iter().chain(&self.judged).copied().max().unwrap_or(0)
    }
}

impl Session {
    /// What is missing of each stage. The walk begins at the end: what nobody needs is not missed.
    pub(super) fn missing(&self) -> Result<Vec<Missing>> {
        let mut wanted = vec![Wanted::default(); self.plan.len()];
        let mut missing = vec![Missing::default(); self.plan.len()];
        if let (Some(last), Some(planned)) = (wanted.last_mut(), self.plan.last()) {
            // To be saved, or to be judged.
            last.weights = self.settings.save_model || !self.is_judged(planned)?;
        }
        for index in (0..self.plan.len()).rev() {
            missing[index] = self.missing_of(&self.plan[index], &wanted[index])?;
            if !missing[index].trains() {
                continue;
            }
            let stage = &self.plan[index].stage;
            let ranked = match &stage.mask {
                // What was trained before has its first mask on record; what a method remembers of the way there is not.
                InitialMask::Discover { on, .. } if missing[index].stage || stage.depends_on_method() => Some(*on),
                _ => None,
            };
            for point in [Some(stage.weights), ranked].into_iter().flatten() {
                match point {
                    RewindPoint::Pretrained | RewindPoint::Update(0) => {}
                    RewindPoint::Update(update) => {
                        wanted[0].snapshots.insert(update);
                    }
                    RewindPoint::Current if index > 0 => wanted[index - 1].weights = true,
                    RewindPoint::Current => {}
                }
            }
            if stage.head == HeadStart::Previous && index > 0 {
                wanted[index - 1].weights = true;
            }
        }
        Ok(missing)
    }

    fn missing_of(&self, planned: &PlannedStage, wanted: &Wanted) -> Result<Missing> {
        let judge = self.judge();
        let updates = planned.stage.updates;
        let on_the_way = || judge.updates(updates).filter(|update| *update < updates);
        let stored = planned.training_key.as_deref().and_then(|key| self.store.find(key).map(|stored| (key, stored)));
        let Some((key, _)) = stored else {
            let snapshots = planned.snapshots.iter().copied().collect();
            return Ok(Missing { stage: true, weights: true, snapshots, judged: on_the_way().collect() });
        };
        let mut judged = BTreeSet::new();
        for update in on_the_way() {
            if judge.known(key, update)?.is_none() {
                judged.insert(update);
            }
        }
        Ok(Missing {
            stage: false,
            weights: wanted.weights && !self.store.has_weights(key, updates),
            snapshots: wanted.snapshots.iter().copied().filter(|u| !self.store.has_weights(key, *u)).collect(),
            judged,
        })
    }

    /// Whether it is known what a stage ended with is worth.
    fn is_judged(&self, planned: &PlannedStage) -> Result<bool> {
        let Some(key) = &planned.training_key else { return Ok(false) };
        Ok(self.judge().known(key, planned.stage.updates)?.is_some())
    }

    /// Notes of which stages nothing is to be trained.
    pub(super) fn find_done(&mut self) -> Result<()> {
        let done: Vec<bool> = self.missing()?.iter().map(|missing| !missing.trains()).collect();
        self.plan.iter_mut().zip(done).for_each(|(planned, done)| planned.done = done);
        Ok(())
    }
}
