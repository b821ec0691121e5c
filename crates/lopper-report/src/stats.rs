//! Means over seeds with their intervals.
//!
//! A result is a mean over n seeds with the two-sided 95 % interval of Student's t, mean ± t(0.975; n − 1) · s / √n, with s² =
//! Σ(x − mean)² / (n − 1) (Student, *The probable error of a mean*, Biometrika 6, 1908). Two results of the same seeds are compared by
//! the interval of their differences: data order and dropout are a function of the seed, so much of what varies is the same in both.
//! One seed has no interval. Where the interval of a difference holds 0, it is not called a difference. Intervals are not corrected for
//! the number of comparisons: of 20 that are none, one is expected to be called a difference. Figures of comparisons correct the
//! probabilities beside them ([`holm`](crate::holm)).

/// The share of intervals that hold the true mean.
const CONFIDENCE: f64 = 0.95;

/// A mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many values.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Half the length of the 95 % interval; none with fewer than two values.
    pub half: Option<f64>,
}

impl Summary {
    /// Of finite values; `None` where there are none. The order of the values changes the last bits of a sum, so it is to be fixed.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let half = (n > 1).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            let deviation = (squares / (n - 1) as f64).sqrt();
            t_quantile(n as u32 - 1) * deviation / (n as f64).sqrt()
        });
        Some(Self { n, mean, half })
    }

    /// The lower end of the interval; the mean where there is none.
    pub fn low(&self) -> f64 {
        self.mean - self.half.unwrap_or(0.0)
    }

    /// The upper end of the interval; the mean where there is none.
    pub fn high(&self) -> f64 {
        self.mean + self.half.unwrap_or(0.0)
    }

    /// Whether this, as a mean of differences, is one: its interval is known and leaves 0 out.
    pub fn is_difference(&self) -> bool {
        self.half.is_some_and(|half| self.mean.abs() > half)
    }
}

impl Summary {
    /// How likely a mean is that lies as far from 0 or farther, where the true one is 0: the two-sided test of Student. `None` where there
    /// is no interval.
    pub fn probability(&self) -> Option<f64> {
        let half = self.half?;
        if half == 0.0 {
            return Some(if self.mean == 0.0 { 1.0 } else { 0.0 });
        }
        let degrees = self.n as u32 - 1;
        Some((1.0 - within(t_quantile(degrees) * self.mean.abs() / half, degrees)).clamp(0.0, 1.0))
    }
}

/// t(0.975; degrees): the number that a variable of Student's distribution exceeds in magnitude with probability 0.05.
///
/// Found by halving an interval until it has no inner point, on the finite sums that give the distribution for whole degrees of
/// freedom (Abramowitz and Stegun, *Handbook of Mathematical Functions*, 26.7.3 and 26.7.4).
/// 0 degrees are taken for 1.
pub fn t_quantile(degrees: u32) -> f64 {
    let degrees = degrees.max(1);
    let (mut low, mut high) = (0.0f64, 16.0f64);
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if within(middle, degrees) < CONFIDENCE { low = middle } else { high = middle }
    }
}

/// The probability that a variable of Student's distribution lies within ±t.
fn within(t: f64, degrees: u32) -> f64 {
    let angle = (t / f64::from(degrees).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let odd = degrees % 2 == 1;
    // Odd: cos θ + 2/3 cos³ θ + (2·4)/(3·5) cos⁵ θ + …; even: 1 + 1/2 cos² θ + (1·3)/(2·4) cos⁴ θ + …
    let (mut term, first) = if odd { (cosine, 3) } else { (1.0, 2) };
    let mut sum = 0.0;
    for next in (first..=degrees).step_by(2) {
        sum += term;
        term *= cosine * cosine * f64::from(next - 1) / f64::from(next);
    }
    if odd { std::f64::consts::FRAC_2_PI * (angle + sine * sum) } else { sine * sum }
}
