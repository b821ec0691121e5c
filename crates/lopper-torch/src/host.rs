//! The memory of tensors as Rust slices, and gradients as tch does not reach them.
//!
//! # What is promised about memory that is lent
//! tch hands out handles to one memory freely (`shallow_clone`, views, the model that owns it), and libtorch counts no readers.
//! A function from a tensor to a slice of its memory is therefore unsound however its lifetimes are written. So memory is lent
//! to a closure and comes back when it ends, and three things keep it from changing meanwhile:
//!
//! 1. The closure is [`Sync`], and tch's handles are not: one that captures a tensor, a reference to one or a model does not
//!    compile. So nothing within it writes, resizes or frees what it was lent.
//! 2. What is lent is noted ([`Loan`]), and memory that is lent for writing is lent to nobody else, on no thread and through
//!    no handle: the second loan panics. This also holds for what the bound does not see, such as a tensor behind a lock.
//! 3. **Nobody's tensor operation writes to memory that is lent.** This alone rests on a discipline. tch lets a handle move to
//!    another thread, or into a lock or a thread-local, and an operation there asks nobody. The library's own threads beside
//!    the training only read, and what they read may change only after `Trainer::settle`; nobody else's thread is given a
//!    tensor of a model under training. Two such operations race within libtorch as well, without any slice.

use crate::ffi::{self, check};
use lopper_core::Result;
use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tch::Tensor;

/// Lends the entries of a defined, contiguous float32 tensor on the CPU, in row-major order, to `read`; `None`, and no call,
/// for any other.
///
/// ```no_run,standalone_crate
/// let tensor = tch::Tensor::from_slice(&[1f32, -2.0]);
/// assert_eq!(lopper_torch::read_host(&tensor, |values| values[1]), Some(-2.0));
/// ```
///
/// A closure that reaches a tensor is refused:
///
/// ```compile_fail,E0277,standalone_crate
/// let tensor = tch::Tensor::from_slice(&[1f32, -2.0]);
/// let mut other = tensor.shallow_clone();
/// lopper_torch::read_host(&tensor, |values| {
///     let _ = other.fill_(0.0);
///     values[1]
/// });
/// ```
///
/// # Panics
/// When the memory is lent for writing.
pub fn read_host<R>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> R + Sync) -> Option<R> {
    let (data, len) = host_data(tensor, false)?;
    let _loan = Loan::of(data, len, false);
    // SAFETY: the shim returns `len` aligned float32 of the tensor's storage, which `tensor` keeps alive. Nothing writes them
    // until `read` is done, as promised above, and the slice does not outlive it.
    Some(read(unsafe { std::slice::from_raw_parts(data, len) }))
}

/// Lends the entries of several tensors at once, as [`read_host`]; `None`, and no call, when one of them is not such a tensor.
///
/// # Panics
/// When some of the memory is lent for writing.
pub fn read_hosts<R>(tensors: &[&Tensor], read: impl FnOnce(&[&[f32]]) -> R + Sync) -> Option<R> {
    let places: Option<Vec<_>> = tensors.iter().map(|tensor| host_data(tensor, false)).collect();
    let places = places?;
    let _loans: Vec<Loan> = places.iter().map(|(data, len)| Loan::of(*data, *len, false)).collect();
    // SAFETY: as in `read_host`. They may overlap, as shared slices may.
    let lent: Vec<&[f32]> =
        places.iter().map(|(data, len)| unsafe { std::slice::from_raw_parts(*data, *len) }).collect();
    Some(read(&lent))
}

/// [`read_hosts`] as a [`WeightView`](lopper_core::WeightView) takes it, whose magnitudes are then ranked where they lie.
///
/// # Panics
/// As [`read_hosts`].
pub fn lend_hosts(tensors: &[&Tensor], read: &mut (dyn FnMut(&[&[f32]]) + Sync)) -> bool {
    read_hosts(tensors, |lent| read(lent)).is_some()
}

/// Lends the entries for writing, under the conditions of [`read_host`]; autograd sees an in-place operation.
///
/// # Panics
/// When some of the memory is lent.
pub fn write_host<R>(tensor: &mut Tensor, write: impl FnOnce(&mut [f32]) -> R + Sync) -> Option<R> {
    let (data, len) = host_data(tensor, true)?;
    let _loan = Loan::of(data, len, true);
    // SAFETY: as in `read_host`; nor does anything else read them until `write` is done.
    Some(write(unsafe { std::slice::from_raw_parts_mut(data, len) }))
}

/// What is lent at the moment.
static LENT: Mutex<Vec<Lent>> = Mutex::new(Vec::new());

/// Memory that somebody was lent: addresses from `start` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lent {
    start: usize,
    end: usize,
    writes: bool,
}

