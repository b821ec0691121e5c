//! PARP-Progressive (PARP-P; paper, section 3.3).

use crate::{Initial, reprune_interval};
use lopper_core::{
    Error, InitialMask, Moments, PrunedWeights, PruningStrategy, RandomKind, Result, RewindPoint, RunSpec,
    ScheduleSpec, Sparsity, Stage, options, strategy,
};
use serde::{Deserialize, Serialize};

/// Which weights a later chained stage starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageInit {
    /// theta_0 under the mask of the stage before.
    Pretrained,
    /// The weights of the stage before.
    Previous,
}

options! {
    /// Options of PARP-P.
    pub struct ParpPOptions {
        /// Ascending sparsities to start each stage at: `[0.7]` ramps 70 to the target in one finetuning, `[0.6, 0.8]`
        /// chains 60 to 80 and 80 to the target (Table 1). Empty: 20 points below the target.
        from: Vec<f64> = Vec::new(),
        /// Updates between re-prunes. When absent 0.4 % of each stage's updates, rounded, at least 1, as for PARP.
        every: Option<u64> = None,
        /// What a chained stage starts from: `pretrained` or `previous`.
        stage_init: StageInit = StageInit::Previous,
        /// The initial subnetwork: `mpi`, `rp`, or the path of a mask file or of a finished run.
        initial: Initial = Initial::Mpi,
        /// How a random initial mask is drawn: `uniform` or `random_init_magnitude`.
        kind: RandomKind = RandomKind::Uniform,
        /// Seeds a random initial mask; the run's seed when absent.
        mask_seed: Option<u64> = None,
        /// What a re-prune does to the optimizer's moments of pruned entries: `keep` or `zero`.
        moments: Moments = Moments::Keep,
    }
}

/// PARP from a lower sparsity, raised in a straight line at each re-prune.
#[derive(Debug)]
pub struct ParpP {
    options: ParpPOptions,
    from: Vec<Sparsity>,
}

impl ParpP {
    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for `every = 0` or sparsities out of order, [`MaskError::Sparsity`](lopper_core::MaskError::Sparsity) out of range.
    pub fn new(options: ParpPOptions) -> Result<Self> {
        reprune_interval::check(options.every)?;
        let from = options.from.iter().map(|s| Ok(Sparsity::new(*s)?)).collect::<Result<Vec<_>>>()?;
        if !from.is_sorted_by(|a, b| a < b) {
            return Err(Error::invalid("[prune] from", format!("{:?}", options.from), "ascending sparsities"));
        }
        Ok(Self { options, from })
    }

    /// Start of each stage, then the target.
    fn waypoints(&self, target: Sparsity) -> Result<Vec<Sparsity>> {
        let mut points = self.from.clone();
        if points.is_empty() {
            // Nine decimals, so that 0.9 starts at the same 0.7 that a configuration would say.
            points.push(Sparsity::new(((target.get() - 0.2).max(0.0) * 1e9).round() / 1e9)?);
        }
        match points.last() {
            Some(last) if *last > target => Err(Error::invalid(
                "[prune] from",
                format!("{:?}", self.options.from),
                format!("sparsities up to the target, {target}"),
            )),
            _ => {
                points.push(target);
                Ok(points)
            }
        }
    }
}

impl PruningStrategy for ParpP {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let o = &self.options;
        let points = self.waypoints(run.sparsity)?;
        let stages = points.windows(2).enumerate().map(|(index, ends)| {
            let (from, to) = (ends[0], ends[1]);
            let (mask, weights) = match (index, o.stage_init) {
                (0, _) => (o.initial.mask(from, o.kind, o.mask_seed.unwrap_or(run.seed)), RewindPoint::Pretrained),
                (_, StageInit::Pretrained) => (InitialMask::Keep, RewindPoint::Pretrained),
                (_, StageInit::Previous) => (InitialMask::Keep, RewindPoint::Current),
            };
            Stage::dense(run)
                .named(format!("parp-p from {from} to {to}"))
                .mask(mask)
                .weights(weights)
                .schedule(ScheduleSpec::linear(reprune_interval::settled(o.every, run.updates), from, to))
                .pruned(PrunedWeights::Trainable)
                .moments(o.moments)
        });
        Ok(stages.collect())
    }
}

strategy! {
    name: "parp-p",
    summary: "PARP from a lower sparsity, raised to the target at each re-prune, in one or several finetunings",
    options: ParpPOptions,
    open: ParpP::new,
}
