//! What a run promises, watched from inside: a model that remembers its weights at every forward pass.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::{UPDATES, directory, model as toy};
use lopper_core::*;
use lopper_session::{CheckpointEvery, LEASE, RunRecord, Session, SessionSettings, StageStore};
use lopper_strategies as _;
use lopper_testkit::{ToyModel, run_spec, serial};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tch::Tensor;

type Values = BTreeMap<String, Vec<f32>>;

/// The weights at one forward pass.
struct Moment {
    training: bool,
    weights: Values,
}

type Diary = Arc<Mutex<Vec<Moment>>>;

/// What happens at a forward pass of training.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// The run is asked to stop at this pass.
    Stop(usize),
    /// The model fails at this pass, as if the process had died.
    Fail(usize),
    Never,
}

/// The toy model, remembering.
struct Spy {
    inner: ToyModel,
    diary: Diary,
    at: At,
    stop: Arc<AtomicBool>,
}

impl Spy {
    fn note(&self, training: bool) -> usize {
        let mut diary = self.diary.lock().unwrap();
        diary.push(Moment { training, weights: values(&self.inner) });
        diary.iter().filter(|moment| moment.training).count()
    }
}

fn values(model: &dyn Model) -> Values {
    let flat = |tensor: &Tensor| Vec::<f32>::try_from(tensor.detach().flatten(0, -1)).unwrap();
    model.parameters().iter().map(|p| (p.name.to_string(), flat(&p.tensor))).collect()
}

impl Model for Spy {
    fn parameters(&self) -> &Parameters {
        self.inner.parameters()
    }

    fn prunable(&self) -> &[ParameterName] {
        self.inner.prunable()
    }

    fn loss(&self, batch: &Batch, mode: Mode) -> Result<Loss> {
        let passes = self.note(true);
        if self.at == At::Stop(passes) {
            self.stop.store(true, Ordering::Relaxed);
        }
        if self.at == At::Fail(passes) {
            return Err(Error::Other("the lights go out".into()));
        }
        self.inner.loss(batch, mode)
    }

    fn predict(&self, batch: &Batch) -> Result<Predictions> {
        self.note(false);
        self.inner.predict(batch)
    }

    fn random_prunable(&self, seed: u64) -> Result<Vec<Tensor>> {
        self.inner.random_prunable(seed)
    }

    fn identity(&self) -> String {
        self.inner.identity()
    }

    fn artifacts(&self) -> Result<Vec<Artifact>> {
        self.inner.artifacts()
    }
}

/// Keeps what has had large gradients; pruned weights are hidden. Its history matters, and is nobody's but its own.
struct Sensitive;

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

#[derive(Default)]
struct Sensitivities(BTreeMap<String, Tensor>);

impl StageMethod for Sensitivities {
    fn after_backward(&mut self, view: &View<'_>) -> Result<()> {
        for (index, weight) in view.weights().iter().enumerate() {
            let now = view.gradient(index)?.unwrap().abs();
            let sum = self.0.get(weight.name.as_str()).map_or(now.copy(), |before| before * 0.9 + &now);
            self.0.insert(weight.name.to_string(), sum);
        }
        Ok(())
    }

    fn score(&mut self, view: &View<'_>) -> Result<Scores> {
        view.scores(|_, weight| Ok(self.0[weight.name.as_str()].shallow_clone()))
    }

    fn state(&self) -> MethodState {
        MethodState::of(&self.0)
    }

    fn load_state(&mut self, state: MethodState) -> Result<()> {
        self.0 = state.tensors;
        Ok(())
    }
}

/// A finetuning of which no tensor is ever touched by a mask.
struct Free;

impl PruningStrategy for Free {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        Ok(vec![Stage::dense(run).pruned(PrunedWeights::Trainable)])
    }
}

#[test]
fn the_strategy_of_these_tests_obeys() {
    lopper_testkit::laws::strategy(|| Box::new(Sensitive));
}

