//! The toys obey their own laws, and every suite notices plugins that do not.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_core::*;
use lopper_testkit::{ToyConfig, ToyData, ToyDataset, ToyModel, laws, serial};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tch::{Device, Tensor};

fn model(config: ToyConfig) -> ToyModel {
    ToyModel::new(config, 1, 2, Device::Cpu).unwrap()
}

fn dataset() -> ToyDataset {
    ToyDataset::new(&ToyData::default()).unwrap()
}

#[test]
fn the_toy_model_obeys() {
    let _serial = serial();
    let batch = dataset().batch(&Split::TRAIN, &[0, 5, 9, 200]).unwrap();
    laws::model(&model(ToyConfig::default()), &batch);
    laws::model(&model(ToyConfig { hidden: vec![5], dropout: 0.5, ..Default::default() }), &batch);
}

#[test]
fn the_toy_dataset_obeys() {
    laws::dataset(&dataset());
    laws::dataset(&ToyDataset::new(&ToyData { classes: 2, validation: 65, ..Default::default() }).unwrap());
}

#[test]
fn toys_depend_on_their_seeds_alone() {
    let head = ParameterName::from("classifier.weight");
    let bits = |model: &ToyModel, name: &ParameterName| {
        Vec::<f32>::try_from(model.parameters().get(name).unwrap().tensor.flatten(0, -1)).unwrap()
    };
    let [a, b, c] = [(1, 2), (1, 3), (4, 2)]
        .map(|(pretrained, head)| ToyModel::new(ToyConfig::default(), pretrained, head, Device::Cpu).unwrap());
    for name in a.prunable() {
        assert_eq!(bits(&a, name), bits(&b, name));
        assert_ne!(bits(&a, name), bits(&c, name));
    }
    assert_ne!(bits(&a, &head), bits(&b, &head));
    assert_eq!(bits(&a, &head), bits(&c, &head));
    let of = |dataset: &ToyDataset| [Split::TRAIN, Split::VALIDATION].map(|split| dataset.identity(&split));
    assert_eq!(of(&dataset()), of(&dataset()));
    let other = ToyDataset::new(&ToyData { seed: 1, ..Default::default() }).unwrap();
    assert!(of(&dataset()).iter().zip(of(&other)).all(|(a, b)| *a != b));
}

#[test]
fn toys_refuse_all_bad_sizes_at_once() {
    let config = ToyConfig { features: 0, hidden: vec![3, 0], classes: 0, dropout: 1.0 };
    let error = ToyModel::new(config, 1, 2, Device::Cpu).unwrap_err().to_string();
    assert!(["features", "hidden", "classes", "dropout"].iter().all(|key| error.contains(key)), "{error}");
    let data = ToyData { features: 0, classes: 1, clusters: 0, noise: f32::NAN, ..Default::default() };
    let error = ToyDataset::new(&data).unwrap_err().to_string();
    assert!(["features", "classes", "clusters", "noise"].iter().all(|key| error.contains(key)), "{error}");
}

/// The message of the panic that `suite` ends in.
fn broken(suite: impl FnOnce()) -> String {
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(suite)).expect_err("the suite notices nothing");
    payload.downcast_ref::<String>().expect("laws panic with text").clone()
}

#[track_caller]
fn check(expected: &str, suite: impl FnOnce()) {
    let message = broken(suite);
    assert!(message.starts_with(&format!("broken law: {expected}")), "{message}");
}

/// PARP by the sum of gradients, with one thing wrong.
#[derive(Default)]
struct Strategy {
    fault: &'static str,
    plans: AtomicU64,
    horizon: AtomicU64,
    /// What no strategy may have.
    memory: Arc<Mutex<Vec<Tensor>>>,
}

