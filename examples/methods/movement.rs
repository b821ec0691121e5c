//! Hard movement pruning (Sanh, Wolf and Rush 2020). Magnitude asks which weights *are* large; movement asks which *grow* while
//! finetuning.

use lopper::plugin::{
    Arc, BTreeMap, Gradients, Layout, MethodState, PrunedWeights, PruningStrategy, Result, RunSpec, ScheduleSpec,
    Scores, Sparsity, Stage, StageMethod, View, options, strategy, tch::Tensor,
};

options! {
    /// Options of movement pruning: one declaration gives defaults, parser, errors and the text of `lopper plugins`.
    pub(crate) struct MovementOptions {
        /// Updates between re-prunes.
        every: u64 = 5,
        /// Share of the finetuning after which the target sparsity is reached.
        until: f64 = 0.5,
    }
}

struct Movement(MovementOptions);

impl PruningStrategy for Movement {
    /// One finetuning from the dense theta_0, pruned along a cubic ramp. `Hidden` zeroes pruned weights in the forward pass
    /// alone: they keep their values and their gradients, so they can come back.
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let ramp = ScheduleSpec::cubic(self.0.every, Sparsity::DENSE, run.sparsity, self.0.until);
        let stage = Stage::dense(run).named(format!("movement to {}", run.sparsity)).schedule(ramp);
        Ok(vec![stage.pruned(PrunedWeights::Hidden).own_scores().gradients(Gradients::EveryUpdate)])
    }

    fn method(&self, _: &Stage, _: &Arc<Layout>) -> Result<Box<dyn StageMethod>> {
        Ok(Box::new(Growth::default()))
    }
}

/// `-Σ gradient ⊙ weight` over all updates, by parameter: positive where a weight has grown.
#[derive(Default)]
struct Growth(BTreeMap<String, Tensor>);

impl StageMethod for Growth {
    fn after_backward(&mut self, view: &View<'_>) -> Result<()> {
        for (index, weight) in view.weights().iter().enumerate() {
            let Some(gradient) = view.gradient(index)? else { continue };
            let growth = gradient.f_mul(&weight.tensor)?.f_neg()?;
            let growth =
                self.0.get(weight.name.as_str()).map_or(Ok(growth.shallow_clone()), |sum| sum.f_add(&growth))?;
            self.0.insert(weight.name.to_string(), growth);
        }
        Ok(())
    }

    /// Low scores are pruned first, ranked over all tensors together; the exact count is the core's business.
    fn score(&mut self, view: &View<'_>) -> Result<Scores> {
        view.scores(|_, weight| match self.0.get(weight.name.as_str()) {
            Some(growth) => Ok(growth.shallow_clone()),
            None => Ok(weight.tensor.f_zeros_like()?),
        })
    }

    /// What a checkpoint must carry, so that an interrupted run goes on bit by bit.
    fn state(&self) -> MethodState {
        MethodState::of(&self.0)
    }

    fn load_state(&mut self, state: MethodState) -> Result<()> {
        self.0 = state.tensors;
        Ok(())
    }
}

strategy! {
    name: "movement",
    summary: "keeps the weights that grow while finetuning (movement pruning)",
    options: MovementOptions,
    open: |options| Ok(Movement(options)),
}
