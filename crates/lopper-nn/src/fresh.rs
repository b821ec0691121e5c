//! Freshly initialised tensors, drawn from a generator of their own: they depend on the seed and the name alone.

use lopper_core::{Error, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Uniform};
use tch::Tensor;

/// A float32 CPU tensor of independent draws from N(0, `deviation`²), the same for the same `name` and `seed`.
///
/// # Errors
/// [`Error::InvalidValue`] for a deviation that is negative or not finite, and errors of libtorch.
pub fn normal(name: &str, seed: u64, shape: &[u64], deviation: f64) -> Result<Tensor> {
    let distribution = Normal::new(0.0f32, deviation as f32)
        .map_err(|_| Error::invalid("initializer_range", deviation, "a finite number, not negative"))?;
    draw(name, seed, shape, distribution)
}

/// A float32 CPU tensor of independent draws, uniform from `low` up to, not including, `high`, the same for the same
/// `name` and `seed`.
///
/// # Errors
/// [`Error::InvalidValue`] for bounds that are not finite and ascending, and errors of libtorch.
pub fn uniform(name: &str, seed: u64, shape: &[u64], low: f64, high: f64) -> Result<Tensor> {
    let distribution = Uniform::new(low as f32, high as f32)
        .map_err(|_| Error::invalid("bounds", format!("{low} to {high}"), "two finite numbers, the lower one first"))?;
    draw(name, seed, shape, distribution)
}

/// A float32 CPU matrix `[out, in]` of independent draws, uniform within ±√(6 / (in + out)) (Glorot and Bengio 2010,
/// equation 16), the same for the same `name` and `seed`.
///
/// # Errors
/// Those of [`uniform`].
pub fn xavier_uniform(name: &str, seed: u64, shape: &[u64]) -> Result<Tensor> {
    let bound = (6.0 / shape.iter().sum::<u64>() as f64).sqrt();
    uniform(name, seed, shape, -bound, bound)
}

fn draw(name: &str, seed: u64, shape: &[u64], distribution: impl Distribution<f32>) -> Result<Tensor> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(name.as_bytes());
    let mut generator = ChaCha8Rng::from_seed(*hasher.finalize().as_bytes());
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

    #[test]
    fn xavier_fills_its_bounds() {
        let drawn = xavier_uniform("head", 1, &[32, 768]).unwrap();
        let (bound, largest) = ((6.0f64 / 800.0).sqrt(), drawn.abs().max().double_value(&[]));
        assert!(largest <= bound && largest > 0.99 * bound, "{largest} of {bound}");
        assert!((drawn.std(false).double_value(&[]) - bound / 3f64.sqrt()).abs() < 0.01 * bound);
        assert!(uniform("mask", 1, &[3], 1.0, 0.0).is_err());
    }
}
