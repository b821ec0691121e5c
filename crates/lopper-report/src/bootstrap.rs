//! The paired bootstrap: how a difference between models would vary with the examples.

use lopper_metrics::{Counted, Outcomes};
use std::cmp::Ordering;

/// Resamples, where there is time for them.
const MOST: usize = 10_000;
/// Resamples, however many examples.
const LEAST: usize = 1_000;
/// Examples drawn and read in all of a comparison's resamples: about a second.
const EFFORT: usize = 200_000_000;

/// Models on the same examples: weighted sums of their metrics are compared.
#[derive(Debug, Clone)]
pub struct ExampleSet<'a> {
    /// The metric's name, such as `matthews`.
    pub metric: &'a str,
    /// What is compared, each with its weight.
    pub first: Vec<(f64, &'a Outcomes)>,
    /// What it is compared with.
    pub second: Vec<(f64, &'a Outcomes)>,
}

/// A difference with what resampling its examples says of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resampled {
    /// The difference of the metrics, the first less the second.
    pub difference: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Two-sided: twice the share of resamples on the rarer side of 0, 0 itself counted to both, with one added to each count
    /// (Davison and Hinkley, *Bootstrap Methods and their Application*, 1997, section 4.2).
    pub probability: f64,
    /// How many resamples.
    pub resamples: usize,
    /// How many examples, over all sets.
    pub examples: usize,
}

impl Resampled {
    /// Whether the interval leaves 0 out.
    pub fn is_difference(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The difference of sums of metrics, with its interval over examples: as many as there are, are drawn from each set with replacement,
/// the same for all models of the set, and the metrics computed of those (Koehn, *Statistical significance tests for machine
/// translation evaluation*, EMNLP 2004; percentiles of Efron and Tibshirani, *An introduction to the bootstrap*, 1993, chapter 13).
///
/// 10,000 resamples; fewer where those of so many examples would take more than about a second, and at least 1,000. The generator is
/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) from a fixed seed, and examples are sorted by what was said of them, so that neither their order
/// nor that of first and second matters. `None` without examples, or where a set lacks the metric or is not of equally many.
pub fn paired_bootstrap(sets: &[ExampleSet<'_>]) -> Option<Resampled> {
    let sets: Vec<Kinds<'_>> = sets.iter().map(Kinds::of).collect::<Option<_>>()?;
    let counted: Vec<Judged<'_>> = sets.iter().map(Judged::of).collect::<Option<_>>()?;
    let examples: usize = sets.iter().map(|set| set.kinds.len()).sum();
    let effort: usize = sets.iter().map(Kinds::effort).sum();
    if examples == 0 {
        return None;
    }
    let resamples = (EFFORT / effort).clamp(LEAST, MOST);
    let mut random = SplitMix64(0);
    let draw = |_| counted.iter().map(|set| set.resampled(&mut random)).sum::<f64>();
    let mut differences: Vec<f64> = (0..resamples).map(draw).collect();
    differences.sort_by(f64::total_cmp);
    // As many lie outside on either side, so that the interval of the exchanged difference is this one mirrored.
    let outside = (resamples + 1) / 40 - 1;
    let mut difference = counted.iter().map(Judged::whole).sum();
    let (mut low, mut high) = (differences[outside], differences[resamples - 1 - outside]);
    if sets.iter().all(|set| set.symmetric) {
        // Nothing tells the two apart but the draws.
        high = (high - low) / 2.0;
        (low, difference) = (-high, 0.0);
    }
    let count = |side: fn(&f64) -> bool| differences.iter().filter(|d| side(d)).count();
    let rarer = count(|d| *d <= 0.0).min(count(|d| *d >= 0.0));
    let probability = (2.0 * (rarer + 1) as f64 / (resamples + 1) as f64).min(1.0);
    Some(Resampled { difference, low, high, probability, resamples, examples })
}

/// A set's examples, sorted, with those of which all models said the same taken together.
struct Kinds<'a> {
    metric: &'a str,
    /// Which kind each example is of.
    kinds: Vec<u32>,
    /// One example of each kind.
    first: Vec<(f64, Outcomes)>,
    second: Vec<(f64, Outcomes)>,
    /// Whether first and second have changed places.
    turned: bool,
    /// Whether changing them changes nothing.
    symmetric: bool,
}

impl<'a> Kinds<'a> {
    fn of(set: &ExampleSet<'a>) -> Option<Self> {
        let models = || set.first.iter().chain(&set.second).map(|(_, outcomes)| *outcomes);
        let examples = models().next()?.len();
        if models().any(|outcomes| outcomes.len() != examples) {
            return None;
        }
        let ways = [(&set.first, &set.second), (&set.second, &set.first)];
        let [given, exchanged] = ways.map(|(first, second)| {
            let models: Vec<&Outcomes> = first.iter().chain(second).map(|(_, outcomes)| *outcomes).collect();
            Sorted::of(&models, examples)
        });
        let order = given.cmp(&exchanged);
        let turned = order == Ordering::Greater;
        let (sorted, (first, second)) = if turned { (exchanged, ways[1]) } else { (given, ways[0]) };
        let (mut kinds, mut places) = (Vec::with_capacity(examples), Vec::new());
        for (at, place) in sorted.places.iter().enumerate() {
            if at == 0 || sorted.key(sorted.places[at - 1]) != sorted.key(*place) {
                places.push(*place);
            }
            kinds.push(places.len() as u32 - 1);
        }
        let each = |models: &[(f64, &Outcomes)]| models.iter().map(|(weight, o)| (*weight, o.at(&places))).collect();
        let symmetric = order == Ordering::Equal && first.len() == second.len();
        Some(Self { metric: set.metric, kinds, first: each(first), second: each(second), turned, symmetric })
    }

