//! Masks as tensors.

use crate::{MaskSet, Result};
use lopper_mask::LANES;
use tch::{Device, Kind, Tensor};

/// What tensor operations take of a mask.
pub trait MaskTensors {
    /// The pruned entries of tensor `index`, true = pruned: a bool tensor of its shape on `device`, for `masked_fill_`.
    ///
    /// # Errors
    /// Errors of libtorch.
    ///
    /// # Panics
    /// When there is no such tensor.
    fn pruned_tensor(&self, index: usize, device: Device) -> Result<Tensor>;

    /// The kept entries of tensor `index`, true = kept: a bool tensor of its shape on `device`.
    ///
    /// # Errors
    /// Errors of libtorch.
    ///
    /// # Panics
    /// When there is no such tensor.
    fn kept_tensor(&self, index: usize, device: Device) -> Result<Tensor> {
        Ok(self.pruned_tensor(index, device)?.f_logical_not()?)
    }
}

impl MaskTensors for MaskSet {
    fn pruned_tensor(&self, index: usize, device: Device) -> Result<Tensor> {
        let tensor = &self.layout().tensors()[index];
        let shape: Vec<i64> = tensor.shape().iter().map(|d| *d as i64).collect();
        let pruned = match device {
            Device::Cpu => Tensor::f_from_slice(&self.to_bytes(index))?.f_to_kind(Kind::Bool)?.f_logical_not()?,
            _ => pruned_of(&self.words()[index], tensor.entries(), device)?,
        };
        Ok(pruned.f_view(shape.as_slice())?)
    }
}

/// Pruned entries, flat, unpacked where they are wanted: bits are an eighth of what would have to be moved otherwise.
fn pruned_of(words: &[u64], entries: u64, device: Device) -> Result<Tensor> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let bytes = Tensor::f_from_slice(&bytes)?.f_to_device(device)?.f_unsqueeze(1)?;
    let lanes = Tensor::f_from_slice(&LANES)?.f_to_device(device)?;
    let pruned = bytes.f_bitwise_and_tensor(&lanes)?.f_eq(0)?;
    Ok(pruned.f_view([-1])?.f_narrow(0, 0, entries as i64)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layout, ParameterName, Sparsity};
    use std::sync::Arc;

    #[test]
    fn bits_are_unpacked_alike_on_every_device() {
        let named = [0, 1, 63, 64, 65, 300].map(|n| (ParameterName::new(format!("t{n}")), vec![n]));
        let mask = MaskSet::random(Arc::new(Layout::new(named).unwrap()), Sparsity::new(0.4).unwrap(), 3);
        for (index, tensor) in mask.layout().tensors().iter().enumerate() {
            let there = pruned_of(&mask.words()[index], tensor.entries(), Device::Cpu).unwrap();
            assert_eq!(there, mask.pruned_tensor(index, Device::Cpu).unwrap(), "{}", tensor.name());
        }
    }

    #[test]
    fn a_tensor_says_which_entries_are_pruned() {
        let layout = Arc::new(Layout::new([(ParameterName::new("t0"), vec![3])]).unwrap());
        let mask = MaskSet::from_fn(layout, |_, index| index == 1);
        let read = |tensor: Tensor| Vec::<bool>::try_from(&tensor).unwrap();
        assert_eq!(read(mask.pruned_tensor(0, Device::Cpu).unwrap()), [true, false, true]);
        assert_eq!(read(mask.kept_tensor(0, Device::Cpu).unwrap()), [false, true, false]);
    }
}
