//! Gradual magnitude pruning along a cubic ramp (Zhu and Gupta 2017): dense at first, a hard mask that shrinks while training.

use lopper::plugin::{PruningStrategy, Result, RunSpec, ScheduleSpec, Sparsity, Stage, options, strategy};

options! {
    /// Options of gradual pruning.
    pub(crate) struct GradualOptions {
        /// Updates between two prunings.
        every: u64 = 20,
        /// Share of the finetuning after which the target sparsity is reached; the rest recovers.
        until: f64 = 0.7,
    }
}

struct Gradual(GradualOptions);

impl PruningStrategy for Gradual {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let ramp = ScheduleSpec::cubic(self.0.every, Sparsity::DENSE, run.sparsity, self.0.until);
        Ok(vec![Stage::dense(run).named(format!("gradual to {}", run.sparsity)).schedule(ramp)])
    }
}

strategy! {
    name: "gradual",
    summary: "magnitude pruning while training, along a cubic ramp",
    options: GradualOptions,
    open: |options| Ok(Gradual(options)),
}
