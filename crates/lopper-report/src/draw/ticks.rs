//! Round numbers along an axis.

/// At most about `most` multiples of 1, 2 or 5 times a power of ten within the range, and the decimals that they need.
pub(super) fn linear(low: f64, high: f64, most: usize) -> (Vec<f64>, usize) {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return (Vec::new(), 0);
    }
    let rough = span / most.max(1) as f64;
    let power = rough.log10().floor();
    let unit = 10f64.powf(power);
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * unit).find(|step| *step >= rough * 0.999).unwrap_or(unit);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    ((first..=last).map(|k| k as f64 * step).collect(), decimals)
}

/// Multiples of 1, 2 and 5 of powers of ten within a range of positive numbers.
pub(super) fn logarithmic(low: f64, high: f64) -> Vec<f64> {
    if !(low > 0.0 && high.is_finite()) {
        return Vec::new();
    }
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let all = (first..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(power)));
    all.filter(|tick| *tick >= low * 0.999 && *tick <= high * 1.001).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(linear(0.0, 1.0, 5), (vec![0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0], 1));
        assert_eq!(linear(0.99, 1.0, 5).1, 3);
        assert_eq!(linear(-3.0, 40.0, 5).0, [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert!(linear(1.0, 1.0, 5).0.is_empty());
        assert!(logarithmic(0.0, 1.0).is_empty());
        assert_eq!(logarithmic(1.0, 10.0), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(logarithmic(3.0, 60.0), [5.0, 10.0, 20.0, 50.0]);
    }
}
