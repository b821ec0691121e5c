//! The functions of `shim.cpp`.

use lopper_core::{Error, Result};
use std::ffi::{CStr, c_char, c_void};
use tch::{TchError, Tensor};
use torch_sys::C_tensor;

/// Grad mode and autocast of this thread; the same layout as `LopperMode` in C++.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) grad: i32,
    pub(crate) nesting: i32,
    pub(crate) enabled: [i32; 2],
    pub(crate) types: [i32; 2],
}

unsafe extern "C" {
    fn lopper_free(text: *mut c_char);
    pub(crate) fn lopper_fused_adam(
        decoupled: bool,
        n: usize,
        params: *const *mut C_tensor,
        gradients: *const *mut C_tensor,
        exp_avgs: *const *mut C_tensor,
        exp_avg_sqs: *const *mut C_tensor,
        steps: *const u64,
        rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
    ) -> *mut c_char;
    pub(crate) fn lopper_fused_sgd(
        n: usize,
        params: *const *mut C_tensor,
        gradients: *const *mut C_tensor,
        momenta: *const *mut C_tensor,
        rate: f64,
        momentum: f64,
        weight_decay: f64,
    ) -> *mut c_char;
    pub(crate) fn lopper_global_norm(n: usize, tensors: *const *mut C_tensor, norm: *mut *mut C_tensor) -> *mut c_char;
    pub(crate) fn lopper_scale(n: usize, tensors: *const *mut C_tensor, factor: f64) -> *mut c_char;
    pub(crate) fn lopper_clear_gradient(tensor: *mut C_tensor) -> *mut c_char;
    pub(crate) fn lopper_host_data(
        tensor: *mut C_tensor,
        write: bool,
        data: *mut *mut c_void,
        len: *mut usize,
    ) -> *mut c_char;
    pub(crate) fn lopper_mode_get(mode: *mut Mode) -> *mut c_char;
    pub(crate) fn lopper_mode_set(mode: *const Mode) -> *mut c_char;
    pub(crate) fn lopper_autocast_bf16(cuda: bool, enabled: bool) -> *mut c_char;
    pub(crate) fn lopper_cuda_device_count(count: *mut i32) -> *mut c_char;
    pub(crate) fn lopper_libtorch_version() -> u64;
    pub(crate) fn lopper_libtorch_file() -> *mut c_char;
}

/// The text behind a pointer that the shim allocated, which is freed; `None` for null.
pub(crate) fn take_text(text: *mut c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the shim returns null or a NUL-terminated string that it gives away.
    let owned = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: as above; `text` is not used again.
    unsafe { lopper_free(text) };
    Some(owned)
}

/// Turns the message of a shim function into an error.
pub(crate) fn check(message: *mut c_char) -> Result<()> {
    take_text(message).map_or(Ok(()), |text| Err(Error::Torch(TchError::Torch(text))))
}

/// The pointers of a list, valid as long as the borrowed tensors.
pub(crate) fn pointers(tensors: &[&Tensor]) -> Vec<*mut C_tensor> {
    tensors.iter().map(|t| t.as_ptr().cast_mut()).collect()
}
