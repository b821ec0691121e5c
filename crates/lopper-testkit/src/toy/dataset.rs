//! Gaussian clusters as a [`Dataset`].

use lopper_core::{
    Batch, Dataset, Error, Evaluation, Head, Inputs, Outcomes, Predictions, Result, Split, Targets, Task,
};
use lopper_metrics::ClassMetric;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::Serialize;
use tch::{Kind, Tensor};

/// What a [`ToyDataset`] is drawn from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToyData {
    /// Numbers an input has.
    pub features: usize,
    /// Labels.
    pub classes: usize,
    /// Clusters of each class, scattered among those of the others: from 2 up no linear boundary separates the classes.
    pub clusters: usize,
    /// Standard deviation within a cluster; that of their centres is 1 in every feature.
    pub noise: f32,
    /// Training examples.
    pub train: usize,
    /// Validation examples.
    pub validation: usize,
    /// Seeds everything.
    pub seed: u64,
}

impl Default for ToyData {
    /// 8 features, 3 classes of 4 clusters, noise 0.5, 512 training and 256 validation examples, seed 0.
    fn default() -> Self {
        Self { features: 8, classes: 3, clusters: 4, noise: 0.5, train: 512, validation: 256, seed: 0 }
    }
}

/// Points around random centres, labelled by centre; accuracy is the metric. Their costs vary between 1 and 32 and
/// mean nothing else.
#[derive(Debug)]
pub struct ToyDataset {
    features: usize,
    task: Task,
    train: Vec<Example>,
    validation: Vec<Example>,
    /// Of everything that both splits share: names, labels, metric.
    shared: String,
}

#[derive(Debug, Serialize)]
struct Example {
    features: Vec<f32>,
    class: i64,
    cost: u32,
}

impl ToyDataset {
    /// Draws the examples.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for no features, fewer than two classes, no clusters, or a noise that is no standard
    /// deviation, all at once.
    pub fn new(data: &ToyData) -> Result<Self> {
        let mut problems = Vec::new();
        for (key, value, least) in
            [("features", data.features, 1), ("classes", data.classes, 2), ("clusters", data.clusters, 1)]
        {
            if value < least {
                problems.push(Error::invalid(key, value, format!("from {least} up")));
            }
        }
        if !(data.noise >= 0.0 && data.noise.is_finite()) {
            problems.push(Error::invalid("noise", data.noise, "a finite number from 0 up"));
        }
        Error::all(problems)?;

        let mut rng = ChaCha8Rng::seed_from_u64(data.seed);
        let centres: Vec<Vec<f32>> = (0..data.classes * data.clusters)
            .map(|_| (0..data.features).map(|_| StandardNormal.sample(&mut rng)).collect())
            .collect();
        let mut draw = |examples: usize| -> Vec<Example> {
            (0..examples)
                .map(|_| {
                    let cluster = rng.random_range(0..centres.len());
                    let around = |centre: &f32| {
                        let offset: f32 = StandardNormal.sample(&mut rng);
                        centre + data.noise * offset
                    };
                    Example {
                        features: centres[cluster].iter().map(around).collect(),
                        class: (cluster % data.classes) as i64,
                        cost: rng.random_range(1..=32),
                    }
                })
                .collect()
        };
        let (train, validation) = (draw(data.train), draw(data.validation));
        let labels = (0..data.classes).map(|class| format!("class {class}")).collect();
        let task = Task::new("toy", Head::Classification { labels }, ClassMetric::Accuracy.name());
        let shared = serde_json::to_string(&task).map_err(|e| Error::Other(format!("toy data: {e}")))?;
        Ok(Self { features: data.features, task, train, validation, shared })
    }

    fn judged(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Outcomes> {
        let examples = self.examples(split);
        let mut predicted: Vec<Option<u32>> = vec![None; examples.len()];
        for (indices, predictions) in outputs {
            let (found, expected) =
                (predictions.logits.size(), [indices.len() as i64, self.task.head.outputs() as i64]);
            if found != expected {
                return Err(Error::Other(format!("toy needs logits of shape {expected:?}, not {found:?}")));
            }
            if predictions.logits.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
                return Err(Error::Diverged("the model's answers on toy are not finite".into()));
            }
            let classes = Vec::<i64>::try_from(predictions.logits.f_argmax(1, false)?.f_to_kind(Kind::Int64)?)?;
            for (index, class) in indices.iter().zip(classes) {
                match predicted.get_mut(*index) {
                    None => return Err(Error::Other(format!("toy has {} examples, none at {index}", examples.len()))),
                    Some(Some(_)) => return Err(Error::Other(format!("toy example {index} was predicted twice"))),
                    Some(place) => *place = Some(class as u32),
                }
            }
        }
        let pairs: Vec<(u32, u32)> =
            predicted.iter().zip(examples).filter_map(|(p, example)| Some(((*p)?, example.class as u32))).collect();
        if pairs.len() < examples.len() {
            return Err(Error::Other(format!(
                "{} of {} examples of toy were not predicted",
                examples.len() - pairs.len(),
                examples.len()
            )));
        }
        Ok(Outcomes::Classes(pairs))
    }

    fn examples(&self, split: &Split) -> &[Example] {
        match split.as_str() {
            "train" => &self.train,
            "validation" => &self.validation,
            _ => &[],
        }
    }
}

impl Dataset for ToyDataset {
    fn len(&self, split: &Split) -> usize {
        self.examples(split).len()
    }

    fn cost(&self, split: &Split, index: usize) -> u32 {
        self.examples(split).get(index).map_or(0, |example| example.cost)
    }

    fn batch(&self, split: &Split, indices: &[usize]) -> Result<Batch> {
        let examples = self.examples(split);
        let mut features = Vec::with_capacity(indices.len() * self.features);
        let mut classes = Vec::with_capacity(indices.len());
        for index in indices {
            let example = examples.get(*index).ok_or_else(|| {
                Error::Other(format!("toy {} has {} examples, none at {index}", split.as_str(), examples.len()))
            })?;
            features.extend_from_slice(&example.features);
            classes.push(example.class);
        }
        let features = Tensor::f_from_slice(&features)?.f_reshape([indices.len() as i64, self.features as i64])?;
        let targets = Targets::Classes(Tensor::f_from_slice(&classes)?);
        Ok(Batch::new(Inputs::from([("features", features)]), targets, indices.len()))
    }

    fn task(&self) -> &Task {
        &self.task
    }

    fn evaluate(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Evaluation> {
        Evaluation::of_outcomes(self.judged(split, outputs)?, [ClassMetric::Accuracy.name()])
    }

    fn identity(&self, split: &Split) -> String {
        let examples = serde_json::to_vec(self.examples(split)).expect("numbers are JSON");
        let mut hash = blake3::Hasher::new();
        hash.update(self.shared.as_bytes()).update(split.as_str().as_bytes()).update(&examples);
        hash.finalize().to_hex().to_string()
    }
}
