//! Prune-Adjust-Re-Prune (PARP; paper, Algorithm 1).

use crate::{Initial, reprune_interval};
use lopper_core::{
    Moments, PrunedWeights, PruningStrategy, RandomKind, Result, RunSpec, ScheduleSpec, Stage, options, strategy,
};

options! {
    /// Options of PARP.
    pub struct ParpOptions {
        /// Updates between re-prunes: n of Algorithm 1. When absent 0.4 % of the stage's updates, rounded, at least 1. That is the largest share that the paper used for speech (appendix A.3: n = 50 of 12,000 updates; the smallest is n = 1 of 12,000); its n for BERT is not public. What the last n updates train outside the mask is thrown away.
        every: Option<u64> = None,
        /// The initial subnetwork: `mpi`, `rp`, or the path of a mask file or of a finished run (cross-task transfer).
        initial: Initial = Initial::Mpi,
        /// How a random initial mask is drawn: `uniform` or `random_init_magnitude`.
        kind: RandomKind = RandomKind::Uniform,
        /// Seeds a random initial mask; the run's seed when absent.
        mask_seed: Option<u64> = None,
        /// What a re-prune does to the optimizer's moments of pruned entries: `keep` (the paper's code) or `zero`.
        moments: Moments = Moments::Keep,
    }
}

/// Prunes theta_0, then finetunes all weights, ranking all of them again every n updates: one finetuning.
#[derive(Debug)]
pub struct Parp {
    options: ParpOptions,
}

impl Parp {
    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::InvalidValue`](lopper_core::Error::InvalidValue) for `every = 0`.
    pub fn new(options: ParpOptions) -> Result<Self> {
        reprune_interval::check(options.every)?;
        Ok(Self { options })
    }
}

impl PruningStrategy for Parp {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let o = &self.options;
        Ok(vec![
            Stage::dense(run)
                .named(format!("parp at {}", run.sparsity))
                .mask(o.initial.mask(run.sparsity, o.kind, o.mask_seed.unwrap_or(run.seed)))
                .schedule(ScheduleSpec::constant(reprune_interval::settled(o.every, run.updates), run.sparsity))
                .pruned(PrunedWeights::Trainable)
                .moments(o.moments),
        ])
    }
}

strategy! {
    name: "parp",
    summary: "prune, adjust, re-prune: pruned weights are zeroed but keep training; one finetuning",
    options: ParpOptions,
    open: Parp::new,
}
