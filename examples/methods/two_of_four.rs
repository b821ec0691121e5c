//! MPI in the pattern of sparse tensor cores: two of every four neighbours along a layer's input stay (Mishra et al. 2021).

use lopper::plugin::{Pattern, PruningStrategy, Result, RunSpec, Stage, options, strategy};

options! {
    /// It has no options.
    pub(crate) struct TwoOfFourOptions {}
}

struct TwoOfFour;

impl PruningStrategy for TwoOfFour {
    /// Layouts that four does not divide and sparsities other than 0.5 are refused by the core.
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let stage = Stage::dense(run).named(format!("two of four at {}", run.sparsity)).discovered(run.sparsity);
        Ok(vec![stage.pattern(Pattern::NofM { n: 2, m: 4 })])
    }
}

strategy! {
    name: "two-of-four",
    summary: "magnitude pruning of the pre-trained weights to two of every four (sparsity 0.5)",
    options: TwoOfFourOptions,
    open: |_| Ok(TwoOfFour),
}
