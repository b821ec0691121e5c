//! What comes in a run's way, and what becomes of it: numbers that are none, panics, memory that is short, another run's
//! progress.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::{UPDATES, directory};
use lopper_core::*;
use lopper_session::{
    CheckpointEvery, EvaluationBatches, LEASE, Precision, RunRecord, RunState, RunStatus, Session, SessionSettings,
    StageStore, Stop,
};
use lopper_testkit::{ToyDataset, ToyModel, serial};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tch::{Device, Kind, Tensor};

/// More than any machine can address.
const ABSURD: [i64; 1] = [1 << 50];

/// What happens at a forward pass of training.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    /// The loss is NaN, and so is every gradient.
    Nan,
    /// The loss is finite, and gradients are not.
    SteepGradient,
    Panic,
    /// More memory is asked for than there is.
    Memory,
    /// The process dies.
    Fail,
    /// The run is asked to stop.
    Stop,
}

/// Where a plugin panics beside the forward passes of training.
#[derive(Clone, Copy, PartialEq, Default)]
enum Panics {
    #[default]
    Nowhere,
    /// The mask schedule.
    Schedule,
    /// A batch of that split.
    TrainingBatch,
    ValidationBatch,
    Predict,
    AfterBackward,
    NextMask,
    Evaluate,
}

/// The toy model, in trouble at passes that are counted from 1.
struct Troubled {
    inner: ToyModel,
    passes: Arc<AtomicU64>,
    troubles: Vec<(u64, Trouble)>,
    panics: Panics,
    memory_in_evaluation: bool,
    stop: Arc<AtomicBool>,
}

impl Model for Troubled {
    fn parameters(&self) -> &Parameters {
        self.inner.parameters()
    }

    fn prunable(&self) -> &[ParameterName] {
        self.inner.prunable()
    }

    fn loss(&self, batch: &Batch, mode: Mode) -> Result<Loss> {
        let pass = self.passes.fetch_add(1, Ordering::Relaxed) + 1;
        let mut loss = self.inner.loss(batch, mode)?;
        for (_, trouble) in self.troubles.iter().filter(|(at, _)| *at == pass) {
            match trouble {
                Trouble::Nan => loss.sum = &loss.sum * f64::NAN,
                // The derivative of the root at 0 is infinite.
                Trouble::SteepGradient => {
                    let parameters = self.inner.parameters().trainable();
                    let zero: Tensor = parameters.map(|p| (&p.tensor * 0.0).sum(Kind::Float)).sum();
                    loss.sum = &loss.sum + zero.sqrt();
                }
                Trouble::Panic => {
                    // As a plugin may leave it that panics within `tch::no_grad`.
                    tch::no_grad(|| panic!("a weight went missing"));
                }
                Trouble::Memory => drop(Tensor::f_zeros(ABSURD, (Kind::Float, Device::Cpu))?),
                Trouble::Fail => return Err(Error::Other("the lights go out".into())),
                Trouble::Stop => self.stop.store(true, Ordering::Relaxed),
            }
        }
        Ok(loss)
    }

    fn predict(&self, batch: &Batch) -> Result<Predictions> {
        assert!(self.panics != Panics::Predict, "a prediction went wrong");
        if self.memory_in_evaluation {
            drop(Tensor::f_zeros(ABSURD, (Kind::Float, Device::Cpu))?);
        }
        self.inner.predict(batch)
    }

    fn identity(&self) -> String {
        self.inner.identity()
    }

    fn artifacts(&self) -> Result<Vec<Artifact>> {
        self.inner.artifacts()
    }
}

/// A mask schedule that breaks.
struct Broken;

impl MaskSchedule for Broken {
    fn target(&self, _: u64, _: u64) -> Option<Sparsity> {
        panic!("a target went wrong")
    }
}

inventory::submit! {
    MaskScheduleEntry::new("broken", "panics when it is asked", &[], "tests", |_| Ok(Box::new(Broken)))
}

