//! What libtorch keeps for each thread: grad mode and autocast.

use crate::ffi::{self, Mode, check};
use lopper_core::{Error, Result};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tch::{Device, Kind};

impl Mode {
    fn get() -> Result<Self> {
        let mut mode = Self::default();
        // SAFETY: a place for the result, of the layout that the shim writes.
        check(unsafe { ffi::lopper_mode_get(&mut mode) })?;
        Ok(mode)
    }

    fn set(&self) -> Result<()> {
        // SAFETY: a live value of the layout that the shim reads; its types come from `get`.
        check(unsafe { ffi::lopper_mode_set(self) })
    }
}

/// Autocast of this thread on one kind of device, put back as it was on drop, also while unwinding.
///
/// Make one for each forward pass: casts of weights are cached until the outermost guard is dropped, so a guard must
/// not span an optimizer step or a change of the mask.
#[must_use = "autocast ends when the guard is dropped"]
#[derive(Debug)]
pub struct AutocastGuard {
    before: Mode,
    // The state belongs to the thread: the guard may not be sent to another.
    thread: PhantomData<*const ()>,
}

impl AutocastGuard {
    /// `Kind::BFloat16` casts inputs of matrix products and convolutions, `Kind::Float` casts nothing.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another kind, or a device that is neither a CPU nor CUDA.
    pub fn new(device: Device, kind: Kind) -> Result<Self> {
        let enabled = match kind {
            Kind::BFloat16 => true,
            Kind::Float => false,
            other => return Err(unsupported(device, &format!("autocast to {other:?}; use float32 or bf16"))),
        };
        let cuda = match device {
            Device::Cpu => false,
            Device::Cuda(_) => true,
            Device::Mps | Device::Vulkan => return Err(unsupported(device, "autocast; use a CPU or CUDA")),
        };
        let guard = Self { before: Mode::get()?, thread: PhantomData };
        // SAFETY: no pointers; an error drops the guard, which restores the state.
        check(unsafe { ffi::lopper_autocast_bf16(cuda, enabled) })?;
        Ok(guard)
    }
}

impl Drop for AutocastGuard {
    fn drop(&mut self) {
        restore(&Mode { grad: Mode::get().map_or(self.before.grad, |now| now.grad), ..self.before });
    }
}

fn restore(mode: &Mode) {
    if let Err(error) = mode.set() {
        tracing::error!("autocast and grad mode could not be restored: {error}");
    }
}

fn unsupported(device: Device, feature: &str) -> Error {
    Error::Unsupported { what: format!("device {device:?}"), feature: feature.to_owned() }
}

/// Runs code that may panic, such as a plugin's; `what` names it in the error. Grad mode and autocast of the thread are
/// afterwards as before, whatever happened.
///
/// What the closure changed before it panicked stays changed: do not go on with it.
///
/// # Errors
/// Those of `f`, and [`Error::Panicked`] with the message of a panic.
pub fn guarded<T>(what: &str, f: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = Mode::get()?;
    let result = catch_unwind(AssertUnwindSafe(f));
    before.set()?;
    result.unwrap_or_else(|payload| {
        let message = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(Error::Panicked { who: what.to_owned(), message: message.to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    fn product_kind() -> Kind {
        let a = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
        a.matmul(&a).kind()
    }

    #[test]
    fn autocast_nests_and_ends() {
        {
            let _outer = AutocastGuard::new(Device::Cpu, Kind::BFloat16).unwrap();
            assert_eq!(product_kind(), Kind::BFloat16);
            {
                let _inner = AutocastGuard::new(Device::Cpu, Kind::Float).unwrap();
                assert_eq!(product_kind(), Kind::Float);
            }
            assert_eq!(product_kind(), Kind::BFloat16);
        }
        assert_eq!(product_kind(), Kind::Float);
    }

    #[test]
    fn cached_casts_end_with_the_guard() {
        let weight = Tensor::ones([2, 2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let mut sums = Vec::new();
        for _ in 0..2 {
            let _guard = AutocastGuard::new(Device::Cpu, Kind::BFloat16).unwrap();
            sums.push(weight.matmul(&weight).sum(Kind::Float).double_value(&[]));
            drop(_guard);
            let _no_grad = crate::no_grad_guard();
            let _ = weight.shallow_clone().fill_(2.0);
        }
        assert_eq!(sums, [8.0, 32.0]);
    }

    #[test]
    fn other_kinds_and_devices_are_refused() {
        assert!(AutocastGuard::new(Device::Cpu, Kind::Int64).is_err());
        assert!(AutocastGuard::new(Device::Mps, Kind::BFloat16).is_err());
        assert_eq!(product_kind(), Kind::Float);
    }

    #[test]
    fn a_guard_leaves_the_grad_mode_alone() {
        let before = Mode::get().unwrap();
        let guard = AutocastGuard::new(Device::Cpu, Kind::BFloat16).unwrap();
        let no_grad = crate::no_grad_guard();
        drop(guard);
        assert_eq!(Mode::get().unwrap().grad, 0);
        drop(no_grad);
        assert_eq!(Mode::get().unwrap(), before);
    }

    #[test]
    fn a_panic_becomes_an_error_and_the_modes_return() {
        let before = Mode::get().unwrap();
        let error = guarded("plugin `p`", || -> Result<()> {
            // tch's own closures do not restore while unwinding.
            let _ = tch::no_grad(|| {
                tch::autocast(true, || Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)).matmul(&Tensor::new()))
            });
            Ok(())
        })
        .unwrap_err()
        .to_string();
        assert!(error.starts_with("plugin `p` panicked: "), "{error}");
        assert_eq!(Mode::get().unwrap(), before);
        assert!(Tensor::from_slice(&[1f32]).set_requires_grad(true).exp().requires_grad());
        assert_eq!(guarded("p", || Ok(3)).unwrap(), 3);
        assert!(guarded("p", || -> Result<()> { Err(Error::Other("own".into())) }).unwrap_err().to_string() == "own");
    }
}
