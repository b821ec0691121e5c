//! What a mask prunes, set aside while the subnetwork is evaluated or trained and put back afterwards: only the pruned values,
//! because they are all that zeroing destroys.

use lopper_core::{MaskSet, Result};
use rayon::prelude::*;
use tch::Tensor;

/// Entries of a mask's word.
const WORD: usize = 64;
/// Words that one task looks at.
const CHUNK: usize = 1 << 10;

/// The values of pruned weights, and the mask that prunes them.
#[derive(Debug)]
pub(crate) struct Pruned {
    mask: MaskSet,
    /// Of each prunable tensor, in the layout's order.
    tensors: Vec<Values>,
}

/// The pruned values of one tensor.
#[derive(Debug)]
pub(crate) enum Values {
    /// Of plain host memory: those of each [`CHUNK`] in turn.
    Host(Vec<Vec<f32>>),
    /// Of any other: a vector on its device.
    Other(Tensor),
}

impl Pruned {
    /// No values yet.
    pub(crate) fn of(mask: &MaskSet) -> Self {
        Self { mask: mask.clone(), tensors: Vec::with_capacity(mask.words().len()) }
    }

    /// Adds those of the next tensor, which is the layout's tensor `index`. `places` gives its pruned entries as a bool
    /// tensor.
    pub(crate) fn push(
        &mut self,
        index: usize,
        tensor: &Tensor,
        places: impl FnOnce() -> Result<Tensor>,
    ) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let words = &self.mask.words()[index];
        self.tensors.push(match lopper_torch::read_host(tensor, |values| take(words, values)) {
            Some(taken) => Values::Host(taken),
            None => Values::Other(tensor.f_masked_select(&places()?)?),
        });
        Ok(())
    }

    pub(crate) fn into_parts(self) -> (MaskSet, Vec<Values>) {
        (self.mask, self.tensors)
    }
}

impl Values {
    /// Writes them where they were; `words` is the mask's part for this tensor, `places` as in [`Pruned::push`].
    pub(crate) fn put_into(
        self,
        words: &[u64],
        tensor: &mut Tensor,
        places: impl FnOnce() -> Result<Tensor>,
    ) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        match self {
            Self::Host(taken) => {
                lopper_torch::write_host(tensor, |values| put(words, values, &taken))
                    .expect("plain host memory stays what it is");
            }
            Self::Other(taken) => {
                let _ = tensor.f_masked_scatter_(&places()?, &taken)?;
            }
        }
        Ok(())
    }
}

/// The values whose bit is 0, in order.
fn take(words: &[u64], values: &[f32]) -> Vec<Vec<f32>> {
    let chunks = values.par_chunks(CHUNK * WORD).zip(words.par_chunks(CHUNK));
    let take = |(values, words): (&[f32], &[u64])| {
        let pruned = values.chunks(WORD).zip(words).map(|(values, word)| outside(*word, values.len()));
        let mut taken = Vec::with_capacity(pruned.clone().map(|pruned| pruned.count_ones() as usize).sum());
        for (values, pruned) in values.chunks(WORD).zip(pruned) {
            each(pruned, |bit| taken.push(values[bit]));
        }
        taken
    };
    chunks.map(take).collect()
}

/// Undoes [`take`].
fn put(words: &[u64], values: &mut [f32], taken: &[Vec<f32>]) {
    let chunks = values.par_chunks_mut(CHUNK * WORD).zip(words.par_chunks(CHUNK)).zip(taken);
    chunks.for_each(|((values, words), taken)| {
        let mut taken = taken.iter();
        for (values, word) in values.chunks_mut(WORD).zip(words) {
            each(outside(*word, values.len()), |bit| {
                if let Some(value) = taken.next() {
                    values[bit] = *value;
                }
            });
        }
    });
}

/// The bits of a word that are 0, among its first `entries`.
fn outside(word: u64, entries: usize) -> u64 {
    !word & if entries < WORD { (1 << entries) - 1 } else { u64::MAX }
}

/// The places of the bits that are set, from the lowest.
fn each(mut bits: u64, mut see: impl FnMut(usize)) {
    while bits != 0 {
        see(bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lopper_core::{Layout, MaskTensors, ParameterName, Sparsity};
    use std::sync::Arc;
    use tch::{Device, Kind};

    /// Of plain memory and, transposed, of memory that is not; sizes around those of words and chunks.
    #[test]
    fn what_was_taken_comes_back_to_the_bit_and_takes_no_more_than_it_is() {
        for (rows, columns) in [(1, 1), (3, 21), (1, 64), (5, 13), (257, 511), (2, 65_536)] {
            for sparsity in [0.0, 0.3, 0.9, 1.0] {
                let layout = Arc::new(Layout::new([(ParameterName::new("a"), vec![rows, columns])]).unwrap());
                let mask = MaskSet::random(layout, Sparsity::new(sparsity).unwrap(), rows);
                let shape = [rows as i64, columns as i64];
                let mut plain = Tensor::arange(shape[0] * shape[1], (Kind::Float, Device::Cpu)).view(shape) - 3.0;
                // A payload that arithmetic would not keep.
                lopper_torch::write_host(&mut plain, |values| values[0] = f32::from_bits(0xFFC0_1234)).unwrap();
                let turned = Tensor::zeros([shape[1], shape[0]], (Kind::Float, Device::Cpu)).t_();
                for mut tensor in [plain.copy(), turned] {
                    tensor.copy_(&plain);
                    let places = || mask.pruned_tensor(0, Device::Cpu);
                    let mut pruned = Pruned::of(&mask);
                    pruned.push(0, &tensor, places).unwrap();
                    let _ = tensor.masked_fill_(&places().unwrap(), 0.0);
                    let (_, mut values) = pruned.into_parts();
                    let values = values.pop().unwrap();
                    let number = match &values {
                        Values::Host(chunks) => {
                            assert!(chunks.iter().all(|chunk| chunk.len() == chunk.capacity()));
                            chunks.iter().map(Vec::len).sum()
                        }
                        Values::Other(values) => values.numel(),
                    };
                    assert_eq!(number as u64, mask.pruned());
                    values.put_into(&mask.words()[0], &mut tensor, places).unwrap();
                    let bits = |tensor: &Tensor| -> Vec<u32> {
                        let flat = tensor.contiguous().view([-1]);
                        lopper_torch::read_host(&flat, |values| values.iter().map(|v| v.to_bits()).collect()).unwrap()
                    };
                    assert_eq!(bits(&tensor), bits(&plain));
                }
            }
        }
    }
}