/// What a run is made of; the defaults are a short one.
#[derive(Clone)]
struct Run {
    method: &'static str,
    options: &'static str,
    spec: RunSpec,
    evaluate_every: u64,
    checkpoint: CheckpointEvery,
    dropout: f64,
    at: At,
}

fn of(method: &'static str, options: &'static str, sparsity: f64) -> Run {
    Run {
        method,
        options,
        spec: common::spec(sparsity),
        evaluate_every: 0,
        checkpoint: CheckpointEvery::OnInterrupt,
        dropout: 0.1,
        at: At::Never,
    }
}

impl Run {
    fn strategy(&self) -> (Box<dyn PruningStrategy>, &'static str) {
        if self.method == "sensitive" {
            return (Box::new(Sensitive), "tests");
        }
        if self.method == "free" {
            return (Box::new(Free), "tests");
        }
        let entry = registry::find::<StrategyEntry>(self.method).unwrap();
        ((entry.open)(&self.options.parse().unwrap()).unwrap(), entry.origin)
    }

    /// The session, writing into `out` and sharing `store`, and what its model will see.
    fn open(&self, out: &Path, store: &Path) -> (Session, Diary) {
        let diary = Diary::default();
        let stop = Arc::new(AtomicBool::new(false));
        let spy = Spy { inner: toy(self.dropout), diary: diary.clone(), at: self.at, stop: stop.clone() };
        let (strategy, origin) = self.strategy();
        let mut participants = common::participants(spy, common::data(), (strategy, self.method, origin));
        participants.identity.strategy_options = self.options.parse().unwrap();
        let settings = SessionSettings {
            evaluate_every: self.evaluate_every,
            checkpoint: self.checkpoint,
            checkpoints_kept: 1,
            save_model: true,
            save_dtype: lopper_weights::SaveDtype::Float32,
            ..common::settings(&self.spec, out, store, stop)
        };
        (Session::new(participants, self.spec.clone(), settings).unwrap(), diary)
    }

    /// Runs to the end in `directory`.
    fn finish(&self, directory: &Path) -> Finished {
        let (mut session, diary) = self.open(&directory.join("out"), &directory.join("store"));
        let record = session.run().unwrap();
        drop(session);
        Finished::new(record, diary, directory, self.spec.recipe.accumulate)
    }
}

/// A finished run.
struct Finished {
    record: RunRecord,
    /// Of each stage, as it ended.
    masks: Vec<MaskSet>,
    /// Of each stage that was trained, pass by pass.
    stages: Vec<Vec<Moment>>,
    /// Of the saved model.
    weights: Values,
    metrics: String,
    predictions: String,
}

impl Finished {
    fn new(record: RunRecord, diary: Diary, directory: &Path, accumulate: u64) -> Self {
        let store = StageStore::open(directory.join("store"), LEASE).unwrap();
        let mask = |key: &str| store.find(key).unwrap().mask().unwrap();
        let masks = record.stages.iter().map(|stage| mask(&stage.key)).collect();
        let mut moments = Arc::into_inner(diary).unwrap().into_inner().unwrap().into_iter().peekable();
        let mut stages = Vec::new();
        for planned in record.stages.iter().filter(|stage| stage.trained) {
            let (mut stage, mut passes) = (Vec::new(), 0);
            // A stage ends with the evaluations after its last update.
            while let Some(moment) = moments.next_if(|moment| !moment.training || passes < planned.updates * accumulate)
            {
                passes += u64::from(moment.training);
                stage.push(moment);
            }
            stages.push(stage);
        }
        assert!(moments.next().is_none(), "more forward passes than updates");
        let saved =
            lopper_weights::load_tensors(&record.model_dir.as_ref().unwrap().join("model.safetensors")).unwrap();
        let flat = |tensor: &Tensor| Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap();
        Self {
            weights: saved.iter().map(|(name, tensor)| (name.clone(), flat(tensor))).collect(),
            metrics: std::fs::read_to_string(directory.join("out/metrics.jsonl")).unwrap(),
            predictions: std::fs::read_to_string(directory.join("out/predictions-validation.csv")).unwrap(),
            record,
            masks,
            stages,
        }
    }
}

