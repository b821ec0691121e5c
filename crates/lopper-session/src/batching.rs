//! Which examples make which batch.

use lopper_core::{Batching, Error, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

/// Batches' worth of examples that are sorted by length together, when batches have a number of examples.
const POOL_BATCHES: usize = 50;

/// An endless, seeded sequence of training batches: epochs that each hold every example once, in as many batches.
///
/// A batch depends on nothing but the construction and its number, so a run continues at any batch.
#[derive(Debug, Clone)]
pub struct Batcher {
    /// The length by which each example is sorted and counted, at least its own.
    lengths: Vec<u64>,
    limit: Limit,
    bucket: bool,
    seed: u64,
    batches_per_epoch: u64,
    /// The epoch last asked for, which the next batch lies in nearly always.
    current: RefCell<Option<(u64, Vec<Vec<usize>>)>>,
}

#[derive(Debug, Clone, Copy)]
enum Limit {
    Rows(usize),
    Cost(u64),
}

impl Batcher {
    /// Batches over examples of the given lengths (tokens or samples; 0 counts as 1).
    ///
    /// Without `bucket_by_length`, an epoch is a shuffle cut into pieces. With it, examples of like length stand
    /// together: pools of 50 shuffled batches are sorted and cut, and the batches shuffled. Under [`Batching::Budget`]
    /// the whole split is sorted by length, in classes that are at most 1/16 wide and shuffled within; a batch takes
    /// examples while the length of the longest, times the rows, stays in the budget; an example longer than
    /// the budget stands alone. Cuts depend on class lengths alone, so every epoch has the same number of batches.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for no examples, or batches of size 0.
    pub fn new(costs: &[u32], batching: &Batching, bucket_by_length: bool, seed: u64) -> Result<Self> {
        if costs.is_empty() {
            return Err(Error::invalid("examples", 0, "at least one example to train on"));
        }
        let (limit, size) = match *batching {
            Batching::Examples(rows) => (Limit::Rows(usize::try_from(rows).unwrap_or(usize::MAX)), rows),
            Batching::Budget(cost) => (Limit::Cost(cost), cost),
        };
        if size == 0 {
            return Err(Error::invalid("batch size", 0, "at least 1"));
        }
        let (lengths, bucket) = match limit {
            Limit::Rows(_) => (costs.iter().map(|&c| u64::from(c).max(1)).collect(), bucket_by_length),
            Limit::Cost(_) => (class_lengths(costs), true),
        };
        let mut batcher = Self { lengths, limit, bucket, seed, batches_per_epoch: 0, current: RefCell::default() };
        let first = batcher.epoch(0);
        batcher.batches_per_epoch = first.len() as u64;
        batcher.current = RefCell::new(Some((0, first)));
        Ok(batcher)
    }

    /// Batches of every epoch; at least 1.
    pub fn batches_per_epoch(&self) -> u64 {
        self.batches_per_epoch
    }

    /// All batches of an epoch, as indices of examples; each index occurs once.
    pub fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut rng = rng(self.seed, epoch);
        let mut order: Vec<usize> = (0..self.lengths.len()).collect();
        order.shuffle(&mut rng);
        if !self.bucket {
            return self.cut(&order).map(<[usize]>::to_vec).collect();
        }
        let pool = match self.limit {
            Limit::Rows(rows) => rows.saturating_mul(POOL_BATCHES),
            Limit::Cost(_) => order.len(),
        };
        for examples in order.chunks_mut(pool) {
            // Stable: equal lengths stay shuffled.
            examples.sort_by_key(|&i| self.lengths[i]);
        }
        let mut batches: Vec<_> = self.cut(&order).map(<[usize]>::to_vec).collect();
        batches.shuffle(&mut rng);
        batches
    }

    /// Batch `number` of the run, counted from 0 over all epochs, as indices of examples.
    pub fn batch(&self, number: u64) -> Vec<usize> {
        let (epoch, place) = (number / self.batches_per_epoch, (number % self.batches_per_epoch) as usize);
        let mut current = self.current.borrow_mut();
        let (_, batches) = match current.take() {
            Some(kept) if kept.0 == epoch => current.insert(kept),
            _ => current.insert((epoch, self.epoch(epoch))),
        };
        batches[place].clone()
    }

    fn cut<'a>(&'a self, order: &'a [usize]) -> impl Iterator<Item = &'a [usize]> {
        let (rows, budget) = match self.limit {
            Limit::Rows(rows) => (rows, u64::MAX),
            Limit::Cost(cost) => (usize::MAX, cost),
        };
        cut(order, rows, budget, |i| self.lengths[i])
    }
}

