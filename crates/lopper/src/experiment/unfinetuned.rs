//! `finetune = false`: a method up to its last mask.

use lopper_core::{Error, Layout, PruningStrategy, Result, RunSpec, Sparsity, Stage, StageMethod};
use std::sync::Arc;

/// A method without the finetuning of what it leaves: for experiments on masks alone, and for masks that other runs take.
pub(super) struct Unfinetuned {
    method: Box<dyn PruningStrategy>,
}

impl Unfinetuned {
    pub(super) fn new(method: Box<dyn PruningStrategy>) -> Self {
        Self { method }
    }
}

impl PruningStrategy for Unfinetuned {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let mut stages = self.method.plan(run)?;
        if let Some(last) = stages.last_mut() {
            if last.schedule.is_some() {
                let expected = format!("true: stage {} makes its mask while it trains", last.name);
                return Err(Error::invalid("[prune] finetune", false, expected));
            }
            last.updates = 0;
            last.snapshots.clear();
        }
        Ok(stages)
    }

    fn accepts(&self, layout: &Layout, target: Sparsity) -> Result<()> {
        self.method.accepts(layout, target)
    }

    fn method(&self, stage: &Stage, layout: &Arc<Layout>) -> Result<Box<dyn StageMethod>> {
        self.method.method(stage, layout)
    }
}
