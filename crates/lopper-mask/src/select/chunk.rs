//! Parts of tensors, and what the passes of a selection do with one of them.

use super::key::{BINS, LOW_BITS, Order};
use super::sides::Sides;
use super::warm::{Bracket, Candidate};
use crate::bits::{CHUNK, WORD};
use rayon::prelude::*;

/// Part of one tensor.
#[derive(Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub(super) values: &'a [f32],
    /// The current mask's bits.
    pub(super) current: &'a [u64],
    pub(super) tensor: usize,
    /// Index of the first value in its tensor.
    pub(super) start: usize,
}

/// Parts that cover all tensors.
pub(super) fn chunks<'a>(
    slices: &'a [&'a [f32]],
    words: &'a [Vec<u64>],
) -> impl ParallelIterator<Item = Chunk<'a>> + 'a {
    slices.par_iter().zip(words).enumerate().flat_map(|(tensor, (values, words))| {
        let parts = values.par_chunks(CHUNK).zip(words.par_chunks(CHUNK / WORD)).enumerate();
        parts.map(move |(i, (values, current))| Chunk { values, current, tensor, start: i * CHUNK })
    })
}

/// The same on the calling thread alone.
pub(super) fn chunks_in_order<'a>(
    slices: &'a [&'a [f32]],
    words: &'a [Vec<u64>],
) -> impl Iterator<Item = Chunk<'a>> + 'a {
    slices.iter().zip(words).enumerate().flat_map(|(tensor, (values, words))| {
        let parts = values.chunks(CHUNK).zip(words.chunks(CHUNK / WORD)).enumerate();
        parts.map(move |(i, (values, current))| Chunk { values, current, tensor, start: i * CHUNK })
    })
}

#[inline(always)]
pub(super) fn order<const MAGNITUDE: bool>() -> Order {
    if MAGNITUDE { Order::Magnitude } else { Order::Value }
}

/// Whether every entry can be ranked.
pub(super) fn is_finite(chunk: &Chunk<'_>) -> bool {
    let (groups, rest) = chunk.values.as_chunks::<8>();
    let mut finite = [-1i32; 8];
    for values in groups {
        for lane in 0..8 {
            finite[lane] &= -i32::from(values[lane].is_finite());
        }
    }
    finite == [-1; 8] && rest.iter().all(|value| value.is_finite())
}

/// Counts the upper halves of the ranked keys; false when an entry, ranked or not, is not finite.
pub(super) fn count_high<const MAGNITUDE: bool, const SURVIVORS: bool>(
    chunk: &Chunk<'_>,
    counts: &mut [u64; BINS],
) -> bool {
    let order = order::<MAGNITUDE>();
    if !SURVIVORS {
        for value in chunk.values {
            counts[(order.key(*value) >> LOW_BITS) as usize] += 1;
        }
        // Whether a key can be ranked is seen from its upper half, so the sums are looked at instead of every entry.
        return true;
    }
    for (values, word) in chunk.values.chunks(WORD).zip(chunk.current) {
        for (bit, value) in values.iter().enumerate() {
            counts[(order.key(*value) >> LOW_BITS) as usize] += word >> bit & 1;
        }
    }
    is_finite(chunk)
}

/// Counts the lower halves of the ranked keys whose upper half is `high`.
pub(super) fn count_low<const MAGNITUDE: bool, const SURVIVORS: bool>(
    chunk: &Chunk<'_>,
    high: u32,
    counts: &mut [u64; BINS],
) {
    let order = order::<MAGNITUDE>();
    for (values, word) in chunk.values.chunks(WORD).zip(chunk.current) {
        // Most groups hold no such key, and seeing that takes vector instructions alone.
        for (part, values) in values.chunks(16).enumerate() {
            if !values.iter().fold(false, |any, v| any | (order.key(*v) >> LOW_BITS == high)) {
                continue;
            }
            for (bit, value) in values.iter().enumerate() {
                let key = order.key(*value);
                if key >> LOW_BITS == high {
                    counts[key as usize % BINS] += if SURVIVORS { word >> (part * 16 + bit) & 1 } else { 1 };
                }
            }
        }
    }
}

/// Writes the bits of one part: ranked keys from `smallest_kept` on are kept. Returns how many entries come back.
pub(super) fn write<const MAGNITUDE: bool, const SURVIVORS: bool>(
    values: &[f32],
    words: &mut [u64],
    smallest_kept: u32,
) -> u64 {
    each_word(values, words, |values, current| {
        let kept = pack(values, |value| order::<MAGNITUDE>().key(value) >= smallest_kept);
        if SURVIVORS { kept & current } else { kept }
    })
}

/// As [`write`], but entries whose key is `key` stay as they are: which of them go is known when all parts have been
/// counted. Also returns how many ranked ones there are.
pub(super) fn write_around<const MAGNITUDE: bool, const SURVIVORS: bool>(
    values: &[f32],
    words: &mut [u64],
    key: u32,
) -> (u64, u64) {
    let order = order::<MAGNITUDE>();
    let mut ties = 0;
    let revived = each_word(values, words, |values, current| {
        let mut kept = pack(values, |value| order.key(value) > key);
        if values.iter().fold(false, |any, v| any | (order.key(*v) == key)) {
            let equal = pack(values, |value| order.key(value) == key);
            ties += u64::from((if SURVIVORS { equal & current } else { equal }).count_ones());
            kept |= equal & current;
        }
        if SURVIVORS { kept & current } else { kept }
    });
    (revived, ties)
}

