//! Selection over slices of main memory: a radix select in two counting passes and one that writes the bits, and a
//! single pass when a mask of the same sparsity is made again.

use super::change::Change;
use super::chunk::{self, Chunk, Stop, chunks, chunks_in_order, order};
use super::key::{BINS, LOW_BITS, Order};
use super::threshold::{Threshold, locate};
use super::warm::{Bracket, Candidate, most_candidates, settle, width};
use crate::bits::{CHUNK, WORD};
use crate::{Among, Error, MaskSet, Result};
use rayon::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most histograms, each of 512 KiB. More threads than fill a memory bus take turns.
const MAX_HISTOGRAMS: usize = 16;

/// Ranked entries of a chunk that have exactly the threshold's key.
#[derive(Debug, Clone, Copy, Default)]
struct Ties {
    equal: u64,
    /// So many of them go, the first ones.
    pruned: u64,
}

/// Selection over plain slices, without tensors; keeps its work space between calls.
///
/// It runs on the rayon pool it is called in, and its result does not depend on the pool's size. The work space takes
/// 512 KiB a thread and at most 2 MiB more; once it is there, a call on as many threads allocates
/// nothing, unless a clone of the mask shares its bits.
#[derive(Debug, Default)]
pub struct HostSelector {
    /// Counts of the keys' halves, one histogram a thread.
    histograms: Vec<Mutex<Vec<u64>>>,
    /// Their sum.
    total: Vec<u64>,
    /// For each chunk of each tensor.
    ties: Vec<Vec<Ties>>,
    /// Where the last threshold lay.
    bracket: Option<Bracket>,
    /// Entries that the bracket does not decide.
    candidates: Mutex<Vec<Candidate>>,
}