/// Which micro-batches of a run make which update.
///
/// An update takes `accumulate` of them, and the last one of a pass over the training split takes what is left of the pass:
/// no update spans two passes, so that as many passes as are asked for are as many examples. So it is in fairseq
/// (`GroupedIterator`) and in transformers' trainer. A short update counts as any other; its gradients are those of its
/// own mean loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MicroBatches {
    per_epoch: u64,
    accumulate: u64,
}

impl MicroBatches {
    /// For passes of that many batches, `accumulate` of them an update; 0 counts as 1.
    pub fn new(batches_per_epoch: u64, accumulate: u64) -> Self {
        Self { per_epoch: batches_per_epoch.max(1), accumulate: accumulate.max(1) }
    }

    /// Updates of one pass over the training split; at least 1.
    pub fn updates_per_epoch(&self) -> u64 {
        self.per_epoch.div_ceil(self.accumulate)
    }

    /// The numbers of the micro-batches of an update, at least one; both are counted over all passes, updates from 1 and
    /// micro-batches from 0.
    pub fn of(&self, update: u64) -> Range<u64> {
        let before = update.saturating_sub(1);
        let (epoch, place) = (before / self.updates_per_epoch(), before % self.updates_per_epoch());
        let (first, within) = (epoch * self.per_epoch, place * self.accumulate);
        first + within..first + self.per_epoch.min(within + self.accumulate)
    }
}

/// Batches for evaluation: every index once, long examples first, so that memory peaks at the start; equal lengths in
/// the order of the split. A batch has at most `max_rows` rows (0 counts as 1), and the length of its longest
/// example times its rows is at most `budget`, unless it is a single example.
pub fn evaluation_batches(costs: &[u32], max_rows: usize, budget: Option<u64>) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(costs[i]));
    let length = |i: usize| u64::from(costs[i]).max(1);
    cut(&order, max_rows.max(1), budget.unwrap_or(u64::MAX), length).map(<[usize]>::to_vec).collect()
}

/// Cuts `order` greedily into pieces of at most `rows` examples and at most `budget` of padded length.
fn cut<'a>(
    order: &'a [usize],
    rows: usize,
    budget: u64,
    length: impl Fn(usize) -> u64 + 'a,
) -> impl Iterator<Item = &'a [usize]> {
    let mut rest = order;
    std::iter::from_fn(move || {
        let mut longest = 0;
        let fits = |(row, &i): (usize, &usize)| {
            longest = longest.max(length(i));
            row == 0 || (row < rows && (row as u64 + 1).saturating_mul(longest) <= budget)
        };
        let n = rest.iter().enumerate().map(fits).take_while(|&fit| fit).count();
        let (batch, left) = rest.split_at(n);
        rest = left;
        (n > 0).then_some(batch)
    })
}

/// For each example the largest length that shares its first five binary digits: examples of one class can change
/// places without moving a cut.
fn class_lengths(costs: &[u32]) -> Vec<u64> {
    let class = |cost: u32| {
        let shift = (u32::BITS - cost.leading_zeros()).saturating_sub(5);
        (shift, cost >> shift)
    };
    let mut longest: HashMap<(u32, u32), u32> = HashMap::new();
    for &cost in costs {
        let entry = longest.entry(class(cost.max(1))).or_default();
        *entry = cost.max(1).max(*entry);
    }
    costs.iter().map(|&cost| u64::from(longest[&class(cost.max(1))])).collect()
}

