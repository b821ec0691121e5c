//! Bit-packed masks and what can be said about two of them.

use crate::bits::{self, last_word, word_count};
use crate::{Error, Layout, ParameterName, Result, Sparsity};
use rayon::prelude::*;
use std::sync::Arc;

/// One bit for every prunable entry of a model; 1 = kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskSet {
    layout: Arc<Layout>,
    /// One vector of words a tensor, least significant bit first; bits past the last entry are 0.
    /// Shared with its clones until one of them changes, so that a mask which is remembered costs nothing and is known again
    /// without a look at its bits.
    words: Arc<Vec<Vec<u64>>>,
}

/// What two masks have in common.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// |a ∧ b| / |a ∨ b| over kept entries (paper, equation 1); 1 for two masks that keep nothing.
    pub iou: f64,
    /// |a ∧ b| / d with d = all prunable entries (paper, appendix D, footnote 14): at most the smaller keep share.
    pub overlap: f64,
    /// Entries on which both agree / d.
    pub agreement: f64,
    /// Entries kept by both.
    pub both: u64,
    /// Entries kept by the first alone.
    pub first_only: u64,
    /// Entries kept by the second alone.
    pub second_only: u64,
}

impl MaskSet {
    /// Everything kept.
    pub fn dense(layout: Arc<Layout>) -> Self {
        let words = layout
            .tensors()
            .iter()
            .map(|tensor| {
                let mut words = vec![u64::MAX; word_count(tensor.entries())];
                if let Some(last) = words.last_mut() {
                    *last &= last_word(tensor.entries());
                }
                words
            })
            .collect();
        Self { layout, words: Arc::new(words) }
    }

    /// A mask of which `keep(tensor, index)` says what stays; called in order.
    pub fn from_fn(layout: Arc<Layout>, mut keep: impl FnMut(usize, u64) -> bool) -> Self {
        let words = layout
            .tensors()
            .iter()
            .enumerate()
            .map(|(tensor, named)| {
                let mut words = vec![0; word_count(named.entries())];
                for index in 0..named.entries() {
                    words[(index / 64) as usize] |= u64::from(keep(tensor, index)) << (index % 64);
                }
                words
            })
            .collect();
        Self { layout, words: Arc::new(words) }
    }

    /// A mask from packed bits: for each tensor its words, the first entry in the lowest bit of the first word.
    ///
    /// # Errors
    /// [`Error::Format`] naming the tensor, for a wrong number of words or a bit past the last entry.
    pub fn from_words(layout: Arc<Layout>, words: Vec<Vec<u64>>) -> Result<Self> {
        if words.len() != layout.tensors().len() {
            let reason = format!("bits of {} tensors for a layout of {}", words.len(), layout.tensors().len());
            return Err(refused(reason));
        }
        for (tensor, words) in layout.tensors().iter().zip(&words) {
            if words.len() != word_count(tensor.entries()) {
                let reason = format!("`{}` of {} entries has {} words", tensor.name(), tensor.entries(), words.len());
                return Err(refused(reason));
            }
            if words.last().is_some_and(|last| last & !last_word(tensor.entries()) != 0) {
                return Err(refused(format!("`{}` has bits past its last entry", tensor.name())));
            }
        }
        Ok(Self { layout, words: Arc::new(words) })
    }

    /// Names, shapes and order.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Packed bits, as [`from_words`](Self::from_words) takes them.
    pub fn words(&self) -> &[Vec<u64>] {
        &self.words
    }

    pub(crate) fn words_mut(&mut self) -> &mut [Vec<u64>] {
        Arc::make_mut(&mut self.words).as_mut_slice()
    }

    /// Whether entry `index` (row-major) of tensor `tensor` is kept; false outside.
    pub fn is_kept(&self, tensor: usize, index: u64) -> bool {
        self.words
            .get(tensor)
            .and_then(|words| words.get((index / 64) as usize))
            .is_some_and(|w| w >> (index % 64) & 1 == 1)
    }

    /// Kept entries over all tensors.
    pub fn kept(&self) -> u64 {
        self.words.par_iter().map(|words| bits::count(words)).sum()
    }

    /// Pruned entries over all tensors.
    pub fn pruned(&self) -> u64 {
        self.layout.entries() - self.kept()
    }

    /// pruned / entries over all tensors; 0 for a layout without entries.
    pub fn sparsity(&self) -> Sparsity {
        share(self.pruned(), self.layout.entries())
    }

    /// Name, entries, kept entries and sparsity of each tensor, in order.
    pub fn tensors(&self) -> impl Iterator<Item = (&ParameterName, u64, u64, Sparsity)> {
        self.layout.tensors().iter().zip(&*self.words).map(|(tensor, words)| {
            let kept = bits::count(words);
            (tensor.name(), tensor.entries(), kept, share(tensor.entries() - kept, tensor.entries()))
        })
    }

    /// Sets pruned entries of tensor `index` to +0.
    ///
    /// # Errors
    /// [`Error::Layout`] when `weights` has another number of entries, or there is no such tensor.
    pub fn apply(&self, index: usize, weights: &mut [f32]) -> Result<()> {
        bits::apply(self.words_of(index, weights.len())?, weights);
        Ok(())
    }

    /// Sets pruned entries of all tensors to +0; one slice for each tensor, in order.
    ///
    /// # Errors
    /// [`Error::Layout`] for slices of other lengths; all of them are then as they were.
    pub fn apply_all(&self, weights: &mut [&mut [f32]]) -> Result<()> {
        self.layout.check_lengths(weights.iter().map(|values| values.len()))?;
        weights.par_iter_mut().zip(&*self.words).for_each(|(values, words)| bits::apply(words, values));
        Ok(())
    }

