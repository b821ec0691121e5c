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
    /// The same memory as a flat row-major slice, when it lies on the CPU and is contiguous.
    pub host: Option<&'a [f32]>,
}

impl<'a> PrunableWeight<'a> {
    /// The weight `tensor`; `host` is its memory where it is plain memory of the CPU.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn new(name: &'a ParameterName, tensor: &Tensor, host: Option<&'a [f32]>) -> Result<Self> {
        // Detached, so that nobody comes by its live gradient, which masking and clipping change in place.
        Ok(Self { name, tensor: tensor.f_detach()?, host })
    }
}

/// All prunable weights at one moment.
#[derive(Debug)]
pub struct WeightView<'a> {
    layout: &'a Arc<Layout>,
    weights: Vec<PrunableWeight<'a>>,
}

impl<'a> WeightView<'a> {
    /// A view of `weights`, which stand in the order of `layout`.
    pub fn new(layout: &'a Arc<Layout>, weights: Vec<PrunableWeight<'a>>) -> Self {
        Self { layout, weights }
    }

    /// Names, shapes and order.
    pub fn layout(&self) -> &'a Arc<Layout> {
        self.layout
    }

    /// The weights in the order of the layout.
    pub fn weights(&self) -> &[PrunableWeight<'a>] {
        &self.weights
    }
}
