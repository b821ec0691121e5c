//! What leads from one mask to the next.

use crate::{MaskSet, Result};

/// What a selection did to a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Entries kept before and pruned now.
    pub newly_pruned: u64,
    /// Entries pruned before and kept now.
    pub revived: u64,
}

impl Change {
    /// What leads from one mask to another.
    ///
    /// # Errors
    /// [`Error::Layout`](crate::Error::Layout) when they do not describe the same tensors.
    pub fn between(before: &MaskSet, after: &MaskSet) -> Result<Self> {
        let compared = before.compare(after)?;
        Ok(Self { newly_pruned: compared.first_only, revived: compared.second_only })
    }
}
