//! On which side of a bracket a word of values lies: all that the warm path asks of most of them.

use super::chunk::Bracket;
use crate::bits::WORD;
use wide::{f32x8, i8x16, i16x8, i16x16, i32x8};

/// A bracket's edges, as this machine compares them.
pub(super) struct Sides<const MAGNITUDE: bool> {
    /// Keys above it are above the bracket.
    high: i32,
    /// Keys above it are not below the bracket.
    below_low: i32,
}

/// The largest magnitude of a finite number, as bits.
const LARGEST: i32 = 0x7f7f_ffff;
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
        let (mut above, mut not_below, mut not_finite) = (0, 0, i32x8::ZERO);
        for (part, values) in values.as_chunks::<16>().0.iter().enumerate() {
            let keys = [0, 8].map(|at| {
                let numbers: [f32; 8] = std::array::from_fn(|lane| values[at + lane]);
                let numbers = f32x8::from(numbers);
                let magnitude = bits(numbers) & i32x8::splat(MAGNITUDE_BITS);
                not_finite |= magnitude.simd_gt(i32x8::splat(LARGEST));
                if MAGNITUDE { magnitude } else { key(numbers) }
            });
            above |= pack(keys.map(|key| key.simd_gt(high))) << (16 * part);
            not_below |= pack(keys.map(|key| key.simd_gt(below_low))) << (16 * part);
        }
        above == word && not_below == word && not_finite == i32x8::ZERO
    }
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
            assert_eq!(sides.all_decided(values, word), by_keys(order, bracket, values, word), "{values:?} {word:x}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn words_are_decided_as_their_entries_are(
            values in proptest::collection::vec(-1.0f32..1.0, WORD),
            odd in proptest::option::of((0..WORD, proptest::num::f32::ANY)),
            centre in -1.0f32..1.0,
            width in 0u32..2000,
            flip in proptest::option::of(0..WORD),
        ) {
            let mut values: [f32; WORD] = values.try_into().unwrap();
            if let Some((at, value)) = odd {
                values[at] = value;
            }
            let flip = flip.map_or(0, |bit| 1 << bit);
            check::<true>(Order::Magnitude, &values, centre, width, flip);
            check::<false>(Order::Value, &values, centre, width, flip);
        }
    }
}
