//! On which side of a bracket a word of values lies: all that the warm path asks of most of them.

use super::warm::Bracket;
use crate::bits::WORD;
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256i, __m512i};
use wide::{f32x8, i8x16, i16x8, i16x16, i32x8};

/// A bracket's edges, as this machine compares them.
pub(super) struct Sides<const MAGNITUDE: bool> {
    /// Keys above it are above the bracket.
    high: i32,
    /// Keys above it are not below the bracket.
    below_low: i32,
}

/// All ones in what is not finite, and in nothing else.
const EXPONENT_BITS: i32 = 0x7f80_0000;
/// All bits of a number but its sign.
const MAGNITUDE_BITS: i32 = i32::MAX;

impl<const MAGNITUDE: bool> Sides<MAGNITUDE> {
    /// The edges of `bracket`.
    pub(super) fn of(bracket: Bracket) -> Self {
        // Magnitudes fit into signed numbers as they are. Keys of values are shifted, so that their order is kept too.
        let signed = |key: u32| if MAGNITUDE { key as i32 } else { (key ^ 1 << 31) as i32 };
        Self { high: signed(bracket.high), below_low: signed(bracket.low).wrapping_sub(1) }
    }

    /// Whether the kept ones of these values lie above the bracket, the pruned ones below it, and all are finite.
    ///
    /// Sixteen comparisons become sixteen bits in a few vector instructions, and those are compared with the mask's. Left
    /// to itself, the compiler turns the mask's bits into lanes instead, at twice the cost.
    #[inline(always)]
    pub(super) fn all_decided(&self, values: &[f32; WORD], word: u64) -> bool {
        let (high, below_low) = (i32x8::splat(self.high), i32x8::splat(self.below_low));
        let (mut above, mut not_below, mut seen) = (0, 0, i32x8::ZERO);
        for (part, values) in values.as_chunks::<16>().0.iter().enumerate() {
            let keys = [0, 8].map(|at| {
                let numbers: [f32; 8] = std::array::from_fn(|lane| values[at + lane]);
                let numbers = f32x8::from(numbers);
                seen |= bits(numbers);
                if MAGNITUDE { bits(numbers) & i32x8::splat(MAGNITUDE_BITS) } else { key(numbers) }
            });
            above |= pack(keys.map(|key| key.simd_gt(high))) << (16 * part);
            not_below |= pack(keys.map(|key| key.simd_gt(below_low))) << (16 * part);
        }
        let exponent = i32x8::splat(EXPONENT_BITS);
        let suspect = (seen & exponent).simd_eq(exponent) != i32x8::ZERO;
        above == word && not_below == word && !(suspect && not_all_finite(values))
    }

    /// [`all_decided`](Self::all_decided) in the vectors of 256 bits that most machines have, where a comparison's bits
    /// are one instruction away.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn all_decided_wide(&self, simd: V3, values: &[f32; WORD], word: u64) -> bool {
        let (avx, avx2) = (simd.avx, simd.avx2);
        let splat = |number| avx._mm256_set1_epi32(number);
        let (high, below_low, magnitude) = (splat(self.high), splat(self.below_low), splat(MAGNITUDE_BITS));
        let (mut above, mut not_below, mut seen) = (0, 0, avx._mm256_setzero_si256());
        let set = |lanes: __m256i| u64::from(avx._mm256_movemask_ps(pulp::cast(lanes)) as u8);
        for (part, values) in values.as_chunks::<8>().0.iter().enumerate() {
            let bits: __m256i = pulp::cast(*values);
            seen = avx2._mm256_or_si256(seen, bits);
            let key = if MAGNITUDE {
                avx2._mm256_and_si256(bits, magnitude)
            } else {
                // As `key` has it.
                let bits = pulp::cast(avx._mm256_add_ps(pulp::cast(bits), avx._mm256_setzero_ps()));
                avx2._mm256_xor_si256(bits, avx2._mm256_and_si256(avx2._mm256_srai_epi32::<31>(bits), magnitude))
            };
            above |= set(avx2._mm256_cmpgt_epi32(key, high)) << (8 * part);
            not_below |= set(avx2._mm256_cmpgt_epi32(key, below_low)) << (8 * part);
        }
        let exponent = splat(EXPONENT_BITS);
        let suspect = set(avx2._mm256_cmpeq_epi32(avx2._mm256_and_si256(seen, exponent), exponent)) != 0;
        above == word && not_below == word && !(suspect && not_all_finite(values))
    }

    /// [`all_decided`](Self::all_decided) in vectors of 512 bits, where the mask's bits choose lanes as they are: each
    /// number is compared once, with the edge that it must not lie beyond.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn all_decided_widest(&self, simd: V4, values: &[f32; WORD], word: u64) -> bool {
        let avx512 = simd.avx512f;
        let splat = |number| avx512._mm512_set1_epi32(number);
        let (high, below_low, magnitude) = (splat(self.high), splat(self.below_low), splat(MAGNITUDE_BITS));
        let (mut undecided, mut seen) = (0, avx512._mm512_setzero_si512());
        for (part, values) in values.as_chunks::<16>().0.iter().enumerate() {
            let bits: __m512i = pulp::cast(*values);
            seen = avx512._mm512_or_si512(seen, bits);
            let key = if MAGNITUDE {
                avx512._mm512_and_si512(bits, magnitude)
            } else {
                // As `key` has it.
                let bits = pulp::cast(avx512._mm512_add_ps(pulp::cast(bits), avx512._mm512_setzero_ps()));
                let sign = avx512._mm512_srai_epi32::<31>(bits);
                avx512._mm512_xor_si512(bits, avx512._mm512_and_si512(sign, magnitude))
            };
            let kept = (word >> (16 * part)) as u16;
            let edge = avx512._mm512_mask_mov_epi32(below_low, kept, high);
            undecided |= avx512._mm512_cmpgt_epi32_mask(key, edge) ^ kept;
        }
        let exponent = splat(EXPONENT_BITS);
        let suspect = avx512._mm512_cmpeq_epi32_mask(avx512._mm512_and_si512(seen, exponent), exponent) != 0;
        undecided == 0 && !(suspect && not_all_finite(values))
    }
}

