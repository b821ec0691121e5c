//! Selection by tensor operations, on whatever device the tensors lie: a radix select in three counting passes and one that
//! writes the bits, and a single pass when a mask of the same sparsity is made again. Counts, the mask's bits and the few
//! entries of the warm path are all that reaches the host. The mask is the one that
//! [`HostSelector`](crate::HostSelector) would choose.
//!
//! A launch costs as much as hundreds of thousands of entries, so tensors are looked at many at once.

use crate::{Among, Change, Error, Layout, MaskSet, MaskTensors, Order, Result};
use lopper_mask::ranking::{Bracket, Candidate, Threshold, locate, most_candidates, settle, width};
use lopper_mask::{LANES, WORD};
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Entries that are looked at together, unless one tensor has more: they bound the memory of a pass, some 20 bytes each.
const GROUP: u64 = 1 << 24;

/// Bits of a key that a counting pass looks at.
struct Digit {
    shift: u32,
    bits: u32,
}

/// From the top. Counters of 11 bits fit into a GPU's shared memory, where counting is fast.
const DIGITS: [Digit; 3] = [Digit { shift: 21, bits: 11 }, Digit { shift: 10, bits: 11 }, Digit { shift: 0, bits: 10 }];

impl Digit {
    fn bins(&self) -> i64 {
        1 << self.bits
    }

    /// The digit of each of these signed keys.
    fn of(&self, keys: &Tensor, order: Order) -> Result<Tensor> {
        let digit = keys.f_bitwise_right_shift_tensor_scalar(i64::from(self.shift))?.f_bitwise_and(self.bins() - 1)?;
        // Undoes what `signed` does to the top bit.
        let turned = order == Order::Value && self.shift + self.bits == 32;
        Ok(if turned { digit.f_bitwise_xor(self.bins() / 2)? } else { digit })
    }

    /// Those of the keys that have this digit.
    fn with(&self, keys: &Tensor, order: Order, digit: usize) -> Result<Tensor> {
        Ok(keys.f_masked_select(&self.of(keys, order)?.f_eq(digit as i64)?)?)
    }
}

/// Selection over tensors. Between re-prunes it keeps what it knows of the mask it made last: a byte for each entry on the
/// device.
#[derive(Debug)]
pub(super) struct DeviceSelector {
    group: u64,
    known: Option<Known>,
}

impl Default for DeviceSelector {
    fn default() -> Self {
        Self { group: GROUP, known: None }
    }
}

/// The mask that was made last.
#[derive(Debug)]
struct Known {
    mask: MaskSet,
    /// How many entries it prunes.
    count: u64,
    /// Its pruned entries, flat, for each group.
    pruned: Vec<Tensor>,
    /// Where the next threshold is expected.
    bracket: Bracket,
}

impl DeviceSelector {
    /// Replaces `mask` by the one that prunes the `pruned` smallest of `tensors`, one for each tensor of its layout, of
    /// its shape, all on one device. Ranking all entries at the sparsity that `mask` already has takes one pass over the
    /// weights from the second time on.
    ///
    /// # Errors
    /// [`Error::NonFinite`] naming the first entry that cannot be ranked; errors of libtorch. `mask` is then as it was.
    pub(super) fn select_into(
        &mut self,
        tensors: &[Tensor],
        order: Order,
        mask: &mut MaskSet,
        pruned: u64,
        among: Among,
    ) -> Result<Change> {
        let Some(first) = tensors.first() else { return Ok(Change::default()) };
        let _no_grad = tch::no_grad_guard();
        let weights = Weights { tensors, order, groups: groups(mask.layout(), self.group), device: first.device() };
        if let Some(mut known) = self.known.take() {
            let fits = known.bracket.is_of(order) && known.pruned.iter().all(|t| t.device() == weights.device);
            if fits
                && among == Among::All
                && known.count == pruned
                && known.mask == *mask
                && let Some(change) = known.next(&weights, mask)?
            {
                self.known = Some(known);
                return Ok(change);
            }
        }
        let (next, bracket, bits) = weights.fresh(mask, pruned, among == Among::Survivors)?;
        let change = Change::between(mask, &next)?;
        // Whoever makes one mask and trains on, as OMP does, has no use for it.
        let is_re_prune = among == Among::All && mask.pruned() == pruned;
        self.known = bracket.filter(|_| is_re_prune).map(|bracket| Known {
            mask: next.clone(),
            count: pruned,
            pruned: bits,
            bracket,
        });
        *mask = next;
        Ok(change)
    }
}

