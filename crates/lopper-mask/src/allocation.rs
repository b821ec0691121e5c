//! How a sparsity is spread over tensors.

use crate::{Error, Layout, MaskSet, ParameterName, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How the entries to prune are spread over the prunable tensors. The core counts; a method only says which.
///
/// Whatever the allocation, the counts of all tensors add up to exactly round(sparsity · n). Shares of a tensor that are no
/// whole numbers are rounded by largest remainder, ties by order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Allocation {
    /// One ranking over all tensors together decides how many go in each.
    #[default]
    Global,
    /// The same sparsity in every tensor.
    Uniform,
    /// Erdős–Rényi kernel: a tensor's kept share is in proportion to the sum of its dimensions over their product (Mocanu
    /// et al. 2018, section 2; Evci et al. 2020, section 3). One that would have to keep more than all of itself stays dense.
    Erk,
    /// Kept shares in these proportions, one for each prunable tensor: what a tensor keeps is its number times a factor common
    /// to all, at most everything. Where the numbers add up to the sparsity the factor is 1, and they are met as they stand;
    /// along a ramp of sparsities they keep their proportions.
    Given(BTreeMap<ParameterName, f64>),
}

impl fmt::Display for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "global",
            Self::Uniform => "uniform",
            Self::Erk => "erk",
            Self::Given(_) => "given",
        })
    }
}

impl Allocation {
    /// Kept shares as those of `mask`: every tensor keeps its part, whatever the sparsity.
    pub fn of(mask: &MaskSet) -> Self {
        let share = |(name, entries, kept, _): (&ParameterName, u64, u64, _)| {
            (name.clone(), kept as f64 / entries.max(1) as f64)
        };
        Self::Given(mask.tensors().map(share).collect())
    }

    /// How many units each tensor loses so that all lose `pruned` together; `units` says how many each has. `None` where the
    /// ranking decides.
    ///
    /// # Errors
    /// [`Error::Layout`] naming every tensor without a given share, or with one that is no share, and every share without a
    /// tensor; [`Error::InvalidValue`] when tensors that keep nothing leave too little to keep.
    pub(crate) fn pruned_units(&self, layout: &Layout, units: &[u64], pruned: u64) -> Result<Option<Vec<u64>>> {
        let proportions: Vec<f64> = match self {
            Self::Global => return Ok(None),
            Self::Uniform => vec![1.0; units.len()],
            Self::Erk => layout.tensors().iter().map(|tensor| erdos_renyi(tensor.shape())).collect(),
            Self::Given(shares) => given(layout, shares)?,
        };
        let kept = units.iter().sum::<u64>() - pruned;
        match kept_units(&proportions, units, kept) {
            Some(kept) => {
                let shares: Vec<f64> = kept.iter().zip(units).map(|(kept, units)| *units as f64 - kept).collect();
                Ok(Some(rounded(&shares, units, pruned)))
            }
            None => {
                let most: u64 = units.iter().zip(&proportions).filter(|(_, p)| **p > 0.0).map(|(units, _)| units).sum();
                Err(Error::invalid(
                    "allocation",
                    self,
                    format!("shares that can keep {kept}; tensors with a share above 0 have {most}"),
                ))
            }
        }
    }
}

/// (sum of dimensions) / (their product): of a linear layer (in + out) / (in · out), of a convolution with its kernel's sides
/// as well. A scalar is kept.
fn erdos_renyi(shape: &[u64]) -> f64 {
    let (sum, product): (u64, u64) = (shape.iter().sum(), shape.iter().product());
    if shape.is_empty() { 1.0 } else { sum as f64 / product.max(1) as f64 }
}

/// The given shares in the layout's order.
fn given(layout: &Layout, shares: &BTreeMap<ParameterName, f64>) -> Result<Vec<f64>> {
    let mut problems = Vec::new();
    let mut ordered = Vec::new();
    for tensor in layout.tensors() {
        match shares.get(tensor.name()) {
            Some(share) if share.is_finite() && *share >= 0.0 => ordered.push(*share),
            Some(share) => problems.push(format!("`{}` is given {share}, which is no share", tensor.name())),
            None => problems.push(format!("`{}` is given no share", tensor.name())),
        }
    }
    let known = |name: &ParameterName| layout.tensors().iter().any(|tensor| tensor.name() == name);
    problems.extend(shares.keys().filter(|name| !known(name)).map(|name| format!("`{name}` is not prunable")));
    if problems.is_empty() { Ok(ordered) } else { Err(Error::layout("given shares", problems)) }
}

/// Kept units of each tensor, not yet whole: in these proportions, `kept` together. A tensor that would keep more than it has
/// stays whole, and the others share what is left. `None` when all others are to keep nothing and something is left.
fn kept_units(proportions: &[f64], units: &[u64], kept: u64) -> Option<Vec<f64>> {
    let mut whole = vec![false; units.len()];
    loop {
        let (mut left, mut open) = (kept as f64, 0.0);
        for ((whole, units), proportion) in whole.iter().zip(units).zip(proportions) {
            if *whole { left -= *units as f64 } else { open += proportion * *units as f64 }
        }
        let factor = if open > 0.0 { left.max(0.0) / open } else { 0.0 };
        // All that exceed at once: taking one out only raises the factor for the others.
        let mut exceed = false;
        for (whole, proportion) in whole.iter_mut().zip(proportions) {
            let exceeds = !*whole && proportion * factor > 1.0;
            *whole |= exceeds;
            exceed |= exceeds;
        }
        if !exceed {
            let share = |((whole, units), proportion): ((&bool, &u64), &f64)| {
                if *whole { *units as f64 } else { proportion * factor * *units as f64 }
            };
            let shares = whole.iter().zip(units).zip(proportions).map(share).collect();
            return (open > 0.0 || left < 0.5).then_some(shares);
        }
    }
}

/// Whole numbers next to `shares`, none above its tensor's `units`, that add up to `total`: largest remainder first, ties by
/// order.
fn rounded(shares: &[f64], units: &[u64], total: u64) -> Vec<u64> {
    let mut whole: Vec<u64> =
        shares.iter().zip(units).map(|(share, units)| (share.max(0.0).floor() as u64).min(*units)).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|a, b| (shares[*b] - whole[*b] as f64).total_cmp(&(shares[*a] - whole[*a] as f64)));
    let mut sum: u64 = whole.iter().sum();
    // Shares that are whole numbers may be off by a rounding of floating point, in either direction.
    while sum != total {
        let before = sum;
        for index in order.iter().copied() {
            if sum < total && whole[index] < units[index] {
                whole[index] += 1;
                sum += 1;
            }
        }
        for index in order.iter().rev().copied() {
            if sum > total && whole[index] > 0 {
                whole[index] -= 1;
                sum -= 1;
            }
        }
        if sum == before {
            break;
        }
    }
    whole
}