/// Asked only where exponents, put together, could be that of NaN or infinity: numbers of 2 and more among small ones.
#[cold]
fn not_all_finite(values: &[f32; WORD]) -> bool {
    !values.iter().all(|value| value.is_finite())
}

fn bits(numbers: f32x8) -> i32x8 {
    bytemuck::cast(numbers)
}

/// The keys of numbers, in the order of signed integers: what is negative is turned round, and -0 equals 0.
#[inline(always)]
fn key(numbers: f32x8) -> i32x8 {
    let bits = bits(numbers + f32x8::ZERO);
    bits ^ (bits >> 31 & i32x8::splat(MAGNITUDE_BITS))
}

/// One bit for each of sixteen lanes of all or no bits.
#[inline(always)]
fn pack(lanes: [i32x8; 2]) -> u64 {
    let halves: i16x16 = bytemuck::cast(lanes.map(i16x8::from_i32x8_saturate));
    u64::from(i8x16::from_i16x16_saturate(halves).to_bitmask() & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::Order;
    use proptest::prelude::*;

    /// What `all_decided` promises, said with the keys of the selection.
    fn by_keys(order: Order, bracket: Bracket, values: &[f32; WORD], word: u64) -> bool {
        values.iter().enumerate().all(|(bit, value)| {
            let key = order.key(*value);
            let decided = if word >> bit & 1 == 1 { key > bracket.high } else { key < bracket.low };
            decided && !order.is_unrankable(key)
        })
    }

    fn check<const MAGNITUDE: bool>(order: Order, values: &[f32; WORD], centre: f32, width: u32, flip: u64) {
        let bracket = Bracket::around(order, order.key(centre), width);
        let sides = Sides::<MAGNITUDE>::of(bracket);
        let fitting = (0..WORD).fold(0, |word, bit| word | u64::from(order.key(values[bit]) > bracket.high) << bit);
        for word in [fitting, fitting ^ flip, flip, 0, u64::MAX] {
            let expected = by_keys(order, bracket, values, word);
            assert_eq!(sides.all_decided(values, word), expected, "{values:?} {word:x}");
            #[cfg(target_arch = "x86_64")]
            if let Some(simd) = V3::try_new() {
                let wide = simd.vectorize(|| sides.all_decided_wide(simd, values, word));
                assert_eq!(wide, expected, "{values:?} {word:x}");
            }
            #[cfg(target_arch = "x86_64")]
            if let Some(simd) = V4::try_new() {
                let widest = simd.vectorize(|| sides.all_decided_widest(simd, values, word));
                assert_eq!(widest, expected, "{values:?} {word:x}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn words_are_decided_as_their_entries_are(
            values in proptest::collection::vec(-1.0f32..1.0, WORD),
            odd in proptest::option::of((0..WORD, proptest::num::f32::ANY)),
            large in proptest::option::of((0..WORD, 2.0f32..1e4)),
            centre in -1.0f32..1.0,
            width in 0u32..2000,
            flip in proptest::option::of(0..WORD),
        ) {
            let mut values: [f32; WORD] = values.try_into().unwrap();
            for (at, value) in [odd, large].into_iter().flatten() {
                values[at] = value;
            }
            let flip = flip.map_or(0, |bit| 1 << bit);
            check::<true>(Order::Magnitude, &values, centre, width, flip);
            check::<false>(Order::Value, &values, centre, width, flip);
        }
    }
}
