//! Selection of each tensor for itself, and in patterns, over slices of main memory.

use super::change::Change;
use super::host::HostSelector;
use super::key::Order;
use crate::pattern::Grid;
use crate::{Among, Error, Layout, MaskSet, Pattern, Quota, Request, Result, TensorLayout};
use rayon::prelude::*;
use std::sync::Arc;

impl HostSelector {
    /// Replaces `mask` by the one that `request` asks for; one slice for each tensor of its layout, row-major.
    ///
    /// One ranking over all tensors together takes the paths of [`select_into`](Self::select_into); any other allocation or
    /// pattern is made from nothing each time.
    ///
    /// # Errors
    /// What [`Request::quota_after`] refuses; [`Error::NonFinite`] naming the first entry that cannot be ranked;
    /// [`Error::Layout`] for slices of other lengths, and naming every tensor of which the survivors cannot become what is
    /// asked for. `mask` is then as it was.
    pub fn select_as(
        &mut self,
        slices: &[&[f32]],
        order: Order,
        mask: &mut MaskSet,
        request: &Request,
    ) -> Result<Change> {
        let quota = request.quota_after(mask)?;
        if request.is_plain() {
            return self.select_into(slices, order, mask, quota.total(), request.among);
        }
        shaped(slices, order, mask, request, &quota)
    }
}

/// Replaces `mask` by what `request` asks for, whose counts `quota` holds.
fn shaped(slices: &[&[f32]], order: Order, mask: &mut MaskSet, request: &Request, quota: &Quota) -> Result<Change> {
    mask.layout().check_lengths(slices.iter().map(|values| values.len()))?;
    // Before anything is added up or cut into groups: the entry itself is to be named.
    for (tensor, values) in mask.layout().tensors().iter().zip(slices) {
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let (tensor, value) = (tensor.name().to_string(), values[index]);
            return Err(Error::NonFinite { tensor, index: index as u64, value });
        }
    }
    let next = match request.pattern {
        Pattern::NofM { n, m } => n_of_m(slices, order, mask, request.among, n as usize, m as usize)?,
        Pattern::Blocks { rows, columns } => blocks(slices, order, mask, request, quota, (rows, columns))?,
        Pattern::Unstructured => {
            let mut next = mask.clone();
            counted(slices, order, &mut next, request.among, quota)?;
            next
        }
    };
    let change = Change::between(mask, &next)?;
    *mask = next;
    Ok(change)
}

/// Ranks all tensors together, or each with its count.
fn counted(slices: &[&[f32]], order: Order, mask: &mut MaskSet, among: Among, quota: &Quota) -> Result<()> {
    let mut selector = HostSelector::new();
    let Some(counts) = quota.tensors() else {
        return selector.select_into(slices, order, mask, quota.total(), among).map(drop);
    };
    if among == Among::Survivors {
        let more = mask.tensors().zip(counts).filter(|((_, entries, kept, _), count)| entries - kept > **count);
        let problems: Vec<_> = more
            .map(|((name, entries, kept, _), count)| {
                format!("`{name}` has {} pruned entries already, and its share is {count}", entries - kept)
            })
            .collect();
        if !problems.is_empty() {
            return Err(Error::layout("survivors of the current mask", problems));
        }
    }
    let mut words = Vec::new();
    for (index, (tensor, values)) in mask.layout().tensors().iter().zip(slices).enumerate() {
        let alone = Arc::new(Layout::new([(tensor.name().clone(), tensor.shape().to_vec())])?);
        let mut next = MaskSet::from_words(alone, vec![mask.words()[index].clone()])?;
        selector.select_into(&[*values], order, &mut next, counts[index], among)?;
        words.extend_from_slice(next.words());
    }
    *mask = MaskSet::from_words(mask.layout().clone(), words)?;
    Ok(())
}

