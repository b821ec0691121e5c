//! Selection over slices of main memory: a radix select in two counting passes and one that writes the bits.

use super::key::{BINS, LOW_BITS};
use super::{Order, Threshold, locate};
use crate::{Among, Error, MaskSet, Result};
use rayon::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Entries that one task looks at: a multiple of the bits of a word.
const CHUNK: usize = 1 << 16;
/// Entries of a chunk that may be collected as candidates for a swap; with more, counting all again is cheaper.
const CANDIDATES: usize = 512;

/// The bit of each lane in a byte.
const LANES: [i32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// What a selection did to a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Entries kept before and pruned now.
    pub newly_pruned: u64,
    /// Entries pruned before and kept now.
    pub revived: u64,
}

/// Selection over plain slices, without tensors; keeps its work space between calls.
///
/// It runs on the rayon pool it is called in, and its result does not depend on the pool's size.
#[derive(Debug, Default)]
pub struct HostSelector {
    /// Counts of the keys' halves, one histogram a thread.
    histograms: Vec<Mutex<Vec<u64>>>,
    /// Their sum.
    total: Vec<u64>,
    /// The next mask's words; swapped with the current ones, so that a failure leaves the mask as it was.
    next: Vec<Vec<u64>>,
    /// For each chunk, ranked entries that have exactly the threshold's key.
    equal: Vec<u64>,
    /// For each chunk, the entries that can swap.
    candidates: Vec<Vec<Candidate>>,
    ranked: Vec<u64>,
}

/// Part of one tensor. Several in parallel cover all tensors, in order.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    values: &'a [f32],
    current: &'a [u64],
    tensor: usize,
    /// Index of the first value in its tensor.
    start: usize,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    key: u32,
    /// Index in its chunk.
    index: u32,
    kept: bool,
}

impl HostSelector {
    /// A selector with an empty work space.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces `mask` by the one that prunes the `pruned` smallest of `slices`, one slice for each tensor of its
    /// layout, row-major. Ties go by tensor order, then index.
    ///
    /// Ranking all entries at the sparsity that `mask` already has takes the warm path: one pass when nothing changes.
    ///
    /// # Errors
    /// [`Error::NonFinite`] naming the first entry that cannot be ranked, whether it is kept or not; [`Error::Layout`]
    /// for slices of other lengths; [`Error::InvalidValue`] for more than all entries, or fewer than `mask` prunes
    /// when only its survivors are ranked. `mask` is then as it was.
    pub fn select_into(
        &mut self,
        slices: &[&[f32]],
        order: Order,
        mask: &mut MaskSet,
        pruned: u64,
        among: Among,
    ) -> Result<Change> {
        check_lengths(slices, mask)?;
        let already = mask.pruned();
        check_count(pruned, already, mask.layout().entries(), among)?;
        match order {
            Order::Magnitude => self.run::<true>(slices, mask, pruned, already, among),
            Order::Value => self.run::<false>(slices, mask, pruned, already, among),
        }
    }

    fn run<const MAGNITUDE: bool>(
        &mut self,
        slices: &[&[f32]],
        mask: &mut MaskSet,
        pruned: u64,
        already: u64,
        among: Among,
    ) -> Result<Change> {
        if pruned == already
            && let Some(change) = self.warm::<MAGNITUDE>(slices, mask, among)?
        {
            return Ok(change);
        }
        match among {
            Among::All => self.fresh::<MAGNITUDE, false>(slices, mask, pruned),
            Among::Survivors => self.fresh::<MAGNITUDE, true>(slices, mask, pruned - already),
        }
    }

