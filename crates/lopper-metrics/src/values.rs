//! Metrics over numbers.

/// Pearson correlation, in `[-1, 1]`; 0 when either side is constant or holds fewer than two numbers.
pub fn pearson(pairs: &[(f64, f64)]) -> f64 {
    correlation(pairs.iter().map(|p| p.0).collect(), pairs.iter().map(|p| p.1).collect())
}

/// Spearman rank correlation, in `[-1, 1]`: [`pearson`] of the ranks, ties sharing their average rank; 0 when either
/// side is constant or holds fewer than two numbers.
pub fn spearman(pairs: &[(f64, f64)]) -> f64 {
    correlation(ranks(pairs.iter().map(|p| p.0)), ranks(pairs.iter().map(|p| p.1)))
}

fn correlation(xs: Vec<f64>, ys: Vec<f64>) -> f64 {
    match (unit(xs), unit(ys)) {
        (Some(xs), Some(ys)) => xs.iter().zip(&ys).map(|(x, y)| x * y).sum::<f64>().clamp(-1.0, 1.0),
        _ => 0.0,
    }
}

/// The values around their mean, scaled to length one; `None` for a constant, tested before the mean is taken because
/// rounding of the mean would make a tiny spread of it.
fn unit(mut values: Vec<f64>) -> Option<Vec<f64>> {
    if values.iter().all(|v| *v == values[0]) {
        return None;
    }
    // Scaled by the largest first: neither the sum nor the squares overflow.
    let largest = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let n = values.len() as f64;
    values.iter_mut().for_each(|v| *v /= largest);
    let mean = values.iter().sum::<f64>() / n;
    values.iter_mut().for_each(|v| *v -= mean);
    let largest = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    values.iter_mut().for_each(|v| *v /= largest);
    let length = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    values.iter_mut().for_each(|v| *v /= length);
    values.iter().all(|v| v.is_finite()).then_some(values)
}

/// One-based ranks, equal values sharing the average of theirs.
fn ranks(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let values: Vec<f64> = values.collect();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = start as f64 + (tied.len() as f64 + 1.0) / 2.0;
        tied.iter().for_each(|i| ranks[*i] = rank);
        start += tied.len();
    }
    ranks
}
