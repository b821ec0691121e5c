//! What training hides, sampled as fairseq samples it (`compute_mask_indices`, `TransformerEncoder.layerdrop`): functions
//! of a generator and of sizes.

use rand::Rng;
use rand::seq::index::sample;

/// How spans are sampled along one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpanSettings {
    /// Share of the axis that spans would cover if they did not overlap: the probability of a start times the length.
    pub probability: f64,
    /// Entries a span.
    pub length: usize,
    /// Fewest spans.
    pub min: usize,
}

/// The masked positions of each row, ascending, of rows of `sizes` valid entries.
///
/// A row of n entries gets ⌊p n / length + u⌋ spans with u uniform in [0, 1), drawn anew for every row, or once for all
/// when all rows are as long; at least `min`. Starts are drawn without replacement from the first n - length entries, or
/// from so many that there are enough of them where a row is short; spans may overlap, and are cut at the end of the row.
/// Then every row loses masked positions, uniformly, until all have as many as the one with the fewest.
pub fn spans(generator: &mut impl Rng, sizes: &[usize], settings: SpanSettings) -> Vec<Vec<usize>> {
    let SpanSettings { probability, length, min } = settings;
    let count = |generator: &mut dyn rand::RngCore, size: usize| {
        let expected = probability * size as f64 / length.max(1) as f64;
        ((expected + generator.random::<f64>()) as usize).max(min)
    };
    let alike = sizes.windows(2).all(|pair| pair[0] == pair[1]);
    let shared = sizes.first().filter(|_| alike).map(|size| count(generator, *size));
    let mut rows: Vec<Vec<usize>> = Vec::with_capacity(sizes.len());
    for size in sizes.iter().copied() {
        let spans = shared.unwrap_or_else(|| count(generator, size));
        // Too short a row still gives every span a start of its own; those behind its end then mask nothing.
        let starts = if size > length + spans { size - length } else { spans + 1 };
        let mut masked = vec![false; size];
        for start in sample(generator, starts, spans) {
            masked.iter_mut().skip(start).take(length).for_each(|entry| *entry = true);
        }
        rows.push(masked.iter().enumerate().filter_map(|(at, masked)| masked.then_some(at)).collect());
    }
    let fewest = rows.iter().map(Vec::len).min().unwrap_or(0);
    for row in rows.iter_mut().filter(|row| row.len() > fewest) {
        let mut kept: Vec<usize> = sample(generator, row.len(), fewest).into_iter().map(|at| row[at]).collect();
        kept.sort_unstable();
        *row = kept;
    }
    rows
}

