//! Metrics over numbers.

/// Pearson correlation, in `[-1, 1]`; 0 when either side is constant or holds fewer than two numbers.
pub fn pearson(pairs: &[(f64, f64)]) -> f64 {
    let (predicted, truth) = sides(pairs);
    correlation(predicted, truth, &vec![1.0; pairs.len()])
}

/// Spearman rank correlation, in `[-1, 1]`: [`pearson`] of the ranks, ties sharing their average rank; 0 when either
/// side is constant or holds fewer than two numbers.
pub fn spearman(pairs: &[(f64, f64)]) -> f64 {
    let (predicted, truth) = sides(pairs);
    let counts = vec![1.0; pairs.len()];
    correlation(Order::of(&predicted).ranks(&counts), Order::of(&truth).ranks(&counts), &counts)
}

fn sides(pairs: &[(f64, f64)]) -> (Vec<f64>, Vec<f64>) {
    pairs.iter().copied().unzip()
}

/// [`pearson`] of pairs of which each counts as often as `counts` says.
pub(crate) fn correlation(xs: Vec<f64>, ys: Vec<f64>, counts: &[f64]) -> f64 {
    match (unit(xs, counts), unit(ys, counts)) {
        (Some(xs), Some(ys)) => {
            let products = counts.iter().zip(xs.iter().zip(&ys)).map(|(count, (x, y))| count * x * y);
            products.sum::<f64>().clamp(-1.0, 1.0)
        }
        _ => 0.0,
    }
}

/// The values around their mean, scaled to length one; `None` for a constant, tested before the mean is taken because
/// rounding of the mean would make a tiny spread of it.
fn unit(mut values: Vec<f64>, counts: &[f64]) -> Option<Vec<f64>> {
    let mut counting = values.iter().zip(counts).filter(|(_, count)| **count > 0.0).map(|(value, _)| *value);
    let first = counting.next()?;
    if counting.all(|value| value == first) {
        return None;
    }
    let largest = |values: &[f64]| {
        let counting = values.iter().zip(counts).filter(|(_, count)| **count > 0.0);
        counting.fold(0.0_f64, |most, (value, _)| most.max(value.abs()))
    };
    // Scaled by the largest first: neither the sum nor the squares overflow.
    let scale = largest(&values);
    let n = counts.iter().sum::<f64>();
    values.iter_mut().for_each(|v| *v /= scale);
    let mean = values.iter().zip(counts).map(|(v, count)| count * v).sum::<f64>() / n;
    values.iter_mut().for_each(|v| *v -= mean);
    let scale = largest(&values);
    values.iter_mut().for_each(|v| *v /= scale);
    let length = values.iter().zip(counts).map(|(v, count)| count * (v * v)).sum::<f64>().sqrt();
    values.iter_mut().for_each(|v| *v /= length);
    let finite = |(value, count): (&f64, &f64)| value.is_finite() || *count == 0.0;
    values.iter().zip(counts).all(finite).then_some(values)
}

/// The places of some values in ascending order, equal ones together.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    places: Vec<usize>,
    /// How many places each run of equal values has.
    ties: Vec<usize>,
}

impl Order {
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut places: Vec<usize> = (0..values.len()).collect();
        places.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        let ties = places.chunk_by(|a, b| values[*a] == values[*b]).map(<[usize]>::len).collect();
        Self { places, ties }
    }

    /// One-based ranks where each value is there as often as `counts` says, equal values sharing the average of theirs.
    pub(crate) fn ranks(&self, counts: &[f64]) -> Vec<f64> {
        let mut ranks = vec![0.0; self.places.len()];
        let (mut start, mut rest) = (0.0, &self.places[..]);
        for tied in &self.ties {
            let (run, after) = rest.split_at(*tied);
            let count: f64 = run.iter().map(|place| counts[*place]).sum();
            run.iter().for_each(|place| ranks[*place] = start + (count + 1.0) / 2.0);
            start += count;
            rest = after;
        }
        ranks
    }
}
