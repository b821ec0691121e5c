//! A model and a method that differ from batch to batch.

use crate::Stop;
use lopper_core::{
    Artifact, Batch, Gradients, Layout, Loss, Measures, MethodState, Mode, Model, ParameterName, Parameters,
    Predictions, PrunedWeights, PruningStrategy, Result, RunSpec, ScheduleSpec, Scores, Sparsity, Stage, StageMethod,
    View,
};
use lopper_testkit::ToyModel;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::Tensor;

/// The toy model, which leaves a layer out where the batch says so, and counts that.
pub(super) struct Uneven {
    pub(super) inner: ToyModel,
    pub(super) leaves_out: bool,
    pub(super) left_out: Cell<u64>,
    pub(super) passes: Cell<u64>,
    /// The forward pass of training, from 1, in which the stop is requested.
    pub(super) stop_at: Option<u64>,
    pub(super) stop: Stop,
}

impl Model for Uneven {
    fn parameters(&self) -> &Parameters {
        self.inner.parameters()
    }

    fn prunable(&self) -> &[ParameterName] {
        self.inner.prunable()
    }

    fn loss(&self, batch: &Batch, mode: Mode) -> Result<Loss> {
        self.passes.set(self.passes.get() + 1);
        if self.stop_at == Some(self.passes.get()) {
            self.stop.request();
        }
        let sum = batch.input("features")?.sum(tch::Kind::Float).double_value(&[]);
        if !self.leaves_out || sum > 0.0 {
            return self.inner.loss(batch, mode);
        }
        self.left_out.set(self.left_out.get() + 1);
        // No gradient of it is computed for this batch; its weights stay.
        let layer = &self.inner.parameters().get(&self.inner.prunable()[1]).unwrap().tensor;
        let _ = layer.set_requires_grad(false);
        let loss = self.inner.loss(batch, mode);
        let _ = layer.set_requires_grad(true);
        loss
    }

    fn counts(&self) -> BTreeMap<&'static str, u64> {
        let left_out = self.left_out.get();
        if left_out == 0 { BTreeMap::new() } else { [("layers_left_out", left_out)].into() }
    }

    fn predict(&self, batch: &Batch) -> Result<Predictions> {
        self.inner.predict(batch)
    }

    fn identity(&self) -> String {
        self.inner.identity()
    }

    fn artifacts(&self) -> Result<Vec<Artifact>> {
        self.inner.artifacts()
    }
}

/// Keeps what has had large gradients, and hides the rest; its history decides.
#[derive(Default)]
struct Sensitivities(BTreeMap<String, Tensor>);

impl StageMethod for Sensitivities {
    fn after_backward(&mut self, view: &View<'_>) -> Result<()> {
        for (index, weight) in view.weights().iter().enumerate() {
            let Some(now) = view.gradient(index)?.map(|gradient| gradient.abs()) else { continue };
            let sum = self.0.get(weight.name.as_str()).map_or(now.copy(), |before| before * 0.9 + &now);
            self.0.insert(weight.name.to_string(), sum);
        }
        Ok(())
    }

    fn score(&mut self, view: &View<'_>) -> Result<Scores> {
        let none = |weight: &Tensor| weight.zeros_like();
        view.scores(|_, weight| {
            Ok(self.0.get(weight.name.as_str()).map_or_else(|| none(&weight.tensor), Tensor::shallow_clone))
        })
    }

    fn measures(&self) -> Measures {
        self.0.iter().map(|(name, sum)| (name.clone(), sum.sum(tch::Kind::Float).double_value(&[]))).collect()
    }

    fn state(&self) -> MethodState {
        MethodState::of(&self.0)
    }

    fn load_state(&mut self, state: MethodState) -> Result<()> {
        self.0 = state.tensors;
        Ok(())
    }
}

pub(super) struct Sensitive;

impl PruningStrategy for Sensitive {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let schedule = ScheduleSpec::linear(3, Sparsity::DENSE, run.sparsity);
        let stage = Stage::dense(run).named("sensitive").schedule(schedule).pruned(PrunedWeights::Hidden);
        Ok(vec![stage.own_scores().gradients(Gradients::EveryUpdate)])
    }

    fn method(&self, _: &Stage, _: &Arc<Layout>) -> Result<Box<dyn StageMethod>> {
        Ok(Box::new(Sensitivities::default()))
    }
}
