//! Random masks.
use crate::{Layout, MaskSet, Sparsity};
use std::sync::Arc;

impl MaskSet {
    /// Uniform among all masks of exactly this sparsity.
    pub fn random(_layout: Arc<Layout>, _sparsity: Sparsity, _seed: u64) -> Self {
        todo!()
    }
}