/// Weights outside the mask that are not +0.
fn outside(mask: &MaskSet, weights: &Values) -> usize {
    let mut count = 0;
    for (index, tensor) in mask.layout().tensors().iter().enumerate() {
        let values = &weights[tensor.name().as_str()];
        count += (0..values.len()).filter(|j| !mask.is_kept(index, *j as u64) && values[*j].to_bits() != 0).count();
    }
    count
}

fn zeros(weights: &Values, model: &dyn Model) -> u64 {
    model.prunable().iter().flat_map(|name| &weights[name.as_str()]).filter(|w| **w == 0.0).count() as u64
}

/// `mask ⊙ weights`, +0 outside.
fn masked(mask: &MaskSet, weights: &Values) -> Values {
    let mut masked = weights.clone();
    for (index, tensor) in mask.layout().tensors().iter().enumerate() {
        mask.apply(index, masked.get_mut(tensor.name().as_str()).unwrap()).unwrap();
    }
    masked
}

fn same_bits(a: &Values, b: &Values) -> bool {
    let bits = |values: &Values| -> Vec<(String, Vec<u32>)> {
        values.iter().map(|(name, values)| (name.clone(), values.iter().map(|v| v.to_bits()).collect())).collect()
    };
    bits(a) == bits(b)
}

/// A thousand random runs, or the number in `LOPPER_RUNS`, each of a few updates.
fn thousand<S: Strategy>(cases: &S, law: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let count = std::env::var("LOPPER_RUNS").map_or(1000, |runs| runs.parse().unwrap());
    let config = Config { cases: count, failure_persistence: None, max_shrink_iters: 16, ..Config::default() };
    TestRunner::new(config).run(cases, law).unwrap_or_else(|e| panic!("{e}"));
}

fn optimizer() -> impl Strategy<Value = Optimizer> {
    let (beta1, beta2, epsilon) = (0.9, 0.98, 1e-8);
    prop::sample::select(vec![
        Optimizer::Adam { beta1, beta2, epsilon, weight_decay: 0.0 },
        Optimizer::Adam { beta1, beta2, epsilon, weight_decay: 0.1 },
        Optimizer::AdamW { beta1, beta2, epsilon, weight_decay: 0.1 },
        Optimizer::Sgd { momentum: 0.9, weight_decay: 0.1 },
    ])
}

#[test]
fn nothing_outside_a_hard_mask_is_ever_non_zero() {
    let _serial = serial();
    let methods = vec![
        ("rp", ""),
        ("rp", "kind = 'random_init_magnitude'"),
        ("mpi", ""),
        ("omp", ""),
        ("imp", "step = 0.4"),
        ("imp", "step = 0.5\nrewind = 0.5"),
        ("imp", "rounds = 'geometric'\nstep = 0.5"),
        ("imp", "bert_tickets_compat = true\nstep = 0.5"),
    ];
    let cases = (prop::sample::select(methods), 0.0..=1.0f64, optimizer(), any::<u16>(), prop::option::of(0.5..2.0f64));
    thousand(&cases, |((method, options), sparsity, optimizer, seed, clip_norm)| {
        let mut run = short(method, options, sparsity, seed);
        run.spec.recipe = run.spec.recipe.optimizer(optimizer).clip_norm(clip_norm);
        let directory = directory();
        let finished = run.finish(directory.path());
        let entries = finished.record.entries;
        prop_assert_eq!(finished.record.pruned, run.spec.sparsity.pruned_of(entries));
        for (stage, (mask, moments)) in finished.record.stages.iter().zip(finished.masks.iter().zip(&finished.stages)) {
            let evaluations = moments.iter().filter(|moment| !moment.training).count();
            prop_assert_eq!(evaluations as u64, stage.updates, "an evaluation is missing");
            for moment in moments {
                prop_assert_eq!(outside(mask, &moment.weights), 0, "in {}", stage.name);
            }
        }
        prop_assert_eq!(outside(finished.masks.last().unwrap(), &finished.weights), 0);
        Ok(())
    });
}