    /// The next mask of the same sparsity, from the current one: PARP's re-prune.
    ///
    /// Let a be the smallest kept and b the largest pruned key. Keys below a belong to pruned entries alone, so they
    /// stay pruned, and keys above b stay kept. If b < a that is every entry. `None` when too many lie between.
    fn warm<const MAGNITUDE: bool>(
        &mut self,
        slices: &[&[f32]],
        mask: &mut MaskSet,
        among: Among,
    ) -> Result<Option<Change>> {
        let chunks = chunks(slices, mask.words());
        let extremes = chunks.par_iter().map(extremes::<MAGNITUDE>).reduce(Extremes::default, Extremes::merge);
        if extremes.unrankable {
            return Err(non_finite(&chunks, mask));
        }
        if among == Among::Survivors || extremes.largest_pruned < extremes.smallest_kept {
            return Ok(Some(Change::default()));
        }
        let (low, high) = (unsigned(extremes.smallest_kept), unsigned(extremes.largest_pruned));
        self.candidates.resize_with(chunks.len().max(self.candidates.len()), Vec::new);
        let complete = chunks
            .par_iter()
            .zip(&mut self.candidates[..chunks.len()])
            .all(|(chunk, found)| collect::<MAGNITUDE>(chunk, low, high, found));
        if !complete {
            return Ok(None);
        }

        self.ranked.clear();
        let mut to_prune = 0;
        for candidate in self.candidates[..chunks.len()].iter().flatten() {
            // The order of collection is that of tensors and indices, so it breaks ties.
            self.ranked.push(u64::from(candidate.key) << 32 | self.ranked.len() as u64);
            to_prune += usize::from(!candidate.kept);
        }
        // Entry b is pruned and entry a kept, so both sides have one at least.
        let (_, first_kept, _) = self.ranked.select_nth_unstable(to_prune);
        let first_kept = *first_kept;
        let places: Vec<(usize, usize)> = chunks.iter().map(|chunk| (chunk.tensor, chunk.start)).collect();
        let words = mask.words_mut();
        let (mut change, mut position) = (Change::default(), 0);
        for ((tensor, start), found) in places.into_iter().zip(&self.candidates) {
            for candidate in found {
                let keep = u64::from(candidate.key) << 32 | position >= first_kept;
                position += 1;
                if keep != candidate.kept {
                    let index = start + candidate.index as usize;
                    words[tensor][index / 64] ^= 1 << (index % 64);
                    change.revived += u64::from(keep);
                    change.newly_pruned += u64::from(!keep);
                }
            }
        }
        Ok(Some(change))
    }

    /// The next mask from nothing; `pruned` counts what it prunes among the ranked entries.
    fn fresh<const MAGNITUDE: bool, const SURVIVORS: bool>(
        &mut self,
        slices: &[&[f32]],
        mask: &mut MaskSet,
        pruned: u64,
    ) -> Result<Change> {
        let chunks = chunks(slices, mask.words());
        let finite = self.count(&chunks, count_high::<MAGNITUDE, SURVIVORS>);
        if !finite {
            return Err(non_finite(&chunks, mask));
        }
        let (high, below) = locate(&self.total, pruned).ok_or_else(miscounted)?;
        self.count(&chunks, |chunk, counts| count_low::<MAGNITUDE, SURVIVORS>(chunk, high as u32, counts));
        let ties = pruned - below;
        let (low, below) = locate(&self.total, ties).ok_or_else(miscounted)?;
        let threshold =
            Threshold { key: (high as u32) << LOW_BITS | low as u32, ties: ties - below, equal: self.total[low] };
        self.write::<MAGNITUDE, SURVIVORS>(&chunks, threshold);

        let words = mask.words_mut();
        let change =
            words.par_iter().zip(&self.next).map(|(old, new)| difference(old, new)).reduce(Change::default, sum);
        for (old, new) in words.iter_mut().zip(&mut self.next) {
            std::mem::swap(old, new);
        }
        Ok(change)
    }

    /// Sums a histogram over all chunks into `self.total`; false when one of them says so.
    fn count(&mut self, chunks: &[Chunk<'_>], add: impl Fn(&Chunk<'_>, &mut [u64]) -> bool + Sync) -> bool {
        let threads = rayon::current_num_threads();
        self.histograms.resize_with(threads.max(self.histograms.len()), Mutex::default);
        for histogram in &mut self.histograms {
            let counts = histogram.get_mut().unwrap_or_else(PoisonError::into_inner);
            counts.clear();
        }
        let histograms = &self.histograms;
        let fine = chunks
            .par_iter()
            .map(|chunk| {
                // A pool's threads are numbered from 0, so no two of them wait for one histogram.
                let thread = rayon::current_thread_index().unwrap_or(0) % histograms.len();
                let mut counts = lock(&histograms[thread]);
                counts.resize(BINS, 0);
                add(chunk, &mut counts)
            })
            .reduce(|| true, |a, b| a && b);
        self.total.clear();
        self.total.resize(BINS, 0);
        for histogram in &mut self.histograms {
            let counts = histogram.get_mut().unwrap_or_else(PoisonError::into_inner);
            for (total, count) in self.total.iter_mut().zip(counts) {
                *total += *count;
            }
        }
        fine
    }

