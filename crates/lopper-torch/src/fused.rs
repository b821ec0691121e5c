//! Optimizer steps, norm and scaling over lists of tensors, each in few kernels.

use crate::ffi::{self, check, pointers};
use lopper_core::{Error, Result};
use tch::Tensor;

/// One step of Adam or AdamW over several parameters. All lists have the same length, and tensors at the same place
/// the same shape, type and device.
#[derive(Debug, Clone, Copy)]
pub struct AdamStep<'a> {
    /// Weights, contiguous; written to.
    pub params: &'a [&'a Tensor],
    /// Their gradients; only read.
    pub gradients: &'a [&'a Tensor],
    /// First moments, contiguous; written to.
    pub exp_avgs: &'a [&'a Tensor],
    /// Second moments, contiguous; written to.
    pub exp_avg_sqs: &'a [&'a Tensor],
    /// The number of this step for each parameter: 1 at the first.
    pub steps: &'a [u64],
    /// Learning rate.
    pub rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// L2 penalty for Adam, decoupled decay for AdamW.
    pub weight_decay: f64,
}

/// One step of stochastic gradient descent over several parameters; lists as in [`AdamStep`].
#[derive(Debug, Clone, Copy)]
pub struct SgdStep<'a> {
    /// Weights, contiguous; written to.
    pub params: &'a [&'a Tensor],
    /// Their gradients; only read.
    pub gradients: &'a [&'a Tensor],
    /// Momentum buffers, contiguous, zero before the first step; `None` without momentum.
    pub momenta: Option<&'a [&'a Tensor]>,
    /// Learning rate.
    pub rate: f64,
    /// Decay of the momentum buffer.
    pub momentum: f64,
    /// L2 penalty.
    pub weight_decay: f64,
}

/// Adam with an L2 penalty added to the gradient (Kingma and Ba 2015, Algorithm 1).
///
/// # Errors
/// When the lists do not fit together, and errors of libtorch.
pub fn fused_adam(step: &AdamStep<'_>) -> Result<()> {
    adam(step, false)
}

/// AdamW with decoupled weight decay (Loshchilov and Hutter 2019, Algorithm 2).
///
/// # Errors
/// When the lists do not fit together, and errors of libtorch.
pub fn fused_adamw(step: &AdamStep<'_>) -> Result<()> {
    adam(step, true)
}

fn adam(s: &AdamStep<'_>, decoupled: bool) -> Result<()> {
    let n = s.params.len();
    same_length(n, &[s.gradients.len(), s.exp_avgs.len(), s.exp_avg_sqs.len(), s.steps.len()])?;
    let (params, gradients) = (pointers(s.params), pointers(s.gradients));
    let (exp_avgs, exp_avg_sqs) = (pointers(s.exp_avgs), pointers(s.exp_avg_sqs));
    // SAFETY: five arrays of n live elements; the shim checks that the tensors behind them fit together.
    check(unsafe {
        ffi::lopper_fused_adam(
            decoupled,
            n,
            params.as_ptr(),
            gradients.as_ptr(),
            exp_avgs.as_ptr(),
            exp_avg_sqs.as_ptr(),
            s.steps.as_ptr(),
            s.rate,
            s.beta1,
            s.beta2,
            s.weight_decay,
            s.epsilon,
        )
    })
}

/// Stochastic gradient descent with heavy-ball momentum and an L2 penalty, as `torch.optim.SGD` without dampening.
///
/// # Errors
/// When the lists do not fit together, and errors of libtorch.
pub fn fused_sgd(step: &SgdStep<'_>) -> Result<()> {
    let n = step.params.len();
    same_length(n, &[step.gradients.len(), step.momenta.map_or(n, <[_]>::len)])?;
    let (params, gradients) = (pointers(step.params), pointers(step.gradients));
    let momenta = step.momenta.map(pointers);
    let momenta = momenta.as_ref().map_or(std::ptr::null(), |m| m.as_ptr());
    // SAFETY: arrays of n live elements, or null for no momenta; the shim checks that the tensors fit together.
    check(unsafe {
        ffi::lopper_fused_sgd(
            n,
            params.as_ptr(),
            gradients.as_ptr(),
            momenta,
            step.rate,
            if step.momenta.is_some() { step.momentum } else { 0.0 },
            step.weight_decay,
        )
    })
}

