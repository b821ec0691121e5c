//! Runs a plan: the update loop, optimizers whose state can be read, rates, batches, checkpoints and the store of
//! finished stages.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed test panics"))]

mod ahead;
mod batching;
mod calibration;
mod checkpoint;
mod data_cache;
mod decay;
mod disk;
mod evaluate;
mod events;
mod identity;
mod judge;
mod kept;
mod machine;
mod memory;
mod needs;
mod occupied;
mod open_dataset;
mod optimizer;
mod plan;
mod plugins;
mod predictions;
mod pretrained;
mod progress;
mod provenance;
mod pruned;
mod rate;
mod record;
mod removal;
mod reprune;
mod run_id;
mod sealed;
mod session;
mod settings;
mod stage;
mod status;
mod stop;
mod store;
mod tensorboard;
mod weights;
mod world;
mod writer;

pub use batching::{Batcher, MicroBatches, evaluation_batches};
pub use checkpoint::{CheckpointRecord, Progressed};
pub use data_cache::StoreCache;
pub use disk::{DiskNeeds, check_disk_for_model, check_text};
pub use evaluate::evaluate;
pub use identity::{FORMAT, RunIdentity};
pub use memory::guarded;
pub use open_dataset::OpenDataset;
pub use optimizer::{OptimizerState, clip_gradients, gradient_norm};
pub use plan::PlannedStage;
pub use provenance::Provenance;
pub use rate::LearningRate;
pub use record::{Counts, EvaluationRecord, RunRecord, RunStage, SplitMetrics, StageRecord};
pub use removal::{RemovableRun, removable};
pub use reprune::warn_of_long_intervals;
pub use session::{Participants, Session, updates_per_epoch};
pub use settings::{CheckpointEvery, EvaluationBatches, Keep, Precision, SessionSettings, WantedByOthers};
pub use status::{RunState, RunStatus, StageStatus};
pub use stop::Stop;
pub use store::{
    ArtefactId, Claim, Desk, Holder, Kind, LEASE, Lease, Listed, Reference, StageStore, Store, StoredStage,
    Unreferenced,
};
