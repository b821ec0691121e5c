//! Exact selection: which entries a mask of a given sparsity prunes.
//!
//! Exactly as many entries are pruned as a [`Request`] says, the ones with the smallest keys: over all tensors together, of
//! each tensor, or of each group of a pattern. Ties go by tensor order, then index. The mask does not depend on the number of
//! threads or the device.

mod device;

use device::DeviceSelector;

use crate::{Change, Error, HostSelector, MaskSet, Order, PrunableWeight, Request, Result, Scores, WeightView};

/// Ranks entries over all tensors together; keeps its work space between calls.
#[derive(Debug, Default)]
pub struct Selector {
    host: HostSelector,
    device: DeviceSelector,
}

impl Selector {
    /// A selector with an empty work space.
    pub fn new() -> Self {
        Self::default()
    }

    /// A mask of these weights as `request` says, from `current`.
    ///
    /// Magnitudes are ranked where they lie: memory of the CPU that is [lent](WeightView::lent_by) without a copy, and tensors of
    /// another device by tensor operations on it. What is ranked tensor by tensor or in a pattern there is copied to the CPU.
    ///
    /// # Errors
    /// [`Error::NonFinite`] naming the first entry that cannot be ranked, [`Error::ScoreShapes`] for scores of other shapes,
    /// [`Error::Layout`] for a `current` of another layout, [`Error::InvalidValue`] when survivors are ranked and `current`
    /// prunes more than the target, and what [`Request::quota`] refuses.
    pub fn select(
        &mut self,
        weights: &WeightView<'_>,
        scores: &Scores,
        current: &MaskSet,
        request: &Request,
    ) -> Result<MaskSet> {
        let mut mask = current.clone();
        self.select_into(weights, scores, &mut mask, request)?;
        Ok(mask)
    }

    /// As [`select`](Self::select), into `mask`, which holds the current mask before and the next one after. A mask of
    /// the same sparsity takes the warm path of [`HostSelector::select_into`].
    ///
    /// # Errors
    /// As [`select`](Self::select); `mask` is then as it was.
    pub fn select_into(
        &mut self,
        weights: &WeightView<'_>,
        scores: &Scores,
        mask: &mut MaskSet,
        request: &Request,
    ) -> Result<Change> {
        mask.layout().check_same(weights.layout(), "mask and weights")?;
        if matches!(scores, Scores::Magnitude) {
            let (host, next) = (&mut self.host, &mut *mask);
            let selected = weights.read(|lent| host.select_as(lent, Order::Magnitude, next, request));
            if let Some(selected) = selected {
                return Ok(selected?);
            }
        }
        let quota = request.quota_after(mask)?;
        let (pruned, among) = (quota.total(), request.among);
        if !request.is_plain() {
            let (values, order) = host_values(weights, scores)?;
            let slices: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
            return Ok(self.host.select_as(&slices, order, mask, request)?);
        }
        match scores {
            Scores::Magnitude => {
                let tensors: Vec<_> = weights.weights().iter().map(|w| w.tensor.shallow_clone()).collect();
                self.device.select_into(&tensors, Order::Magnitude, mask, pruned, among)
            }
            Scores::Values(tensors) => {
                check_shapes(weights, tensors)?;
                if weights.weights().iter().all(|weight| weight.tensor.device() == tch::Device::Cpu) {
                    let values = tensors.iter().map(to_vec).collect::<Result<Vec<_>>>()?;
                    let slices: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
                    Ok(self.host.select_into(&slices, Order::Value, mask, pruned, among)?)
                } else {
                    let on_device = |(scores, weight): (&tch::Tensor, &PrunableWeight<'_>)| {
                        Ok(scores.f_detach()?.f_to_kind(tch::Kind::Float)?.f_to_device(weight.tensor.device())?)
                    };
                    let tensors = tensors.iter().zip(weights.weights()).map(on_device).collect::<Result<Vec<_>>>()?;
                    self.device.select_into(&tensors, Order::Value, mask, pruned, among)
                }
            }
        }
    }
}

/// What is ranked, copied to the CPU, and in which order.
fn host_values(weights: &WeightView<'_>, scores: &Scores) -> Result<(Vec<Vec<f32>>, Order)> {
    match scores {
        Scores::Magnitude => {
            let values = weights.weights().iter().map(|weight| to_vec(&weight.tensor));
            Ok((values.collect::<Result<_>>()?, Order::Magnitude))
        }
        Scores::Values(tensors) => {
            check_shapes(weights, tensors)?;
            Ok((tensors.iter().map(to_vec).collect::<Result<_>>()?, Order::Value))
        }
    }
}

fn to_vec(tensor: &tch::Tensor) -> Result<Vec<f32>> {
    let flat =
        tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_to_kind(tch::Kind::Float)?.f_contiguous()?.f_view([-1])?;
    Ok(Vec::<f32>::try_from(&flat)?)
}

fn check_shapes(weights: &WeightView<'_>, scores: &[tch::Tensor]) -> Result<()> {
    let mut problems = Vec::new();
    if scores.len() != weights.weights().len() {
        problems.push(format!("{} score tensors for {} prunable tensors", scores.len(), weights.weights().len()));
    }
    for (weight, score) in weights.weights().iter().zip(scores) {
        if weight.tensor.size() != score.size() {
            problems.push(format!(
                "`{}` has shape {:?}, its scores {:?}",
                weight.name,
                weight.tensor.size(),
                score.size()
            ));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::ScoreShapes { problems }) }
}
