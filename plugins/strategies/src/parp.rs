//! Prune-Adjust-Re-Prune (PARP; paper, Algorithm 1).

use crate::Initial;
use lopper_core::{
    Error, Moments, PrunedWeights, PruningStrategy, RandomKind, Result, RunSpec, ScheduleSpec, Stage, options, strategy,
};

options! {
    /// Options of PARP.
    pub struct ParpOptions {
        /// Updates between re-prunes: n of Algorithm 1. The paper used 1 to 50 for speech; its n for BERT is not public.
        every: u64 = 50,
        /// The initial subnetwork: `mpi`, `rp`, or the path of a mask file (cross-task transfer).
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
    /// [`Error::InvalidValue`] for `every = 0`.
    pub fn new(options: ParpOptions) -> Result<Self> {
        if options.every == 0 {
            return Err(Error::invalid("[prune] every", 0, "a number of updates from 1 up"));
        }
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
                .schedule(ScheduleSpec::constant(o.every, run.sparsity))
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
