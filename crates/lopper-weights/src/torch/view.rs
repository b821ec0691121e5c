//! Tensors as views of storages: what they may reach, and their entries in row-major order.

use crate::pickle::TensorNode;

/// What a tensor may take beyond its storage when it repeats entries, in bytes.
const REPEATED: u64 = 16 << 20;

/// A tensor whose every entry is known to lie in its storage.
#[derive(Debug, PartialEq)]
pub(crate) struct View<'a> {
    width: u64,
    shape: &'a [u64],
    strides: &'a [u64],
    /// The bytes of the storage from its first entry to its last.
    pub(crate) first: u64,
    pub(crate) span: u64,
    /// Bytes of all its entries.
    pub(crate) size: u64,
}

impl<'a> View<'a> {
    /// A tensor over a storage of that many bytes.
    ///
    /// # Errors
    /// What of it cannot be counted or does not lie in the storage.
    pub(crate) fn new(tensor: &'a TensorNode, stored: u64) -> Result<Self, String> {
        let TensorNode { width, offset, ref shape, ref strides, .. } = *tensor;
        // Zeros count as ones: libtorch multiplies the other dimensions for the strides.
        let countable = shape.iter().try_fold(width, |product, d| product.checked_mul((*d).max(1)));
        let countable = countable.filter(|size| i64::try_from(*size).is_ok());
        let size = countable.ok_or_else(|| format!("of shape {shape:?} has more entries than can be counted"))?;
        if shape.contains(&0) {
            return Ok(Self { width, shape, strides, first: 0, span: 0, size: 0 });
        }
        let steps =
            shape.iter().zip(strides).try_fold(0u64, |sum, (d, stride)| sum.checked_add((d - 1).checked_mul(*stride)?));
        let place = || {
            let first = offset.checked_mul(width)?;
            let span = steps?.checked_add(1)?.checked_mul(width)?;
            (first.checked_add(span)? <= stored).then_some((first, span))
        };
        let (first, span) = place().ok_or_else(|| {
            format!("of shape {shape:?}, strides {strides:?} and offset {offset} reaches beyond its storage of {stored} bytes")
        })?;
        if size > stored.max(REPEATED) {
            return Err(format!("of shape {shape:?} repeats the {stored} bytes of its storage up to {size}"));
        }
        Ok(Self { width, shape, strides, first, span, size })
    }

    /// Whether the entries lie in row-major order without gaps.
    pub(crate) fn is_contiguous(&self) -> bool {
        let mut step = 1;
        self.size == 0
            || self.shape.iter().zip(self.strides).rev().all(|(d, stride)| {
                let next = *d == 1 || *stride == step;
                step *= d;
                next
            })
    }

    /// The entries in row-major order, from the bytes of the span.
    pub(crate) fn gather(&self, span: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size as usize);
        let mut place = vec![0; self.shape.len()];
        let mut at = 0u64;
        while bytes.len() < self.size as usize {
            let start = (at * self.width) as usize;
            bytes.extend_from_slice(&span[start..start + self.width as usize]);
            for ((index, d), stride) in place.iter_mut().zip(self.shape).zip(self.strides).rev() {
                *index += 1;
                // A dimension of one entry may have any stride.
                at = at.wrapping_add(*stride);
                if *index < *d {
                    break;
                }
                at = at.wrapping_sub(d.wrapping_mul(*stride));
                *index = 0;
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(offset: u64, shape: &[u64], strides: &[u64]) -> TensorNode {
        TensorNode { storage: 0, width: 2, dtype: None, offset, shape: shape.into(), strides: strides.into() }
    }

    #[test]
    fn every_entry_lies_in_the_storage() {
        let last = tensor(1, &[2, 3], &[3, 1]);
        assert_eq!(View::new(&last, 14).unwrap().size, 12);
        assert!(View::new(&last, 13).unwrap_err().contains("reaches beyond its storage of 13 bytes"));
        let most = u64::MAX;
        for (offset, shape, strides) in [
            (most, [1, 1], [1, 1]),
            (most / 2, [1, 1], [1, 1]),
            (0, [2, 1], [most, 1]),
            (0, [2, 2], [most / 2, most / 2]),
            (0, [2, 2], [most / 2, most / 2 + 1]),
            (most / 2, [2, 1], [most / 2, 1]),
        ] {
            let tensor = tensor(offset, &shape, &strides);
            assert!(View::new(&tensor, most).is_err(), "{tensor:?}");
        }
        for shape in [[most, 1], [1 << 32, 1 << 32], [0, most], [1 << 62, 1]] {
            let tensor = tensor(0, &shape, &[0, 0]);
            assert!(View::new(&tensor, 14).unwrap_err().contains("more entries than can be counted"));
        }
        assert!(View::new(&tensor(0, &[1 << 24], &[0]), 14).unwrap_err().contains("repeats"));
        let empty = tensor(9, &[0, 5], &[5, 1]);
        assert_eq!(View::new(&empty, 14).unwrap().size, 0);
    }

    #[test]
    fn entries_come_in_row_major_order() {
        let bytes: Vec<u8> = (0..24).collect();
        let gathered = |offset, shape: &[u64], strides: &[u64]| {
            let tensor = tensor(offset, shape, strides);
            let view = View::new(&tensor, 24).unwrap();
            let span = &bytes[view.first as usize..(view.first + view.span) as usize];
            let gathered = view.gather(span);
            assert!(!view.is_contiguous() || gathered == span);
            gathered.chunks(2).map(|entry| entry[0] / 2).collect::<Vec<_>>()
        };
        assert_eq!(gathered(0, &[3, 2], &[2, 1]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(gathered(0, &[2, 3], &[1, 2]), [0, 2, 4, 1, 3, 5]);
        assert_eq!(gathered(5, &[2, 2], &[4, 2]), [5, 7, 9, 11]);
        assert_eq!(gathered(3, &[2, 3], &[0, 1]), [3, 4, 5, 3, 4, 5]);
        assert_eq!(gathered(7, &[], &[]), [7]);
        assert_eq!(gathered(7, &[1, 1], &[u64::MAX, 3]), [7]);
        assert!(gathered(7, &[2, 0], &[1, 1]).is_empty());
    }
}
