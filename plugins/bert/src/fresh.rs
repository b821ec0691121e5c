//! Freshly initialised tensors, drawn from a generator of their own: they depend on the seed and the name alone.

use lopper_core::{Error, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use tch::Tensor;

/// A float32 CPU tensor of independent draws from N(0, `deviation`²), the same for the same `name` and `seed`.
///
/// # Errors
/// Errors of libtorch.
pub(crate) fn normal(name: &str, seed: u64, shape: &[u64], deviation: f64) -> Result<Tensor> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(name.as_bytes());
    let mut generator = ChaCha8Rng::from_seed(*hasher.finalize().as_bytes());
    let distribution = Normal::new(0.0f32, deviation as f32)
        .map_err(|_| Error::invalid("initializer_range", deviation, "a finite number, not negative"))?;
    let entries = shape.iter().product::<u64>() as usize;
    let values: Vec<f32> = (0..entries).map(|_| distribution.sample(&mut generator)).collect();
    let shape: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
    Ok(Tensor::f_from_slice(&values)?.f_view(shape.as_slice())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn draws_depend_on_name_and_seed_alone() {
        let draw = |name, seed| normal(name, seed, &[200, 100], 0.02).unwrap();
        let first = draw("a", 5);
        assert!(draw("a", 5) == first);
        assert!(draw("a", 6) != first);
        assert!(draw("b", 5) != first);
        assert!((first.std(false).double_value(&[]) - 0.02).abs() < 0.0005);
        assert!(first.mean(Kind::Double).double_value(&[]).abs() < 0.001);
    }
}
