//! What a stage is trained with.

use crate::checkpoint::Resumed;
use crate::events::TrainingLines;
use crate::plugins::Plugins;
use crate::weights::Weights;
use crate::{Precision, Stop};
use lopper_core::{Dataset, MaskSet, Model, Selector, Stage, StageMethod};
use std::collections::BTreeSet;
use tch::Device;

/// Everything that the result of a stage is a function of, and how much of that result is wanted.
///
/// Where several processes train it together, each of them has these inputs: its own model and weights, equal to the others'
/// bit for bit, and the same of all else.
pub(crate) struct StageInputs<'a> {
    /// What is done, with its recipe.
    pub(crate) stage: &'a Stage,
    /// Its training key, under which its checkpoints are found again.
    pub(crate) key: &'a str,
    /// The mask that it starts with.
    pub(crate) start_mask: &'a MaskSet,
    /// What was told of it before its first update.
    pub(crate) first_lines: TrainingLines,
    pub(crate) model: &'a dyn Model,
    /// The model's parameters, holding what the stage starts from.
    pub(crate) weights: &'a mut Weights,
    pub(crate) dataset: &'a dyn Dataset,
    /// What the strategy does inside this stage.
    pub(crate) method: &'a mut dyn StageMethod,
    /// Names of model, dataset and strategy. A method's random numbers depend on its own.
    pub(crate) plugins: &'a Plugins,
    /// Ranks weights. It keeps memory for the next ranking and nothing that a result depends on.
    pub(crate) selector: &'a mut Selector,
    /// Of data order, dropout and a method's random numbers.
    pub(crate) seed: u64,
    pub(crate) precision: Precision,
    pub(crate) device: Device,
    /// Updates in a row that may be skipped for a loss or gradient that is not finite.
    pub(crate) max_skipped: u64,
    /// A state of the stage under way, from which to go on.
    pub(crate) resume: Option<Resumed>,
    pub(crate) goal: Goal,
    /// Asks it to save its state and stop.
    pub(crate) stop: &'a Stop,
}

/// What of a stage is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    /// The update at which to end: the stage's last, or an earlier one after which nothing of it is missing.
    pub(crate) until: u64,
    /// Updates on the way after which the weights are kept.
    pub(crate) snapshots: BTreeSet<u64>,
    /// Updates on the way after which it is judged.
    pub(crate) judged: BTreeSet<u64>,
    /// Whether the next stage goes on from what the method remembers.
    pub(crate) hands_on: bool,
}