/// A few updates with an evaluation after each.
fn short(method: &'static str, options: &'static str, sparsity: f64, seed: u16) -> Run {
    let mut run = Run { evaluate_every: 1, ..of(method, options, sparsity) };
    run.spec.updates = 4;
    run.spec.seed = seed.into();
    run
}

#[test]
fn parp_moves_what_it_pruned_whatever_the_run() {
    let _serial = serial();
    let options = vec![
        ("every = 1", 1),
        ("every = 2", 2),
        ("every = 3\ninitial = 'rp'", 3),
        ("every = 2\nmoments = 'zero'", 2),
        ("every = 4\ninitial = 'rp'\nmoments = 'zero'", 4),
    ];
    let cases = (prop::sample::select(options), 0.1..=0.8f64, optimizer(), any::<u16>(), 1e-4..=0.1f64);
    thousand(&cases, |((options, every), sparsity, optimizer, seed, learning_rate)| {
        let mut run = short("parp", options, sparsity, seed);
        // A warm-up begins at a rate of 0, and its first update moves nothing.
        let rate_schedule = RateSchedule::Constant;
        run.spec.recipe =
            run.spec.recipe.optimizer(optimizer).learning_rate(learning_rate).rate_schedule(rate_schedule);
        let directory = directory();
        let finished = run.finish(directory.path());
        let pruned = run.spec.sparsity.pruned_of(finished.record.entries);
        prop_assert_eq!(finished.record.pruned, pruned);
        let model = toy(0.0);
        let mut updates = 0;
        for moment in &finished.stages[0] {
            let zeros = zeros(&moment.weights, &model);
            if !moment.training {
                prop_assert!(zeros >= pruned, "an evaluation after update {} sees pruned weights", updates);
                continue;
            }
            if updates % every == 0 {
                prop_assert_eq!(zeros, pruned, "right after the prune at update {}", updates);
            } else {
                prop_assert!(zeros < pruned, "update {} moves no pruned weight", updates);
            }
            updates += 1;
        }
        prop_assert_eq!(updates, run.spec.updates);
        prop_assert_eq!(outside(&finished.masks[0], &finished.weights), 0);
        Ok(())
    });
}

#[test]
fn parp_trains_what_it_pruned_and_evaluates_the_subnetwork() {
    let _serial = serial();
    let every = 5;
    for (options, sparsity) in [("every = 5", 0.5), ("every = 5\ninitial = 'rp'\nmoments = 'zero'", 0.9)] {
        let directory = directory();
        let mut run = Run { evaluate_every: 1, ..of("parp", options, sparsity) };
        // A warm-up begins at a rate of 0, and its first update moves nothing.
        run.spec.recipe.rate_schedule = RateSchedule::Constant;
        // High enough for pruned weights to overtake others within a few updates.
        run.spec.recipe.learning_rate = 0.05;
        let finished = run.finish(directory.path());
        let model = toy(0.0);
        let pruned = finished.record.pruned;
        assert_eq!(pruned, run.spec.sparsity.pruned_of(finished.record.entries));
        let mut updates = 0;
        let mut before: Option<&Values> = None;
        for moment in &finished.stages[0] {
            let zeros = zeros(&moment.weights, &model);
            if !moment.training {
                assert!(zeros >= pruned, "after {updates} updates {zeros} of {pruned} are zero in an evaluation");
                continue;
            }
            if updates % every == 0 {
                // Right after the mask was set, at the start and by each re-prune.
                assert_eq!(zeros, pruned, "before update {}", updates + 1);
            } else {
                assert!(zeros < pruned / 2, "before update {} still {zeros} of {pruned} are zero", updates + 1);
                let moved = before.is_some_and(|before| !same_bits(before, &moment.weights));
                assert!(moved, "update {updates} changes nothing");
            }
            before = Some(&moment.weights);
            updates += 1;
        }
        assert_eq!(updates, UPDATES);
        assert_eq!(outside(&finished.masks[0], &finished.weights), 0);
        let initial = masked(&finished.masks[0], &finished.stages[0][0].weights);
        assert!(zeros(&initial, &model) > pruned, "the mask at the end is the one at the start");
    }
}

