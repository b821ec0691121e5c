//! The cells of an experiment and their results, as plain data.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Axes that every cell has, named in its sweep or not.
pub const BUILT_IN_AXES: [&str; 4] = ["method", "task", "sparsity", "seed"];

/// One run of the sweep: a point of its axes with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Unique within the experiment.
    pub name: String,
    /// Its value on each axis of the sweep, such as `method = "parp"`, `sparsity = 0.7`, `source = "mnli"`.
    pub axes: BTreeMap<String, AxisValue>,
    /// The seed; cells that differ in nothing else are repetitions of each other.
    pub seed: u64,
    /// How far it is.
    pub state: State,
    /// What came of it, once it is done.
    pub result: Option<CellResult>,
}

/// How far a cell is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not begun.
    Waiting,
    /// Under way.
    Running,
    /// Finished; it has a result.
    Done,
    /// Ended by an error, which is told.
    Failed(String),
}

/// A value on an axis. Numbers compare by `f64::total_cmp`; values of different kinds in the order of the variants.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AxisValue {
    /// Such as `true`.
    Flag(bool),
    /// Such as `0.7`.
    Number(f64),
    /// Such as `"mrpc"`.
    Text(String),
}

/// What a finished cell measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellResult {
    /// The pruning method; the cell's value on the axis `method` where its axes name none.
    pub method: String,
    /// The task; the cell's value on the axis `task` where its axes name none.
    pub task: String,
    /// All metrics of all splits.
    pub metrics: Vec<Metric>,
    /// Exactly `pruned / entries`.
    pub sparsity: f64,
    /// Pruned entries of the final mask.
    pub pruned: u64,
    /// Prunable entries.
    pub entries: u64,
    /// Finetunings that the method needs, as the paper counts them (Figure 1, Table 1), shared or not.
    pub finetunings: u64,
    /// Finetunings that were trained for this cell when it was run last; the others were there already.
    pub trained: u64,
    /// What the store knows its finetunings by: those of two cells that share one are the same.
    pub stages: Vec<String>,
    /// Updates of all its finetunings.
    pub updates: u64,
    /// Seconds that it took here.
    pub seconds: f64,
    /// The final mask's file.
    pub mask: PathBuf,
    /// What its model said of every example, by split, in the files that `lopper_metrics::Outcomes` writes; splits of which that is not
    /// known are missing.
    #[serde(default)]
    pub predictions: BTreeMap<String, PathBuf>,
    /// The mask that the last stage began with, where there was one.
    pub start_mask: Option<PathBuf>,
}

/// One number that a task judges a model by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Such as `dev`.
    pub split: String,
    /// Such as `accuracy`.
    pub name: String,
    /// In the metric's own unit; not finite where it is not defined, and then left out of means and counted.
    pub value: f64,
    /// False for error rates.
    pub higher_is_better: bool,
    /// Whether this is the one by which the task compares models.
    pub primary: bool,
}

impl Cell {
    /// Its value on an axis: one of the sweep, or one of [`BUILT_IN_AXES`].
    ///
    /// `method`, `task` and `sparsity` that the sweep does not vary come from the result, so a cell that is not done may lack them.
    pub fn axis(&self, name: &str) -> Option<AxisValue> {
        if let Some(value) = self.axes.get(name) {
            return Some(value.clone());
        }
        match name {
            "seed" => Some(AxisValue::Number(self.seed as f64)),
            "method" => self.result.as_ref().map(|r| AxisValue::Text(r.method.clone())),
            "task" => self.result.as_ref().map(|r| AxisValue::Text(r.task.clone())),
            "sparsity" => self.result.as_ref().map(|r| AxisValue::Number(r.sparsity)),
            _ => None,
        }
    }
}

impl CellResult {
    /// The metric of this name (`f1`, or `dev/f1` with its split), or the primary one where none is named.
    ///
    /// Among several of one name the primary one is taken, else the first.
    pub fn metric(&self, wanted: Option<&str>) -> Option<&Metric> {
        let named = |metric: &&Metric| match wanted {
            None => true,
            Some(name) => {
                metric.name == name || name.split_once('/').is_some_and(|(s, n)| metric.split == s && metric.name == n)
            }
        };
        let mut fitting = self.metrics.iter().filter(named);
        let first = fitting.clone().next();
        fitting.find(|metric| metric.primary).or(first)
    }
}

impl State {
    /// One word: `waiting`, `running`, `done` or `failed`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed(_) => "failed",
        }
    }
}

impl AxisValue {
    fn rank(&self) -> u8 {
        match self {
            Self::Flag(_) => 0,
            Self::Number(_) => 1,
            Self::Text(_) => 2,
        }
    }

    /// The number, where it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }
}

/// The value alone, without quotes; numbers in the fewest digits that give them back.
impl fmt::Display for AxisValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

impl Ord for AxisValue {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Flag(a), Self::Flag(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for AxisValue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for AxisValue {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for AxisValue {}

impl From<&str> for AxisValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<f64> for AxisValue {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<bool> for AxisValue {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}
