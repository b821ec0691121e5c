//! Prune-Adjust-Re-Prune (PARP; paper, Algorithm 1).

use crate::{Initial, reprune_interval};
use lopper_core::{
    Error, Moments, PrunedWeights, PruningStrategy, RandomKind, Result, RunSpec, ScheduleSpec, Stage, options, strategy,
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
        /// Updates at the end in which pruned weights are frozen at zero. With n of them the last re-prune throws nothing away; the paper's code has none.
        freeze_last: u64 = 0,
        /// Whether the result is re-pruned (Algorithm 1, line 8). If not it is dense since the re-prune before, with sparsity 0: what the authors' code validated. It is there to measure what that is worth.
        last_reprune: bool = true,
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
    /// [`Error::InvalidValue`] for `every = 0`, and for frozen updates at the end of a result that is not pruned.
    pub fn new(options: ParpOptions) -> Result<Self> {
        let interval = reprune_interval::check(options.every);
        let contradicts = options.freeze_last > 0 && !options.last_reprune;
        let end = Error::invalid("[prune] freeze_last", options.freeze_last, "0 where last_reprune is false");
        Error::both(interval, if contradicts { Err(end) } else { Ok(()) })?;
        Ok(Self { options })
    }
}

impl PruningStrategy for Parp {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let o = &self.options;
        let every = reprune_interval::settled(o.every, run.updates);
        let schedule = if o.last_reprune { ScheduleSpec::constant } else { ScheduleSpec::constant_until_the_last };
        Ok(vec![
            Stage::dense(run)
                .named(format!("parp at {}", run.sparsity))
                .mask(o.initial.mask(run.sparsity, o.kind, o.mask_seed.unwrap_or(run.seed)))
                .schedule(schedule(every, run.sparsity))
                .pruned(PrunedWeights::Trainable)
                .freezes_last(o.freeze_last)
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
