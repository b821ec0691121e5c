//! Wanda (Sun et al. 2024): weights by their magnitude times the norm of what they are multiplied with, compared within each
//! output, before one finetuning.

use lopper::plugin::{
    Allocation, Arc, Calibration, Collect, Layout, PruningStrategy, Result, RunSpec, Scores, Stage, StageMethod, View,
    options, strategy, tch::Kind,
};

options! {
    /// Options of Wanda.
    pub(crate) struct WandaOptions {
        /// Training batches whose inputs are measured.
        batches: u64 = 8,
    }
}

struct Wanda(WandaOptions);

impl PruningStrategy for Wanda {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let stage = Stage::dense(run).named(format!("wanda at {}", run.sparsity)).discovered(run.sparsity);
        let calibration = Calibration::new(self.0.batches, Collect::InputNorms);
        Ok(vec![stage.own_scores().allocation(Allocation::Uniform).calibration(calibration)])
    }

    fn method(&self, _: &Stage, _: &Arc<Layout>) -> Result<Box<dyn StageMethod>> {
        Ok(Box::new(Activations))
    }
}

struct Activations;

impl StageMethod for Activations {
    /// |w| · ‖x‖, equation 1. The core compares within a tensor, Wanda within an output: the rank within the output is the
    /// same comparison, each output losing the same share.
    fn score(&mut self, view: &View<'_>) -> Result<Scores> {
        view.scores(|index, weight| {
            let magnitude = weight.tensor.f_abs()?;
            let importance = match view.calibrated(index)? {
                Some(squares) => magnitude.f_mul(&squares.f_sqrt()?)?,
                None => magnitude,
            };
            if importance.dim() < 2 || importance.numel() == 0 {
                return Ok(importance);
            }
            let order = importance.f_argsort_stable(true, -1, false)?;
            Ok(order.f_argsort_stable(true, -1, false)?.f_to_kind(Kind::Float)?)
        })
    }
}

strategy! {
    name: "wanda",
    summary: "one pruning of the pre-trained weights by |weight| · norm of its inputs, output by output",
    options: WandaOptions,
    open: |options| Ok(Wanda(options)),
}
