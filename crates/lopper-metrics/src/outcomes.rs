//! What was said of every example: less than the model's outputs, and enough for every metric, of any choice of examples.

use crate::classes::{accuracy_of, f1_of, matthews_of};
use crate::values::{Order, correlation};
use crate::{ClassMetric, Edits, ValueMetric};

/// What was said of every example of a split, in the split's order, beside what was right.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcomes {
    /// `(predicted, true)` class ids.
    Classes(Vec<(u32, u32)>),
    /// `(predicted, true)` numbers, all of them finite.
    Values(Vec<(f32, f32)>),
    /// Errors in sequences, counted in one or several ways, each over the same examples.
    Errors(Vec<Errors>),
}

/// The errors of every example, counted in one way: in words, letters or phones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    /// The rate that they make: `wer`, `cer`, `per`, or one of these with `_own` after it. Small letters, digits and `_`.
    pub rate: String,
    /// Errors, and symbols of the reference, of each example.
    pub examples: Vec<(u32, u32)>,
}

impl Errors {
    /// The errors of some examples' edits. More than 4,294,967,295 of one example count as so many.
    pub fn of(rate: impl Into<String>, edits: impl IntoIterator<Item = Edits>) -> Self {
        let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let examples = edits.into_iter().map(|edits| (narrow(edits.errors()), narrow(edits.reference)));
        Self { rate: rate.into(), examples: examples.collect() }
    }
}

impl Outcomes {
    /// Examples.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(pairs) => pairs.len(),
            Self::Values(pairs) => pairs.len(),
            Self::Errors(ways) => ways.first().map_or(0, |way| way.examples.len()),
        }
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A metric of all examples, each counted once; `None` for one that these outcomes do not have.
    ///
    /// Classes have [`accuracy`](crate::accuracy), [`f1`](crate::f1) and [`matthews`](crate::matthews), numbers have
    /// [`pearson`](crate::pearson) and [`spearman`](crate::spearman). Errors have the rate by which they are called, over all
    /// symbols ([`error_rate`](crate::error_rate)), and its mean over examples ([`mean_error_rate`](crate::mean_error_rate)) as
    /// `per_mean` of `per` and `per_mean_own` of `per_own`.
    pub fn metric(&self, name: &str) -> Option<f64> {
        Some(self.counted(name)?.of(&vec![1.0; self.len()]))
    }

    /// A metric as a function of how often each example counts; `None` as in [`metric`](Self::metric).
    pub fn counted(&self, name: &str) -> Option<Counted<'_>> {
        let what = match self {
            Self::Classes(pairs) => {
                let all = [ClassMetric::Accuracy, ClassMetric::F1, ClassMetric::Matthews];
                What::Classes(all.into_iter().find(|metric| metric.name() == name)?, pairs)
            }
            Self::Values(pairs) => {
                let metric = [ValueMetric::Pearson, ValueMetric::Spearman].into_iter().find(|m| m.name() == name)?;
                let (predicted, truth): (Vec<f64>, Vec<f64>) =
                    pairs.iter().map(|(p, t)| (f64::from(*p), f64::from(*t))).unzip();
                match metric {
                    ValueMetric::Pearson => What::Pearson(predicted, truth),
                    ValueMetric::Spearman => What::Spearman(Order::of(&predicted), Order::of(&truth)),
                }
            }
            Self::Errors(ways) => {
                let way = |rate: &str| ways.iter().find(|way| way.rate == rate).map(|way| &way.examples[..]);
                match way(name) {
                    Some(examples) => What::Rate(examples),
                    None => What::MeanRate(way(&name.replacen("_mean", "", 1))?),
                }
            }
        };
        Some(Counted { what })
    }

    /// Whether each example was answered rightly; `None` where answers are not right or wrong.
    pub fn correct(&self) -> Option<Vec<bool>> {
        match self {
            Self::Classes(pairs) => Some(pairs.iter().map(|(predicted, truth)| predicted == truth).collect()),
            Self::Values(_) | Self::Errors(_) => None,
        }
    }

    /// Whether these may be outcomes of the same examples: as many, of the same kind, with the same true classes or numbers, or
    /// references of the same length.
    pub fn may_be_of_the_same_examples_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Classes(a), Self::Classes(b)) => a.iter().map(|pair| pair.1).eq(b.iter().map(|pair| pair.1)),
            (Self::Values(a), Self::Values(b)) => a.iter().map(|pair| pair.1).eq(b.iter().map(|pair| pair.1)),
            (Self::Errors(a), Self::Errors(b)) => {
                let alike = |(a, b): (&Errors, &Errors)| {
                    a.rate == b.rate && a.examples.iter().map(|e| e.1).eq(b.examples.iter().map(|e| e.1))
                };
                a.len() == b.len() && a.iter().zip(b).all(alike)
            }
            _ => false,
        }
    }

    /// Appends what was said of one example, as numbers that are equal just where all of it is; the more of them the more is told.
    ///
    /// # Panics
    /// For an example that there is not.
    pub fn extend_key(&self, example: usize, key: &mut Vec<u32>) {
        match self {
            Self::Classes(pairs) => key.extend([pairs[example].1, pairs[example].0]),
            Self::Values(pairs) => key.extend([pairs[example].1.to_bits(), pairs[example].0.to_bits()]),
            Self::Errors(ways) => key.extend(ways.iter().map(|way| way.examples[example]).flat_map(|(e, s)| [s, e])),
        }
    }

    /// The outcomes at some places, in that order; a place may come several times.
    ///
    /// # Panics
    /// For a place that is none.
    #[must_use]
    pub fn at(&self, places: &[usize]) -> Self {
        fn pick<T: Copy>(from: &[T], places: &[usize]) -> Vec<T> {
            places.iter().map(|place| from[*place]).collect()
        }
        match self {
            Self::Classes(pairs) => Self::Classes(pick(pairs, places)),
            Self::Values(pairs) => Self::Values(pick(pairs, places)),
            Self::Errors(ways) => {
                let way = |way: &Errors| Errors { rate: way.rate.clone(), examples: pick(&way.examples, places) };
                Self::Errors(ways.iter().map(way).collect())
            }
        }
    }
}