impl Known {
    /// Makes `mask`, which is the known one, the next of the same sparsity: [`settle`]. `None` when the entries to be
    /// ranked are too many, or the bracket was a bad guess.
    fn next(&mut self, weights: &Weights<'_>, mask: &mut MaskSet) -> Result<Option<Change>> {
        let mut candidates = Vec::new();
        for (group, pruned) in weights.groups.iter().zip(&self.pruned) {
            let keys = weights.keys(group)?;
            let [low, high] = [self.bracket.low, self.bracket.high].map(|key| weights.signed(key));
            let undecided = keys.f_ge(low)?.f_where_self(pruned, &keys.f_le(high)?)?;
            let places = undecided.f_logical_or(&weights.unrankable(&keys)?)?.f_nonzero()?.f_view([-1])?;
            let found = places.size()[0] as usize;
            if candidates.len() + found > most_candidates(mask.layout()) {
                return Ok(None);
            }
            if found == 0 {
                continue;
            }
            let keys = Vec::<i32>::try_from(&keys.f_index_select(0, &places)?.f_to_device(Device::Cpu)?)?;
            let places = Vec::<i64>::try_from(&places.f_to_device(Device::Cpu)?)?;
            let keys = keys.into_iter().map(|key| weights.unsigned(key));
            candidates.extend(group.entries(&places).zip(keys).map(|((tensor, index), key)| Candidate {
                key,
                tensor,
                index,
            }));
        }
        if candidates.iter().any(|candidate| weights.order.is_unrankable(candidate.key)) {
            return Err(weights.non_finite(mask.layout()));
        }
        let Some(settled) = settle(&mut candidates, mask, self.bracket) else { return Ok(None) };
        self.bracket = settled.bracket;
        if settled.change != Change::default() {
            let (prune, keep) = candidates.split_at(settled.pruned);
            if let Err(error) = self.set(weights, prune, true).and_then(|()| self.set(weights, keep, false)) {
                *mask = self.mask.clone();
                return Err(error);
            }
        }
        // Also where it is equal: from now on it shares its bits with the caller's, and is known by that.
        self.mask = mask.clone();
        Ok(Some(settled.change))
    }

    /// Notes on the device that these entries are pruned, or kept.
    fn set(&mut self, weights: &Weights<'_>, entries: &[Candidate], pruned: bool) -> Result<()> {
        for (group, bits) in weights.groups.iter().zip(&mut self.pruned) {
            let places: Vec<i64> = entries.iter().filter_map(|entry| group.place(entry)).collect();
            if !places.is_empty() {
                let places = Tensor::f_from_slice(&places)?.f_to_device(weights.device)?;
                let _ = bits.f_index_fill_(0, &places, i64::from(pruned))?;
            }
        }
        Ok(())
    }
}

/// Tensors in a row that are looked at together.
#[derive(Debug)]
struct Group {
    tensors: Range<usize>,
    /// For each of them where its entries begin, and at last where those of the last end.
    starts: Vec<u64>,
}

impl Group {
    /// Tensor and index in it of each of these places, which ascend.
    fn entries<'a>(&'a self, places: &'a [i64]) -> impl Iterator<Item = (u32, u64)> + 'a {
        let mut at = 0;
        places.iter().map(move |place| {
            let place = *place as u64;
            while self.starts[at + 1] <= place {
                at += 1;
            }
            ((self.tensors.start + at) as u32, place - self.starts[at])
        })
    }

    /// Where an entry lies, if it does here.
    fn place(&self, entry: &Candidate) -> Option<i64> {
        let tensor = entry.tensor as usize;
        self.tensors.contains(&tensor).then(|| (self.starts[tensor - self.tensors.start] + entry.index) as i64)
    }

    /// Start and length of each tensor.
    fn parts(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.starts.windows(2).map(|ends| (ends[0] as i64, (ends[1] - ends[0]) as i64))
    }
}

/// All tensors of a layout, in groups of at most `most` entries, or of one tensor.
fn groups(layout: &Layout, most: u64) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, tensor) in layout.tensors().iter().enumerate() {
        let entries = tensor.entries();
        match groups.last_mut() {
            Some(Group { tensors, starts }) if starts[starts.len() - 1] + entries <= most => {
                tensors.end = index + 1;
                starts.push(starts[starts.len() - 1] + entries);
            }
            _ => groups.push(Group { tensors: index..index + 1, starts: vec![0, entries] }),
        }
    }
    groups
}

