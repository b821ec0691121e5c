//! The C++ shim over libtorch, and everything unsafe about it.
//!
//! Fused optimizer steps, the global norm, autocast, the memory of tensors as slices, freed memory and the choice of a device: what `tch` lacks or does
//! unsafely. No C++ exception and no panic of a [`guarded`] closure leaves this crate; both become errors.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed test panics"))]
#![allow(unsafe_code, reason = "calls C++; every other crate of the project denies unsafe code")]

mod device;
mod ffi;
mod fused;
mod host;
mod memory;
mod mode;

pub use device::{device_kind, device_name, free_device_memory, gpu_named, libtorch_version, resolve_device};
pub use fused::{AdamStep, SgdStep, fused_adam, fused_adamw, fused_sgd, global_norm, scale};
pub use host::{clear_gradient, lend_hosts, read_host, read_hosts, write_host};
pub use memory::return_freed_memory;
pub use mode::{AutocastGuard, guarded};
pub use tch::{NoGradGuard, no_grad_guard};
