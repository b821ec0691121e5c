//! One stage: the update loop, in the order that `ARCHITECTURE.md` gives.

use crate::ahead::{Ahead, fetch_ahead};
use crate::checkpoint::{Checkpoint, CheckpointStore, Progressed};
use crate::evaluate::{autocast, costs, evaluate};
use crate::events::{Event, EventLog};
use crate::memory;
use crate::occupied::Writer;
use crate::optimizer::{clip_gradients, clip_known, gradient_norm};
use crate::plugins::Plugins;
use crate::progress::Progress;
use crate::status::Teller;
use crate::weights::{Values, Weights};
use crate::{
    Batcher, CheckpointEvery, Counts, LearningRate, OptimizerState, SessionSettings, SplitMetrics, Validation,
};
use lopper_core::{
    Change, Dataset, Error, Gradients, MaskSchedule, MaskSet, MethodState, Mode, Model, Moments, ParameterName,
    PrunedWeights, Result, Selector, Sparsity, Split, Stage, StageMethod, View,
};
use std::sync::atomic::Ordering;
use std::time::Instant;
use tch::Tensor;

/// What is counted of examples that a batch goes without.
const LEFT_OUT: &str = "examples_left_out";

/// What a stage is trained with.
pub(crate) struct Trainer<'a> {
    pub(crate) model: &'a dyn Model,
    pub(crate) dataset: &'a dyn Dataset,
    /// What the strategy does inside this stage.
    pub(crate) method: &'a mut dyn StageMethod,
    pub(crate) weights: &'a mut Weights,
    pub(crate) settings: &'a SessionSettings,
    pub(crate) events: &'a mut EventLog,
    pub(crate) checkpoints: &'a CheckpointStore,
    pub(crate) teller: &'a mut Teller,
    pub(crate) selector: &'a mut Selector,
    pub(crate) plugins: &'a Plugins,
    pub(crate) key: &'a str,
    /// Who trains it, for its checkpoints.
    pub(crate) writer: &'a Writer,
    pub(crate) stage: &'a Stage,
    /// Rewind points to keep.
    pub(crate) snapshots: &'a [u64],
    /// Whether the next stage goes on from what the method remembers.
    pub(crate) hands_on: bool,
}

/// What a stage ends with; the weights are in the model, masked.
pub(crate) struct Trained {
    pub(crate) mask: MaskSet,
    /// What its method remembers, where the next stage goes on from that.
    pub(crate) method: Option<MethodState>,
    pub(crate) snapshots: Vec<(u64, Values)>,
    pub(crate) progress: Progressed,
}

/// The state that changes from update to update.
struct State {
    mask: MaskSet,
    /// Whether the mask prunes anything: in a dense finetuning there is nothing to zero.
    prunes: bool,
    optimizer: OptimizerState,
    snapshots: Vec<(u64, Values)>,
    progress: Progressed,
}

