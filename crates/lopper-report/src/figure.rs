//! What is to be drawn, as plain data; `parse` reads it from an experiment's `[[figure]]` tables.

use crate::AxisValue;
use std::collections::BTreeMap;

/// Which cells: those that have, on every axis named, one of the values given. Without axes, all.
pub type Selection = BTreeMap<String, Vec<AxisValue>>;

/// One figure to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The name of its files, without an ending; letters, digits, `-` and `_`.
    pub name: String,
    /// The heading; the name where none is given.
    pub title: String,
    /// What the paper found, in a sentence.
    pub paper: Option<String>,
    /// The cells that it shows (`where`).
    pub cells: Selection,
    /// What kind it is, with the keys of that kind.
    pub kind: Kind,
}

/// The kinds of figures. `docs/figures.md` has an example of each.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// A metric against a numeric axis, a line a method (Figures 3, 4, 6, 9, 31 to 40).
    Curve(Curve),
    /// A metric over two axes as a heat map (Figures 7, 28, 29, Table 4).
    Matrix(Matrix),
    /// Final masks compared pairwise (Figures 2, 10 to 27, 30).
    Overlap(Overlap),
    /// The IOU of final and initial mask against a numeric axis (Figure 5).
    Drift(Drift),
    /// Sparsity per layer and kind of matrix as a heat map.
    Layers(Layers),
    /// A metric against what it cost (Figure 1).
    Cost(Cost),
    /// A metric over two axes in numbers (Tables 1 to 4).
    Table(Table),
    /// Differences to a baseline, paired by seed, over seeds and over examples.
    Compare(Compare),
}

/// How the interval of a mean is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whiskers {
    /// A bar at every point.
    #[default]
    Bars,
    /// A band along the line.
    Band,
    /// Not at all; it is still in the CSV and in what is shown on hovering.
    None,
}

/// Keys of `kind = "curve"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The numeric axis.
    pub x: String,
    /// The metric; each task's primary one where none is named.
    pub y: Option<String>,
    /// The axis that parts the lines.
    pub lines: String,
    /// The axis that parts the panels.
    pub panels: Option<String>,
    /// Cells that are drawn as a horizontal line, such as those of the dense model.
    pub dense: Option<Selection>,
    /// How intervals are drawn.
    pub interval: Whiskers,
}

/// Keys of `kind = "matrix"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// The axis of the rows, such as the task that a mask comes from.
    pub rows: String,
    /// The axis of the columns, such as the task that is finetuned.
    pub columns: String,
    /// The metric; each task's primary one where none is named.
    pub value: Option<String>,
    /// Whether values are differences to the cell of the same column whose row is the column (`relative = "diagonal"`).
    pub relative: bool,
    /// The axis that parts the panels, such as how the subnetwork was finetuned.
    pub panels: Option<String>,
}

/// What is told of two masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    /// |a ∧ b| / |a ∨ b| over kept entries (paper, equation 1).
    #[default]
    Iou,
    /// |a ∧ b| / all prunable entries (paper, footnote 14).
    Overlap,
}

/// Keys of `kind = "overlap"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Overlap {
    /// The axis whose values are compared with each other, such as `task`.
    pub over: String,
    /// What is told of two masks.
    pub measure: Measure,
    /// Further rows: the masks of other cells, such as those of MPI and RP.
    pub reference: Vec<Selection>,
    /// The axis that parts the panels.
    pub panels: Option<String>,
}

/// Keys of `kind = "drift"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// The numeric axis.
    pub x: String,
    /// The axis that parts the lines.
    pub lines: String,
    /// The axis that parts the panels.
    pub panels: Option<String>,
    /// How intervals are drawn.
    pub interval: Whiskers,
}

/// Keys of `kind = "layers"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Layers {
    /// The axis that parts the panels, such as `method`.
    pub panels: Option<String>,
}

/// What a result cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effort {
    /// Finetunings that the method needs.
    #[default]
    Finetunings,
    /// Updates of all its finetunings.
    Updates,
    /// Seconds that it took here.
    Seconds,
}

/// Keys of `kind = "cost"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// What it cost.
    pub x: Effort,
    /// The metric; each task's primary one where none is named.
    pub y: Option<String>,
    /// The axis that parts the points.
    pub points: String,
    /// The axis that parts the panels.
    pub panels: Option<String>,
}

/// Keys of `kind = "table"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The axis of the rows.
    pub rows: String,
    /// The axis of the columns.
    pub columns: String,
    /// The metric; each task's primary one where none is named.
    pub value: Option<String>,
}

/// Keys of `kind = "compare"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Compare {
    /// The axis whose values are compared, such as `method`.
    pub over: String,
    /// The value that the others are compared with.
    pub baseline: AxisValue,
    /// The metric; each task's primary one where none is named.
    pub value: Option<String>,
    /// The axis that parts the panels.
    pub panels: Option<String>,
}

impl Kind {
    /// The word for it in a configuration.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Curve(_) => "curve",
            Self::Matrix(_) => "matrix",
            Self::Overlap(_) => "overlap",
            Self::Drift(_) => "drift",
            Self::Layers(_) => "layers",
            Self::Cost(_) => "cost",
            Self::Table(_) => "table",
            Self::Compare(_) => "compare",
        }
    }
}
