//! What a ranking is asked for.

use crate::{Allocation, Error, Layout, MaskSet, Pattern, Result, Sparsity};
use serde::{Deserialize, Serialize};

/// Which entries a ranking may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Among {
    /// Every prunable entry: pruned ones can come back (PARP).
    All,
    /// Only what the current mask keeps: masks shrink (IMP).
    Survivors,
}

/// A mask that is wanted: how sparse, among which entries, how spread and in which pattern.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// Its sparsity over all tensors together.
    pub target: Sparsity,
    /// Which entries it may keep.
    pub among: Among,
    /// How many go in each tensor.
    pub allocation: Allocation,
    /// Which entries go together.
    pub pattern: Pattern,
}

/// How many entries a [`Request`] prunes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    total: u64,
    tensors: Option<Vec<u64>>,
}

impl Quota {
    pub(crate) fn new(total: u64, tensors: Option<Vec<u64>>) -> Self {
        Self { total, tensors }
    }

    /// Over all tensors together.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Of each tensor, in the layout's order; `None` where the ranking decides.
    pub fn tensors(&self) -> Option<&[u64]> {
        self.tensors.as_deref()
    }
}

impl Request {
    /// One ranking of all entries over all tensors together, each entry for itself.
    pub fn global(target: Sparsity) -> Self {
        Self { target, among: Among::All, allocation: Allocation::Global, pattern: Pattern::Unstructured }
    }

    /// The same among these entries.
    pub fn among(self, among: Among) -> Self {
        Self { among, ..self }
    }

    /// The same, spread like this.
    pub fn allocated(self, allocation: Allocation) -> Self {
        Self { allocation, ..self }
    }

    /// The same in this pattern.
    pub fn in_pattern(self, pattern: Pattern) -> Self {
        Self { pattern, ..self }
    }

    /// Whether one ranking over all tensors decides, entry by entry.
    pub fn is_plain(&self) -> bool {
        self.allocation == Allocation::Global && self.pattern == Pattern::Unstructured
    }

    /// How many entries go. Together they are round(target · n) of the n entries; in blocks round(target · b) of the b
    /// blocks, times a block's entries; in n of m exactly (m - n) / m of every tensor.
    ///
    /// # Errors
    /// What the layout or the target does not permit, naming every tensor that is in the way.
    pub fn quota(&self, layout: &Layout) -> Result<Quota> {
        self.pattern.check(layout)?;
        let group = self.pattern.group();
        match self.pattern {
            Pattern::NofM { n, m } => {
                if matches!(self.allocation, Allocation::Erk | Allocation::Given(_)) {
                    let expected =
                        format!("global or uniform: the pattern {} prunes the same share everywhere", self.pattern);
                    return Err(Error::invalid("allocation", &self.allocation, expected));
                }
                let tensors: Vec<u64> = layout.tensors().iter().map(|t| t.entries() / m * (m - n)).collect();
                let total = tensors.iter().sum();
                let wanted = self.target.pruned_of(layout.entries());
                if wanted != total {
                    let exact = (m - n) as f64 / m as f64;
                    let expected = format!("{exact}: the pattern {} has no other sparsity", self.pattern);
                    return Err(Error::invalid("sparsity", self.target, expected));
                }
                Ok(Quota { total, tensors: Some(tensors) })
            }
            Pattern::Unstructured | Pattern::Blocks { .. } => {
                let pruned = self.target.pruned_of(layout.entries() / group);
                let tensors = match &self.allocation {
                    Allocation::Global => None,
                    allocation => {
                        let units: Vec<u64> = layout.tensors().iter().map(|t| t.entries() / group).collect();
                        allocation.pruned_units(layout, &units, pruned)?
                    }
                };
                let tensors = tensors.map(|units| units.iter().map(|units| units * group).collect());
                Ok(Quota { total: pruned * group, tensors })
            }
        }
    }

    /// [`quota`](Self::quota) of the mask that follows `current`.
    ///
    /// # Errors
    /// As [`quota`](Self::quota), and [`Error::InvalidValue`] when survivors are ranked and `current` prunes more than is asked
    /// for.
    pub fn quota_after(&self, current: &MaskSet) -> Result<Quota> {
        let quota = self.quota(current.layout())?;
        if self.among == Among::Survivors && current.pruned() > quota.total {
            let least = current.sparsity();
            let expected =
                format!("at least {least}: the current mask prunes that much, and only survivors are ranked");
            return Err(Error::invalid("sparsity", self.target, expected));
        }
        Ok(quota)
    }

    /// Whether `mask` is what is asked for: counts of all and of each tensor, and the pattern.
    ///
    /// # Errors
    /// [`Error::Count`] with the count that is wrong; [`Error::Layout`] naming every tensor that has another count, or
    /// another pattern.
    pub fn prove(&self, mask: &MaskSet) -> Result<()> {
        let quota = self.quota(mask.layout())?;
        let pruned = mask.pruned();
        if pruned != quota.total {
            return Err(Error::Count { target: self.target.get(), pruned, wanted: quota.total });
        }
        if let Some(wanted) = quota.tensors() {
            let counted = mask.tensors().zip(wanted);
            let wrong = counted.filter(|((_, entries, kept, _), wanted)| entries - kept != **wanted);
            let problems: Vec<_> = wrong
                .map(|((name, entries, kept, _), wanted)| {
                    format!("`{name}` has {} pruned entries, its share is {wanted}", entries - kept)
                })
                .collect();
            if !problems.is_empty() {
                return Err(Error::layout(format!("a mask with the allocation {}", self.allocation), problems));
            }
        }
        self.pattern.prove(mask)
    }
}