/// What is ranked.
struct Weights<'a> {
    tensors: &'a [Tensor],
    order: Order,
    groups: Vec<Group>,
    device: Device,
}

impl Weights<'_> {
    /// [`Order::key`] as libtorch's integers, which have a sign: of the same order.
    fn signed(&self, key: u32) -> i64 {
        i64::from(match self.order {
            Order::Magnitude => key as i32,
            Order::Value => (key ^ 1 << 31) as i32,
        })
    }

    /// The inverse of [`signed`](Self::signed).
    fn unsigned(&self, key: i32) -> u32 {
        match self.order {
            Order::Magnitude => key as u32,
            Order::Value => key as u32 ^ 1 << 31,
        }
    }

    /// Signed keys of a group, flat: int32.
    fn keys(&self, group: &Group) -> Result<Tensor> {
        let parts = self.tensors[group.tensors.clone()].iter().map(flat).collect::<Result<Vec<_>>>()?;
        let flat = if let [one] = &parts[..] { one.shallow_clone() } else { Tensor::f_cat(&parts, 0)? };
        Ok(match self.order {
            Order::Magnitude => flat.f_view_dtype(Kind::Int)?.f_bitwise_and(0x7fff_ffff)?,
            Order::Value => {
                // Adding +0 turns -0 into +0. A negative number's other bits count downwards.
                let bits = flat.f_add_scalar(0.0)?.f_view_dtype(Kind::Int)?;
                let turned = bits.f_bitwise_right_shift_tensor_scalar(31)?.f_bitwise_and(0x7fff_ffff)?;
                bits.f_bitwise_xor_tensor(&turned)?
            }
        })
    }

    /// Which of these keys are those of NaN or an infinity.
    fn unrankable(&self, keys: &Tensor) -> Result<Tensor> {
        let (first, end) = self.order.finite_keys();
        let above = keys.f_ge(self.signed(end))?;
        Ok(match self.order {
            Order::Magnitude => above,
            Order::Value => above.f_logical_or(&keys.f_lt(self.signed(first))?)?,
        })
    }

    /// The first entry that cannot be ranked.
    fn non_finite(&self, layout: &Layout) -> Error {
        let first = || -> Result<Option<Error>> {
            for (tensor, named) in self.tensors.iter().zip(layout.tensors()) {
                let flat = flat(tensor)?;
                let bad = flat.f_isfinite()?.f_logical_not()?.f_nonzero()?.f_view([-1])?;
                if bad.size()[0] > 0 {
                    let index = bad.f_int64_value(&[0])?;
                    let (tensor, value) = (named.name().to_string(), flat.f_double_value(&[index])? as f32);
                    return Ok(Some(Error::NonFinite { tensor, index: index as u64, value }));
                }
            }
            Ok(None)
        };
        first().map_or_else(|error| error, |found| found.unwrap_or_else(changed))
    }

    /// The mask after `mask` from nothing, where the one after that may be expected, and its pruned entries by group.
    fn fresh(&self, mask: &MaskSet, pruned: u64, survivors: bool) -> Result<(MaskSet, Option<Bracket>, Vec<Tensor>)> {
        let layout = mask.layout();
        let gone = self.groups.iter().map(|group| survivors.then(|| self.gone(mask, group)).transpose());
        let gone = gone.collect::<Result<Vec<_>>>()?;
        let wanted = if survivors { pruned - mask.pruned() } else { pruned };
        let (threshold, histograms) = self.threshold(layout, wanted, &gone)?;
        let bracket = Bracket::expected(self.order, layout, threshold, |enough| histograms.width(enough));
        let key = self.signed(threshold.key);
        let all_ties = threshold.ties == threshold.equal;
        let (mut left, mut words, mut bits) = (threshold.ties, Vec::with_capacity(layout.tensors().len()), Vec::new());
        for (group, gone) in self.groups.iter().zip(gone) {
            let keys = self.keys(group)?;
            let mut prune = if all_ties && left > 0 { keys.f_le(key)? } else { keys.f_lt(key)? };
            if !all_ties && left > 0 {
                let mut tie = keys.f_eq(key)?;
                if let Some(gone) = &gone {
                    tie = tie.f_logical_and(&gone.f_logical_not()?)?;
                }
                let places = tie.f_nonzero()?.f_view([-1])?;
                let take = places.size()[0].min(i64::try_from(left).unwrap_or(i64::MAX));
                let _ = prune.f_index_fill_(0, &places.f_narrow(0, 0, take)?, 1)?;
                left -= take as u64;
            }
            if let Some(gone) = gone {
                prune = prune.f_logical_or(&gone)?;
            }
            words.extend(packed(&prune, group)?);
            bits.push(prune);
        }
        Ok((MaskSet::from_words(layout.clone(), words)?, bracket, bits))
    }

    /// What is pruned already in a group, where only survivors are ranked: flat.
    fn gone(&self, mask: &MaskSet, group: &Group) -> Result<Tensor> {
        let parts = group.tensors.clone().map(|tensor| Ok(mask.pruned_tensor(tensor, self.device)?.f_view([-1])?));
        Ok(Tensor::f_cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// Where the `wanted`-th smallest key lies among those that are not gone from their group, and what was counted around
    /// it.
    fn threshold(&self, layout: &Layout, wanted: u64, gone: &[Option<Tensor>]) -> Result<(Threshold, Histograms)> {
        let [top, middle, bottom] = DIGITS;
        let ranked = |keys: Tensor, gone: Option<&Tensor>| -> Result<Tensor> {
            Ok(match gone {
                Some(gone) => keys.f_masked_select(&gone.f_logical_not()?)?,
                None => keys,
            })
        };
        // What is not ranked must be finite too.
        let mut unrankable = Tensor::f_zeros([1], (Kind::Bool, self.device))?;
        let counts = self.count(&top, gone, |group, gone| {
            let keys = self.keys(group)?;
            unrankable = unrankable.f_logical_or(&self.unrankable(&keys)?.f_any()?)?;
            ranked(keys, gone)
        })?;
        if unrankable.f_int64_value(&[0])? != 0 {
            return Err(self.non_finite(layout));
        }
        if wanted == 0 {
            return Ok((Threshold { key: 0, ties: 0, equal: 0 }, Histograms::default()));
        }
        let (first, before) = locate(&counts, wanted).ok_or_else(changed)?;
        let wanted = wanted - before;
        let inside =
            |group: &Group, gone: Option<&Tensor>| top.with(&ranked(self.keys(group)?, gone)?, self.order, first);
        let counts = self.count(&middle, gone, inside)?;
        let (second, before) = locate(&counts, wanted).ok_or_else(changed)?;
        let wanted = wanted - before;
        let last = self.count(&bottom, gone, |group, gone| middle.with(&inside(group, gone)?, self.order, second))?;
        let (third, before) = locate(&last, wanted).ok_or_else(changed)?;
        let key = first << top.shift | second << middle.shift | third;
        let threshold = Threshold { key: key as u32, ties: wanted - before, equal: last[third] };
        Ok((threshold, Histograms { middle: (counts, second), bottom: (last, third) }))
    }

    /// How many of the keys that `keys` has of all groups, each with what is gone from it, have each value of `digit`.
    fn count(
        &self,
        digit: &Digit,
        gone: &[Option<Tensor>],
        mut keys: impl FnMut(&Group, Option<&Tensor>) -> Result<Tensor>,
    ) -> Result<Vec<u64>> {
        let mut counts = Tensor::f_zeros([digit.bins()], (Kind::Int64, self.device))?;
        for (group, gone) in self.groups.iter().zip(gone) {
            let here = digit.of(&keys(group, gone.as_ref())?, self.order)?.f_bincount(None::<Tensor>, digit.bins())?;
            counts = counts.f_add(&here)?;
        }
        let counts = Vec::<i64>::try_from(&counts.f_to_device(Device::Cpu)?)?;
        Ok(counts.into_iter().map(|count| count as u64).collect())
    }
}

/// Every ranked entry is counted once, so the k-th smallest of at least k is always found.
fn changed() -> Error {
    lopper_mask::Error::Changed.into()
}

/// The entries of a tensor in a row, as they are ranked: float32.
fn flat(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_detach()?.f_to_kind(Kind::Float)?.f_contiguous()?.f_view([-1])?)
}

