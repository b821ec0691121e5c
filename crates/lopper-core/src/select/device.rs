//! Selection by tensor operations, on whatever device the tensors lie. Only histograms and the chosen bits reach the
//! host. The mask is the one that [`HostSelector`](super::HostSelector) would choose.

use super::host::Change;
use super::key::{BINS, LOW_BITS, Order};
use super::{Threshold, locate};
use crate::{Among, Error, MaskSet, Result, pack_bits};
use tch::{Kind, Tensor};

pub(super) fn select_into(
    tensors: &[Tensor],
    order: Order,
    mask: &mut MaskSet,
    pruned: u64,
    among: Among,
) -> Result<Change> {
    let _no_grad = tch::no_grad_guard();
    let layout = mask.layout().clone();
    for (tensor, named) in tensors.iter().zip(layout.tensors()) {
        check_finite(tensor, named.name().as_str())?;
    }
    let survivors = among == Among::Survivors;
    let wanted = if survivors { pruned - mask.pruned() } else { pruned };
    let threshold = if wanted == 0 {
        Threshold { key: 0, ties: 0, equal: 0 }
    } else {
        threshold(tensors, order, mask, survivors, wanted)?
    };
    let mut left = threshold.ties;
    let mut words = Vec::with_capacity(tensors.len());
    for (index, tensor) in tensors.iter().enumerate() {
        let keys = keys(tensor, order)?;
        let mut prune = keys.f_lt(i64::from(threshold.key))?;
        let mut tie = keys.f_eq(i64::from(threshold.key))?;
        if survivors {
            let gone = mask.pruned_tensor(index, tensor.device())?.f_view([-1])?;
            tie = tie.f_logical_and(&gone.f_logical_not()?)?;
            prune = prune.f_logical_or(&gone)?;
        }
        if left > 0 {
            let places = tie.f_nonzero()?.f_view([-1])?;
            let take = places.size()[0].min(i64::try_from(left).unwrap_or(i64::MAX));
            let _ = prune.f_index_fill_(0, &places.f_narrow(0, 0, take)?, 1)?;
            left -= take as u64;
        }
        let kept = prune.f_logical_not()?.f_to_kind(Kind::Uint8)?.f_to_device(tch::Device::Cpu)?;
        words.push(pack_bits(&Vec::<u8>::try_from(&kept)?));
    }
    let next = MaskSet::from_words(layout, words)?;
    let change = Change::between(mask, &next)?;
    *mask = next;
    Ok(change)
}

fn threshold(tensors: &[Tensor], order: Order, mask: &MaskSet, survivors: bool, wanted: u64) -> Result<Threshold> {
    let none = || Error::Other("fewer entries than are to be pruned".into());
    let high_bits = |keys: &Tensor| keys.f_bitwise_right_shift_tensor_scalar(i64::from(LOW_BITS));
    let candidates = |index: usize| -> Result<Tensor> {
        let keys = keys(&tensors[index], order)?;
        if !survivors {
            return Ok(keys);
        }
        let kept = mask.pruned_tensor(index, tensors[index].device())?.f_view([-1])?.f_logical_not()?;
        Ok(keys.f_masked_select(&kept)?)
    };
    let high = histogram(tensors.len(), |index| Ok(high_bits(&candidates(index)?)?))?;
    let (high, before) = locate(&high, wanted).ok_or_else(none)?;
    let low = histogram(tensors.len(), |index| {
        let keys = candidates(index)?;
        let here = high_bits(&keys)?.f_eq(high as i64)?;
        Ok(keys.f_masked_select(&here)?.f_bitwise_and(BINS as i64 - 1)?)
    })?;
    let (bin, before_low) = locate(&low, wanted - before).ok_or_else(none)?;
    Ok(Threshold { key: (high << LOW_BITS | bin) as u32, ties: wanted - before - before_low, equal: low[bin] })
}

/// Counts over all tensors of what `bins` gives for each: int64 numbers below [`BINS`].
fn histogram(tensors: usize, bins: impl Fn(usize) -> Result<Tensor>) -> Result<Vec<u64>> {
    let mut sum: Option<Tensor> = None;
    for index in 0..tensors {
        let counts = bins(index)?.f_bincount(None::<Tensor>, BINS as i64)?;
        sum = Some(match sum {
            Some(sum) => sum.f_add(&counts)?,
            None => counts,
        });
    }
    let Some(sum) = sum else { return Ok(Vec::new()) };
    let counts = Vec::<i64>::try_from(&sum.f_to_device(tch::Device::Cpu)?)?;
    Ok(counts.into_iter().map(|count| count as u64).collect())
}

/// Flat int64 keys, equal to those of [`Order::key`].
fn keys(tensor: &Tensor, order: Order) -> Result<Tensor> {
    let flat = tensor.f_detach()?.f_to_kind(Kind::Float)?.f_contiguous()?.f_view([-1])?;
    Ok(match order {
        Order::Magnitude => flat.f_view_dtype(Kind::Int)?.f_bitwise_and(0x7fff_ffff)?.f_to_kind(Kind::Int64)?,
        Order::Value => {
            // Adding +0 turns -0 into +0.
            let bits = flat.f_add_scalar(0.0)?.f_view_dtype(Kind::Int)?.f_to_kind(Kind::Int64)?;
            let negative = bits.f_lt(0)?;
            // Two's complement: `!b` of a negative 32-bit number is `-b - 1`.
            bits.f_neg()?.f_sub_scalar(1)?.f_where_self(&negative, &bits.f_add_scalar(1i64 << 31)?)?
        }
    })
}

fn check_finite(tensor: &Tensor, name: &str) -> Result<()> {
    let bad = tensor.f_isfinite()?.f_logical_not()?.f_view([-1])?;
    if bad.f_any()?.f_int64_value(&[])? == 0 {
        return Ok(());
    }
    let index = bad.f_nonzero()?.f_int64_value(&[0, 0])?;
    let value = tensor.f_contiguous()?.f_view([-1])?.f_double_value(&[index])? as f32;
    Err(Error::NonFinite { tensor: name.to_owned(), index: index as u64, value })
}