    /// Pruned entries of tensor `index` that are not 0; NaN is not.
    ///
    /// # Errors
    /// [`Error::Layout`] when `weights` has another number of entries, or there is no such tensor.
    pub fn nonzero_pruned(&self, index: usize, weights: &[f32]) -> Result<u64> {
        Ok(bits::count_nonzero_outside(self.words_of(index, weights.len())?, weights))
    }

    fn words_of(&self, index: usize, weights: usize) -> Result<&[u64]> {
        let entries = self.layout.tensors().get(index).map(|t| t.entries());
        if entries == Some(weights as u64) {
            return Ok(&self.words[index]);
        }
        let problem = match entries {
            Some(entries) => format!("tensor {index} has {entries} entries, the weights {weights}"),
            None => format!("there is no tensor {index} among {}", self.layout.tensors().len()),
        };
        Err(Error::Layout { context: "mask and weights".into(), problems: vec![problem] })
    }

    /// One byte an entry of tensor `index`, 1 = kept, row-major.
    ///
    /// # Panics
    /// When there is no such tensor.
    pub fn to_bytes(&self, index: usize) -> Vec<u8> {
        bits::unpack(&self.words[index], self.layout.tensors()[index].entries() as usize)
    }

    /// The same mask with its tensors in the order of `layout`.
    ///
    /// # Errors
    /// [`Error::Layout`] when they do not describe the same tensors.
    pub fn in_order_of(mut self, layout: &Arc<Layout>) -> Result<Self> {
        self.layout.check_same_tensors(layout, "mask and model")?;
        let place = |name| self.layout.tensors().iter().position(|tensor| tensor.name() == name);
        let places: Vec<usize> = layout.tensors().iter().filter_map(|tensor| place(tensor.name())).collect();
        let words = self.words_mut();
        let words = places.into_iter().map(|place| std::mem::take(&mut words[place])).collect();
        Ok(Self { layout: layout.clone(), words: Arc::new(words) })
    }

    /// Kept where both keep.
    ///
    /// # Errors
    /// [`Error::Layout`] when they do not describe the same tensors.
    pub fn intersection(&self, other: &Self) -> Result<Self> {
        self.combine(other, |a, b| a & b)
    }

    /// Kept where either keeps.
    ///
    /// # Errors
    /// [`Error::Layout`] when they do not describe the same tensors.
    pub fn union(&self, other: &Self) -> Result<Self> {
        self.combine(other, |a, b| a | b)
    }

    /// Kept where `self` keeps and `other` prunes.
    ///
    /// # Errors
    /// [`Error::Layout`] when they do not describe the same tensors.
    pub fn difference(&self, other: &Self) -> Result<Self> {
        self.combine(other, |a, b| a & !b)
    }

    /// Whether every entry kept here is kept there.
    ///
    /// # Errors
    /// [`Error::Layout`] when they do not describe the same tensors.
    pub fn is_subset_of(&self, other: &Self) -> Result<bool> {
        self.layout.check_same(&other.layout, "masks")?;
        Ok(self.words.iter().flatten().zip(other.words.iter().flatten()).all(|(a, b)| a & !b == 0))
    }

    /// IOU, overlap and agreement over all tensors.
    ///
    /// # Errors
    /// [`Error::Layout`] when they do not describe the same tensors.
    pub fn compare(&self, other: &Self) -> Result<Comparison> {
        self.layout.check_same(&other.layout, "masks")?;
        let pairs = self.words.par_iter().zip(&*other.words);
        let counts = pairs.map(|(a, b)| bits::count_pairs(a, b)).reduce(|| [0; 3], bits::add);
        Ok(comparison(counts, self.layout.entries()))
    }

    /// The same for each tensor, with its name.
    ///
    /// # Errors
    /// [`Error::Layout`] when they do not describe the same tensors.
    pub fn compare_tensors(&self, other: &Self) -> Result<Vec<(ParameterName, Comparison)>> {
        self.layout.check_same(&other.layout, "masks")?;
        let words = self.words.iter().zip(&*other.words);
        Ok(self
            .layout
            .tensors()
            .iter()
            .zip(words)
            .map(|(tensor, (a, b))| (tensor.name().clone(), comparison(bits::count_pairs(a, b), tensor.entries())))
            .collect())
    }

    fn combine(&self, other: &Self, operation: impl Fn(u64, u64) -> u64) -> Result<Self> {
        self.layout.check_same(&other.layout, "masks")?;
        let words = self.words.iter().zip(&*other.words);
        let words = words.map(|(a, b)| a.iter().zip(b).map(|(a, b)| operation(*a, *b)).collect()).collect();
        Ok(Self { layout: self.layout.clone(), words: Arc::new(words) })
    }
}

fn share(part: u64, whole: u64) -> Sparsity {
    Sparsity::new(part as f64 / whole.max(1) as f64).unwrap_or(Sparsity::DENSE)
}

fn comparison([both, first_only, second_only]: [u64; 3], entries: u64) -> Comparison {
    let either = both + first_only + second_only;
    let all = entries.max(1) as f64;
    Comparison {
        iou: if either == 0 { 1.0 } else { both as f64 / either as f64 },
        overlap: both as f64 / all,
        agreement: if entries == 0 { 1.0 } else { (entries - first_only - second_only) as f64 / all },
        both,
        first_only,
        second_only,
    }
}

fn refused(reason: String) -> Error {
    Error::Format { reason, source: None }
}