impl PruningStrategy for Strategy {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let plans = self.plans.fetch_add(1, Ordering::Relaxed) + 1;
        self.horizon.store(run.updates, Ordering::Relaxed);
        let mut stage = Stage::dense(run)
            .named("parp")
            .discovered(run.sparsity)
            .schedule(ScheduleSpec::constant(1, run.sparsity))
            .pruned(PrunedWeights::Trainable);
        if self.fault != "liar" {
            stage = stage.own_scores();
        }
        if self.fault != "peeks" {
            stage = stage.gradients(Gradients::EveryUpdate);
        }
        match self.fault {
            "impure" => stage.recipe.learning_rate /= plans as f64,
            "dangling" => stage.weights = RewindPoint::Update(1),
            "short" => stage = stage.schedule(ScheduleSpec::constant(1, Sparsity::new(run.sparsity.get() * 0.999)?)),
            "regrows" => {
                let ramp = ScheduleSpec::linear(1, Sparsity::new(1.0)?, run.sparsity);
                stage = stage.schedule(ramp).pruned(PrunedWeights::Frozen);
            }
            "carries nothing" => stage = stage.carry(),
            _ => {}
        }
        Ok(vec![stage])
    }

    fn accepts(&self, layout: &Layout, _: Sparsity) -> Result<()> {
        match self.fault {
            "fussy" => Err(Error::invalid("tensors", layout.tensors().len(), "a model from the moon")),
            _ => Ok(()),
        }
    }

    fn method(&self, _: &Stage, _: &Arc<Layout>) -> Result<Box<dyn StageMethod>> {
        let horizon = self.horizon.load(Ordering::Relaxed);
        if self.fault == "shares" {
            // Nothing of an earlier stage is left, and yet it is not this stage's own.
            self.memory.lock().unwrap().clear();
        }
        Ok(Box::new(Method { fault: self.fault, horizon, memory: self.memory.clone(), ..Method::default() }))
    }
}

#[derive(Default)]
struct Method {
    fault: &'static str,
    horizon: u64,
    memory: Arc<Mutex<Vec<Tensor>>>,
    moved: Vec<Tensor>,
    first: Vec<Tensor>,
    masks: u64,
}

impl StageMethod for Method {
    fn after_backward(&mut self, view: &View<'_>) -> Result<()> {
        if self.first.is_empty() {
            // The copy is what a method owes itself.
            let keep =
                |w: &PrunableWeight<'_>| if self.fault == "lazy" { w.tensor.shallow_clone() } else { w.tensor.copy() };
            self.first = view.weights().iter().map(keep).collect();
        }
        let mut leak = self.memory.lock().unwrap();
        let moved = if matches!(self.fault, "leaks" | "shares") { &mut *leak } else { &mut self.moved };
        if moved.is_empty() {
            *moved = view.weights().iter().map(|w| w.tensor.zeros_like()).collect();
        }
        for (index, moved) in moved.iter_mut().enumerate().filter(|(_, moved)| moved.numel() > 0) {
            *moved += view.gradient(index)?.unwrap();
        }
        Ok(())
    }

    fn score(&mut self, view: &View<'_>) -> Result<Scores> {
        self.masks += 1;
        let leak = self.memory.lock().unwrap();
        let moved = if matches!(self.fault, "leaks" | "shares") { &*leak } else { &self.moved };
        view.scores(|index, weight| {
            let own = moved.get(index).map_or_else(|| weight.tensor.abs(), |moved| moved.abs());
            Ok(match self.fault {
                "peeks" => view.gradient(index)?.unwrap_or(own),
                "misshapen" => own.unsqueeze(0),
                "not a number" => own.full_like(f64::NAN),
                "hasty" => own.full_like(f64::INFINITY),
                "scribbler" => weight.tensor.shallow_clone().fill_(0.5) * own,
                "lazy" => self.first.get(index).map_or(own, |first| (&weight.tensor - first).abs()),
                "counter" => (own * 1e4 + self.masks as f64).sin(),
                "clock" => own.zeros_like() + (&weight.tensor * rand::random::<f64>() * 1e4).sin(),
                "horizon" if view.update() * 2 > self.horizon => own.neg(),
                "total" if view.update() * 2 > view.total() => own.neg(),
                _ => own,
            })
        })
    }

