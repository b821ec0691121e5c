//! A mask's bits, 64 entries a word. The loops are written over fixed lanes, which a compiler turns into vector
//! instructions of whatever width the target has.

use rayon::prelude::*;

/// Entries of a word of a mask.
pub const WORD: usize = 64;
/// Entries that one task looks at: a multiple of a word's.
pub(crate) const CHUNK: usize = 1 << 16;
/// Words that one task looks at, where a word costs little more than its transfer from memory.
const CHUNK_WORDS: usize = 1 << 14;

/// The bit of each entry in a byte of a mask, the first entry's first.
pub const LANES: [u8; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// [`LANES`] as wide as the values that they choose among: narrower ones keep a compiler from making vector instructions of the
/// loops over lanes: masks of 85 million weights are then applied in 153 ms instead of 58.
const WIDE_LANES: [i32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// Whether a lane's bit is set in a byte of a mask.
#[inline(always)]
pub(crate) fn is_set(byte: u8, lane: usize) -> bool {
    i32::from(byte) & WIDE_LANES[lane] != 0
}

/// The words that hold so many entries.
pub(crate) fn word_count(entries: u64) -> usize {
    entries.div_ceil(WORD as u64) as usize
}

/// The bits of the last word that stand for entries.
pub(crate) fn last_word(entries: u64) -> u64 {
    match entries % WORD as u64 {
        0 => u64::MAX,
        used => (1 << used) - 1,
    }
}

/// Set bits.
pub(crate) fn count(words: &[u64]) -> u64 {
    words.par_chunks(CHUNK_WORDS).map(|words| sum(words.iter().copied())).sum()
}

/// The bits of two masks that are set in both, in the first alone and in the second alone.
pub(crate) fn count_pairs(a: &[u64], b: &[u64]) -> [u64; 3] {
    let parts = a.par_chunks(CHUNK_WORDS).zip(b.par_chunks(CHUNK_WORDS));
    let counts = parts.map(|(a, b)| {
        let pairs = || a.iter().zip(b);
        [sum(pairs().map(|(a, b)| a & b)), sum(pairs().map(|(a, b)| a & !b)), sum(pairs().map(|(a, b)| b & !a))]
    });
    counts.reduce(|| [0; 3], add)
}

/// The sums of the counts of two parts.
pub(crate) fn add(a: [u64; 3], b: [u64; 3]) -> [u64; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

fn sum(words: impl Iterator<Item = u64>) -> u64 {
    words.map(|word| u64::from(word.count_ones())).sum()
}

/// Sets the values whose bit is 0 to +0.
pub(crate) fn apply(words: &[u64], values: &mut [f32]) {
    values.par_chunks_mut(CHUNK).zip(words.par_chunks(CHUNK / WORD)).for_each(|(values, words)| {
        let (groups, rest) = values.as_chunks_mut::<WORD>();
        for (values, word) in groups.iter_mut().zip(words) {
            for (values, byte) in values.as_chunks_mut::<8>().0.iter_mut().zip(word.to_le_bytes()) {
                for (lane, value) in values.iter_mut().enumerate() {
                    let kept = if is_set(byte, lane) { u32::MAX } else { 0 };
                    // Not a product: NaN · 0 is NaN, and -w · 0 is -0.
                    *value = f32::from_bits(value.to_bits() & kept);
                }
            }
        }
        let last = words.get(groups.len()).copied().unwrap_or(0);
        for (bit, value) in rest.iter_mut().enumerate() {
            if last >> bit & 1 == 0 {
                *value = 0.0;
            }
        }
    });
}

/// Values other than 0 whose bit is 0; NaN is one.
pub(crate) fn count_nonzero_outside(words: &[u64], values: &[f32]) -> u64 {
    let parts = values.par_chunks(CHUNK).zip(words.par_chunks(CHUNK / WORD));
    let count = parts.map(|(values, words)| {
        let (groups, rest) = values.as_chunks::<WORD>();
        let mut counts = [0u32; 8];
        for (values, word) in groups.iter().zip(words) {
            for (values, byte) in values.as_chunks::<8>().0.iter().zip(word.to_le_bytes()) {
                for lane in 0..8 {
                    counts[lane] += u32::from(!is_set(byte, lane) & (values[lane] != 0.0));
                }
            }
        }
        let last = words.get(groups.len()).copied().unwrap_or(0);
        let outside = rest.iter().enumerate().filter(|(bit, value)| last >> bit & 1 == 0 && **value != 0.0).count();
        counts.iter().map(|count| u64::from(*count)).sum::<u64>() + outside as u64
    });
    count.sum()
}

/// Bits from one byte an entry, 0 or 1, the first entry in the lowest bit of the first word; only a byte's lowest bit
/// counts.
pub fn pack_bits(bytes: &[u8]) -> Vec<u64> {
    let mut words = Vec::new();
    pack_bits_into(bytes, &mut words);
    words
}

/// As [`pack_bits`], into words that are there already: their number is made to fit, and what they held is gone. Nothing is
/// allocated where they were as many before.
pub fn pack_bits_into(bytes: &[u8], words: &mut Vec<u64>) {
    words.resize(bytes.len().div_ceil(WORD), 0);
    words.par_chunks_mut(CHUNK / WORD).zip(bytes.par_chunks(CHUNK)).for_each(|(words, bytes)| {
        let (groups, rest) = bytes.as_chunks::<WORD>();
        for (word, bytes) in words.iter_mut().zip(groups) {
            let mut packed = [0; 8];
            for (packed, bytes) in packed.iter_mut().zip(bytes.as_chunks::<8>().0) {
                // Bit 8i moves to 56 + i, and no two partial products meet in one bit.
                let spread = u64::from_le_bytes(*bytes) & 0x0101_0101_0101_0101;
                *packed = (spread.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
            }
            *word = u64::from_le_bytes(packed);
        }
        if !rest.is_empty() {
            words[groups.len()] = rest.iter().rev().fold(0, |word, byte| word << 1 | u64::from(byte & 1));
        }
    });
}

/// One byte an entry, 0 or 1: what [`pack_bits`] takes.
pub(crate) fn unpack(words: &[u64], entries: usize) -> Vec<u8> {
    let mut bytes = vec![0; entries];
    bytes.par_chunks_mut(CHUNK).zip(words.par_chunks(CHUNK / WORD)).for_each(|(bytes, words)| {
        for (bytes, word) in bytes.chunks_mut(WORD).zip(words) {
            let mut unpacked = [0; WORD];
            for (unpacked, packed) in unpacked.as_chunks_mut::<8>().0.iter_mut().zip(word.to_le_bytes()) {
                // Byte i keeps bit i alone; adding 127 carries it to the byte's highest bit.
                let spread = u64::from(packed).wrapping_mul(0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
                let carried = spread.wrapping_add(0x7f7f_7f7f_7f7f_7f7f) >> 7 & 0x0101_0101_0101_0101;
                *unpacked = carried.to_le_bytes();
            }
            bytes.copy_from_slice(&unpacked[..bytes.len()]);
        }
    });
    bytes
}
