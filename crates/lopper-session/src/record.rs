//! What a run leaves for people and programs to read.

use crate::Precision;
use crate::provenance::Provenance;
use crate::sealed::{self, Sealed};
use lopper_core::{Error, MetricValue, Result, Split, Stage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Numbers that are worth a word because they are not zero, by what they count, such as `unaligned_sentences`.
pub type Counts = BTreeMap<String, u64>;

/// Metrics of one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitMetrics {
    /// Which split.
    pub split: Split,
    /// Its metrics, in the dataset's order.
    pub metrics: Vec<MetricValue>,
}

/// What training a stage left, apart from how good it is: that is an [`EvaluationRecord`] of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Training key: the hash of everything that the result depends on.
    pub key: String,
    /// The stage as the run planned it that trained it.
    pub stage: Stage,
    /// Exact share of pruned entries in the final mask.
    pub sparsity: f64,
    /// Pruned entries of the final mask.
    pub pruned: u64,
    /// Prunable entries.
    pub entries: u64,
    /// Hash of the final weights, mask ⊙ weights: name, role, shape and bits of each.
    pub weights: String,
    /// Updates skipped for a loss or gradient that was not finite.
    pub skipped_updates: u64,
    /// What its updates left out or could not use, counted whenever they met it.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub counts: Counts,
    /// Wall-clock seconds that training took, over all sittings.
    pub seconds: f64,
    /// Versions and hardware.
    pub made_by: Provenance,
    /// BLAKE3 of the stage's other files, in hexadecimal.
    pub(crate) files: BTreeMap<String, String>,
}

impl Sealed for StageRecord {
    const NAME: &'static str = "stage record";
    const FORMAT: u32 = 3;
}

/// How good the weights of a stage are on one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Evaluation key: the hash of everything that the metrics depend on.
    pub key: String,
    /// Training key of the stage.
    pub stage: String,
    /// The update of the stage after which its weights, mask ⊙ weights, were judged.
    pub update: u64,
    /// The split and its metrics.
    pub metrics: SplitMetrics,
    /// Wall-clock seconds that it took.
    pub seconds: f64,
    /// Versions and hardware.
    pub made_by: Provenance,
    /// BLAKE3 of what was said of every example, in hexadecimal, where that is kept beside this record. An earlier Lopper kept
    /// metrics alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) predictions: Option<String>,
}

impl Sealed for EvaluationRecord {
    const NAME: &'static str = "evaluation record";
    const FORMAT: u32 = 1;
}

impl StageRecord {
    /// Reads the content of a `stage.json`. Whatever the bytes, memory stays in proportion to their number.
    ///
    /// # Errors
    /// [`Other`](lopper_core::Error::Other) for a record of another version, naming the Lopper that wrote it, and for any change since it was
    /// written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        sealed::open(bytes)
    }
}

impl EvaluationRecord {
    /// Reads the content of an `evaluation.json`. Whatever the bytes, memory stays in proportion to their number.
    ///
    /// # Errors
    /// [`Other`](lopper_core::Error::Other) for a record of another version, naming the Lopper that wrote it, and for any change since it was
    /// written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        sealed::open(bytes)
    }
}

impl Sealed for RunRecord {
    const NAME: &'static str = "run record";
    const FORMAT: u32 = 3;
}

/// One stage within a run's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStage {
    /// The stage's name.
    pub name: String,
    /// Its training key.
    pub key: String,
    /// Its plan key.
    pub plan: String,
    /// Optimizer steps.
    pub updates: u64,
    /// False when its result was in the store already.
    pub trained: bool,
    /// Seconds it took, when it was trained.
    pub seconds: f64,
    /// Exact sparsity of its final mask.
    pub sparsity: f64,
    /// Metrics of what it ended with. None for a stage before the last that is not judged yet by these evaluations and
    /// whose weights are not kept any more.
    pub metrics: Vec<SplitMetrics>,
    /// What its updates left out or could not use, counted whenever they met it.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub counts: Counts,
}

