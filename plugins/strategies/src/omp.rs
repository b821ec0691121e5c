//! One-shot magnitude pruning (OMP; paper, section 2.3).

use lopper_core::{
    Among, InitialMask, PruningStrategy, Ranking, Result, RewindPoint, RunSpec, Stage, StrategyEntry, options,
};

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
        let pruned = Stage {
            name: format!("omp at {}", run.sparsity),
            // After a dense stage everything survives; saying so makes this stage one with IMP's first round.
            mask: InitialMask::Discover { on: RewindPoint::Current, sparsity: run.sparsity, among: Among::Survivors },
            ..Stage::dense(run)
        };
        Ok(vec![dense, pruned])
    }

    fn ranking(&self) -> Ranking {
        Ranking::Magnitude
    }
}

inventory::submit! {
    StrategyEntry {
        name: "omp",
        summary: "one-shot magnitude pruning: finetune, prune once, rewind to the pre-trained weights, finetune",
        options: OmpOptions::DOCS,
        origin: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        open: |options| {
            OmpOptions::parse(options, "[prune]")?;
            Ok(Box::new(Omp))
        },
    }
}
