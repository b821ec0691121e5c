//! Attention.

use crate::dropout;
use lopper_core::Result;
use tch::Tensor;

/// softmax(q kᵀ / √d + bias) v with dropout of the probabilities (Vaswani et al. 2017, equation 1).
/// `query` is `[batch, heads, rows, d]`, `key` and `value` `[batch, heads, length, d]`, `bias` what expands to
/// `[batch, heads, rows, length]`; the answer is as `query`.
///
/// # Errors
/// Errors of libtorch.
pub fn attend(query: &Tensor, key: &Tensor, value: &Tensor, bias: Option<&Tensor>, p: f64) -> Result<Tensor> {
    if p == 0.0 || query.device() != tch::Device::Cpu {
        let (size, length) = (query.size(), key.size()[2]);
        let bias =
            bias.map(|b| b.f_to_kind(query.kind())?.f_expand([size[0], size[1], size[2], length], true)).transpose()?;
        return Ok(Tensor::f_scaled_dot_product_attention(query, key, value, bias, p, false, None, false)?);
    }
    // libtorch's fused kernel for the CPU has no dropout, and what it falls back to is slower than this.
    let scale = (query.size()[3] as f64).sqrt().recip();
    let mut scores = query.f_mul_scalar(scale)?.f_matmul(&key.f_transpose(-2, -1)?)?;
    if let Some(bias) = bias {
        let _ = scores.f_add_(bias)?;
    }
    let probabilities = dropout(scores.f_softmax(-1, None)?, p)?;
    Ok(probabilities.f_matmul(value)?)
}