#[test]
fn hidden_weights_come_back_with_their_old_values() {
    let _serial = serial();
    let directory = directory();
    let run = Run { dropout: 0.0, ..of("sensitive", "", 0.8) };
    let finished = run.finish(directory.path());
    let model = toy(0.0);
    let passes: Vec<&Moment> = finished.stages[0].iter().filter(|moment| moment.training).collect();
    let schedule = |update: u64| Sparsity::new(0.8 * update as f64 / UPDATES as f64).unwrap();
    for (done, pass) in passes.iter().enumerate() {
        let pruned = schedule(done as u64 / 3 * 3).pruned_of(finished.record.entries);
        assert_eq!(zeros(&pass.weights, &model), pruned, "in the forward pass after {done} updates");
    }
    assert!(finished.metrics.lines().any(|line| line.contains("\"revived\":") && !line.contains("\"revived\":0")));
    assert_eq!(outside(&finished.masks[0], &finished.weights), 0);
}

#[test]
fn rewinding_restores_bits_whatever_the_run() {
    let _serial = serial();
    let theta_0 = values(&toy(0.1));
    let methods = vec![
        ("omp", ""),
        ("imp", "step = 0.3"),
        ("imp", "rounds = 'geometric'\nstep = 0.5"),
        ("imp", "step = 0.4\nrewind = 0.25"),
        ("imp", "step = 0.4\nrewind = 0.8"),
    ];
    let cases = (prop::sample::select(methods), 0.1..=0.9f64, optimizer(), any::<u16>());
    thousand(&cases, |((method, options), sparsity, optimizer, seed)| {
        let mut run = short(method, options, sparsity, seed);
        run.evaluate_every = 0;
        run.spec.recipe = run.spec.recipe.optimizer(optimizer);
        let directory = directory();
        let plan: Vec<Stage> = {
            let (session, _) = run.open(&directory.path().join("plan"), &directory.path().join("store"));
            session.plan().iter().map(|planned| planned.stage.clone()).collect()
        };
        let finished = run.finish(directory.path());
        let dense = &finished.stages[0];
        prop_assert!(same_bits(&dense[0].weights, &theta_0), "the dense stage starts elsewhere");
        for ((stage, mask), planned) in finished.stages.iter().zip(&finished.masks).zip(&plan).skip(1) {
            let rewound = match planned.weights {
                RewindPoint::Pretrained | RewindPoint::Update(0) => &theta_0,
                // Before the pass that follows, so many updates are done.
                RewindPoint::Update(update) => &dense[update as usize].weights,
                RewindPoint::Current => panic!("{method} {options} rewinds nowhere"),
            };
            prop_assert!(same_bits(&stage[0].weights, &masked(mask, rewound)), "{}", planned.name);
        }
        Ok(())
    });
}