    fn state(&self) -> MethodState {
        if self.fault == "forgetful" {
            return MethodState::default();
        }
        let named = |kind: &str, tensors: &[Tensor]| -> Vec<(String, Tensor)> {
            tensors.iter().enumerate().map(|(i, tensor)| (format!("{kind}{i:03}"), tensor.shallow_clone())).collect()
        };
        let tensors = named("a", &self.moved).into_iter().chain(named("b", &self.first)).collect();
        MethodState::new(tensors, Default::default())
    }

    fn load_state(&mut self, state: MethodState) -> Result<()> {
        (self.moved, self.first) = Default::default();
        for (name, tensor) in state.tensors {
            if name.starts_with('a') { self.moved.push(tensor) } else { self.first.push(tensor) }
        }
        Ok(())
    }
}

#[test]
fn broken_strategies_are_noticed() {
    let suite = |fault: &'static str| laws::strategy(|| Box::new(Strategy { fault, ..Default::default() }));
    for sound in ["none", "total"] {
        suite(sound);
    }
    for (fault, law) in [
        ("impure", "a plan is pure"),
        ("dangling", "stages refer to what exists"),
        ("regrows", "stages refer to what exists"),
        ("carries nothing", "stages refer to what exists"),
        ("short", "a plan ends at exactly the target sparsity"),
        ("fussy", "some layout and sparsity are accepted"),
        ("liar", "a method scores what its stage promises"),
        ("misshapen", "a method scores what its stage promises"),
        ("not a number", "a method scores what its stage promises"),
        ("hasty", "a method scores what its stage promises"),
        ("peeks", "a method scores what its stage promises"),
        ("clock", "masks are exact, nested and deterministic"),
        ("scribbler", "a method only reads what it is shown"),
        ("lazy", "what a method keeps is its own"),
        ("leaks", "a stage knows nothing of the stage before it"),
        ("horizon", "a method depends on its stage alone"),
        ("shares", "two runs on one store do not meet"),
        ("counter", "a restored method goes on as if nothing had happened"),
        ("forgetful", "a restored method goes on as if nothing had happened"),
    ] {
        check(law, || suite(fault));
    }
}

#[test]
fn a_broken_law_names_the_method_and_how_to_try_it_again() {
    let message = broken(|| laws::strategy(|| Box::new(Strategy { fault: "not a number", ..Default::default() })));
    assert!(message.contains("the scores of method `the method` in stage parp have NaN at w0["), "{message}");
    assert!(message.contains("minimal failing input"), "{message}");
    let (_, seed) = message.rsplit_once("LOPPER_LAW_SEED=").unwrap();
    assert_eq!(seed.trim().len(), 64, "{message}");
}

/// Magnitudes in some shape.
struct Shaped(Allocation, Pattern);

impl PruningStrategy for Shaped {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let ramp = ScheduleSpec::list([(run.updates.max(1), run.sparsity)]);
        let stage = Stage::dense(run).named("shaped").discovered(run.sparsity).schedule(ramp);
        Ok(vec![stage.allocation(self.0.clone()).pattern(self.1)])
    }
}

#[test]
fn what_takes_few_layouts_is_held_against_those() {
    for (allocation, pattern) in [
        (Allocation::Uniform, Pattern::Unstructured),
        (Allocation::Erk, Pattern::Unstructured),
        (Allocation::Global, Pattern::NofM { n: 2, m: 4 }),
        (Allocation::Uniform, Pattern::NofM { n: 1, m: 8 }),
        (Allocation::Global, Pattern::Blocks { rows: 4, columns: 2 }),
        (Allocation::Erk, Pattern::Blocks { rows: 16, columns: 16 }),
    ] {
        laws::strategy(|| Box::new(Shaped(allocation.clone(), pattern)));
    }
    let layout = Layout::new([("a".into(), vec![6, 4]), ("b".into(), vec![8])]).unwrap();
    let shares = [("a".into(), 0.9), ("b".into(), 0.3)];
    let given = || Shaped(Allocation::Given(shares.clone().into()), Pattern::Unstructured);
    laws::strategy_on(&layout, || Box::new(given()));
    check("some layout and sparsity are accepted", || laws::strategy(|| Box::new(given())));
}