/// Which of `blocks` blocks are left out: each on its own with that probability.
pub fn dropped_blocks(generator: &mut impl Rng, blocks: usize, probability: f64) -> Vec<bool> {
    (0..blocks).map(|_| probability > 0.0 && generator.random::<f64>() <= probability).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const DRAWS: usize = 10_000;

    /// Probability that no one of `spans` starts drawn without replacement from `starts` is one of `those`.
    fn misses(starts: usize, spans: usize, those: usize) -> f64 {
        (0..spans).map(|i| (starts - those).saturating_sub(i) as f64 / (starts - i) as f64).product()
    }

    /// Within five standard deviations of a share.
    fn near(found: usize, probability: f64, what: &str) {
        let share = found as f64 / DRAWS as f64;
        let deviation = (probability * (1.0 - probability) / DRAWS as f64).sqrt();
        assert!((share - probability).abs() <= 5.0 * deviation + 1e-9, "{what}: {share}, expected {probability}");
    }

    /// How often each position is masked, how many are masked on average, and how many spans there are: all follow from
    /// the numbers of spans ⌊x⌋ and ⌊x⌋ + 1 with x = p n / length, and from starts without replacement.
    #[track_caller]
    fn check(size: usize, settings: SpanSettings) {
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let expected = settings.probability * size as f64 / settings.length as f64;
        let counts = [expected.floor() as usize, expected.floor() as usize + 1].map(|n| n.max(settings.min));
        let shares = [1.0 - expected.fract(), expected.fract()];
        let starts = size - settings.length;
        let mut masked = vec![0; size];
        for _ in 0..DRAWS {
            let rows = spans(&mut generator, &[size], settings);
            rows[0].iter().for_each(|at| masked[*at] += 1);
        }
        for (at, found) in masked.iter().enumerate() {
            let covering = (at + 1).min(starts) - (at + 1).saturating_sub(settings.length).min(starts);
            let probability: f64 =
                counts.iter().zip(shares).map(|(n, share)| share * (1.0 - misses(starts, *n, covering))).sum();
            near(*found, probability, &format!("position {at} of {size}"));
        }
    }

    #[test]
    fn positions_are_masked_as_often_as_fairseq_masks_them() {
        check(499, SpanSettings { probability: 0.65, length: 10, min: 2 });
        check(150, SpanSettings { probability: 0.75, length: 10, min: 2 });
        check(60, SpanSettings { probability: 0.05, length: 10, min: 2 });
        check(768, SpanSettings { probability: 0.256, length: 64, min: 0 });
        check(1024, SpanSettings { probability: 0.512, length: 64, min: 0 });
        check(100, SpanSettings { probability: 0.004, length: 1, min: 0 });
    }

    #[test]
    fn the_number_of_spans_is_rounded_by_chance() {
        // Spans of one entry are all seen.
        let settings = SpanSettings { probability: 0.0625, length: 1, min: 2 };
        let mut generator = ChaCha8Rng::seed_from_u64(2);
        let mut more = 0;
        for _ in 0..DRAWS {
            match spans(&mut generator, &[100], settings)[0].len() {
                6 => {}
                7 => more += 1,
                other => panic!("{other} spans of 6.25"),
            }
        }
        near(more, 0.25, "seven spans");
        for size in [3, 10, 20] {
            let few = spans(&mut generator, &[size], SpanSettings { probability: 0.0, length: 1, min: 2 });
            assert_eq!(few[0].len(), 2, "at least two spans");
        }
    }

    #[test]
    fn rows_lose_masked_positions_until_they_are_alike() {
        let settings = SpanSettings { probability: 0.65, length: 10, min: 2 };
        let mut generator = ChaCha8Rng::seed_from_u64(3);
        let sizes = [300, 120, 45];
        let (mut first, mut kept) = (0, 0);
        for _ in 0..DRAWS {
            let rows = spans(&mut generator, &sizes, settings);
            let masked = rows[0].len();
            assert!(rows.iter().zip(sizes).all(|(row, size)| {
                row.len() == masked && row.iter().all(|at| *at < size) && row.windows(2).all(|w| w[0] < w[1])
            }));
            // The shortest row decides: about 2.9 spans of 10.
            assert!((10..=40).contains(&masked), "{masked}");
            kept += masked;
            first += usize::from(rows[0].iter().any(|at| *at < 150));
        }
        assert!(first > DRAWS / 2, "long rows are masked all over");
        let alone: usize = (0..DRAWS).map(|_| spans(&mut generator, &[45], settings)[0].len()).sum();
        let ratio = kept as f64 / alone as f64;
        assert!((ratio - 1.0).abs() < 0.01, "as many as the shortest row alone would have, {ratio}");
    }

    #[test]
    fn rows_of_one_length_share_the_number_of_spans() {
        let settings = SpanSettings { probability: 0.05, length: 1, min: 0 };
        let mut generator = ChaCha8Rng::seed_from_u64(4);
        let mut more = 0;
        for _ in 0..DRAWS {
            let rows = spans(&mut generator, &[50, 50, 50, 50], settings);
            more += usize::from(rows[0].len() == 3);
        }
        // Were the numbers drawn apart, the row with the fewest would decide, and 3 be rare.
        near(more, 0.5, "three spans in all rows");
    }

    #[test]
    fn short_rows_are_no_trouble() {
        let mut generator = ChaCha8Rng::seed_from_u64(5);
        for probability in [0.0, 0.5, 1.0] {
            for length in [1, 2, 10, 1000] {
                for min in [0, 2, 5] {
                    for size in 0..20 {
                        let settings = SpanSettings { probability, length, min };
                        let row = &spans(&mut generator, &[size], settings)[0];
                        assert!(row.iter().all(|at| *at < size) && row.len() <= size);
                    }
                }
            }
        }
        assert!(spans(&mut generator, &[], SpanSettings { probability: 0.5, length: 10, min: 2 }).is_empty());
    }

    #[test]
    fn blocks_are_dropped_independently() {
        let mut generator = ChaCha8Rng::seed_from_u64(6);
        let (mut single, mut both) = ([0; 12], 0);
        for _ in 0..DRAWS {
            let dropped = dropped_blocks(&mut generator, 12, 0.1);
            dropped.iter().zip(&mut single).for_each(|(dropped, count)| *count += usize::from(*dropped));
            both += usize::from(dropped[3] && dropped[4]);
        }
        single.iter().enumerate().for_each(|(block, count)| near(*count, 0.1, &format!("block {block}")));
        near(both, 0.01, "two neighbours");
        assert!(dropped_blocks(&mut generator, 1000, 0.0).iter().all(|dropped| !dropped));
    }
}