/// Decides the ranked entries whose key is `key`: the first `pruned` go, the others stay. Returns how many come back.
pub(super) fn write_ties<const MAGNITUDE: bool, const SURVIVORS: bool>(
    values: &[f32],
    words: &mut [u64],
    key: u32,
    mut pruned: u64,
) -> u64 {
    each_word(values, words, |values, current| {
        let mut ties = pack(values, |value| order::<MAGNITUDE>().key(value) == key);
        if SURVIVORS {
            ties &= current;
        }
        let mut kept = ties;
        if u64::from(ties.count_ones()) <= pruned {
            kept = 0;
        }
        for _ in 0..pruned.min(u64::from(kept.count_ones())) {
            // The lowest bit is the first entry.
            kept &= kept - 1;
        }
        pruned -= u64::from((ties ^ kept).count_ones());
        current & !ties | kept
    })
}

/// Replaces each word by what `next` makes of its values and of the word. Returns how many bits were set.
#[inline(always)]
fn each_word(values: &[f32], words: &mut [u64], mut next: impl FnMut(&[f32], u64) -> u64) -> u64 {
    let (groups, rest) = values.as_chunks::<WORD>();
    let mut revived = 0;
    let mut replace = |values: &[f32], word: &mut u64| {
        let next = next(values, *word);
        revived += u64::from((next & !*word).count_ones());
        *word = next;
    };
    for (values, word) in groups.iter().zip(&mut *words) {
        replace(values, word);
    }
    if !rest.is_empty() {
        replace(rest, &mut words[groups.len()]);
    }
    revived
}

/// One bit for each of at most 64 values.
#[inline(always)]
fn pack(values: &[f32], bit: impl Fn(f32) -> bool) -> u64 {
    let Ok(values) = <&[f32; WORD]>::try_from(values) else {
        return values.iter().rev().fold(0, |word, value| word << 1 | u64::from(bit(*value)));
    };
    let mut bytes = [0u8; 8];
    for (byte, values) in bytes.iter_mut().zip(values.as_chunks::<8>().0) {
        *byte = (0..8).fold(0, |sum, lane| sum | if bit(values[lane]) { 1i32 << lane } else { 0 }) as u8;
    }
    u64::from_le_bytes(bytes)
}

/// Why the candidates of a part cannot be had.
pub(super) enum Stop {
    NotFinite,
    TooMany,
}

/// Passes on every entry but the kept ones above the bracket and the pruned ones below it, in the widest vectors that
/// this machine has.
pub(super) fn candidates<const MAGNITUDE: bool>(
    chunk: &Chunk<'_>,
    bracket: Bracket,
    take: impl FnMut(&[Candidate]) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let sides = Sides::<MAGNITUDE>::of(bracket);
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V4::try_new() {
        let all_decided = |values: &[f32; WORD], word| sides.all_decided_widest(simd, values, word);
        return simd.vectorize(|| undecided::<MAGNITUDE>(chunk, bracket, all_decided, take));
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        let all_decided = |values: &[f32; WORD], word| sides.all_decided_wide(simd, values, word);
        return simd.vectorize(|| undecided::<MAGNITUDE>(chunk, bracket, all_decided, take));
    }
    undecided::<MAGNITUDE>(chunk, bracket, |values, word| sides.all_decided(values, word), take)
}

#[inline(always)]
fn undecided<const MAGNITUDE: bool>(
    chunk: &Chunk<'_>,
    bracket: Bracket,
    all_decided: impl Fn(&[f32; WORD], u64) -> bool,
    mut take: impl FnMut(&[Candidate]) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let order = order::<MAGNITUDE>();
    let (first, end) = order.finite_keys();
    // Keys from `start` on, so many: one subtraction and one comparison. What is not finite lies outside of both.
    let above = (bracket.high + 1, signed(end - (bracket.high + 1)));
    let below = (first, signed(bracket.low - first));
    let decided = |value: f32, kept: bool| {
        let (start, length) = if kept { above } else { below };
        signed(order.key(value).wrapping_sub(start)) < length
    };
    for (group, (values, word)) in chunk.values.chunks(WORD).zip(chunk.current).enumerate() {
        if let Ok(values) = <&[f32; WORD]>::try_from(values)
            && all_decided(values, *word)
        {
            continue;
        }
        let mut found = [Candidate { key: 0, tensor: chunk.tensor as u32, index: 0 }; WORD];
        let mut count = 0;
        for (bit, value) in values.iter().enumerate() {
            if decided(*value, word >> bit & 1 == 1) {
                continue;
            }
            let key = order.key(*value);
            if order.is_unrankable(key) {
                return Err(Stop::NotFinite);
            }
            found[count].key = key;
            found[count].index = (chunk.start + group * WORD + bit) as u64;
            count += 1;
        }
        take(&found[..count])?;
    }
    Ok(())
}

/// A number as a signed one of the same order, which vector units without unsigned comparisons prefer.
#[inline(always)]
fn signed(number: u32) -> i32 {
    (number ^ 1 << 31) as i32
}