/// One metric of some outcomes, as a function of how often each example counts. What does not depend on that, such as the
/// order of numbers, is found once.
#[derive(Debug, Clone)]
pub struct Counted<'a> {
    what: What<'a>,
}

#[derive(Debug, Clone)]
enum What<'a> {
    Classes(ClassMetric, &'a [(u32, u32)]),
    Pearson(Vec<f64>, Vec<f64>),
    Spearman(Order, Order),
    Rate(&'a [(u32, u32)]),
    MeanRate(&'a [(u32, u32)]),
}

impl Counted<'_> {
    /// The metric where example i counts `counts[i]` times; 0 where that is undefined, as everywhere in this crate.
    ///
    /// `counts` are whole numbers from 0 up, one for each example; what has none counts 0 times.
    pub fn of(&self, counts: &[f64]) -> f64 {
        match &self.what {
            What::Classes(metric, pairs) => {
                let pairs = pairs.iter().copied().zip(counts.iter().copied());
                match metric {
                    ClassMetric::Accuracy => accuracy_of(pairs),
                    ClassMetric::F1 => f1_of(pairs),
                    ClassMetric::Matthews => matthews_of(pairs.filter(|(_, count)| *count > 0.0)),
                }
            }
            What::Pearson(predicted, truth) => correlation(predicted.clone(), truth.clone(), counts),
            What::Spearman(predicted, truth) => correlation(predicted.ranks(counts), truth.ranks(counts), counts),
            What::Rate(examples) => {
                let total = |of: fn(&(u32, u32)) -> u32| {
                    let counted = examples.iter().zip(counts);
                    counted.fold(0.0, |sum, (example, count)| sum + f64::from(of(example)) * count)
                };
                total(|e| e.0) / total(|e| e.1).max(1.0)
            }
            What::MeanRate(examples) => {
                let rates = examples.iter().map(|(errors, symbols)| f64::from(*errors) / f64::from((*symbols).max(1)));
                let sum: f64 = rates.zip(counts).map(|(rate, count)| count * rate).sum();
                let n: f64 = counts.iter().sum();
                if n == 0.0 { 0.0 } else { sum / n }
            }
        }
    }
}