/// Prunes what has had small gradients; its sum is spoilt for ever by a single NaN.
struct Sum {
    pruned: PrunedWeights,
    panics: Panics,
}

impl PruningStrategy for Sum {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let schedule = match self.panics {
            Panics::Schedule => ScheduleSpec::new("broken", Default::default()),
            _ => ScheduleSpec::linear(3, Sparsity::DENSE, run.sparsity),
        };
        let stage = Stage::dense(run).named("sums").schedule(schedule).pruned(self.pruned).snapshots([9]);
        Ok(vec![stage.own_scores().gradients(Gradients::EveryUpdate)])
    }

    fn method(&self, _: &Stage, _: &Arc<Layout>) -> Result<Box<dyn StageMethod>> {
        Ok(Box::new(Sums { sums: BTreeMap::new(), panics: self.panics }))
    }
}

struct Sums {
    sums: BTreeMap<String, Tensor>,
    panics: Panics,
}

impl StageMethod for Sums {
    fn after_backward(&mut self, view: &View<'_>) -> Result<()> {
        assert!(self.panics != Panics::AfterBackward, "a gradient went wrong");
        for (index, weight) in view.weights().iter().enumerate() {
            let now = view.gradient(index)?.unwrap().abs();
            let sum = self.sums.get(weight.name.as_str()).map_or(now.copy(), |before| before + &now);
            self.sums.insert(weight.name.to_string(), sum);
        }
        Ok(())
    }

    fn score(&mut self, view: &View<'_>) -> Result<Scores> {
        assert!(self.panics != Panics::NextMask, "a score went wrong");
        view.scores(|_, weight| Ok(self.sums[weight.name.as_str()].shallow_clone()))
    }

    fn state(&self) -> MethodState {
        MethodState::of(&self.sums)
    }

    fn load_state(&mut self, state: MethodState) -> Result<()> {
        self.sums = state.tensors;
        Ok(())
    }
}

/// The toy's data, whose batches and metrics may panic, and whose batches may lack their last example.
struct Data {
    inner: ToyDataset,
    panics: Panics,
    forgets: bool,
}

impl Dataset for Data {
    fn len(&self, split: &Split) -> usize {
        self.inner.len(split)
    }

    fn cost(&self, split: &Split, index: usize) -> u32 {
        self.inner.cost(split, index)
    }

    fn batch(&self, split: &Split, indices: &[usize]) -> Result<Batch> {
        let broken = if *split == Split::TRAIN { Panics::TrainingBatch } else { Panics::ValidationBatch };
        assert!(self.panics != broken, "an example went wrong");
        self.inner.batch(split, &indices[..indices.len() - usize::from(self.forgets)])
    }

    fn task(&self) -> &Task {
        self.inner.task()
    }