/// A finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of libtorch.
    pub libtorch: String,
    /// The pruning method.
    pub method: String,
    /// The model plugin.
    pub model: String,
    /// The task.
    pub task: String,
    /// The task's primary metric on its first evaluation split; `None` where the subnetwork was not finetuned, so that its head
    /// knows nothing.
    pub metric: Option<MetricValue>,
    /// All metrics of all evaluation splits.
    pub metrics: Vec<SplitMetrics>,
    /// What the model said of every example, as CSV, by split (`docs/formats.md`). Splits are missing of which that is not known:
    /// judged by an earlier Lopper, or of a dataset that does not tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub predictions: BTreeMap<String, PathBuf>,
    /// What the dataset counted when it was opened, such as rows that were left out, by split.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, Counts>,
    /// Exact share of pruned entries.
    pub sparsity: f64,
    /// Pruned entries.
    pub pruned: u64,
    /// Prunable entries.
    pub entries: u64,
    /// Prunable entries of the pre-trained model that were zero before anything was trained: it was pruned already.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub zeros_at_start: u64,
    /// Stages that train, shared ones included (paper, Table 1).
    pub finetunings: u64,
    /// Finetunings that this run trained itself.
    pub trained: u64,
    /// Optimizer steps over all stages.
    pub updates: u64,
    /// Seconds of all stages, shared ones included: what the method costs alone.
    pub seconds: f64,
    /// Each stage.
    pub stages: Vec<RunStage>,
    /// The pruned model, a Hugging Face directory with the mask beside the weights; `None` where none was to be saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_dir: Option<PathBuf>,
    /// The mask file.
    pub mask: PathBuf,
    /// `cpu` or `cuda`.
    pub device: String,
    /// Arithmetic.
    pub precision: Precision,
    /// The run's seed.
    pub seed: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl RunRecord {
    /// Its file in the run's directory.
    pub(crate) const FILE: &str = "record.json";
    /// The directory of its model beside it.
    pub(crate) const MODEL: &str = "model";
    /// Its mask, where no model is saved.
    pub(crate) const LONE_MASK: &str = "mask.safetensors";

    /// The value of the primary metric; NaN where the subnetwork was not finetuned.
    pub fn value(&self) -> f64 {
        self.metric.as_ref().map_or(f64::NAN, |metric| metric.value)
    }

    /// Reads the record of the finished run in a directory.
    ///
    /// # Errors
    /// [`Error::File`](lopper_core::Error::File) when it cannot be read, and what [`from_bytes`](Self::from_bytes) says of it.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(Self::FILE);
        let bytes = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
        Self::from_bytes(&bytes).map_err(|e| Error::file(path, e))
    }

    /// Reads the content of a `record.json`. Whatever the bytes, memory stays in proportion to their number.
    ///
    /// # Errors
    /// [`Other`](lopper_core::Error::Other) for a record of another version, naming the Lopper that wrote it, and for any change since it was
    /// written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        sealed::open(bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::RunRecord;
    use serde_json::json;

    /// The record of a run whose stages have these plan keys.
    pub(crate) fn record(plans: &[&str]) -> RunRecord {
        let stage = |plan: &&str| {
            json!({"name": "a", "key": "k", "plan": plan, "updates": 9, "trained": true, "seconds": 1.5, "sparsity": 0.5,
                "metrics": []})
        };
        let record = json!({"libtorch": "2", "method": "parp", "model": "bert", "task": "rte", "metrics": [], "sparsity": 0.5,
            "metric": {"name": "accuracy", "value": 0.75}, "pruned": 4, "entries": 8, "finetunings": 1, "trained": 1,
            "updates": 9, "seconds": 1.5, "stages": plans.iter().map(stage).collect::<Vec<_>>(), "mask": "runs/a/mask",
            "device": "cpu", "precision": "float32", "seed": 1});
        serde_json::from_value(record).unwrap()
    }
}
