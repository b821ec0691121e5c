//! The trait behind which labelled data stands.

use crate::{Error, Model, Predictions, Preprocessor, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::{Device, Tensor};

/// A named part of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Split(Cow<'static, str>);

impl Split {
    /// What is trained on.
    pub const TRAIN: Self = Self(Cow::Borrowed("train"));
    /// What is evaluated during and after training.
    pub const VALIDATION: Self = Self(Cow::Borrowed("validation"));

    /// A split of another name, such as `validation_mismatched` or `test`.
    pub fn named(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A raw input, before any model has seen it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Input<'a> {
    /// One text, or a pair.
    Text {
        /// The first or only text.
        first: &'a str,
        /// The second of a pair.
        second: Option<&'a str>,
    },
    /// Mono audio.
    Audio {
        /// Samples in `[-1, 1]`.
        samples: &'a [f32],
        /// Samples a second.
        sample_rate: u32,
    },
}

/// One input as a model reads it, before batching.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Features {
    /// Token ids with special tokens, and the segment of each.
    Tokens {
        /// Vocabulary ids.
        ids: Vec<u32>,
        /// 0 for the first text, 1 for the second; as long as `ids`.
        segments: Vec<u32>,
    },
    /// A waveform at the model's rate.
    Samples(Vec<f32>),
}

impl Features {
    /// Tokens or samples: what batches are bucketed by.
    pub fn len(&self) -> usize {
        match self {
            Self::Tokens { ids, .. } => ids.len(),
            Self::Samples(samples) => samples.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Named input tensors of a batch, such as `input_ids [batch, time]` (int64).
pub type Inputs = BTreeMap<&'static str, Tensor>;

/// What the outputs should be.
#[derive(Debug)]
#[non_exhaustive]
pub enum Targets {
    /// `[batch]`, int64 class ids.
    Classes(Tensor),
    /// `[batch]`, float32.
    Values(Tensor),
    /// Token ids of each row, for CTC.
    Sequences(Vec<Vec<i64>>),
}

/// Several examples at once.
#[derive(Debug)]
pub struct Batch {
    /// What the model reads.
    pub inputs: Inputs,
    /// What it should answer; `None` for prediction alone.
    pub targets: Option<Targets>,
    /// Rows.
    pub len: usize,
}

impl Batch {
    /// The same batch on another device.
    ///
    /// # Errors
    /// Errors of libtorch, out of memory among them.
    pub fn to_device(&self, device: Device) -> Result<Self> {
        let inputs = self
            .inputs
            .iter()
            .map(|(name, tensor)| Ok((*name, tensor.f_to_device(device)?)))
            .collect::<Result<_, tch::TchError>>()?;
        let targets = match &self.targets {
            None => None,
            Some(Targets::Classes(t)) => Some(Targets::Classes(t.f_to_device(device)?)),
            Some(Targets::Values(t)) => Some(Targets::Values(t.f_to_device(device)?)),
            Some(Targets::Sequences(rows)) => Some(Targets::Sequences(rows.clone())),
        };
        Ok(Self { inputs, targets, len: self.len })
    }

    /// The named input.
    ///
    /// # Errors
    /// [`Error::Other`] when the batch has none of that name.
    pub fn input(&self, name: &str) -> Result<&Tensor> {
        self.inputs.get(name).ok_or_else(|| {
            let known: Vec<_> = self.inputs.keys().copied().collect();
            Error::Other(format!("the batch has no input `{name}`; it has {}", known.join(", ")))
        })
    }
}

/// The head that a task needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Head {
    /// One of several classes; the labels in class order.
    Classification {
        /// Label of each class.
        labels: Vec<String>,
    },
    /// One number.
    Regression,
    /// A sequence of symbols through CTC.
    Ctc {
        /// Symbol of each output.
        vocabulary: Vec<String>,
        /// Index of the blank.
        blank: usize,
    },
}

impl Head {
    /// A CTC head of which nothing is known but its number of outputs and its blank: the symbol of output 3 is `<3>`.
    pub fn numbered(outputs: usize, blank: usize) -> Self {
        Self::Ctc { vocabulary: (0..outputs).map(number).collect(), blank }
    }

    /// Whether it is such a head.
    pub fn is_numbered(&self) -> bool {
        let Self::Ctc { vocabulary, .. } = self else { return false };
        vocabulary.iter().enumerate().all(|(output, symbol)| *symbol == number(output))
    }

    /// Outputs an input (or a time step).
    pub fn outputs(&self) -> usize {
        match self {
            Self::Classification { labels } => labels.len(),
            Self::Regression => 1,
            Self::Ctc { vocabulary, .. } => vocabulary.len(),
        }
    }
}

/// What an output is called that nothing names.
fn number(output: usize) -> String {
    format!("<{output}>")
}

/// What is to be learned, and how it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Such as `rte`.
    pub name: String,
    /// The head it needs.
    pub head: Head,
    /// The metric quoted first, one of those that [`Dataset::evaluate`] returns.
    pub primary_metric: String,
    /// False for error rates.
    pub higher_is_better: bool,
}

/// A named number: a share in `[0, 1]`, a correlation in `[-1, 1]`, or a rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricValue {
    /// Such as `accuracy`, `f1`, `matthews`, `pearson`, `spearman`.
    pub name: String,
    /// The value; never scaled to percent.
    pub value: f64,
}

/// Labelled examples in splits.
pub trait Dataset: Send + Sync {
    /// Examples of a split; 0 for a split it does not have.
    fn len(&self, split: &Split) -> usize;

    /// Length of an example in tokens or samples, for bucketing.
    fn cost(&self, split: &Split, index: usize) -> u32;

    /// The examples at `indices` as one CPU batch with targets: as many rows as indices, in their order.
    ///
    /// Of [`Split::TRAIN`] alone, and only where its user asked for that, a batch may go without examples that cannot be
    /// used, now or ever; nothing is left out for what may pass, such as a read error. [`left_out`](Self::left_out) counts
    /// them. Where nothing would be left, other examples of the split may take their place. Such a batch is for training:
    /// [`evaluate`](Self::evaluate) must refuse to judge predictions for it.
    ///
    /// # Errors
    /// When an index is out of range, or an example cannot be read.
    fn batch(&self, split: &Split, indices: &[usize]) -> Result<Batch>;

    /// The head it needs and the metric it is judged by.
    fn task(&self) -> &Task;

    /// The splits that are evaluated, the first being the one quoted.
    fn evaluation_splits(&self) -> Vec<Split> {
        vec![Split::VALIDATION]
    }

    /// What is kept of a batch's predictions until the whole split is evaluated: all of it, unless a task whose outputs
    /// are large can do with less. [`evaluate`](Self::evaluate) takes either, and its metrics are the same.
    ///
    /// What it returns is for this dataset's [`evaluate`](Self::evaluate) and nobody else: its `logits` may be of another
    /// kind and shape than a model's and hold no logits at all, as long as the two can be told apart, and its `lengths` are
    /// those of what it holds. They are on the CPU, and have one entry a row of the batch in their first dimension.
    ///
    /// # Errors
    /// When the predictions are of another head's shape.
    fn keep(&self, _split: &Split, predictions: Predictions) -> Result<Predictions> {
        Ok(predictions)
    }

    /// The task's metrics of a split. `outputs` holds, for batches that cover the split once, their indices and
    /// predictions on the CPU.
    ///
    /// # Errors
    /// When the predictions do not cover the split, or are of another head's shape; when batches of the split went without
    /// examples.
    fn evaluate(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Vec<MetricValue>>;

    /// What a reader of a split's results should know besides: examples that were left out, and the like, each more than
    /// zero, so far. Nothing unless overridden.
    fn counts(&self, _split: &Split) -> BTreeMap<&'static str, u64> {
        BTreeMap::new()
    }

    /// How many of `indices` the batch at `indices` goes without, asked after it was made. It depends on the data alone, so
    /// that a continued run counts as one that was never stopped. None unless overridden.
    fn left_out(&self, _split: &Split, _indices: &[usize]) -> u64 {
        0
    }

    /// A hash over all examples of `split` and everything else that its batches and metrics depend on, and nothing else: what
    /// is trained is known by the training split alone, and each evaluation by the split that it judges.
    fn identity(&self, split: &Split) -> String;
}

/// What datasets found out about their files, kept from one run to the next as bytes by name. It is for saving time alone: what
/// was put there may be gone whenever it is looked for, and whatever is found is what was put there.
pub trait DataCache: Send + Sync {
    /// What was put there under that name.
    fn get(&self, name: &str) -> Option<Vec<u8>>;

    /// Puts it there, in the place of what was put there before. Failing is no error.
    fn put(&self, name: &str, bytes: &[u8]);
}

/// What a dataset plugin is asked to open.
#[non_exhaustive]
pub struct DatasetRequest<'a> {
    /// The plugin's own options, relative paths resolved against the working directory.
    pub options: &'a toml::Table,
    /// How the model at hand reads inputs. Without one a dataset of raw inputs still reads its files: what is wrong with
    /// them is its answer, and [`Error::Unsupported`] when nothing is.
    pub preprocessor: Option<Arc<dyn Preprocessor>>,
    /// Whether it will be trained on. If not, the training split need be neither read nor right.
    pub training: bool,
    /// Where it may keep what it finds out about files, to know it again while they have not changed; nowhere when `None`.
    pub cache: Option<&'a dyn DataCache>,
}

impl<'a> DatasetRequest<'a> {
    /// A request for all splits, on behalf of a model that reads inputs like this.
    pub fn new(options: &'a toml::Table, preprocessor: Option<Arc<dyn Preprocessor>>) -> Self {
        Self { options, preprocessor, training: true, cache: None }
    }

    /// A request on behalf of `model`, with the training split.
    pub fn for_model(options: &'a toml::Table, model: &dyn Model) -> Self {
        Self::new(options, model.preprocessor())
    }

    /// The same for what is evaluated and not trained on.
    pub fn evaluated(self) -> Self {
        Self { training: false, ..self }
    }

    /// The same with a place for what is found out about files.
    pub fn cached(self, cache: Option<&'a dyn DataCache>) -> Self {
        Self { cache, ..self }
    }
}