/// The Euclidean norm of all entries of all tensors together: a scalar on their device, not yet waited for.
///
/// # Errors
/// For an empty list or an undefined tensor, and errors of libtorch.
pub fn global_norm(tensors: &[&Tensor]) -> Result<Tensor> {
    if tensors.is_empty() {
        return Err(Error::Other("the norm of no tensors was asked for".into()));
    }
    let list = pointers(tensors);
    let mut norm = std::ptr::null_mut();
    // SAFETY: an array of live tensors, and a place for the result.
    check(unsafe { ffi::lopper_global_norm(list.len(), list.as_ptr(), &mut norm) })?;
    // SAFETY: on success `norm` is a new tensor of ours; tch frees it as it frees its own.
    Ok(unsafe { Tensor::from_ptr(norm) })
}

/// Multiplies every tensor by `factor` in place.
///
/// # Errors
/// For an undefined tensor, and errors of libtorch.
pub fn scale(tensors: &[&Tensor], factor: f64) -> Result<()> {
    let list = pointers(tensors);
    // SAFETY: an array of live tensors.
    check(unsafe { ffi::lopper_scale(list.len(), list.as_ptr(), factor) })
}

fn same_length(n: usize, others: &[usize]) -> Result<()> {
    match others.iter().find(|&&other| other != n) {
        None => Ok(()),
        Some(other) => {
            Err(Error::Other(format!("an optimizer step got {n} parameters but a list of {other} beside it")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn zeros(shape: &[i64]) -> Tensor {
        Tensor::zeros(shape, (Kind::Float, Device::Cpu))
    }

    fn step_with(param: &Tensor, gradient: &Tensor, moment: &Tensor, steps: &[u64]) -> Result<()> {
        fused_adamw(&AdamStep {
            params: &[param],
            gradients: &[gradient],
            exp_avgs: &[moment],
            exp_avg_sqs: &[&moment.zeros_like()],
            steps,
            rate: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
        })
    }

    #[test]
    fn a_first_step_moves_every_weight_by_the_rate() {
        let param = zeros(&[3, 5]).set_requires_grad(true);
        step_with(&param, &Tensor::full([3, 5], -2.0, (Kind::Float, Device::Cpu)), &zeros(&[3, 5]), &[1]).unwrap();
        assert!((&param - 0.1).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn a_transposed_gradient_is_read_by_index() {
        let param = zeros(&[2, 3]);
        let gradient = Tensor::from_slice(&[1f32, -1., 1., 1., -1., -1.]).view([3, 2]).transpose(0, 1);
        step_with(&param, &gradient, &zeros(&[2, 3]), &[1]).unwrap();
        assert!((param.sign() + gradient.sign()).abs().max().double_value(&[]) == 0.0);
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        let param = zeros(&[2, 3]);
        let cases = [
            (step_with(&param, &zeros(&[3, 2]), &zeros(&[2, 3]), &[1]), "gradient 0"),
            (step_with(&param, &zeros(&[2, 3]), &zeros(&[2, 4]), &[1]), "exp_avg 0"),
            (step_with(&param, &zeros(&[2, 3]).to_kind(Kind::Double), &zeros(&[2, 3]), &[1]), "gradient 0"),
            (step_with(&param, &Tensor::new(), &zeros(&[2, 3]), &[1]), "undefined"),
            (step_with(&param.transpose(0, 1), &zeros(&[3, 2]), &zeros(&[3, 2]), &[1]), "not contiguous"),
            (step_with(&param, &zeros(&[2, 3]), &zeros(&[2, 3]), &[1, 2]), "a list of 2"),
        ];
        for (result, expected) in cases {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(expected), "`{error}` does not speak of `{expected}`");
        }
        assert_eq!(param.abs().max().double_value(&[]), 0.0, "a refused step changes nothing");
    }

    #[test]
    fn the_global_norm_spans_tensors() {
        let (a, b) = (Tensor::from_slice(&[3f32, 0.]), Tensor::from_slice(&[4f32]).view([1, 1]));
        assert_eq!(global_norm(&[&a, &b]).unwrap().double_value(&[]), 5.0);
        scale(&[&a, &b], 0.5).unwrap();
        assert_eq!((a.double_value(&[0]), b.double_value(&[0, 0])), (1.5, 2.0));
        assert!(global_norm(&[]).is_err());
        assert!(global_norm(&[&Tensor::new()]).is_err());
    }
}