impl Lent {
    fn excludes(self, other: Self) -> bool {
        (self.writes || other.writes) && self.start.max(other.start) < self.end.min(other.end)
    }
}

/// A note in [`LENT`] for as long as it lives.
#[derive(Debug)]
struct Loan(Lent);

impl Loan {
    fn of(data: *const f32, len: usize, writes: bool) -> Self {
        let start = data.addr();
        let new = Lent { start, end: start + len * size_of::<f32>(), writes };
        let mut all = lent();
        let taken = all.iter().any(|other| other.excludes(new));
        if !taken {
            all.push(new);
        }
        // Before a panic, so that nobody finds the list poisoned for that reason.
        drop(all);
        assert!(!taken, "a tensor's memory is lent twice at the same time, at least once for writing");
        Self(new)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut all = lent();
        if let Some(at) = all.iter().position(|other| *other == self.0) {
            all.swap_remove(at);
        }
    }
}

fn lent() -> MutexGuard<'static, Vec<Lent>> {
    LENT.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn entries(tensor: &Tensor) -> Option<Vec<f32>> {
        read_host(tensor, <[f32]>::to_vec)
    }

    #[test]
    fn what_is_lent_is_the_memory_of_the_tensor() {
        let mut tensor = Tensor::from_slice(&[1f32, 2., 3., 4.]).view([2, 2]);
        assert_eq!(entries(&tensor).unwrap(), [1., 2., 3., 4.]);
        write_host(&mut tensor, |values| values[3] = 0.0).unwrap();
        assert_eq!(tensor.double_value(&[1, 1]), 0.0);
        let row = tensor.narrow(0, 1, 1);
        assert_eq!(entries(&row).unwrap(), [3., 0.], "an offset into the storage counts");
        let sum = read_hosts(&[&tensor, &row], |lent| lent.concat().iter().sum::<f32>());
        assert_eq!(sum, Some(9.0));
    }

    #[test]
    fn only_plain_host_memory_is_lent() {
        let matrix = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let others = [
            matrix.transpose(0, 1),
            matrix.to_kind(Kind::Double),
            matrix.to_sparse(None, None::<&[i64]>, None),
            Tensor::new(),
            matrix.to_kind(Kind::ComplexFloat).conj().imag(),
        ];
        for other in &others {
            assert_eq!(entries(other), None, "{other:?}");
            assert_eq!(read_hosts(&[&matrix, other], |lent| lent.len()), None, "{other:?}");
        }
        assert_eq!(entries(&Tensor::zeros([0, 3], (Kind::Float, Device::Cpu))).unwrap(), [0f32; 0]);
        assert_eq!(read_hosts(&[], |lent| lent.len()), Some(0));
    }

    /// The tensor that a lock hides from the compiler.
    #[test]
    fn memory_that_is_lent_is_written_by_nobody_else() {
        let mut tensor = Tensor::from_slice(&[1f32, 2., 3., 4.]);
        let halves = Mutex::new([tensor.narrow(0, 0, 2), tensor.narrow(0, 2, 2)]);
        let attempt = |work: &mut dyn FnMut()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_ok();
        let read = |half: usize| {
            let halves = halves.lock().unwrap_or_else(PoisonError::into_inner);
            attempt(&mut || assert!(read_host(&halves[half], <[f32]>::len).is_some()))
        };
        let write = |half: usize| {
            let mut halves = halves.lock().unwrap_or_else(PoisonError::into_inner);
            attempt(&mut || assert!(write_host(&mut halves[half], |values| values[0] = 5.0).is_some()))
        };
        assert_eq!(read_host(&tensor, |_| (read(0), write(0), read(1))), Some((true, false, true)));
        assert_eq!(write_host(&mut tensor, |_| (read(0), write(1))), Some((false, false)));
        let first = tensor.narrow(0, 0, 2);
        assert_eq!(read_host(&first, |_| (write(0), write(1))), Some((false, true)), "the other half is free");
        assert_eq!(read_hosts(&[&first, &tensor], |_| (read(0), write(1))), Some((true, false)));
        // What a closure was lent comes back when it panics, too.
        assert!(!attempt(&mut || assert!(write_host(&mut tensor, |_| panic!("in the closure")).is_none())));
        assert_eq!((write(0), write(1)), (true, true));
        assert_eq!(entries(&tensor).unwrap(), [5., 2., 5., 4.]);
    }

    #[test]
    fn autograd_notices_a_write() {
        let x = Tensor::from_slice(&[2f32]).set_requires_grad(true);
        let mut square = &x * 1.0;
        let y = &square * &square;
        write_host(&mut square, |values| values[0] = 5.0).unwrap();
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
