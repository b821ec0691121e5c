//! McNemar's test: whether two models that answer the same examples are wrong equally often.

/// Below so many examples that one model answers rightly and the other wrongly, the test is exact.
const EXACT: u64 = 25;

/// Two models on the same examples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct McNemar {
    /// Examples that the first alone answers rightly.
    pub first_only: u64,
    /// Examples that the second alone answers rightly.
    pub second_only: u64,
    /// How likely such a difference is, or a larger one, of two models that are equally often wrong.
    pub probability: f64,
}

impl McNemar {
    /// From whether each example was answered rightly, of as many examples for both.
    ///
    /// With b and c examples that one of the two alone answers rightly (McNemar, Psychometrika 12, 1947; for learned models
    /// Dietterich, *Approximate statistical tests for comparing supervised classification learning algorithms*, Neural
    /// Computation 10, 1998): where b + c < 25 the two-sided probability of the binomial distribution with 1/2; else that of
    /// chi-squared with one degree of freedom at (|b - c| - 1)^2 / (b + c), with the correction of Edwards (Psychometrika 13, 1948),
    /// which is left out where b = c and would make more of a difference out of none.
    pub fn of(first: &[bool], second: &[bool]) -> Self {
        let count =
            |wanted: (bool, bool)| first.iter().zip(second).filter(|(a, b)| (**a, **b) == wanted).count() as u64;
        let (b, c) = (count((true, false)), count((false, true)));
        let (all, apart) = (b + c, b.abs_diff(c));
        let probability = if all < EXACT {
            binomial(b.min(c), all)
        } else {
            let statistic = (apart.saturating_sub(1) as f64).powi(2) / all as f64;
            // The tail of chi-squared with one degree of freedom.
            libm::erfc((statistic / 2.0).sqrt())
        };
        Self { first_only: b, second_only: c, probability }
    }
}

/// Twice the probability of `most` successes or fewer in `n` < 64 throws of a coin, at most 1.
fn binomial(most: u64, n: u64) -> f64 {
    let (mut ways, mut sum) = (1u64, 0u64);
    for k in 0..=most {
        sum += ways;
        ways = ways * (n - k) / (k + 1);
    }
    (2.0 * sum as f64 / (1u64 << n) as f64).min(1.0)
}