/// The `n` largest of every `m` neighbours. Among survivors, what is pruned counts as the smallest.
fn n_of_m(slices: &[&[f32]], order: Order, mask: &MaskSet, among: Among, n: usize, m: usize) -> Result<MaskSet> {
    let tensor = |(index, values): (usize, &&[f32])| {
        let mut words = vec![0u64; mask.words()[index].len()];
        let mut too_few = 0u64;
        let mut ranked: Vec<(bool, u32, usize)> = Vec::with_capacity(m);
        for (group, values) in values.chunks_exact(m).enumerate() {
            let survives = |at: usize| among == Among::All || mask.is_kept(index, at as u64);
            ranked.clear();
            ranked.extend(values.iter().enumerate().map(|(place, value)| {
                let at = group * m + place;
                (survives(at), order.key(*value), at)
            }));
            // Ties go by index, the first ones being pruned.
            ranked.sort_unstable();
            for (survives, _, at) in &ranked[m - n..] {
                too_few += u64::from(!survives);
                words[at / 64] |= 1 << (at % 64);
            }
        }
        (words, too_few)
    };
    let (words, too_few): (Vec<_>, Vec<_>) = slices.par_iter().enumerate().map(tensor).unzip();
    let tensors = mask.layout().tensors().iter().zip(too_few).filter(|(_, too_few)| *too_few > 0);
    let problems: Vec<_> = tensors
        .map(|(tensor, too_few)| format!("`{}` lacks {too_few} survivors to keep {n} of every {m}", tensor.name()))
        .collect();
    if problems.is_empty() {
        MaskSet::from_words(mask.layout().clone(), words)
    } else {
        Err(Error::layout("survivors of the current mask", problems))
    }
}

/// Blocks as entries of smaller tensors, ranked by their mean; then each block's bit for all of its entries.
fn blocks(
    slices: &[&[f32]],
    order: Order,
    mask: &MaskSet,
    request: &Request,
    quota: &Quota,
    (rows, columns): (u64, u64),
) -> Result<MaskSet> {
    let block = rows * columns;
    if request.among == Among::Survivors {
        request.pattern.prove(mask)?;
    }
    let layout = mask.layout();
    let grids: Vec<Grid> = layout.tensors().iter().map(|tensor| Grid::of(tensor, rows, columns)).collect();
    let named = |(tensor, grid): (&TensorLayout, &Grid)| (tensor.name().clone(), vec![grid.blocks()]);
    let small = Arc::new(Layout::new(layout.tensors().iter().zip(&grids).map(named))?);
    // The mean and not the sum, which may be more than a float32 holds.
    let mean = |values: &[f32], grid: &Grid, at: u64| -> f32 {
        let value = |entry: u64| {
            let value = f64::from(values[entry as usize]);
            if order == Order::Magnitude { value.abs() } else { value }
        };
        (grid.entries(at).map(value).sum::<f64>() / block as f64) as f32
    };
    let means = slices
        .par_iter()
        .zip(&grids)
        .map(|(values, grid)| (0..grid.blocks()).map(|at| mean(values, grid, at)).collect::<Vec<f32>>());
    let means: Vec<Vec<f32>> = means.collect();
    let means: Vec<&[f32]> = means.iter().map(Vec::as_slice).collect();
    let first = |tensor: usize, at: u64| grids[tensor].entries(at).next().unwrap_or(0);
    let mut kept = MaskSet::from_fn(small, |tensor, at| mask.is_kept(tensor, first(tensor, at)));
    let tensors = quota.tensors().map(|counts| counts.iter().map(|count| count / block).collect());
    let quota = Quota::new(quota.total() / block, tensors);
    counted(&means, Order::Value, &mut kept, request.among, &quota)?;
    let mut words: Vec<Vec<u64>> = mask.words().iter().map(|words| vec![0; words.len()]).collect();
    for (tensor, grid) in grids.iter().enumerate() {
        for at in (0..grid.blocks()).filter(|at| kept.is_kept(tensor, *at)) {
            for entry in grid.entries(at) {
                words[tensor][entry as usize / 64] |= 1 << (entry % 64);
            }
        }
    }
    MaskSet::from_words(layout.clone(), words)
}
