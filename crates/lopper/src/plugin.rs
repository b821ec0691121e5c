//! Everything that a plugin needs, from this one crate: a plugin's `Cargo.toml` names `lopper` and nothing else.
//!
//! A pruning method is one file: its options, an `impl` of [`PruningStrategy`] and, where it does more than rank magnitudes, of
//! [`StageMethod`], and [`strategy!`].
//!
//! ```no_run,standalone_crate
//! use lopper::plugin::{PruningStrategy, Result, RunSpec, Stage, options, strategy};
//!
//! options! {
//!     /// It has no options.
//!     struct MineOptions {}
//! }
//!
//! struct Mine;
//!
//! impl PruningStrategy for Mine {
//!     fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
//!         Ok(vec![Stage::dense(run).named("mine").discovered(run.sparsity)])
//!     }
//! }
//!
//! strategy! {
//!     name: "mine",
//!     summary: "magnitudes of theta_0",
//!     options: MineOptions,
//!     open: |_| Ok(Mine),
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     lopper::run() // accepts `method = "mine"`
//! }
//! ```
//!
//! An option whose type is an enum derives serde's traits with `#[serde(crate = "lopper::plugin::serde")]`. What is logged
//! through [`tracing`] is shown with `-v`.

/// Raised when a plugin that compiled may compile no more, or does something else than before.
pub const API_VERSION: u32 = 1;

#[doc(no_inline)]
pub use std::{collections::BTreeMap, sync::Arc};

/// What a pruning method is made of.
pub use lopper_core::{
    Allocation, Among, Calibrated, Calibration, Change, Collect, Gradients, HeadStart, InitialMask, Magnitudes,
    MaskTensors, Measures, MethodState, Moments, Pattern, PrunableWeight, PrunedWeights, PruningStrategy, Quota,
    RandomKind, Request, RewindPoint, RunSpec, ScheduleSpec, Scores, Scoring, Selector, Stage, StageMethod, View,
    WeightView, strategy,
};

/// What a mask schedule is made of.
pub use lopper_core::{MaskSchedule, MaskScheduleEntry};

/// What all plugins use.
pub use lopper_core::{
    Error, Layout, MaskError, MaskOrigin, MaskSet, OptionDoc, ParameterName, Result, Sparsity, StrategyEntry,
    TensorLayout, nearest, options, registry,
};

/// What a model is made of.
pub use lopper_core::{
    Artifact, Batch, Features, Head, Input, Inputs, Loss, Mode, Model, ModelEntry, ModelRequest, Parameter, Parameters,
    Predictions, Preprocessor, Role, Targets, Task,
};

/// What a dataset is made of.
pub use lopper_core::{Dataset, DatasetEntry, DatasetRequest, MetricValue, Split};

/// The training recipe, which a stage may change.
pub use lopper_core::{Batching, Optimizer, RateSchedule, Recipe};

/// The crates behind it, in the versions that Lopper has.
pub use {inventory, serde, tch, toml, tracing};
