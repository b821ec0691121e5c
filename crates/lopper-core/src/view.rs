//! What a method sees.

use crate::{
    Calibration, Error, Gradients, Layout, MaskSet, MaskTensors, PrunableWeight, Request, Result, Scores, Selector,
    Stage, WeightView,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use tch::{Device, Tensor};

/// What a calibration collected; one entry for each prunable tensor, in the layout's order.
#[derive(Debug)]
#[non_exhaustive]
pub struct Calibrated {
    /// What was asked for.
    pub calibration: Calibration,
    /// What [`Calibration::collects`] says, float32 on the run's device; `None` for a tensor of which there is nothing.
    pub tensors: Vec<Option<Tensor>>,
}

impl Calibrated {
    /// What was collected as `calibration` says.
    pub fn new(calibration: Calibration, tensors: Vec<Option<Tensor>>) -> Self {
        Self { calibration, tensors }
    }
}

/// Looks up a moment of the optimizer by the place of a weight and the moment's name.
type MomentOf<'a> = dyn Fn(usize, &str) -> Option<&'a Tensor> + 'a;

/// What a [`StageMethod`](crate::StageMethod) sees when it is asked. Reading it changes nothing.
///
/// What a method keeps must be its own: gradients and moments come as copies and are safe to keep, weights do not (see
/// [`PrunableWeight::tensor`]).
#[derive(Clone, Copy)]
pub struct View<'a> {
    weights: &'a WeightView<'a>,
    stage: &'a Stage,
    mask: &'a MaskSet,
    method: &'a str,
    seed: u64,
    update: u64,
    mask_due: bool,
    gradients: Option<&'a [Tensor]>,
    moments: Option<&'a MomentOf<'a>>,
    calibrated: Option<&'a Calibrated>,
}

impl<'a> View<'a> {
    /// A view of `weights` under `mask` at the start of `stage`, where the mask is due.
    pub fn new(weights: &'a WeightView<'a>, stage: &'a Stage, mask: &'a MaskSet) -> Self {
        Self {
            weights,
            stage,
            mask,
            method: "of this strategy",
            seed: 0,
            update: 0,
            mask_due: true,
            gradients: None,
            moments: None,
            calibrated: None,
        }
    }

    /// For the strategy of that name, whom errors name, in a run of that seed.
    pub fn of_run(self, method: &'a str, seed: u64) -> Self {
        Self { method, seed, ..self }
    }

    /// After `update` finished updates; `mask_due` tells whether the mask changes now, or after the update under way.
    pub fn at(self, update: u64, mask_due: bool) -> Self {
        Self { update, mask_due, ..self }
    }

    /// With the dense gradients of an update, one for each weight; undefined ones were not reached by it.
    pub fn with_gradients(self, gradients: &'a [Tensor]) -> Self {
        Self { gradients: Some(gradients), ..self }
    }

    /// With the optimizer's moments.
    pub fn with_moments(self, moments: &'a MomentOf<'a>) -> Self {
        Self { moments: Some(moments), ..self }
    }

    /// With what a calibration collected.
    pub fn with_calibration(self, calibrated: Option<&'a Calibrated>) -> Self {
        Self { calibrated, ..self }
    }

