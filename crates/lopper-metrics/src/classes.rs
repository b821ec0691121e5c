//! Metrics over class ids.

use std::collections::BTreeMap;

/// Share of pairs that agree, in `[0, 1]`; 0 for no pairs.
pub fn accuracy(pairs: &[(u32, u32)]) -> f64 {
    let correct = pairs.iter().filter(|(predicted, truth)| predicted == truth).count();
    ratio(correct as f64, pairs.len() as f64)
}

/// F1 of class 1 against all others, in `[0, 1]`: `2 tp / (2 tp + fp + fn)`; 0 when class 1 is neither predicted nor true.
pub fn f1(pairs: &[(u32, u32)]) -> f64 {
    let count = |wanted: (bool, bool)| pairs.iter().filter(|(p, t)| (*p == 1, *t == 1) == wanted).count() as f64;
    let doubled = 2.0 * count((true, true));
    ratio(doubled, doubled + count((true, false)) + count((false, true)))
}

/// Matthews correlation of any number of classes, in `[-1, 1]` (Gorodkin 2004, R_K; with two classes the phi
/// coefficient); 0 when all predictions or all truths are one class.
pub fn matthews(pairs: &[(u32, u32)]) -> f64 {
    let mut totals: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for (predicted, truth) in pairs {
        totals.entry(*predicted).or_default().0 += 1.0;
        totals.entry(*truth).or_default().1 += 1.0;
    }
    let correct = pairs.iter().filter(|(predicted, truth)| predicted == truth).count() as f64;
    let n = pairs.len() as f64;
    let sum = |term: fn(&(f64, f64)) -> f64| totals.values().map(term).sum::<f64>();
    let covariance = correct * n - sum(|(p, t)| p * t);
    let spread = (n * n - sum(|(p, _)| p * p)) * (n * n - sum(|(_, t)| t * t));
    ratio(covariance, spread.sqrt())
}

fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator == 0.0 { 0.0 } else { numerator / denominator }
}
