//! What is ranked.

use tch::Tensor;

/// How much each prunable entry matters; low scores are pruned first.
#[derive(Debug)]
#[non_exhaustive]
pub enum Scores {
    /// The magnitude of the weights themselves, ranked in place.
    Magnitude,
    /// One tensor for each prunable weight, of its shape: any finite float32 numbers, negative ones too.
    Values(Vec<Tensor>),
}
