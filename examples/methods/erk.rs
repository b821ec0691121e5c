//! MPI with the shares of an Erdős–Rényi kernel: small tensors keep more (Mocanu et al. 2018; Evci et al. 2020, section 3).

use lopper::plugin::{Allocation, PruningStrategy, Result, RunSpec, Stage, options, strategy};

options! {
    /// It has no options.
    pub(crate) struct ErkOptions {}
}

struct Erk;

impl PruningStrategy for Erk {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let stage = Stage::dense(run).named(format!("erk at {}", run.sparsity)).discovered(run.sparsity);
        Ok(vec![stage.allocation(Allocation::Erk)])
    }
}

strategy! {
    name: "erk",
    summary: "magnitude pruning of the pre-trained weights, with Erdős–Rényi shares",
    options: ErkOptions,
    open: |_| Ok(Erk),
}
