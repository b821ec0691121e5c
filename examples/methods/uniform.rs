//! Layer-wise magnitude pruning: MPI with the same sparsity in every tensor (Han et al. 2015 prune each layer for itself).

use lopper::plugin::{Allocation, PruningStrategy, Result, RunSpec, Stage, options, strategy};

options! {
    /// It has no options.
    pub(crate) struct UniformOptions {}
}

struct Uniform;

impl PruningStrategy for Uniform {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let stage = Stage::dense(run).named(format!("uniform at {}", run.sparsity)).discovered(run.sparsity);
        Ok(vec![stage.allocation(Allocation::Uniform)])
    }
}

strategy! {
    name: "uniform",
    summary: "magnitude pruning of the pre-trained weights, the same share of every tensor",
    options: UniformOptions,
    open: |_| Ok(Uniform),
}
