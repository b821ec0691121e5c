//! Non-linearities.

use lopper_core::Result;
use serde::Serialize;
use tch::Tensor;

/// A non-linearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x Φ(x), exact.
    Gelu,
    /// The tanh approximation of [`Gelu`](Self::Gelu).
    GeluNew,
    /// max(x, 0).
    Relu,
}

impl Activation {
    /// What [`from_name`](Self::from_name) accepts, for errors.
    pub const NAMES: &'static str = "`gelu`, `gelu_new` or `relu`";

    /// By its name in a Hugging Face configuration.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "gelu" => Some(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Some(Self::GeluNew),
            "relu" => Some(Self::Relu),
            _ => None,
        }
    }

    /// Entry by entry.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Gelu => x.f_gelu("none")?,
            Self::GeluNew => x.f_gelu("tanh")?,
            Self::Relu => x.f_relu()?,
        })
    }

    /// [`forward`](Self::forward) in the place of `x` where no gradient needs it any more.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn consume(self, mut x: Tensor) -> Result<Tensor> {
        if x.requires_grad() {
            return self.forward(&x);
        }
        Ok(match self {
            Self::Gelu => x.f_gelu_("none")?,
            Self::GeluNew => x.f_gelu_("tanh")?,
            Self::Relu => x.f_relu_()?,
        })
    }
}
