//! Masks drawn without looking at any weight.

use crate::{Layout, MaskSet, Sparsity};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

impl MaskSet {
    /// A mask of exactly this sparsity, every one equally likely; the same for the same layout, sparsity and seed.
    ///
    /// Selection sampling (Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2 S): each entry is pruned
    /// with probability (still to prune) / (still to come), in one pass over all tensors together. Two such masks of
    /// keep share k have an expected IOU of k / (2 - k).
    pub fn random(layout: Arc<Layout>, sparsity: Sparsity, seed: u64) -> Self {
        let mut to_come = layout.entries();
        let mut to_prune = sparsity.pruned_of(to_come);
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        Self::from_fn(layout, |_, _| {
            let prune = generator.random_range(0..to_come) < to_prune;
            to_come -= 1;
            to_prune -= u64::from(prune);
            !prune
        })
    }
}
