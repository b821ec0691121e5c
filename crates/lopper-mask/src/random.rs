//! Masks drawn without looking at any weight.

use crate::{HostSelector, Layout, MaskSet, Order, Request, Result, Sparsity};
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

    /// A random mask with the allocation and pattern of `request`; [`random`](Self::random) where it has none. Every entry
    /// has a number drawn evenly from [0, 1) for a score, and a block the mean of its entries'.
    ///
    /// # Errors
    /// What [`Request::quota`] refuses.
    pub fn random_as(layout: Arc<Layout>, request: &Request, seed: u64) -> Result<Self> {
        if request.is_plain() {
            return Ok(Self::random(layout, request.target, seed));
        }
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |entries| -> Vec<f32> { (0..entries).map(|_| generator.random()).collect() };
        let scores: Vec<Vec<f32>> = layout.tensors().iter().map(|tensor| draw(tensor.entries())).collect();
        let slices: Vec<&[f32]> = scores.iter().map(Vec::as_slice).collect();
        let mut mask = Self::dense(layout);
        HostSelector::new().select_as(&slices, Order::Value, &mut mask, request)?;
        Ok(mask)
    }
}
