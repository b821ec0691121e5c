//! Batches of rows of unlike length without their padding.

use lopper_core::Result;
use tch::{Device, Kind, Tensor};

/// Where the valid steps of a batch of `batch` rows of at most `length` stand. All steps that are not padding, row after
/// row, are `n` packed steps; without padding `n` is `batch · length`. What is computed step by step is computed on these
/// alone: no result depends on the padding, and on rows of unlike length it is much of the work.
#[derive(Debug)]
pub struct Packing {
    batch: i64,
    length: i64,
    padding: Option<Padding>,
}

#[derive(Debug)]
struct Padding {
    /// Flat positions in `[batch · length]` of the packed steps: `[n]`, int64.
    packed: Tensor,
    /// For each flat position its index among the packed steps, 0 for padding: `[batch · length]`, int64.
    unpacked: Tensor,
    /// 0 for valid steps and -∞ for padding: `[batch, 1, 1, length]`, float32.
    bias: Tensor,
}

impl Packing {
    /// Of rows without padding.
    pub fn full(batch: i64, length: i64) -> Self {
        Self { batch, length, padding: None }
    }

    /// Of rows of which `mask`, boolean `[batch, length]`, says which steps are valid; at least one of them is.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn from_mask(mask: &Tensor) -> Result<Self> {
        let (batch, length) = mask.size2()?;
        let valid = mask.f_sum(Kind::Int64)?.f_int64_value(&[])?;
        if valid == batch * length {
            return Ok(Self::full(batch, length));
        }
        let flat = mask.f_reshape([-1])?;
        let packed = flat.f_nonzero()?.f_squeeze_dim(1)?;
        let unpacked = (flat.f_cumsum(0, Kind::Int64)? - 1).f_mul(&flat)?;
        let bias =
            mask.f_zeros_like()?.f_to_kind(Kind::Float)?.f_masked_fill(&mask.f_logical_not()?, f64::NEG_INFINITY)?;
        let bias = bias.f_view([batch, 1, 1, length])?;
        Ok(Self { batch, length, padding: Some(Padding { packed, unpacked, bias }) })
    }

    /// Of rows whose first `lengths` steps of `length` are valid, for tensors on `device`. At least one row has a step.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn from_lengths(lengths: &[i64], length: i64, device: Device) -> Result<Self> {
        let (batch, cpu) = (lengths.len() as i64, (Kind::Int64, Device::Cpu));
        if lengths.iter().all(|own| *own == length) {
            return Ok(Self::full(batch, length));
        }
        let lengths = Tensor::f_from_slice(lengths)?.f_unsqueeze(1)?;
        let mask = Tensor::f_arange(length, cpu)?.f_unsqueeze(0)?.f_lt_tensor(&lengths)?;
        let mut packing = Self::from_mask(&mask)?;
        if let Some(Padding { packed, unpacked, bias }) = &mut packing.padding {
            for tensor in [packed, unpacked, bias] {
                *tensor = tensor.f_to_device(device)?;
            }
        }
        Ok(packing)
    }

    /// Rows.
    pub fn batch(&self) -> i64 {
        self.batch
    }

    /// Steps of the longest row.
    pub fn length(&self) -> i64 {
        self.length
    }

    /// Flat positions in `[batch · length]` of the packed steps, `[n]` int64; `None` without padding.
    pub fn positions(&self) -> Option<&Tensor> {
        self.padding.as_ref().map(|p| &p.packed)
    }

    /// For each flat position its index among the packed steps, 0 for padding: `[batch · length]` int64; `None`
    /// without padding.
    pub fn indices(&self) -> Option<&Tensor> {
        self.padding.as_ref().map(|p| &p.unpacked)
    }

    /// What to add to scores of attention so that padding is not attended to: 0 for valid steps and -∞ for padding,
    /// `[batch, 1, 1, length]` float32; `None` without padding.
    pub fn bias(&self) -> Option<&Tensor> {
        self.padding.as_ref().map(|p| &p.bias)
    }

    /// `[batch · length]` or `[batch · length, width]` to `[n]` or `[n, width]`.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn pack(&self, x: Tensor) -> Result<Tensor> {
        match &self.padding {
            None => Ok(x),
            Some(padding) => Ok(x.f_index_select(0, &padding.packed)?),
        }
    }

    /// `[n, width]` to `[batch, length, width]` with zeros at padding.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn unpack(&self, x: &Tensor) -> Result<Tensor> {
        let (_, width) = x.size2()?;
        let flat = match &self.padding {
            None => x.shallow_clone(),
            Some(padding) => {
                let zeros = Tensor::f_zeros([self.batch * self.length, width], (x.kind(), x.device()))?;
                zeros.f_index_copy(0, &padding.packed, x)?
            }
        };
        Ok(flat.f_view([self.batch, self.length, width])?)
    }

    /// `[n, width]` to `[batch, heads, length, width / heads]`; what stands at padding is the first packed step's.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn heads(&self, x: &Tensor, heads: i64) -> Result<Tensor> {
        let width = x.size()[1];
        let x = match &self.padding {
            None => x.shallow_clone(),
            Some(padding) => x.f_index_select(0, &padding.unpacked)?,
        };
        Ok(x.f_view([self.batch, self.length, heads, width / heads])?.f_transpose(1, 2)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_with_zeros_at_padding() {
        let x = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([3, 4, 2]) + 1.0;
        let packing = Packing::from_lengths(&[2, 4, 1], 4, Device::Cpu).unwrap();
        let packed = packing.pack(x.view([12, 2])).unwrap();
        assert_eq!(packed.size(), [7, 2]);
        let back = packing.unpack(&packed).unwrap();
        let mask = Tensor::from_slice(&[1i64, 1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0]).view([3, 4, 1]);
        assert!(back == &x * mask);
        assert_eq!(packing.bias().unwrap().isinf().sum(Kind::Int64).int64_value(&[]), 5);
        let heads = packing.heads(&packed, 2).unwrap();
        assert_eq!(heads.size(), [3, 2, 4, 1]);
        assert!(heads.select(0, 1) == x.select(0, 1).view([4, 2, 1]).transpose(0, 1));
    }

    #[test]
    fn nothing_moves_without_padding() {
        let x = Tensor::arange(12, (Kind::Float, Device::Cpu)).view([6, 2]);
        let packing = Packing::from_lengths(&[3, 3], 3, Device::Cpu).unwrap();
        assert!(packing.positions().is_none() && packing.indices().is_none() && packing.bias().is_none());
        assert!(packing.pack(x.shallow_clone()).unwrap() == x);
        assert!(packing.unpack(&x).unwrap() == x.view([2, 3, 2]));
    }
}
