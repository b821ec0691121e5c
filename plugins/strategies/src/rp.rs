//! Random pruning (RP; paper, section 2.3): a mask drawn without looking at the weights.

use lopper_core::{InitialMask, PruningStrategy, RandomKind, Result, RunSpec, Stage, options, strategy};

options! {
    /// Options of random pruning.
    pub struct RpOptions {
        /// `uniform`, or `random_init_magnitude`: the magnitudes of a freshly initialised network, as the paper's code does.
        kind: RandomKind = RandomKind::Uniform,
        /// Seeds the mask; the run's seed when absent.
        mask_seed: Option<u64> = None,
    }
}

/// Draws a mask, lays it over theta_0 and finetunes what is left.
#[derive(Debug)]
pub struct Rp {
    options: RpOptions,
}

impl Rp {
    /// The method with these options.
    pub fn new(options: RpOptions) -> Self {
        Self { options }
    }
}

impl PruningStrategy for Rp {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let seed = self.options.mask_seed.unwrap_or(run.seed);
        let drawn = InitialMask::Random { kind: self.options.kind, sparsity: run.sparsity, seed };
        Ok(vec![Stage::dense(run).named(format!("rp at {}", run.sparsity)).mask(drawn)])
    }
}

strategy! {
    name: "rp",
    summary: "random pruning: a drawn mask over the pre-trained weights, then one finetuning",
    options: RpOptions,
    open: |options| Ok(Rp::new(options)),
}
