//! One stage: the update loop, in the order that `ARCHITECTURE.md` gives.

use crate::ahead::{Ahead, fetch_ahead};
use crate::checkpoint::{Checkpoint, CheckpointStore, Progressed, Resumed};
use crate::evaluate::{autocast, costs};
use crate::events::{Event, EventLog, TrainingLines};
use crate::judge::Judge;
use crate::memory;
use crate::optimizer::{clip_gradients, clip_known, gradient_norm};
use crate::plugins::Plugins;
use crate::progress::Progress;
use crate::provenance::Provenance;
use crate::status::StatusWriter;
use crate::stop::Unsaved;
use crate::weights::Weights;
use crate::writer::Writer;
use crate::{Batcher, CheckpointEvery, Counts, LearningRate, MicroBatches, OptimizerState, SessionSettings};
use lopper_core::{
    Change, Dataset, Error, Gradients, MaskSchedule, MaskSet, MethodState, Mode, Model, Moments, ParameterName,
    PrunedWeights, Result, Selector, Sparsity, Split, Stage, StageMethod, View,
};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};
use tch::Tensor;

/// What is counted of examples that a batch goes without.
const LEFT_OUT: &str = "examples_left_out";
/// An update that takes so long may keep a run from looking whether it was asked to stop; in shorter ones nobody is asked to
/// look for it.
const LONG: Duration = Duration::from_secs(1);

/// What a stage is trained with.
pub(crate) struct Trainer<'a> {
    pub(crate) model: &'a dyn Model,
    pub(crate) dataset: &'a dyn Dataset,
    /// What the strategy does inside this stage.
    pub(crate) method: &'a mut dyn StageMethod,
    pub(crate) weights: &'a mut Weights,
    pub(crate) settings: &'a SessionSettings,
    /// Where its lines are told as they come; `None` when the run has told them already.
    pub(crate) events: Option<&'a mut EventLog>,
    pub(crate) checkpoints: &'a CheckpointStore,
    pub(crate) status: &'a mut StatusWriter,
    pub(crate) selector: &'a mut Selector,
    pub(crate) plugins: &'a Plugins,
    pub(crate) judge: &'a Judge<'a>,
    pub(crate) made_by: &'a Provenance,
    pub(crate) key: &'a str,
    /// Who trains it, for its checkpoints.
    pub(crate) writer: &'a Writer,
    pub(crate) stage: &'a Stage,
    /// The mask that it starts with.
    pub(crate) start_mask: &'a MaskSet,
    /// What was told of it before its first update.
    pub(crate) first_lines: TrainingLines,
    /// Update at which to end: the stage's last, or an earlier one after which nothing of it is missing.
    pub(crate) until: u64,
    /// Updates on the way after which the weights go into the store.
    pub(crate) snapshots: BTreeSet<u64>,
    /// Updates on the way after which it is judged.
    pub(crate) judged: BTreeSet<u64>,
    /// Whether the next stage goes on from what the method remembers.
    pub(crate) hands_on: bool,
}

/// What a stage ends with; the weights are in the model, masked.
pub(crate) struct Trained {
    pub(crate) mask: MaskSet,
    /// What its method remembers, where the next stage goes on from that.
    pub(crate) method: Option<MethodState>,
    pub(crate) lines: TrainingLines,
    pub(crate) progress: Progressed,
    /// To be dropped once all of it is in the store.
    pub(crate) unsaved: Unsaved,
}

/// The state that changes from update to update.
struct State {
    mask: MaskSet,
    /// Whether the mask prunes anything: in a dense finetuning there is nothing to zero.
    prunes: bool,
    optimizer: OptimizerState,
    lines: TrainingLines,
    progress: Progressed,
    unsaved: Unsaved,
    /// Seconds that earlier sittings took, and when this one began.
    clock: (f64, Instant),
}

impl State {
    fn tell_time(&mut self) {
        let (before, started) = self.clock;
        self.progress.seconds = before + started.elapsed().as_secs_f64();
    }
}