    /// Names, shapes and order of the prunable weights.
    pub fn layout(&self) -> &'a Arc<Layout> {
        self.weights.layout()
    }

    /// The weights in the order of the layout.
    pub fn weights(&self) -> &'a [PrunableWeight<'a>] {
        self.weights.weights()
    }

    /// The weights as a [`Selector`] takes them.
    pub fn weight_view(&self) -> &'a WeightView<'a> {
        self.weights
    }

    /// The stage that is trained.
    pub fn stage(&self) -> &'a Stage {
        self.stage
    }

    /// The mask until now; for a stage's first mask that of the stage before, or a dense one.
    pub fn mask(&self) -> &'a MaskSet {
        self.mask
    }

    /// Which entries of weight `index` the mask keeps: bool, of the weight's shape, on its device.
    ///
    /// # Errors
    /// Errors of libtorch.
    ///
    /// # Panics
    /// When there is no such weight.
    pub fn kept(&self, index: usize) -> Result<Tensor> {
        self.mask.kept_tensor(index, self.device(index))
    }

    /// The strategy's registered name, as errors give it.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// Finished updates of this stage: 0 before its first mask and in its first update.
    pub fn update(&self) -> u64 {
        self.update
    }

    /// Updates of this stage in all: the horizon of whatever changes while it trains.
    pub fn total(&self) -> u64 {
        self.stage.updates
    }

    /// Whether the mask changes now or, in [`after_backward`](crate::StageMethod::after_backward), after this update.
    pub fn mask_due(&self) -> bool {
        self.mask_due
    }

    /// The dense gradient of weight `index` in this update, before anything is masked or clipped: a copy, of the weight's
    /// shape on its device. In [`score`](crate::StageMethod::score) that of the update after which the mask is made.
    ///
    /// `None` where there is none: before the first update, for a weight that the backward pass did not reach, and for an
    /// update that is skipped because its loss or a gradient is not finite.
    ///
    /// # Errors
    /// [`Error::NotAskedFor`] when the stage's [`gradients`](Stage::gradients) do not cover this moment; errors of libtorch.
    pub fn gradient(&self, index: usize) -> Result<Option<Tensor>> {
        let covered = match self.stage.gradients {
            Gradients::Never => false,
            Gradients::WhenDue => self.mask_due,
            Gradients::EveryUpdate => true,
        };
        if !covered {
            let wanted = if self.mask_due { "Gradients::WhenDue" } else { "Gradients::EveryUpdate" };
            return Err(self.not_asked_for("gradients", format!("Stage::gradients({wanted})")));
        }
        self.gradients
            .and_then(|gradients| gradients.get(index))
            .filter(|gradient| gradient.defined())
            .map(copy)
            .transpose()
    }

    /// A moment of the optimizer for weight `index`, a copy of the weight's shape on its device: `exp_avg` and `exp_avg_sq` of
    /// Adam and AdamW, `momentum` of SGD. `None` for a name that the optimizer does not have, and before training.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn moment(&self, index: usize, name: &str) -> Result<Option<Tensor>> {
        self.moments.and_then(|moment| moment(index, name)).map(copy).transpose()
    }

    /// What calibration collected for weight `index`: see [`Collect`](crate::Collect) for shapes. `None` for a tensor of
    /// which that says nothing. Only for the stage's first mask.
    ///
    /// # Errors
    /// [`Error::NotAskedFor`] when the stage asks for no calibration, or at a later mask.
    pub fn calibrated(&self, index: usize) -> Result<Option<&'a Tensor>> {
        match self.calibrated {
            Some(calibrated) => Ok(calibrated.tensors.get(index).and_then(Option::as_ref)),
            None if self.stage.calibration.is_some() => {
                Err(self.not_asked_for("calibration", "the stage's first mask alone; keep what later ones need".into()))
            }
            None => Err(self.not_asked_for("calibration", "Stage::calibration".into())),
        }
    }

    /// Numbers drawn evenly from [0, 1): float32, of the shape of weight `index`, on its device. They depend on the run's
    /// seed, the update and the weight's place alone, so that a continued run and a repeated one draw the same.
    ///
    /// # Errors
    /// Errors of libtorch.
    ///
    /// # Panics
    /// When there is no such weight.
    pub fn uniform(&self, index: usize) -> Result<Tensor> {
        let mut seed = [0; 32];
        for (place, number) in
            seed.chunks_exact_mut(8).zip([self.seed, self.update, index as u64, 0x0075_6e69_666f_726d])
        {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let mut generator = ChaCha8Rng::from_seed(seed);
        let tensor = &self.layout().tensors()[index];
        let values: Vec<f32> = (0..tensor.entries()).map(|_| generator.random()).collect();
        let shape: Vec<i64> = tensor.shape().iter().map(|dimension| *dimension as i64).collect();
        Ok(Tensor::f_from_slice(&values)?.f_reshape(shape)?.f_to_device(self.device(index))?)
    }

    /// Scores of the method's own, made weight by weight.
    ///
    /// # Errors
    /// Those of `score`.
    pub fn scores(&self, mut score: impl FnMut(usize, &PrunableWeight<'a>) -> Result<Tensor>) -> Result<Scores> {
        let scores = self.weights().iter().enumerate().map(|(index, weight)| score(index, weight));
        Ok(Scores::Values(scores.collect::<Result<_>>()?))
    }

    /// A mask of this moment's weights, for a method that needs one to make its scores from; [`mask`](Self::mask) is the
    /// current one. The next mask is made by the core, and no method has to count for it.
    ///
    /// # Errors
    /// As [`Selector::select`], and [`Error::Scores`] for scores that cannot be ranked.
    pub fn select(&self, scores: &Scores, request: &Request) -> Result<MaskSet> {
        Selector::new().select(self.weights, scores, self.mask, request).map_err(|error| self.blamed(error, scores))
    }

    /// What went wrong with a ranking, blamed on the method where `scores` are its own.
    pub(crate) fn blamed(&self, error: Error, scores: &Scores) -> Error {
        match error {
            Error::NonFinite { tensor, index, value } if matches!(scores, Scores::Values(_)) => {
                self.blame(format!("have {value} at {tensor}[{index}]; scores must be finite"))
            }
            Error::ScoreShapes { problems } => {
                self.blame(format!("do not fit the prunable tensors: {}", problems.join("; ")))
            }
            other => other,
        }
    }

    /// An error of the method's scores.
    pub(crate) fn blame(&self, problem: String) -> Error {
        Error::Scores { method: self.method.into(), stage: self.stage.name.clone(), problem }
    }

    fn device(&self, index: usize) -> Device {
        self.weights()[index].tensor.device()
    }

    fn not_asked_for(&self, what: &'static str, how: String) -> Error {
        Error::NotAskedFor { method: self.method.into(), stage: self.stage.name.clone(), what, how }
    }
}

/// Shares nothing with `tensor`.
fn copy(tensor: &Tensor) -> Result<Tensor> {
    let mut copy = tensor.f_detach()?.f_empty_like()?;
    copy.f_copy_(tensor)?;
    Ok(copy)
}
