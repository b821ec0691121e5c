//! Bit-packed masks.
use crate::{Layout, Result, Sparsity};
use std::sync::Arc;

/// One bit for every prunable entry of a model; 1 = kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskSet {
    layout: Arc<Layout>,
    /// One vector of words a tensor, least significant bit first; bits past the last entry are 0.
    words: Vec<Vec<u64>>,
}

impl MaskSet {
    /// Everything kept.
    pub fn dense(_layout: Arc<Layout>) -> Self {
        todo!()
    }
    /// Names, shapes and order.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }
    /// Kept entries over all tensors.
    pub fn kept(&self) -> u64 {
        todo!()
    }
    /// Pruned entries over all tensors.
    pub fn pruned(&self) -> u64 {
        todo!()
    }
    /// pruned / entries; 0 for a layout without entries.
    pub fn sparsity(&self) -> Sparsity {
        todo!()
    }
    /// Sets pruned entries of tensor `index` to +0.0.
    ///
    /// # Errors
    /// when the length differs
    pub fn apply(&self, _index: usize, _weights: &mut [f32]) -> Result<()> {
        todo!()
    }
    /// One byte an entry of tensor `index`, 1 = kept, row-major.
    pub fn to_bytes(&self, _index: usize) -> Vec<u8> {
        todo!()
    }
}