#[test]
fn rewinding_restores_bits() {
    let _serial = serial();
    let theta_0 = values(&toy(0.1));
    for (method, options) in [("omp", ""), ("imp", "step = 0.3"), ("imp", "step = 0.3\nrewind = 0.5")] {
        let directory = directory();
        let finished = of(method, options, 0.7).finish(directory.path());
        let dense = &finished.stages[0];
        let (rewound, what) = match options.contains("rewind") {
            // Before update 8 of 14, seven updates are done.
            true => (&dense[UPDATES as usize / 2].weights, "update 7"),
            false => (&theta_0, "theta_0"),
        };
        assert!(same_bits(&dense[0].weights, &theta_0), "{method} {options}: the dense stage starts elsewhere");
        assert!(
            !same_bits(&dense.last().unwrap().weights, &theta_0),
            "{method} {options}: the dense stage trains nothing"
        );
        for (stage, mask) in finished.stages.iter().zip(&finished.masks).skip(1) {
            let start = &stage[0].weights;
            assert!(same_bits(start, &masked(mask, rewound)), "{method} {options}: a round does not start at {what}");
        }
    }
}

#[test]
fn bert_tickets_keeps_the_head_and_rewinds_the_rest() {
    let _serial = serial();
    let directory = directory();
    let finished = of("imp", "bert_tickets_compat = true\nstep = 0.3", 0.6).finish(directory.path());
    let theta_0 = values(&toy(0.1));
    for (round, mask) in finished.masks.iter().enumerate().skip(1) {
        let start = &finished.stages[round][0].weights;
        let end = &finished.stages[round - 1].last().unwrap().weights;
        for name in start.keys() {
            let expected = if name.starts_with("classifier") { end } else { &masked(mask, &theta_0) };
            assert_eq!(start[name], expected[name], "{name} at the start of round {round}");
        }
    }
}

#[test]
fn masks_of_imp_nest() {
    let _serial = serial();
    for options in ["", "rounds = 'geometric'\nstep = 0.3", "rewind = 0.3"] {
        let directory = directory();
        let finished = of("imp", options, 0.6).finish(directory.path());
        assert!(finished.masks.len() > 2);
        for (round, pair) in finished.masks.windows(2).enumerate() {
            assert!(pair[1].is_subset_of(&pair[0]).unwrap(), "{options}: round {} revives something", round + 1);
            assert!(pair[1].pruned() > pair[0].pruned(), "{options}: round {} prunes nothing", round + 1);
        }
    }
}

fn keys(run: &Run, directory: &Path) -> Vec<(String, bool)> {
    let (session, _) = run.open(&directory.join("plan"), &directory.join("store"));
    session.plan().iter().map(|planned| (planned.key.clone(), planned.done)).collect()
}

#[test]
fn equal_stages_are_trained_once() {
    let _serial = serial();
    let directory = directory();
    let at = directory.path();
    let runs = [of("omp", "", 0.2), of("omp", "", 0.1), of("imp", "", 0.2), of("dense", "", 0.0)];
    let before: Vec<_> = runs.iter().map(|run| keys(run, at)).collect();
    assert!(before.iter().flatten().all(|(_, done)| !done));
    assert!(before.iter().all(|plan| plan[0] == before[0][0]), "the dense stages have several keys");
    assert_eq!(before[1][1], before[2][1], "OMP at 10 % is the first round of IMP");
    assert_ne!(before[0][1], before[2][2], "OMP at 20 % ranks the dense weights, the second round of IMP its first");

    let trained = runs.each_ref().map(|run| {
        let finished = run.finish(at);
        let passes: usize = finished.stages.iter().flatten().filter(|moment| moment.training).count();
        assert_eq!(passes as u64, finished.record.trained * UPDATES, "{}", run.method);
        (finished.record.trained, finished.record.finetunings)
    });
    assert_eq!(trained, [(2, 2), (1, 2), (1, 3), (0, 1)]);
    for (run, before) in runs.iter().zip(before) {
        let after = keys(run, at);
        assert!(after.iter().all(|(_, done)| *done), "{} is not done", run.method);
        assert!(after.iter().zip(&before).all(|(a, b)| a.0 == b.0), "{}: keys change when stages are done", run.method);
    }
}

