//! SNIP (Lee, Ajanthan and Torr 2019): one pruning before training, by how much the loss depends on each weight.

use lopper::plugin::{
    Arc, Calibration, Collect, Layout, PruningStrategy, Result, RunSpec, Scores, Stage, StageMethod, View, options,
    strategy,
};

options! {
    /// Options of SNIP.
    pub(crate) struct SnipOptions {
        /// Training batches over which the gradient is taken.
        batches: u64 = 8,
    }
}

struct Snip(SnipOptions);

impl PruningStrategy for Snip {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let stage = Stage::dense(run).named(format!("snip at {}", run.sparsity)).discovered(run.sparsity);
        Ok(vec![stage.own_scores().calibration(Calibration::new(self.0.batches, Collect::Sensitivity))])
    }

    fn method(&self, _: &Stage, _: &Arc<Layout>) -> Result<Box<dyn StageMethod>> {
        Ok(Box::new(Sensitivity))
    }
}

struct Sensitivity;

impl StageMethod for Sensitivity {
    /// |w ⊙ g|, equation 5; a weight that the loss does not reach has none.
    fn score(&mut self, view: &View<'_>) -> Result<Scores> {
        view.scores(|index, weight| match view.calibrated(index)? {
            Some(sensitivity) => Ok(sensitivity.shallow_clone()),
            None => Ok(weight.tensor.f_zeros_like()?),
        })
    }
}

strategy! {
    name: "snip",
    summary: "one pruning of the pre-trained weights by |weight · gradient|",
    options: SnipOptions,
    open: |options| Ok(Snip(options)),
}