    fn evaluate(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Evaluation> {
        assert!(self.panics != Panics::Evaluate, "a metric went wrong");
        self.inner.evaluate(split, outputs)
    }

    fn identity(&self, split: &Split) -> String {
        self.inner.identity(split)
    }
}

/// A run in a directory of its own.
#[derive(Clone)]
struct Run {
    directory: PathBuf,
    pruned: PrunedWeights,
    troubles: Vec<(u64, Trouble)>,
    panics: Panics,
    memory_in_evaluation: bool,
    checkpoint: CheckpointEvery,
    max_skipped: u64,
    model_origin: &'static str,
    spec: RunSpec,
    passes: Arc<AtomicU64>,
}

impl Run {
    fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            pruned: PrunedWeights::Hidden,
            troubles: Vec::new(),
            panics: Panics::Nowhere,
            memory_in_evaluation: false,
            checkpoint: CheckpointEvery::OnInterrupt,
            max_skipped: 3,
            model_origin: "testkit 1",
            spec: common::spec(0.6),
            passes: Arc::default(),
        }
    }

    fn with(&self, troubles: impl IntoIterator<Item = (u64, Trouble)>) -> Self {
        Self { troubles: troubles.into_iter().collect(), passes: Arc::default(), ..self.clone() }
    }

    fn out(&self) -> PathBuf {
        self.directory.join("out")
    }

    fn run(&self) -> Result<RunRecord> {
        let stop = Arc::new(AtomicBool::new(false));
        let model = Troubled {
            inner: common::model(0.1),
            passes: self.passes.clone(),
            troubles: self.troubles.clone(),
            panics: self.panics,
            memory_in_evaluation: self.memory_in_evaluation,
            stop: stop.clone(),
        };
        let data = Data { inner: common::data(), panics: self.panics, forgets: false };
        let strategy = Sum { pruned: self.pruned, panics: self.panics };
        let mut participants = common::participants(model, data, (Box::new(strategy), "sum", "tests"));
        participants.identity.model = "troubled".into();
        participants.identity.model_origin = self.model_origin.into();
        let settings = SessionSettings {
            evaluate_every: 5,
            checkpoint: self.checkpoint,
            checkpoints_kept: 2,
            save_model: true,
            save_dtype: lopper_weights::SaveDtype::Float32,
            max_skipped: self.max_skipped,
            ..common::settings(&self.spec, &self.out(), &self.directory.join("store"), stop)
        };
        Session::new(participants, self.spec.clone(), settings).and_then(|mut session| session.run())
    }

    fn error(&self) -> String {
        self.run().map(|_| ()).unwrap_err().to_string()
    }

    /// Forward passes of training so far, over all sittings since [`with`](Self::with).
    fn passes(&self) -> u64 {
        self.passes.load(Ordering::Relaxed)
    }

    /// The files of the checkpoint after `update`.
    fn checkpoint(&self, update: u64) -> BTreeMap<String, Vec<u8>> {
        let at = self.checkpoints().into_iter().find(|at| at.to_str().unwrap().ends_with(&format!("-{update:012}")));
        let files = std::fs::read_dir(at.unwrap()).unwrap().map(|entry| entry.unwrap());
        files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
    }

    /// The directories of all checkpoints.
    fn checkpoints(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.out().join("checkpoints")).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
        found.sort();
        found
    }

    /// What a finished run leaves: model, mask, metrics and predictions.
    fn outcome(&self) -> [Vec<u8>; 4] {
        ["model/model.safetensors", "model/mask.safetensors", "metrics.jsonl", "predictions-validation.csv"]
            .map(|file| std::fs::read(self.out().join(file)).unwrap())
    }

    fn metrics(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.out().join("metrics.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn gradients_are_recorded() -> bool {
    Tensor::from_slice(&[1f32]).set_requires_grad(true).exp().requires_grad()
}

#[test]
fn a_skipped_update_leaves_everything_as_it_was() {
    let _serial = serial();
    // No update after which the mask is due.
    const SKIPPED: u64 = 5;
    for pruned in [PrunedWeights::Hidden, PrunedWeights::Frozen, PrunedWeights::Trainable] {
        for trouble in [Trouble::Nan, Trouble::SteepGradient] {
            let directory = directory();
            let run = Run { pruned, checkpoint: CheckpointEvery::Updates(1), ..Run::new(directory.path()) };
            let first = run.with([(SKIPPED, trouble), (SKIPPED, Trouble::Stop)]);
            assert!(matches!(first.run(), Err(Error::Interrupted(_))));
            let (before, after) = (first.checkpoint(SKIPPED - 1), first.checkpoint(SKIPPED));
            for file in ["weights.safetensors", "optimizer.safetensors", "strategy.safetensors", "mask.safetensors"] {
                assert!(before[file] == after[file], "{pruned:?}: {file} changes");
            }
            let record = run.with([]).run().unwrap();
            assert!(record.value().is_finite());
            let stage =
                StageStore::open(directory.path().join("store"), LEASE).unwrap().find(&record.stages[0].key).unwrap();
            assert_eq!(stage.record().skipped_updates, 1);
            let skipped = |line: &&serde_json::Value| line["skipped"] == true;
            let skipped: Vec<_> = run.metrics().iter().filter(skipped).map(|line| line["update"].clone()).collect();
            assert_eq!(skipped, [SKIPPED]);
        }
    }
}

#[test]
fn after_k_skipped_updates_in_a_row_the_run_stops_and_its_last_good_state_stays() {
    let _serial = serial();
    let directory = directory();
    let run = Run { checkpoint: CheckpointEvery::Updates(1), max_skipped: 2, ..Run::new(directory.path()) };
    // One alone is forgotten with the next good one.
    let error = run.with([3, 5, 6, 7].map(|pass| (pass, Trouble::Nan))).run().unwrap_err();
    assert!(matches!(error, Error::Diverged(_)), "{error}");
    let error = error.to_string();
    assert!(error.contains("at update 7; 3 updates in a row"), "{error}");
    assert!(run.checkpoint(6)["weights.safetensors"] == run.checkpoint(5)["weights.safetensors"]);
    let kept = lopper_weights::load_tensors(&run.checkpoints()[1].join("weights.safetensors")).unwrap();
    assert!(kept.values().all(|tensor| bool::try_from(tensor.isfinite().all()).unwrap()));

    // The same trouble again stops at once: two skipped updates in a row are in the checkpoint.
    let again = run.with([(1, Trouble::Nan)]);
    assert!(again.error().contains("at update 7; 3 updates in a row"));
    assert_eq!(again.passes(), 1);
    // With the trouble gone, the run ends as one that had it at the same updates and never stopped.
    run.with([]).run().unwrap();
    let elsewhere = self::directory();
    let whole = Run::new(elsewhere.path()).with([3, 5, 6].map(|pass| (pass, Trouble::Nan)));
    whole.run().unwrap();
    assert!(run.outcome() == whole.outcome());
}

#[test]
fn a_panic_of_a_plugin_is_an_error_that_names_it() {
    let _serial = serial();
    let whole_directory = directory();
    let whole = Run::new(whole_directory.path());
    whole.run().unwrap();
    let directory = directory();
    let run = Run { checkpoint: CheckpointEvery::Updates(1), ..Run::new(directory.path()) };
    let panics = |panics| Run { panics, ..run.with([]) };
    let both = "in an evaluation, model plugin `troubled` or dataset plugin of testkit 1 panicked: ";
    for (broken, message) in [
        // First, because its stage is another one than the others': it leaves no checkpoint in their way.
        (panics(Panics::Schedule), "mask schedule plugin `broken` panicked: a target went wrong".to_owned()),
        (panics(Panics::TrainingBatch), "dataset plugin of testkit 1 panicked: an example went wrong".to_owned()),
        (panics(Panics::ValidationBatch), format!("{both}an example went wrong")),
        (run.with([(2, Trouble::Panic)]), "model plugin `troubled` panicked: a weight went missing".to_owned()),
        (panics(Panics::NextMask), "strategy plugin `sum` panicked: a score went wrong".to_owned()),
        (panics(Panics::AfterBackward), "strategy plugin `sum` panicked: a gradient went wrong".to_owned()),
        (panics(Panics::Predict), format!("{both}a prediction went wrong")),
        (panics(Panics::Evaluate), format!("{both}a metric went wrong")),
    ] {
        assert_eq!(broken.error(), message);
        assert!(gradients_are_recorded(), "{message}: the grad mode stays changed");
        let status = RunStatus::read(&run.out()).unwrap();
        assert_eq!((status.state, status.error), (RunState::Failed, Some(message)));
    }
    run.run().unwrap();
    assert!(run.outcome() == whole.outcome(), "a panic changes what comes after it");
}

#[test]
fn what_lacks_an_example_is_not_judged() {
    let (model, split) = (common::model(0.0), Split::VALIDATION);
    let evaluated = |rows, forgets| {
        let data = Data { inner: common::data(), panics: Panics::Nowhere, forgets };
        let batches = EvaluationBatches { rows, budget: None };
        let stop = Stop::default();
        lopper_session::evaluate(&model, &data, &split, Device::Cpu, Precision::Float32, batches, &stop)
    };
    let error = evaluated(8, true).unwrap_err().to_string();
    assert_eq!(error, "a batch holds 7 of 8 examples of the validation split of toy; metrics need all of them");
    assert_eq!(evaluated(8, false).unwrap(), evaluated(64, false).unwrap());
}

#[test]
fn memory_that_is_short_is_an_error_with_sizes_and_advice() {
    let _serial = serial();
    let directory = directory();
    let run = Run::new(directory.path());
    let error = run.with([(1, Trouble::Memory)]).error();
    let bytes = (4u64 << 50).to_string();
    for part in
        ["out of memory while training stage sums: ", &bytes, "lower train.batch_size (", "train.accumulate (1)"]
    {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    let error = Run { memory_in_evaluation: true, ..run.with([]) }.error();
    for part in ["out of memory while evaluating stage sums on validation: ", &bytes, "lower evaluate.batch_size (64)"]
    {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    assert!(run.run().unwrap().value().is_finite());
}

#[test]
fn a_checkpoint_can_follow_a_time() {
    let _serial = serial();
    let whole_directory = directory();
    let whole = Run::new(whole_directory.path());
    whole.run().unwrap();
    for (interval, lost) in [(Duration::ZERO, 1), (Duration::from_secs(1 << 40), 10)] {
        let directory = directory();
        let run = Run { checkpoint: CheckpointEvery::Time(interval), ..Run::new(directory.path()) };
        assert!(run.with([(10, Trouble::Fail)]).error().contains("the lights go out"));
        let rest = run.with([]);
        rest.run().unwrap();
        // Every update is saved, or none: the tenth failed.
        assert_eq!(rest.passes(), UPDATES - 10 + lost);
        assert!(run.outcome() == whole.outcome());
    }
}

#[test]
fn progress_of_another_run_is_not_thrown_away() {
    let _serial = serial();
    let (whole_directory, directory) = (directory(), directory());
    let whole = Run::new(whole_directory.path());
    whole.run().unwrap();
    let run = Run::new(directory.path());
    assert!(matches!(run.with([(8, Trouble::Stop)]).run(), Err(Error::Interrupted(_))));
    let untouched = || (run.checkpoint(8), RunStatus::read(&run.out()).unwrap(), run.metrics());
    let before = untouched();

    let mut other = run.with([]);
    other.spec.sparsity = Sparsity::new(0.5).unwrap();
    let upgraded = Run { model_origin: "testkit 2", ..run.with([]) };
    for (refused, why) in [
        (&other, "of another configuration"),
        (&upgraded, "of this configuration, but model plugin was testkit 1 and is testkit 2"),
    ] {
        let error = refused.error();
        let lopper = format!("written by Lopper {}", env!("CARGO_PKG_VERSION"));
        let out = run.out().display().to_string();
        for part in
            [&out, "8 of 14 updates of stage `sums`", &lopper, why, "another --out", &format!("{out}/checkpoints")]
        {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert_eq!(refused.passes(), 0);
        assert!(untouched() == before, "a refused run changes something");
    }
    run.with([]).run().unwrap();
    assert!(run.outcome() == whole.outcome());

    // A finished run is in the store: another one may take its place.
    let record = other.run().unwrap();
    assert_eq!(record.pruned, other.spec.sparsity.pruned_of(record.entries));
    // And whoever means it starts over.
    assert!(matches!(upgraded.with([(3, Trouble::Stop)]).run(), Err(Error::Interrupted(_))));
    assert!(
        run.error().contains("3 of 14 updates"),
        "what is in the store does not make the other's progress worthless"
    );
    std::fs::remove_dir_all(run.out().join("checkpoints")).unwrap();
    other.run().unwrap();
}