impl HostSelector {
    /// A selector with an empty work space.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces `mask` by the one that prunes the `pruned` smallest of `slices`, one slice for each tensor of its
    /// layout, row-major. Ties go by tensor order, then index.
    ///
    /// Ranking all entries at the sparsity that `mask` already has takes the warm path after a first call: one pass
    /// over the weights, as long as the threshold moves little.
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
        mask.layout().check_lengths(slices.iter().map(|values| values.len()))?;
        let already = mask.pruned();
        check_count(pruned, already, mask.layout().entries(), among)?;
        match (order, among) {
            (_, Among::Survivors) if pruned == already => {
                let finite = chunks(slices, mask.words()).all(|chunk| chunk::is_finite(&chunk));
                if finite { Ok(Change::default()) } else { Err(non_finite(slices, mask)) }
            }
            (Order::Magnitude, Among::All) => self.among_all::<true>(slices, mask, pruned, already),
            (Order::Value, Among::All) => self.among_all::<false>(slices, mask, pruned, already),
            (Order::Magnitude, Among::Survivors) => self.fresh::<true, true>(slices, mask, pruned, already),
            (Order::Value, Among::Survivors) => self.fresh::<false, true>(slices, mask, pruned, already),
        }
    }

    fn among_all<const MAGNITUDE: bool>(
        &mut self,
        slices: &[&[f32]],
        mask: &mut MaskSet,
        pruned: u64,
        already: u64,
    ) -> Result<Change> {
        let bracket = self.bracket.filter(|bracket| pruned == already && bracket.is_of(order::<MAGNITUDE>()));
        let warm = bracket.map(|bracket| self.warm::<MAGNITUDE>(slices, mask, bracket)).transpose()?.flatten();
        warm.map_or_else(|| self.fresh::<MAGNITUDE, false>(slices, mask, pruned, already), Ok)
    }

    /// [`settle`], in one pass over the weights. `None` also when the candidates are too many.
    fn warm<const MAGNITUDE: bool>(
        &mut self,
        slices: &[&[f32]],
        mask: &mut MaskSet,
        bracket: Bracket,
    ) -> Result<Option<Change>> {
        lock(&self.candidates).clear();
        let limit = most_candidates(mask.layout());
        let complete = chunks(slices, mask.words()).try_for_each(|chunk| {
            chunk::candidates::<MAGNITUDE>(&chunk, bracket, |some| {
                let mut found = lock(&self.candidates);
                if found.len() + some.len() > limit {
                    return Err(Stop::TooMany);
                }
                found.extend_from_slice(some);
                Ok(())
            })
        });
        match complete {
            Ok(()) => {}
            Err(Stop::NotFinite) => return Err(non_finite(slices, mask)),
            Err(Stop::TooMany) => return Ok(None),
        }
        let candidates = self.candidates.get_mut().unwrap_or_else(PoisonError::into_inner);
        let settled = settle(candidates, mask, bracket);
        self.bracket = settled.as_ref().map_or(self.bracket, |settled| Some(settled.bracket));
        Ok(settled.map(|settled| settled.change))
    }

    /// The next mask from nothing.
    fn fresh<const MAGNITUDE: bool, const SURVIVORS: bool>(
        &mut self,
        slices: &[&[f32]],
        mask: &mut MaskSet,
        pruned: u64,
        already: u64,
    ) -> Result<Change> {
        let order = order::<MAGNITUDE>();
        let wanted = if SURVIVORS { pruned - already } else { pruned };
        let finite = self.count(slices, mask.words(), chunk::count_high::<MAGNITUDE, SURVIVORS>);
        let (first, end) = order.finite_keys();
        // Both ends are whole bins.
        let (before, after) = (&self.total[..(first >> LOW_BITS) as usize], &self.total[(end >> LOW_BITS) as usize..]);
        if !finite || before.iter().chain(after).any(|count| *count > 0) {
            return Err(non_finite(slices, mask));
        }
        // Every ranked entry is counted once, so the k-th smallest of at least k is always found.
        let (high, below) = locate(&self.total, wanted).ok_or(Error::Changed)?;
        self.count(slices, mask.words(), |chunk, counts| {
            chunk::count_low::<MAGNITUDE, SURVIVORS>(chunk, high as u32, counts);
            true
        });
        let wanted = wanted - below;
        let (low, below) = locate(&self.total, wanted).ok_or(Error::Changed)?;
        let threshold =
            Threshold { key: (high as u32) << LOW_BITS | low as u32, ties: wanted - below, equal: self.total[low] };
        // Nothing fails from here on, so the mask's own words are written.
        let revived = self.write::<MAGNITUDE, SURVIVORS>(slices, mask.words_mut(), threshold);
        self.expect_next(order, mask, threshold);
        Ok(Change { newly_pruned: pruned + revived - already, revived })
    }

    /// Sums a histogram over all chunks into `self.total`; false when one of them says so.
    fn count(
        &mut self,
        slices: &[&[f32]],
        words: &[Vec<u64>],
        add: impl Fn(&Chunk<'_>, &mut [u64; BINS]) -> bool + Sync,
    ) -> bool {
        // Of few entries the histograms take longer to clear and to add up than to fill.
        let entries: usize = slices.iter().map(|values| values.len()).sum();
        let histograms = rayon::current_num_threads().min(MAX_HISTOGRAMS).min(entries.div_ceil(CHUNK)).max(1);
        self.histograms.resize_with(histograms.max(self.histograms.len()), Mutex::default);
        for histogram in &mut self.histograms {
            histogram.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        }
        // All at once and not when a thread first counts, which may be in a later call.
        for histogram in &mut self.histograms[..histograms] {
            histogram.get_mut().unwrap_or_else(PoisonError::into_inner).resize(BINS, 0);
        }
        let used = &self.histograms[..histograms];
        let add = |chunk: Chunk<'_>| {
            // A pool's threads are numbered from 0.
            let mut counts = lock(&used[rayon::current_thread_index().unwrap_or(0) % used.len()]);
            counts.first_chunk_mut::<BINS>().is_some_and(|counts| add(&chunk, counts))
        };
        if let [only] = used {
            let fine = chunks_in_order(slices, words).all(add);
            std::mem::swap(&mut self.total, &mut *lock(only));
            return fine;
        }
        let fine = chunks(slices, words).map(add).reduce(|| true, |a, b| a && b);
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

    /// Writes the mask: keys above the threshold are kept, and of those at it all but the first few. Returns how many
    /// entries come back.
    fn write<const MAGNITUDE: bool, const SURVIVORS: bool>(
        &mut self,
        slices: &[&[f32]],
        words: &mut [Vec<u64>],
        threshold: Threshold,
    ) -> u64 {
        let key = threshold.key;
        if threshold.ties == threshold.equal {
            let parts = words.par_iter_mut().zip(slices).flat_map(|(words, values)| parts_of(words, values));
            return parts.map(|(words, values)| chunk::write::<MAGNITUDE, SURVIVORS>(values, words, key + 1)).sum();
        }
        self.ties.resize_with(slices.len().max(self.ties.len()), Vec::new);
        let ties = &mut self.ties[..slices.len()];
        for (ties, values) in ties.iter_mut().zip(slices) {
            ties.clear();
            ties.resize(values.len().div_ceil(CHUNK), Ties::default());
        }
        let parts = words.par_iter_mut().zip(slices).zip(&mut *ties);
        let parts = parts.flat_map(|((words, values), ties)| parts_of(words, values).zip(ties));
        let around = parts.map(|((words, values), ties)| {
            let (revived, equal) = chunk::write_around::<MAGNITUDE, SURVIVORS>(values, words, key);
            ties.equal = equal;
            revived
        });
        let revived: u64 = around.sum();
        // The ties of a chunk are pruned as far as those of the chunks before it leave any to prune.
        let mut left = threshold.ties;
        for ties in ties.iter_mut().flatten() {
            ties.pruned = left.min(ties.equal);
            left -= ties.pruned;
        }
        let parts = words.par_iter_mut().zip(slices).zip(&*ties);
        let parts = parts.flat_map(|((words, values), ties)| parts_of(words, values).zip(ties));
        let tied = parts
            .filter(|(_, ties)| ties.equal > 0)
            .map(|((words, values), ties)| chunk::write_ties::<MAGNITUDE, SURVIVORS>(values, words, key, ties.pruned));
        revived + tied.sum::<u64>()
    }

    /// Prepares the warm path.
    fn expect_next(&mut self, order: Order, mask: &MaskSet, threshold: Threshold) {
        let place = threshold.key as usize % BINS;
        self.bracket = Bracket::expected(order, mask.layout(), threshold, |enough| width(&self.total, place, enough));
        let candidates = self.candidates.get_mut().unwrap_or_else(PoisonError::into_inner);
        candidates.clear();
        candidates.reserve_exact(most_candidates(mask.layout()));
    }
}

/// A tensor's words and values, part by part.
fn parts_of<'a>(
    words: &'a mut [u64],
    values: &'a [f32],
) -> impl IndexedParallelIterator<Item = (&'a mut [u64], &'a [f32])> {
    words.par_chunks_mut(CHUNK / WORD).zip(values.par_chunks(CHUNK))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

fn non_finite(slices: &[&[f32]], mask: &MaskSet) -> Error {
    let first = slices.iter().zip(mask.layout().tensors()).find_map(|(values, tensor)| {
        let index = values.iter().position(|value| !value.is_finite())?;
        Some(Error::NonFinite { tensor: tensor.name().to_string(), index: index as u64, value: values[index] })
    });
    first.unwrap_or(Error::Changed)
}
