//! The gradients of one update.

use super::Run;
use super::together::{self, Sums, Wishes};
use crate::Counts;
use crate::ahead::Ahead;
use crate::evaluate::autocast;
use lopper_core::{Mode, Result, Split};
use std::ops::Range;

/// What is counted of examples that a batch goes without.
const LEFT_OUT: &str = "examples_left_out";

/// What came of an update's micro-batches; the gradients are in the parameters.
pub(super) struct Backward {
    /// Mean over all micro-batches.
    pub(super) loss: f64,
    /// What the micro-batches left out or could not use.
    pub(super) counts: Counts,
    pub(super) wishes: Wishes,
}

impl Run<'_> {
    /// Gradients of the mean loss over all micro-batches of an update, of all processes together. Once it has returned, no
    /// thread reads weights or moments any more. `save` is this process's wish.
    ///
    /// # Errors
    /// [`Error::Interrupted`](lopper_core::Error::Interrupted) when a stop is requested before or between micro-batches: nothing
    /// has changed then.
    pub(super) fn forward_backward(
        &mut self,
        batches: &mut Ahead,
        numbers: Range<u64>,
        save: bool,
    ) -> Result<Backward> {
        let own = self.own_micro_batches(batches, numbers);
        let weights = &*self.inputs.weights;
        let (sums, wishes) = together::add_up(self.world, weights, own, save, self.inputs.stop)?;
        let Sums { loss, count, counts } = sums;
        if self.inputs.stage.recipe.accumulate > 1 {
            let gradients: Vec<_> =
                weights.trainable().iter().map(|(_, t)| t.grad()).filter(tch::Tensor::defined).collect();
            lopper_torch::scale(&gradients.iter().collect::<Vec<_>>(), 1.0 / count)?;
        }
        self.settle()?;
        Ok(Backward { loss: loss / count, counts, wishes })
    }

    /// Forward and backward over this process's micro-batches of an update. The gradients are those of the sum of the losses,
    /// or of the mean where the update has one micro-batch.
    fn own_micro_batches(&mut self, batches: &mut Ahead, numbers: Range<u64>) -> Result<Sums> {
        let inputs = &self.inputs;
        let (plugins, model, dataset, device) = (inputs.plugins, inputs.model, inputs.dataset, inputs.device);
        let accumulate = inputs.stage.recipe.accumulate;
        let before = plugins.model(|| Ok(model.counts()))?;
        let mut sums = Sums::default();
        for number in together::share((self.world.rank(), self.world.size()), numbers) {
            inputs.stop.check("between micro-batches")?;
            let (examples, batch) = plugins.dataset(|| batches.expect_next())??;
            add(&mut sums.counts, LEFT_OUT, plugins.dataset(|| dataset.left_out(&Split::TRAIN, &examples))?);
            let batch = batch.to_device(device)?;
            // From (seed, micro-batch) alone, so that a continued run draws what an uninterrupted one would, and methods
            // are compared on the same data order and dropout.
            tch::manual_seed(mix(inputs.seed, number) as i64);
            let loss = {
                let _autocast = autocast(device, inputs.precision)?;
                plugins.model(|| model.loss(&batch, Mode::Train))?
            };
            let scaled = if accumulate == 1 { loss.sum.f_divide_scalar(loss.count)? } else { loss.sum.shallow_clone() };
            scaled.f_backward()?;
            sums.loss += loss.sum.f_double_value(&[])?;
            sums.count += loss.count;
        }
        for (what, number) in plugins.model(|| Ok(model.counts()))? {
            add(&mut sums.counts, what, number.saturating_sub(before.get(what).copied().unwrap_or(0)));
        }
        Ok(sums)
    }
}

/// Adds what is not zero.
pub(super) fn add(counts: &mut Counts, what: &str, number: u64) {
    if number > 0 {
        *counts.entry(what.to_owned()).or_default() += number;
    }
}

/// SplitMix64's output function over the sum: well spread seeds from neighbouring numbers.
pub(crate) fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