/// The toy model with one thing wrong.
struct Faulty {
    inner: ToyModel,
    other: ToyModel,
    fault: &'static str,
    prunable: Vec<ParameterName>,
}

impl Faulty {
    fn new(fault: &'static str) -> Self {
        let inner = model(ToyConfig::default());
        let mut prunable = inner.prunable().to_vec();
        if fault == "prunes the head" {
            prunable.push("classifier.weight".into());
        }
        Self { inner, other: model(ToyConfig::default()), fault, prunable }
    }
}

impl Model for Faulty {
    fn parameters(&self) -> &Parameters {
        match self.fault {
            "copies its weights" => self.other.parameters(),
            _ => self.inner.parameters(),
        }
    }

    fn prunable(&self) -> &[ParameterName] {
        &self.prunable
    }

    fn loss(&self, batch: &Batch, mode: Mode) -> Result<Loss> {
        let mut loss = self.inner.loss(batch, if self.fault == "always trains" { Mode::Train } else { mode })?;
        match self.fault {
            "averages" => loss.sum /= loss.count,
            "detaches" => loss.sum = loss.sum.detach(),
            _ => {}
        }
        Ok(loss)
    }

    fn predict(&self, batch: &Batch) -> Result<Predictions> {
        let mut predictions = self.inner.predict(batch)?;
        match self.fault {
            "shakes" => predictions.logits += predictions.logits.rand_like(),
            "centres the batch" => predictions.logits -= predictions.logits.mean_dim(0, true, None),
            "transposes" => predictions.logits = predictions.logits.transpose(0, 1),
            _ => {}
        }
        Ok(predictions)
    }

    fn random_prunable(&self, seed: u64) -> Result<Vec<Tensor>> {
        self.inner.random_prunable(if self.fault == "ignores the seed" { 0 } else { seed })
    }

    fn squared_input_norms(&self, batch: &Batch) -> Result<BTreeMap<ParameterName, Tensor>> {
        let mut norms = self.inner.squared_input_norms(batch)?;
        for norms in norms.values_mut() {
            match self.fault {
                "averages its norms" => *norms /= batch.len as f64,
                "measures while training" => *norms *= 1.0 + rand::random::<f64>(),
                _ => {}
            }
        }
        Ok(norms)
    }

    fn identity(&self) -> String {
        self.inner.identity()
    }

    fn artifacts(&self) -> Result<Vec<Artifact>> {
        let name = if self.fault == "escapes" { "../config.json" } else { "config.json" };
        Ok(vec![Artifact { name: name.into(), bytes: Vec::new() }])
    }
}

#[test]
fn broken_models_are_noticed() {
    let _serial = serial();
    let batch = dataset().batch(&Split::TRAIN, &[0, 1, 2, 3]).unwrap();
    laws::model(&Faulty::new("none"), &batch);
    for (fault, law) in [
        ("prunes the head", "prunable names are parameters of the encoder"),
        ("detaches", "the loss is differentiable"),
        ("copies its weights", "the loss is differentiable"),
        ("shakes", "predictions repeat"),
        ("transposes", "predictions repeat"),
        ("always trains", "prediction and evaluation leave generator and gradients alone"),
        ("averages", "a batch is its rows"),
        ("centres the batch", "a batch is its rows"),
        ("averages its norms", "calibration is deterministic"),
        ("measures while training", "calibration is deterministic"),
        ("ignores the seed", "random prunable tensors depend on the seed alone"),
        ("escapes", "artifacts have plain names"),
    ] {
        check(law, || laws::model(&Faulty::new(fault), &batch));
    }
}