/// Counts around the threshold by the middle and the lowest digit, with the threshold's.
#[derive(Default)]
struct Histograms {
    middle: (Vec<u64>, usize),
    bottom: (Vec<u64>, usize),
}

impl Histograms {
    /// How far one must go from the threshold in both directions to have `enough` entries.
    fn width(&self, enough: u64) -> u32 {
        let (Self { middle: (middle, at), bottom: (bottom, place) }, shift) = (self, DIGITS[1].shift);
        if middle.get(*at).is_some_and(|count| *count < enough) {
            width(middle, *at, enough) << shift
        } else {
            width(bottom, *place, enough)
        }
    }
}

/// A group's bits as words of each tensor; 1 = kept.
fn packed(pruned: &Tensor, group: &Group) -> Result<Vec<Vec<u64>>> {
    let word = WORD as i64;
    let kept = pruned.f_logical_not()?.f_to_kind(Kind::Uint8)?;
    let kept = if group.parts().all(|(_, entries)| entries % word == 0) {
        kept
    } else {
        let padded = |(start, entries)| kept.f_narrow(0, start, entries)?.f_constant_pad_nd([0, -entries & (word - 1)]);
        Tensor::f_cat(&group.parts().map(padded).collect::<Result<Vec<_>, _>>()?, 0)?
    };
    let lanes = Tensor::f_from_slice(&LANES)?.f_to_device(pruned.device())?;
    let bytes = kept.f_view([-1, 8])?.f_mul(&lanes)?.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Uint8)?;
    let bytes = Vec::<u8>::try_from(&bytes.f_to_device(Device::Cpu)?)?;
    let mut words = bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    Ok(group.parts().map(|(_, entries)| words.by_ref().take((entries as usize).div_ceil(WORD)).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HostSelector, ParameterName};
    use proptest::prelude::*;
    use std::sync::Arc;

    /// Few different numbers, so that many tie; negative zero and a denormal among them.
    fn number() -> impl Strategy<Value = f32> {
        prop_oneof![
            3 => (-6i8..=6).prop_map(|n| f32::from(n) / 4.0),
            1 => prop::sample::select(vec![-0.0, 1e-42, f32::MAX, f32::MIN, 1e-3]),
            2 => -1.0f32..1.0,
        ]
    }

    fn weights() -> impl Strategy<Value = Vec<Vec<f32>>> {
        prop::collection::vec(prop::collection::vec(number(), 0..150), 1..5)
    }

    fn tensors(values: &[Vec<f32>]) -> Vec<Tensor> {
        values.iter().map(|values| Tensor::from_slice(values)).collect()
    }

    fn slices(values: &[Vec<f32>]) -> Vec<&[f32]> {
        values.iter().map(Vec::as_slice).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// One training's weights after another, ranked on both sides by selectors that remember: the same masks, the
        /// same changes.
        #[test]
        fn tensors_are_ranked_as_slices_are(
            mut values in weights(),
            shares in prop::collection::vec(0.0f64..=1.0, 1..3),
            steps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), number()), 0..12),
            group in prop_oneof![Just(1u64), Just(100), Just(GROUP)],
            magnitude: bool,
            survivors: bool,
        ) {
            let named = values.iter().enumerate().map(|(i, v)| (ParameterName::new(format!("t{i}")), vec![v.len() as u64]));
            let layout = Arc::new(Layout::new(named).unwrap());
            let order = if magnitude { Order::Magnitude } else { Order::Value };
            let (mut here, mut there) = (HostSelector::new(), DeviceSelector { group, known: None });
            let mut mask = MaskSet::dense(layout.clone());
            let mut pruned: Vec<u64> = shares.iter().map(|share| (layout.entries() as f64 * share) as u64).collect();
            pruned.sort_unstable();
            let among = if survivors { Among::Survivors } else { Among::All };
            let mut steps = steps.into_iter();
            for pruned in pruned {
                // The first two are fresh, the others are warm.
                for _ in 0..4 {
                    let mut other = mask.clone();
                    let change = here.select_into(&slices(&values), order, &mut mask, pruned, among).unwrap();
                    let same = there.select_into(&tensors(&values), order, &mut other, pruned, among).unwrap();
                    prop_assert_eq!(&other, &mask);
                    prop_assert_eq!(same, change);
                    mask.apply_all(&mut values.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>()).unwrap();
                    for (tensor, place, value) in steps.by_ref().take(2) {
                        let tensor = tensor.index(values.len());
                        if !values[tensor].is_empty() {
                            let place = place.index(values[tensor].len());
                            values[tensor][place] = value;
                        }
                    }
                }
            }
        }

        /// Wherever it stands and whatever is ranked, fresh or warm, and the mask stays as it was.
        #[test]
        fn what_cannot_be_ranked_is_named(
            mut values in weights().prop_filter("no entries", |values| values.iter().any(|v| !v.is_empty())),
            place in any::<prop::sample::Index>(),
            bad in prop::sample::select(vec![f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
            group in prop_oneof![Just(1u64), Just(GROUP)],
            magnitude: bool,
            warm: bool,
            survivors: bool,
        ) {
            let named = values.iter().enumerate().map(|(i, v)| (ParameterName::new(format!("t{i}")), vec![v.len() as u64]));
            let layout = Arc::new(Layout::new(named).unwrap());
            let order = if magnitude { Order::Magnitude } else { Order::Value };
            let among = if survivors { Among::Survivors } else { Among::All };
            let mut selector = DeviceSelector { group, known: None };
            let mut mask = MaskSet::dense(layout.clone());
            let pruned = layout.entries() / 2;
            for _ in 0..if warm { 2 } else { 0 } {
                selector.select_into(&tensors(&values), order, &mut mask, pruned, among).unwrap();
            }
            let mut place = place.index(layout.entries() as usize);
            let tensor = values.iter().position(|v| if place < v.len() { true } else { place -= v.len(); false }).unwrap();
            values[tensor][place] = bad;
            let before = mask.clone();
            let error = selector.select_into(&tensors(&values), order, &mut mask, pruned, among).unwrap_err();
            prop_assert!(matches!(
                &error,
                Error::NonFinite { tensor: name, index, .. } if *name == format!("t{tensor}") && *index == place as u64
            ), "{error} and not t{tensor}[{place}]");
            prop_assert_eq!(mask, before);
        }
    }

    /// A score beyond float32 is told as on the host.
    #[test]
    fn scores_are_ranked_as_float32() {
        let layout = Arc::new(Layout::new([(ParameterName::new("t0"), vec![3])]).unwrap());
        let (mut mask, scores) = (MaskSet::dense(layout), Tensor::from_slice(&[0.0, 1e300, 1.0f64]));
        let error =
            DeviceSelector::default().select_into(&[scores], Order::Value, &mut mask, 1, Among::All).unwrap_err();
        assert!(matches!(error, Error::NonFinite { index: 1, .. }), "{error}");
    }

    /// The warm path and not the fresh one decides after small steps: what is known stays.
    #[test]
    fn small_steps_stay_on_the_warm_path() {
        let mut values = vec![(0..90_000).map(|i| (i * 7919 % 90_001) as f32 / 90_001.0).collect::<Vec<f32>>()];
        let layout = Arc::new(Layout::new([(ParameterName::new("t0"), vec![90_000])]).unwrap());
        let (mut mask, mut selector) = (MaskSet::dense(layout.clone()), DeviceSelector::default());
        let select = |selector: &mut DeviceSelector, values: &[Vec<f32>], mask: &mut MaskSet| {
            selector.select_into(&tensors(values), Order::Magnitude, mask, 60_000, Among::All).unwrap()
        };
        select(&mut selector, &values, &mut mask);
        assert!(selector.known.is_none(), "one mask alone");
        select(&mut selector, &values, &mut mask);
        mask.apply_all(&mut values.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>()).unwrap();
        let known = |selector: &DeviceSelector| selector.known.as_ref().map(|known| known.pruned[0].data_ptr());
        let first = known(&selector);
        assert!(first.is_some());
        for step in 0..5 {
            let grown = (0..90_000).filter(|i| !mask.is_kept(0, *i)).nth(step * 11).unwrap();
            values[0][grown as usize] = 0.9;
            assert_eq!(select(&mut selector, &values, &mut mask), Change { newly_pruned: 1, revived: 1 });
            assert_eq!(known(&selector), first, "the bits were made again");
            mask.apply_all(&mut values.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>()).unwrap();
            assert_eq!(select(&mut selector, &values, &mut mask), Change::default());
        }
        // A mask from elsewhere is another one.
        let mut other = MaskSet::random(layout, crate::Sparsity::new(2.0 / 3.0).unwrap(), 1);
        assert_eq!(other.pruned(), 60_000);
        select(&mut selector, &values, &mut other);
        assert_eq!(other, mask);
    }
}
