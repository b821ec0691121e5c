//! The toys obey their own laws, and every suite notices plugins that do not.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_core::*;
use lopper_testkit::{ToyConfig, ToyData, ToyDataset, ToyModel, laws, serial};
use tch::Device;

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
    assert_eq!(dataset().identity(), dataset().identity());
    let other = ToyDataset::new(&ToyData { seed: 1, ..Default::default() }).unwrap();
    assert_ne!(dataset().identity(), other.identity());
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

/// Magnitude pruning with one thing wrong.
#[derive(Default)]
struct Strategy {
    fault: &'static str,
    plans: std::cell::Cell<u64>,
    moved: Vec<tch::Tensor>,
}

impl PruningStrategy for Strategy {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        self.plans.set(self.plans.get() + 1);
        let mut stage = Stage {
            mask: InitialMask::Discover { on: RewindPoint::Pretrained, sparsity: run.sparsity, among: Among::All },
            ..Stage::dense(run)
        };
        match self.fault {
            "impure" => stage.recipe.learning_rate /= self.plans.get() as f64,
            "dangling" => stage.weights = RewindPoint::Update(1),
            "short" => {
                let sparsity = Sparsity::new(run.sparsity.get() * 0.999)?;
                stage.mask = InitialMask::Discover { on: RewindPoint::Pretrained, sparsity, among: Among::All };
            }
            "regrows" => stage.schedule = Some(ScheduleSpec::linear(1, Sparsity::new(1.0)?, run.sparsity)),
            _ => {}
        }
        Ok(vec![stage])
    }

    fn ranking(&self) -> Ranking {
        if self.fault == "liar" { Ranking::Magnitude } else { Ranking::Own }
    }

    fn wants_gradients(&self) -> bool {
        self.fault == "forgetful"
    }

    fn after_backward(&mut self, view: &WeightView<'_>, _: bool) -> Result<()> {
        if self.moved.is_empty() {
            self.moved = view.weights().iter().map(|w| w.tensor.zeros_like()).collect();
        }
        for (moved, weight) in self.moved.iter_mut().zip(view.weights()) {
            *moved += weight.gradient.as_ref().unwrap();
        }
        Ok(())
    }

    fn next_mask(
        &mut self,
        view: &WeightView<'_>,
        current: &MaskSet,
        target: Sparsity,
        among: Among,
    ) -> Result<MaskSet> {
        let among = if self.fault == "revives" { Among::All } else { among };
        let target = match self.fault {
            "sloppy" => Sparsity::new(target.get() * 0.9)?,
            _ => target,
        };
        let scores = match self.fault {
            "liar" => Scores::Values(view.weights().iter().map(|w| w.tensor.neg()).collect()),
            "forgetful" if !self.moved.is_empty() => {
                Scores::Values(self.moved.iter().map(tch::Tensor::shallow_clone).collect())
            }
            "scribbler" => {
                for weight in view.weights() {
                    let _ = weight.tensor.shallow_clone().fill_(0.5);
                }
                Scores::Magnitude
            }
            _ => Scores::Magnitude,
        };
        Selector::new().select(view, &scores, current, target, among)
    }
}

#[test]
fn broken_strategies_are_noticed() {
    let suite = |fault: &'static str| laws::strategy(|| Box::new(Strategy { fault, ..Default::default() }));
    suite("none");
    for (fault, law) in [
        ("impure", "a plan is pure"),
        ("dangling", "stages refer to what exists"),
        ("regrows", "stages refer to what exists"),
        ("short", "a plan ends at exactly the target sparsity"),
        ("sloppy", "masks are exact"),
        ("revives", "masks are exact"),
        ("liar", "masks are exact"),
        ("scribbler", "masks are exact"),
        ("forgetful", "a restored strategy"),
    ] {
        check(law, || suite(fault));
    }
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

    fn random_prunable(&self, seed: u64) -> Result<Vec<tch::Tensor>> {
        self.inner.random_prunable(if self.fault == "ignores the seed" { 0 } else { seed })
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

    fn evaluate(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Vec<MetricValue>> {
        let name = self.task().primary_metric.clone();
        match self.1 {
            "praises" => Ok(vec![MetricValue { name, value: 1.0 }]),
            "percents" => Ok(vec![MetricValue { name, value: 100.0 * self.0.evaluate(split, outputs)?[0].value }]),
            "forgives" => Ok(self.0.evaluate(split, outputs).unwrap_or(vec![MetricValue { name, value: 0.5 }])),
            "renames" => Ok(vec![MetricValue { name: "f1".into(), value: 1.0 }]),
            _ => self.0.evaluate(split, outputs),
        }
    }

    fn identity(&self) -> String {
        self.0.identity()
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
