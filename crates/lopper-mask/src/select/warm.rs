//! What the warm paths of all selectors share: where the next threshold is expected, and the ranking of the few entries
//! that this does not decide.

use super::change::Change;
use super::key::Order;
use super::threshold::Threshold;
use crate::bits::WORD;
use crate::{Layout, MaskSet};

/// Keys between which a threshold is expected. Only the work of the warm path depends on how good a guess it is.
#[derive(Debug, Clone, Copy)]
pub struct Bracket {
    order: Order,
    /// The first key.
    pub low: u32,
    /// The last key.
    pub high: u32,
}

impl Bracket {
    /// The keys at most `width` away from `key`.
    pub fn around(order: Order, key: u32, width: u32) -> Self {
        let (first, end) = order.finite_keys();
        let key = key.clamp(first, end - 1);
        Self { order, low: key.saturating_sub(width).max(first), high: key.saturating_add(width).min(end - 1) }
    }

    /// A bracket for the next mask of this layout, wide enough for what a few updates do to the threshold's place. `width` tells
    /// how far one must go from the threshold in both directions to have so many entries. `None` when entries of one key
    /// are too many to be ranked one by one: the warm path would only lose time.
    pub fn expected(
        order: Order,
        layout: &Layout,
        threshold: Threshold,
        width: impl FnOnce(u64) -> u32,
    ) -> Option<Self> {
        let Threshold { key, ties, equal } = threshold;
        let enough = most_candidates(layout) as u64 / 4;
        let width = width(equal + enough);
        match equal < enough {
            true => Some(Self::around(order, key, width)),
            // Zeros that are all pruned: the bracket lies above them.
            false if ties == equal => Some(Self::around(order, key.saturating_add(width).saturating_add(1), width)),
            false => None,
        }
    }

    /// As wide a one around another key.
    fn moved(self, key: u32) -> Self {
        Self::around(self.order, key, (self.high - self.low) / 2)
    }

    /// Whether its keys are those of this order.
    pub fn is_of(self, order: Order) -> bool {
        self.order == order
    }
}

/// An entry that the bracket alone does not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// Its key.
    pub key: u32,
    /// The place of its tensor in the layout.
    pub tensor: u32,
    /// Index in its tensor.
    pub index: u64,
}

/// Entries that the warm path ranks at most; with more, counting all again is cheaper.
pub fn most_candidates(layout: &Layout) -> usize {
    (layout.entries() / 256).clamp(256, 1 << 16) as usize
}

/// How the candidates were decided.
#[derive(Debug, Clone, Copy)]
pub struct Settled {
    /// What it did to the mask.
    pub change: Change,
    /// Where the next threshold is expected.
    pub bracket: Bracket,
    /// So many candidates, the first ones, are pruned now.
    pub pruned: usize,
}

/// Makes `mask` the next one of the same sparsity: PARP's re-prune.
///
/// Pruned entries below the bracket and kept ones above it stay as they are. All others, the candidates, are ranked
/// among themselves: as many of them go as were pruned. That is the k smallest of all entries if the candidates that go
/// lie no higher than the bracket, and those that stay no lower. `None` when they do not; the mask is then as it was.
pub fn settle(candidates: &mut [Candidate], mask: &mut MaskSet, bracket: Bracket) -> Option<Settled> {
    let to_prune = candidates.iter().filter(|c| !mask.is_kept(c.tensor as usize, c.index)).count();
    if to_prune > 0 && to_prune < candidates.len() {
        // Ordered by key, tensor and index, whatever order they were found in.
        candidates.select_nth_unstable(to_prune);
    }
    let (prune, keep) = candidates.split_at(to_prune);
    let largest_pruned = prune.iter().map(|c| c.key).max();
    let smallest_kept = keep.iter().map(|c| c.key).min();
    if largest_pruned.is_some_and(|key| key > bracket.high) || smallest_kept.is_some_and(|key| key < bracket.low) {
        return None;
    }
    let bracket = smallest_kept.or(largest_pruned).map_or(bracket, |key| bracket.moved(key));
    // As many go as were pruned, so one comes back for each that goes.
    let swapped = prune.iter().filter(|c| mask.is_kept(c.tensor as usize, c.index)).count() as u64;
    // Bits that are shared are copied when they are written.
    if swapped > 0 {
        let words = mask.words_mut();
        set(words, prune, false);
        set(words, keep, true);
    }
    Some(Settled { change: Change { newly_pruned: swapped, revived: swapped }, bracket, pruned: to_prune })
}

/// Makes the bits of some entries `kept`.
fn set(words: &mut [Vec<u64>], entries: &[Candidate], kept: bool) {
    for entry in entries {
        let word = &mut words[entry.tensor as usize][entry.index as usize / WORD];
        let bit = 1 << (entry.index as usize % WORD);
        *word = if kept { *word | bit } else { *word & !bit };
    }
}

/// How many bins one must go from bin `at` in both directions to have `enough` entries.
pub fn width(counts: &[u64], at: usize, enough: u64) -> u32 {
    let bin = |at: Option<usize>| at.and_then(|at| counts.get(at)).copied().unwrap_or(0);
    let (mut width, mut entries) = (0, bin(Some(at)));
    while entries < enough && width < counts.len() {
        width += 1;
        entries += bin(at.checked_sub(width)) + bin(at.checked_add(width));
    }
    width as u32
}
