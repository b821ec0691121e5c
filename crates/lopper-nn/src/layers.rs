//! Layers of a weight and a bias.

use lopper_core::Result;
use tch::Tensor;

/// y = x Wᵀ + b.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Takes `{name}.weight` `[out, in]` and `{name}.bias` `[out]`.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn new(name: &str, take: &mut impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { weight: take(&format!("{name}.weight"))?, bias: take(&format!("{name}.bias"))? })
    }

    /// `[…, in]` to `[…, out]`.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        crate::inputs::report(&self.weight, x)?;
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }
}

/// Normalisation of the last dimension (Ba et al. 2016), with weight and bias.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// Takes `{name}.weight` and `{name}.bias`, both `[width]`; `epsilon` is added to the variance.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn new(name: &str, epsilon: f64, take: &mut impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        let (weight, bias) = (take(&format!("{name}.weight"))?, take(&format!("{name}.bias"))?);
        Ok(Self { weight, bias, epsilon })
    }

    /// `[…, width]` to the same shape.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.epsilon, true)?)
    }
}
