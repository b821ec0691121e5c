//! The weights that a mask is made for.

use crate::{Layout, ParameterName, Result};
use std::sync::Arc;
use tch::Tensor;

/// One prunable weight at one moment.
#[derive(Debug)]
#[non_exhaustive]
pub struct PrunableWeight<'a> {
    /// Its name.
    pub name: &'a ParameterName,
    /// Its value, float32, on the run's device, outside of autograd. Not to be written to, and not to be kept: it follows the
    /// training. `copy()` what is to be kept.
    pub tensor: Tensor,
}

impl<'a> PrunableWeight<'a> {
    /// The weight `tensor`.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn new(name: &'a ParameterName, tensor: &Tensor) -> Result<Self> {
        // Detached, so that nobody comes by its live gradient, which masking and clipping change in place.
        Ok(Self { name, tensor: tensor.f_detach()? })
    }
}

/// Lends the entries of tensors, row-major, to a closure while it runs. False, and no call of the closure, unless every tensor
/// is plain float32 memory of the CPU.
///
/// The closure is [`Sync`], and so holds no tensor through which what is lent could be written.
pub type Lend = fn(&[&Tensor], &mut (dyn FnMut(&[&[f32]]) + Sync)) -> bool;

/// All prunable weights at one moment.
#[derive(Debug)]
pub struct WeightView<'a> {
    layout: &'a Arc<Layout>,
    weights: Vec<PrunableWeight<'a>>,
    lend: Option<Lend>,
}

impl<'a> WeightView<'a> {
    /// A view of `weights`, which stand in the order of `layout`.
    pub fn new(layout: &'a Arc<Layout>, weights: Vec<PrunableWeight<'a>>) -> Self {
        Self { layout, weights, lend: None }
    }

    /// With memory that `lend` lends (`lopper_torch::lend_hosts`): magnitudes on the CPU are then ranked where they lie. They
    /// are ranked by tensor operations without it, to the same mask.
    pub fn lent_by(self, lend: Lend) -> Self {
        Self { lend: Some(lend), ..self }
    }

    /// Names, shapes and order.
    pub fn layout(&self) -> &'a Arc<Layout> {
        self.layout
    }

    /// The weights in the order of the layout.
    pub fn weights(&self) -> &[PrunableWeight<'a>] {
        &self.weights
    }

    /// What `read` makes of the weights' own memory, one row-major slice for each; `None`, and no call, unless all of it is
    /// plain memory of the CPU and somebody [lends](Self::lent_by) it.
    pub(crate) fn read<R: Sync>(&self, read: impl FnOnce(&[&[f32]]) -> R + Sync) -> Option<R> {
        let lend = self.lend?;
        let tensors: Vec<&Tensor> = self.weights.iter().map(|weight| &weight.tensor).collect();
        let (mut read, mut result) = (Some(read), None);
        lend(&tensors, &mut |lent| result = read.take().map(|read| read(lent)));
        result
    }
}