fn rng(seed: u64, epoch: u64) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&epoch.to_le_bytes());
    // Keeps the stream apart from other uses of the same seed.
    bytes[16..].copy_from_slice(b"lopper batches 1");
    ChaCha8Rng::from_seed(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(batches: &[Vec<usize>]) -> Vec<usize> {
        let mut all = batches.concat();
        all.sort_unstable();
        all
    }

    fn padded(batch: &[usize], costs: &[u32]) -> u64 {
        let longest = batch.iter().map(|&i| u64::from(costs[i])).max().unwrap_or(0);
        longest * batch.len() as u64
    }

    fn batching() -> impl Strategy<Value = Batching> {
        prop_oneof![(1u64..40).prop_map(Batching::Examples), (1u64..3000).prop_map(Batching::Budget)]
    }

    fn costs() -> impl Strategy<Value = Vec<u32>> {
        prop_oneof![
            prop::collection::vec(0u32..200, 1..300),
            prop::collection::vec(0u32..5, 1..300),
            prop::collection::vec(any::<u32>(), 1..50),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn every_epoch_holds_every_example_once(
            costs in costs(), batching in batching(), bucket: bool, seed: u64, epoch: u64,
        ) {
            let batcher = Batcher::new(&costs, &batching, bucket, seed).unwrap();
            let batches = batcher.epoch(epoch);
            prop_assert_eq!(batches.len() as u64, batcher.batches_per_epoch());
            prop_assert_eq!(sorted(&batches), (0..costs.len()).collect::<Vec<_>>());
            for batch in &batches {
                match batching {
                    Batching::Examples(rows) => prop_assert!(batch.len() as u64 <= rows),
                    Batching::Budget(budget) => prop_assert!(batch.len() == 1 || padded(batch, &costs) <= budget),
                }
            }
            if let Batching::Examples(rows) = batching {
                prop_assert_eq!(batches.len() as u64, (costs.len() as u64).div_ceil(rows));
            }
        }

        #[test]
        fn a_batch_depends_on_its_number_alone(
            costs in costs(), batching in batching(), bucket: bool, seed: u64, number in 0u64..5000,
        ) {
            let one = Batcher::new(&costs, &batching, bucket, seed).unwrap();
            let per_epoch = one.batches_per_epoch();
            let other = one.clone();
            for before in number.saturating_sub(3)..number {
                other.batch(before);
            }
            prop_assert_eq!(one.batch(number), other.batch(number));
            let expected = &one.epoch(number / per_epoch)[(number % per_epoch) as usize];
            prop_assert_eq!(expected, &other.batch(number));
        }

        #[test]
        fn passes_are_whole_updates(batches in 1u64..200, accumulate in 1u64..300, epochs in 1u64..20) {
            let micro = MicroBatches::new(batches, accumulate);
            let updates = epochs * micro.updates_per_epoch();
            let all: Vec<u64> = (1..=updates).flat_map(|update| micro.of(update)).collect();
            prop_assert_eq!(all, (0..epochs * batches).collect::<Vec<_>>());
            if batches.is_multiple_of(accumulate) {
                for update in 1..=updates {
                    prop_assert_eq!(micro.of(update), (update - 1) * accumulate..update * accumulate);
                }
            }
        }

        #[test]
        fn evaluation_covers_the_split(costs in costs(), rows in 0usize..20, budget in prop::option::of(0u64..3000)) {
            let batches = evaluation_batches(&costs, rows, budget);
            prop_assert_eq!(sorted(&batches), (0..costs.len()).collect::<Vec<_>>());
            prop_assert!(batches.concat().is_sorted_by_key(|&i| std::cmp::Reverse(costs[i])));
            for batch in &batches {
                prop_assert!(batch.len() <= rows.max(1));
                prop_assert!(batch.len() == 1 || budget.is_none_or(|b| padded(batch, &costs) <= b));
            }
        }
    }

    #[test]
    fn no_update_spans_two_passes() {
        let of = |batches, accumulate, updates| -> Vec<Range<u64>> {
            let micro = MicroBatches::new(batches, accumulate);
            (1..=updates).map(|update| micro.of(update)).collect()
        };
        // One pass of 32 examples in batches of 16 is one update, of both.
        assert_eq!(MicroBatches::new(2, 3).updates_per_epoch(), 1);
        assert_eq!(of(2, 3, 2), [0..2, 2..4]);
        assert_eq!(of(7, 3, 5), [0..3, 3..6, 6..7, 7..10, 10..13]);
        assert_eq!(of(6, 3, 3), [0..3, 3..6, 6..9]);
        assert_eq!(of(5, 1, 6), (0..6).map(|n| n..n + 1).collect::<Vec<_>>());
        assert_eq!(of(1, 1 << 20, 2), [0..1, 1..2]);
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let costs: Vec<u32> = (0..500).map(|i| 20 + i * 7 % 50).collect();
        for (batching, bucket) in
            [(Batching::Examples(8), false), (Batching::Examples(8), true), (Batching::Budget(400), true)]
        {
            let batcher = Batcher::new(&costs, &batching, bucket, 1).unwrap();
            let other = Batcher::new(&costs, &batching, bucket, 2).unwrap();
            assert_ne!(batcher.epoch(0), batcher.epoch(1));
            assert_ne!(batcher.epoch(0), other.epoch(0));
            assert_eq!(batcher.epoch(3), batcher.clone().epoch(3));
            let sets = |epoch: u64| -> std::collections::BTreeSet<Vec<usize>> {
                batcher.epoch(epoch).into_iter().map(|b| sorted(&[b])).collect()
            };
            let shared = sets(0).intersection(&sets(1)).count() as u64;
            assert!(shared * 10 < batcher.batches_per_epoch(), "{batching:?}: {shared} batches come again");
        }
    }

    #[test]
    fn the_order_is_fixed_for_ever() {
        let costs = [3, 1, 4, 1, 5, 9, 2, 6];
        let plain = Batcher::new(&costs, &Batching::Examples(3), false, 7).unwrap();
        assert_eq!(plain.epoch(0), [vec![3, 4, 2], vec![0, 7, 5], vec![6, 1]]);
        let budget = Batcher::new(&costs, &Batching::Budget(9), true, 7).unwrap();
        assert_eq!(budget.epoch(1), [vec![0, 2], vec![1, 3, 6], vec![5], vec![4], vec![7]]);
    }

    #[test]
    fn buckets_save_padding() {
        let costs: Vec<u32> = (0..2000).map(|i| 10 + i * 37 % 100).collect();
        let share = |batching: Batching, bucket: bool| {
            let batches = Batcher::new(&costs, &batching, bucket, 0).unwrap().epoch(0);
            let spent: u64 = batches.iter().map(|b| padded(b, &costs)).sum();
            spent as f64 / costs.iter().map(|&c| f64::from(c)).sum::<f64>()
        };
        assert!(share(Batching::Examples(32), false) > 1.5);
        assert!(share(Batching::Examples(32), true) < 1.08);
        assert!(share(Batching::Budget(2000), false) < 1.05);
    }

    #[test]
    fn one_length_fills_the_budget() {
        let batcher = Batcher::new(&[320_000; 10], &Batching::Budget(640_000), true, 0).unwrap();
        assert_eq!(batcher.batches_per_epoch(), 5);
    }

    #[test]
    fn empty_splits_and_batches_are_refused() {
        assert!(Batcher::new(&[], &Batching::Examples(1), false, 0).is_err());
        assert!(Batcher::new(&[1], &Batching::Examples(0), false, 0).is_err());
        assert!(Batcher::new(&[1], &Batching::Budget(0), false, 0).is_err());
        assert!(evaluation_batches(&[], 4, None).is_empty());
    }
}
