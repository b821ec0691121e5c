//! Metrics over class ids.

use std::collections::BTreeMap;

/// Share of pairs that agree, in `[0, 1]`; 0 for no pairs.
pub fn accuracy(pairs: &[(u32, u32)]) -> f64 {
    accuracy_of(once(pairs))
}

/// F1 of class 1 against all others, in `[0, 1]`: `2 tp / (2 tp + fp + fn)`; 0 when class 1 is neither predicted nor true.
pub fn f1(pairs: &[(u32, u32)]) -> f64 {
    f1_of(once(pairs))
}

/// Matthews correlation of any number of classes, in `[-1, 1]` (Gorodkin 2004, R_K; with two classes the phi
/// coefficient); 0 when all predictions or all truths are one class.
pub fn matthews(pairs: &[(u32, u32)]) -> f64 {
    matthews_of(once(pairs))
}

/// A pair of classes, and how often it counts. Sums of these are whole numbers, so their order changes nothing.
type Counted = ((u32, u32), f64);

fn once(pairs: &[(u32, u32)]) -> impl Iterator<Item = Counted> + '_ {
    pairs.iter().map(|pair| (*pair, 1.0))
}

/// [`accuracy`] of pairs that count more or less than once.
pub(crate) fn accuracy_of(pairs: impl Iterator<Item = Counted>) -> f64 {
    let (mut correct, mut all) = (0.0, 0.0);
    for ((predicted, truth), count) in pairs {
        all += count;
        correct += if predicted == truth { count } else { 0.0 };
    }
    ratio(correct, all)
}

/// [`f1`] of pairs that count more or less than once.
pub(crate) fn f1_of(pairs: impl Iterator<Item = Counted>) -> f64 {
    let (mut doubled, mut all) = (0.0, 0.0);
    for ((predicted, truth), count) in pairs {
        match (predicted == 1, truth == 1) {
            (true, true) => (doubled, all) = (doubled + 2.0 * count, all + 2.0 * count),
            (true, false) | (false, true) => all += count,
            (false, false) => {}
        }
    }
    ratio(doubled, all)
}

/// [`matthews`] of pairs that count more or less than once.
pub(crate) fn matthews_of(pairs: impl Iterator<Item = Counted>) -> f64 {
    let mut totals: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    let (mut correct, mut n) = (0.0, 0.0);
    for ((predicted, truth), count) in pairs {
        totals.entry(predicted).or_default().0 += count;
        totals.entry(truth).or_default().1 += count;
        n += count;
        correct += if predicted == truth { count } else { 0.0 };
    }
    let sum = |term: fn(&(f64, f64)) -> f64| totals.values().map(term).sum::<f64>();
    let covariance = correct * n - sum(|(p, t)| p * t);
    let spread = (n * n - sum(|(p, _)| p * p)) * (n * n - sum(|(_, t)| t * t));
    ratio(covariance, spread.sqrt())
}

fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator == 0.0 { 0.0 } else { numerator / denominator }
}
