//! What a run leaves for people and programs to read.

use crate::Precision;
use crate::sealed::{self, Sealed};
use lopper_core::{MetricValue, Result, Split, Stage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

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

/// One validation within a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// After so many updates of the stage.
    pub update: u64,
    /// Of mask ⊙ weights.
    pub splits: Vec<SplitMetrics>,
}

/// A finished stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Hash of everything the result depends on.
    pub key: String,
    /// The stage as planned.
    pub stage: Stage,
    /// Exact share of pruned entries in the final mask.
    pub sparsity: f64,
    /// Pruned entries of the final mask.
    pub pruned: u64,
    /// Prunable entries.
    pub entries: u64,
    /// Validations of mask ⊙ weights, the last one after the last update.
    pub validations: Vec<Validation>,
    /// Updates skipped for a loss or gradient that was not finite.
    pub skipped_updates: u64,
    /// What its updates left out or could not use, counted whenever they met it. Older records do not say.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub counts: Counts,
    /// Wall-clock seconds that training and validating took, over all sittings.
    pub seconds: f64,
    /// BLAKE3 of the stage's other files, as each one's own format counts it, in hexadecimal.
    pub(crate) files: BTreeMap<String, String>,
}

impl Sealed for StageRecord {
    const NAME: &'static str = "stage record";
    const FORMAT: u32 = 2;
}

impl Sealed for RunRecord {
    const NAME: &'static str = "run record";
    const FORMAT: u32 = 2;
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

    /// Metrics after the last update; empty for a stage that evaluated nothing.
    pub fn final_metrics(&self) -> &[SplitMetrics] {
        self.validations.last().map_or(&[], |v| &v.splits)
    }
}

/// One stage within a run's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStage {
    /// The stage's name.
    pub name: String,
    /// Its identity.
    pub key: String,
    /// Optimizer steps.
    pub updates: u64,
    /// False when its result was in the store already.
    pub trained: bool,
    /// Seconds it took, when it was trained.
    pub seconds: f64,
    /// Exact sparsity of its final mask.
    pub sparsity: f64,
    /// Its final metrics.
    pub metrics: Vec<SplitMetrics>,
    /// What its updates left out or could not use, counted whenever they met it. Older records do not say.
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
    /// The task's primary metric on its first evaluation split.
    pub metric: MetricValue,
    /// All metrics of all evaluation splits.
    pub metrics: Vec<SplitMetrics>,
    /// What the dataset counted when it was opened, such as rows that were left out, by split. Older records do not say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, Counts>,
    /// Exact share of pruned entries.
    pub sparsity: f64,
    /// Pruned entries.
    pub pruned: u64,
    /// Prunable entries.
    pub entries: u64,
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
    /// The pruned model, a Hugging Face directory with the mask beside the weights.
    pub model_dir: PathBuf,
    /// The mask file.
    pub mask: PathBuf,
    /// `cpu` or `cuda`.
    pub device: String,
    /// Arithmetic.
    pub precision: Precision,
    /// The run's seed.
    pub seed: u64,
}

impl RunRecord {
    /// Its file in the run's directory.
    pub(crate) const FILE: &str = "record.json";

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
mod tests {
    use super::*;

    fn record(counts: Counts) -> StageRecord {
        StageRecord {
            key: "key".into(),
            stage: Stage::dense(&lopper_testkit::run_spec(lopper_core::Sparsity::DENSE, 9)),
            sparsity: 0.0,
            pruned: 0,
            entries: 1,
            validations: Vec::new(),
            skipped_updates: 0,
            counts,
            seconds: 1.0,
            files: BTreeMap::new(),
        }
    }

    /// As the records of versions that counted nothing.
    #[test]
    fn a_record_that_counts_nothing_says_nothing_of_counts_and_is_read() {
        let bytes = sealed::seal(&record(Counts::new())).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("counts"));
        assert_eq!(StageRecord::from_bytes(&bytes).unwrap(), record(Counts::new()));
        let counted = record(Counts::from([("unaligned_sentences".to_owned(), 3)]));
        assert_eq!(StageRecord::from_bytes(&sealed::seal(&counted).unwrap()).unwrap(), counted);
    }
}
