//! The sparsity that a run ends at: the configuration's, or that of the mask which it is given.

use lopper_core::{
    Batching, Error, InitialMask, Model, Optimizer, PruningStrategy, Recipe, Result, RunSpec, Sparsity, Stage,
};
use lopper_weights::GivenMask;
use std::path::Path;

/// Where the sparsity comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    /// The configuration.
    Given(Sparsity),
    /// The mask that the run ends with, which a file holds.
    OfMask,
}

impl Target {
    /// The configuration's.
    pub(super) fn given(self) -> Option<Sparsity> {
        match self {
            Self::Given(sparsity) => Some(sparsity),
            Self::OfMask => None,
        }
    }

    /// What a strategy plans with before a mask is read: plans that end with a given one are alike for all sparsities.
    pub(super) fn nominal(self) -> Sparsity {
        self.given().unwrap_or(Sparsity::DENSE)
    }

    /// The sparsity, of the mask that `strategy` plans for `model` where it is not the configuration's.
    ///
    /// # Errors
    /// Those of the strategy and of the mask.
    pub(super) fn settled(self, strategy: &dyn PruningStrategy, spec: &RunSpec, model: &dyn Model) -> Result<Sparsity> {
        let Self::OfMask = self else { return Ok(self.nominal()) };
        let stages = lopper_torch::guarded("the strategy", || strategy.plan(spec))?;
        let path = last_mask(&stages).ok_or_else(|| Error::invalid("[prune] sparsity", "(not given)", "give one"))?;
        Ok(GivenMask::read(path)?.for_model(model)?.mask.sparsity())
    }
}

/// Whether what a strategy plans ends with a mask that a file holds, so that the file tells the sparsity.
pub(super) fn ends_with_given_mask(strategy: &dyn PruningStrategy) -> bool {
    let recipe = Recipe::new(Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 }, 0.0, Batching::Examples(1));
    let spec = RunSpec { sparsity: Sparsity::DENSE, updates: 1, updates_per_epoch: 1, recipe, seed: 0 };
    let stages = lopper_torch::guarded("the strategy", || strategy.plan(&spec));
    stages.is_ok_and(|stages| last_mask(&stages).is_some())
}

/// The file of the mask that a plan ends with.
fn last_mask(stages: &[Stage]) -> Option<&Path> {
    match stages.last()? {
        Stage { mask: InitialMask::Load(path), schedule: None, .. } => Some(path),
        _ => None,
    }
}