impl Trainer<'_> {
    /// Trains the stage. The model holds the weights it starts from; `resume` takes it up in the middle instead.
    pub(crate) fn train(&mut self, mask: MaskSet, resume: Option<Checkpoint>) -> Result<Trained> {
        let stage = self.stage;
        self.train_raw(mask, resume).map_err(|error| {
            memory::explain(error, &format!("training stage {}", stage.name), || memory::in_training(&stage.recipe))
        })
    }

    fn train_raw(&mut self, mask: MaskSet, resume: Option<Checkpoint>) -> Result<Trained> {
        let stage = self.stage;
        let started = Instant::now();
        let schedule = stage.schedule.as_ref().map(open_schedule).transpose()?;
        let batcher = Batcher::new(
            &self.plugins.dataset(|| costs(self.dataset, &Split::TRAIN))?,
            &stage.recipe.batching,
            stage.recipe.bucket_by_length,
            self.settings.seed,
        )?;
        let horizon = stage.recipe.rate_horizon.unwrap_or(stage.updates);
        let rates = LearningRate::new(&stage.recipe.rate_schedule, stage.recipe.learning_rate, horizon)?;
        let mut optimizer = OptimizerState::new(&stage.recipe.optimizer, &self.weights.trainable())?;
        let mut state = match resume {
            Some(checkpoint) => {
                self.weights.load(&checkpoint.weights, None)?;
                optimizer.load(checkpoint.optimizer)?;
                let remembered = checkpoint.strategy.to_device(self.settings.device)?;
                self.plugins.strategy(|| self.method.load_state(remembered))?;
                let Checkpoint { mask, snapshots, progress, .. } = checkpoint;
                State { prunes: mask.pruned() > 0, mask, optimizer, snapshots, progress }
            }
            None => {
                if stage.pruned != PrunedWeights::Hidden {
                    self.weights.zero_pruned(&mask)?;
                }
                let progress = Progressed::start(self.key);
                State { prunes: mask.pruned() > 0, mask, optimizer, snapshots: Vec::new(), progress }
            }
        };
        let seconds_before = state.progress.seconds;
        if state.progress.update < stage.updates {
            let first = state.progress.update * stage.recipe.accumulate;
            let order = (first..).map(move |number| batcher.batch(number));
            let dataset = self.dataset;
            let done = fetch_ahead(dataset, &Split::TRAIN, order, |batches| {
                self.updates(&mut state, batches, &rates, schedule.as_deref(), started)
            });
            self.weights.set_encoder_trains(true)?;
            done?;
        }
        // Algorithm 1, line 8: what a stage returns is mask ⊙ weights.
        self.weights.zero_pruned(&state.mask)?;
        self.weights.check_pruned_are_zero(&state.mask)?;
        self.validate(&mut state, stage.updates)?;
        state.progress.seconds = seconds_before + started.elapsed().as_secs_f64();
        let method = self.hands_on.then(|| self.plugins.strategy(|| Ok(self.method.state()))).transpose()?;
        let State { mask, snapshots, progress, .. } = state;
        Ok(Trained { mask, method, snapshots, progress })
    }

    /// All updates that are left. `started` is when this process took the stage up.
    fn updates(
        &mut self,
        state: &mut State,
        batches: &mut Ahead,
        rates: &LearningRate,
        schedule: Option<&dyn MaskSchedule>,
        started: Instant,
    ) -> Result<()> {
        let stage = self.stage;
        let seconds_before = state.progress.seconds;
        let mut saved_at = Instant::now();
        let bar = Progress::new(&stage.name, stage.updates, state.progress.update);
        let first = state.progress.update + 1;
        let freeze = stage.recipe.freeze_encoder_updates;
        // Where the head alone is trained, nothing is differentiated through the encoder.
        self.weights.set_encoder_trains(first > freeze)?;
        for update in first..=stage.updates {
            if update == freeze + 1 {
                self.weights.set_encoder_trains(true)?;
            }
            let target = self.target(schedule, update)?;
            let loss = self.update(state, batches, rates, update, target)?;
            bar.update(update, loss);
            state.progress.update = update;
            if self.snapshots.contains(&update) {
                state.snapshots.push((update, self.weights.copy()?));
            }
            if self.settings.evaluate_every > 0
                && update.is_multiple_of(self.settings.evaluate_every)
                && update < stage.updates
            {
                self.validate(state, update)?;
            }
            state.progress.seconds = seconds_before + started.elapsed().as_secs_f64();
            self.teller.update(update, state.progress.seconds);
            let stop = self.settings.stop.load(Ordering::Relaxed);
            let due = match self.settings.checkpoint {
                CheckpointEvery::OnInterrupt => false,
                CheckpointEvery::Updates(every) => update.is_multiple_of(every),
                CheckpointEvery::Time(interval) => saved_at.elapsed() >= interval,
            };
            if stop || (due && update < stage.updates) {
                self.save(state)?;
                saved_at = Instant::now();
            }
            if stop {
                return Err(Error::Interrupted(format!(
                    "stage {} stands at update {update} of {} and is saved in {}; the same command goes on from there",
                    stage.name,
                    stage.updates,
                    self.settings.out.display()
                )));
            }
        }
        Ok(())
    }

    /// The sparsity that the schedule wants after `update`.
    fn target(&self, schedule: Option<&dyn MaskSchedule>, update: u64) -> Result<Option<Sparsity>> {
        let (Some(schedule), Some(spec)) = (schedule, &self.stage.schedule) else { return Ok(None) };
        lopper_torch::guarded(&schedule_plugin(spec), || Ok(schedule.target(update, self.stage.updates)))
    }

    /// One optimizer step. Returns the mean loss.
    fn update(
        &mut self,
        state: &mut State,
        batches: &mut Ahead,
        rates: &LearningRate,
        update: u64,
        target: Option<Sparsity>,
    ) -> Result<f64> {
        let stage = self.stage;
        let recipe = &stage.recipe;
        let dense = match stage.pruned {
            PrunedWeights::Hidden => {
                let dense = self.weights.copy_prunable()?;
                self.weights.zero_pruned(&state.mask)?;
                Some(dense)
            }
            PrunedWeights::Frozen | PrunedWeights::Trainable => None,
        };
        state.optimizer.zero_grad()?;
        let mut counts = Counts::new();
        let loss = self.forward_backward(batches, update, recipe.accumulate, &mut counts);
        // Before any error leaves: a hidden mask must not stay in the weights.
        if let Some(dense) = &dense {
            self.weights.restore_prunable(dense)?;
        }
        let loss = loss?;

        let Shown { norm, dense: gradients } = self.show_and_clip(state, loss, update, target.is_some())?;
        let rate = rates.at(update - 1);
        let usable = loss.is_finite() && norm.is_finite();
        self.events.write(&Event::Update {
            stage: &stage.name,
            update,
            loss,
            learning_rate: rate,
            gradient_norm: norm,
            skipped: !usable,
            counts: &counts,
        })?;
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
            self.events.write(&Event::Mask { stage: &stage.name, update, sparsity, revived })?;
        }
        self.measure(update, target.is_some())?;
        match stage.pruned {
            // Momentum and weight decay move pruned weights even when their gradients are masked.
            PrunedWeights::Frozen if state.prunes => {
                self.weights.zero_pruned(&state.mask)?;
                self.zero_moments(state)?;
            }
            PrunedWeights::Trainable if target.is_some() => {
                self.weights.zero_pruned(&state.mask)?;
                if stage.moments == Moments::Zero {
                    self.zero_moments(state)?;
                }
            }
            PrunedWeights::Frozen | PrunedWeights::Trainable | PrunedWeights::Hidden => {}
        }
        Ok(loss)
    }

    /// Shows the dense gradients to the method as often as the stage says, masks them under a hard mask, and clips them.
    ///
    /// What is not finite is shown to nobody, because a method would carry NaN along for ever; nor is it masked: the update
    /// will be skipped.
    fn show_and_clip(&mut self, state: &State, loss: f64, update: u64, mask_due: bool) -> Result<Shown> {
        let stage = self.stage;
        let max_norm = stage.recipe.clip_norm.unwrap_or(f64::INFINITY);
        let masks = stage.pruned == PrunedWeights::Frozen && state.prunes;
        let shows = match stage.gradients {
            Gradients::EveryUpdate => true,
            Gradients::WhenDue => mask_due,
            _ => false,
        };
        let mut dense = Vec::new();
        if shows {
            let trainable = self.weights.trainable();
            let norm = gradient_norm(&trainable)?;
            if !(loss.is_finite() && norm.is_finite()) {
                return Ok(Shown { norm, dense });
            }
            let live = self.weights.prunable_gradients();
            self.look(state, update - 1, mask_due, &live, |method, view| method.after_backward(view))?;
            if mask_due {
                // Masking and clipping write into the live ones, and the mask is ranked after them.
                dense = live.iter().map(copy).collect::<Result<_>>()?;
            }
            if !masks {
                clip_known(&trainable, norm, max_norm)?;
                return Ok(Shown { norm, dense });
            }
        }
        if masks {
            self.weights.zero_pruned_gradients(&state.mask)?;
        }
        let norm = clip_gradients(&self.weights.trainable(), max_norm)?;
        Ok(Shown { norm, dense })
    }

    /// Shows the method this moment of the training.
    fn look<T>(
        &mut self,
        state: &State,
        update: u64,
        mask_due: bool,
        gradients: &[Tensor],
        call: impl FnOnce(&mut dyn StageMethod, &View<'_>) -> Result<T>,
    ) -> Result<T> {
        let names: Vec<&ParameterName> = self.weights.prunable_names().collect();
        let moment = |index: usize, name: &str| {
            let mut moments = state.optimizer.moments(names.get(index)?);
            moments.find_map(|(kind, moment)| (kind == name).then_some(moment))
        };
        let weights = self.weights.view()?;
        let view = View::new(&weights, self.stage, &state.mask)
            .of_run(self.plugins.method(), self.settings.seed)
            .at(update, mask_due)
            .with_gradients(gradients)
            .with_moments(&moment);
        let _no_grad = tch::no_grad_guard();
        let method = &mut *self.method;
        self.plugins.strategy(|| call(method, &view))
    }

    /// A line of the method's own, after it has seen something.
    fn measure(&mut self, update: u64, mask_due: bool) -> Result<()> {
        let stage = self.stage;
        let saw = match stage.gradients {
            Gradients::EveryUpdate => true,
            _ => mask_due,
        };
        if !saw || !stage.depends_on_method() {
            return Ok(());
        }
        let measures = self.plugins.strategy(|| Ok(self.method.measures()))?;
        if measures.is_empty() {
            return Ok(());
        }
        self.events.write(&Event::Measures { stage: &stage.name, update, measures: &measures })
    }

    /// Gradients of the mean loss over all micro-batches of an update. Returns that mean, and adds what the micro-batches
    /// left out to `counts`.
    fn forward_backward(
        &mut self,
        batches: &mut Ahead,
        update: u64,
        accumulate: u64,
        counts: &mut Counts,
    ) -> Result<f64> {
        let before = self.plugins.model(|| Ok(self.model.counts()))?;
        let mut sum = 0.0;
        let mut count = 0.0;
        for micro in 0..accumulate {
            let number = (update - 1) * accumulate + micro;
            let (examples, batch) = self.plugins.dataset(|| batches.expect_next())??;
            add(counts, LEFT_OUT, self.plugins.dataset(|| self.dataset.left_out(&Split::TRAIN, &examples))?);
            let batch = batch.to_device(self.settings.device)?;
            // From (seed, micro-batch) alone, so that a continued run draws what an uninterrupted one would, and methods
            // are compared on the same data order and dropout.
            tch::manual_seed(mix(self.settings.seed, number) as i64);
            let loss = {
                let _autocast = autocast(self.settings.device, self.settings.precision)?;
                self.plugins.model(|| self.model.loss(&batch, Mode::Train))?
            };
            let scaled = if accumulate == 1 { loss.sum.f_divide_scalar(loss.count)? } else { loss.sum.shallow_clone() };
            scaled.f_backward()?;
            sum += loss.sum.f_double_value(&[])?;
            count += loss.count;
        }
        for (what, number) in self.plugins.model(|| Ok(self.model.counts()))? {
            add(counts, what, number.saturating_sub(before.get(what).copied().unwrap_or(0)));
        }
        if accumulate > 1 {
            let gradients: Vec<_> =
                self.weights.trainable().iter().map(|(_, t)| t.grad()).filter(tch::Tensor::defined).collect();
            lopper_torch::scale(&gradients.iter().collect::<Vec<_>>(), 1.0 / count)?;
        }
        Ok(sum / count)
    }

    fn skip(&mut self, state: &mut State, update: u64, loss: f64, norm: f64) -> Result<()> {
        state.progress.skipped += 1;
        state.progress.skipped_in_a_row += 1;
        tracing::warn!(update, loss, norm, "loss or gradient is not finite; the update is skipped");
        if state.progress.skipped_in_a_row > self.settings.max_skipped {
            return Err(Error::Diverged(format!(
                "stage {}: loss {loss}, gradient norm {norm} at update {update}; {} updates in a row were skipped; lower \
                 train.learning_rate ({}) or set train.clip_norm; the last checkpoint stays",
                self.stage.name, state.progress.skipped_in_a_row, self.stage.recipe.learning_rate
            )));
        }
        Ok(())
    }

    /// Replaces the mask by the next one. After an error it is as it was.
    fn next_mask(&mut self, state: &mut State, update: u64, target: Sparsity, gradients: &[Tensor]) -> Result<Change> {
        let among = self.stage.re_ranks_among();
        // Taken out, because the view borrows the whole of `self`.
        let mut selector = std::mem::take(self.selector);
        let ranked =
            self.look(state, update, true, gradients, |method, view| selector.next_mask(method, view, target, among));
        *self.selector = selector;
        let (mask, change) = ranked?;
        state.mask = mask;
        Ok(change)
    }

    fn zero_moments(&mut self, state: &mut State) -> Result<()> {
        let names: Vec<_> = self.weights.prunable_names().cloned().collect();
        for (index, name) in names.iter().enumerate() {
            for moment in state.optimizer.moments_mut(name) {
                self.weights.zero(&state.mask, index, moment)?;
            }
        }
        Ok(())
    }

    /// Metrics of mask ⊙ weights; weights that a method keeps outside its mask come back afterwards.
    fn validate(&mut self, state: &mut State, update: u64) -> Result<()> {
        let kept_outside = match self.stage.pruned {
            PrunedWeights::Frozen => None,
            PrunedWeights::Trainable | PrunedWeights::Hidden => {
                let copies = self.weights.copy_prunable()?;
                self.weights.zero_pruned(&state.mask)?;
                Some(copies)
            }
        };
        let splits = self.metrics();
        if let Some(copies) = kept_outside {
            self.weights.restore_prunable(&copies)?;
        }
        let splits = splits?;
        self.events.write(&Event::Validation { stage: &self.stage.name, update, splits: &splits })?;
        state.progress.validations.push(Validation { update, splits });
        Ok(())
    }

    fn metrics(&self) -> Result<Vec<SplitMetrics>> {
        let mut all = Vec::new();
        let SessionSettings { device, precision, evaluation, .. } = *self.settings;
        for split in self.plugins.dataset(|| self.dataset.evaluation_splits())? {
            if self.plugins.dataset(|| self.dataset.len(&split))? > 0 {
                let evaluate = || evaluate(self.model, self.dataset, &split, device, precision, evaluation);
                let metrics = self.plugins.evaluation(evaluate).map_err(|error| {
                    let during = format!("evaluating stage {} on {}", self.stage.name, split.as_str());
                    memory::explain(error, &during, || memory::in_evaluation(evaluation))
                })?;
                all.push(SplitMetrics { split, metrics });
            }
        }
        Ok(all)
    }

    fn save(&mut self, state: &mut State) -> Result<()> {
        let checkpoint = Checkpoint {
            progress: state.progress.clone(),
            weights: self.weights.copy()?,
            optimizer: state.optimizer.state(),
            strategy: self.plugins.strategy(|| Ok(self.method.state()))?,
            mask: state.mask.clone(),
            snapshots: std::mem::take(&mut state.snapshots),
            events: self.events.stage_lines()?,
        };
        let saved = self.checkpoints.save(&checkpoint, self.writer);
        state.snapshots = checkpoint.snapshots;
        saved
    }
}

/// What became of an update's gradients.
struct Shown {
    /// Of all of them together, before clipping.
    norm: f64,
    /// Copies of those of the prunable tensors before masking and clipping, where the mask is ranked with them; else empty.
    dense: Vec<Tensor>,
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

fn open_schedule(spec: &lopper_core::ScheduleSpec) -> Result<Box<dyn MaskSchedule>> {
    let entry = lopper_core::registry::find::<lopper_core::MaskScheduleEntry>(&spec.name)?;
    lopper_torch::guarded(&schedule_plugin(spec), || (entry.open)(&spec.options))
}

/// A mask schedule, as errors name it.
fn schedule_plugin(spec: &lopper_core::ScheduleSpec) -> String {
    format!("mask schedule plugin `{}`", spec.name)
}

/// Adds what is not zero.
fn add(counts: &mut Counts, what: &str, number: u64) {
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