#[test]
fn a_shared_stage_gives_the_bits_that_training_it_would() {
    let _serial = serial();
    let (fresh, shared) = (directory(), directory());
    let run = of("imp", "", 0.2);
    of("omp", "", 0.1).finish(shared.path());
    let (a, b) = (run.finish(fresh.path()), run.finish(shared.path()));
    assert_eq!((a.record.trained, b.record.trained), (3, 1));
    assert!(same_bits(&a.weights, &b.weights));
    assert_eq!(a.masks, b.masks);
    assert_eq!(a.record.metrics, b.record.metrics);
}

#[test]
fn whatever_changes_a_result_changes_the_key() {
    let _serial = serial();
    let directory = directory();
    let key = |run: &Run| keys(run, directory.path())[0].0.clone();
    let base = of("mpi", "", 0.5);
    let changed = |change: fn(&mut Run)| {
        let mut run = base.clone();
        change(&mut run);
        key(&run)
    };
    let different = [
        ("sparsity", changed(|run| run.spec.sparsity = Sparsity::new(0.6).unwrap())),
        ("updates", changed(|run| run.spec.updates += 1)),
        ("seed", changed(|run| run.spec.seed += 1)),
        ("learning rate", changed(|run| run.spec.recipe.learning_rate *= 1.01)),
        ("clip", changed(|run| run.spec.recipe.clip_norm = None)),
        ("accumulation", changed(|run| run.spec.recipe.accumulate = 2)),
        ("model", changed(|run| run.dropout = 0.2)),
        ("method", key(&of("rp", "", 0.5))),
    ];
    for (what, other) in different {
        assert_ne!(other, key(&base), "another {what} has the same key");
    }
    let same = [
        ("evaluations", changed(|run| run.evaluate_every = 1)),
        ("checkpoints", changed(|run| run.checkpoint = CheckpointEvery::Updates(1))),
    ];
    for (what, other) in same {
        assert_eq!(other, key(&base), "{what} change the key");
    }
}

#[test]
fn a_dense_finetuning_is_one_without_a_mask() {
    let _serial = serial();
    let (adam, sgd) =
        (run_spec(Sparsity::DENSE, UPDATES).recipe.optimizer, Optimizer::Sgd { momentum: 0.9, weight_decay: 0.1 });
    for optimizer in [adam, sgd] {
        let ends = ["dense", "free"].map(|method| {
            let mut run = Run { evaluate_every: 3, ..of(method, "", 0.0) };
            run.spec.recipe.optimizer = optimizer;
            let directory = directory();
            let finished = run.finish(directory.path());
            assert_eq!((finished.record.pruned, finished.masks[0].pruned()), (0, 0));
            let metrics = finished.metrics.replace(&finished.record.stages[0].key, "key");
            (finished.weights, metrics)
        });
        assert!(same_bits(&ends[0].0, &ends[1].0), "{optimizer:?}: other weights");
        assert_eq!(ends[0].1, ends[1].1, "{optimizer:?}: other metrics");
    }
}

#[test]
fn evaluating_more_often_changes_no_bit() {
    let _serial = serial();
    for (method, options) in [("mpi", ""), ("parp", "every = 4"), ("sensitive", "")] {
        let (seldom, often) = (directory(), directory());
        let run = of(method, options, 0.7);
        let a = run.finish(seldom.path());
        let b = Run { evaluate_every: 1, ..run }.finish(often.path());
        assert!(same_bits(&a.weights, &b.weights), "{method}");
        assert_eq!(a.masks, b.masks, "{method}");
    }
}

/// Runs in `directory` with one interruption or failure at training pass `at`, then to the end.
fn in_two_sittings(run: &Run, at: At, directory: &Path) -> Finished {
    let first = Run { at, ..run.clone() };
    let (mut session, _) = first.open(&directory.join("out"), &directory.join("store"));
    match (session.run(), at) {
        (Err(Error::Interrupted(_)), At::Stop(_)) | (Err(Error::Other(_)), At::Fail(_)) => {}
        (other, _) => panic!("{} does not stop: {other:?}", run.method),
    }
    drop(session);
    // Only the second sitting is remembered, so its passes are fewer than a stage's updates.
    let (mut session, _) = run.open(&directory.join("out"), &directory.join("store"));
    let record = session.run().unwrap();
    Finished::new(record, Diary::default(), directory, run.spec.recipe.accumulate)
}

