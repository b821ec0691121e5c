//! Selection over slices of the CPU: a radix select in two passes of 16 bits, chunk by chunk, without a copy.

use super::key::{BINS, LOW_BITS, Order};
use super::{Threshold, locate};
use crate::{Among, Error, Layout, MaskSet, Result};
use rayon::prelude::*;

/// Words of mask bits a chunk: 64 entries each, 256 KiB of weights.
const CHUNK_WORDS: usize = 1024;

/// What a selection changed in a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Entries that were kept and are pruned now.
    pub newly_pruned: u64,
    /// Entries that were pruned and are kept now.
    pub revived: u64,
}

/// Ranks slices; keeps its histograms between calls.
#[derive(Debug, Default)]
pub struct HostSelector {
    /// One for each worker, of [`BINS`] counts.
    histograms: Vec<Vec<u64>>,
}

/// A piece of one tensor and its mask bits.
#[derive(Debug, Clone, Copy)]
struct Chunk<'a> {
    tensor: usize,
    /// Index of the first entry within its tensor; a multiple of 64.
    start: usize,
    values: &'a [f32],
    words: &'a [u64],
}

impl Chunk<'_> {
    /// Calls `visit` with each entry's place in the chunk, key and bit.
    #[inline(always)]
    fn each(&self, order: Order, mut visit: impl FnMut(usize, u32, bool)) {
        for (word_index, (values, word)) in self.values.chunks(64).zip(self.words).enumerate() {
            for (bit, value) in values.iter().enumerate() {
                visit(word_index * 64 + bit, order.key(*value), word >> bit & 1 == 1);
            }
        }
    }
}

impl HostSelector {
    /// A selector with an empty work space.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `mask` prune exactly `pruned` entries: the smallest of `values`, one slice for each tensor of the mask's
    /// layout. Uses the threads of the rayon pool it is called in.
    ///
    /// # Errors
    /// [`Error::Layout`] for slices of other lengths, [`Error::InvalidValue`] for more pruned entries than there are, or
    /// than survivors allow, [`Error::NonFinite`]; `mask` is then as it was.
    pub fn select_into(
        &mut self,
        values: &[&[f32]],
        order: Order,
        mask: &mut MaskSet,
        pruned: u64,
        among: Among,
    ) -> Result<Change> {
        let layout = mask.layout().clone();
        check_lengths(values, &layout)?;
        let already = mask.pruned();
        let least = if among == Among::Survivors { already } else { 0 };
        if !(least..=layout.entries()).contains(&pruned) {
            return Err(Error::invalid("pruned entries", pruned, format!("{least} to {}", layout.entries())));
        }
        if among == Among::All && already == pruned {
            return self.adjust(values, order, mask, pruned);
        }
        let wanted = pruned - least;
        match self.threshold(&chunks(values, mask.words()), order, among, wanted, &layout)? {
            Some(threshold) => Ok(write(values, order, mask, among, threshold)),
            None => Ok(Change::default()),
        }
    }