#[test]
fn masks_move_between_heads_and_not_between_shapes() {
    let shape = |config: ToyConfig| ToyModel::new(config, 1, 2, Device::Cpu).unwrap();
    let base = shape(ToyConfig::default());
    laws::masks_transfer(&base, &shape(ToyConfig { classes: 7, ..Default::default() }));
    check("masks move between tasks", || {
        laws::masks_transfer(&base, &shape(ToyConfig { hidden: vec![32, 31], ..Default::default() }));
    });
}

/// The toy dataset with one thing wrong.
struct Flawed(ToyDataset, &'static str);

impl Dataset for Flawed {
    fn len(&self, split: &Split) -> usize {
        self.0.len(split)
    }

    fn cost(&self, split: &Split, index: usize) -> u32 {
        if self.1 == "free" { 0 } else { self.0.cost(split, index) }
    }

    fn batch(&self, split: &Split, indices: &[usize]) -> Result<Batch> {
        let mut indices = indices.to_vec();
        match self.1 {
            "clamps" => indices.iter_mut().for_each(|index| *index = (*index).min(self.0.len(split) - 1)),
            "sorts" => indices.sort_unstable(),
            "drops" => drop(indices.pop()),
            _ => {}
        }
        self.0.batch(split, &indices)
    }

    fn task(&self) -> &Task {
        self.0.task()
    }

    fn keep(&self, _: &Split, predictions: Predictions) -> Result<Predictions> {
        let worst = || predictions.logits.neg();
        Ok(if self.1 == "forgets" { Predictions { logits: worst(), ..predictions } } else { predictions })
    }

    fn evaluate(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Evaluation> {
        let name = self.task().primary_metric.clone();
        let alone = |name, value| Evaluation::of_metrics(vec![MetricValue { name, value }]);
        let mut right = match (self.0.evaluate(split, outputs), self.1) {
            (Err(_), "forgives") => return Ok(alone(name, 0.5)),
            (right, _) => right?,
        };
        let Some(Outcomes::Classes(pairs)) = &mut right.outcomes else { return Ok(right) };
        match self.1 {
            "praises" => return Ok(alone(name, 1.0)),
            "percents" => return Ok(alone(name, 100.0 * right.metrics[0].value)),
            "renames" => return Ok(alone("f1".into(), 1.0)),
            "omits" => drop(pairs.pop()),
            "flatters" => pairs[0].0 = pairs[0].1,
            "shuffles" => {
                let first = outputs[0].0[0];
                pairs.swap(first, 0);
            }
            _ => {}
        }
        Ok(right)
    }

    fn identity(&self, split: &Split) -> String {
        self.0.identity(split)
    }
}

#[test]
fn broken_datasets_are_noticed() {
    laws::dataset(&Flawed(dataset(), "none"));
    for (fault, law) in [
        ("free", "costs are positive"),
        ("clamps", "an index out of range is refused"),
        ("sorts", "a batch has the rows that were asked for"),
        ("drops", "a batch has the rows that were asked for"),
        ("praises", "perfect predictions score best"),
        ("percents", "perfect predictions score best"),
        ("renames", "perfect predictions score best"),
        ("forgives", "predictions must cover the split once"),
        ("omits", "what is told of examples gives the metrics"),
        ("flatters", "what is told of examples gives the metrics"),
        ("shuffles", "what is told of examples gives the metrics"),
        ("forgets", "what is kept of predictions is judged as they are"),
    ] {
        check(law, || laws::dataset(&Flawed(dataset(), fault)));
    }
}

/// Answers something else each time.
struct Counting(std::sync::atomic::AtomicU64);

impl MaskSchedule for Counting {
    fn target(&self, _: u64, _: u64) -> Option<Sparsity> {
        Sparsity::new(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) as f64 / 1e9).ok()
    }
}

#[test]
fn broken_schedules_are_noticed() {
    check("a schedule depends on update and total alone", || {
        laws::mask_schedule(|| Box::new(Counting(Default::default())));
    });
}