impl Trainer<'_> {
    /// Trains the stage. The model holds the weights it starts from; `resume` takes it up in the middle instead.
    pub(crate) fn train(&mut self, resume: Option<Resumed>) -> Result<Trained> {
        let stage = self.stage;
        self.train_raw(resume).map_err(|error| {
            memory::explain(error, &format!("training stage {}", stage.name), || memory::in_training(&stage.recipe))
        })
    }

    fn train_raw(&mut self, resume: Option<Resumed>) -> Result<Trained> {
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
        let unsaved = Unsaved::nothing(&self.settings.stop);
        let mut optimizer = OptimizerState::new(&stage.recipe.optimizer, &self.weights.trainable())?
            .decaying_biases_and_norms(stage.recipe.decay_biases_and_norms);
        let mut state = match resume {
            Some(checkpoint) => {
                let kept = checkpoint.kept_by();
                self.weights.read_kept(&checkpoint.weights, kept, None)?;
                optimizer.read(&checkpoint.optimizer, kept)?;
                let remembered = checkpoint.strategy.to_device(self.settings.device)?;
                self.plugins.strategy(|| self.method.load_state(remembered))?;
                let Resumed { mask, lines, progress, .. } = checkpoint;
                let clock = (progress.seconds, started);
                State { prunes: mask.pruned() > 0, mask, optimizer, lines, progress, unsaved, clock }
            }
            None => {
                let mask = self.start_mask.clone();
                if stage.pruned != PrunedWeights::Hidden {
                    self.weights.zero_pruned(&mask)?;
                }
                let progress = Progressed::start(self.key);
                let (lines, clock) = (std::mem::take(&mut self.first_lines), (0.0, started));
                State { prunes: mask.pruned() > 0, mask, optimizer, lines, progress, unsaved, clock }
            }
        };
        if state.progress.update < self.until {
            let micro = MicroBatches::new(batcher.batches_per_epoch(), stage.recipe.accumulate);
            let order = (micro.of(state.progress.update + 1).start..).map(move |number| batcher.batch(number));
            let (dataset, stop) = (self.dataset, self.settings.stop.clone());
            let done = fetch_ahead(dataset, &Split::TRAIN, order, &stop, |batches| {
                let done = self.updates(&mut state, (batches, micro), &rates, schedule.as_deref());
                self.saved(&mut state, done)
            });
            self.weights.set_encoder_trains(true)?;
            done?;
        }
        // Algorithm 1, line 8: what a stage returns is mask ⊙ weights.
        self.weights.zero_pruned(&state.mask)?;
        self.weights.check_pruned_are_zero(&state.mask)?;
        state.tell_time();
        // What only training needs goes, so that whoever judges the weights has the memory.
        state.optimizer.zero_grad()?;
        let method = self.hands_on.then(|| self.plugins.strategy(|| Ok(self.method.state()))).transpose()?;
        let State { mask, lines, progress, unsaved, .. } = state;
        Ok(Trained { mask, method, lines, progress, unsaved })
    }

    /// What became of `done`, once everything that it left behind is on disk: a checkpoint that is being written, and after
    /// an interruption the state that it interrupted.
    fn saved(&mut self, state: &mut State, done: Result<()>) -> Result<()> {
        let settled = self.settle();
        if !matches!(done, Err(Error::Interrupted(_))) {
            return done.and(settled);
        }
        settled?;
        state.tell_time();
        let stage = self.stage;
        let Progressed { update, .. } = state.progress;
        self.status.update(update, state.progress.seconds);
        let (name, updates, out) = (&stage.name, stage.updates, self.settings.out.display());
        if update == 0 {
            let nothing = format!("stage {name} stands at its beginning; the same command goes on from there");
            return Err(Error::Interrupted(nothing));
        }
        if !self.checkpoints.holds(&state.progress) {
            let checkpoint = self.checkpoint(state)?;
            self.checkpoints.save(&checkpoint, self.writer, state.unsaved.saved())?;
        }
        Err(Error::Interrupted(format!(
            "stage {name} stands at update {update} of {updates} and is saved in {out}; the same command goes on from there"
        )))
    }

    /// All updates that are left.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when a stop is requested; the state is then that after a whole number of updates.
    fn updates(
        &mut self,
        state: &mut State,
        (batches, micro): (&mut Ahead, MicroBatches),
        rates: &LearningRate,
        schedule: Option<&dyn MaskSchedule>,
    ) -> Result<()> {
        let stage = self.stage;
        let mut saved_at = Instant::now();
        let bar = Progress::new(&stage.name, self.until, state.progress.update);
        let first = state.progress.update + 1;
        let freeze = stage.recipe.freeze_encoder_updates;
        // Where the head alone is trained, nothing is differentiated through the encoder.
        self.weights.set_encoder_trains(first > freeze)?;
        // The sitting before may have been interrupted in the evaluation.
        self.keep_if_due(state)?;
        for update in first..=self.until {
            if update == freeze + 1 {
                self.weights.set_encoder_trains(true)?;
            }
            let began = Instant::now();
            let target = self.target(schedule, update)?;
            let loss = self.update(state, (batches, micro.of(update)), rates, update, target)?;
            bar.update(update, loss);
            state.progress.update = update;
            state.unsaved.begin();
            self.keep_if_due(state)?;
            state.tell_time();
            self.status.update(update, state.progress.seconds);
            self.settings.stop.check("training")?;
            let due = match self.settings.checkpoint {
                CheckpointEvery::OnInterrupt => false,
                CheckpointEvery::Updates(every) => update.is_multiple_of(every),
                CheckpointEvery::Time(interval) => saved_at.elapsed() >= interval,
            };
            if due && update < self.until {
                self.save(state)?;
                saved_at = Instant::now();
            } else if began.elapsed() >= LONG && update < self.until && stage.pruned != PrunedWeights::Hidden {
                let checkpoint = self.checkpoint(state)?;
                let save = self.checkpoints.writing(checkpoint, self.writer, state.unsaved.saved());
                self.settings.stop.stand_by(save);
            }
        }
        Ok(())
    }

    /// Puts the weights after the update that is done into the store, and judges them, where that is wanted.
    fn keep_if_due(&mut self, state: &mut State) -> Result<()> {
        let update = state.progress.update;
        if update == self.stage.updates {
            return Ok(());
        }
        if self.snapshots.remove(&update) {
            self.judge.store.add_weights(self.key, update, self.weights, &state.mask, self.made_by)?;
        }
        if self.judged.contains(&update) {
            self.validate(state, update)?;
            self.judged.remove(&update);
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
        batches: (&mut Ahead, Range<u64>),
        rates: &LearningRate,
        update: u64,
        target: Option<Sparsity>,
    ) -> Result<f64> {
        let stage = self.stage;
        let recipe = &stage.recipe;
        let dense = match stage.pruned {
            PrunedWeights::Hidden => Some(self.weights.take_pruned(&state.mask)?),
            PrunedWeights::Frozen | PrunedWeights::Trainable => None,
        };
        state.optimizer.zero_grad()?;
        let mut counts = Counts::new();
        let loss = self.forward_backward(batches, recipe.accumulate, &mut counts);
        // Before any error leaves: a hidden mask must not stay in the weights.
        if let Some(dense) = dense {
            self.weights.put_back(dense)?;
        }
        let loss = loss?;

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
    fn measure(&mut self, state: &mut State, update: u64, mask_due: bool) -> Result<()> {
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
        self.tell(state, &Event::Measures { stage: None, update, measures })
    }

    /// Gradients of the mean loss over all micro-batches of an update. Returns that mean, and adds what the micro-batches
    /// left out to `counts`. Once it has returned, no thread reads weights or moments any more.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when a stop is requested between two micro-batches: nothing has changed then.
    fn forward_backward(
        &mut self,
        (batches, numbers): (&mut Ahead, Range<u64>),
        accumulate: u64,
        counts: &mut Counts,
    ) -> Result<f64> {
        let before = self.plugins.model(|| Ok(self.model.counts()))?;
        let mut sum = 0.0;
        let mut count = 0.0;
        let first = numbers.start;
        for number in numbers {
            if number > first {
                self.settings.stop.check("between micro-batches")?;
            }
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
        self.settle()?;
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

    /// Judges mask ⊙ weights; weights that a method keeps outside its mask come back afterwards.
    fn validate(&mut self, state: &mut State, update: u64) -> Result<()> {
        let kept_outside = match self.stage.pruned {
            PrunedWeights::Frozen => None,
            PrunedWeights::Trainable | PrunedWeights::Hidden => {
                // What is zeroed may be being written.
                self.settle()?;
                Some(self.weights.take_pruned(&state.mask)?)
            }
        };
        let splits = self.judge.judge(&self.stage.name, self.key, update);
        if let Some(pruned) = kept_outside {
            self.weights.put_back(pruned)?;
        }
        let splits = splits?;
        match &mut self.events {
            Some(events) => {
                let stage = self.stage.name.as_str();
                events.write(stage, &Event::Validation { stage: stage.into(), update, splits: splits.into() })
            }
            None => Ok(()),
        }
    }

    /// Keeps a line of the stage, and tells it.
    fn tell(&mut self, state: &mut State, event: &Event<'_>) -> Result<()> {
        state.lines.push(event)?;
        match &mut self.events {
            Some(events) => events.write(&self.stage.name, event),
            None => Ok(()),
        }
    }

    /// Saves the state, on another thread where training can go on meanwhile.
    fn save(&mut self, state: &State) -> Result<()> {
        let checkpoint = self.checkpoint(state)?;
        if self.stage.pruned == PrunedWeights::Hidden {
            // The next update begins with a change of the weights.
            return self.checkpoints.save(&checkpoint, self.writer, state.unsaved.saved());
        }
        self.checkpoints.save_behind(checkpoint, self.writer, state.unsaved.saved())
    }

    /// Waits until no other thread reads weights, moments or what else a checkpoint shares.
    fn settle(&self) -> Result<()> {
        self.settings.stop.stand_down();
        self.checkpoints.settle()
    }

    /// The state as it stands, sharing its tensors.
    fn checkpoint(&mut self, state: &State) -> Result<Checkpoint> {
        Ok(Checkpoint {
            progress: state.progress.clone(),
            weights: self.weights.shared()?,
            optimizer: state.optimizer.state(),
            strategy: self.plugins.strategy(|| Ok(self.method.state()))?,
            mask: state.mask.clone(),
            // Under a hard mask weights and moments are zeroed with every update.
            sparse: self.stage.pruned == PrunedWeights::Frozen && state.prunes,
            start_mask: self.start_mask.clone(),
            lines: state.lines.clone(),
        })
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