    /// The key of the `wanted`-th smallest entry; `None` when no survivor is to be pruned. Refuses what cannot be ranked.
    fn threshold(
        &mut self,
        chunks: &[Chunk<'_>],
        order: Order,
        among: Among,
        wanted: u64,
        layout: &Layout,
    ) -> Result<Option<Threshold>> {
        let all = among == Among::All;
        // Pruned entries are not ranked among survivors, but a NaN among them is refused all the same.
        if chunks.par_iter().any(|c| c.values.iter().any(|v| order.is_unrankable(order.key(*v)))) {
            return Err(first_unrankable(chunks, order, layout));
        }
        if wanted == 0 {
            // Everything is kept: no key lies below this one, and of its ties none is pruned.
            return Ok(all.then_some(Threshold { key: 0, ties: 0, equal: u64::MAX }));
        }
        let none = || Error::Other("fewer entries than are to be pruned".into());
        let high = self.histogram(chunks, |histogram, chunk| {
            chunk.each(order, |_, key, kept| {
                if all || kept {
                    histogram[(key >> LOW_BITS) as usize] += 1;
                }
            });
        });
        let (high, before) = locate(high, wanted).ok_or_else(none)?;
        let low = self.histogram(chunks, |histogram, chunk| {
            chunk.each(order, |_, key, kept| {
                if (key >> LOW_BITS) as usize == high && (all || kept) {
                    histogram[key as usize & (BINS - 1)] += 1;
                }
            });
        });
        let (bin, before_low) = locate(low, wanted - before).ok_or_else(none)?;
        let key = (high << LOW_BITS | bin) as u32;
        Ok(Some(Threshold { key, ties: wanted - before - before_low, equal: low[bin] }))
    }

    /// Sums over chunks what `count` adds to a histogram. Every worker fills its own; addition makes the sum the same
    /// for any number of workers.
    fn histogram(&mut self, chunks: &[Chunk<'_>], count: impl Fn(&mut [u64], &Chunk<'_>) + Sync) -> &[u64] {
        let workers = rayon::current_num_threads().clamp(1, chunks.len().max(1));
        self.histograms.resize_with(workers.max(self.histograms.len()), || vec![0; BINS]);
        let share = chunks.len().div_ceil(workers).max(1);
        self.histograms[..workers].par_iter_mut().enumerate().for_each(|(worker, histogram)| {
            histogram.fill(0);
            for chunk in chunks.iter().skip(worker * share).take(share) {
                count(histogram, chunk);
            }
        });
        let (sum, others) = self.histograms.split_at_mut(1);
        for other in &others[..workers - 1] {
            for (bin, count) in sum[0].iter_mut().zip(other) {
                *bin += count;
            }
        }
        &sum[0]
    }

    /// The warm path: `mask` prunes `pruned` entries already. Let a be the smallest kept key and b the largest pruned
    /// one. With b < a nothing changes; otherwise only pruned entries of at least a and kept ones of at most b can swap.
    fn adjust(&mut self, values: &[&[f32]], order: Order, mask: &mut MaskSet, pruned: u64) -> Result<Change> {
        let layout = mask.layout().clone();
        let chunks = chunks(values, mask.words());
        let (smallest_kept, largest_pruned, unrankable) = chunks
            .par_iter()
            .map(|chunk| {
                let (mut kept_key, mut pruned_key, mut unrankable) = (u32::MAX, None, false);
                chunk.each(order, |_, key, kept| {
                    unrankable |= order.is_unrankable(key);
                    if kept {
                        kept_key = kept_key.min(key);
                    } else {
                        pruned_key = pruned_key.max(Some(key));
                    }
                });
                (kept_key, pruned_key, unrankable)
            })
            .reduce(|| (u32::MAX, None, false), |a, b| (a.0.min(b.0), a.1.max(b.1), a.2 | b.2));
        if unrankable {
            return Err(first_unrankable(&chunks, order, &layout));
        }
        let Some(largest_pruned) = largest_pruned.filter(|largest| *largest >= smallest_kept) else {
            return Ok(Change::default());
        };
        let mut candidates: Vec<(u32, usize, usize, bool)> = chunks
            .par_iter()
            .flat_map_iter(|chunk| {
                let mut found = Vec::new();
                chunk.each(order, |place, key, kept| {
                    if if kept { key <= largest_pruned } else { key >= smallest_kept } {
                        found.push((key, chunk.tensor, chunk.start + place, kept));
                    }
                });
                found
            })
            .collect();
        // After large changes sorting candidates costs more than ranking everything.
        if candidates.len() as u64 > layout.entries() / 16 + 1024 {
            let threshold = self.threshold(&chunks, order, Among::All, pruned, &layout)?;
            return Ok(threshold.map_or_else(Change::default, |t| write(values, order, mask, Among::All, t)));
        }
        candidates.sort_unstable();
        let to_prune = candidates.iter().filter(|(.., kept)| !kept).count();
        let mut change = Change::default();
        for (rank, (_, tensor, index, kept)) in candidates.into_iter().enumerate() {
            let keep = rank >= to_prune;
            if keep != kept {
                mask.words_mut()[tensor][index / 64] ^= 1 << (index % 64);
                change.revived += u64::from(keep);
                change.newly_pruned += u64::from(kept);
            }
        }
        Ok(change)
    }
}

fn chunks<'a>(values: &[&'a [f32]], words: &'a [Vec<u64>]) -> Vec<Chunk<'a>> {
    let mut all = Vec::new();
    for (tensor, (values, words)) in values.iter().zip(words).enumerate() {
        let pieces = values.chunks(CHUNK_WORDS * 64).zip(words.chunks(CHUNK_WORDS));
        all.extend(pieces.enumerate().map(|(piece, (values, words))| Chunk {
            tensor,
            start: piece * CHUNK_WORDS * 64,
            values,
            words,
        }));
    }
    all
}

