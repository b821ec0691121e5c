//! One update.

use super::gradients::{Backward, add};
use super::{Run, State, together};
use crate::LearningRate;
use crate::ahead::Ahead;
use crate::events::Event;
use crate::optimizer::{clip_gradients, clip_known, gradient_norm};
use lopper_core::{
    Change, Error, Gradients, Moments, ParameterName, PrunedWeights, Result, Sparsity, StageMethod, View,
};
use std::ops::Range;
use tch::Tensor;

/// What became of an update's gradients.
struct Shown {
    /// Of all of them together, before clipping.
    norm: f64,
    /// Copies of those of the prunable tensors before masking and clipping, where the mask is ranked with them; else empty.
    dense: Vec<Tensor>,
}

impl Run<'_> {
    /// One optimizer step, with the micro-batches `numbers`; `save` is this process's wish to save the state after it. Returns
    /// the mean loss and what all processes wish.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when a stop is requested before the gradients are there: nothing has changed then.
    pub(super) fn update(
        &mut self,
        state: &mut State,
        (batches, numbers): (&mut Ahead, Range<u64>),
        rates: &LearningRate,
        (update, target): (u64, Option<Sparsity>),
        save: bool,
    ) -> Result<(f64, together::Wishes)> {
        let stage = self.inputs.stage;
        let dense = match stage.pruned {
            PrunedWeights::Hidden => Some(self.inputs.weights.take_pruned(&state.mask)?),
            PrunedWeights::Frozen | PrunedWeights::Trainable => None,
        };
        state.optimizer.zero_grad()?;
        if state.unsettled > 0 {
            // What loading and the first gradients left behind would otherwise stand beside the next: at XLSR-53's size a
            // seventh of the peak.
            lopper_torch::return_freed_memory();
            state.unsettled -= 1;
        }
        let backward = self.forward_backward(batches, numbers, save);
        // Before any error leaves: a hidden mask must not stay in the weights.
        if let Some(dense) = dense {
            self.inputs.weights.put_back(dense)?;
        }
        let Backward { loss, counts, wishes } = backward?;

        let Shown { norm, dense: gradients } = self.show_and_clip(state, loss, update, target.is_some())?;
        let rate = rates.at(update - 1);
        let usable = loss.is_finite() && norm.is_finite();
        let event = Event::Update {
            stage: None,
            update,
            loss,
            learning_rate: rate,
            gradient_norm: norm,
            skipped: !usable,
            counts: counts.clone(),
        };
        self.tell(state, &event)?;
        counts.iter().for_each(|(what, number)| add(&mut state.progress.counts, what, *number));
        if usable {
            state.progress.skipped_in_a_row = 0;
            state.optimizer.step(rate)?;
        } else {
            self.skip(state, update, loss, norm)?;
        }

        if let Some(target) = target {
            let Change { revived, .. } = self.next_mask(state, update, target, &gradients)?;
            let sparsity = state.mask.sparsity().get();
            state.prunes = sparsity > 0.0;
            self.tell(state, &Event::Mask { stage: None, update, sparsity, revived })?;
        }
        self.measure(state, update, target.is_some())?;
        match stage.pruned_in(update) {
            // Momentum and weight decay move pruned weights even when their gradients are masked.
            PrunedWeights::Frozen if state.prunes => {
                self.inputs.weights.zero_pruned(&state.mask)?;
                self.zero_moments(state)?;
            }
            PrunedWeights::Trainable if target.is_some() => {
                self.inputs.weights.zero_pruned(&state.mask)?;
                if stage.moments == Moments::Zero {
                    self.zero_moments(state)?;
                }
            }
            PrunedWeights::Frozen | PrunedWeights::Trainable | PrunedWeights::Hidden => {}
        }
        Ok((loss, wishes))
    }

    /// Shows the dense gradients to the method as often as the stage says, masks them under a hard mask, and clips them. Of
    /// several processes one asks the method, because all have the same gradients.
    ///
    /// What is not finite is shown to nobody, because a method would carry NaN along for ever; nor is it masked: the update
    /// will be skipped.
    fn show_and_clip(&mut self, state: &State, loss: f64, update: u64, mask_due: bool) -> Result<Shown> {
        let stage = self.inputs.stage;
        let max_norm = stage.recipe.clip_norm.unwrap_or(f64::INFINITY);
        let masks = stage.pruned_in(update) == PrunedWeights::Frozen && state.prunes;
        let shows = match stage.gradients {
            Gradients::EveryUpdate => true,
            Gradients::WhenDue => mask_due,
            _ => false,
        };
        let mut dense = Vec::new();
        if shows {
            let trainable = self.inputs.weights.trainable();
            let norm = gradient_norm(&trainable)?;
            if !(loss.is_finite() && norm.is_finite()) {
                return Ok(Shown { norm, dense });
            }
            if self.world.writes() {
                let live = self.inputs.weights.prunable_gradients();
                self.look(state, update - 1, mask_due, &live, |method, view| method.after_backward(view))?;
                if mask_due {
                    // Masking and clipping write into the live ones, and the mask is ranked after them.
                    dense = live.iter().map(copy).collect::<Result<_>>()?;
                }
            }
            if !masks {
                clip_known(&trainable, norm, max_norm)?;
                return Ok(Shown { norm, dense });
            }
        }
        if masks {
            self.inputs.weights.zero_pruned_gradients(&state.mask)?;
        }
        let norm = clip_gradients(&self.inputs.weights.trainable(), max_norm)?;
        Ok(Shown { norm, dense })
    }

    /// Shows the method this point of the training.
    fn look<T>(
        &mut self,
        state: &State,
        update: u64,
        mask_due: bool,
        gradients: &[Tensor],
        call: impl FnOnce(&mut dyn StageMethod, &View<'_>) -> Result<T>,
    ) -> Result<T> {
        let inputs = &mut self.inputs;
        let names: Vec<&ParameterName> = inputs.weights.prunable_names().collect();
        let moment = |index: usize, name: &str| {
            let mut moments = state.optimizer.moments(names.get(index)?);
            moments.find_map(|(kind, moment)| (kind == name).then_some(moment))
        };
        let weights = inputs.weights.view()?;
        let view = View::new(&weights, inputs.stage, &state.mask)
            .of_run(inputs.plugins.method(), inputs.seed)
            .at(update, mask_due)
            .with_gradients(gradients)
            .with_moments(&moment);
        let _no_grad = tch::no_grad_guard();
        let method = &mut *inputs.method;
        inputs.plugins.strategy(|| call(method, &view))
    }

    /// A line of the method's own, after it has seen something.
    fn measure(&mut self, state: &mut State, update: u64, mask_due: bool) -> Result<()> {
        let stage = self.inputs.stage;
        let saw = match stage.gradients {
            Gradients::EveryUpdate => true,
            _ => mask_due,
        };
        if !saw || !stage.depends_on_method() || !self.world.writes() {
            return Ok(());
        }
        let measures = self.inputs.plugins.strategy(|| Ok(self.inputs.method.measures()))?;
        if measures.is_empty() {
            return Ok(());
        }
        self.tell(state, &Event::Measures { stage: None, update, measures })
    }

    fn skip(&mut self, state: &mut State, update: u64, loss: f64, norm: f64) -> Result<()> {
        state.progress.skipped += 1;
        state.progress.skipped_in_a_row += 1;
        tracing::warn!(update, loss, norm, "loss or gradient is not finite; the update is skipped");
        if state.progress.skipped_in_a_row > self.inputs.max_skipped {
            let stage = self.inputs.stage;
            return Err(Error::Diverged(format!(
                "stage {}: loss {loss}, gradient norm {norm} at update {update}; {} updates in a row were skipped; lower \
                 train.learning_rate ({}) or set train.clip_norm; the last checkpoint stays",
                stage.name, state.progress.skipped_in_a_row, stage.recipe.learning_rate
            )));
        }
        Ok(())
    }

    /// Replaces the mask by the next one. After an error it is as it was.
    fn next_mask(&mut self, state: &mut State, update: u64, target: Sparsity, gradients: &[Tensor]) -> Result<Change> {
        let among = self.inputs.stage.re_ranks_among();
        // Taken out, because the view borrows the whole of `self`.
        let mut selector = std::mem::take(self.inputs.selector);
        let next = together::next_mask(self.world, &state.mask, || {
            self.look(state, update, true, gradients, |method, view| selector.next_mask(method, view, target, among))
        });
        *self.inputs.selector = selector;
        let (mask, change) = next?;
        state.mask = mask;
        Ok(change)
    }

    fn zero_moments(&mut self, state: &mut State) -> Result<()> {
        let names: Vec<_> = self.inputs.weights.prunable_names().cloned().collect();
        for (index, name) in names.iter().enumerate() {
            for moment in state.optimizer.moments_mut(name) {
                self.inputs.weights.zero(&state.mask, index, moment)?;
            }
        }
        Ok(())
    }
}

/// A copy that later updates do not change; of an undefined gradient an undefined one.
fn copy(gradient: &Tensor) -> Result<Tensor> {
    if !gradient.defined() {
        return Ok(Tensor::new());
    }
    let mut copy = gradient.f_empty_like()?;
    copy.f_copy_(gradient)?;
    Ok(copy)
}
