//! One stage: its updates, in the order that `ARCHITECTURE.md` gives.

mod gradients;
mod inputs;
mod sink;
mod together;
mod update;

#[cfg(test)]
mod tests;

pub(crate) use gradients::mix;
pub(crate) use inputs::{Goal, StageInputs};
pub(crate) use sink::Sink;

use crate::ahead::{Ahead, fetch_ahead};
use crate::checkpoint::{Checkpoint, Progressed, Resumed};
use crate::evaluate::costs;
use crate::events::{Event, TrainingLines};
use crate::memory;
use crate::stop::Unsaved;
use crate::world::World;
use crate::{Batcher, LearningRate, MicroBatches, OptimizerState};
use lopper_core::{Error, MaskSchedule, MaskSet, MethodState, PrunedWeights, Result, Sparsity, Split};
use std::time::{Duration, Instant};

/// An update that takes so long may keep a run from looking whether it was asked to stop; in shorter ones nobody is asked to
/// look for it.
const LONG: Duration = Duration::from_secs(1);
/// So many updates begin by returning freed memory: the gradients of the first find their places, those of the second differ by
/// what an optimizer and a mask allocate once.
const SETTLING: u8 = 3;

/// What a stage ends with; the weights are in the model, masked.
pub(crate) struct Trained {
    pub(crate) mask: MaskSet,
    /// What its method remembers, where the next stage goes on from that.
    pub(crate) method: Option<MethodState>,
    /// Of its updates, in the process that writes.
    pub(crate) lines: TrainingLines,
    pub(crate) progress: Progressed,
    /// To be dropped once all of it is in the store.
    pub(crate) unsaved: Unsaved,
}

/// Trains the stage, from its start or from where it was resumed, together with the other processes of the world. The
/// result is a function of the inputs; the sink hears of it on the way, where the world says that this process writes.
///
/// # Errors
/// [`Error::Interrupted`] in all processes at the same update, when one of them was asked to stop: the state is then saved;
/// [`Error::Diverged`]; errors of plugins, of the sink and of the world.
pub(crate) fn run_stage<'a>(inputs: StageInputs<'a>, world: &'a dyn World, sink: Sink<'a>) -> Result<Trained> {
    let stage = inputs.stage;
    Run { inputs, world, sink }.train().map_err(|error| {
        memory::explain(error, &format!("training stage {}", stage.name), || memory::in_training(&stage.recipe))
    })
}

/// A stage that is being trained.
struct Run<'a> {
    inputs: StageInputs<'a>,
    world: &'a dyn World,
    sink: Sink<'a>,
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
    /// Updates of this sitting until everything that training allocates has found its place.
    unsettled: u8,
    /// Seconds that earlier sittings took, and when this one began.
    clock: (f64, Instant),
}

impl State {
    fn tell_time(&mut self) {
        let (before, started) = self.clock;
        self.progress.seconds = before + started.elapsed().as_secs_f64();
    }
}