#[test]
fn an_interrupted_run_ends_as_an_uninterrupted_one() {
    let _serial = serial();
    for (method, options, passes) in [
        ("mpi", "", vec![1, 7, 14]),
        ("parp", "every = 4\nmoments = 'zero'", vec![4, 6]),
        ("parp-p", "from = [0.2, 0.4]\nevery = 4", vec![5, 19]),
        ("omp", "", vec![3, 20]),
        ("imp", "step = 0.3\nrewind = 0.5", vec![6, 9, 33]),
        ("sensitive", "", vec![2, 8, 11]),
        ("frozen", "", vec![3, 4, 5]),
        // The second of three micro-batches, the first, the last; and in the second stage.
        ("accumulating", "from = [0.2, 0.4]\nevery = 4", vec![8, 13, 24, 59]),
    ] {
        let mut run = Run { evaluate_every: 5, ..of(method, options, 0.6) };
        if method == "frozen" {
            run.method = "mpi";
            run.spec.recipe.freeze_encoder_updates = 4;
        }
        if method == "accumulating" {
            run.method = "parp-p";
            run.spec.recipe.accumulate = 3;
        }
        let whole_directory = directory();
        let whole = run.finish(whole_directory.path());
        for pass in passes {
            let often = Run { checkpoint: CheckpointEvery::Updates(3), ..run.clone() };
            for (run, at) in [(&run, At::Stop(pass)), (&often, At::Fail(pass)), (&run, At::Fail(pass))] {
                let what = format!(
                    "{method} {options}: {} at {pass}",
                    if at == At::Stop(pass) { "stopped" } else { "failed" }
                );
                let directory = directory();
                let halves = in_two_sittings(run, at, directory.path());
                assert!(same_bits(&whole.weights, &halves.weights), "{what}: other weights");
                assert_eq!(whole.masks, halves.masks, "{what}: other masks");
                assert_eq!(whole.record.metrics, halves.record.metrics, "{what}: other metrics");
                assert_eq!(whole.metrics, halves.metrics, "{what}: other lines of metrics");
                assert_eq!(whole.predictions, halves.predictions, "{what}: other predictions");
                let left = directory.path().join("out/checkpoints").exists();
                assert!(!left, "{what}: a checkpoint stays behind");
            }
        }
    }
}

#[test]
fn a_frozen_encoder_waits_while_the_head_learns() {
    let _serial = serial();
    const FROZEN: u64 = 5;
    let mut run = of("dense", "", 0.0);
    run.spec.recipe.freeze_encoder_updates = FROZEN;
    let directory = directory();
    let finished = run.finish(directory.path());
    let passes: Vec<&Moment> = finished.stages[0].iter().filter(|moment| moment.training).collect();
    let model = toy(0.0);
    let of_role = |weights: &Values, role: Role| -> Values {
        let of_role = model.parameters().iter().filter(|p| p.role == role);
        of_role.map(|p| (p.name.to_string(), weights[p.name.as_str()].clone())).collect()
    };
    for (before, pair) in passes.windows(2).enumerate() {
        let same = |role| same_bits(&of_role(&pair[0].weights, role), &of_role(&pair[1].weights, role));
        assert!(before == 0 || !same(Role::Head), "update {} moves the head", before + 1);
        assert_eq!(same(Role::Encoder), (before as u64) < FROZEN, "update {}", before + 1);
    }
    // The learning rate of the first update is 0 under the toy's warm-up; the optimizer starts counting with the thaw.
    assert!(passes.len() as u64 > FROZEN + 1);
}
