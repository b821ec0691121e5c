//! Exact global selection.
use crate::{Among, MaskSet, Result, Scores, Sparsity, WeightView};

/// Ranks entries over all tensors together; keeps its work space between calls.
#[derive(Debug, Default)]
pub struct Selector {}

impl Selector {
    /// A selector with an empty work space.
    pub fn new() -> Self {
        Self::default()
    }
    /// A mask of exactly `target`.
    ///
    /// # Errors
    /// NonFinite
    pub fn select(
        &mut self,
        _view: &WeightView<'_>,
        _scores: &Scores,
        _current: &MaskSet,
        _target: Sparsity,
        _among: Among,
    ) -> Result<MaskSet> {
        todo!()
    }
}