impl<'a> Run<'a> {
    /// The sink, if this process writes.
    fn sink(&mut self) -> Option<&mut Sink<'a>> {
        self.world.writes().then_some(&mut self.sink)
    }

    fn train(&mut self) -> Result<Trained> {
        let started = Instant::now();
        let StageInputs { stage, dataset, stop, seed, .. } = self.inputs;
        let schedule = stage.schedule.as_ref().map(open_schedule).transpose()?;
        let batcher = Batcher::new(
            &self.inputs.plugins.dataset(|| costs(dataset, &Split::TRAIN))?,
            &stage.recipe.batching,
            stage.recipe.bucket_by_length,
            seed,
        )?;
        // A stage that trains nothing needs no rate.
        let horizon = stage.recipe.rate_horizon.unwrap_or(stage.updates.max(1));
        let rates = LearningRate::new(&stage.recipe.rate_schedule, stage.recipe.learning_rate, horizon)?;
        let mut state = self.begin(started)?;
        if state.progress.update < self.inputs.goal.until {
            let micro = MicroBatches::new(batcher.batches_per_epoch(), stage.recipe.accumulate);
            let process = (self.world.rank(), self.world.size());
            let own = move |update| together::share(process, micro.of(update));
            let order = (state.progress.update + 1..).flat_map(own).map(move |number| batcher.batch(number));
            let done = fetch_ahead(dataset, &Split::TRAIN, order, stop, |batches| {
                let done = self.updates(&mut state, (batches, micro), &rates, schedule.as_deref());
                self.saved(&mut state, done)
            });
            self.inputs.weights.set_encoder_trains(true)?;
            done?;
        }
        // Algorithm 1, line 8: what a stage returns is mask ⊙ weights.
        self.inputs.weights.zero_pruned(&state.mask)?;
        self.inputs.weights.check_pruned_are_zero(&state.mask)?;
        state.tell_time();
        // What only training needs goes, so that whoever judges the weights has the memory.
        state.optimizer.zero_grad()?;
        let StageInputs { method, plugins, goal, .. } = &self.inputs;
        let method = goal.hands_on.then(|| plugins.strategy(|| Ok(method.state()))).transpose()?;
        let State { mask, lines, progress, unsaved, .. } = state;
        Ok(Trained { mask, method, lines, progress, unsaved })
    }

    /// The state before the next update.
    fn begin(&mut self, started: Instant) -> Result<State> {
        let inputs = &mut self.inputs;
        let recipe = &inputs.stage.recipe;
        let unsaved = Unsaved::nothing(inputs.stop);
        let mut optimizer = OptimizerState::new(&recipe.optimizer, &inputs.weights.trainable())?
            .decaying_biases_and_norms(recipe.decay_biases_and_norms);
        let (mask, lines, progress) = match inputs.resume.take() {
            Some(resumed) => {
                let kept = resumed.kept_by();
                inputs.weights.read(&resumed.weights, kept, None)?;
                optimizer.read(&resumed.optimizer, kept)?;
                let remembered = resumed.strategy.to_device(inputs.device)?;
                inputs.plugins.strategy(|| inputs.method.load_state(remembered))?;
                let Resumed { mask, lines, progress, .. } = resumed;
                (mask, lines, progress)
            }
            None => {
                let mask = inputs.start_mask.clone();
                if inputs.stage.pruned != PrunedWeights::Hidden {
                    inputs.weights.zero_pruned(&mask)?;
                }
                (mask, std::mem::take(&mut inputs.first_lines), Progressed::start(inputs.key))
            }
        };
        let clock = (progress.seconds, started);
        Ok(State { prunes: mask.pruned() > 0, mask, optimizer, lines, progress, unsaved, unsettled: SETTLING, clock })
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
        let (update, updates, name) = (state.progress.update, self.inputs.stage.updates, &self.inputs.stage.name);
        if self.world.writes() {
            self.sink.stands_at(&state.progress, None);
            if update > 0 && !self.sink.holds(&state.progress) {
                self.sink.save(&self.checkpoint(state)?, state.unsaved.saved())?;
            }
        }
        // Whoever ends first may take the others with it.
        self.world.barrier()?;
        if update == 0 {
            let nothing = format!("stage {name} stands at its beginning; the same command goes on from there");
            return Err(Error::Interrupted(nothing));
        }
        Err(Error::Interrupted(format!(
            "stage {name} stands at update {update} of {updates} and is saved in {}; the same command goes on from there",
            self.sink.out.display()
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
        let stage = self.inputs.stage;
        let until = self.inputs.goal.until;
        let mut saved_at = Instant::now();
        let first = state.progress.update + 1;
        let freeze = stage.recipe.freeze_encoder_updates;
        // Where the head alone is trained, nothing is differentiated through the encoder.
        self.inputs.weights.set_encoder_trains(first > freeze)?;
        // The sitting before may have been interrupted in the evaluation.
        self.keep_if_due(state)?;
        for update in first..=until {
            if update == freeze + 1 {
                self.inputs.weights.set_encoder_trains(true)?;
            }
            let began = Instant::now();
            let target = self.target(schedule, update)?;
            let due = self.sink().is_some_and(|sink| sink.is_due(update, saved_at.elapsed()));
            let (loss, wishes) = self.update(state, (batches, micro.of(update)), rates, (update, target), due)?;
            state.progress.update = update;
            state.unsaved.begin();
            self.keep_if_due(state)?;
            state.tell_time();
            if let Some(sink) = self.sink() {
                sink.stands_at(&state.progress, Some(loss));
            }
            if wishes.stop {
                self.inputs.stop.check("training")?;
            }
            if wishes.save && update < until {
                self.save(state)?;
                saved_at = Instant::now();
            } else if began.elapsed() >= LONG && update < until {
                self.stand_by(state)?;
            }
        }
        Ok(())
    }

    /// Puts the weights after the update that is done into the store, and judges them, where that is wanted.
    fn keep_if_due(&mut self, state: &mut State) -> Result<()> {
        let update = state.progress.update;
        if update == self.inputs.stage.updates {
            return Ok(());
        }
        if self.inputs.goal.snapshots.remove(&update) && self.world.writes() {
            self.sink.keep(update, self.inputs.weights, &state.mask)?;
        }
        if self.inputs.goal.judged.contains(&update) {
            let judged = if self.world.writes() { self.judge(state, update) } else { Ok(()) };
            together::unless_interrupted(self.world, judged)?;
            self.inputs.goal.judged.remove(&update);
        }
        Ok(())
    }

    /// The sparsity that the schedule wants after `update`.
    fn target(&self, schedule: Option<&dyn MaskSchedule>, update: u64) -> Result<Option<Sparsity>> {
        let stage = self.inputs.stage;
        let (Some(schedule), Some(spec)) = (schedule, &stage.schedule) else { return Ok(None) };
        lopper_torch::guarded(&schedule_plugin(spec), || Ok(schedule.target(update, stage.updates)))
    }

    /// Judges mask ⊙ weights; weights that a method keeps outside its mask come back afterwards.
    fn judge(&mut self, state: &State, update: u64) -> Result<()> {
        let kept_outside = match self.inputs.stage.pruned {
            PrunedWeights::Frozen => None,
            PrunedWeights::Trainable | PrunedWeights::Hidden => {
                // What is zeroed may be being written.
                self.settle()?;
                Some(self.inputs.weights.take_pruned(&state.mask)?)
            }
        };
        let judged = self.sink.judge(update);
        if let Some(pruned) = kept_outside {
            self.inputs.weights.put_back(pruned)?;
        }
        judged
    }

    /// Keeps a line of the stage, and tells it.
    fn tell(&mut self, state: &mut State, event: &Event<'_>) -> Result<()> {
        let Some(sink) = self.sink() else { return Ok(()) };
        state.lines.push(event)?;
        sink.tell(event)
    }

    /// Saves the state, on another thread where training can go on meanwhile.
    fn save(&mut self, state: &State) -> Result<()> {
        if !self.world.writes() {
            return Ok(());
        }
        let checkpoint = self.checkpoint(state)?;
        if self.inputs.stage.pruned == PrunedWeights::Hidden {
            // The next update begins with a change of the weights.
            return self.sink.save(&checkpoint, state.unsaved.saved());
        }
        self.sink.save_behind(checkpoint, state.unsaved.saved())
    }

    /// From now until [`settle`](Self::settle) another thread may save the state.
    fn stand_by(&mut self, state: &State) -> Result<()> {
        if self.inputs.stage.pruned == PrunedWeights::Hidden || !self.world.writes() {
            return Ok(());
        }
        let checkpoint = self.checkpoint(state)?;
        self.inputs.stop.stand_by(self.sink.writing(checkpoint, state.unsaved.saved()));
        Ok(())
    }

    /// Waits until no other thread reads weights, moments or what else a checkpoint shares: only then may they change
    /// ([`Sink`]).
    fn settle(&self) -> Result<()> {
        self.inputs.stop.stand_down();
        self.sink.settle()
    }

    /// The state as it stands, sharing its tensors.
    fn checkpoint(&self, state: &State) -> Result<Checkpoint> {
        let StageInputs { stage, weights, method, plugins, start_mask, .. } = &self.inputs;
        Ok(Checkpoint {
            progress: state.progress.clone(),
            weights: weights.shared()?,
            optimizer: state.optimizer.state(),
            strategy: plugins.strategy(|| Ok(method.state()))?,
            mask: state.mask.clone(),
            // Under a hard mask weights and moments are zeroed with every update.
            sparse: stage.pruned == PrunedWeights::Frozen && state.prunes,
            start_mask: (*start_mask).clone(),
            lines: state.lines.clone(),
        })
    }
}

fn open_schedule(spec: &lopper_core::ScheduleSpec) -> Result<Box<dyn MaskSchedule>> {
    let entry = lopper_core::registry::find::<lopper_core::MaskScheduleEntry>(&spec.name)?;
    lopper_torch::guarded(&schedule_plugin(spec), || (entry.open)(&spec.options))
}

/// A mask schedule, as errors name it.
fn schedule_plugin(spec: &lopper_core::ScheduleSpec) -> String {
    format!("mask schedule plugin `{}`", spec.name)
}
