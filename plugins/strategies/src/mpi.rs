//! Magnitude pruning at pre-trained initialisation (MPI; paper, section 2.3).

use lopper_core::{PruningStrategy, Result, RunSpec, Stage, options, strategy};

options! {
    /// MPI has no options.
    pub struct MpiOptions {}
}

/// Ranks theta_0, prunes the smallest and finetunes what is left.
#[derive(Debug)]
pub struct Mpi;

impl PruningStrategy for Mpi {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        Ok(vec![Stage::dense(run).named(format!("mpi at {}", run.sparsity)).discovered(run.sparsity)])
    }
}

strategy! {
    name: "mpi",
    summary: "magnitude pruning of the pre-trained weights, then one finetuning",
    options: MpiOptions,
    open: |_| Ok(Mpi),
}