    /// What one resample costs, in examples that are looked at.
    fn effort(&self) -> usize {
        let kinds = self.first.first().or(self.second.first()).map_or(0, |(_, outcomes)| outcomes.len());
        self.kinds.len() + 4 * kinds * (self.first.len() + self.second.len())
    }
}

/// Examples in the order of what was said of them.
struct Sorted {
    keys: Vec<u32>,
    width: usize,
    places: Vec<usize>,
}

impl Sorted {
    fn of(models: &[&Outcomes], examples: usize) -> Self {
        let mut keys = Vec::new();
        for example in 0..examples {
            models.iter().for_each(|outcomes| outcomes.extend_key(example, &mut keys));
        }
        let mut sorted = Self { width: keys.len() / examples.max(1), keys, places: Vec::new() };
        let mut places: Vec<usize> = (0..examples).collect();
        places.sort_by(|a, b| sorted.key(*a).cmp(sorted.key(*b)));
        sorted.places = places;
        sorted
    }

    fn key(&self, example: usize) -> &[u32] {
        &self.keys[example * self.width..][..self.width]
    }

    fn cmp(&self, other: &Self) -> Ordering {
        self.places.iter().map(|place| self.key(*place)).cmp(other.places.iter().map(|place| other.key(*place)))
    }
}

/// The difference of one set as a function of how often each kind of example counts.
struct Judged<'a> {
    set: &'a Kinds<'a>,
    first: Vec<(f64, Counted<'a>)>,
    second: Vec<(f64, Counted<'a>)>,
}

impl<'a> Judged<'a> {
    fn of(set: &'a Kinds<'a>) -> Option<Self> {
        let each = |models: &'a [(f64, Outcomes)]| {
            models
                .iter()
                .map(|(weight, outcomes)| Some((*weight, outcomes.counted(set.metric)?)))
                .collect::<Option<_>>()
        };
        Some(Self { set, first: each(&set.first)?, second: each(&set.second)? })
    }

    /// Of all examples.
    fn whole(&self) -> f64 {
        self.difference((0..self.set.kinds.len()).map(|example| self.set.kinds[example]))
    }

    /// Of as many examples, drawn.
    fn resampled(&self, random: &mut SplitMix64) -> f64 {
        let kinds = &self.set.kinds;
        self.difference((0..kinds.len()).map(|_| kinds[random.below(kinds.len())]))
    }

    fn difference(&self, kinds: impl Iterator<Item = u32>) -> f64 {
        let mut counts = vec![0.0; self.set.kinds.last().map_or(0, |last| *last as usize + 1)];
        kinds.for_each(|kind| counts[kind as usize] += 1.0);
        let sum = |models: &[(f64, Counted<'_>)]| models.iter().map(|(weight, m)| weight * m.of(&counts)).sum::<f64>();
        let difference = sum(&self.first) - sum(&self.second);
        if self.set.turned { -difference } else { difference }
    }
}

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, each as likely as any other but for `n` in 2^64.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}