/// Prunes all keys below the threshold and the first ties at it, in order.
fn write(values: &[&[f32]], order: Order, mask: &mut MaskSet, among: Among, threshold: Threshold) -> Change {
    let Threshold { key: limit, ties, equal } = threshold;
    let survivors = among == Among::Survivors;
    // How many ties of each chunk are pruned. Counted only when some stay.
    let quotas: Option<Vec<u64>> = (ties < equal).then(|| {
        let mut left = ties;
        let counts: Vec<u64> = chunks(values, mask.words())
            .par_iter()
            .map(|chunk| {
                let mut count = 0;
                chunk.each(order, |_, key, kept| count += u64::from(key == limit && (kept || !survivors)));
                count
            })
            .collect();
        let take = |count: u64| {
            let quota = count.min(left);
            left -= quota;
            quota
        };
        counts.into_iter().map(take).collect()
    });
    let mut pieces: Vec<(&[f32], &mut [u64])> = Vec::new();
    for (values, words) in values.iter().zip(mask.words_mut()) {
        pieces.extend(values.chunks(CHUNK_WORDS * 64).zip(words.chunks_mut(CHUNK_WORDS)));
    }
    pieces
        .into_par_iter()
        .enumerate()
        .map(|(piece, (values, words))| {
            let mut quota = quotas.as_ref().map_or(u64::MAX, |q| q[piece]);
            let mut change = Change::default();
            for (values, word) in values.chunks(64).zip(words) {
                let before = *word;
                let mut after = 0u64;
                for (bit, value) in values.iter().enumerate() {
                    let key = order.key(*value);
                    let candidate = !survivors || before >> bit & 1 == 1;
                    let tie = key == limit && candidate && quota > 0;
                    quota -= u64::from(tie);
                    let keep = candidate && (key > limit || (key == limit && !tie));
                    after |= u64::from(keep) << bit;
                }
                change.newly_pruned += u64::from((before & !after).count_ones());
                change.revived += u64::from((after & !before).count_ones());
                *word = after;
            }
            change
        })
        .reduce(Change::default, |a, b| Change {
            newly_pruned: a.newly_pruned + b.newly_pruned,
            revived: a.revived + b.revived,
        })
}

fn check_lengths(values: &[&[f32]], layout: &Layout) -> Result<()> {
    let mut problems = Vec::new();
    if values.len() != layout.tensors().len() {
        problems.push(format!("{} slices for {} tensors", values.len(), layout.tensors().len()));
    }
    for (values, tensor) in values.iter().zip(layout.tensors()) {
        if values.len() as u64 != tensor.entries() {
            problems.push(format!("`{}` has {} entries, its slice {}", tensor.name(), tensor.entries(), values.len()));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Layout { context: "values to rank".into(), problems }) }
}

#[cold]
fn first_unrankable(chunks: &[Chunk<'_>], order: Order, layout: &Layout) -> Error {
    for chunk in chunks {
        if let Some(place) = chunk.values.iter().position(|v| order.is_unrankable(order.key(*v))) {
            return Error::NonFinite {
                tensor: layout.tensors()[chunk.tensor].name().to_string(),
                index: (chunk.start + place) as u64,
                value: chunk.values[place],
            };
        }
    }
    Error::Other("a value that is not finite disappeared while it was looked for".into())
}
