//! The trait behind which labelled data stands.

use crate::{Batch, Error, Head, Model, Outcomes, Predictions, Preprocessor, Result, Task, registry::entry};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// A named number: a share in `[0, 1]`, a correlation in `[-1, 1]`, or a rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricValue {
    /// Such as `accuracy`, `f1`, `matthews`, `pearson`, `spearman`.
    pub name: String,
    /// The value; never scaled to percent.
    pub value: f64,
}

/// First words of the names of metrics of which less is better.
const ERRORS: [&str; 10] = ["wer", "cer", "per", "error", "loss", "perplexity", "mae", "mse", "rmse", "eer"];

impl MetricValue {
    /// Whether less of it is better: it is an error rate (`wer`, `cer`, `per`, `eer`), an `error`, a `loss`, a `perplexity`, or a mean
    /// error (`mae`, `mse`, `rmse`), by the letters that its name begins or ends with.
    pub fn lower_is_better(&self) -> bool {
        let mut words = self.name.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        let is_error = |word: &str| ERRORS.iter().any(|error| word.eq_ignore_ascii_case(error));
        let first = words.next();
        first.is_some_and(is_error) || words.next_back().is_some_and(is_error)
    }
}

/// What the outputs for a split are worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The task's metrics.
    pub metrics: Vec<MetricValue>,
    /// What was said of every example, in the split's order, such that each of the metrics can be computed again
    /// ([`Outcomes::metric`]), to the last bit: methods are compared over examples by it. Without it they cannot be.
    pub outcomes: Option<Outcomes>,
}

impl Evaluation {
    /// Metrics, and nothing of single examples.
    pub fn of_metrics(metrics: Vec<MetricValue>) -> Self {
        Self { metrics, outcomes: None }
    }

    /// What was said of every example, and these of its metrics.
    ///
    /// # Errors
    /// [`Error::Other`] naming a metric that such outcomes do not have.
    pub fn of_outcomes<N: Into<String>>(outcomes: Outcomes, names: impl IntoIterator<Item = N>) -> Result<Self> {
        let metric = |name: N| {
            let name = name.into();
            let value = outcomes.metric(&name);
            let value = value.ok_or_else(|| Error::Other(format!("{name} is no metric of such outcomes")))?;
            Ok(MetricValue { name, value })
        };
        let metrics = names.into_iter().map(metric).collect::<Result<_>>()?;
        Ok(Self { metrics, outcomes: Some(outcomes) })
    }
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

    /// What the outputs for a split are worth. `outputs` holds, for batches that cover the split once, their indices and
    /// predictions on the CPU.
    ///
    /// # Errors
    /// When the predictions do not cover the split, or are of another head's shape; when batches of the split went without
    /// examples.
    fn evaluate(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Evaluation>;

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
    /// them is its answer, and [`Error::Unsupported`](crate::Error::Unsupported) when nothing is.
    pub preprocessor: Option<Arc<dyn Preprocessor>>,
    /// The head that answers, where it is known. A dataset whose labels are the head's in another order takes the head's; one that
    /// does not is refused for that head.
    pub head: Option<&'a Head>,
    /// Whether it will be trained on. If not, the training split need be neither read nor right.
    pub training: bool,
    /// Where it may keep what it finds out about files, to know it again while they have not changed; nowhere when `None`.
    pub cache: Option<&'a dyn DataCache>,
}

impl<'a> DatasetRequest<'a> {
    /// A request for all splits, on behalf of a model that reads inputs like this.
    pub fn new(options: &'a toml::Table, preprocessor: Option<Arc<dyn Preprocessor>>) -> Self {
        Self { options, preprocessor, head: None, training: true, cache: None }
    }

    /// A request on behalf of `model`, with the training split.
    pub fn for_model(options: &'a toml::Table, model: &'a dyn Model) -> Self {
        Self::new(options, model.preprocessor()).answered_by(model.head())
    }

    /// The same for that head.
    pub fn answered_by(self, head: Option<&'a Head>) -> Self {
        Self { head, ..self }
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

entry! {
    /// A dataset; [`new`](DatasetEntry::new) takes the fields in their order.
    #[non_exhaustive]
    DatasetEntry, "dataset" {
        /// The task that these options describe, without loading examples: the model's head must be known first.
        task: fn(&toml::Table) -> Result<Task>,
        /// Loads it.
        open: fn(&DatasetRequest<'_>) -> Result<Box<dyn Dataset>>,
    }
}