    /// Fills `self.next`: keys above the threshold are kept, and of those at it all but the first `ties`.
    fn write<const MAGNITUDE: bool, const SURVIVORS: bool>(&mut self, chunks: &[Chunk<'_>], threshold: Threshold) {
        let all_ties_pruned = threshold.ties == threshold.equal;
        let smallest_kept = threshold.key + u32::from(all_ties_pruned);
        let sizes = chunks.iter().fold(Vec::new(), |mut sizes: Vec<usize>, chunk| {
            sizes.resize(sizes.len().max(chunk.tensor + 1), 0);
            sizes[chunk.tensor] += chunk.current.len();
            sizes
        });
        self.next.resize_with(sizes.len().max(self.next.len()), Vec::new);
        for (words, size) in self.next.iter_mut().zip(sizes.iter().chain(std::iter::repeat(&0))) {
            words.resize(*size, 0);
        }
        let mut next: Vec<&mut [u64]> = self.next.iter_mut().flat_map(|words| words.chunks_mut(CHUNK / 64)).collect();
        chunks
            .par_iter()
            .zip(&mut next)
            .map(|(chunk, next)| {
                write::<MAGNITUDE, SURVIVORS>(chunk, smallest_kept, next);
                if all_ties_pruned { 0 } else { count_equal::<MAGNITUDE>(chunk, next, threshold.key) }
            })
            .collect_into_vec(&mut self.equal);
        if all_ties_pruned {
            return;
        }
        // The ties of a chunk are pruned as far as those of the chunks before it leave any to prune.
        let mut left = threshold.ties;
        for equal in &mut self.equal {
            *equal = left.min(*equal);
            left -= *equal;
        }
        chunks
            .par_iter()
            .zip(&mut next)
            .zip(&self.equal)
            .filter(|(_, ties)| **ties > 0)
            .for_each(|((chunk, next), ties)| prune_equal::<MAGNITUDE>(chunk, next, threshold.key, *ties));
    }
}

fn lock(histogram: &Mutex<Vec<u64>>) -> MutexGuard<'_, Vec<u64>> {
    histogram.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_lengths(slices: &[&[f32]], mask: &MaskSet) -> Result<()> {
    let tensors = mask.layout().tensors();
    let mut problems = Vec::new();
    if slices.len() != tensors.len() {
        problems.push(format!("{} slices for {} prunable tensors", slices.len(), tensors.len()));
    }
    for (tensor, slice) in tensors.iter().zip(slices) {
        if tensor.entries() != slice.len() as u64 {
            problems.push(format!("`{}` has {} entries, its slice {}", tensor.name(), tensor.entries(), slice.len()));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Layout { context: "mask and slices".into(), problems }) }
}

/// Checks that a mask that prunes `already` of `entries` can be followed by one that prunes `pruned`.
pub(super) fn check_count(pruned: u64, already: u64, entries: u64, among: Among) -> Result<()> {
    let least = if among == Among::Survivors { already } else { 0 };
    if (least..=entries).contains(&pruned) {
        return Ok(());
    }
    let why = if least > 0 { "; the current mask prunes that many, and only its survivors are ranked" } else { "" };
    Err(Error::invalid("pruned entries", pruned, format!("from {least} to {entries}{why}")))
}

/// Every ranked entry is counted once, so the k-th smallest of at least k is always found.
fn miscounted() -> Error {
    Error::Other("weights changed while they were ranked".into())
}

fn non_finite(chunks: &[Chunk<'_>], mask: &MaskSet) -> Error {
    let first = chunks.iter().find_map(|chunk| {
        let at = chunk.values.iter().position(|value| !value.is_finite())?;
        Some((chunk.tensor, chunk.start + at, chunk.values[at]))
    });
    first.map_or_else(miscounted, |(tensor, index, value)| Error::NonFinite {
        tensor: mask.layout().tensors()[tensor].name().to_string(),
        index: index as u64,
        value,
    })
}

fn chunks<'a>(slices: &[&'a [f32]], words: &'a [Vec<u64>]) -> Vec<Chunk<'a>> {
    let mut chunks = Vec::with_capacity(slices.iter().map(|values| values.len().div_ceil(CHUNK)).sum());
    for (tensor, (values, words)) in slices.iter().zip(words).enumerate() {
        let parts = values.chunks(CHUNK).zip(words.chunks(CHUNK / 64)).enumerate();
        chunks.extend(parts.map(|(i, (values, current))| Chunk { values, current, tensor, start: i * CHUNK }));
    }
    chunks
}

#[inline(always)]
fn order<const MAGNITUDE: bool>() -> Order {
    if MAGNITUDE { Order::Magnitude } else { Order::Value }
}

/// A key as a signed number of the same order, which vector units without unsigned comparisons prefer.
#[inline(always)]
fn signed(key: u32) -> i32 {
    (key ^ 1 << 31) as i32
}

/// What [`signed`] was made from.
fn unsigned(signed: i32) -> u32 {
    signed as u32 ^ 1 << 31
}

struct Extremes {
    smallest_kept: i32,
    largest_pruned: i32,
    unrankable: bool,
}

impl Default for Extremes {
    fn default() -> Self {
        Self { smallest_kept: i32::MAX, largest_pruned: i32::MIN, unrankable: false }
    }
}

impl Extremes {
    fn merge(self, other: Self) -> Self {
        Self {
            smallest_kept: self.smallest_kept.min(other.smallest_kept),
            largest_pruned: self.largest_pruned.max(other.largest_pruned),
            unrankable: self.unrankable || other.unrankable,
        }
    }
}

/// The extremes of whole words lie in eight lanes side by side, which a compiler turns into vector instructions.
fn extremes<const MAGNITUDE: bool>(chunk: &Chunk<'_>) -> Extremes {
    let order = order::<MAGNITUDE>();
    let (mut smallest, mut largest, mut unrankable) = ([i32::MAX; 8], [i32::MIN; 8], [0i32; 8]);
    let mut look = |lane: usize, value: f32, kept: bool| {
        let key = order.key(value);
        unrankable[lane] |= -i32::from(order.is_unrankable(key));
        let (as_kept, as_pruned) = if kept { (signed(key), i32::MIN) } else { (i32::MAX, signed(key)) };
        smallest[lane] = smallest[lane].min(as_kept);
        largest[lane] = largest[lane].max(as_pruned);
    };
    let (words, rest) = chunk.values.as_chunks::<64>();
    for (values, word) in words.iter().zip(chunk.current) {
        for (values, byte) in values.as_chunks::<8>().0.iter().zip(word.to_le_bytes()) {
            for lane in 0..8 {
                look(lane, values[lane], i32::from(byte) & LANES[lane] != 0);
            }
        }
    }
    for (bit, value) in rest.iter().enumerate() {
        look(0, *value, chunk.current[words.len()] >> bit & 1 == 1);
    }
    let lanes = smallest.into_iter().zip(largest).zip(unrankable);
    lanes
        .map(|((smallest_kept, largest_pruned), u)| Extremes { smallest_kept, largest_pruned, unrankable: u != 0 })
        .fold(Extremes::default(), Extremes::merge)
}

/// Collects the entries with keys from `low` to `high`; false when there are too many.
fn collect<const MAGNITUDE: bool>(chunk: &Chunk<'_>, low: u32, high: u32, found: &mut Vec<Candidate>) -> bool {
    found.clear();
    for (group, values) in chunk.values.chunks(64).enumerate() {
        // Most groups hold no candidate, and seeing that takes vector instructions alone.
        if !values.iter().fold(false, |any, v| any | (low..=high).contains(&order::<MAGNITUDE>().key(*v))) {
            continue;
        }
        for (bit, value) in values.iter().enumerate() {
            let key = order::<MAGNITUDE>().key(*value);
            if (low..=high).contains(&key) {
                if found.len() == CANDIDATES {
                    return false;
                }
                let kept = chunk.current[group] >> bit & 1 == 1;
                found.push(Candidate { key, index: (group * 64 + bit) as u32, kept });
            }
        }
    }
    true
}

/// Counts the upper halves of the ranked keys; false when an entry, ranked or not, is not finite.
fn count_high<const MAGNITUDE: bool, const SURVIVORS: bool>(chunk: &Chunk<'_>, counts: &mut [u64]) -> bool {
    let order = order::<MAGNITUDE>();
    let Ok(counts) = <&mut [u64; BINS]>::try_from(counts) else { return false };
    let mut unrankable = false;
    for (values, word) in chunk.values.chunks(64).zip(chunk.current) {
        for (bit, value) in values.iter().enumerate() {
            let key = order.key(*value);
            unrankable |= order.is_unrankable(key);
            counts[(key >> LOW_BITS) as usize] += if SURVIVORS { word >> bit & 1 } else { 1 };
        }
    }
    !unrankable
}

/// Counts the lower halves of the ranked keys whose upper half is `high`.
fn count_low<const MAGNITUDE: bool, const SURVIVORS: bool>(chunk: &Chunk<'_>, high: u32, counts: &mut [u64]) -> bool {
    for (values, word) in chunk.values.chunks(64).zip(chunk.current) {
        for (bit, value) in values.iter().enumerate() {
            let key = order::<MAGNITUDE>().key(*value);
            if key >> LOW_BITS == high {
                counts[key as usize % BINS] += if SURVIVORS { word >> bit & 1 } else { 1 };
            }
        }
    }
    true
}

fn write<const MAGNITUDE: bool, const SURVIVORS: bool>(chunk: &Chunk<'_>, smallest_kept: u32, next: &mut [u64]) {
    let keep = |value: f32| order::<MAGNITUDE>().key(value) >= smallest_kept;
    let (words, rest) = chunk.values.as_chunks::<64>();
    for (values, next) in words.iter().zip(&mut *next) {
        let mut bytes = [0u8; 8];
        for (byte, values) in bytes.iter_mut().zip(values.as_chunks::<8>().0) {
            *byte = (0..8).fold(0, |sum, lane| sum | if keep(values[lane]) { LANES[lane] } else { 0 }) as u8;
        }
        *next = u64::from_le_bytes(bytes);
    }
    if !rest.is_empty() {
        next[words.len()] = rest.iter().rev().fold(0, |word, value| word << 1 | u64::from(keep(*value)));
    }
    if SURVIVORS {
        for (next, current) in next.iter_mut().zip(chunk.current) {
            *next &= current;
        }
    }
}

/// Entries that `next` keeps and whose key is `key`.
fn count_equal<const MAGNITUDE: bool>(chunk: &Chunk<'_>, next: &[u64], key: u32) -> u64 {
    let mut equal = 0;
    for (values, word) in chunk.values.chunks(64).zip(next) {
        for (bit, value) in values.iter().enumerate() {
            equal += u64::from(order::<MAGNITUDE>().key(*value) == key) & word >> bit;
        }
    }
    equal
}

/// Prunes the first `ties` entries that `next` keeps and whose key is `key`.
fn prune_equal<const MAGNITUDE: bool>(chunk: &Chunk<'_>, next: &mut [u64], key: u32, mut ties: u64) {
    for (index, value) in chunk.values.iter().enumerate() {
        let bit = 1 << (index % 64);
        if order::<MAGNITUDE>().key(*value) == key && next[index / 64] & bit != 0 {
            next[index / 64] ^= bit;
            ties -= 1;
            if ties == 0 {
                return;
            }
        }
    }
}

fn difference(old: &[u64], new: &[u64]) -> Change {
    let mut change = Change::default();
    for (old, new) in old.iter().zip(new) {
        change.newly_pruned += u64::from((old & !new).count_ones());
        change.revived += u64::from((new & !old).count_ones());
    }
    change
}

fn sum(a: Change, b: Change) -> Change {
    Change { newly_pruned: a.newly_pruned + b.newly_pruned, revived: a.revived + b.revived }
}
