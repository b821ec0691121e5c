//! The dense finetuning: what every method is compared with.

use lopper_core::{Result, RunSpec, Stage, options, strategy};

options! {
    /// A dense finetuning has no options.
    pub struct DenseOptions {}
}

/// One finetuning of all weights; `sparsity` must be 0.
#[derive(Debug)]
pub struct Dense;

impl lopper_core::PruningStrategy for Dense {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        if run.sparsity != lopper_core::Sparsity::DENSE {
            return Err(lopper_core::Error::invalid("[prune] sparsity", run.sparsity, "0 for the method `dense`"));
        }
        Ok(vec![Stage::dense(run)])
    }
}

strategy! {
    name: "dense",
    summary: "no pruning: one dense finetuning, the baseline",
    options: DenseOptions,
    open: |_| Ok(Dense),
}
