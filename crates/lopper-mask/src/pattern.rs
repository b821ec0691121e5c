//! Which entries may go only together.

use crate::{Error, Layout, MaskSet, Result, TensorLayout};
use serde::{Deserialize, Serialize};
use std::fmt;

/// In which groups entries are kept and pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Pattern {
    /// Each entry for itself.
    #[default]
    Unstructured,
    /// Of every `m` neighbours along the last axis, which is the input of a linear layer, exactly `n` are kept: 2 of 4 is what
    /// sparse tensor cores compute (Mishra et al. 2021). The sparsity is (m - n) / m and no other.
    NofM {
        /// Kept entries of a group.
        n: u64,
        /// Entries of a group.
        m: u64,
    },
    /// Blocks of the last two axes, kept or pruned whole by the mean of their entries' scores.
    Blocks {
        /// Entries along the last axis but one, the output of a linear layer.
        rows: u64,
        /// Entries along the last axis, the input of a linear layer.
        columns: u64,
    },
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstructured => f.write_str("unstructured"),
            Self::NofM { n, m } => write!(f, "{n} of {m}"),
            Self::Blocks { rows, columns } => write!(f, "blocks of {rows} × {columns}"),
        }
    }
}

impl Pattern {
    /// Entries of a group; every tensor has a whole number of groups.
    pub(crate) fn group(self) -> u64 {
        match self {
            Self::Unstructured => 1,
            Self::NofM { m, .. } => m,
            Self::Blocks { rows, columns } => rows * columns,
        }
    }

    /// Whether every tensor divides into groups.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for a pattern that none can have, [`Error::Layout`] naming every tensor that does not divide.
    pub fn check(self, layout: &Layout) -> Result<()> {
        let impossible = match self {
            Self::Unstructured => return Ok(()),
            Self::NofM { n, m } => m == 0 || n > m,
            Self::Blocks { rows, columns } => rows == 0 || columns == 0 || rows.checked_mul(columns).is_none(),
        };
        if impossible {
            return Err(Error::invalid(
                "pattern",
                self,
                "n of m with n from 0 to m and m from 1 up, or blocks of 1 × 1 up",
            ));
        }
        let problem = |tensor: &TensorLayout| {
            let (rows, columns) = matrix(tensor);
            let (name, shape) = (tensor.name(), tensor.shape());
            match self {
                Self::NofM { m, .. } if !columns.is_multiple_of(m) => Some(format!(
                    "`{name}` of shape {shape:?} has {columns} entries along its last axis, no multiple of {m}"
                )),
                Self::Blocks { rows: r, columns: c } if !rows.is_multiple_of(r) || !columns.is_multiple_of(c) => {
                    Some(format!("`{name}` of shape {shape:?} does not divide into blocks of {r} × {c}"))
                }
                _ => None,
            }
        };
        let problems: Vec<_> = layout.tensors().iter().filter_map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(Error::layout(format!("the pattern {self}"), problems)) }
    }

    /// Whether `mask` has this pattern.
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`Error::Layout`] naming every tensor with groups of another form.
    pub fn prove(self, mask: &MaskSet) -> Result<()> {
        self.check(mask.layout())?;
        let mut problems = Vec::new();
        for (index, tensor) in mask.layout().tensors().iter().enumerate() {
            let wrong = match self {
                Self::Unstructured => 0,
                Self::NofM { n, m } => {
                    let kept = |group: u64| (group * m..(group + 1) * m).filter(|at| mask.is_kept(index, *at)).count();
                    (0..tensor.entries() / m).filter(|group| kept(*group) as u64 != n).count()
                }
                Self::Blocks { rows, columns } => {
                    let grid = Grid::of(tensor, rows, columns);
                    let kept = |block: u64| grid.entries(block).filter(|at| mask.is_kept(index, *at)).count() as u64;
                    (0..grid.blocks()).filter(|block| ![0, rows * columns].contains(&kept(*block))).count()
                }
            };
            if wrong > 0 {
                problems.push(format!("`{}` has {wrong} groups that are not", tensor.name()));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::layout(format!("a mask of the pattern {self}"), problems)) }
    }
}

/// A tensor's last two axes; one of fewer has one row.
fn matrix(tensor: &TensorLayout) -> (u64, u64) {
    let mut dimensions = tensor.shape().iter().rev().copied();
    let columns = dimensions.next().unwrap_or(1);
    (dimensions.next().unwrap_or(1), columns)
}

/// A tensor as blocks, row-major, its leading axes one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    /// Of a block.
    rows: u64,
    columns: u64,
    /// Entries of the tensor along its last axis.
    width: u64,
    /// Blocks along the last axis.
    across: u64,
    entries: u64,
}

impl Grid {
    /// The blocks of a tensor that divides into them.
    pub(crate) fn of(tensor: &TensorLayout, rows: u64, columns: u64) -> Self {
        let width = matrix(tensor).1;
        Self { rows, columns, width, across: width / columns, entries: tensor.entries() }
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.entries / (self.rows * self.columns)
    }

    /// Flat indices of a block's entries, ascending. As a matrix's rows divide into blocks, no block reaches from one matrix of
    /// the leading axes into the next.
    pub(crate) fn entries(&self, block: u64) -> impl Iterator<Item = u64> + use<> {
        let Self { rows, columns, width, across, .. } = *self;
        let first = block / across * rows * width + block % across * columns;
        (0..rows).flat_map(move |row| (first + row * width)..(first + row * width + columns))
    }
}
