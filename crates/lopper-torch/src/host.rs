//! Tensors as Rust slices, and gradients as tch does not reach them.

use crate::ffi::{self, check};
use lopper_core::Result;
use std::ffi::c_void;
use tch::Tensor;

/// The entries of a defined, contiguous float32 tensor on the CPU in row-major order; `None` for any other.
///
/// libtorch does not count readers: while the slice lives, nothing may write to the tensor's storage through another
/// handle (`shallow_clone`, a view, the model that owns it).
pub fn host_slice(tensor: &Tensor) -> Option<&[f32]> {
    let (data, len) = host_data(tensor, false)?;
    // SAFETY: the shim returns `len` aligned float32 of the tensor's storage, which `tensor` keeps alive.
    Some(unsafe { std::slice::from_raw_parts(data, len) })
}

/// The entries for writing, under the conditions of [`host_slice`]; autograd sees the write as an in-place operation.
///
/// While the slice lives, nothing may read or write the tensor's storage through another handle.
pub fn host_slice_mut(tensor: &mut Tensor) -> Option<&mut [f32]> {
    let (data, len) = host_data(tensor, true)?;
    // SAFETY: as in `host_slice`; the exclusive borrow of the handle lasts as long as the slice.
    Some(unsafe { std::slice::from_raw_parts_mut(data, len) })
}

fn host_data(tensor: &Tensor, write: bool) -> Option<(*mut f32, usize)> {
    let (mut data, mut len): (*mut c_void, usize) = (std::ptr::null_mut(), 0);
    // SAFETY: a live tensor and two places for results.
    check(unsafe { ffi::lopper_host_data(tensor.as_ptr().cast_mut(), write, &mut data, &mut len) }).ok()?;
    (!data.is_null()).then_some((data.cast(), len))
}

/// Drops a parameter's gradient, so that the next backward pass starts from none and a parameter that it does not
/// reach has an undefined one.
///
/// # Errors
/// Errors of libtorch.
pub fn clear_gradient(parameter: &Tensor) -> Result<()> {
    // SAFETY: a live tensor.
    check(unsafe { ffi::lopper_clear_gradient(parameter.as_ptr().cast_mut()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn slices_share_memory_with_the_tensor() {
        let mut tensor = Tensor::from_slice(&[1f32, 2., 3., 4.]).view([2, 2]);
        assert_eq!(host_slice(&tensor).unwrap(), [1., 2., 3., 4.]);
        host_slice_mut(&mut tensor).unwrap()[3] = 0.0;
        assert_eq!(tensor.double_value(&[1, 1]), 0.0);
        assert_eq!(host_slice(&tensor.narrow(0, 1, 1)).unwrap(), [3., 0.], "an offset into the storage counts");
    }

    #[test]
    fn only_plain_host_memory_is_a_slice() {
        let matrix = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        assert!(host_slice(&matrix.transpose(0, 1)).is_none());
        assert!(host_slice(&matrix.to_kind(Kind::Double)).is_none());
        assert!(host_slice(&matrix.to_sparse(None, None::<&[i64]>, None)).is_none());
        assert!(host_slice(&Tensor::new()).is_none());
        assert!(host_slice(&matrix.to_kind(Kind::ComplexFloat).conj().imag()).is_none());
        assert_eq!(host_slice(&Tensor::zeros([0, 3], (Kind::Float, Device::Cpu))).unwrap(), [0f32; 0]);
    }

    #[test]
    fn autograd_notices_a_write() {
        let x = Tensor::from_slice(&[2f32]).set_requires_grad(true);
        let mut square = &x * 1.0;
        let y = &square * &square;
        host_slice_mut(&mut square).unwrap()[0] = 5.0;
        let error = y.f_backward().unwrap_err().to_string();
        assert!(error.contains("modified by an inplace operation"), "{error}");
    }

    #[test]
    fn a_cleared_gradient_is_undefined() {
        let x = Tensor::from_slice(&[2f32]).set_requires_grad(true);
        (&x * &x).backward();
        assert!(x.grad().defined());
        clear_gradient(&x).unwrap();
        assert!(!x.grad().defined());
        clear_gradient(&x).unwrap();
    }
}
