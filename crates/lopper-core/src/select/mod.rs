//! Exact global selection: which entries a mask of a given sparsity prunes.
//!
//! Exactly k entries are pruned, the ones with the smallest keys over all tensors together. Ties go by tensor order,
//! then index. The mask does not depend on the number of threads or the device.

mod chunk;
mod device;
mod host;
mod key;
mod sides;
mod warm;

use device::DeviceSelector;
pub use host::{Change, HostSelector};
pub use key::Order;

use crate::{Among, Error, MaskSet, Result, Scores, Sparsity, WeightView};

/// Ranks entries over all tensors together; keeps its work space between calls.
#[derive(Debug, Default)]
pub struct Selector {
    host: HostSelector,
    device: DeviceSelector,
    /// Room for a list of slices; empty between calls.
    slices: Vec<&'static [f32]>,
}

impl Selector {
    /// A selector with an empty work space.
    pub fn new() -> Self {
        Self::default()
    }

    /// A mask of exactly `target` sparsity over the layout of `view`.
    ///
    /// Magnitudes are ranked where they lie: slices of the CPU without a copy, and tensors of another device by tensor
    /// operations on it.
    ///
    /// # Errors
    /// [`Error::NonFinite`] naming the first entry that cannot be ranked, [`Error::Layout`] for scores of other
    /// shapes or a `current` of another layout, [`Error::InvalidValue`] when survivors are ranked and `current` prunes
    /// more than the target.
    pub fn select(
        &mut self,
        view: &WeightView<'_>,
        scores: &Scores,
        current: &MaskSet,
        target: Sparsity,
        among: Among,
    ) -> Result<MaskSet> {
        let mut mask = current.clone();
        self.select_into(view, scores, &mut mask, target, among)?;
        Ok(mask)
    }

    /// As [`select`](Self::select), into `mask`, which holds the current mask before and the next one after. A mask of
    /// the same sparsity takes the warm path of [`HostSelector::select_into`]. Magnitudes on the CPU are ranked without
    /// an allocation after the first call, unless a clone of `mask` shares its bits.
    ///
    /// # Errors
    /// As [`select`](Self::select); `mask` is then as it was.
    pub fn select_into(
        &mut self,
        view: &WeightView<'_>,
        scores: &Scores,
        mask: &mut MaskSet,
        target: Sparsity,
        among: Among,
    ) -> Result<Change> {
        mask.layout().check_same(view.layout(), "mask and weights")?;
        let pruned = target.pruned_of(view.layout().entries());
        if among == Among::Survivors && mask.pruned() > pruned {
            return Err(Error::invalid(
                "sparsity",
                target,
                format!(
                    "at least {}: the current mask prunes that much, and only survivors are ranked",
                    mask.sparsity()
                ),
            ));
        }
        match scores {
            Scores::Magnitude if view.weights().iter().all(|weight| weight.host.is_some()) => {
                let mut slices = std::mem::take(&mut self.slices);
                slices.extend(view.weights().iter().filter_map(|weight| weight.host));
                let selected = self.host.select_into(&slices, Order::Magnitude, mask, pruned, among);
                self.slices = emptied(slices);
                selected
            }
            Scores::Magnitude => {
                let tensors: Vec<_> = view.weights().iter().map(|w| w.tensor.shallow_clone()).collect();
                self.device.select_into(&tensors, Order::Magnitude, mask, pruned, among)
            }
            Scores::Values(tensors) => {
                check_shapes(view, tensors)?;
                if tensors.iter().all(|t| t.device() == tch::Device::Cpu) {
                    let values = tensors.iter().map(to_vec).collect::<Result<Vec<_>>>()?;
                    let slices: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
                    self.host.select_into(&slices, Order::Value, mask, pruned, among)
                } else {
                    self.device.select_into(tensors, Order::Value, mask, pruned, among)
                }
            }
        }
    }
}

/// The room of a list without its content, for slices of any lifetime: the standard library collects a vector's own
/// iterator in place.
fn emptied(mut slices: Vec<&[f32]>) -> Vec<&'static [f32]> {
    slices.clear();
    slices.into_iter().map(|_| -> &'static [f32] { &[] }).collect()
}

fn to_vec(tensor: &tch::Tensor) -> Result<Vec<f32>> {
    let flat = tensor.f_detach()?.f_to_kind(tch::Kind::Float)?.f_contiguous()?.f_view([-1])?;
    Ok(Vec::<f32>::try_from(&flat)?)
}

fn check_shapes(view: &WeightView<'_>, scores: &[tch::Tensor]) -> Result<()> {
    let mut problems = Vec::new();
    if scores.len() != view.weights().len() {
        problems.push(format!("{} score tensors for {} prunable tensors", scores.len(), view.weights().len()));
    }
    for (weight, score) in view.weights().iter().zip(scores) {
        if weight.tensor.size() != score.size() {
            problems.push(format!(
                "`{}` has shape {:?}, its scores {:?}",
                weight.name,
                weight.tensor.size(),
                score.size()
            ));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Layout { context: "scores".into(), problems }) }
}

/// Where the k-th smallest key lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Threshold {
    /// Keys below are pruned.
    key: u32,
    /// Of the entries with exactly this key, so many are pruned, in order.
    ties: u64,
    /// Entries with exactly this key.
    equal: u64,
}

/// The bin in which the `k`-th smallest falls (k from 1), and how many stand in the bins before it.
fn locate(histogram: &[u64], k: u64) -> Option<(usize, u64)> {
    let mut before = 0;
    for (bin, count) in histogram.iter().enumerate() {
        if before + count >= k {
            return Some((bin, before));
        }
        before += count;
    }
    None
}

/// Every ranked entry is counted once, so the k-th smallest of at least k is always found.
fn miscounted() -> Error {
    Error::Other("weights changed while they were ranked".into())
}
