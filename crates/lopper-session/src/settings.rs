//! How a run is carried out, apart from what it trains.

use crate::Stop;
use lopper_weights::SaveDtype;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tch::Device;

/// The arithmetic of forward and backward. Weights, moments and masks are float32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// IEEE single precision.
    #[default]
    Float32,
    /// bfloat16 where libtorch's autocast deems it safe.
    Bf16,
}

/// How large the batches of an evaluation are. Metrics depend on it where a model pads as its reference does; it is part of an
/// evaluation's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluationBatches {
    /// Most examples.
    pub rows: usize,
    /// Most tokens or samples, padding counted, unless one example alone has more; `None` for any number.
    pub budget: Option<u64>,
}

/// When the state of a stage under way is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointEvery {
    /// Only when the run is asked to stop.
    OnInterrupt,
    /// After so many updates.
    Updates(u64),
    /// After the first update past so much time.
    Time(Duration),
}

/// Which weights stay in the store once a run is done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Those of dense stages, which serve other methods and sparsities; of pruned stages the last of a run that saves its model.
    /// What a round of IMP ended with goes when the next round has read it, unless another run wants it.
    #[default]
    Needed,
    /// All of them.
    All,
}

/// Whose weights the other runs of one experiment still want when a run is done with them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WantedByOthers {
    /// Nobody knows: those of dense stages, which serve other methods and sparsities, may be.
    #[default]
    Dense,
    /// Those of these stages of the plan, by number, and of no other.
    Stages(BTreeSet<usize>),
}

/// How a run is carried out. None of it but `seed`, `device` and `precision` changes a result.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Seeds data order, dropout and a fresh head.
    pub seed: u64,
    /// Where the model lies.
    pub device: Device,
    /// Arithmetic of forward and backward.
    pub precision: Precision,
    /// The run's own directory: record, metrics, checkpoint, pruned model.
    pub out: PathBuf,
    /// Finished stages by content, shared between runs.
    pub store: PathBuf,
    /// Which weights stay in the store.
    pub keep: Keep,
    /// Which of them [`Keep::Needed`] keeps for others.
    pub wanted_by_others: WantedByOthers,
    /// How long a claim of a process stands of which nothing is heard: then its work is taken over.
    pub lease: Duration,
    /// Updates between validations within a stage; 0 for one at the end of each stage.
    pub evaluate_every: u64,
    /// Batches in evaluation.
    pub evaluation: EvaluationBatches,
    /// When a stage under way is saved.
    pub checkpoint: CheckpointEvery,
    /// How many of its states are kept, the newest, at least one. While one is written there is one more.
    pub checkpoints_kept: usize,
    /// Whether the pruned model is written into the run's directory. Without it only the mask is, and with [`Keep::Needed`] a
    /// pruned stage's last weights go as well, once they are judged.
    pub save_model: bool,
    /// The type of the saved model's weights.
    pub save_dtype: SaveDtype,
    /// Whether the finished run of another configuration in the run's directory may be replaced: its record, model and mask are
    /// removed before this run begins. Otherwise such a directory is refused.
    pub replace: bool,
    /// Kept as `config.toml` in the run's directory, for whoever wants to know or repeat what was done.
    pub configuration: Option<String>,
    /// Whether a bar of the stage under way is drawn on standard error, where that is a terminal.
    pub progress: bool,
    /// Whether what `metrics.jsonl` tells is also written as TensorBoard's event files, in `tensorboard/` in the run's directory.
    pub tensorboard: bool,
    /// Updates in a row that may be skipped for a loss or gradient that is not finite.
    pub max_skipped: u64,
    /// Asks the run, from outside such as a signal handler, to save its state and stop.
    pub stop: Stop,
}
