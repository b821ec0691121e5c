//! Several comparisons at a time.

/// The probabilities of several tests, corrected so that the chance to find any difference where there is none stays what it
/// is called, however the tests depend on each other (Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian
/// Journal of Statistics 6, 1979). Ascending, the i-th of m is multiplied by m - i + 1, is no smaller than those before it, and at most 1.
pub fn holm(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
    let mut corrected = vec![0.0; probabilities.len()];
    let mut least = 0.0f64;
    for (place, test) in order.into_iter().enumerate() {
        least = least.max(probabilities[test] * (probabilities.len() - place) as f64).min(1.0);
        corrected[test] = least;
    }
    corrected
}
