//! One-shot magnitude pruning (OMP; paper, section 2.3).

use lopper_core::{Among, InitialMask, PruningStrategy, Result, RewindPoint, RunSpec, Stage, options, strategy};

options! {
    /// OMP has no options.
    pub struct OmpOptions {}
}

/// Finetunes densely, ranks the result, lays that mask over theta_0 and finetunes again.
#[derive(Debug)]
pub struct Omp;

impl PruningStrategy for Omp {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let dense = Stage::dense(run);
        // After a dense stage everything survives; saying so makes this stage one with IMP's first round.
        let ranked =
            InitialMask::Discover { on: RewindPoint::Current, sparsity: run.sparsity, among: Among::Survivors };
        let pruned = Stage::dense(run).named(format!("omp at {}", run.sparsity)).mask(ranked);
        Ok(vec![dense, pruned])
    }
}

strategy! {
    name: "omp",
    summary: "one-shot magnitude pruning: finetune, prune once, rewind to the pre-trained weights, finetune",
    options: OmpOptions,
    open: |_| Ok(Omp),
}
