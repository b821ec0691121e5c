//! What a stage learns from training batches before its first mask.

use crate::evaluate::{autocast, costs};
use crate::memory;
use crate::plugins::Plugins;
use crate::stage::mix;
use crate::weights::Weights;
use crate::{Batcher, SessionSettings};
use lopper_core::{
    Batch, Calibrated, Calibration, Collect, Dataset, Error, Mode, Model, ParameterName, Result, Split, Stage,
};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Who is calibrated with.
pub(crate) struct Calibrator<'a> {
    pub(crate) model: &'a dyn Model,
    pub(crate) dataset: &'a dyn Dataset,
    pub(crate) weights: &'a Weights,
    pub(crate) plugins: &'a Plugins,
    pub(crate) settings: &'a SessionSettings,
    pub(crate) stage: &'a Stage,
}

impl Calibrator<'_> {
    /// Collects at the weights that the model holds. It depends on the run's seed and these weights alone: the batches are the
    /// first of training, with the dropout that training would draw for them. No gradient stays behind.
    pub(crate) fn collect(&self, calibration: Calibration) -> Result<Calibrated> {
        let during = format!("calibrating stage {}", self.stage.name);
        let collected = match calibration.collects {
            Collect::Gradients => self.gradients(calibration.batches),
            Collect::Sensitivity => {
                self.gradients(calibration.batches).and_then(|gradients| self.sensitivity(gradients))
            }
            Collect::InputNorms => self.input_norms(calibration.batches),
            other => {
                Err(Error::Unsupported { what: "this session".into(), feature: format!("calibration by {other:?}") })
            }
        };
        // Also after an error: the next backward pass adds to what is there.
        for (_, tensor) in self.weights.trainable() {
            lopper_torch::clear_gradient(&tensor)?;
        }
        let tensors =
            collected.map_err(|error| memory::explain(error, &during, || memory::in_training(&self.stage.recipe)))?;
        Ok(Calibrated::new(calibration, tensors))
    }

    /// The first training batches on the model's device, with their numbers.
    fn batches(&self, number: u64) -> Result<impl Iterator<Item = Result<(u64, Batch)>>> {
        let recipe = &self.stage.recipe;
        let costs = self.plugins.dataset(|| costs(self.dataset, &Split::TRAIN))?;
        let batcher = Batcher::new(&costs, &recipe.batching, recipe.bucket_by_length, self.settings.seed)?;
        Ok((0..number).map(move |number| {
            self.settings.stop.check(&format!("calibrating stage {}", self.stage.name))?;
            let examples = batcher.batch(number);
            let batch = self.plugins.dataset(|| self.dataset.batch(&Split::TRAIN, &examples))??;
            Ok((number, batch.to_device(self.settings.device)?))
        }))
    }

    /// Gradients of the mean loss over all batches together.
    fn gradients(&self, batches: u64) -> Result<Vec<Option<Tensor>>> {
        for (_, tensor) in self.weights.trainable() {
            lopper_torch::clear_gradient(&tensor)?;
        }
        let (mut sum, mut count) = (0.0, 0.0);
        for numbered in self.batches(batches)? {
            let (number, batch) = numbered?;
            tch::manual_seed(mix(self.settings.seed, number) as i64);
            let loss = {
                let _autocast = autocast(self.settings.device, self.settings.precision)?;
                self.plugins.model(|| self.model.loss(&batch, Mode::Train))?
            };
            loss.sum.f_backward()?;
            sum += loss.sum.f_double_value(&[])?;
            count += loss.count;
        }
        let mean: f64 = sum / count;
        if !mean.is_finite() {
            return Err(Error::Diverged(format!(
                "stage {}: the loss over {batches} batches of calibration is {mean}; nothing can be ranked by its gradients",
                self.stage.name
            )));
        }
        let _no_grad = tch::no_grad_guard();
        let gradients = self.weights.prunable_gradients();
        gradients
            .iter()
            .map(|gradient| gradient.defined().then(|| Ok(gradient.f_div_scalar(count)?)).transpose())
            .collect()
    }

    /// |w ⊙ g|.
    fn sensitivity(&self, gradients: Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>> {
        let _no_grad = tch::no_grad_guard();
        let weights = self.weights.view()?;
        let product = |(gradient, weight): (Option<Tensor>, &lopper_core::PrunableWeight<'_>)| {
            gradient.map(|gradient| Ok(gradient.f_mul(&weight.tensor)?.f_abs()?)).transpose()
        };
        gradients.into_iter().zip(weights.weights()).map(product).collect()
    }

    /// Sums of squares over all batches, added up in float64.
    fn input_norms(&self, batches: u64) -> Result<Vec<Option<Tensor>>> {
        let mut sums: BTreeMap<ParameterName, Tensor> = BTreeMap::new();
        for numbered in self.batches(batches)? {
            let (_, batch) = numbered?;
            let norms = {
                let _autocast = autocast(self.settings.device, self.settings.precision)?;
                self.plugins.model(|| self.model.squared_input_norms(&batch))?
            };
            for (name, norms) in norms {
                let norms = norms.f_to_kind(Kind::Double)?;
                let sum = match sums.remove(&name) {
                    Some(sum) => sum.f_add(&norms)?,
                    None => norms,
                };
                sums.insert(name, sum);
            }
        }
        let of = |name| sums.get(name).map(|sum| Ok(sum.f_to_kind(Kind::Float)?)).transpose();
        self.weights.prunable_names().map(of).collect()
    }
}
